//! Hosts that are resolved because a request names them (`dns_cache_config`), for forward proxies.
//!
//! A [`DnsCache`] is shared by all workers, and by all filters and clusters that name it. The worker whose request names a host first
//! resolves it, and goes on doing so until no request has named it for a time; requests of all workers wait for the first response.

mod host;
mod host_name;
mod keeper;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use tokio::task::JoinSet;

use crate::config;
use crate::net::{Net, Random};
use crate::permits::{Limit, Permit};
use crate::runtime::Watched;
use crate::stats::{Derived, DnsCacheStats, Registry};
pub use host::{Host, HostFailure, HostState, HostWatch};
use host_name::HostName;

/// The caches of the process, by name.
#[derive(Debug, Default)]
pub struct DnsCaches(Mutex<BTreeMap<String, Arc<DnsCache>>>);

/// Hosts that requests name.
#[derive(Debug)]
pub struct DnsCache {
    config: Arc<config::dns_cache::DnsCache>,
    stats: DnsCacheStats,
    /// Requests that wait for a host.
    pending: Arc<Limit>,
    hosts: Mutex<BTreeMap<Arc<str>, Arc<Host>>>,
    /// Keeps its stats listed.
    _registry: Arc<Registry>,
}

/// The caches as one worker uses them: it keeps the hosts resolved that its requests name first.
pub struct WorkerCaches {
    caches: Arc<DnsCaches>,
    net: Rc<dyn Net>,
    random: Rc<dyn Random>,
    keepers: RefCell<JoinSet<()>>,
}

/// A host that is to be looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WantedHost {
    /// The cache that knows it, or comes to.
    pub cache: Arc<config::dns_cache::DnsCache>,
    /// As the request names it.
    pub authority: String,
    /// Its port, if the request names none.
    pub default_port: u16,
}

impl WantedHost {
    /// The host of a request.
    #[must_use]
    pub fn of(cache: &Arc<config::dns_cache::DnsCache>, authority: Option<&HeaderValue>, default_port: u16) -> Self {
        let authority = authority.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        Self { cache: Arc::clone(cache), authority: authority.unwrap_or_default(), default_port }
    }
}

/// What is known of a host that is looked up.
pub enum Lookup {
    /// It is known, or cannot be.
    Known(Result<Arc<Host>, HostFailure>),
    /// It is being resolved for the first time.
    Waits(WaitingForHost),
}

/// A request that waits for a host.
pub struct WaitingForHost {
    host: Arc<Host>,
    state: HostWatch,
    _pending: Permit,
}

impl WaitingForHost {
    /// What is known once the name server has responded.
    ///
    /// # Cancellation
    /// Safe to drop: the host is resolved all the same.
    pub async fn end(mut self) -> Result<Arc<Host>, HostFailure> {
        loop {
            if let Some(known) = self.host.known() {
                return known;
            }
            self.state.changed().await;
        }
    }
}

impl DnsCaches {
    /// These are the caches now: those that are others, or gone, forget their hosts.
    pub fn set(&self, configs: &[Arc<config::dns_cache::DnsCache>], registry: &Registry) {
        let mut before = std::mem::take(&mut *self.lock());
        let cache = |config: &Arc<config::dns_cache::DnsCache>| {
            let kept = before.remove(&config.name).filter(|cache| cache.config == *config);
            (config.name.clone(), kept.unwrap_or_else(|| Arc::new(DnsCache::new(config, registry))))
        };
        let caches = configs.iter().map(cache).collect();
        *self.lock() = caches;
    }

