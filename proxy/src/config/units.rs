//! Scalars that protobuf writes in a form of its own.

use std::fmt;
use std::time::Duration;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Envoy's longest duration, 292 years: it counts nanoseconds in 64 bits.
const SECONDS_MAX: u64 = 9_223_372_035;

/// A duration, as written: decimal seconds with the suffix `s`, as in `1.5s`, or a message of seconds and nanos. Never
/// negative.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seconds(pub(super) Duration);

impl Seconds {
    /// The duration, or none if it is zero, where zero switches a timer off.
    pub(super) fn unless_zero(self) -> Option<Duration> {
        Some(self.0).filter(|duration| !duration.is_zero())
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(DURATION, DurationVisitor)
    }
}

/// How [`Seconds`] asks the decoder for a text or for a message with the fields in [`DURATION_FIELDS`].
pub(super) const DURATION: &str = "Duration";
/// `google.protobuf.Duration`
pub(super) const DURATION_FIELDS: &[&str] = &["seconds", "nanos"];

struct DurationVisitor;

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 0.25s")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
        parse(text).map(Seconds).ok_or_else(|| E::custom(complaint(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Seconds, A::Error> {
        let (mut seconds, mut nanoseconds): (i64, i64) = (0, 0);
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "seconds" => seconds = fields.next_value()?,
                _ => nanoseconds = fields.next_value()?,
            }
        }
        let whole = u64::try_from(seconds).ok().filter(|seconds| *seconds <= SECONDS_MAX);
        let part = u32::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000);
        whole.zip(part).map(|(whole, part)| Seconds(Duration::new(whole, part))).ok_or_else(|| {
            de::Error::custom(format!(
                "{{seconds: {seconds}, nanos: {nanoseconds}}} is out of range: a duration has 0 to {SECONDS_MAX} seconds \
                 and 0 to 999999999 nanos"
            ))
        })
    }
}

/// What is wrong with a text that is no duration.
fn complaint(text: &str) -> String {
    if is_out_of_range(text) {
        return format!("{text:?} is out of range: a duration is from 0s to {SECONDS_MAX}s");
    }
    let hint = guess(text).filter(|right| parse(right).is_some());
    let hint = hint.map(|right| format!("; write {right}")).unwrap_or_default();
    format!("{text:?} is not a duration such as 0.25s or 90s{hint}")
}

/// Whether `text`, which is no duration, has the form of one, perhaps with a sign before it.
fn is_out_of_range(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit()) && parse(&format!("0.{fraction}s")).is_some()
}

/// `1.5s`. The fraction has one to nine digits.
fn parse(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty();
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = whole.parse().ok().filter(|seconds| *seconds <= SECONDS_MAX)?;
    let nanoseconds: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds, nanoseconds))
}

/// What the author of `500ms`, `5m` or `1h` probably meant.
fn guess(text: &str) -> Option<String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let amount: u64 = text.strip_suffix(unit)?.parse().ok()?;
    match unit {
        "h" => Some(format!("{}s", amount.checked_mul(3600)?)),
        "m" | "min" => Some(format!("{}s", amount.checked_mul(60)?)),
        "ms" => {
            let seconds = format!("{}.{:03}", amount / 1000, amount % 1000);
            Some(format!("{}s", seconds.trim_end_matches('0').trim_end_matches('.')))
        }
        "" | "sec" => Some(format!("{amount}s")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_decimal_seconds() {
        for (text, milliseconds) in [
            ("0s", Some(0)),
            ("1s", Some(1000)),
            ("1.5s", Some(1500)),
            ("0.000s", Some(0)),
            ("00.25s", Some(250)),
            ("9223372035s", Some(9_223_372_035_000)),
            ("9223372036s", None),
            ("99999999999999999999s", None),
            ("1.0000000001s", None),
            ("-1s", None),
            (".5s", None),
            ("1.s", None),
            ("1", None),
            ("s", None),
            ("", None),
            ("1 s", None),
            ("500ms", None),
        ] {
            assert_eq!(parse(text), milliseconds.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn an_error_of_a_duration_names_the_range() {
        for text in ["9223372036s", "99999999999999999999s", "-1s", "-0.5s"] {
            assert_eq!(complaint(text), format!("{text:?} is out of range: a duration is from 0s to 9223372035s"));
        }
        for text in ["99999999999h", "1.0000000001s", "--1s", "-s", "-1.s", "-500ms"] {
            assert_eq!(complaint(text), format!("{text:?} is not a duration such as 0.25s or 90s"));
        }
    }

    #[test]
    fn common_mistakes_are_guessed() {
        for (text, right) in
            [("500ms", Some("0.5s")), ("20000ms", Some("20s")), ("5m", Some("300s")), ("10", Some("10s")), ("x", None)]
        {
            assert_eq!(guess(text).as_deref(), right, "{text}");
        }
    }
}
