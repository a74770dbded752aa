//! A span that is over.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::Context;

/// A span that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its ids.
    pub context: Context,
    /// Which side of a call it is.
    pub kind: Kind,
    /// Whether the other side may have the same span.
    pub is_shared: bool,
    /// What it is called.
    pub name: String,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// When it was over.
    pub ended: SystemTime,
    /// What is said of it.
    pub tags: Tags,
    /// What happened when.
    pub annotations: Vec<(SystemTime, &'static str)>,
    /// The status of the response; 0 is none.
    pub status: u16,
    /// What the caller said of the trace besides.
    pub state: String,
    /// Where.
    pub at: Endpoint,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// That which makes it.
    Client,
    /// That which it is made to.
    Server,
}

/// Where a span was.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// An address of the host.
    pub ip: Option<IpAddr>,
    /// The service; empty is not said.
    pub service: String,
}

/// What is said of a span, in the order in which it was first said.
#[derive(Clone, Debug, Default)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Says this; of one name, the last counts.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, said)) => value.clone_into(said),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}
