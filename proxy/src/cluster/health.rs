//! Active health checks: one state machine for each endpoint.
//!
//! One worker checks for all: what it finds is in the endpoint's shared numbers, where every worker looks before it
//! chooses. An endpoint is unhealthy until its first check has succeeded.

use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Cluster, Endpoint, Origin};
use crate::codec::http1::{ClientConnection, ClientOptions};
use crate::codec::{Frame, Headers, Payload, RequestHead};
use crate::config;
use crate::config::header_names::{NameCase, TrailerRule};
use crate::config::health::{HealthCheck, Probe};
use crate::config::upstream_name::RequestedNames;
use crate::net::{Address, Conn, ConnectOptions, Net, tls};
use crate::stats::HealthFlag;

/// Largest head of a response to a check. Bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// Bytes of a response to a check that are read to have the connection for the next one.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a TCP response that are searched.
const TCP_RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// What a check found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// No response, or none that can be read, or one after which the check may be repeated.
    Failure(Failure),
    /// The response wanted.
    Success,
    /// A clear response, and not the one wanted.
    Verdict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// There was a response.
    Response,
    /// The connection failed.
    Network,
    /// There was no response in time.
    Timeout,
}

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
    connection: Option<ClientConnection>,
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
            connection: None,
            course: Course::default(),
        }
    }

    /// For as long as cluster and endpoint exist.
    pub(super) async fn run(mut self) {
        while let Some(pause) = self.once().await {
            tokio::time::sleep(pause).await;
        }
    }

    /// One check; returns how long to wait before the next.
    pub(super) async fn once(&mut self) -> Option<Duration> {
        let (outside, address, shared, names) = {
            let (cluster, endpoint) = (self.cluster.upgrade()?, self.endpoint.upgrade()?);
            let names = cluster.own_names(&endpoint);
            (cluster.outside.clone(), endpoint.address.clone(), Arc::clone(&cluster.shared), names)
        };
        if !self.course.begun {
            tokio::time::sleep(outside.random.up_to(self.check.initial_jitter)).await;
        }
        let authority = self.authority()?;
        let target = Target { net: &*outside.net, address: &address, config: &shared.config, names: &names };
        let check = run_check(&self.check.probe, &authority, target, &mut self.connection);
        let found = tokio::time::timeout(self.check.timeout, check).await.unwrap_or(Found::Failure(Failure::Timeout));
        if found != Found::Success || !self.check.reuse_connection {
            self.connection = None;
        }
        let (cluster, endpoint) = (self.cluster.upgrade()?, self.endpoint.upgrade()?);
        let standing = Standing::new(found, self.note(&cluster, &endpoint, found));
        let traffic = match cluster.shared.stats.upstream_cx_total.value() {
            0 => Traffic::None,
            _ => Traffic::Some,
        };
        let pause = pause(&self.check, traffic, standing);
        let jitter = pause * self.check.interval_jitter_percent / 100;
        let random = &*outside.random;
        Some(pause + random.up_to(jitter) + random.up_to(self.check.interval_jitter))
    }

    fn authority(&self) -> Option<String> {
        match &self.check.probe {
            Probe::Http { host: Some(host), .. } => Some(host.clone()),
            Probe::Http { host: None, .. } | Probe::Tcp { .. } => Some(self.cluster.upgrade()?.name.to_string()),
        }
    }

    fn note(&mut self, cluster: &Cluster, endpoint: &Endpoint, found: Found) -> Judgement {
        let stats = &cluster.shared.stats;
        stats.health_check_attempt.inc();
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
            let (cluster_name, endpoint) = (&*cluster.name, &endpoint.address);
            match is_healthy {
                true => tracing::info!(cluster = cluster_name, %endpoint, "a health check found the endpoint healthy"),
                false => {
                    tracing::info!(cluster = cluster_name, %endpoint, ?found, "health checks of the endpoint fail")
                }
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

/// The endpoint that is checked, and how it is reached.
#[derive(Clone, Copy)]
struct Target<'t> {
    net: &'t dyn Net,
    address: &'t Address,
    config: &'t config::Cluster,
    /// The names for TLS.
    names: &'t RequestedNames,
}

impl Target<'_> {
    async fn connect(self) -> io::Result<Conn> {
        let options = ConnectOptions { from: self.config.source, ..ConnectOptions::default() };
        let mut conn = self.net.connect(self.address, &options).await?;
        if let Some(header) = Origin::own_header(self.config, &conn.local, &conn.peer) {
            conn.write_all(&header).await?;
        }
        match &self.config.tls {
            Some(tls) => tls::connect(conn, &tls.current(), self.names).await,
            None => Ok(conn),
        }
    }
}

