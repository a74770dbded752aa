//! Configuration becomes a running server.
//!
//! [`ServerShared`] is what the process has once: stats, runtime and the [`Snapshot`] in force. [`worker`] is one event loop that
//! serves it, [`process`] gives each worker a thread, [`reload`] brings all of them to the next snapshot, and
//! [`AdminInterface`] shows an operator what they do.

mod entry_logs;
pub mod process;
pub mod reload;
mod secrets;
mod sockets;
pub mod worker;

use std::io;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use crate::admin::{self, AdminState, CommandLine};
use crate::config::Config;
use crate::dns_cache::DnsCaches;
use crate::drain::{Drain, DrainControl, Stage};
use crate::listener::ConnectionLimits;
use crate::net::accept::Acceptor;
use crate::net::{Address, ListenOptions, Logs, Memory, Outside};
use crate::process_log::ProcessLog;
use crate::runtime::Runtime;
use crate::snapshot::{self, Addresses, InForce, Snapshot};
use crate::stats::{ManagerStats, Registry, ServerState, ServerStats};
use crate::token_bucket::SharedBuckets;
use secrets::SecretsInUse;
pub use worker::Worker;

/// What the process has once, whatever the configuration.
pub struct ServerShared {
    /// All stats of the process.
    pub registry: Arc<Registry>,
    /// The process's own stats and its state.
    pub stats: ServerStats,
    /// What became of clusters and listeners.
    managers: ManagerStats,
    /// What operators may change.
    pub runtime: Arc<Runtime>,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Buckets that listeners share.
    pub buckets: SharedBuckets,
    /// Hosts that requests name, for forward proxies.
    pub dns_caches: Arc<DnsCaches>,
    /// Secrets that come from files of their own.
    secrets: SecretsInUse,
    /// Not read by requests: workers have what they serve.
    in_force: RwLock<InForce>,
}

/// Called with the address that was bound.
pub type OnBound = Box<dyn FnOnce(&Address) + Send>;

/// What the admin interface needs besides what all workers share.
pub struct Admin {
    /// Ends or drains the server when an operator requests it.
    pub control: Arc<DrainControl>,
    /// The options of the command line.
    pub command_line: CommandLine,
    /// How much the process logs.
    pub process_log: Arc<ProcessLog>,
    /// How much memory the process has.
    pub memory: fn() -> Memory,
    /// Called with the address of the admin interface, once it listens.
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
        /// The error of the system.
        source: io::Error,
    },
    /// An access log cannot be opened.
    #[error("access log {path} cannot be opened")]
    Log {
        /// `address.pipe.path` of the configuration.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl ServerShared {
    /// Registers the stats of everything in `config`, which was read at `loaded_at`, for a server of so many workers.
    #[must_use]
    pub fn new(config: Config, loaded_at: SystemTime, workers: usize) -> Arc<Self> {
        let registry = Arc::new(Registry::new());
        let runtime = Arc::new(Runtime::new(config.runtime.clone(), config.differences));
        let connections_max = config.connections_max;
        let stats = ServerStats::new(&registry, workers);
        let managers = ManagerStats::new(&registry);
        runtime.register(&registry);
        let buckets = SharedBuckets::default();
        let dns_caches = Arc::<DnsCaches>::default();
        dns_caches.set(&config.dns_caches, &registry);
        let secrets = SecretsInUse::new(&registry, &config.secrets, loaded_at);
        let ground = snapshot::Ground { registry: &registry, runtime: &runtime, buckets: &buckets };
        let snapshot = Arc::new(Snapshot::first(config, loaded_at, ground));
        let in_force = RwLock::new(InForce { snapshot, addresses: Addresses::new() });
        let connections = ConnectionLimits::new(Arc::clone(&runtime));
        connections.set_global(connections_max);
        let shared = Self { registry, stats, managers, runtime, connections, buckets, dns_caches, secrets, in_force };
        shared.announce_version();
        Arc::new(shared)
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.in_force().snapshot
    }

    /// The configuration in force, and where its listeners are bound.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All workers serve it.
    fn put_in_force(&self, snapshot: Arc<Snapshot>, addresses: Addresses) {
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = InForce { snapshot, addresses };
        self.announce_version();
    }

    /// Sets where the listeners are bound.
    pub fn set_addresses(&self, addresses: Addresses) {
        self.in_force.write().unwrap_or_else(PoisonError::into_inner).addresses = addresses;
    }

    fn announce_version(&self) {
        let snapshot = self.snapshot();
        self.stats.config_version.set(snapshot.version);
        self.managers.count(snapshot.clusters.len(), snapshot.listeners.len(), &snapshot.changes);
        let since_epoch = snapshot.loaded_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.stats.config_reload_time_ms.set(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    }
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
    /// Binds it, if the configuration has one.
    ///
    /// # Errors
    /// Its address cannot be bound.
    pub fn bind(outside: &Outside, shared: &Arc<ServerShared>, admin: Admin) -> Result<Option<Self>, StartError> {
        let Some(binding) = &shared.snapshot().config.admin else { return Ok(None) };
        let at = &binding.at;
        let bound = outside.net.listen(at, &ListenOptions::default().of(binding));
        let accept =
            bound.map_err(|source| StartError::Listen { name: "admin".into(), address: at.to_string(), source })?;
        tracing::info!("admin interface listening on {}", accept.local());
        if let Some(on_bound) = admin.on_bound {
            on_bound(accept.local());
        }
        let acceptor = Acceptor::new(accept, "admin");
        let of_process = Arc::clone(shared);
        let state = AdminState {
            registry: Arc::clone(&shared.registry),
            server: shared.stats.clone(),
            in_force: Rc::new(move || of_process.in_force()),
            runtime: Arc::clone(&shared.runtime),
            command_line: admin.command_line,
            process_log: admin.process_log,
            memory: admin.memory,
            clock: Rc::clone(&outside.clock),
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
