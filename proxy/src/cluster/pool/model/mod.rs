//! The pool against a model of it: random checkouts, releases, failures and closes, in virtual time.
//!
//! [`Model`] does what an HTTP/1 pool of one endpoint does, without sockets, tasks or drops. After each step both must agree on
//! every request and every number. Two more tests take many steps at one instant, on HTTP/1 and HTTP/2, where the order of tasks
//! decides: there only the invariants are checked.

mod network;
mod real;

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::listener::Http2Options;
use real::{End, Real};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than all connect timeouts of one run together.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// One step. The number picks one of those that are there.
#[derive(Clone, Copy, Debug)]
enum Step {
    Checkout(Wanted),
    Cancel(usize),
    /// A request with a lease ends.
    End(End, usize),
    Connected,
    Refused,
    /// The peer closes a connection, in use or not.
    PeerCloses(usize),
    /// Connects take too long.
    ConnectTimeout,
    /// Idle connections get old.
    IdleTimeout,
    Drain,
    /// Another worker of the cluster takes a connection, or gives one back.
    OtherWorker(bool),
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    connections_max: u32,
    pending_max: u32,
    requests_max: u32,
    requests_per_connection: Option<NonZeroU32>,
    preconnect_percent: u32,
}

/// What a request got.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Outcome {
    Waits,
    Cancelled,
    Leased,
    Over,
    Failed(&'static str),
}

/// An HTTP/1 connection: its requests so far, and the drains when it was opened.
#[derive(Clone, Copy, Debug)]
struct Carried {
    id: usize,
    requests: u32,
    drains: u32,
}

/// The reference: what happens, one event after the other.
struct Model {
    set: Settings,
    outcomes: Vec<Outcome>,
    queue: Vec<(usize, Wanted)>,
    /// The drains when each began.
    connecting: Vec<u32>,
    idle: Vec<Carried>,
    leased: Vec<(usize, Carried)>,
    drains: u32,
    others: usize,
    connects: usize,
    established: usize,
}

impl Model {
    fn open(&self) -> usize {
        self.connecting.len() + self.idle.len() + self.leased.len()
    }

    fn may_open(&self) -> bool {
        self.open() + self.others < self.set.connections_max as usize
    }

    fn connect(&mut self) {
        self.connecting.push(self.drains);
        self.connects += 1;
    }

    fn open_for_queue(&mut self) {
        while self.connecting.len() < self.queue.len() {
            if self.may_open() || self.open() == 0 {
                self.connect();
            } else if self.idle.is_empty() {
                return;
            } else {
                self.idle.remove(0);
            }
        }
        self.preconnect();
    }

    fn preconnect(&mut self) {
        let ahead = |it: &Self| {
            let (active, percent) = (it.leased.len(), it.set.preconnect_percent as usize);
            let free = it.connecting.len() + it.idle.len();
            percent > 100 && (it.queue.len() + active) * percent > (free + active) * 100
        };
        for _ in 0..3 {
            if ahead(self) && self.may_open() {
                self.connect();
            }
        }
    }

    fn lease(&mut self, request: usize, mut connection: Carried) {
        if self.leased.len() >= self.set.requests_max as usize {
            self.outcomes[request] = Outcome::Failed("overflow");
            return self.idle.push(connection);
        }
        connection.requests += 1;
        self.outcomes[request] = Outcome::Leased;
        self.leased.push((request, connection));
    }

    fn checkout(&mut self, wanted: Wanted) {
        let request = self.outcomes.len();
        self.outcomes.push(Outcome::Waits);
        if wanted == Wanted::Any
            && let Some(connection) = self.idle.pop()
        {
            self.lease(request, connection);
            return self.preconnect();
        }
        if self.queue.len() >= self.set.pending_max as usize {
            self.outcomes[request] = Outcome::Failed("overflow");
            return;
        }
        self.queue.push((request, wanted));
        self.open_for_queue();
    }

