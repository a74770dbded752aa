//! Times, ranges of times and sizes as a person writes them: `250us`, `1s..1.1s`, `1MB`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The longest time that a scenario may name: times are added, and every sum of a run's must stay within what clocks
/// and dates can show.
const TIME_MAX: Duration = Duration::from_secs(100_000 * 3600);

/// The largest size that a scenario may name: bytes of bodies are held in memory, several times over.
const SIZE_MAX: usize = 64 << 20;

/// A length of virtual time.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Time(pub Duration);

impl Time {
    fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, f64); 6] = [("us", 1e3), ("ms", 1e6), ("ns", 1.0), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
        let (number, nanos) =
            UNITS.into_iter().find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, nanos)))?;
        // Rounded to whole nanoseconds: 0.3ms is not 299,999 ns.
        let time = Duration::try_from_secs_f64((number * nanos).round() / 1e9).ok()?;
        (time <= TIME_MAX).then_some(Self(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_zero() {
            true => f.write_str("0s"), // not in nanoseconds, which the language does not have
            false => write!(f, "{:?}", self.0),
        }
    }
}

/// A step of a clock, forwards or backwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeStep {
    /// The clock shows an earlier time.
    Back(Time),
    /// The clock shows a later time.
    Forth(Time),
}

impl TimeStep {
    fn parse(text: &str) -> Option<Self> {
        match (text.strip_prefix('-'), text.strip_prefix('+')) {
            (Some(back), _) => Time::parse(back).map(Self::Back),
            (None, forth) => Time::parse(forth.unwrap_or(text)).map(Self::Forth),
        }
    }
}

impl fmt::Display for TimeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Back(time) => write!(f, "-{time}"),
            Self::Forth(time) => write!(f, "+{time}"),
        }
    }
}

/// From one time to another, both included. A single time is a range of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// The shortest that will do.
    pub from: Time,
    /// The longest that will do.
    pub to: Time,
}

impl Times {
    /// Whether `time` is within.
    #[must_use]
    pub fn contains(&self, time: Duration) -> bool {
        (self.from.0..=self.to.0).contains(&time)
    }

    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from, to) = (Time::parse(from)?, Time::parse(to)?);
        (from <= to).then_some(Self { from, to })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{}", self.from),
            false => write!(f, "{}..{}", self.from, self.to),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::words::size(self.0))
    }
}

impl Size {
    fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, usize); 5] =
            [("KiB", 1 << 10), ("MiB", 1 << 20), ("kB", 1_000), ("MB", 1_000_000), ("B", 1)];
        let (number, bytes) = UNITS
            .into_iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.parse::<usize>().ok()?, bytes)))?;
        number.checked_mul(bytes).map(Self)
    }

    /// One that can be held in memory.
    fn parse_held(text: &str) -> Option<Self> {
        Self::parse(text).filter(|size| size.0 <= SIZE_MAX)
    }
}

/// Bytes per second of virtual time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate(pub usize);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let Size(bytes) = Size::parse(text.strip_suffix("/s")?)?;
        (bytes > 0).then_some(Self(bytes))
    }

    /// How long `bytes` take.
    #[must_use]
    pub fn time_for(self, bytes: usize) -> Duration {
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000)
            / u128::try_from(self.0).unwrap_or(u128::MAX).max(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Bytes as hexadecimal digits, with spaces where they help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hex(pub Vec<u8>);

impl Hex {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>()?;
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        });
        pairs.collect::<Option<Vec<u8>>>().map(Self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText(Self::parse, "pairs of hexadecimal digits such as \"0d 0a\""))
    }
}

/// Reads a type from a string by its parser.
struct FromText<T>(fn(&str) -> Option<T>, &'static str);

impl<T> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText(Self::parse, "a time such as 250us, 10ms, 1.5s or 2m, at most 100000h"))
    }
}

impl<'de> Deserialize<'de> for TimeStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText(Self::parse, "a step of time such as +1h or -500ms, at most 100000h"))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(FromText(Self::parse, "a time such as 10ms, or a range such as 1s..1.1s, at most 100000h"))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(FromText(Self::parse_held, "a size such as 100B, 16KiB, 64kB or 1MB, at most 64MiB"))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText(Self::parse, "a rate such as 100kB/s or 10MB/s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("250us", Some(Duration::from_micros(250))),
            ("10ms", Some(Duration::from_millis(10))),
            ("0.3ms", Some(Duration::from_micros(300))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3600))),
            ("10", None),
            ("-1s", None),
            ("ms", None),
            ("100000h", Some(TIME_MAX)),
            ("100001h", None),
            ("1e300h", None),
            ("infs", None),
            ("NaNs", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Time::parse(text).map(|time| time.0), expected, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let range = Times::parse("1s..1.1s").unwrap();
        assert!(range.contains(Duration::from_millis(1050)));
        assert!(!range.contains(Duration::from_millis(1101)));
        assert_eq!(Times::parse("2s..1s"), None);
    }

    #[test]
    fn hexadecimal_digits() {
        assert_eq!(Hex::parse("0d 0A"), Some(Hex(b"\r\n".to_vec())));
        assert_eq!(Hex::parse("0d0"), None);
        assert_eq!(Hex::parse("0x"), None);
    }

    #[test]
    fn steps_of_a_clock() {
        assert_eq!(TimeStep::parse("-1s"), Some(TimeStep::Back(Time(Duration::from_secs(1)))));
        assert_eq!(TimeStep::parse("+1s"), TimeStep::parse("1s"));
        assert_eq!(TimeStep::parse("--1s"), None);
    }

    #[test]
    fn sizes_and_rates() {
        assert_eq!(Size::parse("1MB"), Some(Size(1_000_000)));
        assert_eq!(Size::parse("16KiB"), Some(Size(16_384)));
        assert_eq!(Size::parse("1"), None);
        assert_eq!(Rate::parse("1MB/s").unwrap().time_for(500_000), Duration::from_millis(500));
        assert_eq!(Rate::parse("0B/s"), None);
        assert_eq!(Size::parse_held("64MiB"), Some(Size(SIZE_MAX)));
        assert_eq!(Size::parse_held("65MiB"), None);
        assert_eq!(Size::parse("18446744073709551615MB"), None);
    }
}
