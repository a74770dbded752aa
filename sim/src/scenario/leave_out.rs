//! What a proxy of a scenario does without, of what its file has and finwait has not.

use std::convert::Infallible;
use std::str::FromStr;

use serde::Deserialize;

/// What may be left out of a configuration, of what only Envoy has.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "Written")]
pub enum LeaveOut {
    /// Whatever it is.
    Anything,
    /// What is called by one of these names: an extension's, its last part, or a field's. Each has to be of something in this
    /// configuration.
    Named(Vec<String>),
    /// Nothing: the file is refused, as by the proxy.
    #[default]
    Nothing,
    /// The same as `Named` for every proxy of a run: a name has to be of something in one of their configurations.
    Wherever(Vec<String>),
}

impl LeaveOut {
    /// The names, if it names anything.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Anything | Self::Nothing => &[],
            Self::Named(names) | Self::Wherever(names) => names,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`anything`, or a list of names such as [envoy.filters.http.lua, tracing]")]
enum Written {
    Name(String),
    Names(Vec<String>),
}

impl From<Written> for LeaveOut {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(name) if name == "anything" => Self::Anything,
            Written::Name(name) => Self::Named(vec![name]),
            Written::Names(names) if names.is_empty() => Self::Nothing,
            Written::Names(names) => Self::Named(names),
        }
    }
}

impl FromStr for LeaveOut {
    type Err = Infallible;

    /// As on a command line: names with commas between them, or `anything`.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "anything" => Self::Anything,
            names => Self::Wherever(names.split(',').map(|name| name.trim().to_owned()).collect()),
        })
    }
}