    fn offer(&mut self, connection: Carried) {
        let fits = |(_, wanted): &(usize, Wanted)| connection.requests == 0 || *wanted == Wanted::Any;
        match self.queue.iter().position(fits) {
            Some(at) => {
                let (request, _) = self.queue.remove(at);
                self.lease(request, connection);
                if connection.requests > 0 {
                    self.open_for_queue();
                }
            }
            None => self.idle.push(connection),
        }
        if self.queue.iter().any(|(_, wanted)| *wanted == Wanted::Unused) {
            self.open_for_queue();
        }
    }

    fn connected(&mut self) {
        let (id, drains) = (self.established, self.connecting.remove(0));
        self.established += 1;
        self.offer(Carried { id, requests: 0, drains });
    }

    fn connect_failed(&mut self, why: &'static str) {
        self.connecting.remove(0);
        for (request, _) in std::mem::take(&mut self.queue) {
            self.outcomes[request] = Outcome::Failed(why);
        }
        self.open_for_queue();
    }

    fn end(&mut self, request: usize, how: End) {
        let at = self.leased.iter().position(|(leased, _)| *leased == request).expect("the request is under way");
        let (_, connection) = self.leased.remove(at);
        self.outcomes[request] = Outcome::Over;
        let is_used_up = self.set.requests_per_connection.is_some_and(|max| connection.requests >= max.get());
        match how == End::Release && !is_used_up && connection.drains == self.drains {
            true => self.offer(connection),
            false => self.open_for_queue(),
        }
    }

    fn close_idle(&mut self, is_closed: impl Fn(&Carried) -> bool) {
        let before = self.idle.len();
        self.idle.retain(|one| !is_closed(one));
        if self.idle.len() < before {
            self.open_for_queue();
        }
    }
}

fn pick(from: &[usize], nth: usize) -> Option<usize> {
    if from.is_empty() { None } else { Some(from[nth % from.len()]) }
}

/// Takes one step in both worlds.
async fn step_both(real: &mut Real, model: &mut Model, step: Step) {
    match step {
        Step::Checkout(wanted) => {
            real.checkout(wanted);
            model.checkout(wanted);
        }
        Step::Cancel(nth) => {
            let Some(request) = pick(&real.all(&Outcome::Waits), nth) else { return };
            real.cancel(request);
            model.queue.retain(|(waits, _)| *waits != request);
            model.outcomes[request] = Outcome::Cancelled;
        }
        Step::End(how, nth) => {
            let Some(request) = pick(&real.all(&Outcome::Leased), nth) else { return };
            real.end(request, how);
            model.end(request, how);
        }
        Step::Connected => {
            if real.network.end_connect(true) {
                model.connected();
            }
        }
        Step::Refused => {
            if real.network.end_connect(false) {
                model.connect_failed("remote connection failure");
            }
        }
        Step::PeerCloses(nth) => {
            let idle: Vec<usize> = model.idle.iter().map(|one| one.id).collect();
            let Some(id) = pick(&idle, nth) else { return };
            real.network.close(id);
            model.close_idle(|one| one.id == id);
        }
        Step::ConnectTimeout => {
            tokio::time::advance(CONNECT_TIMEOUT).await;
            for _ in 0..model.connecting.len() {
                model.connect_failed("connection timeout");
            }
        }
        Step::IdleTimeout if model.connecting.is_empty() => {
            tokio::time::advance(IDLE_TIMEOUT).await;
            model.close_idle(|_| true);
        }
        Step::IdleTimeout => {}
        Step::Drain => {
            real.pool.drain();
            model.drains += 1;
            model.close_idle(|_| true);
        }
        Step::OtherWorker(takes) => {
            real.other_worker(takes);
            model.others = real.others.len();
        }
    }
}

async fn follow_model(set: Settings, steps: Vec<Step>) {
    let mut real = Real::new(set, UpstreamProtocol::Http1);
    let mut model = Model {
        set,
        outcomes: Vec::new(),
        queue: Vec::new(),
        connecting: Vec::new(),
        idle: Vec::new(),
        leased: Vec::new(),
        drains: 0,
        others: 0,
        connects: 0,
        established: 0,
    };
    for (nth, step) in steps.into_iter().enumerate() {
        step_both(&mut real, &mut model, step).await;
        real.quiesce().await;
        let outcomes: Vec<Outcome> = real.requests.iter().map(|request| request.outcome.clone()).collect();
        assert_eq!(outcomes, model.outcomes, "after step {nth}, {step:?}");
        let numbers = [model.queue.len(), model.leased.len(), model.open()].map(|number| number as u64);
        assert_eq!(real.check_balance(), numbers, "after step {nth}, {step:?}");
        assert_eq!(real.network.connects.get(), model.connects, "after step {nth}, {step:?}");
    }
    real.finish().await;
}

