//! Endpoints from names: every address of every name, if it is of the right family, is an endpoint, or all addresses of the one
//! name are one endpoint. Names are resolved again and again, each for itself.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::handover::{Handover, Known};
use super::{Cluster, Location};
use crate::config::cluster::{ClusterNames, LookupFamily, Refresh};
use crate::net::{Address, Net, Random, ResolveError};
use crate::stats::ClusterStats;

/// A name that goes on failing is logged this often.
const REMINDER: Duration = Duration::from_secs(60);

/// The names of one cluster.
pub(super) struct Names {
    family: LookupFamily,
    kind: DnsKind,
    targets: Vec<Target>,
    /// The cluster's name, for the process log.
    cluster: Rc<ClusterNames>,
    /// The cluster's stats; `None` where another worker of this process counts and logs.
    stats: Option<ClusterStats>,
}

/// What the addresses of a name are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DnsKind {
    /// `LOGICAL_DNS`: one endpoint, which stays where it was while there is no address to take its place.
    Logical,
    /// `STRICT_DNS`: an endpoint each.
    Strict,
}

/// Whether every name could be resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolved {
    /// Each has a response, if only that it does not exist.
    All,
    /// One has none, or none that is of use.
    NotAll,
}

/// A name to resolve, and the port of its endpoints.
struct Target {
    name: String,
    port: u16,
    /// The addresses of the name server's last response.
    known: Vec<Address>,
    outage: Option<Outage>,
}

/// A row of failed resolutions.
struct Outage {
    failures: u64,
    logged: Instant,
}

impl Names {
    /// The names of a `STRICT_DNS` cluster. `known` are the addresses that names begin with.
    pub(super) fn strict(cluster: &Cluster, family: LookupFamily, targets: &[(String, u16)], known: &[Known]) -> Self {
        Self::new(cluster, DnsKind::Strict, family, targets, known)
    }

    /// The name of a `LOGICAL_DNS` cluster.
    pub(super) fn logical(cluster: &Cluster, family: LookupFamily, target: &(String, u16), known: &[Known]) -> Self {
        Self::new(cluster, DnsKind::Logical, family, std::slice::from_ref(target), known)
    }

    fn new(cluster: &Cluster, kind: DnsKind, family: LookupFamily, targets: &[(String, u16)], known: &[Known]) -> Self {
        let target = |(name, port): &(String, u16)| {
            let known = known.iter().find(|known| known.name == *name && known.port == *port);
            let known = known.map(|known| known.addresses.clone()).unwrap_or_default();
            Target { name: name.clone(), port: *port, known, outage: None }
        };
        let stats = cluster.checks_health.then(|| cluster.shared.stats.clone());
        let targets = targets.iter().map(target).collect();
        Self { family, kind, targets, cluster: Rc::clone(&cluster.names), stats }
    }

    /// Resolves every name once, all at the same time. A name whose name server fails keeps its addresses, so that a
    /// name server in trouble does not empty a working cluster; a name that does not exist has none, unless it is a logical
    /// endpoint, which Envoy keeps.
    ///
    /// # Cancellation
    /// Safe to drop: the addresses stay as they were.
    pub(super) async fn resolve(&mut self, net: &dyn Net) -> Resolved {
        let mut resolved = Resolved::All;
        let stats = self.stats.as_ref();
        if let Some(stats) = stats {
            stats.update_attempt.add(u64::try_from(self.targets.len()).unwrap_or(u64::MAX));
        }
        let responses = join_all(self.targets.iter().map(|target| net.resolve(&target.name))).await;
        for (target, response) in self.targets.iter_mut().zip(responses) {
            let response = response.map(|addresses| self.family.select(&addresses));
            if stats.is_some() {
                target.log(&self.cluster.own, &response);
            }
            let known = match (response, self.kind) {
                (Ok(addresses), _) if !addresses.is_empty() => target.addresses(addresses),
                (Ok(_) | Err(ResolveError::NoAddress), DnsKind::Strict) => Vec::new(),
                (Ok(_) | Err(ResolveError::NoAddress), DnsKind::Logical) | (Err(ResolveError::Unavailable(_)), _) => {
                    stats.inspect(|stats| stats.update_failure.inc());
                    resolved = Resolved::NotAll;
                    continue;
                }
            };
            stats.inspect(|stats| stats.update_success.inc());
            if known == target.known {
                stats.inspect(|stats| stats.update_no_rebuild.inc());
            }
            target.known = known;
        }
        resolved
    }

