//! Active health checks: one state machine for each endpoint.
//!
//! One worker checks for all: what it finds is in the endpoint's shared numbers, where every worker looks before it
//! chooses. An endpoint is unhealthy until its first check has succeeded.

use std::net::Ipv4Addr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use super::check::{self, Kept};
use super::check_target::{Failure, Finding, Found, Target};
use super::{Cluster, Endpoint};
use crate::access_log::{Downstream, Process, StreamInfo, UpstreamMetadata};
use crate::config::health::{CheckVersion, HealthCheck, Probe};
use crate::config::upstream_name::RequestedNames;
use crate::net::Address;
use crate::stats::HealthFlag;

/// Where the checks of one endpoint stand.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    /// No check has ended yet.
    begun: bool,
    successes: u32,
    failures: u32,
}

/// What a check finds of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Judgement {
    is_healthy: bool,
    /// The check finds otherwise, but more of its kind have to come.
    is_pending: bool,
}

impl Course {
    /// What is known after this? `was`: the endpoint was healthy before.
    fn judge(&mut self, was: bool, found: Found, check: &HealthCheck) -> Judgement {
        let is_healthy = self.is_healthy(was, found, check);
        Judgement { is_healthy, is_pending: is_healthy == was && was != (found == Found::Success) }
    }

    fn is_healthy(&mut self, was: bool, found: Found, check: &HealthCheck) -> bool {
        let is_first = !std::mem::replace(&mut self.begun, true);
        match found {
            Found::Success => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                was || is_first || self.successes >= check.healthy_threshold
            }
            Found::Verdict => {
                *self = Self { begun: true, ..Self::default() };
                false
            }
            Found::Failure(_) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                was && self.failures < check.unhealthy_threshold
            }
        }
    }
}

/// Checks one endpoint again and again.
pub(super) struct Watch {
    cluster: Weak<Cluster>,
    endpoint: Weak<Endpoint>,
    check: HealthCheck,
    /// Kept from the last check.
    kept: Kept,
    course: Course,
}

impl Watch {
    /// Over an endpoint that is new: it is not healthy before a check has succeeded.
    pub(super) fn new(cluster: &Rc<Cluster>, endpoint: &Rc<Endpoint>, check: &HealthCheck) -> Self {
        endpoint.counts.health.set_flag(HealthFlag::FailedCheck);
        Self::resumed(cluster, endpoint, check)
    }

    /// Over an endpoint that is known: it is what it was until a check finds otherwise.
    pub(super) fn resumed(cluster: &Rc<Cluster>, endpoint: &Rc<Endpoint>, check: &HealthCheck) -> Self {
        Self {
            cluster: Rc::downgrade(cluster),
            endpoint: Rc::downgrade(endpoint),
            check: check.clone(),
            kept: Kept::default(),
            course: Course::default(),
        }
    }

    /// For as long as cluster and endpoint exist.
    pub(super) async fn run(mut self) {
        while let Some(pause) = self.once().await {
            if self.wait(pause).await.is_none() {
                break;
            }
        }
    }

    /// The same, of which the first check has been made.
    pub(super) async fn run_after(mut self, pause: Duration) {
        if self.wait(pause).await.is_some() {
            self.run().await;
        }
    }

    /// Waits for the next check. A connection that is kept for it and ends before it is a failure, as in Envoy, after which the
    /// wait begins anew. `None`: cluster or endpoint are gone.
    async fn wait(&mut self, mut pause: Duration) -> Option<()> {
        while let Some(conn) = &mut self.kept.tcp {
            tokio::select! {
                // An end at the instant of the next check comes before it.
                biased;
                () = check::ended(conn) => {}
                () = tokio::time::sleep(pause) => return Some(()),
            }
            self.kept.tcp = None;
            pause = self.conclude(Found::Failure(Failure::Network))?;
        }
        tokio::time::sleep(pause).await;
        Some(())
    }

    /// One check; returns how long to wait before the next.
    pub(super) async fn once(&mut self) -> Option<Duration> {
        let (outside, address, shared, names, matched) = {
            let (cluster, endpoint) = (self.cluster.upgrade()?, self.endpoint.upgrade()?);
            let protocols = self.check.alpn.iter().map(|protocol| protocol.as_slice().into()).collect();
            let names = RequestedNames { protocols, ..cluster.own_names(&endpoint) };
            let matched = self.check.socket.unwrap_or(endpoint.location.socket);
            let address = check::checked_address(&cluster, &endpoint);
            (cluster.outside.clone(), address, Arc::clone(&cluster.shared), names, matched)
        };
        if !self.course.begun {
            tokio::time::sleep(outside.random.up_to(self.check.initial_jitter)).await;
        }
        let authority = self.authority()?;
        let (config, codec_stats, tls_stats) = (&shared.config, &*shared.codec_stats, shared.tls_stats.as_ref());
        let socket = config.socket(matched);
        let target = Target {
            outside: &outside,
            address: &address,
            config,
            socket,
            codec_stats,
            tls_stats,
            names: &names,
            stats: &shared.stats,
            info: &self.info()?,
        };
        let check = check::run_check(&self.check.probe, &authority, target, &mut self.kept);
        let finding = tokio::time::timeout(self.check.timeout, check).await;
        let Finding { found, is_degraded, is_excluded } =
            finding.unwrap_or_else(|_| Found::Failure(Failure::Timeout).into());
        if found != Found::Success || !self.check.reuse_connection {
            self.kept = Kept::default();
        }
        self.cluster.upgrade()?.shared.stats.health_check_attempt.inc();
        let pause = self.conclude(found)?;
        if is_excluded && self.endpoint.upgrade()?.counts.health.set_flag(HealthFlag::Excluded) {
            self.cluster.upgrade()?.health_changed();
        }
        if found == Found::Success {
            self.note_degraded(is_degraded)?;
        }
        Some(pause)
    }

