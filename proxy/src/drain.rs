//! How a server, or some of its listeners, comes to an end: one signal, its stages and its pace.
//!
//! Whoever holds [`DrainControl`] moves things forward; everybody else holds a [`Drain`] and looks. A process that was
//! told to end asks its clients to go elsewhere at once, goes on accepting those that have not heard of it yet, then
//! closes its listeners, and gives what runs a limited time.
//! An operator can also have listeners drained or closed while the process stays, and can have every response say
//! that this is no longer the place to be, as a health check would.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Serving.
    Running,
    /// Peers are asked to go elsewhere. Listeners go on accepting: a load balancer hears late that it is to send nobody here.
    Draining,
    /// No new connections; what runs is finished.
    Closed,
    /// The deadline has passed: what is left is cut.
    Stopped,
}

/// How long-lived tunnels end in a drain. Everything else is asked to leave at its beginning in either case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// Each at an instant of its own between the middle of the drain and shortly before its end, so that their clients do
    /// not all come back at once.
    #[default]
    Gradual,
    /// At the beginning.
    Immediate,
}

/// Which way the connections of a listener come, as `traffic_direction` says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Direction {
    /// From elsewhere to what is served here.
    Inbound,
    /// Any other.
    #[default]
    Other,
}

/// Which listeners an operator means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// All.
    All,
    /// Those of [`Direction::Inbound`].
    Inbound,
}

/// What an operator said about the listeners of one direction.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Listening {
    /// Nothing.
    Open,
    /// They stop when the drain time is over; until then clients are asked to go elsewhere.
    Draining,
    /// They stop now. Connections that are there are left alone.
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    stage: Stage,
    inbound: Listening,
    other: Listening,
    /// `/healthcheck/fail` was said last.
    is_unwell: bool,
    /// From the closing of the listeners to the end; where an operator drains listeners, from that word to their closing.
    time: Duration,
    strategy: Strategy,
}

/// Without being told, a drain takes so long.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Where the drain time has its last tenth, gradually ended tunnels are gone: their sockets wait for the client's FIN.
const TUNNELS_GONE_PERCENT: u32 = 90;
/// Before this part of the drain time is over, they are left alone.
const TUNNELS_SPARED_PERCENT: u32 = 50;

/// What control and views share. Not a `watch` channel of tokio's: that wakes who waits in an order that chance decides.
#[derive(Debug)]
struct Signal {
    standing: RwLock<Standing>,
    /// Counts changes, so that who waits and is polled for another reason need not take its place again.
    changes: AtomicU64,
    /// In the order in which they began to wait.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    tickets: u64,
}

/// A place among those who wait; given back when dropped.
struct Ticket<'a> {
    signal: &'a Signal,
    number: u64,
    /// The waker in this place, and the count of changes that it waits behind.
    taken: Option<(Waker, u64)>,
}

impl Signal {
    fn now(&self) -> Standing {
        // Whoever panicked had only copied a few fields: what is there is whole.
        *self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.fetch_add(1, Ordering::AcqRel);
        let wakers = std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner).wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until things stand like this.
    async fn until(&self, reached: impl Fn(&Standing) -> bool) {
        if reached(&self.now()) {
            return;
        }
        let mut ticket = Ticket::draw(self);
        poll_fn(|cx| ticket.poll(cx, &reached)).await;
    }
}

impl<'a> Ticket<'a> {
    fn draw(signal: &'a Signal) -> Self {
        let mut waiting = signal.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.tickets += 1;
        Self { signal, number: waiting.tickets, taken: None }
    }

