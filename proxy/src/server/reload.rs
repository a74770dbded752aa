//! A new configuration takes the place of the one in force, in all workers or in none.
//!
//! Each worker first does what can fail: it binds new listeners and opens logs. Once all of them could, each applies the
//! snapshot; requests and connections that are under way go on with what they began with. Where configurations come from is
//! the caller's: a file that was read again, a step of a scenario.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::worker::Apply;
use super::{ServerShared, StartError};
use crate::config::secret_read::SecretRead;
use crate::config::{Config, Renewals};
use crate::net::{Address, Binding, ListenOptions};
use crate::snapshot::{Addresses, Ground, Snapshot};
use crate::stats::HandshakeStats;

/// Why a configuration does not take the place of the one in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The admin interface does not move.
    #[error(
        "the admin interface listens on {now} and cannot move to {wanted} while the process runs; restart it, or leave \
         admin.address as it is"
    )]
    Admin {
        /// Where it listens; `nothing` if there is none.
        now: String,
        /// Where the new configuration has it.
        wanted: String,
    },
    /// A listener cannot be bound or a log not opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process ends.
    #[error("the process is about to end")]
    Ending,
}

/// Whether the listener of this name can have its address alone, where workers share their addresses.
pub type Probe = fn(&str, &Binding) -> Result<Address, StartError>;

/// Brings the workers of a server to the next snapshot.
pub struct Reloader {
    shared: Arc<ServerShared>,
    workers: Vec<mpsc::UnboundedSender<Apply>>,
    /// How new listeners are bound.
    how: ListenOptions,
    probe: Probe,
}

/// What came of a configuration that can be served.
pub enum Applied {
    /// It is the one in force; these of its certificates are others now, which new connections have from now on.
    Same(Renewals),
    /// This is in force now.
    Next {
        /// The configuration that was loaded, with the next version.
        snapshot: Arc<Snapshot>,
        /// Where listeners are bound that were not before.
        bound: Vec<Address>,
    },
}

/// What came of files that a configuration names, and that have changed.
pub struct Renewed {
    /// Whose certificates and values are others now.
    pub owners: Vec<String>,
    /// This is in force now, if endpoints are others.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The files of endpoints and of secrets that are of no use, with the cluster or secret and why: what they held before stays
    /// in use.
    pub refused: Vec<String>,
}

/// A worker that has prepared a snapshot.
struct Ready {
    agree: oneshot::Sender<()>,
    applied: oneshot::Receiver<Addresses>,
}

impl Reloader {
    /// For the workers that receive what is sent to `workers`.
    #[must_use]
    pub fn new(
        shared: Arc<ServerShared>,
        workers: Vec<mpsc::UnboundedSender<Apply>>,
        how: ListenOptions,
        probe: Probe,
    ) -> Self {
        Self { shared, workers, how, probe }
    }

    /// Puts `config` in force, which was read at `loaded_at`.
    ///
    /// # Errors
    /// It cannot be served; the one before it still is.
    ///
    /// # Cancellation
    /// Dropped, some workers may have applied it and others not.
    pub async fn apply(&self, mut config: Config, loaded_at: SystemTime) -> Result<Applied, ReloadError> {
        self.keep_healthy(&mut config);
        self.count_assignments(&config, &[], loaded_at);
        let secrets = config.secrets.clone();
        let applied = self.put(config, loaded_at).await;
        match &applied {
            Ok(_) => {
                self.shared.secrets.take_over(&secrets, &[], loaded_at);
                self.shared.stats.config_reload_success.inc();
            }
            Err(_) => self.refuse(),
        }
        applied
    }

    /// A configuration was refused before it came here.
    pub fn refuse(&self) {
        self.shared.stats.config_reload_rejected.inc();
    }