    /// A check that succeeded says whether the endpoint is degraded.
    fn note_degraded(&self, is_degraded: bool) -> Option<()> {
        let (cluster, endpoint) = (self.cluster.upgrade()?, self.endpoint.upgrade()?);
        let health = &endpoint.counts.health;
        let is_new = match is_degraded {
            true => health.set_flag(HealthFlag::CheckDegraded),
            false => health.clear_flag(HealthFlag::CheckDegraded),
        };
        if is_new {
            cluster.health_changed();
        }
        Some(())
    }

    /// What follows from what was found; returns how long to wait before the next check.
    fn conclude(&mut self, found: Found) -> Option<Duration> {
        let (cluster, endpoint) = (self.cluster.upgrade()?, self.endpoint.upgrade()?);
        let standing = Standing::new(found, self.note(&cluster, &endpoint, found));
        if cluster.is_gone(&endpoint.counts.health) {
            return None;
        }
        let traffic = match cluster.shared.stats.upstream_cx_total.value() {
            0 => Traffic::None,
            _ => Traffic::Some,
        };
        let pause = pause(&self.check, traffic, standing);
        let jitter = pause * self.check.interval_jitter_percent / 100;
        let random = &*cluster.outside.random;
        Some(pause + random.up_to(jitter) + random.up_to(self.check.interval_jitter))
    }

    fn authority(&self) -> Option<String> {
        if let Some(hostname) = self.cluster.upgrade()?.placement(&*self.endpoint.upgrade()?).check.hostname {
            return Some(hostname);
        }
        match &self.check.probe {
            Probe::Grpc { host: Some(host), .. } => Some(host.clone()),
            Probe::Http(probe) if probe.host.is_some() => probe.host.clone(),
            Probe::Grpc { host: None, .. } | Probe::Http(_) | Probe::Tcp { .. } => {
                Some(self.cluster.upgrade()?.names.own.to_string())
            }
        }
    }

    /// What the values of headers know of a check. As in Envoy, it comes from the loopback interface.
    fn info(&self) -> Option<StreamInfo> {
        let (cluster, endpoint) = (self.cluster.upgrade()?, self.endpoint.upgrade()?);
        let nowhere = Address::Socket((Ipv4Addr::LOCALHOST, 0).into());
        let downstream = Downstream::new(0, nowhere.clone(), nowhere);
        let mut info = StreamInfo::new(Instant::now(), cluster.outside.clock.wall(), Rc::new(downstream));
        info.protocol = Some(match &self.check.probe {
            Probe::Http(probe) if probe.version == CheckVersion::Http1 => Version::HTTP_11,
            Probe::Grpc { .. } | Probe::Http(_) | Probe::Tcp { .. } => Version::HTTP_2,
        });
        info.process = Process::of(&cluster.outside.net);
        info.upstream_name = cluster.hostname(&endpoint);
        info.upstream_host = Some(endpoint.address.clone());
        let of_endpoint =
            |all: &Arc<_>| UpstreamMetadata { all: Arc::clone(all), endpoint: Some(endpoint.written.get()) };
        info.upstream_metadata = cluster.shared.config.metadata.as_ref().map(of_endpoint);
        Some(info)
    }