    fn poll(&mut self, cx: &Context<'_>, reached: &impl Fn(&Standing) -> bool) -> Poll<()> {
        let changes = self.signal.changes.load(Ordering::Acquire);
        if self.taken.as_ref().is_some_and(|(waker, seen)| *seen == changes && waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.taken = Some((cx.waker().clone(), changes));
        let mut waiting = self.signal.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.wakers.insert(self.number, cx.waker().clone());
        // Looked at after the waker is in place: a change in between finds it there.
        if reached(&self.signal.now()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.signal.waiting.lock().unwrap_or_else(PoisonError::into_inner).wakers.remove(&self.number);
    }
}

/// Moves things forward. Dropped, it stops what is left: nobody remains to let it run on.
#[derive(Debug)]
pub struct DrainControl(Arc<Signal>);

impl Drop for DrainControl {
    fn drop(&mut self) {
        self.enter(Stage::Stopped);
    }
}

/// Sees how far things are, for listeners of one direction.
#[derive(Clone, Debug)]
pub struct Drain {
    signal: Arc<Signal>,
    direction: Direction,
}

/// A control and a view of it, in [`Stage::Running`], with [`DRAIN_TIME`] and the usual strategy.
#[must_use]
pub fn drain() -> (DrainControl, Drain) {
    drain_over(DRAIN_TIME, Strategy::default())
}

/// A control and a view of it, in [`Stage::Running`]. `time` is what a drain takes, from the closing of the listeners to its
/// end.
#[must_use]
pub fn drain_over(time: Duration, strategy: Strategy) -> (DrainControl, Drain) {
    let (inbound, other) = (Listening::Open, Listening::Open);
    let running = Standing { stage: Stage::Running, inbound, other, is_unwell: false, time, strategy };
    let signal =
        Arc::new(Signal { standing: RwLock::new(running), changes: AtomicU64::new(0), waiting: Mutex::default() });
    (DrainControl(Arc::clone(&signal)), Drain { signal, direction: Direction::Other })
}

impl DrainControl {
    /// Enters `stage`; never goes back.
    pub fn enter(&self, stage: Stage) {
        self.0.change(|standing| standing.stage = standing.stage.max(stage));
    }

    /// Enters [`Stage::Draining`] for a process that will be stopped `time` after its listeners have closed.
    pub fn begin(&self, time: Duration) {
        self.0.change(|standing| standing.time = time);
        self.enter(Stage::Draining);
    }

    /// Goes through the stages to the last: listeners close `listeners_after` from now, and what is left after the drain
    /// time is cut. Earlier if everything has `ended`; at once if it is `hastened`.
    ///
    /// # Cancellation
    /// Dropped, it leaves things at the stage that was reached.
    pub async fn end(
        &self,
        listeners_after: Duration,
        hastened: impl Future<Output = ()>,
        ended: impl Future<Output = ()>,
    ) {
        let mut early = pin!(async {
            tokio::select! {
                // Either way the rest of the drain is left out.
                biased;
                () = hastened => {}
                () = ended => {}
            }
        });
        self.enter(Stage::Draining);
        if timeout(listeners_after, early.as_mut()).await.is_err() {
            self.enter(Stage::Closed);
            let time = self.0.now().time;
            drop(timeout(time, early).await); // how it came to an end makes no difference now
        }
        self.enter(Stage::Stopped);
    }

    /// Has listeners stop: after the drain time, of which clients are told at once, or now and without a word.
    pub fn close_listeners(&self, scope: Scope, gracefully: bool) {
        let to = if gracefully { Listening::Draining } else { Listening::Closed };
        self.0.change(|standing| {
            standing.inbound = standing.inbound.max(to);
            if scope == Scope::All {
                standing.other = standing.other.max(to);
            }
        });
    }

    /// Is the process not about to end?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.now().stage == Stage::Running
    }

    /// Says whether clients are asked to go elsewhere with the next response they get.
    pub fn set_unwell(&self, is_unwell: bool) {
        self.0.change(|standing| standing.is_unwell = is_unwell);
    }
}

impl Drain {
    /// The view of a listener of this direction.
    #[must_use]
    pub fn of(&self, direction: Direction) -> Self {
        Self { direction, ..self.clone() }
    }

    /// Shall a response ask its client to go elsewhere?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        let standing = self.signal.now();
        standing.is_unwell || self.has_begun(&standing)
    }

    /// Waits until `stage` is reached. A control that was dropped means [`Stage::Stopped`].
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn reached(&self, stage: Stage) {
        self.signal.until(|now| now.stage >= stage).await;
    }