    /// The secrets that are in use, which stay in use where their files are of no use.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretRead> {
        self.shared.secrets.read()
    }

    /// A configuration is about to be read.
    pub fn attempt(&self) {
        self.shared.stats.config_reload_attempt.inc();
    }

    /// Puts in force what has changed in the files that `config` names, which is the configuration in force but for these: of
    /// those in `changed` it is known that they are others. New connections have the certificates, requests the endpoints, and
    /// the values of disk layers hold at once.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    ///
    /// # Cancellation
    /// As for [`Self::apply`].
    pub async fn renew(
        &self,
        mut config: Config,
        changed: &[String],
        read_at: SystemTime,
    ) -> Result<Renewed, ReloadError> {
        self.keep_healthy(&mut config);
        let mut refused = self.count_assignments(&config, changed, read_at);
        refused.extend(self.shared.secrets.take_over(&config.secrets, changed, read_at));
        Ok(match self.put(config, read_at).await? {
            Applied::Same(renewals) => Renewed { owners: renewals.owners().to_vec(), snapshot: None, refused },
            Applied::Next { snapshot, .. } => Renewed { owners: Vec::new(), snapshot: Some(snapshot), refused },
        })
    }

    /// Endpoints that files leave out stay where checks find them healthy.
    fn keep_healthy(&self, config: &mut Config) {
        let served = self.shared.snapshot();
        config.keep_healthy(&served.config, |cluster, address| {
            let shared = served.clusters.iter().find(|shared| shared.config.name == cluster.name);
            let found = shared.and_then(|shared| shared.endpoints.find(address));
            found.is_some_and(|counts| counts.health.passes_checks())
        });
    }

    /// Counts the files of endpoints that are others. Returns those that are of no use, and why.
    fn count_assignments(&self, config: &Config, changed: &[String], at: SystemTime) -> Vec<String> {
        let served = self.shared.snapshot();
        let mut refused = Vec::new();
        for cluster in &config.clusters {
            let same = served.clusters.iter().find(|served| served.config.name == cluster.name);
            let (Some(read), Some(served)) = (&cluster.assigned, same) else { continue };
            let Some(used) = &served.config.assigned else { continue };
            let is_other = read.replaces(used);
            if !is_other && !changed.contains(&read.path) {
                continue;
            }
            let still_there =
                |address: &Address| served.endpoints.find(address).is_some_and(|it| !it.health.has_left());
            served.count_assignment(read, is_other && !cluster.has_endpoints_of(&served.config, still_there), at);
            refused.extend(read.found.refusal().map(|why| format!("cluster {}: {why}", cluster.name)));
        }
        refused
    }

    /// Has new connections use the certificates of `config`, which is the configuration in force but for these and for the values
    /// of disk layers.
    fn take_over(&self, config: &Config) -> Renewals {
        let mut renewals = self.shared.snapshot().renewals(config);
        renewals.apply();
        self.count_secret_updates(&renewals);
        if self.shared.runtime.renew_layers(&config.runtime, config.differences) {
            self.shared.snapshot().clusters.iter().for_each(|cluster| cluster.enforce_limits());
            renewals.note_runtime();
        }
        renewals
    }

    fn count_secret_updates(&self, renewals: &Renewals) {
        let snapshot = self.shared.snapshot();
        let listeners = snapshot.listeners.iter();
        for listener in listeners.filter(|it| renewals.updated_listeners().contains(&it.config.name)) {
            HandshakeStats::of_listener(&listener.stats, &listener.config.stat_name()).count_secret_update();
        }
        for cluster in snapshot.clusters.iter().filter(|it| renewals.updated_clusters().contains(&it.config.name)) {
            cluster.tls_stats.iter().for_each(HandshakeStats::count_secret_update);
        }
    }

    async fn put(&self, mut config: Config, loaded_at: SystemTime) -> Result<Applied, ReloadError> {
        let before = self.shared.snapshot();
        if before.config.admin != config.admin {
            let text = |at: &Option<Binding>| at.as_ref().map_or_else(|| "nothing".to_owned(), |it| it.at.to_string());
            return Err(ReloadError::Admin { now: text(&before.config.admin), wanted: text(&config.admin) });
        }
        config.keep_endpoints(&before.config);
        if config.is_same_as(&before.config) {
            return Ok(Applied::Same(self.take_over(&config)));
        }
        let shared = &*self.shared;
        let ground = Ground { registry: &shared.registry, runtime: &shared.runtime, buckets: &shared.buckets };
        let snapshot = Arc::new(before.next(config, loaded_at, ground));
        self.probe_new_addresses(&before, &snapshot)?;
        let ready = self.prepare(&snapshot).await?;
        self.shared.runtime.replace_layers(snapshot.config.runtime.clone(), snapshot.config.differences);
        self.shared.connections.set_global(snapshot.config.connections_max);
        self.shared.dns_caches.set(&snapshot.config.dns_caches, &self.shared.registry);
        snapshot.clusters.iter().for_each(|cluster| cluster.enforce_limits());
        let mut addresses = Addresses::new();
        let (agrees, applied): (Vec<_>, Vec<_>) = ready.into_iter().map(|ready| (ready.agree, ready.applied)).unzip();
        for agree in agrees {
            // A worker that has ended meanwhile has nothing to serve.
            let (Ok(()) | Err(())) = agree.send(());
        }
        for applied in applied {
            addresses.extend(applied.await.unwrap_or_default());
        }
        let before = self.shared.in_force().addresses;
        let is_new = |at: &&Address| !before.values().flatten().any(|had| had == *at);
        let bound = addresses.values().flatten().filter(is_new).cloned().collect();
        let renewals = snapshot.renewals(&snapshot.config);
        renewals.apply();
        self.shared.put_in_force(Arc::clone(&snapshot), addresses);
        self.count_secret_updates(&renewals);
        Ok(Applied::Next { snapshot, bound })
    }

    /// Has every worker do what can fail; what the first one binds, the others join.
    async fn prepare(&self, snapshot: &Arc<Snapshot>) -> Result<Vec<Ready>, ReloadError> {
        let mut at = Addresses::new();
        let mut ready = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (prepared, is_prepared) = oneshot::channel();
            let (agree, agreed) = oneshot::channel();
            let (applied, is_applied) = oneshot::channel();
            let (snapshot, at_now, how) = (Arc::clone(snapshot), at.clone(), self.how.clone());
            let apply = Apply { snapshot, at: at_now, how, prepared, agreed, applied };
            worker.send(apply).map_err(|_| ReloadError::Ending)?;
            at.extend(is_prepared.await.map_err(|_| ReloadError::Ending)??);
            ready.push(Ready { agree, applied: is_applied });
        }
        Ok(ready)
    }

    fn probe_new_addresses(&self, before: &Snapshot, snapshot: &Snapshot) -> Result<(), StartError> {
        let known: Vec<&Binding> = before.listeners.iter().flat_map(|listener| listener.config.bindings()).collect();
        for listener in &snapshot.listeners {
            for new in listener.config.bindings().filter(|binding| !known.contains(binding)) {
                (self.probe)(&listener.config.name, new)?;
            }
        }
        Ok(())
    }
}