    fn note(&mut self, cluster: &Cluster, endpoint: &Endpoint, found: Found) -> Judgement {
        let stats = &cluster.shared.stats;
        match found {
            Found::Success => stats.health_check_success.inc(),
            Found::Verdict | Found::Failure(Failure::Response) => stats.health_check_failure.inc(),
            Found::Failure(Failure::Network | Failure::Timeout) => {
                stats.health_check_failure.inc();
                stats.health_check_network_failure.inc();
            }
        }
        let health = &endpoint.counts.health;
        let was = !health.has(HealthFlag::FailedCheck);
        let judgement = self.course.judge(was, found, &self.check);
        let is_healthy = judgement.is_healthy;
        match is_healthy {
            true => {
                health.clear_flag(HealthFlag::CheckTimedOut);
                health.clear_flag(HealthFlag::Excluded);
                health.clear_flag(HealthFlag::FailedCheck);
            }
            false => {
                health.set_flag(HealthFlag::FailedCheck);
                if found == Found::Failure(Failure::Timeout) {
                    health.set_flag(HealthFlag::CheckTimedOut);
                }
            }
        }
        if was != is_healthy {
            let (cluster_name, endpoint) = (&*cluster.names.own, &endpoint.address);
            match is_healthy {
                true => {
                    health.became_healthy(Instant::now());
                    tracing::info!(cluster = cluster_name, %endpoint, "a health check found the endpoint healthy");
                }
                false => {
                    tracing::info!(cluster = cluster_name, %endpoint, ?found, "health checks of the endpoint fail")
                }
            }
            if cluster.is_gone(health) {
                cluster.let_go();
            }
            cluster.health_changed();
        }
        if was && !is_healthy {
            endpoint.drain();
        }
        if is_healthy && found == Found::Success {
            cluster.check_succeeded(endpoint);
        }
        judgement
    }
}

/// Has the cluster opened a connection for a request?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Traffic {
    None,
    Some,
}

/// How the last check of an endpoint went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// The last check succeeded.
    Passing,
    /// It succeeded, but `healthy_threshold` is not reached.
    PassingBelowThreshold,
    /// The last check failed.
    Failing,
    /// It failed, but `unhealthy_threshold` is not reached.
    FailingBelowThreshold,
}

impl Standing {
    fn new(found: Found, judgement: Judgement) -> Self {
        match (found == Found::Success, judgement.is_pending) {
            (true, false) => Self::Passing,
            (true, true) => Self::PassingBelowThreshold,
            (false, false) => Self::Failing,
            (false, true) => Self::FailingBelowThreshold,
        }
    }
}

/// How long to wait before the next check.
fn pause(check: &HealthCheck, traffic: Traffic, standing: Standing) -> Duration {
    match (traffic, standing) {
        (Traffic::Some, Standing::Passing) => check.interval,
        (Traffic::Some, Standing::PassingBelowThreshold) => check.healthy_edge_interval,
        (Traffic::Some, Standing::Failing) => check.unhealthy_interval,
        (Traffic::Some, Standing::FailingBelowThreshold) => check.unhealthy_edge_interval,
        (Traffic::None, Standing::Passing) => check.no_traffic_healthy_interval,
        (Traffic::None, Standing::PassingBelowThreshold | Standing::Failing | Standing::FailingBelowThreshold) => {
            check.no_traffic_interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_in_a_row() {
        use Found::{Success, Verdict};
        let failure = Found::Failure(Failure::Network);
        for (found, expected) in [
            (&[Success][..], "+"),
            (&[failure, Success, Success], "-!+"),
            (&[Success, failure, Success, failure, failure], "+?+?-"),
            (&[Success, Verdict, Success, failure, Success, Success], "+-!-!+"),
        ] {
            let (mut course, mut healthy) = (Course::default(), false);
            let mut seen = String::new();
            for one in found {
                let judgement = course.judge(healthy, *one, &check());
                healthy = judgement.is_healthy;
                seen.push(match (healthy, judgement.is_pending) {
                    (true, false) => '+',
                    (true, true) => '?',
                    (false, false) => '-',
                    (false, true) => '!',
                });
            }
            assert_eq!(seen, expected, "{found:?}");
        }
    }

    #[test]
    fn the_next_check_comes_as_the_last_one_went() {
        for (traffic, standing, seconds) in [
            (Traffic::Some, Standing::Passing, 1),
            (Traffic::Some, Standing::PassingBelowThreshold, 2),
            (Traffic::Some, Standing::Failing, 3),
            (Traffic::Some, Standing::FailingBelowThreshold, 4),
            (Traffic::None, Standing::Passing, 5),
            (Traffic::None, Standing::PassingBelowThreshold, 6),
            (Traffic::None, Standing::Failing, 6),
            (Traffic::None, Standing::FailingBelowThreshold, 6),
        ] {
            let found = pause(&check(), traffic, standing);
            assert_eq!(found, Duration::from_secs(seconds), "{traffic:?} {standing:?}");
        }
    }

    fn check() -> HealthCheck {
        let seconds = Duration::from_secs;
        HealthCheck {
            timeout: seconds(1),
            initial_jitter: Duration::ZERO,
            interval: seconds(1),
            healthy_edge_interval: seconds(2),
            unhealthy_interval: seconds(3),
            unhealthy_edge_interval: seconds(4),
            no_traffic_healthy_interval: seconds(5),
            no_traffic_interval: seconds(6),
            interval_jitter: Duration::ZERO,
            interval_jitter_percent: 0,
            reuse_connection: true,
            unhealthy_threshold: 2,
            healthy_threshold: 2,
            alpn: Vec::new(),
            socket: None,
            probe: Probe::Tcp { header: None, send: Vec::new(), receive: Vec::new() },
        }
    }
}
