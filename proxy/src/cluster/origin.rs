//! What connections to an endpoint take from whom they are opened for. Connections of different origins are not shared.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::pool::Pool;
use crate::access_log::Downstream;
use crate::config::Cluster as Config;
use crate::net::Address;
use crate::net::proxy_header::{ProxyVersion, proxy_header};

/// Whom a connection is opened for, as far as the endpoint learns of it.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// What comes before everything else: a PROXY header.
    pub(super) header: Option<ProxyHeader>,
}

/// A PROXY header.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ProxyHeader {
    pub(super) bytes: Bytes,
    /// TLVs that had no room in it.
    pub(super) left_out: u64,
}

impl Origin {
    /// Of this client.
    #[must_use]
    pub fn of_downstream(config: &Config, downstream: &Downstream) -> Self {
        let header = config.proxy_header.as_ref().map(|header| {
            let of_client = downstream.passed.as_ref().map_or(&[][..], |passed| &passed.tlvs);
            let is_added = |kind| header.added.iter().any(|added| added.kind == kind);
            let of_client = of_client.iter().filter(|tlv| header.passed.takes(tlv.kind) && !is_added(tlv.kind));
            let ends = downstream.peer.socket().zip(downstream.local.socket());
            let (bytes, left_out) = proxy_header(header.version, ends, header.added.iter().chain(of_client));
            ProxyHeader { bytes, left_out }
        });
        Self { header }
    }

    /// What a connection of the proxy's own begins with, between these addresses: that of a health check.
    #[must_use]
    pub fn own_header(config: &Config, local: &Address, peer: &Address) -> Option<Bytes> {
        let header = config.proxy_header.as_ref()?;
        // Version 2 has a command of its own for this.
        let ends = local.socket().zip(peer.socket()).filter(|_| header.version == ProxyVersion::V1);
        Some(proxy_header(header.version, ends, []).0)
    }
}

/// The pools of one endpoint and priority: one for each origin that its connections have.
pub(super) struct Pools {
    /// The pool of connections that take nothing.
    plain: Rc<Pool>,
    others: RefCell<Others>,
}

#[derive(Default)]
struct Others {
    pools: BTreeMap<Origin, Rc<Pool>>,
    /// As many were in use when those that are not were last taken out.
    in_use: usize,
}

/// So many pools that are not in use may be there beside as many again as are.
const UNUSED_MIN: usize = 8;

impl Pools {
    pub(super) fn new(plain: Rc<Pool>) -> Self {
        Self { plain, others: RefCell::default() }
    }

    /// The pool of connections that take nothing.
    pub(super) fn plain(&self) -> &Pool {
        &self.plain
    }

    /// The pool of `origin`; `open` makes it.
    pub(super) fn of(&self, origin: &Origin, open: impl FnOnce(Origin) -> Rc<Pool>) -> Rc<Pool> {
        if *origin == Origin::default() {
            return Rc::clone(&self.plain);
        }
        let mut others = self.others.borrow_mut();
        if let Some(pool) = others.pools.get(origin) {
            return Rc::clone(pool);
        }
        if others.pools.len() >= others.in_use.saturating_mul(2) + UNUSED_MIN {
            others.pools.retain(|_, pool| Rc::strong_count(pool) > 1 || pool.is_in_use());
            others.in_use = others.pools.len();
        }
        let pool = open(origin.clone());
        others.pools.insert(origin.clone(), Rc::clone(&pool));
        pool
    }

    /// Does `each` with every pool.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Pool)) {
        each(&self.plain);
        let others: Vec<_> = self.others.borrow().pools.values().map(Rc::clone).collect();
        others.iter().for_each(|pool| each(pool));
    }
}
