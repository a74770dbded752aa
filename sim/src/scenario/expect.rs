//! What a scenario's author says will be seen.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::Ordered;
use super::units::{Size, Times};

/// One line of `expect`: a host, and what it saw or logged.
///
/// The first line for a client is about its first exchange, the second about its second, and so on; the first
/// line for a proxy is about its first access-log line. An app has one line, about all it received.
#[derive(Debug)]
pub struct Expect {
    /// Whose view.
    pub host: String,
    /// What it was.
    pub seen: Seen,
}

/// What was seen; what is left out may be anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// A client's: the status of the answer.
    pub status: Option<u16>,
    /// A client's: why there was no answer, in part.
    pub error: Option<String>,
    /// A client's: the whole body of the answer.
    pub body: Option<String>,
    /// A client's: headers of the answer; null says it is absent.
    #[serde(default)]
    pub headers: Ordered<Option<String>>,
    /// A client's: from sending the request to having the whole answer, or the head of a 101.
    pub took: Option<Times>,
    /// A client's: how the connection ended.
    pub ended: Option<Ending>,
    /// A client's: text messages received over the WebSocket, all of them.
    pub received: Option<Vec<String>>,
    /// A client's: payload bytes received over the WebSocket.
    pub received_bytes: Option<Size>,
    /// A proxy's: what its access-log line contains.
    pub log: Option<String>,
    /// A proxy's: how many access-log lines it wrote; an app's: how many requests reached it.
    pub count: Option<usize>,
    /// A proxy's: counters and gauges by name, when everybody has left.
    #[serde(default)]
    pub stats: Ordered<u64>,
}

impl Seen {
    /// Whether it has a key that only a client can answer.
    #[must_use]
    pub fn asks_a_client(&self) -> bool {
        let Self { status, error, body, headers, took, ended, received, received_bytes, log: _, count: _, stats: _ } =
            self;
        status.is_some()
            || error.is_some()
            || body.is_some()
            || !headers.0.is_empty()
            || took.is_some()
            || ended.is_some()
            || received.is_some()
            || received_bytes.is_some()
    }

    /// Whether it has a key that only a proxy can answer.
    #[must_use]
    pub fn asks_a_proxy(&self) -> bool {
        self.log.is_some() || !self.stats.0.is_empty()
    }
}

/// How a connection ended, as one side saw it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The peer closed it in order.
    Fin,
    /// The peer aborted it.
    Rst,
    /// We closed or aborted it.
    Us,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Us => "us",
        })
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
        let Some((host, seen)) = map.next_entry()? else {
            return Err(A::Error::custom("an empty expectation"));
        };
        match map.next_key::<String>()? {
            None => Ok(Expect { host, seen }),
            Some(second) => Err(A::Error::custom(format!("`{second}` needs an expectation of its own"))),
        }
    }
}
