use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    parse(text).unwrap().map_or(json!(null), |n| n.to_value())
}

#[test]
fn yaml_and_json_become_values() {
    assert_eq!(value("a: [1, {b: 'c'}]\nd:\n- e\n"), json!({"a": [1, {"b": "c"}], "d": ["e"]}));
    assert_eq!(value("{\"a\": [1, {\"b\": \"c\\u00e9\"}]}\n"), json!({"a": [1, {"b": "cé"}]}));
    assert_eq!(value("{\n\t\"a\": 1\n}\n"), json!({"a": 1}));
    assert_eq!(value("# nothing\n---\n# at all\n"), json!(null));
}

#[test]
fn aliases_and_merges_are_resolved() {
    assert_eq!(value("a: &x {b: 1}\nc: *x\n"), json!({"a": {"b": 1}, "c": {"b": 1}}));
    assert_eq!(
        value("a: &x {b: 1, c: 2}\nd:\n  c: 3\n  <<: *x\n"),
        json!({"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}})
    );
}

#[test]
fn fields_have_lines() {
    let text =
        "spec:\n  pools:\n  - first: a\n    last: b\n  -\n    first: c\nmetadata:\n  labels:\n    a.b/c: 1\n";
    let node = parse(text).unwrap().unwrap();
    for (field, line) in [
        ("spec.pools[0].first", 3),
        ("spec.pools[0].last", 4),
        ("spec.pools[1].first", 6),
        ("spec.pools[1].last", 6),
        ("spec.pools[7]", 2),
        ("spec.cidr", 1),
        ("metadata.labels.a.b/c", 9),
        ("", 1),
        ("status", 1),
    ] {
        assert_eq!(node.line_of(field), line, "{field}");
    }
}

#[test]
fn mistakes_have_lines_and_fields() {
    for (text, line, field, message) in [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "b.c", "\"c\" is there twice, for the first time on line 3"),
        ("{\"a\": 1,\n \"a\": 2}", 2, "a", "\"a\" is there twice"),
        ("a:\n- b: 1\n- b: [\n", 3, "", "not valid YAML"),
        ("a: 1\n b: 2\n", 2, "", "not valid YAML"),
        ("a: b\n\tc: d\n", 1, "", "not valid YAML"),
        ("a: *b\n", 1, "", "not valid YAML"),
        ("a:\n- .inf\n", 2, "a[0]", ".inf cannot be written as JSON"),
        ("? [a]\n: b\n", 1, "", "a mapping's key must be a scalar"),
        ("a: &x\n  b: *x\n", 2, "a.b", "an alias inside of what it stands for"),
    ] {
        let fault = parse(text).unwrap_err();
        assert_eq!((fault.line, fault.field.as_str()), (line, field), "{text} {fault:?}");
        assert!(fault.message.starts_with(message), "{text} {fault:?}");
    }
}

#[test]
fn alias_bombs_and_deep_nests_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb = format!("{bomb}a{i}: &a{i} [{aliases}]\n");
    }
    let fault = parse(&bomb).unwrap_err();
    assert!(fault.message.starts_with("aliases stand for more than"), "{fault:?}");
    let deep = format!("a: {}", "[".repeat(100_000));
    assert!(parse(&deep).is_err());
}

#[test]
fn anchors_count_as_their_aliases_do() {
    // Each of the nested anchors would keep a copy of everything in it.
    let open = (0..60).fold(String::new(), |open, i| format!("{open}&a{i} ["));
    let nested = format!("a:\n- {open}{}1{}\n", "1, ".repeat(40_000), "]".repeat(60));
    let long = format!("a: &a {}\nb: [{}*a]\n", "x".repeat(100_000), "*a, ".repeat(5_000));
    for text in [nested, long] {
        let fault = parse(&text).unwrap_err();
        assert!(fault.message.starts_with("aliases stand for more than"), "{fault:?}");
        assert_eq!(fault.line, 2);
    }
}

#[test]
fn more_values_than_any_file_needs_are_refused() {
    let list = format!("a:\n- [{}1]\n", "1,".repeat(MAX_NODES));
    let fault = parse(&list).unwrap_err();
    assert_eq!((fault.line, fault.message.as_str()), (2, "more than 1000000 values in one document"));
}
