//! A destination gets a connection.
//!
//! [`Cluster::choose`] picks an endpoint, [`Pool::checkout`](pool::Pool::checkout) lends a connection to it.
//! Each worker has its own endpoints and pools, as Envoy's workers do; only stats and breakers are shared.

mod aggregate;
mod assigned;
mod avoided;
pub mod balancer;
pub mod breaker;
mod check;
mod check_http;
mod check_http2;
mod check_target;
mod choice;
mod clusters;
mod discovery;
mod ejection;
mod encryption;
mod endpoint_table;
mod endpoints;
mod expected;
mod failure;
mod forward;
mod handover;
mod health;
mod load;
mod location;
mod membership;
pub(crate) mod origin;
mod original;
pub mod pool;
mod pools;
mod rates;
mod recent;
mod socket_counts;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

pub use aggregate::Home;
pub use avoided::Avoided;
pub use balancer::Wish;
pub use clusters::Clusters;
pub use endpoint_table::EndpointTable;
pub use failure::Failure;
use forward::ForwardHost;
pub use handover::Handover;
use handover::Known;
pub use load::ClusterLoad;
pub use location::{EndpointKey, Location};
pub use origin::Origin;
pub use pool::{Exclusive, Lease, Pool, PoolParts, Stream, TcpConnection, Tunnel, Wanted};
use pools::Pools;
use socket_counts::SocketCounts;

use crate::config;
use crate::config::balancing::Policy;
use crate::config::cluster::{ByPriority, ClusterNames, Discovery, Priority, Refresh, UpstreamSocket};
use crate::config::retry::BACKOFF_BASE_MS;
use crate::config::runtime::{BASE_RETRY_BACKOFF, PANIC_THRESHOLD, USE_RETRY, maintenance_mode};
use crate::filter::ClusterFilterStats;
use crate::net::{Address, Outside, Random};
use crate::runtime::{Runtime, Watched};
use crate::stats::{
    AssignmentStats, BreakerStats, ClusterAuthorisations, ClusterLimits, ClusterStats, CodeStats, CodecStats, Counter,
    EndpointStats, FlowStats, GrpcStats, HandshakeStats, Registry, TableStats, TrackedStats,
};
use breaker::Breakers;
use choice::Choice;
use discovery::{Names, Resolved};
use health::Watch;

/// What all workers share of a cluster.
pub struct ClusterShared {
    /// The cluster as configured.
    pub config: config::Cluster,
    /// What operators may change, departures from Envoy among it.
    pub runtime: Arc<Runtime>,
    /// `cluster.<name>.`
    pub stats: ClusterStats,
    /// Of its requests, where that is wanted.
    pub tracked: Arc<TrackedStats>,
    /// `cluster.<name>.http1.` and `cluster.<name>.http2.`
    pub codec_stats: Arc<CodecStats>,
    /// `cluster.<name>.ssl.`, if its connections are encrypted.
    pub tls_stats: Option<HandshakeStats>,
    /// How many endpoints are connected to in which way.
    socket_counts: SocketCounts,
    /// `cluster.<name>.internal_upstream.no_metadata`: metadata that was to be passed on was not there.
    pub no_metadata: Option<Counter>,
    /// `cluster.<name>.upstream.proxyprotocol.v2_tlvs_exceed_max_length`: a PROXY header had no room for TLVs.
    pub tlvs_left_out: Option<Counter>,
    /// `cluster.<name>.update_rejected` and its like, if its endpoints come from a file of their own.
    assignment_stats: Option<AssignmentStats>,
    /// The size of its table of hashes, where these choose endpoints.
    pub table_stats: Option<TableStats>,
    /// Its circuit breakers, for each priority.
    pub breakers: Arc<ByPriority<Breakers>>,
    /// Runtime keys for its requests.
    pub keys: RequestKeys,
    /// Numbers and health of single endpoints.
    pub endpoints: Arc<EndpointTable>,
    /// A worker checks the health of the endpoints, for all workers.
    is_looked_after: Arc<AtomicBool>,
    /// Keeps its stats listed, also those that come up later.
    pub registry: Arc<Registry>,
}

/// Runtime keys for the requests to a cluster.
#[derive(Clone)]
pub struct RequestKeys {
    /// `upstream.maintenance_mode.<name>`: so many of a hundred requests are refused.
    pub maintenance: Watched,
    /// `upstream.base_retry_backoff_ms`
    pub base_retry_backoff_ms: Watched,
    /// `upstream.healthy_panic_threshold`: the configuration's, where no layer has it. Hundredths of a percent.
    pub panic_threshold: Watched,
    /// `upstream.use_retry`: so many of a hundred retries are made.
    pub use_retry: Watched,
}

