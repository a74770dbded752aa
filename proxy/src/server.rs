//! Configuration becomes a running server: what the workers share, and one worker.
//!
//! A worker is an `async fn` that takes its world as arguments, keeps its own listeners, pools and timers, and
//! cannot find out whether that world is real. Production runs one for each core, a simulated host exactly one.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::admin::{self, AdminState, Bound, CommandLine};
use crate::cluster::{self, Cluster, Clusters};
use crate::config::listener::LogPath;
use crate::config::{self, Config};
use crate::connection_manager::{ConnectionManager, Parts};
use crate::drain::{Direction, Drain, DrainControl, Stage, WorkerDrain};
use crate::listener::Listener;
use crate::net::accept::Acceptor;
use crate::net::{Accept, Address, ListenOptions, LogTarget, Logs, Memory, Outside};
use crate::process_log::ProcessLog;
use crate::runtime::Runtime;
use crate::stats::{
    CodeStats, Http2Stats, HttpStats, ListenerStats, Registry, ResponseStats, ServerState, ServerStats,
};

/// What all workers share: the configuration, stats and breakers.
pub struct Shared {
    /// As loaded.
    pub config: Arc<Config>,
    /// Every stat.
    pub registry: Arc<Registry>,
    /// In the configuration's order.
    pub clusters: Vec<Arc<cluster::Shared>>,
    /// The process's own stats and its state.
    pub stats: ServerStats,
    /// What operators may change.
    pub runtime: Arc<Runtime>,
}

/// Is told an address.
pub type OnBound = Box<dyn FnOnce(&Address) + Send>;

/// What the admin interface needs besides what all workers share.
pub struct Admin {
    /// Ends the server when an operator says so.
    pub control: Arc<DrainControl>,
    /// What the command line says.
    pub command_line: CommandLine,
    /// How much the process logs.
    pub process_log: Arc<ProcessLog>,
    /// How much memory the process has.
    pub memory: fn() -> Memory,
    /// Told where the admin interface listens, once it does.
    pub on_bound: Option<OnBound>,
}

impl Admin {
    /// For a server that was given nothing but a configuration, as this file.
    #[must_use]
    pub fn new(control: Arc<DrainControl>, config_path: &str) -> Self {
        Self {
            control,
            command_line: CommandLine::of_file(config_path),
            process_log: Arc::new(ProcessLog::silent()),
            memory: Memory::default,
            on_bound: None,
        }
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error("{name} cannot listen on {address}")]
    Listen {
        /// What was to listen.
        name: String,
        /// The address it was to listen on.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// An access log cannot be opened.
    #[error("access log {path} cannot be opened")]
    Log {
        /// As configured.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Shared {
    /// Registers the stats of everything in `config`, for a server of so many workers.
    #[must_use]
    pub fn new(config: Config, workers: usize) -> Arc<Self> {
        let registry = Arc::new(Registry::new());
        let runtime = Arc::new(Runtime::new(config.runtime.clone(), config.differences));
        let shared = |cluster: &config::Cluster| {
            Arc::new(cluster::Shared::new(cluster.clone(), Arc::clone(&runtime), &registry))
        };
        let clusters = config.clusters.iter().map(shared).collect();
        let stats = ServerStats::new(&registry, workers);
        Arc::new(Self { config: Arc::new(config), registry, clusters, stats, runtime })
    }

    /// Where the configuration says to listen, in its order.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.config.listeners.iter().map(|listener| Address::Socket(listener.address)).collect()
    }
}

/// A worker that has bound its listeners and serves once [`run`](Self::run) is awaited.
pub struct Worker {
    listeners: Vec<Listener>,
    drain: WorkerDrain,
    clusters: Rc<Clusters>,
    /// Where it listens, in the configuration's order.
    pub addresses: Vec<Address>,
}

impl Worker {
    /// Binds the listeners to `at`, and finds the clusters' endpoints. Needs a `LocalSet` around it.
    ///
    /// # Errors
    /// A listener cannot be bound or a log not opened.
    pub async fn start(
        outside: Outside,
        shared: &Arc<Shared>,
        drain: &Drain,
        at: &[Address],
        how: &ListenOptions,
    ) -> Result<Self, StartError> {
        outside.logs.register_stats(&shared.registry);
        let clusters = Rc::new(Clusters::default());
        for cluster in &shared.clusters {
            let codes = CodeStats::new(&shared.registry, &cluster.config.name);
            clusters.insert(Cluster::start(Arc::clone(cluster), codes, outside.clone()).await);
        }
        let connection_ids = Rc::new(Cell::new(0));
        let mut worker = Self {
            listeners: Vec::new(),
            drain: drain.on_worker(),
            clusters: Rc::clone(&clusters),
            addresses: Vec::new(),
        };
        for (listener, at) in shared.config.listeners.iter().zip(at) {
            let drain = worker.drain.listener(direction(listener));
            let accept = bind(&outside, listener, at, how)?;
            worker.addresses.push(accept.local().clone());
            let parts = Parts {
                stats: HttpStats::new(&shared.registry, &listener.manager.stat_prefix),
                listener_responses: ResponseStats::of_listener(
                    &shared.registry,
                    listener.address,
                    &listener.manager.stat_prefix,
                ),
                http2_stats: Http2Stats::downstream(&shared.registry),
                logs: open_logs(&outside, listener)?,
                clusters: Rc::clone(&clusters),
                outside: outside.clone(),
                drain: drain.clone(),
                runtime: Arc::clone(&shared.runtime),
                connection_ids: Rc::clone(&connection_ids),
            };
            let manager = ConnectionManager::new(Arc::clone(&listener.manager), listener.buffer_bytes_max, parts);
            let stats = ListenerStats::new(&shared.registry, listener.address);
            let acceptor = Acceptor::new(accept, format!("listener {}", listener.name));
            worker.listeners.push(Listener::new(acceptor, Rc::new(manager), stats, drain));
        }
        Ok(worker)
    }

