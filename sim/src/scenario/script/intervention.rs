//! What a script can do to the world itself: hold and lose segments, stop hosts, change clocks and names.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess};

use super::reload::Reload;
use crate::scenario::units::{Size, Time, TimeStep};
use crate::segment::SegmentKind;

/// Something that happens to hosts or links.
#[derive(Clone, Debug)]
pub enum Intervention {
    /// Segments vanish from now on.
    BlackHole(Direction),
    /// A host's wall clock is set.
    Clock(ClockStep),
    /// Some segments arrive later.
    Delay(Segments),
    /// A proxy is ordered to finish.
    Drain(Draining),
    /// Some segments get lost.
    Drop(Segments),
    /// So many bytes pass, then all is held.
    Gate(Gate),
    /// Segments wait from now on.
    Hold(Direction),
    /// The processes of a host are killed.
    Kill(String),
    /// Segments vanish in both directions.
    Partition(Pair),
    /// A host loses power.
    PowerOff(String),
    /// What was held passes, and all that follows.
    Release(Direction),
    /// A proxy reads another configuration.
    Reload(Box<Reload>),
    /// A partition ends.
    Repair(Pair),
    /// A name resolves to other addresses.
    Resolve(Naming),
    /// A host's program starts again.
    Restart(String),
    /// The processes of a host do not run for a while.
    Stall(Stall),
}

/// One direction between two hosts: `app -> proxy`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Direction {
    /// The host that sends.
    pub from: String,
    /// The host that receives.
    pub to: String,
}

/// Two hosts, as in `links`: `proxy-app`. Which names these are is found when the hosts are known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Pair(pub String);

/// A change of a host's wall clock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockStep {
    /// The host concerned.
    pub host: String,
    /// By how much, forwards or backwards.
    pub by: TimeStep,
}

/// Segments that a fault is about.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// The direction in which packets are affected.
    pub direction: Direction,
    /// The kind of segment.
    #[serde(default)]
    pub segment: SegmentKind,
    /// Which connection between the two hosts, counted from 1; any if absent.
    pub connection: Option<u32>,
    /// How many of them pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many it then takes.
    #[serde(default = "Segments::default_times")]
    pub times: u32,
    /// How much later they arrive; of `delay` alone.
    pub by: Option<Time>,
}

impl Segments {
    fn default_times() -> u32 {
        1
    }
}

/// A proxy that is ordered to finish.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draining {
    /// The name of the host.
    pub host: String,
    /// How long it may take, once its listeners are closed, before it is cut.
    pub time: Time,
    /// How long its listeners go on accepting; not at all without it.
    pub listeners_after: Option<Time>,
}

/// A gate in one direction.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The direction in which packets are affected.
    pub direction: Direction,
    /// How much payload passes.
    pub bytes: Size,
}

/// What a name resolves to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Naming {
    /// The name that resolves differently from now on.
    pub name: String,
    /// What the name server responds; `answer` for whom that reads better.
    #[serde(alias = "answer")]
    pub to: NameAnswer,
    /// How long the name server takes to respond; without it no time.
    pub after: Option<Time>,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, to, after } = self;
        match to {
            NameAnswer::Addresses(to) if to.is_empty() => write!(f, "{name} resolves to nothing"),
            NameAnswer::Addresses(to) => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                write!(f, "{name} resolves to {}", to.join(", "))
            }
            NameAnswer::NoSuchName => write!(f, "{name} does not exist (NXDOMAIN)"),
            NameAnswer::ServerFailed => write!(f, "the name server fails for {name} (SERVFAIL)"),
        }?;
        after.map_or(Ok(()), |after| write!(f, ", {after} after each query"))
    }
}

/// What a name server responds.
#[derive(Clone, Debug)]
pub enum NameAnswer {
    /// These addresses; with none the name exists and has no address.
    Addresses(Vec<IpAddr>),
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The server failed (SERVFAIL): nothing is known.
    ServerFailed,
}

impl<'de> Deserialize<'de> for NameAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected nxdomain, servfail or a list of addresses")]
        enum Written {
            Addresses(Vec<IpAddr>),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Addresses(addresses) => Ok(Self::Addresses(addresses)),
            Written::Word(word) => match word.to_ascii_lowercase().as_str() {
                "nxdomain" => Ok(Self::NoSuchName),
                "servfail" => Ok(Self::ServerFailed),
                _ => {
                    Err(D::Error::custom(format!("`{word}` is neither nxdomain nor servfail nor a list of addresses")))
                }
            },
        }
    }
}

/// A host that does not run for a while.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The name of the host.
    pub host: String,
    /// How long it lasts.
    pub time: Time,
}

impl Intervention {
    /// Their keys in a script.
    pub const WORDS: [&str; 16] = [
        "black_hole",
        "clock",
        "delay",
        "drain",
        "drop",
        "gate",
        "hold",
        "kill",
        "partition",
        "power_off",
        "release",
        "reload",
        "repair",
        "resolve",
        "restart",
        "stall",
    ];

    pub(crate) fn has(word: &str) -> bool {
        Self::WORDS.contains(&word)
    }

