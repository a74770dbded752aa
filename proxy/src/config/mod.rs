//! What the user wrote, turned into what the program means.
//!
//! Pure: no clock, no socket, no other module of this crate. Past this folder nothing is checked twice and
//! no default is chosen twice.
//!
//! The way of a file: text, `yaml` tree, `bootstrap` messages as Envoy has them and, by `interpret`,
//! [`Config`].

pub mod access_log;
pub mod address;
pub mod assignment;
pub mod balancing;
pub mod basic_auth;
mod bootstrap;
mod changes;
pub mod client_cert;
pub mod cluster;
pub mod compression;
mod constraints;
pub mod cors;
mod difference;
pub mod dns_cache;
pub mod entry_log;
mod enumerations;
mod error;
mod every;
pub mod ext_authz;
pub mod fault;
mod fields;
pub mod filter;
pub mod filter_chain;
pub mod filter_state;
pub mod fraction;
pub mod global_rate_limit;
pub mod hashing;
pub mod header_names;
pub mod header_to_metadata;
pub mod health;
pub mod http2;
mod interpret;
pub mod json_text;
pub mod judge;
pub mod jwks;
pub mod jwt_authn;
mod kept_endpoints;
pub mod listener;
pub mod listener_filter;
pub mod local_reply;
pub mod log_filter;
pub mod log_format;
mod lookup;
pub mod lua;
pub mod matching;
mod merge;
pub mod metadata;
pub mod mutation;
pub mod mutation_rules;
pub mod network_filter;
pub mod normalisation;
mod places;
mod problem;
pub mod proxy_header;
pub mod rate_limit;
pub mod rbac;
pub mod redirects;
mod renewals;
pub mod resolution;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod rule_tree;
pub mod runtime;
pub(crate) mod script;
pub mod secret_read;
pub mod service;
pub mod socket_option;
pub mod stats;
pub mod string_match;
pub mod subsets;
mod surroundings;
pub mod tcp_proxy;
pub mod tls;
pub mod tracing;
pub mod trust;
mod units;
mod unsupported;
pub mod upstream_name;
mod yaml;

use std::io;
use std::sync::Arc;

use http::HeaderValue;

pub use address::{Address, Binding};
pub use changes::{Changes, ClusterChange, ListenerChange};
pub use cluster::{Cluster, ClusterName};
pub use difference::{Difference, Differences};
use entry_log::NodeIdentity;
pub use error::{Cause, ConfigError, Name, Place, Position, Warning};
pub use fields::Message;
pub use listener::Listener;
pub use places::Places;
pub use renewals::Renewals;
pub use surroundings::{Content, NamedFiles, SecretKind, Surroundings};

/// A whole configuration, as meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the admin interface listens, if anywhere.
    pub admin: Option<Binding>,
    /// What services are told of this process.
    pub node: Arc<NodeIdentity>,
    /// The zone of this node, if it has one.
    pub zone: Option<String>,
    /// Connections of all listeners together that may be open; `None` leaves it to the runtime.
    pub connections_max: Option<u32>,
    /// Bytes that may wait in each direction of a connection to an internal listener.
    pub internal_buffer_bytes: usize,
    /// The listeners, in the order of the file.
    pub listeners: Vec<Listener>,
    /// The clusters, in the order of the file; names are unique.
    pub clusters: Vec<Cluster>,
    /// The caches of hosts that clusters and filters name, in the order of the file; names are unique.
    pub dns_caches: Vec<Arc<dns_cache::DnsCache>>,
    /// Where it departs from Envoy, if no layer of its runtime says otherwise.
    pub differences: Differences,
    /// The layers of its runtime, the strongest last.
    pub runtime: Vec<runtime::RuntimeLayer>,
    /// Which stats are shown, and how.
    pub stats: stats::StatsOptions,
    /// The secrets that come from files of their own.
    pub secrets: Vec<secret_read::SecretRead>,
    /// Files with secrets and endpoints whose changes take effect while they are in use, in alphabetical order.
    pub watched_files: Vec<String>,
    /// The file as JSON, for `/config_dump`.
    pub dump: serde_json::Value,
}

/// A configuration that was accepted.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What its author should know, in the order of the file.
    pub warnings: Vec<Warning>,
}

/// How a text is read.
struct Loading<'a> {
    differences: Differences,
    surroundings: &'a Surroundings,
    opens: &'a dyn Fn(&str) -> io::Result<()>,
}

impl Config {
    /// Reads `text`, which is YAML or JSON in Envoy's v3 form. `file` is its name, for messages alone.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, with its place. A field that Envoy knows and finwait does not act on is an error
    /// if its absence would change the behaviour, and else a warning.
    pub fn from_yaml(text: &str, file: &str) -> Result<Loaded, ConfigError> {
        Self::from_yaml_with(text, file, Differences::ALL)
    }

    /// The same, where these departures from Envoy are in force unless the file's own runtime says otherwise.
    ///
    /// # Errors
    ///
    /// As [`Self::from_yaml`].
    pub fn from_yaml_with(text: &str, file: &str, differences: Differences) -> Result<Loaded, ConfigError> {
        Self::from_yaml_where(text, file, differences, &Surroundings::default(), &|_| Ok(()))
    }