    /// Serves until the drain that it was started with closes its listeners, and then what is under way.
    pub async fn run(self) {
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            listeners.spawn_local(listener.run());
        }
        let ended = async { while listeners.join_next().await.is_some() {} };
        tokio::select! {
            // The drain first, so that listeners hear of it before they see to anything else.
            biased;
            () = self.drain.follow() => {}
            () = ended => {}
        }
        drop(self.clusters); // closes the pools' connections
    }
}

fn direction(listener: &config::Listener) -> Direction {
    if listener.is_inbound { Direction::Inbound } else { Direction::Other }
}

fn bind(
    outside: &Outside,
    listener: &config::Listener,
    at: &Address,
    how: &ListenOptions,
) -> Result<Box<dyn Accept>, StartError> {
    outside.net.listen(at, how).map_err(|source| StartError::Listen {
        name: format!("listener '{}'", listener.name),
        address: at.to_string(),
        source,
    })
}

/// An admin interface that listens. It may run beside a worker or on a thread of its own: it shares nothing with workers
/// but stats and signals.
pub struct AdminInterface {
    acceptor: Acceptor,
    state: AdminState,
    control: Arc<DrainControl>,
    logs: Rc<dyn Logs>,
}

impl AdminInterface {
    /// Binds it, if the configuration has one. `addresses` are those that the listeners are bound to, in the
    /// configuration's order.
    ///
    /// # Errors
    /// Its address cannot be bound.
    pub fn bind(
        outside: &Outside,
        shared: &Arc<Shared>,
        admin: Admin,
        addresses: &[Address],
    ) -> Result<Option<Self>, StartError> {
        let Some(at) = shared.config.admin else { return Ok(None) };
        let bound = outside.net.listen(&Address::Socket(at), &ListenOptions::default());
        let accept =
            bound.map_err(|source| StartError::Listen { name: "admin".into(), address: at.to_string(), source })?;
        tracing::info!("admin interface listening on {}", accept.local());
        if let Some(on_bound) = admin.on_bound {
            on_bound(accept.local());
        }
        let acceptor = Acceptor::new(accept, "admin");
        let endpoints = |cluster: &Arc<cluster::Shared>| (cluster.config.name.clone(), Arc::clone(&cluster.endpoints));
        let names = shared.config.listeners.iter().map(|listener| listener.name.clone());
        let state = AdminState {
            registry: Arc::clone(&shared.registry),
            server: shared.stats.clone(),
            endpoints: shared.clusters.iter().map(endpoints).collect(),
            config: Arc::clone(&shared.config),
            runtime: Arc::clone(&shared.runtime),
            command_line: admin.command_line,
            process_log: admin.process_log,
            memory: admin.memory,
            listeners: names.zip(addresses.iter().cloned()).map(|(name, at)| Bound { name, at }).collect(),
            started: tokio::time::Instant::now(),
        };
        Ok(Some(Self { acceptor, state, control: admin.control, logs: Rc::clone(&outside.logs) }))
    }

    /// Serves operators until `drain` has reached its last stage.
    ///
    /// # Cancellation
    /// Dropped, it closes its connections.
    pub async fn run(self, drain: Drain) {
        let server = self.state.server.clone();
        let announced = async {
            drain.reached(Stage::Draining).await;
            server.enter(ServerState::Draining);
        };
        tokio::join!(announced, admin::serve(self.acceptor, self.state, self.control, self.logs, drain.clone()));
    }
}

fn open_logs(outside: &Outside, listener: &config::Listener) -> Result<Vec<AccessLog>, StartError> {
    let open = |log: &config::listener::AccessLog| {
        let target = match &log.to {
            LogPath::File(path) => LogTarget::File(path.clone()),
            LogPath::Stderr => LogTarget::Stderr,
            LogPath::Stdout => LogTarget::Stdout,
        };
        let writer = outside.logs.open(&target).map_err(|source| {
            let path = match &log.to {
                LogPath::File(path) => path.clone(),
                LogPath::Stderr => "standard error".into(),
                LogPath::Stdout => "standard output".into(),
            };
            StartError::Log { path, source }
        })?;
        Ok(AccessLog::new(log.format.clone(), writer))
    };
    listener.manager.access_logs.iter().map(open).collect()
}
