//! Endpoints of a cluster of type ORIGINAL_DST: each is where a connection was to go before the system sent it here, or where a
//! header of a request says. They come with the first connection or request, and go when no other has come for a while.

use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::endpoint_table::Effect;
use super::{Cluster, Endpoint, Location};
use crate::access_log::Downstream;
use crate::codec::RequestHead;
use crate::config::cluster::{Discovery, OriginalDestination};
use crate::net::Address;

/// So many endpoints are known at once: a header chooses them, and with it the client. Beyond that there are none, and requests get
/// 503 until some are forgotten.
const ENDPOINTS_MAX: usize = 16_384;

impl Cluster {
    /// Where a connection, or a request with this head on it, was to go. `None` if nothing says so, and of a cluster of another type.
    #[must_use]
    pub fn destination(&self, head: Option<&RequestHead>, downstream: &Downstream) -> Option<SocketAddr> {
        let Discovery::Original(OriginalDestination { header, port, .. }) = &self.shared.config.discovery else {
            return None;
        };
        let found = header.as_ref().zip(head).and_then(|(name, head)| head.headers.get(name));
        let found = found.and_then(|value| {
            let at = value.to_str().ok().and_then(|value| value.parse().ok());
            if at.is_none() {
                self.shared.stats.original_dst_host_invalid.inc();
            }
            at
        });
        let restored = || downstream.local.socket().filter(|_| downstream.is_restored());
        let mut at: SocketAddr = found.or_else(restored)?;
        if let Some(port) = port {
            at.set_port(*port);
        }
        Some(at)
    }

    /// The endpoint there.
    pub(super) fn endpoint_at(&self, at: SocketAddr) -> Option<Rc<Endpoint>> {
        if let Some(known) = self.by_destination.borrow().get(&at) {
            known.is_used.set(true);
            return Some(Rc::clone(known));
        }
        if self.by_destination.borrow().len() >= ENDPOINTS_MAX {
            return None;
        }
        let address = Address::Socket(at);
        let location = Location::from(address);
        let is_new = !self.shared.endpoints.has(&location.key());
        let endpoint = Rc::new(self.this.upgrade()?.endpoint(0, location));
        self.describe(&endpoint);
        self.endpoints.borrow_mut().push(Rc::clone(&endpoint));
        self.by_destination.borrow_mut().insert(at, Rc::clone(&endpoint));
        self.count_new(is_new);
        Some(endpoint)
    }

    /// An endpoint has come with a request, be it that no worker had it.
    pub(super) fn count_new(&self, is_new: bool) {
        if is_new {
            // It is healthy, and the others are as they were: to count them all for each new one would take ever longer.
            let stats = &self.shared.stats;
            stats.membership_change.inc();
            stats.membership_total.raise();
            stats.membership_healthy.raise();
        }
    }

    /// Forgets endpoints that were not chosen since this was last called. Connections to them serve out what is on them.
    fn forget_unused_endpoints(&self) {
        let all = std::mem::take(&mut *self.endpoints.borrow_mut());
        let (used, unused): (Vec<_>, Vec<_>) = all.into_iter().partition(|endpoint| endpoint.is_used.replace(false));
        *self.endpoints.borrow_mut() = used;
        let unused_at = unused.iter().filter_map(|endpoint| endpoint.address.socket());
        unused_at.for_each(|at| drop(self.by_destination.borrow_mut().remove(&at)));
        for endpoint in unused {
            self.part_with(endpoint);
        }
        self.look_at_health(Effect::Initially);
    }

    /// An endpoint is chosen no more: what is on its connections is served out.
    pub(super) fn part_with(&self, endpoint: Rc<Endpoint>) {
        endpoint.drain();
        let key = endpoint.location.key();
        drop(endpoint);
        // Other workers may have it still.
        if !self.shared.endpoints.has(&key) {
            self.shared.stats.membership_change.inc();
        }
    }
}

/// Forgets unused endpoints again and again, until the cluster is gone.
pub(super) async fn forget_unused(cluster: Weak<Cluster>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.forget_unused_endpoints();
    }
}
