//! Types of plain YAML scalars, as the YAML library of `kubectl` and of the API server gives them.
//!
//! Called by [`super::yaml`]. `yes` is a boolean there and `0644` an octal number; whoever means
//! the text writes quotes, and is told so by the schema's "must be of type string".

use serde_json::{Number, Value};

/// The value of a plain scalar.
pub(crate) fn resolve(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            Value::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("{text} cannot be written as JSON")),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    })
}

fn number(text: &str) -> Option<Number> {
    let first = text.as_bytes().first()?;
    if !first.is_ascii_digit() && !b"+-.".contains(first) {
        return None;
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain))
}

/// As Go's `ParseInt` with base 0: a prefix says the base, a mere 0 is the octal one.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(octal) if octal.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(value.into());
    }
    let value = 0_i64.checked_sub_unsigned(value)?;
    Some(value.into())
}

/// A float without fraction is written to JSON without point, and so read as an integer there.
fn float(text: &str) -> Option<Number> {
    let digits = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
    if !text.bytes().all(digits) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    if whole { format!("{value}").parse::<i64>().ok().map(Number::from) } else { Number::from_f64(value) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_have_the_types_that_kubectl_gives_them() {
        for (text, value) in [
            ("a", json!("a")),
            ("1", json!(1)),
            ("-1", json!(-1)),
            ("+1", json!(1)),
            ("0", json!(0)),
            ("1_000", json!(1000)),
            ("0x1F", json!(31)),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0b11", json!(3)),
            ("089", json!(89)),
            ("1e10", json!(10_000_000_000_i64)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("18446744073709551615", json!(u64::MAX)),
            ("10.0.0.1", json!("10.0.0.1")),
            ("10.0.0.0/24", json!("10.0.0.0/24")),
            ("02:00:00:00:00:01", json!("02:00:00:00:00:01")),
            ("2001:db8::1", json!("2001:db8::1")),
            ("2026-11-23", json!("2026-11-23")),
            ("-", json!("-")),
            ("--1", json!("--1")),
            ("1e", json!("1e")),
            ("e1", json!("e1")),
            ("0x", json!("0x")),
            ("é0", json!("é0")),
            ("0é", json!("0é")),
        ] {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
        assert!(resolve(".inf").is_err());
    }
}