    /// Each name's addresses in the last response of the name server.
    pub(super) fn known(&self) -> Vec<Known> {
        let known =
            |target: &Target| Known { name: target.name.clone(), port: target.port, addresses: target.known.clone() };
        self.targets.iter().map(known).collect()
    }

    /// The endpoints: each address of all names once, in the order of the file and of the responses, or one with all of them. A
    /// number says which of the names it is from.
    pub(super) fn endpoints(&self) -> Vec<(usize, Location)> {
        let known = (0..).zip(&self.targets).flat_map(|(nth, target)| target.known.iter().map(move |at| (nth, at)));
        if self.kind == DnsKind::Logical {
            return Location::of_all(known.map(|(_, at)| at.clone()))
                .map(|location| (0, location))
                .into_iter()
                .collect();
        }
        let mut seen = BTreeSet::new();
        let once = known.filter(|(_, address)| seen.insert(*address));
        once.map(|(nth, address)| (nth, address.clone().into())).collect()
    }
}

impl Target {
    fn addresses(&self, ips: Vec<IpAddr>) -> Vec<Address> {
        ips.into_iter().map(|ip| Address::Socket(SocketAddr::new(ip, self.port))).collect()
    }

    /// Logs the first failure of a row at once, then their number once a minute and at the end of the row.
    fn log(&mut self, cluster: &str, response: &Result<Vec<IpAddr>, ResolveError>) {
        let name = &self.name;
        let failure: &dyn fmt::Display = match response {
            Ok(addresses) if addresses.is_empty() => &"the name has no address of the family in dns_lookup_family",
            Ok(_) => {
                if let Some(Outage { failures, .. }) = self.outage.take() {
                    tracing::info!(cluster, name, failures, "the name resolves again");
                }
                return;
            }
            Err(error) => error,
        };
        let outage = self.outage.get_or_insert_with(|| Outage { failures: 0, logged: Instant::now() });
        outage.failures += 1;
        if outage.failures == 1 {
            tracing::warn!(cluster, name, error = %failure, "cannot resolve");
        } else if outage.logged.elapsed() >= REMINDER {
            outage.logged = Instant::now();
            tracing::warn!(cluster, name, failures = outage.failures, error = %failure, "still cannot resolve");
        }
    }
}