/// # Cancellation
/// Safe to drop; the connection is then in no state to be used again.
async fn run_check(
    probe: &Probe,
    authority: &str,
    target: Target<'_>,
    connection: &mut Option<ClientConnection>,
) -> Found {
    match probe {
        Probe::Http { path, expected, retriable, .. } => {
            let Some(status) = check_http(path, authority, target, connection).await else {
                return Found::Failure(Failure::Network);
            };
            if expected.iter().any(|range| range.contains(&status)) {
                Found::Success
            } else if retriable.iter().any(|range| range.contains(&status)) {
                Found::Failure(Failure::Response)
            } else {
                Found::Verdict
            }
        }
        Probe::Tcp { send, receive } => {
            let Ok(conn) = target.connect().await else { return Found::Failure(Failure::Network) };
            match check_tcp(conn, send, receive).await {
                Some(()) => Found::Success,
                None => Found::Failure(Failure::Network),
            }
        }
    }
}

async fn check_http(
    path: &str,
    authority: &str,
    target: Target<'_>,
    kept: &mut Option<ClientConnection>,
) -> Option<u16> {
    let kept_one = kept.take().filter(ClientConnection::is_reusable);
    let mut connection = match kept_one.and_then(|mut kept| kept.peek().is_none().then_some(kept)) {
        Some(connection) => connection,
        None => {
            let options = ClientOptions {
                head_bytes_max: HEAD_BYTES_MAX,
                headers_max: HEADERS_MAX,
                case: NameCase::Lower,
                trailers: TrailerRule::Dropped,
                write_buffer_bytes_max: HEAD_BYTES_MAX,
            };
            ClientConnection::new(target.connect().await.ok()?, options)
        }
    };
    let mut headers = Headers::default();
    headers.append(http::header::USER_AGENT, HeaderValue::from_static("Envoy/HC")); // apps recognise the check by it
    let head = RequestHead {
        method: Method::GET,
        scheme: None,
        authority: HeaderValue::from_str(authority).ok(),
        path: HeaderValue::from_str(path).ok(),
        protocol: None,
        version: Version::HTTP_11,
        headers,
    };
    let mut outgoing = connection.send(&head, Payload::None);
    std::future::poll_fn(|cx| outgoing.poll_flush(cx)).await.ok()?;
    drop(outgoing);
    let (response, mut body) = connection.response().await.ok()?;
    let mut read = 0;
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
        let Ok(Frame::Data(data)) = frame else { break };
        read += data.len();
        if read > BODY_BYTES_MAX {
            break;
        }
    }
    drop(body);
    if connection.is_reusable() {
        *kept = Some(connection);
    }
    Some(response.status.as_u16())
}

/// Sends `send` and waits for the responses.
async fn check_tcp(mut conn: Conn, send: &[u8], receive: &[Vec<u8>]) -> Option<()> {
    conn.write_all(send).await.ok()?;
    let mut got = Vec::new();
    let mut searched = 0;
    for wanted in receive {
        loop {
            let rest = got.get(searched..).unwrap_or_default();
            if let Some(at) = find(rest, wanted) {
                searched += at + wanted.len();
                break;
            }
            if got.len() > TCP_RESPONSE_BYTES_MAX || conn.read_buf(&mut got).await.ok()? == 0 {
                return None;
            }
        }
    }
    Some(())
}

fn find(within: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    within.windows(wanted.len()).position(|window| window == wanted)
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

    #[test]
    fn bytes_are_found_where_they_begin() {
        assert_eq!(find(b"abcab", b"ca"), Some(2));
        assert_eq!(find(b"abc", b"abcd"), None);
        assert_eq!(find(b"", b""), Some(0));
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
            probe: Probe::Tcp { send: Vec::new(), receive: Vec::new() },
        }
    }
}