impl RequestKeys {
    fn new(config: &config::Cluster, runtime: &Runtime) -> Self {
        let threshold = config.panic_threshold;
        Self {
            base_retry_backoff_ms: runtime.watch(BASE_RETRY_BACKOFF.to_owned(), BACKOFF_BASE_MS),
            panic_threshold: runtime.watch_percentage(PANIC_THRESHOLD.to_owned(), threshold),
            maintenance: runtime.watch(maintenance_mode(&config.name), 0),
            use_retry: runtime.watch(USE_RETRY.to_owned(), 100),
        }
    }

    /// Draws whether a share of a hundred takes this one.
    pub(crate) fn draws(percent: &Watched, random: &dyn Random) -> bool {
        match percent.get() {
            0 => false,
            100.. => true,
            percent => random.next_u64() % 100 < percent.into(),
        }
    }
}

impl ClusterShared {
    /// Registers the cluster's stats.
    #[must_use]
    pub fn new(config: config::Cluster, runtime: Arc<Runtime>, registry: &Registry) -> Self {
        let registry = &Arc::new(registry.scope());
        let stats = ClusterStats::new(registry, config.stat_name());
        let breakers = ByPriority::new(|priority| {
            let limits = config.limits.of(priority);
            let breakers = Breakers::new(&config.name, priority, limits, &runtime);
            breakers.register(&BreakerStats::new(registry, config.stat_name(), priority), limits);
            breakers
        });
        let codec_stats = Arc::new(CodecStats::upstream(registry, config.stat_name()));
        Self {
            assignment_stats: assigned::stats(&config, registry),
            tracked: tracked(&config, registry),
            tls_stats: tls_stats(&config, registry),
            socket_counts: SocketCounts::new(&config, registry),
            no_metadata: no_metadata(&config, registry),
            tlvs_left_out: tlvs_left_out(&config, registry),
            table_stats: table_stats(&config, registry),
            keys: RequestKeys::new(&config, &runtime),
            config,
            runtime,
            stats,
            codec_stats,
            breakers: Arc::new(breakers),
            endpoints: Arc::default(),
            is_looked_after: Arc::default(),
            registry: Arc::clone(registry),
        }
    }

    /// The same cluster with another configuration: what was counted stays, and what is under way counts against the new
    /// limits.
    #[must_use]
    pub fn changed(&self, config: config::Cluster) -> Self {
        Self {
            assignment_stats: assigned::stats(&config, &self.registry),
            tracked: tracked(&config, &self.registry),
            tls_stats: tls_stats(&config, &self.registry),
            socket_counts: SocketCounts::new(&config, &self.registry),
            no_metadata: no_metadata(&config, &self.registry),
            tlvs_left_out: tlvs_left_out(&config, &self.registry),
            table_stats: table_stats(&config, &self.registry),
            config,
            runtime: Arc::clone(&self.runtime),
            stats: self.stats.clone(),
            codec_stats: Arc::clone(&self.codec_stats),
            breakers: Arc::clone(&self.breakers),
            keys: self.keys.clone(),
            endpoints: Arc::clone(&self.endpoints),
            is_looked_after: Arc::clone(&self.is_looked_after),
            registry: Arc::clone(&self.registry),
        }
    }
}

fn tracked(config: &config::Cluster, registry: &Registry) -> Arc<TrackedStats> {
    Arc::new(TrackedStats::new(registry, config.stat_name(), config.extra_stats))
}

fn tls_stats(config: &config::Cluster, registry: &Arc<Registry>) -> Option<HandshakeStats> {
    let is_needed = config.sockets().any(|socket| socket.tls.is_some());
    is_needed.then(|| HandshakeStats::of_cluster(registry, config.stat_name()))
}

fn no_metadata(config: &config::Cluster, registry: &Registry) -> Option<Counter> {
    let is_needed = config.sockets().any(|socket| socket.passing.is_some());
    is_needed.then(|| ClusterStats::no_metadata(registry, config.stat_name()))
}

fn tlvs_left_out(config: &config::Cluster, registry: &Registry) -> Option<Counter> {
    let is_needed = config.sockets().any(|socket| socket.proxy_header.is_some());
    is_needed.then(|| ClusterStats::tlvs_left_out(registry, config.stat_name()))
}

