//! Endpoints of a forward proxy (`envoy.clusters.dynamic_forward_proxy`): each is a host that a request has named, at the addresses
//! that its cache of hosts finds. It comes with the first request and goes when the cache forgets the host. When the host moves,
//! connections that are there serve on, as in Envoy, and new ones go to the new addresses.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::endpoint_table::Effect;
use super::{Cluster, Endpoint, Location};
use crate::codec::RequestHead;
use crate::config::cluster::Discovery;
use crate::dns_cache::{Host, HostState, HostWatch, Lookup, WantedHost};
use crate::net::Address;

/// A host that is an endpoint.
pub(super) struct ForwardHost {
    host: Arc<Host>,
    endpoint: Rc<Endpoint>,
}

impl Cluster {
    /// The port of a host that a request names without one; `None` of a cluster that is no forward proxy.
    #[must_use]
    pub fn forward_port(&self) -> Option<u16> {
        match self.shared.config.discovery {
            Discovery::Forward(_) if self.shared.config.socket.tls.is_some() => Some(443),
            Discovery::Forward(_) => Some(80),
            Discovery::Aggregate(_)
            | Discovery::LogicalDns { .. }
            | Discovery::Original(_)
            | Discovery::Static(_)
            | Discovery::StrictDns { .. } => None,
        }
    }

    /// What is known of the host that a request names, for a forward proxy.
    #[must_use]
    pub fn look_up(&self, head: &RequestHead) -> Option<Lookup> {
        let Discovery::Forward(cache) = &self.shared.config.discovery else { return None };
        let wanted = WantedHost::of(cache, head.authority.as_ref(), self.forward_port()?);
        self.beside.upgrade().map(|clusters| clusters.hosts.find(&wanted))
    }

    /// The endpoint that this host is.
    pub(super) fn endpoint_of(&self, host: &Arc<Host>) -> Option<Rc<Endpoint>> {
        host.touch();
        let known = self
            .by_host
            .borrow()
            .get(host.key())
            .map(|known| (Arc::ptr_eq(&known.host, host), Rc::clone(&known.endpoint)));
        match known {
            Some((true, endpoint)) => return Some(endpoint),
            Some((false, _)) => self.forget_host(host.key()),
            None => {}
        }
        let state = host.watch();
        let location = location(host.key(), &host.addresses()?)?;
        let is_new = !self.shared.endpoints.has(&location.key());
        let endpoint = Rc::new(self.this.upgrade()?.endpoint(0, location));
        self.describe(&endpoint);
        self.endpoints.borrow_mut().push(Rc::clone(&endpoint));
        let known = ForwardHost { host: Arc::clone(host), endpoint: Rc::clone(&endpoint) };
        self.by_host.borrow_mut().insert(Arc::clone(host.key()), known);
        self.count_new(is_new);
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(follow(Weak::clone(&self.this), Arc::clone(host.key()), state));
        Some(endpoint)
    }

    /// A host has other addresses.
    fn move_host(&self, key: &Arc<str>, addresses: &[Address]) {
        let mut by_host = self.by_host.borrow_mut();
        let (Some(known), Some(location)) = (by_host.get_mut(key), location(key, addresses)) else { return };
        let before = Rc::clone(&known.endpoint);
        self.shared.endpoints.relocate(&before.location.key(), &location.key());
        before.pools.iter().for_each(|pools| pools.for_each(|pool| pool.relocate(location.clone())));
        known.endpoint = Rc::new(Endpoint {
            address: location.address.clone(),
            location,
            written: Cell::new(before.written.get()),
            is_used: Cell::new(true),
            cluster: RefCell::new(Weak::clone(&self.this)),
            pools: Rc::clone(&before.pools),
            counts: Arc::clone(&before.counts),
        });
        let moved = Rc::clone(&known.endpoint);
        let mut endpoints = self.endpoints.borrow_mut();
        if let Some(place) = endpoints.iter_mut().find(|endpoint| Rc::ptr_eq(endpoint, &before)) {
            *place = moved;
        }
    }

    /// The cache has forgotten a host. Connections to it serve out what is on them.
    fn forget_host(&self, key: &Arc<str>) {
        let Some(ForwardHost { endpoint, .. }) = self.by_host.borrow_mut().remove(key) else { return };
        self.endpoints.borrow_mut().retain(|other| !Rc::ptr_eq(other, &endpoint));
        self.part_with(endpoint);
        self.look_at_health(Effect::Initially);
    }
}

impl Endpoint {
    /// Is it a host that was at this address before it moved?
    #[must_use]
    pub fn has_moved_from(&self, address: &Address) -> bool {
        self.location.host.is_some() && !self.location.addresses().any(|now| now == address)
    }
}

/// Keeps the endpoint that a host is where the host is, until the cache forgets it or the cluster is gone.
async fn follow(cluster: Weak<Cluster>, key: Arc<str>, mut state: HostWatch) {
    loop {
        let now = state.changed().await;
        let Some(cluster) = cluster.upgrade() else { return };
        match now {
            HostState::Found(addresses) => cluster.move_host(&key, &addresses),
            HostState::Gone => return cluster.forget_host(&key),
            HostState::Resolving | HostState::Failed(_) => {}
        }
    }
}

fn location(key: &Arc<str>, addresses: &[Address]) -> Option<Location> {
    let location = Location::of_all(addresses.iter().cloned())?;
    Some(Location { host: Some(Arc::clone(key)), ..location })
}