/// Many steps at one instant.
async fn keep_invariants(set: Settings, protocol: UpstreamProtocol, steps: Vec<(Step, bool)>) {
    let mut real = Real::new(set, protocol);
    for (step, quiesces) in steps {
        match step {
            Step::Checkout(wanted) => real.checkout(wanted),
            Step::Cancel(nth) => {
                if let Some(request) = pick(&real.all(&Outcome::Waits), nth)
                    && !real.has_result(request)
                {
                    real.cancel(request);
                }
            }
            Step::End(how, nth) => {
                if let Some(request) = pick(&real.all(&Outcome::Leased), nth) {
                    real.end(request, how);
                }
            }
            Step::Connected => drop(real.network.end_connect(true)),
            Step::Refused => drop(real.network.end_connect(false)),
            Step::PeerCloses(nth) => {
                let peers: Vec<usize> = (0..real.network.established()).collect();
                if let Some(id) = pick(&peers, nth) {
                    real.network.close(id);
                }
            }
            Step::ConnectTimeout => tokio::time::advance(CONNECT_TIMEOUT).await,
            Step::IdleTimeout => tokio::time::advance(IDLE_TIMEOUT).await,
            Step::Drain => real.pool.drain(),
            Step::OtherWorker(takes) => real.other_worker(takes),
        }
        if quiesces {
            real.quiesce().await;
        }
        real.check_limits();
    }
    real.finish().await;
}

fn settings() -> impl Strategy<Value = Settings> {
    let percent = prop_oneof![3 => Just(100u32), 1 => 101u32..=300];
    let carried = prop_oneof![2 => Just(None), 1 => (1u32..4).prop_map(NonZeroU32::new)];
    (0u32..4, 0u32..5, 0u32..5, carried, percent).prop_map(
        |(connections_max, pending_max, requests_max, requests_per_connection, preconnect_percent)| Settings {
            connections_max,
            pending_max,
            requests_max,
            requests_per_connection,
            preconnect_percent,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0usize..8;
    prop_oneof![
        5 => prop_oneof![3 => Just(Wanted::Any), 1 => Just(Wanted::Unused)].prop_map(Step::Checkout),
        1 => which.clone().prop_map(Step::Cancel),
        4 => which.clone().prop_map(|nth| Step::End(End::Release, nth)),
        1 => which.clone().prop_map(|nth| Step::End(End::Drop, nth)),
        1 => which.clone().prop_map(|nth| Step::End(End::Break, nth)),
        5 => Just(Step::Connected),
        1 => Just(Step::Refused),
        1 => which.prop_map(Step::PeerCloses),
        1 => Just(Step::ConnectTimeout),
        1 => Just(Step::IdleTimeout),
        1 => Just(Step::Drain),
        1 => any::<bool>().prop_map(Step::OtherWorker),
    ]
}

/// Runs in virtual time.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn an_http1_pool_behaves_as_its_model(set in settings(), steps in prop::collection::vec(step(), 1..60)) {
        run(follow_model(set, steps));
    }

    #[test]
    fn an_http1_pool_balances_when_events_coincide(
        set in settings(),
        steps in prop::collection::vec((step(), any::<bool>()), 1..60),
    ) {
        run(keep_invariants(set, UpstreamProtocol::Http1, steps));
    }

    #[test]
    fn an_http2_pool_balances_when_events_coincide(
        set in settings(),
        streams in 1u32..4,
        steps in prop::collection::vec((step(), any::<bool>()), 1..60),
    ) {
        let max_concurrent_streams = NonZeroU32::new(streams).unwrap();
        let options = Http2Options { max_concurrent_streams, ..Http2Options::default() };
        run(keep_invariants(set, UpstreamProtocol::Http2(options), steps));
    }
}
