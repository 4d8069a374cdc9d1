use super::*;

fn parsed(text: &str) -> Manifest {
    let validator = Validator::new().unwrap();
    Manifest::parse(text, &Manifest::default(), &validator)
}

fn port(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: kube-dhcp.io/v1alpha1\nkind: Port\nmetadata:\n  name: {name}\nspec:\n  networkRef: {{name: lan}}\n{spec}"
    )
}

fn names(manifest: &Manifest) -> Vec<String> {
    manifest.objects().map(|o| format!("{} at {}", o.candidate.key, o.line())).collect()
}

fn problems(text: &str) -> Vec<String> {
    parsed(text).problems("f").map(|p| p.to_string()).collect()
}

#[test]
fn documents_are_separated_as_yaml_says() {
    let (a, b, c) = (port("a", ""), port("b", ""), port("c", ""));
    let text = format!("# head\n\n---\n# nothing here\n---\n{a}---\n{b}...\n%YAML 1.2\n---\n{c}---\n");
    let manifest = parsed(&text);
    assert_eq!(problems(&text), Vec::<String>::new());
    assert_eq!(names(&manifest), ["Port default/a at 6", "Port default/b at 13", "Port default/c at 22"]);
    assert!(!manifest.unreadable());
}

#[test]
fn json_and_lists_are_read() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [
  {"apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port", "metadata": {"name": "a", "namespace": "x"},
   "spec": {"networkRef": {"name": "lan"}}},
  {"apiVersion": "kube-dhcp.io/v1alpha1", "kind": "Port", "metadata": {"name": "b"},
   "spec": {"networkRef": {"name": "lan"},
            "hostname": "B"}}]}"#;
    let manifest = parsed(json);
    assert_eq!(names(&manifest), ["Port x/a at 2", "Port default/b at 4"]);
    assert!(
        problems(json)[0]
            .starts_with("f:6: Port default/b: spec.hostname: Invalid value: \"B\": should match")
    );
    assert_eq!(problems("apiVersion: v1\nkind: List\n"), Vec::<String>::new());
}

#[test]
fn every_mistake_says_line_and_field() {
    for (text, expected) in [
        (
            port("a", "  hostname: 1e10\n"),
            "f:7: Port default/a: spec.hostname: Invalid value: 10000000000: must be of type string: integer",
        ),
        (
            port("a", "  hostname: on\n"),
            "f:7: Port default/a: spec.hostname: Invalid value: true: must be of type string: boolean",
        ),
        (port("a", "  hostname: x\n  hostname: y\n"), "f:8: spec.hostname: \"hostname\" is there twice"),
        (
            port("a", "  addresses:\n  - ip: 10.0.0.1\n  - ipp: 10.0.0.2\n"),
            "f:9: Port default/a: spec.addresses[1].ipp: unknown field",
        ),
        (
            port("a", "  addresses:\n  - {}\n"),
            "f:8: Port default/a: spec.addresses[0]: Invalid value: at least one of",
        ),
        (format!("---\n{}", port("a", "  mac: x\n")), "f:8: Port default/a: spec.mac: unknown field"),
        (port("A", ""), "f:4: Port default/A: metadata.name: Invalid value: \"A\""),
        (port("7", ""), "f:4: metadata.name: Invalid value: 7: must be of type string; put it into quotes"),
        ("apiVersion: v1\nkind: Pod\n".into(), "f:1: apiVersion: v1 Pod is not a kube-dhcp.io kind"),
        (
            "apiVersion: kube-dhcp.io/v1alpha1\nkind: Router\n".into(),
            "f:2: kind: kube-dhcp.io has no kind Router",
        ),
        ("apiVersion: kube-dhcp.io/v1alpha1\nkind: Port\n".into(), "f:1: metadata.name: Required value"),
        (
            port("a", "").replace("v1alpha1", "v2"),
            "f:1: Port default/a: apiVersion: Unsupported value: \"kube-dhcp.io/v2\"",
        ),
        ("kind: Port\n".into(), "f:1: apiVersion: Required value"),
        ("just text\n".into(), "f:1: not an object"),
        (format!("{}---\nkind: [\n", port("a", "")), "f:8: not valid YAML"),
    ] {
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{found:?} is not {expected}");
    }
}

#[test]
fn a_broken_document_leaves_the_others() {
    let text = format!("{}---\na: [\n---\n{}", port("a", ""), port("b", ""));
    let manifest = parsed(&text);
    assert_eq!(names(&manifest), ["Port default/a at 1", "Port default/b at 10"]);
    assert!(manifest.unreadable());
    assert!(!parsed("apiVersion: v1\nkind: Pod\n").unreadable());
}

#[test]
fn known_documents_and_list_items_are_not_parsed_again() {
    let validator = Validator::new().unwrap();
    let same = |a: &Manifest, b: &Manifest, name: &str| {
        let find = |m: &Manifest| {
            m.objects().find(|o| o.candidate.key.name == name).map(|o| Arc::clone(o.candidate))
        };
        Arc::ptr_eq(&find(a).unwrap(), &find(b).unwrap())
    };
    let before = Manifest::parse(
        &format!("{}---\n{}", port("a", ""), port("b", "")),
        &Manifest::default(),
        &validator,
    );
    let text = format!("{}---\n{}", port("a", "  hostname: x\n"), port("b", ""));
    let after = Manifest::parse(&text, &before, &validator);
    assert!(!same(&before, &after, "a"));
    assert!(same(&before, &after, "b"));
    assert_eq!(after.objects().nth(1).unwrap().line(), 9);

    let list = |host: &str| {
        let item = |name: &str, host: &str| {
            format!(
                "- apiVersion: kube-dhcp.io/v1alpha1\n  kind: Port\n  metadata: {{name: {name}}}\n  spec: {{networkRef: {{name: lan}}, hostname: {host}}}\n"
            )
        };
        format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item("a", host), item("b", "b"))
    };
    let before = Manifest::parse(&list("x"), &Manifest::default(), &validator);
    let after = Manifest::parse(&list("y"), &before, &validator);
    assert!(!same(&before, &after, "a"));
    assert!(same(&before, &after, "b"));
}