/// Resolves the names again and again for as long as the cluster exists. They are queried together, so that one that fails
/// has all of them queried earlier.
pub(super) async fn refresh(cluster: Weak<Cluster>, mut names: Names, refresh: Refresh, first: Resolved) {
    let mut failures = u32::from(first == Resolved::NotAll);
    loop {
        let Some(random) = cluster.upgrade().map(|cluster| Rc::clone(&cluster.outside.random)) else { return };
        tokio::time::sleep(pause(refresh, failures, &*random)).await;
        let Some(net) = cluster.upgrade().map(|cluster| Rc::clone(&cluster.outside.net)) else { return };
        failures = match names.resolve(&*net).await {
            Resolved::All => 0,
            Resolved::NotAll => failures.saturating_add(1),
        };
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.known.replace(names.known());
        for watch in cluster.set_endpoints(names.endpoints(), &Handover::default()) {
            cluster.tasks.borrow_mut().spawn_local(watch.run());
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause(refresh: Refresh, failures: u32, random: &dyn Random) -> Duration {
    match (failures, refresh.after_failure) {
        (0, _) | (_, None) => refresh.interval + random.up_to(refresh.jitter),
        (failures, Some(after)) => random.up_to(after.window(failures)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::io;

    use super::*;
    use crate::config::resolution::FailureRefresh;
    use crate::net::{Accept, Conn, ConnectOptions, ListenOptions, LocalBoxFuture};
    use crate::stats::Registry;

    /// A network with nothing but a name server, which has one response for each query.
    struct NameServer(RefCell<VecDeque<Result<Vec<IpAddr>, ResolveError>>>);

    impl Net for NameServer {
        fn listen(&self, _: &Address, _: &ListenOptions) -> io::Result<Box<dyn Accept>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn connect<'a>(&'a self, _: &'a Address, _: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }

        fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
            let response = self.0.borrow_mut().pop_front().expect("a response for each query");
            Box::pin(async move { response })
        }
    }

    /// Chance that always has the largest part.
    struct Most;

    impl Random for Most {
        fn next_u64(&self) -> u64 {
            u64::MAX
        }
    }

    #[test]
    fn pauses_grow_while_the_name_server_fails() {
        let seconds = Duration::from_secs;
        let after_failure = Some(FailureRefresh { base: seconds(1), max: seconds(5) });
        let refresh = Refresh { interval: seconds(60), jitter: Duration::ZERO, after_failure };
        for (failures, most) in [(0, 60), (1, 1), (2, 2), (3, 4), (4, 5), (40, 5)] {
            let pause = pause(refresh, failures, &Most);
            assert!(pause <= seconds(most), "{failures}: {pause:?}");
        }
        assert_eq!(pause(Refresh { after_failure: None, ..refresh }, 7, &Most), seconds(60));
        let pause = pause(Refresh { jitter: seconds(10), ..refresh }, 0, &Most);
        assert!((seconds(60)..seconds(70)).contains(&pause), "{pause:?}");
    }

    fn names(kind: DnsKind, names: &[&str], stats: &ClusterStats) -> Names {
        let target = |name: &&str| Target { name: (*name).to_owned(), port: 80, known: Vec::new(), outage: None };
        Names {
            family: LookupFamily::V4Only,
            kind,
            targets: names.iter().map(target).collect(),
            cluster: Rc::new(ClusterNames { own: "up".into(), shown: "up".into() }),
            stats: Some(stats.clone()),
        }
    }

    fn unavailable() -> ResolveError {
        io::Error::other("Temporary failure in name resolution").into()
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Rows as Envoy 1.40 with c-ares counts them: attempt, success, failure, no_rebuild, endpoints.
    /// `update_empty` stays 0 in Envoy: only EDS counts an empty update there.
    #[tokio::test]
    async fn a_missing_name_empties_the_cluster_and_a_failing_name_server_does_not() {
        let steps = [
            (Ok(vec![ip(1)]), [1, 1, 0, 0], 1),
            (Ok(vec![ip(1)]), [2, 2, 0, 1], 1),
            (Ok(vec![ip(1), ip(2)]), [3, 3, 0, 1], 2),
            (Err(unavailable()), [4, 3, 1, 1], 2),
            (Err(ResolveError::NoAddress), [5, 4, 1, 1], 0),
            (Err(ResolveError::NoAddress), [6, 5, 1, 2], 0),
            (Ok(vec!["::1".parse().unwrap()]), [7, 6, 1, 3], 0),
            (Ok(vec![ip(2)]), [8, 7, 1, 3], 1),
        ];
        let stats = ClusterStats::new(&Registry::new(), "up");
        let mut names = names(DnsKind::Strict, &["web.mesh"], &stats);
        for (step, (response, counted, endpoints)) in steps.into_iter().enumerate() {
            names.resolve(&NameServer(RefCell::new([response].into()))).await;
            let counters =
                [&stats.update_attempt, &stats.update_success, &stats.update_failure, &stats.update_no_rebuild];
            assert_eq!(counters.map(crate::stats::Counter::value), counted, "step {step}");
            assert_eq!(names.endpoints().len(), endpoints, "step {step}");
        }
    }

    /// Rows as Envoy 1.40 with c-ares counts them: attempt, success, failure, no_rebuild, and the endpoint's addresses.
    #[tokio::test]
    async fn a_logical_endpoint_has_all_addresses_of_the_last_successful_resolution() {
        let steps = [
            (Err(ResolveError::NoAddress), [1, 0, 1, 0], vec![]),
            (Ok(vec![ip(1)]), [2, 1, 1, 0], vec![ip(1)]),
            (Ok(vec![ip(1), ip(2)]), [3, 2, 1, 0], vec![ip(1), ip(2)]),
            (Ok(vec![ip(1), ip(2)]), [4, 3, 1, 1], vec![ip(1), ip(2)]),
            (Err(ResolveError::NoAddress), [5, 3, 2, 1], vec![ip(1), ip(2)]),
            (Ok(vec!["::1".parse().unwrap()]), [6, 3, 3, 1], vec![ip(1), ip(2)]),
            (Err(unavailable()), [7, 3, 4, 1], vec![ip(1), ip(2)]),
            (Ok(vec![ip(2), ip(1)]), [8, 4, 4, 1], vec![ip(2), ip(1)]),
        ];
        let stats = ClusterStats::new(&Registry::new(), "up");
        let mut names = names(DnsKind::Logical, &["web.mesh"], &stats);
        for (step, (response, counted, addresses)) in steps.into_iter().enumerate() {
            names.resolve(&NameServer(RefCell::new([response].into()))).await;
            let counters =
                [&stats.update_attempt, &stats.update_success, &stats.update_failure, &stats.update_no_rebuild];
            assert_eq!(counters.map(crate::stats::Counter::value), counted, "step {step}");
            let endpoints = names.endpoints();
            assert!(endpoints.len() <= 1, "step {step}");
            let found: Vec<_> =
                endpoints.iter().flat_map(|(_, location)| location.addresses()).filter_map(Address::ip).collect();
            assert_eq!(found, addresses, "step {step}");
        }
    }

    #[tokio::test]
    async fn a_name_that_fails_keeps_its_addresses_while_another_changes() {
        let stats = ClusterStats::new(&Registry::new(), "up");
        let mut names = names(DnsKind::Strict, &["a", "b"], &stats);
        names.resolve(&NameServer(RefCell::new([Ok(vec![ip(1)]), Ok(vec![ip(2)])].into()))).await;
        names.resolve(&NameServer(RefCell::new([Err(unavailable()), Ok(vec![ip(3)])].into()))).await;
        let found: Vec<_> = names.endpoints().iter().filter_map(|(_, endpoint)| endpoint.address.ip()).collect();
        assert_eq!(found, [ip(1), ip(3)]);
        assert_eq!((stats.update_attempt.value(), stats.update_failure.value()), (4, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_of_failures_is_logged_at_its_beginning_once_a_minute_and_at_its_end() {
        let stats = ClusterStats::new(&Registry::new(), "up");
        let mut names = names(DnsKind::Strict, &["a"], &stats);
        let (lines, _capture) = crate::process_log::testing::Lines::capture();
        for _ in 0..13 {
            names.resolve(&NameServer(RefCell::new([Err(unavailable())].into()))).await;
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        names.resolve(&NameServer(RefCell::new([Ok(vec![ip(1)])].into()))).await;
        let text = lines.text();
        assert_eq!(
            text.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "WARN cannot resolve cluster=\"up\" name=\"a\" error=Temporary failure in name resolution",
                "WARN still cannot resolve cluster=\"up\" name=\"a\" failures=7 error=Temporary failure in name resolution",
                "WARN still cannot resolve cluster=\"up\" name=\"a\" failures=13 error=Temporary failure in name resolution",
                "INFO the name resolves again cluster=\"up\" name=\"a\" failures=13",
            ]
        );
    }
}
