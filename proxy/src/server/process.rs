//! One server as threads of this process: a worker on each, and one for the admin interface, whose work, however large
//! its responses, then delays no request, and no probe waits for a busy worker.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::reload::{Probe, Reloader};
use super::worker::{Apply, Worker};
use super::{Admin, AdminInterface, ServerShared, StartError};
use crate::config::Difference;
use crate::drain::Drain;
use crate::net::{Address, Binding, ListenOptions, Outside};
use crate::snapshot::{Addresses, InForce};
use crate::stats::ServerState;

/// Makes a worker's world, on the worker's thread.
pub type MakeOutside = Arc<dyn Fn() -> Outside + Send + Sync>;

/// A server that runs on its own threads.
pub struct Process {
    workers: Vec<JoinHandle<()>>,
    admin: Option<AdminThread>,
    shared: Arc<ServerShared>,
    snapshots: Vec<mpsc::UnboundedSender<Apply>>,
    how: ListenOptions,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A worker cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refuses a thread or an event loop.
    #[error("thread {name} cannot start")]
    Thread {
        /// `worker-0`, `admin`.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl Process {
    /// Starts `workers` threads that serve until `drain` ends them. Returns when all of them listen.
    ///
    /// # Errors
    /// A listener cannot be bound, a log not opened, a thread not started.
    pub fn start(
        shared: &Arc<ServerShared>,
        workers: usize,
        outside: &MakeOutside,
        drain: &Drain,
        admin: Admin,
    ) -> Result<Self, ProcessError> {
        // The first worker binds alone, so that a port that another process uses is an error and not a share of it; then
        // it binds again, to be joined by the others.
        let is_exclusive = shared.runtime.differences().has(Difference::ExclusivePort);
        let mut at = Addresses::new();
        if workers > 1 && is_exclusive {
            for listener in &shared.snapshot().listeners {
                let bound = listener.config.bindings().map(|binding| probe(&listener.config.name, binding));
                at.insert(listener.config.name.clone(), bound.collect::<Result<_, _>>()?);
            }
        }
        let how = ListenOptions { reuse_port: workers > 1 || !is_exclusive, ..ListenOptions::default() };
        let shared = Arc::clone(shared);
        let mut admin = Some(admin);
        let mut process = Self { workers: Vec::new(), admin: None, shared, snapshots: Vec::new(), how };
        for index in 0..workers {
            let (snapshots, received) = mpsc::unbounded_channel();
            let job = Job {
                shared: Arc::clone(&process.shared),
                outside: Arc::clone(outside),
                drain: drain.clone(),
                at: at.clone(),
                how: process.how.clone(),
                snapshots: received,
            };
            let (thread, addresses) = start(format!("worker-{index}"), move |ready| job.run(&ready))?;
            process.workers.push(thread);
            process.snapshots.push(snapshots);
            at = addresses;
            if let Some(admin) = admin.take() {
                process.shared.set_addresses(at.clone());
                process.admin = Some(AdminThread::start(&process.shared, outside, drain, admin)?);
            }
        }
        process.shared.stats.enter(ServerState::Live);
        Ok(process)
    }

    /// Where it listens, in the configuration's order: ports that the system chose are real here.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let InForce { snapshot, addresses } = self.shared.in_force();
        let names = snapshot.listeners.iter().map(|listener| &listener.config.name);
        names.filter_map(|name| addresses.get(name)).flatten().cloned().collect()
    }

    /// Brings the workers to other configurations.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        let is_exclusive = self.shared.runtime.differences().has(Difference::ExclusivePort);
        let probe: Probe =
            if self.snapshots.len() > 1 && is_exclusive { probe } else { |_, binding| Ok(binding.at.clone()) };
        Reloader::new(Arc::clone(&self.shared), self.snapshots.clone(), self.how.clone(), probe)
    }

    /// Waits until every worker has ended; until then operators are served.
    pub fn join(self) {
        for thread in self.workers {
            drop(thread.join()); // a panic there has printed itself
        }
        if let Some(AdminThread { thread, workers_run }) = self.admin {
            drop(workers_run);
            drop(thread.join());
        }
    }
}

/// What a thread sends once it has started, or why it has not.
type Ready<T> = Sender<Result<T, ProcessError>>;

/// Starts a thread and waits until it is ready.
fn start<T: Send + 'static>(
    name: String,
    run: impl FnOnce(Ready<T>) + Send + 'static,
) -> Result<(JoinHandle<()>, T), ProcessError> {
    let (ready, started) = channel();
    let thread = std::thread::Builder::new().name(name.clone()).spawn(move || run(ready));
    let thread = thread.map_err(|source| ProcessError::Thread { name: name.clone(), source })?;
    // A thread that panics before it is ready drops the sender.
    let gone = |_| ProcessError::Thread { name, source: io::ErrorKind::BrokenPipe.into() };
    let value = started.recv().map_err(gone)??;
    Ok((thread, value))
}

/// Runs `job` on an event loop of this thread.
fn block_on<T>(ready: &Ready<T>, job: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, job),
        Err(source) => {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            drop(ready.send(Err(ProcessError::Thread { name, source })));
        }
    }
}

/// The admin interface's thread.
struct AdminThread {
    thread: JoinHandle<()>,
    /// Dropped when no worker runs any more, which ends the thread.
    workers_run: oneshot::Sender<()>,
}

impl AdminThread {
    fn start(
        shared: &Arc<ServerShared>,
        outside: &MakeOutside,
        drain: &Drain,
        admin: Admin,
    ) -> Result<Self, ProcessError> {
        let (workers_run, workers_ended) = oneshot::channel();
        let (shared, outside, drain) = (Arc::clone(shared), Arc::clone(outside), drain.clone());
        let run = async move |ready: &Ready<()>| {
            let bound = match AdminInterface::bind(&outside(), &shared, admin) {
                Ok(bound) => bound,
                Err(error) => return drop(ready.send(Err(error.into()))),
            };
            drop(ready.send(Ok(())));
            let Some(interface) = bound else { return };
            tokio::select! {
                // The end first: no worker is left to show.
                biased;
                _ = workers_ended => {}
                () = interface.run(drain) => {}
            }
        };
        let (thread, ()) = start("admin".into(), move |ready| block_on(&ready, run(&ready)))?;
        Ok(Self { thread, workers_run })
    }
}

/// Binds the address of a listener once without sharing it.
fn probe(listener: &str, binding: &Binding) -> Result<Address, StartError> {
    crate::net::tokio::probe(binding).map_err(|source| StartError::Listen {
        name: format!("listener '{listener}'"),
        address: binding.at.to_string(),
        source,
    })
}

/// What a worker's thread needs.
struct Job {
    shared: Arc<ServerShared>,
    outside: MakeOutside,
    drain: Drain,
    at: Addresses,
    how: ListenOptions,
    snapshots: mpsc::UnboundedReceiver<Apply>,
}

impl Job {
    fn run(self, ready: &Ready<Addresses>) {
        block_on(ready, async {
            match Worker::start((self.outside)(), &self.shared, &self.drain, &self.at, &self.how).await {
                Err(error) => drop(ready.send(Err(error.into()))),
                Ok(worker) => {
                    drop(ready.send(Ok(worker.addresses())));
                    worker.run(self.snapshots).await;
                }
            }
        });
    }
}
