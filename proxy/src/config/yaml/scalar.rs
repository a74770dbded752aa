//! What a scalar means to Envoy.
//!
//! Envoy reads YAML with yaml-cpp and hands protobuf a JSON document, so that a plain scalar is resolved twice: yaml-cpp
//! tells booleans (those of YAML 1.1), whole numbers (with C's prefixes) and texts apart, and a numeric field takes a text
//! with a number in it. A fraction such as `1.10` stays the text that it is until a field wants a number. Tags do not matter.

use super::Value;

/// The words of YAML 1.1 that are booleans, in lower case; yaml-cpp takes them in lower case, in upper case and capitalized.
const TRUE: [&str; 4] = ["y", "yes", "true", "on"];
const FALSE: [&str; 4] = ["n", "no", "false", "off"];

/// The value of a scalar without quotes.
pub(super) fn plain(text: &str) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    match (boolean(text), with_prefix(text)) {
        (Some(value), _) => Value::Bool(value),
        // A longer number stays a text, which a numeric field reads or refuses.
        (None, Some(value)) if i64::try_from(value).is_ok() => Value::Integer(value),
        (None, _) => Value::Text(text.to_owned()),
    }
}

fn boolean(text: &str) -> Option<bool> {
    let word = text.to_ascii_lowercase();
    let rest = text.get(1..)?;
    let is_lower_after_first = !rest.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    if !is_lower_after_first && !is_upper {
        return None;
    }
    match word.as_str() {
        word if TRUE.contains(&word) => Some(true),
        word if FALSE.contains(&word) => Some(false),
        _ => None,
    }
}

/// A whole number as C's `strtoll` reads it without a base: `0x` is hexadecimal, a leading zero octal.
fn with_prefix(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let value = match digits.strip_prefix('0') {
        None | Some("") => magnitude(digits, 10),
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => magnitude(hexadecimal, 16),
            None => magnitude(rest, 8),
        },
    };
    value.map(|value| sign * value)
}

/// Digits alone: a sign has been read, and underscores are no digits.
fn magnitude(digits: &str, base: u32) -> Option<i128> {
    digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| i128::from_str_radix(digits, base).ok()).flatten()
}

/// A whole number in a text, as protobuf reads it for a numeric field: decimal, `0x10`, or a fraction that is whole.
pub(super) fn whole_number(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        return with_prefix(text);
    }
    text.parse().ok().or_else(|| {
        // 150.0 and 1e3 are whole too; what has more digits than a double is written without a point.
        let value = number(text).filter(|value| value.fract() == 0.0)?;
        format!("{value:.0}").parse().ok()
    })
}

/// A number in a text, as protobuf reads it for a field that is a double. Finite.
pub(super) fn number(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    is_number.then(|| text.parse().ok()).flatten().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_envoy() {
        for (text, value) in [
            ("010000", Value::Integer(4096)),
            ("0x50", Value::Integer(80)),
            ("+80", Value::Integer(80)),
            ("-0", Value::Integer(0)),
            ("00", Value::Integer(0)),
            ("0", Value::Integer(0)),
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("TRUE", Value::Bool(true)),
            ("n", Value::Bool(false)),
            ("Y", Value::Bool(true)),
            ("~", Value::Null),
            ("", Value::Null),
        ] {
            assert_eq!(plain(text), value, "{text:?}");
        }
        for text in
            ["1.10", "1e4", "099", "0o17", "0b11", "8_0", "0x", "tRUE", "yEs", "12\n", "nan", "9999999999999999999"]
        {
            assert_eq!(plain(text), Value::Text(text.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn numeric_fields_read_numbers_in_texts() {
        for (text, number) in [
            ("010", Some(10)),
            ("099", Some(99)),
            ("0x50", Some(80)),
            ("+80", Some(80)),
            ("1e2", Some(100)),
            ("1.0", Some(1)),
            ("18446744073709551615", Some(18_446_744_073_709_551_615)),
            ("1.5", None),
            (" 80", None),
            ("8_0", None),
            ("0x", None),
            ("inf", None),
            ("", None),
        ] {
            assert_eq!(whole_number(text), number, "{text:?}");
        }
    }
}