fn table_stats(config: &config::Cluster, registry: &Registry) -> Option<TableStats> {
    match config.balancing.policy {
        Policy::Maglev(_) => Some(TableStats::maglev(registry, config.stat_name())),
        Policy::RingHash(_) => Some(TableStats::ring(registry, config.stat_name())),
        Policy::LeastRequest(_) | Policy::Random | Policy::RoundRobin(_) => None,
    }
}

impl ClusterShared {
    /// Its limits are in force.
    pub fn enforce_limits(&self) {
        self.keys.panic_threshold.set_default(self.config.panic_threshold);
        for priority in [Priority::Default, Priority::High] {
            self.breakers.of(priority).set_limits(self.config.limits.of(priority));
        }
    }
}

/// One worker's view of a cluster.
pub struct Cluster {
    this: Weak<Self>,
    /// The worker's own copy, since each request clones it.
    pub names: Rc<ClusterNames>,
    /// What the workers share.
    pub shared: Arc<ClusterShared>,
    /// Of `shared.stats`; the worker's own copy, since each request keeps it.
    pub flow: Rc<FlowStats>,
    /// Code counters, with this worker's cache of names.
    pub codes: Rc<CodeStats>,
    /// Counters of gRPC methods, with this worker's names.
    pub methods: Rc<GrpcStats>,
    /// Decisions of authorisation services about requests to it.
    pub authorisations: Rc<ClusterAuthorisations>,
    /// What rate limit services have said of requests to it.
    pub limits: Rc<ClusterLimits>,
    outside: Outside,
    /// The clusters of the worker, itself among them.
    beside: Weak<Clusters>,
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    /// Some of them are none any more.
    has_gone: Cell<bool>,
    /// The same by where they are, where that is how they are chosen.
    by_destination: RefCell<BTreeMap<SocketAddr, Rc<Endpoint>>>,
    /// The same by the hosts that they are, where requests name these.
    by_host: RefCell<BTreeMap<Arc<str>, ForwardHost>>,
    /// How one of them is chosen.
    choice: RefCell<Choice>,
    tasks: RefCell<JoinSet<()>>,
    /// This worker checks the health of the endpoints.
    checks_health: bool,
    /// The first checks have been made: from then on changes of health may take effect together.
    is_started: Cell<bool>,
    /// The addresses that each name resolved to, for the cluster of the next configuration.
    known: RefCell<Vec<Known>>,
    /// What its connections carry, and could carry.
    load: Rc<ClusterLoad>,
}

/// An endpoint of a cluster: an address, its health and its pools.
pub struct Endpoint {
    /// Where it listens; of a logical endpoint, the first address of the last response.
    pub address: Address,
    location: Location,
    /// Which of the configuration's endpoints it is, in their order.
    written: Cell<usize>,
    /// It was chosen since unused ones were last looked for, where endpoints come from connections.
    is_used: Cell<bool>,
    cluster: RefCell<Weak<Cluster>>,
    /// Its connections: those of one priority serve no other, nor do those of one origin.
    pools: Rc<ByPriority<Pools>>,
    /// Its numbers and health, which all workers share.
    pub counts: Arc<EndpointStats>,
}

impl Endpoint {
    /// Its connections for requests of `priority` and `origin`.
    #[must_use]
    pub fn pool(&self, priority: Priority, origin: &Origin) -> Rc<Pool> {
        let pools = self.pools.of(priority);
        pools.of(origin, |origin| pools.plain().of_origin(origin))
    }

    /// It is not to be used for now: idle connections close, busy ones take nothing more.
    pub fn drain(&self) {
        self.pools.iter().for_each(|pools| pools.for_each(Pool::drain));
    }

    /// `per_try_idle_timeout` passed after part of a response.
    pub fn report_idle_timeout(&self) {
        let Some(cluster) = self.cluster() else { return };
        cluster.shared.stats.upstream_rq_per_try_idle_timeout.inc();
        cluster.report_timeout(self);
    }

    /// How connections to it are made, if it is of a cluster with this configuration.
    fn socket<'c>(&self, config: &'c config::Cluster) -> &'c UpstreamSocket {
        config.socket(self.location.socket)
    }

    fn cluster(&self) -> Option<Rc<Cluster>> {
        self.cluster.borrow().upgrade()
    }

    /// Is it an endpoint of this cluster, and not of one that has taken over?
    fn is_of(&self, cluster: &Cluster) -> bool {
        std::ptr::eq(self.cluster.borrow().as_ptr(), cluster)
    }
}

/// How long start-up waits for the first response of a name server; after that the cluster starts empty.
const FIRST_RESOLUTION_WAIT: Duration = Duration::from_secs(5);

