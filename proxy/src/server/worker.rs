//! One worker: its listeners, its clusters, and how both follow the configuration.
//!
//! A worker is an `async fn` that takes its world as arguments, keeps its own listeners, pools and timers, and cannot find
//! out whether that world is real. Production runs one for each core, a simulated host exactly one.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::entry_logs::EntryLogs;
use super::sockets::{Listeners, Running, Socket, bind, direction};
use super::{ServerShared, StartError};
use crate::access_log::AccessLog;
use crate::access_log::format::{Renderer, of_process};
use crate::cluster::{Cluster, Clusters, Handover};
use crate::config::listener::{LogForm, LogPath, Terminal};
use crate::config::listener_filter::Inspection;
use crate::config::network_filter::Gate;
use crate::config::tracing::Tracing;
use crate::config::{self, ClusterChange, ListenerChange};
use crate::connection_manager::ConnectionManager;
use crate::dns_cache::WorkerCaches;
use crate::drain::{Drain, ListenerDrain, Stage, WorkerDrain};
use crate::filter::{FilterContext, FilterStats, HealthSources, Membership};
use crate::gate::Gates;
use crate::listener::{Inspectors, Listener, ListenerControl, ProxyProtocolFilter, Serving};
use crate::net::accept::Acceptor;
use crate::net::{Accept, Address, Binding, InternalNet, ListenOptions, LogTarget, LogWriter, Outside};
use crate::snapshot::{self, Addresses, Snapshot};
use crate::stats::{
    CodeStats, CodecStats, HandshakeStats, HttpInspectorStats, HttpStats, ListenerStats, ResponseStats, TcpStats,
    TlsInspectorStats,
};
use crate::stream::{ListenerLogs, LocalReplies, Logs, Reports, Service, ServiceParts, Tracer};
use crate::tcp_proxy::{TcpProxy, TcpProxyParts};

/// A worker that has bound its listeners and serves once [`run`](Self::run) is awaited.
pub struct Worker {
    outside: Outside,
    shared: Arc<ServerShared>,
    drain: Rc<WorkerDrain>,
    process: Drain,
    clusters: Rc<Clusters>,
    connection_ids: Rc<Cell<u64>>,
    /// Of the connections of clients.
    codec_stats: Rc<CodecStats>,
    /// Spans of requests, one for each collector.
    reports: RefCell<Vec<Weak<Reports>>>,
    /// Logs whose entries go to services.
    entry_logs: EntryLogs,
    listeners: Listeners,
    /// Those that others reach.
    tasks: JoinSet<()>,
    /// Those that are reached from within the worker.
    internal_tasks: JoinSet<()>,
    internal: Rc<InternalNet>,
}

/// A snapshot for a worker to serve. It is applied by all workers or by none.
pub struct Apply {
    /// The configuration that the worker is to serve.
    pub snapshot: Arc<Snapshot>,
    /// Where new listeners are bound that other workers have bound already.
    pub at: Addresses,
    /// How new listeners are bound.
    pub how: ListenOptions,
    /// Gets whether the worker can, and where new listeners are bound.
    pub prepared: oneshot::Sender<Result<Addresses, StartError>>,
    /// Ready when all workers can. An error means that one of them cannot.
    pub agreed: oneshot::Receiver<()>,
    /// Gets where all listeners are bound, when it is done.
    pub applied: oneshot::Sender<Addresses>,
}

/// Listeners that are bound and have not accepted yet.
struct Prepared {
    listeners: Vec<(Arc<snapshot::Listener>, Step)>,
}

/// What becomes of a listener of the snapshot.
enum Step {
    /// The listener serves on with its options.
    Keep,
    /// Its next requests meet other routes.
    SetRoutes,
    /// New connections are served in another way, or are the first.
    Serve { serving: Rc<Serving>, sockets: Vec<Socket> },
}

