//! What the user wrote, turned into what the program means.
//!
//! Pure: no clock, no socket, no other module of this crate. Past this folder nothing is checked twice and
//! no default is chosen twice.
//!
//! The way of a file: text, `yaml` tree, `bootstrap` messages as Envoy has them and, by `interpret`,
//! [`Config`].

mod bootstrap;
pub mod cluster;
mod error;
pub mod health;
mod interpret;
pub mod listener;
pub mod log_format;
mod places;
mod problem;
pub mod retry;
pub mod route;
pub mod trust;
mod units;
mod unsupported;
mod yaml;

use std::net::SocketAddr;

pub use cluster::Cluster;
pub use error::{Cause, ConfigError, Name, Place, Position, Warning};
pub use listener::Listener;
pub use places::Places;

/// A whole configuration, as meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the admin interface listens, if anywhere.
    pub admin: Option<SocketAddr>,
    /// The listeners, in the order of the file.
    pub listeners: Vec<Listener>,
    /// The clusters, in the order of the file; names are unique.
    pub clusters: Vec<Cluster>,
    /// Where it departs from Envoy. No file says so: the program's arguments do.
    pub differences: Differences,
    /// The file as JSON, for `/config_dump`.
    pub dump: serde_json::Value,
}

/// Where finwait departs from Envoy on purpose. Each can be switched off, for comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent switches")]
pub struct Differences {
    /// The socket of an idle connection is asked for its end before a request is committed to it.
    pub look_before_reuse: bool,
    /// A request of which nothing was written moves on to another connection, without counting as a retry.
    pub redispatch: bool,
    /// An idempotent request that was lost on a reused connection, before any byte of an answer, is sent once more.
    pub resend: bool,
    /// A retry after a lost connection uses a connection that has carried nothing yet.
    pub retry_fresh: bool,
}

impl Differences {
    /// As Envoy does it.
    pub const NONE: Self = Self { look_before_reuse: false, redispatch: false, resend: false, retry_fresh: false };
}

impl Default for Differences {
    fn default() -> Self {
        Self { look_before_reuse: true, redispatch: true, resend: true, retry_fresh: true }
    }
}

/// A configuration that was accepted.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What its author should know, in the order of the file.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads `text`, which is YAML or JSON in Envoy's v3 form. `file` is its name, for messages alone.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its place. A field that Envoy knows and finwait does not act on is an error
    /// if its absence would change the behaviour, and else a warning.
    pub fn from_yaml(text: &str, file: &str) -> Result<Loaded, ConfigError> {
        let notes = yaml::Notes::default();
        let config = Self::read(text, &notes).map_err(|problem| ConfigError::new(problem, file, text))?;
        let warning = |(place, text)| Warning { file: file.to_owned(), place, text };
        Ok(Loaded { config, warnings: notes.into_sorted().into_iter().map(warning).collect() })
    }

    fn read(text: &str, notes: &yaml::Notes) -> Result<Self, problem::Problem> {
        let tree = yaml::Node::parse(text)?;
        let bootstrap = yaml::decode(&tree, notes)?;
        interpret::interpret(bootstrap, tree.to_json(), notes)
    }
}
