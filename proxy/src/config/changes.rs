//! What differs between two configurations, by name.
//!
//! The files are compared as they were read, field by field. What a new file leaves as it was goes on undisturbed, so a
//! difference that is overlooked would be a setting without effect; one that is seen for nothing costs a few connections.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::address::Binding;
use super::assignment::Assigned;
use super::{ClusterName, Config};

/// What is new in a configuration, compared with the one before it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// By name. Listeners that are the same are not here.
    pub listeners: BTreeMap<String, ListenerChange>,
    /// By name. Clusters that are the same are not here.
    pub clusters: BTreeMap<ClusterName, ClusterChange>,
    /// `bootstrap_extensions` are others: they hold for connections that begin from now on.
    pub extensions: bool,
    /// `layered_runtime` is another.
    pub runtime: bool,
}

/// What happens to a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListenerChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its routes changed, and nothing else: every connection stays, and its next request is matched against the new ones.
    Routes,
    /// Something else changed. Its socket stays; connections that are there drain.
    Options,
    /// It listens on other addresses.
    Address,
}

/// What happens to a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Something about it changed, but nothing that its connections depend on: those to endpoints that stay are kept.
    Endpoints,
    /// Its connections are made in another way, so those that are there serve out their requests.
    Connections,
}

/// The fields of a cluster that a connection that is there does not depend on.
const NOT_OF_CONNECTIONS: &[&str] = &[
    "circuit_breakers",
    "common_lb_config",
    "dns_failure_refresh_rate",
    "dns_lookup_family",
    "dns_refresh_rate",
    "eds_cluster_config",
    "health_checks",
    "lb_policy",
    "lb_subset_config",
    "least_request_lb_config",
    "load_assignment",
    "load_balancing_policy",
    "maglev_lb_config",
    "outlier_detection",
    "ring_hash_lb_config",
    "round_robin_lb_config",
    "type",
];

/// The fields that hold a route table.
const ROUTES: &[&str] = &["route_config"];

impl Changes {
    /// From nothing to `config`.
    #[must_use]
    pub fn first(config: &Config) -> Self {
        let listeners = config.listeners.iter().map(|listener| (listener.name.clone(), ListenerChange::Added));
        let clusters = config.clusters.iter().map(|cluster| (cluster.name.clone(), ClusterChange::Added));
        let (listeners, clusters) = (listeners.collect(), clusters.collect());
        Self { listeners, clusters, extensions: false, runtime: !config.runtime.is_empty() }
    }

    /// From `old` to `new`.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        let differs = |key: &str| old.dump[key] != new.dump[key];
        let (extensions, runtime) = (differs("bootstrap_extensions"), differs("layered_runtime"));
        let mut changes = Self { extensions, runtime, ..Self::default() };
        changes.compare_listeners(old, new);
        changes.compare_clusters(old, new);
        changes
    }

    /// Is everything the same?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.clusters.is_empty() && !self.extensions && !self.runtime
    }

    fn compare_listeners(&mut self, old: &Config, new: &Config) {
        let (mut old, new) = (listeners(old), listeners(new));
        for (name, (address, text)) in new {
            let change = match old.remove(name) {
                None => ListenerChange::Added,
                Some((before, _)) if before != address => ListenerChange::Address,
                Some((_, before)) if before == text => continue,
                Some((_, before)) if equal_but_for_routes(before, text) => ListenerChange::Routes,
                Some(_) => ListenerChange::Options,
            };
            self.listeners.insert(name.to_owned(), change);
        }
        self.listeners.extend(old.into_keys().map(|name| (name.to_owned(), ListenerChange::Removed)));
    }

    fn compare_clusters(&mut self, old: &Config, new: &Config) {
        let (mut old, new) = (clusters(old), clusters(new));
        for (name, (assigned, text)) in new {
            let change = match old.remove(name) {
                None => ClusterChange::Added,
                Some((used, before)) if before == text => match (assigned, used) {
                    (Some(assigned), Some(used)) if assigned.replaces(used) => ClusterChange::Endpoints,
                    _ => continue,
                },
                Some((_, before)) if equal_but_for(before, text, NOT_OF_CONNECTIONS, &Value::eq) => {
                    ClusterChange::Endpoints
                }
                Some(_) => ClusterChange::Connections,
            };
            self.clusters.insert(name.clone(), change);
        }
        self.clusters.extend(old.into_keys().map(|name| (name.clone(), ClusterChange::Removed)));
    }
}

/// The listeners by name, with where they listen and as they were read.
fn listeners(config: &Config) -> BTreeMap<&str, (Vec<&Binding>, &Value)> {
    let named = config.listeners.iter().zip(list(config, "listeners"));
    named.map(|(listener, text)| (listener.name.as_str(), (listener.bindings().collect(), text))).collect()
}

/// The clusters by name, with the files of their endpoints, as they were read.
fn clusters(config: &Config) -> BTreeMap<&ClusterName, (Option<&Assigned>, &Value)> {
    let named = config.clusters.iter().zip(list(config, "clusters"));
    named.map(|(cluster, text)| (&cluster.name, (cluster.assigned.as_ref(), text))).collect()
}