impl Worker {
    /// Binds the listeners of the snapshot in force, to `at` where that has an address, and finds the clusters' endpoints. Needs a
    /// `LocalSet` around it.
    ///
    /// # Errors
    /// A listener cannot be bound or a log not opened.
    pub async fn start(
        outside: Outside,
        shared: &Arc<ServerShared>,
        drain: &Drain,
        at: &Addresses,
        how: &ListenOptions,
    ) -> Result<Self, StartError> {
        outside.logs.register_stats(&shared.registry);
        let internal = Rc::new(InternalNet::new(Rc::clone(&outside.net)));
        let outside = Outside { net: Rc::<InternalNet>::clone(&internal), ..outside };
        let hosts =
            WorkerCaches::new(Arc::clone(&shared.dns_caches), Rc::clone(&outside.net), Rc::clone(&outside.random));
        let mut worker = Self {
            outside,
            shared: Arc::clone(shared),
            drain: Rc::new(drain.on_worker()),
            process: drain.clone(),
            clusters: Rc::new(Clusters::new(hosts)),
            connection_ids: Rc::default(),
            codec_stats: Rc::new(CodecStats::downstream(&shared.registry)),
            reports: RefCell::default(),
            entry_logs: EntryLogs::default(),
            listeners: Listeners::default(),
            tasks: JoinSet::new(),
            internal_tasks: JoinSet::new(),
            internal,
        };
        let snapshot = shared.snapshot();
        worker.internal.set_buffer_bytes(snapshot.config.internal_buffer_bytes);
        worker.set_clusters(&snapshot).await;
        let prepared = worker.prepare(&snapshot, at, how)?;
        worker.set_listeners(prepared);
        Ok(worker)
    }

