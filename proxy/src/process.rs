//! One server as threads of this process: a worker on each, and the admin interface on the first.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::task::LocalSet;

use crate::config::Difference;
use crate::drain::Drain;
use crate::net::{Address, ListenOptions, Outside};
use crate::server::{Admin, Shared, StartError, Worker};
use crate::stats::ServerState;

/// Makes a worker's world, on the worker's thread.
pub type MakeOutside = Arc<dyn Fn() -> Outside + Send + Sync>;

/// A server that runs on its own threads.
pub struct Process {
    threads: Vec<JoinHandle<()>>,
    /// Where it listens, in the configuration's order: ports the system chose are real here.
    pub addresses: Vec<Address>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A worker cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refuses a thread or an event loop.
    #[error("worker {index} cannot start")]
    Thread {
        /// Which worker, from 0.
        index: usize,
        /// What the system said.
        source: io::Error,
    },
}

impl Process {
    /// Starts `workers` threads that serve until `drain` ends them. Returns when all of them listen.
    ///
    /// # Errors
    /// A listener cannot be bound, a log not opened, a thread not started.
    pub fn start(
        shared: &Arc<Shared>,
        workers: usize,
        outside: &MakeOutside,
        drain: &Drain,
        admin: Admin,
    ) -> Result<Self, ProcessError> {
        let mut admin = Some(admin);
        let mut process = Self { threads: Vec::new(), addresses: shared.addresses() };
        for index in 0..workers {
            // The first worker binds alone, so that a port that another process uses is an error and not a share
            // of it; then it binds again, to be joined by the others.
            let is_exclusive = shared.runtime.differences().has(Difference::ExclusivePort);
            if index == 0 && workers > 1 && is_exclusive {
                process.addresses = probe(shared, &process.addresses)?;
            }
            let (ready, started) = channel();
            let job = Job {
                shared: Arc::clone(shared),
                outside: Arc::clone(outside),
                drain: drain.clone(),
                at: process.addresses.clone(),
                how: ListenOptions { reuse_port: workers > 1 || !is_exclusive, ..ListenOptions::default() },
                admin: admin.take(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || job.run(index, &ready))
                .map_err(|source| ProcessError::Thread { index, source })?;
            process.threads.push(thread);
            // A worker that panics before it is ready drops the sender.
            let gone = || ProcessError::Thread { index, source: io::ErrorKind::BrokenPipe.into() };
            process.addresses = started.recv().map_err(|_| gone())??;
        }
        shared.stats.enter(ServerState::Live);
        Ok(process)
    }

    /// Waits until every worker has ended.
    pub fn join(self) {
        for thread in self.threads {
            drop(thread.join()); // a panic there has printed itself
        }
    }
}

/// Binds every address once without sharing it.
fn probe(shared: &Shared, at: &[Address]) -> Result<Vec<Address>, ProcessError> {
    let mut bound = Vec::new();
    for (listener, at) in shared.config.listeners.iter().zip(at) {
        let Address::Socket(address) = at else { continue };
        let local = crate::net::tokio::probe(*address).map_err(|source| StartError::Listen {
            name: format!("listener '{}'", listener.name),
            address: address.to_string(),
            source,
        })?;
        bound.push(Address::Socket(local));
    }
    Ok(bound)
}

/// What a worker's thread needs.
struct Job {
    shared: Arc<Shared>,
    outside: MakeOutside,
    drain: Drain,
    at: Vec<Address>,
    how: ListenOptions,
    /// For the first worker.
    admin: Option<Admin>,
}

impl Job {
    fn run(self, index: usize, ready: &Sender<Result<Vec<Address>, ProcessError>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => return drop(ready.send(Err(ProcessError::Thread { index, source }))),
        };
        LocalSet::new().block_on(&runtime, async move {
            match Worker::start((self.outside)(), &self.shared, &self.drain, &self.at, &self.how, self.admin).await {
                Err(error) => drop(ready.send(Err(error.into()))),
                Ok(worker) => {
                    drop(ready.send(Ok(worker.addresses.clone())));
                    worker.run(self.drain).await;
                }
            }
        });
    }
}
