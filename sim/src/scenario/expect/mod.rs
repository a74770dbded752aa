//! What a scenario's author expects to be seen.

mod when;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::scenario::Ordered;
use crate::scenario::script::{Ending, ExpectedFields};
use crate::scenario::units::{Size, Times};
pub use when::{Label, When};

/// One line of `expect`: a host, and what it saw or logged.
///
/// The first line for a client is about its first exchange, the second about its second, and so on; the first
/// line for a proxy is about its first access-log line, the first for an app about the first request that reached it.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The runs it is about; all if absent.
    pub when: Option<When>,
    /// In how many of the runs with different seeds it must hold; in all if absent.
    pub share: Option<Share>,
    /// The host whose view is checked.
    pub host: String,
    /// What it was.
    pub seen: Seen,
}

/// What was seen; what is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// A client's: the status of the response.
    pub status: Option<u16>,
    /// A client's: why there was no response, in part.
    pub error: Option<String>,
    /// A client's: the whole body of the response. An app's: of the request.
    pub body: Option<String>,
    /// A client's: headers of the response; null: it is absent. An app's: of the request.
    #[serde(default)]
    pub headers: ExpectedFields,
    /// The same of its trailers.
    #[serde(default)]
    pub trailers: ExpectedFields,
    /// A client's: from sending the request to having the whole response, or the head of a 101.
    pub took: Option<Times>,
    /// A client's: how the connection ended.
    pub ended: Option<Ending>,
    /// A client's: when it ended, since the run began.
    pub ended_at: Option<Times>,
    /// A client's: text messages received over the WebSocket, all of them.
    pub received: Option<Vec<String>>,
    /// A client's: payload bytes received over the WebSocket.
    pub received_bytes: Option<Size>,
    /// A proxy's: what its access-log line contains.
    pub log: Option<String>,
    /// A proxy's: the response flags in its access-log line, wherever its format puts them; `-` for none.
    pub flags: Option<String>,
    /// A proxy's: how many access-log lines it wrote; an app's: how many requests reached it.
    pub count: Option<usize>,
    /// Any host's: when the response was complete, the line was logged or the request came, since the run began.
    pub at: Option<Times>,
    /// An app's: method and path.
    pub request: Option<String>,
    /// An app's: the times between its requests, all of them.
    pub gaps: Option<Vec<Times>>,
    /// How many connections an app accepted, or another host opened.
    pub connections: Option<usize>,
    /// A proxy's: why it refuses its configuration, in part.
    pub config_error: Option<String>,
    /// A proxy's: counters and gauges by name, when everybody has left.
    #[serde(default)]
    pub stats: Ordered<u64>,
}

impl Seen {
    /// The first of its keys that does not apply to such a host, if any.
    #[must_use]
    pub fn misfit(&self, fits: impl Fn(&str) -> bool) -> Option<&'static str> {
        let keys = [
            ("status", self.status.is_some()),
            ("error", self.error.is_some()),
            ("body", self.body.is_some()),
            ("headers", !self.headers.0.is_empty()),
            ("trailers", !self.trailers.0.is_empty()),
            ("took", self.took.is_some()),
            ("ended", self.ended.is_some()),
            ("ended_at", self.ended_at.is_some()),
            ("received", self.received.is_some()),
            ("received_bytes", self.received_bytes.is_some()),
            ("log", self.log.is_some()),
            ("flags", self.flags.is_some()),
            ("count", self.count.is_some()),
            ("at", self.at.is_some()),
            ("request", self.request.is_some()),
            ("gaps", self.gaps.is_some()),
            ("connections", self.connections.is_some()),
            ("config_error", self.config_error.is_some()),
            ("stats", !self.stats.0.is_empty()),
        ];
        keys.into_iter().find(|(key, given)| *given && !fits(key)).map(|(key, _)| key)
    }

    /// Whether it is about one exchange, log line or request, rather than about all.
    #[must_use]
    pub fn is_about_one(&self) -> bool {
        self.misfit(|key| matches!(key, "count" | "gaps" | "connections" | "config_error" | "stats")).is_some()
    }
}

/// From one share of all runs to another: `20%..40%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The least, from 0 to 1.
    pub from: f64,
    /// The most, from 0 to 1.
    pub to: f64,
}

impl Share {
    fn parse(text: &str) -> Option<Self> {
        let percent = |text: &str| Some(text.strip_suffix('%')?.parse::<f64>().ok()? / 100.0);
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from, to) = (percent(from)?, percent(to)?);
        (0.0 <= from && from <= to && to <= 1.0).then_some(Self { from, to })
    }

    /// Whether `part` of `all` is within.
    #[must_use]
    pub fn contains(&self, part: u32, all: u32) -> bool {
        (self.from..=self.to).contains(&(f64::from(part) / f64::from(all.max(1))))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.from * 100.0)?;
        if self.to > self.from { write!(f, "..{}%", self.to * 100.0) } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a share such as 20%..40%")))
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OneKey)
    }
}

struct OneKey;

impl<'de> Visitor<'de> for OneKey {
    type Value = Expect;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expectation such as `client: { status: 200 }`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Expect, A::Error> {
        let (mut when, mut share, mut found) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "when" => when = Some(map.next_value()?),
                "share" => share = Some(map.next_value()?),
                _ if found.is_some() => {
                    return Err(A::Error::custom(format!(
                        "`{key}` needs an expectation of its own: a line has one, beside `when` and `share`"
                    )));
                }
                _ => found = Some((key, map.next_value()?)),
            }
        }
        let (host, seen) = found.ok_or_else(|| {
            A::Error::custom("a line needs a host and what it saw, such as `client: { status: 200 }`")
        })?;
        Ok(Expect { when, share, host, seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let share = Share::parse("20%..40%").unwrap();
        assert!(share.contains(1, 4));
        assert!(!share.contains(1, 2));
        assert_eq!(Share::parse("100%").map(|share| share.contains(3, 3)), Some(true));
        assert_eq!(Share::parse("0.2"), None);
    }
}