/// The listeners or clusters of the file, in its order.
fn list<'c>(config: &'c Config, name: &str) -> impl Iterator<Item = &'c Value> {
    config.dump["static_resources"][name].as_array().into_iter().flatten()
}

/// Are both the same, but for these fields, where `alike` says so of the values of others?
fn equal_but_for(one: &Value, other: &Value, fields: &[&str], alike: &dyn Fn(&Value, &Value) -> bool) -> bool {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return one == other };
    let is_compared = |name: &&String| !fields.contains(&name.as_str());
    let mut compared = one.keys().filter(is_compared);
    one.keys().filter(is_compared).count() == other.keys().filter(is_compared).count()
        && compared.all(|name| other.get(name).is_some_and(|other| alike(&one[name], other)))
}

/// Are the listeners equal but for their route tables, which lie deep in them?
fn equal_but_for_routes(one: &Value, other: &Value) -> bool {
    if let (Value::Array(one), Value::Array(other)) = (one, other) {
        return one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal_but_for_routes(one, other));
    }
    equal_but_for(one, other, ROUTES, &equal_but_for_routes)
}

/// For the log: `listeners: new +, gone -, in (routes); clusters: up (endpoints); runtime`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.listeners.iter().map(|(name, change)| match change {
            ListenerChange::Added => format!("{name} added"),
            ListenerChange::Removed => format!("{name} removed"),
            ListenerChange::Routes => format!("{name} has other routes"),
            ListenerChange::Options => format!("{name} has other options"),
            ListenerChange::Address => format!("{name} listens on other addresses"),
        });
        let clusters = self.clusters.iter().map(|(name, change)| match change {
            ClusterChange::Added => format!("{name} added"),
            ClusterChange::Removed => format!("{name} removed"),
            ClusterChange::Endpoints => format!("{name} has other endpoints or policies"),
            ClusterChange::Connections => format!("{name} has other connection options"),
        });
        let parts = [("listeners", listeners.collect::<Vec<_>>()), ("clusters", clusters.collect())];
        let parts = parts.into_iter().filter(|(_, each)| !each.is_empty());
        let parts = parts.map(|(what, each)| format!("{what}: {}", shown(&each)));
        let runtime = self.runtime.then(|| "runtime layers changed".to_owned());
        let parts: Vec<String> = parts.chain(runtime).collect();
        if parts.is_empty() { f.write_str("nothing changed") } else { f.write_str(&parts.join("; ")) }
    }
}

/// As many as fit in a line of the log.
fn shown(each: &[String]) -> String {
    const SHOWN_MAX: usize = 20;
    let mut text = each.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if each.len() > SHOWN_MAX {
        text.push_str(&format!(" and {} more", each.len() - SHOWN_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "
static_resources:
  listeners:
  - name: in
    address: { socket_address: { address: 127.0.0.1, port_value: 8080 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes: [{ match: { prefix: / }, route: { cluster: up } }]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: up
    connect_timeout: 1s
    load_assignment:
      cluster_name: up
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 1 } } } }] }]
";

    fn config(text: &str) -> Config {
        Config::from_yaml(text, "test.yaml").unwrap().config
    }

    #[test]
    fn each_kind_of_change_is_distinguished() {
        let more_clusters = format!("{BASE}  - {{ name: more, connect_timeout: 1s }}\n");
        let layers = "layered_runtime: { layers: [{ name: a, static_layer: { finwait.resend: false } }] }";
        let cases = [
            (BASE.to_owned(), "nothing changed"),
            (BASE.replace("prefix: /", "prefix: /v2"), "listeners: in has other routes"),
            (BASE.replace("stat_prefix: in", "stat_prefix: out"), "listeners: in has other options"),
            (BASE.replace("port_value: 8080", "port_value: 8081"), "listeners: in listens on other addresses"),
            (BASE.replace("name: in", "name: other"), "listeners: in removed, other added"),
            (BASE.replace("port_value: 1 ", "port_value: 2 "), "clusters: up has other endpoints or policies"),
            (BASE.replace("connect_timeout: 1s", "connect_timeout: 2s"), "clusters: up has other connection options"),
            (more_clusters.clone(), "clusters: more added"),
            (format!("{BASE}{layers}\n"), "runtime layers changed"),
        ];
        for (text, expected) in cases {
            assert_eq!(Changes::between(&config(BASE), &config(&text)).to_string(), expected);
        }
        assert_eq!(Changes::between(&config(&more_clusters), &config(BASE)).to_string(), "clusters: more removed");
    }

    #[test]
    fn a_spelling_is_no_change_and_hides_none() {
        let fields =
            ["static_resources", "filter_chains", "route_config", "virtual_hosts", "connect_timeout", "port_value"];
        let camel = |name: &str| {
            let mut words = name.split('_');
            let first = words.next().unwrap().to_owned();
            words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
        };
        let other = fields.iter().fold(BASE.to_owned(), |text, name| text.replace(name, &camel(name)));
        assert!(other.contains("staticResources"));
        assert!(Changes::between(&config(BASE), &config(&other)).is_empty());
        let changed = other.replace("prefix: /", "prefix: /v2");
        assert_eq!(Changes::between(&config(&other), &config(&changed)).to_string(), "listeners: in has other routes");
    }
}
