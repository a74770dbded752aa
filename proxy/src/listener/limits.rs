//! How many connections there may be: of one listener, and of all together. Runtime keys set the limits, and for all together the
//! overload manager; without them there is no limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config;
use crate::config::runtime::{GLOBAL_CONNECTION_LIMIT, connection_limit};
use crate::permits::{Limit, Permit};
use crate::runtime::Runtime;
use crate::stats::ListenerStats;

/// The limits of open connections, of all listeners together and of each, shared by all workers.
#[derive(Debug)]
pub struct ConnectionLimits {
    runtime: Arc<Runtime>,
    global: Arc<Limit>,
    /// By the listener's name, so that all workers count against one limit.
    of_listeners: Mutex<BTreeMap<String, Arc<Limit>>>,
}

/// The limits that a listener's connections are counted against.
#[derive(Debug)]
pub struct ListenerLimits {
    global: Arc<Limit>,
    own: Arc<Limit>,
    /// The global limit counts the connections and refuses none.
    ignores_global: bool,
}

/// A connection's share of the limits. Returns on drop.
#[derive(Debug)]
pub struct ConnectionPermit {
    _global: Permit,
    _own: Permit,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overflow {
    /// That of all listeners together.
    Global,
    /// That of this listener.
    Listener,
}

impl ConnectionLimits {
    /// The limits that the keys of `runtime` set.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>) -> Self {
        let global = Limit::new(runtime.watch(GLOBAL_CONNECTION_LIMIT.to_owned(), u32::MAX));
        Self { runtime, global, of_listeners: Mutex::default() }
    }

    /// Changes the limit of all listeners together, where no runtime key sets it. Connections that are open stay.
    pub fn set_global(&self, max: Option<u32>) {
        self.global.set_default(max.unwrap_or(u32::MAX));
    }

    /// The limits of one of the listeners.
    #[must_use]
    pub fn of(&self, listener: &config::Listener) -> ListenerLimits {
        let mut limits = self.of_listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of listeners that a configuration has left out go with their last connection.
        limits.retain(|_, limit| Arc::strong_count(limit) > 1);
        let own = limits.entry(listener.name.clone());
        let own = own.or_insert_with_key(|name| Limit::new(self.runtime.watch(connection_limit(name), u32::MAX)));
        ListenerLimits {
            global: Arc::clone(&self.global),
            own: Arc::clone(own),
            ignores_global: listener.ignores_global_limit,
        }
    }
}

impl ListenerLimits {
    /// Leave for one more connection.
    ///
    /// # Errors
    /// One of the limits is reached; the global one is tried first.
    pub fn permit(&self) -> Result<ConnectionPermit, Overflow> {
        let global = match self.ignores_global {
            true => self.global.permit_past_limit(),
            false => self.global.permit().ok_or(Overflow::Global)?,
        };
        let own = self.own.permit().ok_or(Overflow::Listener)?;
        Ok(ConnectionPermit { _global: global, _own: own })
    }
}

impl Overflow {
    /// Counts a connection that was refused for it.
    pub fn count(self, stats: &ListenerStats) {
        match self {
            Self::Global => stats.downstream_global_cx_overflow.inc(),
            Self::Listener => stats.downstream_cx_overflow.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Differences};

    const LISTENERS: &str = r#"
layered_runtime:
  layers:
  - name: fixed
    static_layer: { envoy.resource_limits.listener.a.connection_limit: 1, overload.global_downstream_max_connections: 2 }
  - { name: admin, admin_layer: {} }
static_resources:
  listeners:
  - &listener
    name: a
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config: {}
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
  - { <<: *listener, name: b }
  - { <<: *listener, name: c, ignore_global_conn_limit: true }
"#;

    #[test]
    fn a_connection_needs_a_permit_of_its_listener_and_of_all_listeners_together() {
        let config = Config::from_yaml(LISTENERS, "envoy.yaml").unwrap().config;
        let runtime = Arc::new(Runtime::new(config.runtime.clone(), Differences::NONE));
        let limits = ConnectionLimits::new(Arc::clone(&runtime));
        let [a, b, c] = [0, 1, 2].map(|nth| limits.of(&config.listeners[nth]));
        let of_another_worker = limits.of(&config.listeners[0]);
        let first = a.permit().unwrap();
        assert_eq!(of_another_worker.permit().unwrap_err(), Overflow::Listener);
        let second = b.permit().unwrap();
        assert_eq!(b.permit().unwrap_err(), Overflow::Global, "what the listener refused does not count");
        let third = c.permit().unwrap();
        runtime.modify([("overload.global_downstream_max_connections", "4")].into_iter()).unwrap();
        let fourth = b.permit().unwrap();
        assert_eq!(b.permit().unwrap_err(), Overflow::Global);
        drop((first, second, third, fourth));
        assert!(a.permit().is_ok());
    }
}
