//! Which fields Envoy's messages have, for texts that name one outside of a configuration.

use serde::Deserialize;

use super::bootstrap::{self, cluster, listener, route};
use super::error::{Cause, Position};
use super::yaml::{Entry, Node, Notes, Value, decode};

/// A message that `/config_dump` shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message {
    /// `envoy.config.bootstrap.v3.Bootstrap`
    Bootstrap,
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    RouteConfiguration,
}

impl Message {
    /// Has the message a field at the end of these steps? Every step but the last is the name of a message that is neither
    /// repeated nor an Any. What stands inside of a field that finwait refuses or ignores is taken for a field.
    #[must_use]
    pub fn has(self, steps: &[&str]) -> bool {
        let is_name = |step: &&str| !step.is_empty() && *step == super::yaml::snake_case(step);
        if steps.is_empty() || !steps.iter().all(is_name) {
            return false;
        }
        let at = Position { line: 0, column: 0 };
        // A field that is null says what an absent one says: it is looked up, and has no value that could be wrong.
        let tree = steps.iter().rfold(Node { at, value: Value::Null }, |value, step| {
            let entry = Entry { at, key: (*step).to_owned(), value };
            Node { at, value: Value::Map(vec![entry]) }
        });
        match self {
            Self::Bootstrap => is_known::<bootstrap::Bootstrap>(&tree),
            Self::Cluster => is_known::<cluster::Cluster>(&tree),
            Self::Listener => is_known::<listener::Listener>(&tree),
            Self::RouteConfiguration => is_known::<route::RouteConfiguration>(&tree),
        }
    }
}

/// Are all fields of `tree` known to the message? That others are missing, or have no value, is no matter.
fn is_known<'de, T: Deserialize<'de>>(tree: &'de Node) -> bool {
    let notes = Notes::default();
    notes.demand_lists();
    let Err(problem) = decode::<T>(tree, &notes) else { return true };
    !matches!(*problem.cause, Cause::Old { .. } | Cause::Unknown { .. } | Cause::WrongType { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_envoys_messages() {
        use Message::{Bootstrap, Cluster, Listener, RouteConfiguration};
        for (message, path, expected) in [
            (Bootstrap, "admin", true),
            (Bootstrap, "admin.address.socket_address", true),
            (Bootstrap, "node.id", true),
            (Bootstrap, "static_resources.clusters", true),
            (Bootstrap, "static_resources.clusters.name", false),
            (Bootstrap, "admin.foo", false),
            (Bootstrap, "foo", false),
            (Bootstrap, "", false),
            (Bootstrap, "admin..address", false),
            (Cluster, "name", true),
            (Cluster, "name.x", false),
            (Cluster, "connect_timeout", true),
            (Cluster, "connectTimeout", false),
            (Cluster, "load_assignment.cluster_name", true),
            (Cluster, "load_assignment.endpoints.lb_endpoints", false),
            (Cluster, "typed_extension_protocol_options.x", false),
            (Cluster, "upstream_bind_config.source_address", true),
            (Listener, "address.socket_address.port_value", true),
            (Listener, "filter_chains", true),
            (Listener, "filter_chains.filters", false),
            (RouteConfiguration, "name", true),
            (RouteConfiguration, "virtual_hosts", true),
            (RouteConfiguration, "virtual_hosts.name", false),
        ] {
            let steps: Vec<&str> = path.split('.').collect();
            assert_eq!(message.has(&steps), expected, "{message:?} {path}");
        }
    }
}
