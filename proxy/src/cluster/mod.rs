//! A destination gets a connection.
//!
//! [`Cluster::choose`] picks an endpoint, [`Pool::checkout`](pool::Pool::checkout) lends a connection to it.
//! Each worker has its own endpoints and pools, as Envoy's workers do; only stats and breakers are shared.

pub mod breaker;
mod discovery;
mod failure;
pub mod idle;
pub mod load_balancer;
pub mod pool;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub use failure::Failure;
pub use pool::{Lease, Pool};

use crate::config;
use crate::net::{Address, Outside};
use crate::stats::{ClusterStats, CodeStats, Registry};
use breaker::Breakers;

/// What all workers share of a cluster.
pub struct Shared {
    /// The cluster as configured.
    pub config: config::Cluster,
    /// `cluster.<name>.`
    pub stats: ClusterStats,
    /// Its limits.
    pub breakers: Breakers,
    /// Endpoints by address, for the admin's view.
    pub endpoints: EndpointTable,
}

/// Counts of every endpoint that any worker knows.
#[derive(Default)]
pub struct EndpointTable(std::sync::Mutex<std::collections::BTreeMap<String, Arc<EndpointStats>>>);

/// Counts of one endpoint, over all workers.
#[derive(Debug, Default)]
pub struct EndpointStats {
    /// Open connections.
    pub cx_active: crate::stats::Gauge,
    /// Connections that failed to open.
    pub cx_connect_fail: crate::stats::Counter,
    /// Connections begun.
    pub cx_total: crate::stats::Counter,
    /// Requests under way.
    pub rq_active: crate::stats::Gauge,
    /// Requests answered with 5xx or broken off.
    pub rq_error: crate::stats::Counter,
    /// Requests answered otherwise.
    pub rq_success: crate::stats::Counter,
    /// Requests begun.
    pub rq_total: crate::stats::Counter,
}

impl EndpointTable {
    /// The counts of the endpoint at `address`; made when first asked for.
    pub fn of(&self, address: &str) -> Arc<EndpointStats> {
        let mut table = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(table.entry(address.to_owned()).or_default())
    }

    /// Every endpoint, by address.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(String, Arc<EndpointStats>)> {
        let table = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        table.iter().map(|(address, stats)| (address.clone(), Arc::clone(stats))).collect()
    }
}

impl Shared {
    /// Registers the cluster's stats.
    #[must_use]
    pub fn new(config: config::Cluster, registry: &Registry) -> Self {
        let stats = ClusterStats::new(registry, &config.name);
        let breakers = Breakers::new(&config.limits);
        Self { config, stats, breakers, endpoints: EndpointTable::default() }
    }
}

/// One worker's view of a cluster.
pub struct Cluster {
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
        let cluster =
            Rc::new(Self { shared, codes, outside, endpoints: RefCell::default(), turn, tasks: RefCell::default() });
        match &cluster.shared.config.discovery {
            config::cluster::Discovery::Static(addresses) => {
                cluster.set_endpoints(addresses.iter().copied().map(Address::Socket).collect());
            }
            config::cluster::Discovery::StrictDns { targets, refresh } => {
                let first = discovery::resolve_all(&cluster.outside, targets);
                if let Ok(Some(found)) = tokio::time::timeout(FIRST_RESOLUTION_WAIT, first).await {
                    cluster.set_endpoints(found);
                }
                let refreshed = discovery::refresh(Rc::downgrade(&cluster), targets.clone(), *refresh);
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
