//! Connections that are opened where the next requests will go (`predictive_preconnect_ratio`).
//!
//! Before a request gets its connection, the cluster compares what its connections could take with what is under way, waits or
//! is expected next. Where that is too little it looks at the choices of endpoints that come next, and has their pools open
//! connections. As in Envoy this works where the choice depends on turns, weights or chance, and not where the request, its
//! hash or the active requests decide.

use std::rc::Rc;

use super::{Cluster, Endpoint, Pool};

/// So many connections are opened ahead for one request at most, as in Envoy.
const AT_ONCE_MAX: usize = 3;

impl Cluster {
    /// A request is about to get its connection: opens connections for those that will follow. `pool` is that of an endpoint.
    pub fn expect_more(&self, pool: impl Fn(&Rc<Endpoint>) -> Rc<Pool>) {
        let percent = self.shared.config.predictive_percent;
        if percent <= 100 {
            return;
        }
        for _ in 0..AT_ONCE_MAX {
            if !self.load.wants_more(percent) {
                return;
            }
            let Some(endpoint) = self.peek() else { return };
            if !pool(&endpoint).expect_one(percent) {
                return;
            }
        }
    }
}