    /// The same, where `opens` says of the path of an access log whether lines can be written to it.
    ///
    /// # Errors
    ///
    /// As [`Self::from_yaml`], and each log that cannot be opened.
    pub fn from_yaml_where(
        text: &str,
        file: &str,
        differences: Differences,
        surroundings: &Surroundings,
        opens: &dyn Fn(&str) -> io::Result<()>,
    ) -> Result<Loaded, ConfigError> {
        Self::loaded(text, file, &Loading { differences, surroundings, opens })
    }

    fn loaded(text: &str, file: &str, how: &Loading<'_>) -> Result<Loaded, ConfigError> {
        let tree = yaml::Node::parse(text).map_err(|problem| problem::error(vec![problem], file, text))?;
        let (config, notes) = Self::read(tree, how).map_err(|problems| problem::error(problems, file, text))?;
        let warning = |(place, text)| Warning { file: file.to_owned(), place, text };
        Ok(Loaded { config, warnings: notes.into_sorted().into_iter().map(warning).collect() })
    }

    /// Reads `text` as [`Self::from_yaml`] does, where certificates come from `surroundings`.
    ///
    /// # Errors
    ///
    /// As [`Self::from_yaml`].
    pub fn from_yaml_within(text: &str, file: &str, surroundings: &Surroundings) -> Result<Loaded, ConfigError> {
        Self::loaded(text, file, &Loading { differences: Differences::ALL, surroundings, opens: &|_| Ok(()) })
    }

    /// Reads `overlay`, named `overlay_name`, merged over `text` as protobuf merges messages: lists are appended, anything
    /// else is replaced.
    ///
    /// # Errors
    ///
    /// As [`Self::from_yaml_where`]; each place is one in the text that it came from.
    pub fn from_yaml_over(
        (text, file): (&str, &str),
        (overlay, overlay_name): (&str, &str),
        differences: Differences,
        surroundings: &Surroundings,
        opens: &dyn Fn(&str) -> io::Result<()>,
    ) -> Result<Loaded, ConfigError> {
        if text.trim().is_empty() {
            return Self::from_yaml_where(overlay, overlay_name, differences, surroundings, opens);
        }
        let wrong = |problem, file: &str, text: &str| problem::error(vec![problem], file, text);
        let base = yaml::Node::parse(text).map_err(|problem| wrong(problem, file, text))?;
        let over = yaml::Node::parse(overlay).map_err(|problem| wrong(problem, overlay_name, overlay))?;
        let texts = merge::Texts { first: (file, text), second: (overlay_name, overlay) };
        let tree = merge::merge(base, texts.behind(over));
        let how = Loading { differences, surroundings, opens };
        let (config, notes) = Self::read(tree, &how).map_err(|problems| texts.error(problems))?;
        let warnings = notes.into_sorted().into_iter().map(|(place, text)| texts.warning(place, text)).collect();
        Ok(Loaded { config, warnings })
    }

    /// Gives the node another name, cluster or zone than the file does; empty: that of the file.
    pub fn name_node(&mut self, id: &str, cluster: &str, zone: &str) {
        let node = field(&mut self.dump, "node");
        for (name, value) in [("id", id), ("cluster", cluster)] {
            if !value.is_empty() {
                *field(node, name) = value.into();
            }
        }
        let value = |text: &str| HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
        let managers = self.listeners.iter_mut().flat_map(Listener::managers_mut);
        for manager in managers {
            manager.own_cluster = value(cluster).unwrap_or_else(|| manager.own_cluster.clone());
            let Some(told) = &mut manager.node_names else { continue };
            told.cluster = value(cluster).unwrap_or_else(|| told.cluster.clone());
            told.id = value(id).or_else(|| told.id.take());
        }
        if !zone.is_empty() {
            *field(field(node, "locality"), "zone") = zone.into();
            self.zone = Some(zone.to_owned());
        }
    }

    fn read(mut tree: yaml::Node, how: &Loading<'_>) -> Result<(Self, yaml::Notes), Vec<problem::Problem>> {
        let Loading { differences, surroundings, opens } = *how;
        for path in &surroundings.left_out {
            tree.leave_out(path);
        }
        let read = |tree: &yaml::Node| {
            let notes = yaml::Notes::within(surroundings);
            let bootstrap = yaml::decode(tree, &notes).map_err(|problem| (every::Stage::Decoding, problem))?;
            interpret::interpret(bootstrap, tree, &notes, differences)
                .and_then(|config| notes.open_logs(opens).map(|()| config))
                .map(|config| (config, notes))
                .map_err(|problem| (every::Stage::Interpretation, problem))
        };
        read(&tree).map_err(|first| every::problem(tree, first, |tree| read(tree).map(drop)))
    }
}

/// A field of an object, made if it is not there. Anything but an object becomes one.
fn field<'v>(value: &'v mut serde_json::Value, name: &str) -> &'v mut serde_json::Value {
    if !value.is_object() {
        *value = serde_json::Value::Object(serde_json::Map::new());
    }
    &mut value[name]
}