    /// Reads the value of one of [`Intervention::WORDS`].
    pub(crate) fn read<'de, A: MapAccess<'de>>(word: &str, map: &mut A) -> Result<Self, A::Error> {
        match word {
            "black_hole" => map.next_value().map(Self::BlackHole),
            "clock" => map.next_value().map(Self::Clock),
            "delay" => {
                let segments: Segments = map.next_value()?;
                if segments.by.is_none() {
                    return Err(A::Error::custom("`delay` needs `by`: how much later, as in `by: 10ms`"));
                }
                Ok(Self::Delay(segments))
            }
            "drain" => map.next_value().map(Self::Drain),
            "drop" => {
                let segments: Segments = map.next_value()?;
                if segments.by.is_some() {
                    return Err(A::Error::custom("`by` belongs to `delay`: what is dropped never arrives"));
                }
                Ok(Self::Drop(segments))
            }
            "gate" => map.next_value().map(Self::Gate),
            "hold" => map.next_value().map(Self::Hold),
            "kill" => map.next_value().map(Self::Kill),
            "partition" => map.next_value().map(Self::Partition),
            "power_off" => map.next_value().map(Self::PowerOff),
            "release" => map.next_value().map(Self::Release),
            "reload" => {
                let reload: Box<Reload> = map.next_value()?;
                let reads = reload.config.is_some() || !reload.patch.0.0.is_empty();
                if reads == reload.paths().next().is_some() {
                    return Err(A::Error::custom(
                        "`reload` needs `config`, another file, or `patch`, changes to the host's, or else `files` and \
                         `certificates`, what the files hold that it watches",
                    ));
                }
                Ok(Self::Reload(reload))
            }
            "repair" => map.next_value().map(Self::Repair),
            "resolve" => map.next_value().map(Self::Resolve),
            "restart" => map.next_value().map(Self::Restart),
            "stall" => map.next_value().map(Self::Stall),
            _ => Err(A::Error::custom(format!("`{word}` is not a step"))),
        }
    }

    /// The hosts it names; a pair is not taken apart.
    pub(crate) fn hosts(&self) -> Vec<&str> {
        match self {
            Self::BlackHole(way) | Self::Hold(way) | Self::Release(way) => vec![&way.from, &way.to],
            Self::Clock(ClockStep { host, .. }) | Self::Drain(Draining { host, .. }) => vec![host],
            Self::Delay(segments) | Self::Drop(segments) => vec![&segments.direction.from, &segments.direction.to],
            Self::Gate(gate) => vec![&gate.direction.from, &gate.direction.to],
            Self::Kill(host) | Self::PowerOff(host) | Self::Restart(host) => vec![host],
            Self::Reload(reload) => vec![&reload.host],
            Self::Partition(_) | Self::Repair(_) | Self::Resolve(_) => Vec::new(),
            Self::Stall(Stall { host, .. }) => vec![host],
        }
    }
}

impl<'de> Deserialize<'de> for Direction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (from, to) = text
            .split_once("->")
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a direction such as `app -> proxy`")))?;
        Ok(Self { from: from.trim().into(), to: to.trim().into() })
    }
}

impl Pair {
    /// The two of `names` it means. A host's name may have a dash in it, so every dash is tried.
    #[must_use]
    pub fn among(&self, is_host: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
        self.0.match_indices('-').find_map(|(at, _)| {
            let (a, b) = (self.0.get(..at)?.trim(), self.0.get(at + 1..)?.trim());
            (is_host(a) && is_host(b)).then_some((a, b))
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

impl fmt::Display for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.times, self.skip) {
            (1, 0) => write!(f, "the next {}", self.segment)?,
            (times, 0) => write!(f, "the next {times} times a {}", self.segment)?,
            (1, skip) => write!(f, "a {} after {skip} more", self.segment)?,
            (times, skip) => write!(f, "{times} times a {} after {skip} more", self.segment)?,
        }
        write!(f, " {}", self.direction)?;
        match self.connection {
            Some(connection) => write!(f, ", connection {connection}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Intervention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlackHole(way) => write!(f, "everything {way} vanishes"),
            Self::Clock(ClockStep { host, by }) => write!(f, "the clock of {host} is set by {by}"),
            Self::Delay(segments) => {
                write!(f, "{segments}, is delayed by {}", segments.by.unwrap_or_default())
            }
            Self::Drain(Draining { host, time, listeners_after: None }) => {
                write!(f, "{host} drains within {time}")
            }
            Self::Drain(Draining { host, time, listeners_after: Some(after) }) => {
                write!(f, "{host} drains: its listeners close after {after}, the rest is cut {time} later")
            }
            Self::Drop(segments) => write!(f, "{segments}, is lost"),
            Self::Gate(Gate { direction, bytes }) => write!(f, "{bytes} pass {direction}, the rest is held"),
            Self::Hold(way) => write!(f, "everything {way} is held"),
            Self::Kill(host) => write!(f, "{host} is killed"),
            Self::Partition(pair) => write!(f, "{} is cut", pair.0),
            Self::PowerOff(host) => write!(f, "{host} loses power"),
            Self::Release(way) => write!(f, "{way} is released"),
            Self::Reload(reload) if reload.paths().next().is_some() => {
                let paths: Vec<&str> = reload.paths().collect();
                write!(f, "{} on {} changed", paths.join(", "), reload.host)
            }
            Self::Reload(reload) => match &reload.config {
                Some(config) => write!(f, "{} reads {} in place of its configuration", reload.host, config.value),
                None => write!(f, "{} reads its configuration again, which has changed", reload.host),
            },
            Self::Repair(pair) => write!(f, "{} is whole again", pair.0),
            Self::Resolve(naming) => naming.fmt(f),
            Self::Restart(host) => write!(f, "{host} starts again"),
            Self::Stall(Stall { host, time }) => write!(f, "{host} does not run for {time}"),
        }
    }
}
