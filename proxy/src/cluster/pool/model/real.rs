//! The pool under test, and the requests that use it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, Version};
use tokio::task::JoinHandle;

use super::network::{Network, World};
use super::*;
use crate::cluster::Origin;
use crate::cluster::breaker::Breakers;
use crate::codec::{Headers, Payload, RequestHead, http2 as codec};
use crate::config::Config;
use crate::config::cluster::{ClusterProtocol, Limits, UpstreamProtocol};
use crate::net::Address;
use crate::runtime::Runtime;
use crate::stats::Registry;

/// A lease, and what is sent on it.
struct Held {
    halves: Option<(codec::Outgoing, codec::Response)>,
    lease: Lease,
}

type Slot = Rc<RefCell<Option<Result<Held, Failure>>>>;

/// A request of the test.
pub(super) struct Request {
    task: JoinHandle<()>,
    result: Slot,
    pub(super) outcome: Outcome,
}

/// How the test ends a request that has a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Break,
    Drop,
    Release,
}

/// The real pool, and its world.
pub(super) struct Real {
    pub(super) pool: Rc<Pool>,
    shared: Arc<ClusterShared>,
    pub(super) network: Rc<Network>,
    pub(super) requests: Vec<Request>,
    /// Permits of the other worker.
    pub(super) others: Vec<Permit>,
    set: Settings,
}

const YAML: &str = "
static_resources:
  clusters:
  - name: c
    connect_timeout: 5s
    load_assignment: { cluster_name: c }
";

impl Real {
    pub(super) fn new(set: Settings, protocol: UpstreamProtocol) -> Self {
        let config = Config::from_yaml(YAML, "test").unwrap().config;
        let mut cluster = config.clusters[0].clone();
        cluster.connect_timeout = CONNECT_TIMEOUT;
        cluster.idle_timeout = Some(IDLE_TIMEOUT);
        cluster.protocol = ClusterProtocol::Fixed(protocol);
        cluster.requests_per_connection_max = set.requests_per_connection;
        cluster.preconnect_percent = set.preconnect_percent;
        cluster.limits.default = Limits {
            connections_max: set.connections_max,
            pending_max: set.pending_max,
            requests_max: set.requests_max,
            ..Limits::default()
        };
        let runtime = Arc::new(Runtime::new(config.runtime.clone(), config.differences));
        let shared = Arc::new(ClusterShared::new(cluster, runtime, &Registry::new()));
        let network = Rc::new(Network::default());
        let world = Rc::new(World(Rc::clone(&network)));
        let (net, clock, random) = (Rc::clone(&world), Rc::clone(&world), Rc::clone(&world));
        let outside = Outside { net, clock, random, logs: world, ends: Rc::default(), numbered: Rc::default() };
        let address = Address::Socket("127.0.0.1:80".parse().unwrap());
        let pool = Pool::new(PoolParts {
            shared: Arc::clone(&shared),
            priority: Priority::Default,
            location: address.into(),
            origin: Origin::default(),
            outside,
            load: Rc::default(),
        });
        Self { pool, shared, network, requests: Vec::new(), others: Vec::new(), set }
    }

    pub(super) fn checkout(&mut self, wanted: Wanted) {
        let (pool, result) = (Rc::clone(&self.pool), Slot::default());
        let sent = Rc::clone(&result);
        let task = tokio::task::spawn_local(async move {
            let lease = pool.checkout(wanted).await;
            *sent.borrow_mut() = Some(lease.map(send));
        });
        self.requests.push(Request { task, result, outcome: Outcome::Waits });
    }

    /// The requests that are at this point.
    pub(super) fn all(&self, outcome: &Outcome) -> Vec<usize> {
        (0..self.requests.len()).filter(|nth| self.requests[*nth].outcome == *outcome).collect()
    }

    pub(super) fn cancel(&mut self, nth: usize) {
        self.requests[nth].task.abort();
        self.requests[nth].outcome = Outcome::Cancelled;
    }

    pub(super) fn end(&mut self, nth: usize, how: End) {
        let held = self.requests[nth].result.borrow_mut().take().expect("the request has a lease");
        self.requests[nth].outcome = Outcome::Over;
        let Held { halves, lease } = held.expect("the request has a lease");
        drop(halves);
        match how {
            End::Release => lease.release(),
            End::Break => lease.close_broken(ExchangeError::Closed),
            End::Drop => {
                let before = self.shared.stats.upstream_cx_total.value();
                drop(lease);
                assert_eq!(self.shared.stats.upstream_cx_total.value(), before, "a drop opened a connection");
            }
        }
    }

