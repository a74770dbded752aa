//! The attacks. Each is over after [`ATTACK`], or a little later where its connections take longer to open; all of its
//! connections are closed by then.

mod admin;
mod buffers;
mod exhaustion;
mod floods;
mod slow;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::apps::http2::Seen;
use crate::shared::ServerShared;

pub(crate) const ATTACK: Duration = Duration::from_secs(6);
const MIB: u64 = 1024 * 1024;

/// An attack, the proxy that it needs, and what that proxy may cost.
pub(crate) struct Attack {
    /// What arguments select.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) upstream: Upstream,
    pub(crate) neighbours: NeighbourConnections,
    /// As in [`rivals::Options`](crate::rivals::Options), like the two maxima.
    pub(crate) log: Option<&'static str>,
    /// More fields of the route's action.
    pub(crate) route: &'static str,
    pub(crate) connections_max: Option<u32>,
    pub(crate) descriptors_max: Option<u32>,
    pub(crate) limits: Limits,
    pub(crate) run: fn(&Target) -> Toll,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Upstream {
    Http1,
    /// One connection, which everything shares.
    Http2,
}

/// The connections to the proxy that neighbours use.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum NeighbourConnections {
    /// The one that the attack uses: their requests are streams of it.
    Attacked,
    /// Those that they opened before, and that stay. They open none, and send no probe.
    Kept,
    /// Their own, kept and new.
    Own,
}

/// What fails the benchmark, beside a neighbour's request that fails and any [`Toll::faults`].
pub(crate) struct Limits {
    /// Of a neighbour's request, beyond what requests that do not go through a proxy take at the same time.
    pub(crate) latency: Duration,
    pub(crate) peak_bytes: u64,
    /// Of one processor, while the attack goes on.
    pub(crate) cpu_share: f64,
    /// Written to standard error from start to end.
    pub(crate) stderr_bytes: u64,
}

/// What is attacked.
pub(crate) struct Target {
    pub(crate) at: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The connection that the attack and its neighbours share, where they do.
    pub(crate) shared: Arc<ServerShared>,
    /// What the application over HTTP/2 has seen.
    pub(crate) seen: Arc<Seen>,
}

/// What an attack came to.
#[derive(Default)]
pub(crate) struct Toll {
    pub(crate) told: String,
    /// Connections or streams that it held open, where that is what it is about.
    pub(crate) held: usize,
    /// What the proxy did that it should not have done to the attack's own requests.
    pub(crate) faults: Vec<String>,
}

impl Attack {
    const DEFAULT: Self = Self {
        name: "",
        about: "",
        upstream: Upstream::Http1,
        neighbours: NeighbourConnections::Own,
        log: None,
        route: ", timeout: 0s",
        connections_max: None,
        descriptors_max: None,
        limits: Limits::DEFAULT,
        run: |_| Toll::default(),
    };

    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        [floods::ATTACKS, slow::ATTACKS, streams::ATTACKS, buffers::ATTACKS, admin::ATTACKS, exhaustion::ATTACKS]
            .into_iter()
            .flatten()
    }
}

impl Limits {
    const DEFAULT: Self = Self {
        latency: Duration::from_millis(100),
        peak_bytes: 128 * MIB,
        // A flood may take the processor, as long as neighbours get their part.
        cpu_share: f64::INFINITY,
        // A few lines, however much goes wrong.
        stderr_bytes: 64 * 1024,
    };
}

/// Several threads that do the same until the attack is over; the sum of what they count.
fn together(threads: usize, work: impl Fn(Instant) -> usize + Sync) -> usize {
    let until = Instant::now() + ATTACK;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(until))).collect();
        workers.into_iter().map(|worker| worker.join().expect("it only gives up connections")).sum()
    })
}

/// A short wait while there is nothing to do.
fn pause(until: Instant, wait: Duration) {
    thread::sleep(wait.min(until.saturating_duration_since(Instant::now())));
}