    /// Where the listeners are bound.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.listeners.addresses()
    }

    /// Serves until the drain that it was started with closes its listeners, and then what is under way. Until then it
    /// applies the snapshots that come.
    pub async fn run(mut self, mut snapshots: mpsc::UnboundedReceiver<Apply>) {
        let mut following = JoinSet::new();
        let drain = Rc::clone(&self.drain);
        following.spawn_local(async move { drain.follow().await });
        let process = self.process.clone();
        loop {
            tokio::select! {
                // A new configuration first, however many listeners end.
                biased;
                Some(apply) = snapshots.recv() => self.apply(apply).await,
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                Some(_) = self.internal_tasks.join_next(), if !self.internal_tasks.is_empty() => {}
                // Without listeners, or with those that an operator has closed, it goes on until the process ends.
                () = process.reached(Stage::Draining), if self.tasks.is_empty() => break,
            }
        }
        self.entry_logs.end().await;
        self.clusters.retain(&|_| false); // closes the pools' connections
        self.end_internal_listeners().await;
    }

    /// Ends the listeners that no client is left for. What they have passed on is finished.
    async fn end_internal_listeners(&mut self) {
        self.listeners.take().into_values().for_each(ListenerControl::remove);
        while self.internal_tasks.join_next().await.is_some() {}
    }

    async fn apply(&mut self, apply: Apply) {
        let Apply { snapshot, at, how, prepared, agreed, applied } = apply;
        let ready = match self.prepare(&snapshot, &at, &how) {
            Ok(ready) => ready,
            Err(error) => return drop(prepared.send(Err(error))),
        };
        drop(prepared.send(Ok(self.bound(&ready))));
        if agreed.await.is_err() {
            return; // what was prepared is dropped
        }
        self.internal.set_buffer_bytes(snapshot.config.internal_buffer_bytes);
        self.set_clusters(&snapshot).await;
        self.set_listeners(ready);
        self.clusters.retain(&|name| !matches!(snapshot.changes.clusters.get(name), Some(ClusterChange::Removed)));
        drop(applied.send(self.addresses()));
    }

    /// Starts clusters that are new or changed. Those that are gone stay until no route leads to them.
    async fn set_clusters(&self, snapshot: &Snapshot) {
        for shared in &snapshot.clusters {
            let name = &shared.config.name;
            let Some(change) = snapshot.changes.clusters.get(name) else { continue };
            let zone = snapshot.config.zone.as_deref();
            let codes = CodeStats::new(&shared.registry, shared.config.stat_name(), zone);
            let before = Handover::from(self.clusters.get(name).as_deref(), *change);
            let cluster =
                Cluster::start(Arc::clone(shared), codes, self.outside.clone(), Rc::downgrade(&self.clusters), before);
            let cluster = cluster.await;
            if let Some(before) = self.clusters.insert(Rc::clone(&cluster)) {
                before.retire(Some(&cluster));
            }
        }
        self.clusters.hosts.resolve_ahead();
    }

    /// Does everything that can fail.
    fn prepare(&self, snapshot: &Arc<Snapshot>, at: &Addresses, how: &ListenOptions) -> Result<Prepared, StartError> {
        let step = |listener: &Arc<snapshot::Listener>| {
            let step = self.step(snapshot, listener, at, how)?;
            Ok((Arc::clone(listener), step))
        };
        Ok(Prepared { listeners: snapshot.listeners.iter().map(step).collect::<Result<_, StartError>>()? })
    }

    fn step(
        &self,
        snapshot: &Snapshot,
        listener: &Arc<snapshot::Listener>,
        at: &Addresses,
        how: &ListenOptions,
    ) -> Result<Step, StartError> {
        let name = &listener.config.name;
        let keeps_all = match snapshot.changes.listeners.get(name) {
            None => return Ok(Step::Keep),
            Some(ListenerChange::Routes) => return Ok(Step::SetRoutes),
            Some(ListenerChange::Options) => true,
            Some(ListenerChange::Added | ListenerChange::Address | ListenerChange::Removed) => false,
        };
        let serving = Rc::new(self.serving(listener)?);
        let chosen = at.get(name).map_or(&[][..], Vec::as_slice);
        let socket = |(nth, binding): (usize, &Binding)| {
            let kept = if keeps_all { Some((name.clone(), nth)) } else { self.listeners.left_at(snapshot, binding) };
            let at = chosen.get(nth).unwrap_or(&binding.at);
            kept.map(Socket::Kept)
                .map_or_else(|| bind(&self.outside, &listener.config, at, &how.of(binding)).map(Socket::New), Ok)
        };
        let sockets = listener.config.bindings().enumerate().map(socket).collect::<Result<_, _>>()?;
        Ok(Step::Serve { serving, sockets })
    }

    /// What serves the listener's connections.
    fn serving(&self, listener: &Arc<snapshot::Listener>) -> Result<Serving, StartError> {
        let (config, registry) = (&listener.config, &listener.stats);
        let drain = self.drain.listener(direction(config));
        let mut shares = listener.shares.iter();
        let mut gates = |options: &[Gate]| Gates::new(options, &mut shares, registry, &self.shared.runtime);
        let filter_chains = config.filter_chains.try_map(|terminal| match terminal {
            Terminal::Http(options) => {
                self.manager(options, gates(&options.gates), listener, &drain).map(Terminal::Http)
            }
            Terminal::Nothing => Ok(Terminal::Nothing),
            Terminal::Tcp(options) => {
                self.tcp_proxy(options, gates(&options.gates), listener, &drain).map(Terminal::Tcp)
            }
        })?;
        let limits = self.shared.connections.of(config);
        let stats = ListenerStats::new(registry, &config.stat_name());
        let connections = self.shared.stats.total_connections.clone();
        let tls_stats = filter_chains.encrypts().then(|| HandshakeStats::of_listener(registry, &config.stat_name()));
        let Inspection { tls, http, .. } = filter_chains.inspection;
        let inspectors = Inspectors {
            tls: tls.then(|| TlsInspectorStats::new(registry)),
            http: http.map(|_| HttpInspectorStats::new(registry)),
        };
        let filters = config.filters.clone();
        let of_header = |options| ProxyProtocolFilter::new(registry, options);
        let proxy_protocol = filters.proxy_protocol.as_ref().map(of_header);
        let logs = self.listener_logs(config)?;
        Ok(Serving {
            filter_chains,
            limits,
            stats,
            tls_stats,
            filters,
            proxy_protocol,
            inspectors,
            connections,
            logs,
            key_logs: Rc::clone(&self.outside.logs),
            drain,
        })
    }

    /// The logs that have a line of each of the listener's connections.
    fn listener_logs(&self, config: &config::Listener) -> Result<Option<Rc<ListenerLogs>>, StartError> {
        if config.access_logs.is_empty() {
            return Ok(None);
        }
        let mut options = config.access_logs.clone();
        options.iter_mut().for_each(|log| log.resolve(&|operator| of_process(operator, &*self.outside.net)));
        Ok(Some(Rc::new(ListenerLogs { logs: self.logs(&options)?, outside: self.outside.clone() })))
    }

    fn manager(
        &self,
        options: &Arc<config::listener::ConnectionManager>,
        gates: Gates,
        listener: &Arc<snapshot::Listener>,
        drain: &ListenerDrain,
    ) -> Result<Rc<ConnectionManager>, StartError> {
        let (config, registry) = (&listener.config, &listener.stats);
        let mut options = config::listener::ConnectionManager::clone(options);
        options.resolve(&|operator| of_process(operator, &*self.outside.net));
        let options = &Arc::new(options);
        let random = Rc::clone(&self.outside.random);
        let parts = ServiceParts {
            options: Arc::clone(options),
            buffer_bytes_max: config.buffer_bytes_max,
            stats: HttpStats::new(registry, &options.stat_prefix),
            listener_responses: ResponseStats::of_listener(registry, &config.stat_name(), &options.stat_prefix),
            local_replies: LocalReplies::new(options, &self.shared.runtime, &*self.outside.clock),
            logs: self.logs(&options.access_logs)?.beside_replies_of(options),
            clusters: Rc::clone(&self.clusters),
            runtime: Arc::clone(&self.shared.runtime),
            registry: Arc::clone(registry),
            filters: Rc::new(FilterContext::new(
                FilterStats::new(options, registry),
                config.buffer_bytes_max,
                (random, Rc::clone(&self.outside.clock)),
                Arc::clone(&self.shared.runtime),
                (registry, &listener.buckets),
                self.health_sources(options, drain),
            )),
            outside: self.outside.clone(),
            drain: drain.clone(),
        };
        let mut service = Service::new(parts);
        if let Some(tracing) = &options.tracing {
            let reports = self.reports(tracing, &service);
            let (runtime, stats) = (&*self.shared.runtime, &**registry);
            service.set_tracer(Tracer::new(tracing, options, reports, (runtime, stats), &self.outside));
        }
        Ok(Rc::new(ConnectionManager::new(
            service,
            gates,
            Arc::clone(listener),
            Rc::clone(&self.codec_stats),
            Arc::clone(&self.shared.runtime),
            Rc::clone(&self.connection_ids),
        )))
    }

    /// Where spans for this collector go: connection managers with the same one share it.
    fn reports(&self, tracing: &Tracing, service: &Service) -> Rc<Reports> {
        let mut all = self.reports.borrow_mut();
        all.retain(|reports| reports.strong_count() > 0);
        if let Some(known) = all.iter().filter_map(Weak::upgrade).find(|known| known.are_for(&tracing.collector)) {
            return known;
        }
        let (runtime, registry) = (&self.shared.runtime, &self.shared.registry);
        let parts = service.subrequest_parts();
        let reports = Reports::start(&tracing.collector, parts, &self.clusters, runtime, registry);
        all.push(Rc::downgrade(&reports));
        reports
    }

    /// What responses to health checks depend on.
    fn health_sources(&self, options: &config::listener::ConnectionManager, drain: &ListenerDrain) -> HealthSources {
        let clusters = Rc::clone(&self.clusters);
        let membership = move |name: &str| {
            let stats = &clusters.get(name)?.shared.stats;
            Some(Membership { total: stats.membership_total.value(), healthy: stats.membership_healthy.value() })
        };
        HealthSources {
            own_cluster: options.own_cluster.clone(),
            drain: drain.clone(),
            membership: Box::new(membership),
        }
    }

    fn tcp_proxy(
        &self,
        options: &Arc<config::tcp_proxy::TcpProxy>,
        gates: Gates,
        listener: &Arc<snapshot::Listener>,
        drain: &ListenerDrain,
    ) -> Result<Rc<TcpProxy>, StartError> {
        let mut options = config::tcp_proxy::TcpProxy::clone(options);
        options.resolve(&|operator| of_process(operator, &*self.outside.net));
        let parts = TcpProxyParts {
            gates,
            buffer_bytes_max: listener.config.buffer_bytes_max,
            stats: TcpStats::new(&listener.stats, &options.stat_prefix),
            logs: self.logs(&options.access_logs)?,
            options: Arc::new(options),
            clusters: Rc::clone(&self.clusters),
            outside: self.outside.clone(),
            drain: drain.clone(),
            connection_ids: Rc::clone(&self.connection_ids),
        };
        Ok(Rc::new(TcpProxy::new(parts, Arc::clone(listener))))
    }

    fn logs(&self, options: &[config::listener::AccessLog]) -> Result<Logs, StartError> {
        let opened = options.iter().map(|log| self.log(&log.form)).collect::<Result<_, _>>()?;
        Ok(Logs::new(options, opened, &self.shared.runtime))
    }

    fn log(&self, form: &LogForm) -> Result<AccessLog, StartError> {
        let Outside { random, clock, .. } = &self.outside;
        match form {
            LogForm::Entries(log) => {
                let sink = self.entry_logs.sink(log, (&self.outside, &self.drain), &self.clusters, &self.shared);
                Ok(AccessLog::of_entries(log, sink, Rc::clone(random), &**clock))
            }
            LogForm::Lines { to, format } => {
                let writer = open(&self.outside, to)?;
                let renderer = Renderer::new(format.clone()).timed_by(&**clock);
                Ok(AccessLog::of(renderer, writer, Rc::clone(random)))
            }
        }
    }

    /// Where the listeners that change are bound.
    fn bound(&self, prepared: &Prepared) -> Addresses {
        let at = |socket| self.listeners.bound(socket);
        let bound = prepared.listeners.iter().filter_map(|(listener, step)| match step {
            Step::Keep | Step::SetRoutes => None,
            Step::Serve { sockets, .. } => {
                Some((listener.config.name.clone(), sockets.iter().filter_map(at).collect()))
            }
        });
        bound.collect()
    }

    fn set_listeners(&mut self, prepared: Prepared) {
        let mut before = self.listeners.take();
        for (config, step) in prepared.listeners {
            let name = config.config.name.clone();
            let own = (0..config.config.bindings().count()).map(|nth| (name.clone(), nth));
            // Steps are made from the sockets that are there, and nothing ends one in between.
            let sockets: Vec<ListenerControl> = match step {
                Step::Keep => own.filter_map(|socket| before.remove(&socket)).collect(),
                Step::SetRoutes => own
                    .filter_map(|socket| before.remove(&socket))
                    .inspect(|socket| socket.set_routes(&config.config))
                    .collect(),
                Step::Serve { serving, sockets } => {
                    let socket = |socket| match socket {
                        Socket::New(accept) => Some(self.begin(&config.config, accept, Rc::clone(&serving))),
                        Socket::Kept(of) => before.remove(&of).map(|socket| socket.serving(Rc::clone(&serving))),
                    };
                    sockets.into_iter().filter_map(socket).collect()
                }
            };
            self.listeners.0.insert(name, Running { config, sockets });
        }
        before.into_values().for_each(ListenerControl::remove);
    }

    fn begin(&mut self, config: &config::Listener, accept: Box<dyn Accept>, serving: Rc<Serving>) -> ListenerControl {
        let acceptor = Acceptor::new(accept, format!("listener {}", config.name));
        let (listener, control) = Listener::new(acceptor, serving, self.drain.listener(direction(config)));
        match config.address() {
            Address::Internal(_) => self.internal_tasks.spawn_local(listener.run()),
            Address::Pipe(_) | Address::Socket(_) => self.tasks.spawn_local(listener.run()),
        };
        control
    }
}

fn open(outside: &Outside, path: &LogPath) -> Result<Rc<dyn LogWriter>, StartError> {
    let (target, shown) = match path {
        LogPath::File(path) => (LogTarget::File(path.clone()), path.as_str()),
        LogPath::Stderr => (LogTarget::Stderr, "standard error"),
        LogPath::Stdout => (LogTarget::Stdout, "standard output"),
    };
    outside.logs.open(&target).map_err(|source| StartError::Log { path: shown.to_owned(), source })
}