    fn get(&self, name: &str) -> Option<Arc<DnsCache>> {
        self.lock().get(name).map(Arc::clone)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<DnsCache>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DnsCache {
    fn new(config: &Arc<config::dns_cache::DnsCache>, registry: &Registry) -> Self {
        let registry = Arc::new(registry.scope());
        let pending = Limit::new(Watched::fixed(config.pending_max));
        let gauge = |last: &str, read: fn(&Limit) -> u64| {
            DnsCacheStats::derive(&registry, (&config.name, last), &pending, move |limit| Derived {
                value: read(limit),
                used: limit.was_used(),
            });
        };
        gauge("rq_pending_open", |limit| limit.is_reached().into());
        gauge("rq_pending_remaining", |limit| limit.remaining().into());
        Self {
            config: Arc::clone(config),
            stats: DnsCacheStats::new(&registry, &config.name),
            pending,
            hosts: Mutex::default(),
            _registry: registry,
        }
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Host>>> {
        // Nothing in between the steps of a change panics.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host, and whether it is new.
    fn host(&self, name: HostName) -> Result<(Arc<Host>, bool), HostFailure> {
        let mut hosts = self.hosts();
        let is_full = || count(&hosts) >= self.config.hosts_max.into();
        match hosts.get(&name.key) {
            Some(host) if host.known().is_some() => Ok((Arc::clone(host), false)),
            // As in Envoy, also if it is this one that is being resolved.
            Some(_) | None if is_full() => Err(HostFailure::Overflow),
            Some(host) => Ok((Arc::clone(host), false)),
            None => {
                let host = Host::new(name);
                hosts.insert(Arc::clone(host.key()), Arc::clone(&host));
                self.stats.host_added.inc();
                self.stats.num_hosts.set(count(&hosts));
                Ok((host, true))
            }
        }
    }

    /// Forgets the host if no request has named it for a time.
    fn forget_unused(&self, host: &Host) -> bool {
        if host.last_used().elapsed() <= self.config.host_ttl {
            return false;
        }
        let mut hosts = self.hosts();
        if hosts.remove(host.key()).is_some() {
            self.stats.host_removed.inc();
            self.stats.num_hosts.set(count(&hosts));
        }
        true
    }
}

fn count(hosts: &BTreeMap<Arc<str>, Arc<Host>>) -> u64 {
    u64::try_from(hosts.len()).unwrap_or(u64::MAX)
}

impl WorkerCaches {
    /// Those of a worker whose names are resolved there.
    #[must_use]
    pub fn new(caches: Arc<DnsCaches>, net: Rc<dyn Net>, random: Rc<dyn Random>) -> Self {
        Self { caches, net, random, keepers: RefCell::default() }
    }

    /// Looks a host up. Needs a `LocalSet` around it.
    #[must_use]
    pub fn find(&self, wanted: &WantedHost) -> Lookup {
        self.look_up(wanted).unwrap_or_else(|failure| Lookup::Known(Err(failure)))
    }

    fn look_up(&self, wanted: &WantedHost) -> Result<Lookup, HostFailure> {
        let WantedHost { cache, authority, default_port } = wanted;
        // The configuration names no others; a request may be older than the one in force.
        let cache = self.caches.get(&cache.name).ok_or(HostFailure::Overflow)?;
        let Some(pending) = cache.pending.permit() else {
            cache.stats.dns_rq_pending_overflow.inc();
            return Err(HostFailure::PendingOverflow);
        };
        if authority.is_empty() {
            return Err(HostFailure::Missing);
        }
        let found = cache.host(HostName::parse(authority, *default_port));
        let (host, is_new) = found.inspect_err(|_| cache.stats.host_overflow.inc())?;
        if is_new {
            self.keep(&cache, &host);
        }
        Ok(match host.known() {
            Some(known) => Lookup::Known(known),
            None => Lookup::Waits(WaitingForHost { state: host.watch(), host, _pending: pending }),
        })
    }

    /// Resolves what the caches are to know before a request names it, unless another worker does.
    pub fn resolve_ahead(&self) {
        let caches: Vec<_> = self.caches.lock().values().map(Arc::clone).collect();
        for cache in caches {
            for (name, port) in &cache.config.preresolved {
                let name = HostName::parse(&format!("{name}:{port}"), *port);
                if let Ok((host, true)) = cache.host(name) {
                    self.keep(&cache, &host);
                }
            }
        }
    }

    fn keep(&self, cache: &Arc<DnsCache>, host: &Arc<Host>) {
        let mut keepers = self.keepers.borrow_mut();
        while keepers.try_join_next().is_some() {}
        let (net, random) = (Rc::clone(&self.net), Rc::clone(&self.random));
        keepers.spawn_local(keeper::keep(Arc::downgrade(cache), Arc::clone(host), net, random));
    }
}
