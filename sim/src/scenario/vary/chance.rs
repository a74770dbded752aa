//! How a run may depart from its plain course, as a person writes it: `chance`, the bounds within which the seed draws,
//! and `schedule`, a list of departures.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::course::{Bounds, PartsPerMillion, Perturbation};
use crate::scenario::units::Time;

/// `chance: { jitter: 2ms, read_delay: 1ms, stall: 20ms, clock: 20ms, drift: 200ppm, order: true }`. What is left out does not happen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    clock: Time,
    #[serde(default)]
    drift: PartsPerMillion,
    #[serde(default)]
    jitter: Time,
    #[serde(default)]
    read_delay: Time,
    #[serde(default)]
    order: bool,
    #[serde(default)]
    stall: Time,
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { clock, drift, jitter, read_delay, order, stall } = Fields::deserialize(deserializer)?;
        Ok(Self { clock: clock.0, drift, jitter: jitter.0, read_delay: read_delay.0, order, stall: stall.0 })
    }
}

impl<'de> Deserialize<'de> for PartsPerMillion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.strip_suffix("ppm").and_then(|number| number.parse().ok());
        let number = number.filter(|number| *number <= 1_000_000);
        number.map(Self).ok_or_else(|| D::Error::custom("expected a drift such as 200ppm, of 1000000ppm at most"))
    }
}

/// A line of `schedule` as written: exactly one of the first six names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    ahead: Option<Time>,
    delay: Option<Time>,
    first: Option<String>,
    read_delay: Option<Time>,
    slow: Option<PartsPerMillion>,
    stall: Option<Time>,
    host: Option<String>,
    from: Option<String>,
    to: Option<String>,
    choice: Option<u64>,
    run: Option<u64>,
    segment: Option<u64>,
    turn: Option<u64>,
}

impl<'de> Deserialize<'de> for Perturbation<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Line::deserialize(deserializer)?.perturbation().ok_or_else(|| {
            D::Error::custom(
                "a departure is one of `{ delay: 2ms, from: a, to: b, segment: 3 }`, `{ read_delay: 1ms, host: a, turn: 3 }`, \
                 `{ stall: 20ms, host: a, run: 3 }`, `{ first: a, choice: 3 }`, `{ slow: 100ppm, host: a }` and \
                 `{ ahead: 5ms, host: a }`",
            )
        })
    }
}

impl Line {
    /// What it describes; none if that is not one whole departure.
    fn perturbation(self) -> Option<Perturbation<String>> {
        let Self { ahead, delay, first, read_delay, slow, stall, host, from, to, choice, run, segment, turn } = self;
        let time = [ahead, delay, read_delay, stall];
        let by: Option<Duration> = time.into_iter().flatten().next().map(|time| time.0);
        let kinds = time.iter().flatten().count() + usize::from(first.is_some()) + usize::from(slow.is_some());
        let is_of_run = ahead.is_some() || slow.is_some();
        let places = [choice, run, segment, turn].iter().flatten().count();
        if kinds != 1 || places != usize::from(!is_of_run) {
            return None;
        }
        Some(match (ahead, delay, first, read_delay, slow) {
            (Some(_), ..) => Perturbation::Ahead { host: host?, by: by? },
            (_, Some(_), ..) => Perturbation::Delay { from: from?, to: to?, segment: segment?, by: by? },
            (_, _, Some(first), ..) => Perturbation::First { host: first, choice: choice? },
            (_, _, _, Some(_), _) => Perturbation::ReadDelay { host: host?, turn: turn?, by: by? },
            (.., Some(by)) => Perturbation::Slow { host: host?, by },
            (None, None, None, None, None) => Perturbation::Stall { host: host?, run: run?, by: by? },
        })
    }
}

impl Perturbation<String> {
    /// The hosts it names.
    pub(crate) fn hosts(&self) -> Vec<&str> {
        match self {
            Self::Delay { from, to, .. } => vec![from, to],
            Self::Ahead { host, .. } | Self::First { host, .. } | Self::ReadDelay { host, .. } => vec![host],
            Self::Slow { host, .. } | Self::Stall { host, .. } => vec![host],
        }
    }

    /// As a line of `schedule`, in YAML.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let time = |by: &Duration| match by.as_nanos() {
            nanos if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => format!("{}us", nanos / 1_000),
            nanos => format!("{nanos}ns"),
        };
        match self {
            Self::Ahead { host, by } => format!("{{ ahead: {}, host: {host} }}", time(by)),
            Self::Delay { from, to, segment, by } => {
                format!("{{ delay: {}, from: {from}, to: {to}, segment: {segment} }}", time(by))
            }
            Self::First { host, choice } => format!("{{ first: {host}, choice: {choice} }}"),
            Self::ReadDelay { host, turn, by } => format!("{{ read_delay: {}, host: {host}, turn: {turn} }}", time(by)),
            Self::Slow { host, by: PartsPerMillion(by) } => format!("{{ slow: {by}ppm, host: {host} }}"),
            Self::Stall { host, run, by } => format!("{{ stall: {}, host: {host}, run: {run} }}", time(by)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let (a, b) = (|| "a".to_owned(), || "b-c".to_owned());
        let by = Duration::from_micros(1500);
        let all = [
            Perturbation::Ahead { host: a(), by },
            Perturbation::Delay { from: a(), to: b(), segment: 3, by },
            Perturbation::First { host: b(), choice: 17 },
            Perturbation::ReadDelay { host: a(), turn: 1, by: Duration::from_millis(2) },
            Perturbation::Slow { host: b(), by: PartsPerMillion(150) },
            Perturbation::Stall { host: a(), run: 9, by: Duration::from_nanos(7) },
        ];
        for perturbation in all {
            let read: Perturbation<String> = serde_yaml::from_str(&perturbation.to_yaml()).unwrap();
            assert_eq!(read, perturbation);
        }
    }

    #[test]
    fn half_a_departure_is_refused() {
        for line in [
            "{ delay: 2ms, from: a, to: b }",
            "{ delay: 2ms, stall: 2ms, host: a, run: 1 }",
            "{ first: a, run: 3 }",
            "{ read_delay: 1ms, host: a, turn: 1, run: 2 }",
            "{ ahead: 1ms, host: a, turn: 1 }",
            "{ slow: 10ppm, host: a, run: 1 }",
            "{ slow: 10, host: a }",
            "{ slow: 1000001ppm, host: a }",
            "{ host: a }",
        ] {
            assert!(serde_yaml::from_str::<Perturbation<String>>(line).is_err(), "{line}");
        }
    }
}
