//! Resolves one host again and again, until it is forgotten.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::DnsCache;
use super::host::Host;
use crate::access_log::Unresolved;
use crate::net::{Net, Random, ResolveError};

/// So long holds an address: Envoy's for the resolver of the operating system, which does not say how long an answer holds.
const ADDRESS_HOLDS: Duration = Duration::from_secs(60);

/// What a query came to.
enum Outcome {
    Found,
    /// There is no such name, or it has no address that counts.
    Nothing,
    /// Nothing is known.
    Failed,
}

/// Resolves the host until no request has named it for a time, or the cache is gone.
pub(super) async fn keep(cache: Weak<DnsCache>, host: Arc<Host>, net: Rc<dyn Net>, random: Rc<dyn Random>) {
    let mut failures = 0_u32;
    loop {
        let outcome = match cache.upgrade() {
            Some(cache) => resolve(&cache, &host, &*net).await,
            None => return host.forget(),
        };
        failures = match outcome {
            Outcome::Found | Outcome::Nothing => 0,
            Outcome::Failed => failures.saturating_add(1),
        };
        let Some(pause) = cache.upgrade().map(|cache| pause(&cache, &outcome, failures, &*random)) else {
            return host.forget();
        };
        tokio::time::sleep(pause).await;
        if cache.upgrade().is_none_or(|cache| cache.forget_unused(&host)) {
            return host.forget();
        }
    }
}

/// Resolves the host once. A host that is an address has it, if it is of the family.
async fn resolve(cache: &DnsCache, host: &Host, net: &dyn Net) -> Outcome {
    let (config, stats) = (&cache.config, &cache.stats);
    stats.dns_query_attempt.inc();
    let query = async {
        match host.name.literal {
            Some(ip) => Ok(vec![ip]),
            None => net.resolve(&host.name.name).await,
        }
    };
    let response = match config.query_timeout {
        Some(limit) => tokio::time::timeout(limit, query).await,
        None => Ok(query.await),
    };
    let addresses: Vec<IpAddr> = match response {
        Ok(Ok(addresses)) => config.family.select(&addresses),
        Ok(Err(ResolveError::NoAddress)) => Vec::new(),
        Ok(Err(ResolveError::Unavailable(error))) => {
            stats.dns_query_failure.inc();
            host.failed(Unresolved::new(error.to_string().split(" (os error ").next().unwrap_or_default()));
            return Outcome::Failed;
        }
        Err(_elapsed) => {
            stats.dns_query_failure.inc();
            stats.dns_query_timeout.inc();
            host.failed(Unresolved::new("resolve_timeout"));
            return Outcome::Failed;
        }
    };
    stats.dns_query_success.inc();
    if addresses.is_empty() {
        host.failed(Unresolved::new("Name or service not known")); // as the system's resolver words it
        return Outcome::Nothing;
    }
    let port = host.name.port;
    if host.found(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()) {
        stats.host_address_changed.inc();
    }
    Outcome::Found
}

/// How long to wait after this, and so many failures in a row.
fn pause(cache: &DnsCache, outcome: &Outcome, failures: u32, random: &dyn Random) -> Duration {
    let config = &cache.config;
    match (outcome, config.after_failure) {
        (Outcome::Found, _) => ADDRESS_HOLDS.max(config.refresh_min),
        (Outcome::Nothing, _) | (Outcome::Failed, None) => config.refresh,
        (Outcome::Failed, Some(after)) => random.up_to(after.window(failures)),
    }
}