    /// Waits until clients are to be asked to go elsewhere, idle ones too.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn begun(&self) {
        self.signal.until(|now| self.has_begun(now)).await;
    }

    /// Waits until no more connections are to be accepted.
    ///
    /// # Cancellation
    /// Safe to drop, but a drain time that was under way begins anew.
    pub async fn accepts_no_more(&self) {
        let closed = |now: &Standing| now.stage >= Stage::Closed || self.listening(now) == Listening::Closed;
        let drained = async {
            self.signal.until(|now| self.listening(now) == Listening::Draining).await;
            sleep(self.signal.now().time).await;
        };
        tokio::select! {
            // The word that ends it at once comes first.
            biased;
            () = self.signal.until(closed) => {}
            () = drained => {}
        }
    }

    /// Waits until a tunnel is to end, the `number`th that was begun. A process that ends spares them until its listeners
    /// have closed: before that, their clients might come back to it.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn ends_tunnel(&self, number: u64) {
        self.signal.until(|now| now.stage >= Stage::Closed || self.listening(now) == Listening::Draining).await;
        let Standing { time, strategy, .. } = self.signal.now();
        match strategy {
            Strategy::Gradual => sleep(spared(time, number)).await,
            Strategy::Immediate => {}
        }
    }

    fn has_begun(&self, standing: &Standing) -> bool {
        standing.stage >= Stage::Draining || self.listening(standing) == Listening::Draining
    }

    fn listening(&self, standing: &Standing) -> Listening {
        match self.direction {
            Direction::Inbound => standing.inbound,
            Direction::Other => standing.other,
        }
    }
}

/// How long a tunnel lives on in a drain that takes `time`. Multiples of the golden ratio, without their whole part,
/// lie evenly wherever one stops counting and whichever of them are left.
fn spared(time: Duration, number: u64) -> Duration {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15; // times 2^64
    let (from, to) = (time * TUNNELS_SPARED_PERCENT / 100, time * TUNNELS_GONE_PERCENT / 100);
    let window = (to - from).as_nanos();
    let part = window.saturating_mul(number.wrapping_mul(GOLDEN_RATIO).into()) >> 64;
    from + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn stages_only_go_forward() {
        let (control, drain) = drain();
        control.enter(Stage::Stopped);
        control.enter(Stage::Draining);
        drain.reached(Stage::Stopped).await;
        assert!(drain.is_draining());
    }

    #[tokio::test]
    async fn a_dropped_control_stops() {
        let (control, drain) = drain();
        drop(control);
        drain.reached(Stage::Stopped).await;
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_drain_by_direction_and_close_after_the_drain_time() {
        let (control, drain) = drain_over(7 * SECOND, Strategy::Gradual);
        let (inbound, other) = (drain.of(Direction::Inbound), drain);
        control.close_listeners(Scope::Inbound, true);
        inbound.begun().await;
        assert!(inbound.is_draining() && !other.is_draining());
        let begun = Instant::now();
        inbound.accepts_no_more().await;
        assert_eq!(begun.elapsed(), 7 * SECOND);
        assert!(timeout(SECOND, other.accepts_no_more()).await.is_err());
        control.close_listeners(Scope::All, false);
        other.accepts_no_more().await;
        assert!(!other.is_draining(), "who was not told stays");
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_close_after_the_grace_and_the_rest_is_cut_after_the_drain_time() {
        let (control, drain) = drain_over(7 * SECOND, Strategy::Immediate);
        let begun = Instant::now();
        let announced = async {
            drain.begun().await;
            assert_eq!(begun.elapsed(), Duration::ZERO);
        };
        let closed = async {
            drain.accepts_no_more().await;
            drain.ends_tunnel(1).await;
            assert_eq!(begun.elapsed(), 20 * SECOND);
        };
        let stopped = async {
            drain.reached(Stage::Stopped).await;
            assert_eq!(begun.elapsed(), 27 * SECOND);
        };
        tokio::join!(control.end(20 * SECOND, pending(), pending()), announced, closed, stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_over_as_soon_as_it_is_hastened_or_nothing_is_left() {
        for hastened_after in [2, 8] {
            let (control, drain) = drain_over(7 * SECOND, Strategy::Gradual);
            let begun = Instant::now();
            control.end(5 * SECOND, sleep(hastened_after * SECOND), pending()).await;
            drain.reached(Stage::Stopped).await;
            assert_eq!(begun.elapsed(), hastened_after * SECOND);
        }
        let (control, drain) = drain();
        control.end(5 * SECOND, pending(), ready(())).await;
        drain.reached(Stage::Stopped).await;
    }

    #[test]
    fn tunnels_end_between_the_middle_and_the_last_tenth() {
        let mut each: Vec<Duration> = (0..1000).map(|number| spared(10 * SECOND, number)).collect();
        each.sort();
        assert!(each.iter().all(|spared| (5 * SECOND..9 * SECOND).contains(spared)));
        let longest_gap = each.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest_gap < Some(Duration::from_millis(12)), "{longest_gap:?} where 4 ms are the mean");
        assert_eq!(spared(Duration::ZERO, 5), Duration::ZERO);
    }
}
