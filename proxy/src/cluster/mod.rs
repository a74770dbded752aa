//! A destination gets a connection.
//!
//! [`Cluster::choose`] picks an endpoint, [`Pool::checkout`](pool::Pool::checkout) lends a connection to it.
//! Each worker has its own endpoints and pools, as Envoy's workers do; only stats and breakers are shared.

pub mod breaker;
mod discovery;
mod failure;
pub mod load_balancer;
pub mod pool;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

pub use failure::Failure;
pub use pool::{Exclusive, Lease, Pool, Stream, Wanted};

use crate::config;
use crate::net::{Address, Outside};
use crate::stats::{ClusterStats, CodeStats, EndpointTable, Http2Stats, Registry};
use breaker::Breakers;

/// What all workers share of a cluster.
pub struct Shared {
    /// The cluster as configured.
    pub config: config::Cluster,
    /// Where it departs from Envoy.
    pub differences: config::Differences,
    /// `cluster.<name>.`
    pub stats: ClusterStats,
    /// `cluster.<name>.http2.`
    pub http2_stats: Http2Stats,
    /// Its limits.
    pub breakers: Breakers,
    /// Counts of single endpoints, for the admin's view.
    pub endpoints: Arc<EndpointTable>,
}

impl Shared {
    /// Registers the cluster's stats.
    #[must_use]
    pub fn new(config: config::Cluster, differences: config::Differences, registry: &Registry) -> Self {
        let stats = ClusterStats::new(registry, &config.name);
        let breakers = Breakers::new(&config.limits, &stats);
        let http2_stats = Http2Stats::upstream(registry, &config.name);
        Self { config, differences, stats, http2_stats, breakers, endpoints: Arc::default() }
    }
}

/// One worker's view of a cluster.
pub struct Cluster {
    /// `%UPSTREAM_CLUSTER%`
    pub name: Rc<str>,
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// Code counters, with this worker's cache of names.
    pub codes: CodeStats,
    outside: Outside,
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    turn: Cell<usize>,
    tasks: RefCell<JoinSet<()>>,
}

/// One backend.
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its connections.
    pub pool: Rc<Pool>,
}

/// How long start-up waits for the first answer of a name server; after that the cluster starts empty.
const FIRST_RESOLUTION_WAIT: Duration = Duration::from_secs(5);

impl Cluster {
    /// A cluster with its endpoints known: those of the file, or what the name server says first.
    pub async fn start(shared: Arc<Shared>, codes: CodeStats, outside: Outside) -> Rc<Self> {
        let turn = Cell::new(usize::try_from(outside.random.next_u64() >> 33).unwrap_or(0));
        let name = shared.config.name.as_str().into();
        let cluster = Rc::new(Self {
            name,
            shared,
            codes,
            outside,
            endpoints: RefCell::default(),
            turn,
            tasks: RefCell::default(),
        });
        match &cluster.shared.config.discovery {
            config::cluster::Discovery::Static(addresses) => {
                cluster.set_endpoints(addresses.iter().copied().map(Address::Socket).collect());
            }
            config::cluster::Discovery::StrictDns { family, targets, refresh } => {
                let first = discovery::resolve_all(&cluster.outside, *family, targets);
                if let Ok(Some(found)) = tokio::time::timeout(FIRST_RESOLUTION_WAIT, first).await {
                    cluster.set_endpoints(found);
                }
                let refreshed = discovery::refresh(Rc::downgrade(&cluster), *family, targets.clone(), *refresh);
                cluster.tasks.borrow_mut().spawn_local(refreshed);
            }
        }
        cluster
    }

    /// The endpoint for the next try, by the cluster's balancing policy.
    #[must_use]
    pub fn choose(&self) -> Option<Rc<Endpoint>> {
        let endpoints = self.endpoints.borrow();
        if let [only] = &endpoints[..] {
            return Some(Rc::clone(only)); // the common case needs no dice
        }
        let loads: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.pool.requests_active()).collect();
        let chance = [self.outside.random.next_u64(), self.outside.random.next_u64()];
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let chosen = load_balancer::choose(self.shared.config.balancing, &loads, turn, chance)?;
        endpoints.get(chosen).map(Rc::clone)
    }

    /// Wall time, for upstreams that name an hour at which to come back.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.outside.clock.wall()
    }

    /// Replaces the endpoints; those that stay keep their connections.
    fn set_endpoints(&self, addresses: Vec<Address>) {
        let mut endpoints = self.endpoints.borrow_mut();
        let kept = std::mem::take(&mut *endpoints);
        for address in addresses {
            let endpoint = match kept.iter().find(|endpoint| endpoint.address == address) {
                Some(endpoint) => Rc::clone(endpoint),
                None => {
                    let pool = Pool::new(Arc::clone(&self.shared), address.clone(), self.outside.clone());
                    Rc::new(Endpoint { address, pool })
                }
            };
            endpoints.push(endpoint);
        }
        self.shared.stats.membership_total.set(endpoints.len() as u64);
        self.shared.stats.membership_healthy.set(endpoints.len() as u64);
    }
}
