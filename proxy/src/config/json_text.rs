//! JSON as Envoy writes it: numbers in the shorter of their two forms, as `std::to_chars` of C++ chooses it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// The text of a value.
#[must_use]
pub fn json_text(value: &Value) -> String {
    let mut text = Vec::new();
    // Neither a value nor writing to memory can fail.
    let written = value.serialize(&mut Serializer::with_formatter(&mut text, ShortNumbers));
    debug_assert!(written.is_ok(), "{written:?}");
    String::from_utf8(text).unwrap_or_default()
}

struct ShortNumbers;

impl Formatter for ShortNumbers {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, number: f64) -> io::Result<()> {
        writer.write_all(shortest(number).as_bytes())
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of metadata are doubles")]
    fn write_i64<W: ?Sized + Write>(&mut self, writer: &mut W, number: i64) -> io::Result<()> {
        self.write_f64(writer, number as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of metadata are doubles")]
    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, number: u64) -> io::Result<()> {
        self.write_f64(writer, number as f64)
    }
}

/// The shorter form of a number, that without an exponent if both are as long.
fn shortest(number: f64) -> String {
    let plain = if number.fract() == 0.0 { format!("{number:.0}") } else { number.to_string() };
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return plain };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let scientific = format!("{digits}e{sign}{exponent:0>2}");
    if scientific.len() < plain.len() { scientific } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        for (written, text) in [
            ("1", "1"),
            ("10000", "10000"),
            ("100000", "1e+05"),
            ("150000", "150000"),
            ("4000000000", "4e+09"),
            ("1764581234", "1764581234"),
            ("123456789012345678", "123456789012345680"),
            ("0.001", "0.001"),
            ("0.0001", "1e-04"),
            ("0.00012", "0.00012"),
            ("1.5e-7", "1.5e-07"),
            ("-100000", "-1e+05"),
            ("3.0", "3"),
            ("123456.789", "123456.789"),
            ("1e300", "1e+300"),
            ("0", "0"),
            ("[1, {\"a\": 1000000}]", "[1,{\"a\":1e+06}]"),
        ] {
            assert_eq!(json_text(&serde_json::from_str(written).unwrap()), text, "{written}");
        }
    }
}