    pub(super) fn other_worker(&mut self, takes: bool) {
        match takes {
            true => self.others.extend(self.breakers().connections.permit()),
            false => drop(self.others.pop()),
        }
    }

    fn breakers(&self) -> &Breakers {
        self.shared.breakers.of(Priority::Default)
    }

    /// Lets every task run until none has anything to do, and notes what the requests got.
    pub(super) async fn quiesce(&mut self) {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        for request in self.requests.iter_mut().filter(|request| request.outcome == Outcome::Waits) {
            match &*request.result.borrow() {
                None => {}
                Some(Ok(_)) => request.outcome = Outcome::Leased,
                Some(Err(failure)) => request.outcome = Outcome::Failed(failure.reason()),
            }
        }
    }

    /// Requests that wait, requests with a connection, and connections: in the gauges, as in the circuit breakers.
    pub(super) fn check_balance(&self) -> [u64; 3] {
        let (stats, breakers) = (&self.shared.stats, self.breakers());
        let counts = &self.pool.budget.counts;
        let waiting = stats.upstream_rq_pending_active.value();
        let active = stats.upstream_rq_active.value();
        let open = stats.upstream_cx_active.value();
        assert_eq!(waiting, self.pool.queue.len() as u64);
        assert_eq!(active, u64::from(self.pool.requests_active()));
        assert_eq!(
            [waiting, active, open],
            [&counts.rq_pending_active, &counts.rq_active, &counts.cx_active].map(|it| it.value())
        );
        assert_eq!(u64::from(breakers.pending.count()), waiting);
        assert_eq!(u64::from(breakers.requests.count()), active);
        assert_eq!(u64::from(breakers.connections.count()), open + self.others.len() as u64);
        assert_eq!(u64::from(breakers.pools.count()), u64::from(open > 0));
        let ended = stats.upstream_cx_destroy.value();
        assert_eq!(stats.upstream_cx_total.value(), open + ended);
        assert_eq!(ended, stats.upstream_cx_destroy_local.value() + stats.upstream_cx_destroy_remote.value());
        [waiting, active, open]
    }

    pub(super) fn check_limits(&self) {
        let [waiting, active, open] = self.check_balance();
        assert!(waiting <= u64::from(self.set.pending_max), "requests wait past the limit");
        assert!(active <= u64::from(self.set.requests_max), "requests past the limit");
        // An endpoint without a connection gets one past the limit.
        let taken = self.breakers().connections.count();
        assert!(taken <= self.set.connections_max || open == 1, "connections past the limit");
    }

    /// Is there a request that has its lease, unseen so far?
    pub(super) fn has_result(&self, request: usize) -> bool {
        self.requests[request].result.borrow().is_some()
    }

    /// Ends everything; nothing may be left.
    pub(super) async fn finish(mut self) {
        self.quiesce().await;
        for nth in self.all(&Outcome::Leased) {
            self.end(nth, End::Drop);
        }
        for nth in self.all(&Outcome::Waits) {
            self.cancel(nth);
        }
        self.quiesce().await;
        self.others.clear();
        let Self { pool, shared, network, requests, .. } = self;
        for request in requests {
            let ended = matches!(request.outcome, Outcome::Cancelled | Outcome::Over | Outcome::Failed(_));
            assert!(ended, "a request neither ended nor waited");
            assert!(
                request.result.borrow().is_none() || matches!(request.outcome, Outcome::Failed(_)),
                "it ended twice"
            );
            drop(request.task.await);
        }
        while network.end_connect(false) {} // a connect under way keeps its pool
        pool.drain();
        drop(pool);
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        let breakers = shared.breakers.of(Priority::Default);
        let taken =
            [&breakers.connections, &breakers.pending, &breakers.requests, &breakers.pools].map(|one| one.count());
        let stats = &shared.stats;
        let gauges = [&stats.upstream_cx_active, &stats.upstream_rq_active, &stats.upstream_rq_pending_active];
        assert_eq!((taken, gauges.map(|gauge| gauge.value())), ([0; 4], [0; 3]));
    }
}

/// On HTTP/2 a stream counts from its HEADERS on.
fn send(lease: Lease) -> Held {
    let head = RequestHead {
        method: Method::GET,
        scheme: Some(HeaderValue::from_static("http")),
        authority: Some(HeaderValue::from_static("a")),
        path: Some(HeaderValue::from_static("/")),
        protocol: None,
        version: Version::HTTP_2,
        headers: Headers::default(),
    };
    let halves = match &lease {
        Lease::Http1(_) | Lease::Tcp(_) => None,
        Lease::Http2(stream) => stream.connection().send(&head, Payload::None).ok(),
    };
    Held { halves, lease }
}