impl Cluster {
    /// A cluster with its endpoints known: those of the file, or those that the names resolve to first.
    pub async fn start(
        shared: Arc<ClusterShared>,
        codes: CodeStats,
        outside: Outside,
        beside: Weak<Clusters>,
        before: Handover,
    ) -> Rc<Self> {
        let choice = RefCell::new(Choice::new(outside.random.next_u64()));
        let is_first = || !shared.is_looked_after.swap(true, Ordering::Relaxed);
        let checks_health = before.checks_health.unwrap_or_else(is_first);
        let cluster = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            names: Rc::new(shared.config.names()),
            flow: Rc::new(shared.stats.flow.clone()),
            methods: Rc::new(GrpcStats::new(&shared.registry, shared.config.stat_name())),
            authorisations: Rc::new(ClusterAuthorisations::new(&shared.registry, shared.config.stat_name())),
            limits: Rc::new(ClusterLimits::new(&shared.registry, shared.config.stat_name())),
            shared,
            codes: Rc::new(codes),
            outside,
            beside,
            endpoints: RefCell::default(),
            has_gone: Cell::new(false),
            by_destination: RefCell::default(),
            by_host: RefCell::default(),
            choice,
            tasks: RefCell::default(),
            checks_health,
            is_started: Cell::new(false),
            known: RefCell::new(before.known.clone()),
            load: Rc::clone(&before.load),
        });
        match &cluster.shared.config.discovery {
            Discovery::Aggregate(_) | Discovery::Forward(_) => {}
            Discovery::Static(addresses) => {
                let endpoints = (0..).zip(addresses).map(|(nth, at)| (nth, Location::from(at.clone()))).collect();
                let watches = cluster.set_endpoints(endpoints, &before);
                cluster.first_round(watches).await;
            }
            Discovery::StrictDns { family, targets, refresh } => {
                let names = Names::strict(&cluster, *family, targets, &before.known);
                cluster.start_names(names, *refresh, &before).await;
            }
            Discovery::Original(options) => {
                let cleaned = original::forget_unused(Rc::downgrade(&cluster), options.cleanup);
                cluster.tasks.borrow_mut().spawn_local(cleaned);
            }
            Discovery::LogicalDns { family, target, refresh } => {
                let names = Names::logical(&cluster, *family, target, &before.known);
                cluster.start_names(names, *refresh, &before).await;
            }
        }
        cluster.is_started.set(true);
        if let Some(detection) = cluster.shared.config.outlier_detection.filter(|_| cluster.checks_health) {
            cluster.tasks.borrow_mut().spawn_local(ejection::look_after(Rc::downgrade(&cluster), detection));
        }
        cluster
    }

    /// Waits for the first response to all names, and goes on asking.
    async fn start_names(self: &Rc<Self>, mut names: Names, refresh: Refresh, before: &Handover) {
        let first = names.resolve(&*self.outside.net);
        let waited = FIRST_RESOLUTION_WAIT;
        let resolved = tokio::time::timeout(waited, first).await.ok();
        match resolved {
            Some(_) => drop(self.known.replace(names.known())),
            // What a cluster before this one knew is better than nothing.
            None if self.checks_health => {
                tracing::warn!(
                    cluster = &*self.names.own,
                    ?waited,
                    "names are not resolved yet; starting without them"
                );
            }
            None => {}
        }
        let watches = self.set_endpoints(names.endpoints(), before);
        self.first_round(watches).await;
        let refreshed = discovery::refresh(Rc::downgrade(self), names, refresh, resolved.unwrap_or(Resolved::NotAll));
        self.tasks.borrow_mut().spawn_local(refreshed);
    }

    /// The first check of each endpoint, all at once; then they go on by themselves. A server that begins to listen
    /// knows which endpoints are healthy.
    async fn first_round(&self, watches: Vec<Watch>) {
        let mut first = JoinSet::new();
        for mut watch in watches {
            first.spawn_local(async move {
                let pause = watch.once().await;
                (watch, pause)
            });
        }
        while let Some(ended) = first.join_next().await {
            let Ok((watch, Some(pause))) = ended else { continue };
            self.tasks.borrow_mut().spawn_local(watch.run_after(pause));
        }
    }

    /// What filters count of the requests to it.
    pub(crate) fn filter_stats(&self) -> ClusterFilterStats {
        ClusterFilterStats {
            methods: Rc::clone(&self.methods),
            authorisations: Rc::clone(&self.authorisations),
            limits: Rc::clone(&self.limits),
            codes: Rc::clone(&self.codes),
            forward_port: self.forward_port(),
        }
    }

    /// Wall time, for upstreams that name an hour at which to come back.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.outside.clock.wall()
    }
}
