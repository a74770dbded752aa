//! One version of the configuration as the workers serve it.
//!
//! A snapshot never changes. The next one shares with it what its file left as it was, so that workers can tell by looking
//! at two pointers, and stats and limits that are kept go on counting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::cluster;
use crate::config::network_filter::Gate;
use crate::config::tls::{MadeOf, Renewable, SecretSource};
use crate::config::{self, Changes, ClusterChange, Config, ListenerChange, Renewals};
use crate::gate::Share;
use crate::net::Address;
use crate::permits::Limit;
use crate::runtime::Runtime;
use crate::stats::{HandshakeStats, Registry};
use crate::token_bucket::{Buckets, SharedBuckets};

/// One version of the configuration.
pub struct Snapshot {
    /// 1 for the one that the process started with, and one more for each that followed.
    pub version: u64,
    /// When it was read.
    pub loaded_at: SystemTime,
    /// The configuration as it was read.
    pub config: Arc<Config>,
    /// What differs from the version before; for the first, everything is added.
    pub changes: Changes,
    /// In the configuration's order.
    pub listeners: Vec<Arc<Listener>>,
    /// In the configuration's order.
    pub clusters: Vec<Arc<cluster::ClusterShared>>,
}

/// The configuration in force.
#[derive(Clone)]
pub struct InForce {
    /// The configuration in force.
    pub snapshot: Arc<Snapshot>,
    /// Where its listeners are bound: ports that the system chose are real here.
    pub addresses: Addresses,
}

/// Where listeners are bound, by name: each of their addresses, in the configuration's order.
pub type Addresses = BTreeMap<String, Vec<Address>>;

/// What all workers share of a listener.
pub struct Listener {
    /// The options of the listener.
    pub config: config::Listener,
    /// Its stats and those of its connection manager: unregistered when no connection of it is left.
    pub stats: Arc<Registry>,
    /// What workers share of its network filters, in the order of its chains.
    pub shares: Vec<Share>,
    /// From which its requests take tokens.
    pub buckets: Arc<Buckets>,
}

/// What snapshots are made with.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// All stats of the process.
    pub registry: &'a Registry,
    /// What operators may change.
    pub runtime: &'a Arc<Runtime>,
    /// Buckets that listeners share.
    pub buckets: &'a SharedBuckets,
}

impl Snapshot {
    /// The snapshot that a process starts with.
    #[must_use]
    pub fn first(config: Config, loaded_at: SystemTime, ground: Ground<'_>) -> Self {
        let listeners = config.listeners.iter().map(|listener| Arc::new(Listener::new(listener, ground)));
        let clusters = config.clusters.iter().map(|cluster| new_cluster(cluster, ground, loaded_at));
        Self {
            version: 1,
            loaded_at,
            changes: Changes::first(&config),
            listeners: listeners.collect(),
            clusters: clusters.collect(),
            config: Arc::new(config),
        }
    }

    /// The snapshot after this one.
    #[must_use]
    pub fn next(&self, config: Config, loaded_at: SystemTime, ground: Ground<'_>) -> Self {
        let changes = Changes::between(&self.config, &config);
        let listeners = config.listeners.iter().map(|listener| {
            let before = self.listeners.iter().find(|before| before.config.name == listener.name);
            match (changes.listeners.get(&listener.name), before) {
                (None, Some(before)) => Arc::clone(before),
                (Some(ListenerChange::Routes), Some(before)) => {
                    // It goes on with the TLS that it has, which may get other certificates.
                    let mut config = listener.clone();
                    config.filter_chains.encrypt_as(&before.config.filter_chains);
                    let shares = before.shares.clone();
                    let (stats, buckets) = (Arc::clone(&before.stats), Arc::clone(&before.buckets));
                    Arc::new(Listener { config, stats, shares, buckets })
                }
                (Some(_), _) | (None, None) => Arc::new(Listener::new(listener, ground)),
            }
        });
        let clusters = config.clusters.iter().map(|cluster| {
            let before = self.clusters.iter().find(|before| before.config.name == cluster.name);
            match (changes.clusters.get(&cluster.name), before) {
                (None, Some(before)) => Arc::clone(before),
                (Some(ClusterChange::Endpoints | ClusterChange::Connections), Some(before)) => {
                    Arc::new(before.changed(cluster.clone()))
                }
                (Some(_), _) | (None, None) => new_cluster(cluster, ground, loaded_at),
            }
        });
        let (listeners, clusters) = (listeners.collect(), clusters.collect());
        Self { version: self.version + 1, loaded_at, config: Arc::new(config), changes, listeners, clusters }
    }
}

impl Snapshot {
    /// What has to be renewed of what this snapshot serves, for it to have the certificates of `config`, from whose text it
    /// or the snapshot was made.
    #[must_use]
    pub fn renewals(&self, config: &Config) -> Renewals {
        let mut renewals = Renewals::default();
        let listeners = self.listeners.iter().zip(&config.listeners);
        listeners.for_each(|(served, read)| renewals.of_listener(&served.config, read));
        let clusters = self.clusters.iter().zip(&config.clusters);
        clusters.for_each(|(served, read)| renewals.of_cluster(&served.config, read));
        renewals
    }
}

fn new_cluster(cluster: &config::Cluster, ground: Ground<'_>, loaded_at: SystemTime) -> Arc<cluster::ClusterShared> {
    let new = cluster::ClusterShared::new(cluster.clone(), Arc::clone(ground.runtime), ground.registry);
    new.count_first_assignment(loaded_at);
    if let Some(stats) = &new.tls_stats {
        let contexts: Vec<_> = new.config.sockets().filter_map(|socket| socket.tls.clone()).collect();
        derive_expirations(stats, &contexts);
    }
    Arc::new(new)
}

/// Gives the certificates of contexts their gauges, and counts that secrets are in use.
fn derive_expirations<T: MadeOf + Send + Sync + 'static>(stats: &HandshakeStats, contexts: &[Arc<Renewable<T>>]) {
    if contexts.iter().any(|context| context.current().secrets() == SecretSource::Files) {
        stats.count_secret_update();
    }
    for context in contexts {
        let current = context.current();
        let names: BTreeSet<&str> = current.inventory().all().map(|(is, one)| one.stat_name(is)).collect();
        for name in names {
            let (context, of) = (Arc::downgrade(context), name.to_owned());
            stats.derive_expiration(name, move || context.upgrade()?.current().inventory().end_of(&of));
        }
    }
}

impl Listener {
    fn new(config: &config::Listener, ground: Ground<'_>) -> Self {
        let share = |gate: &Gate| match gate {
            // The number is the filter's own; no runtime key has it.
            Gate::ConnectionLimit(_) => Some(Share::Limit(Limit::new(ground.runtime.watch(String::new(), u32::MAX)))),
            Gate::RateLimit(rate) => Some(Share::Bucket(ground.buckets.of(rate.share_key.as_deref(), rate.bucket))),
            Gate::Rbac(_) | Gate::SetFilterState(_) => None,
        };
        let shares = config.gates().filter_map(share).collect();
        let stats = Arc::new(ground.registry.scope());
        if config.filter_chains.encrypts() {
            let contexts: Vec<_> = config.filter_chains.encryptions().map(Arc::clone).collect();
            derive_expirations(&HandshakeStats::of_listener(&stats, &config.stat_name()), &contexts);
        }
        Self { config: config.clone(), stats, shares, buckets: Arc::default() }
    }
}
