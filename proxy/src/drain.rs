//! How a server, or some of its listeners, comes to an end: one signal, its stages and its pace.
//!
//! Whoever holds [`DrainControl`] moves things forward; everybody else holds a [`Drain`] and looks. A process that was
//! told to end takes no more connections, asks its clients to go elsewhere at once, and gives what runs a limited time.
//! An operator can also have listeners drained or closed while the process stays, and can have every response say
//! that this is no longer the place to be, as a health check would.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::net::Random;

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Serving.
    Running,
    /// No new connections; what runs is finished, and peers are asked to go elsewhere.
    Draining,
    /// The deadline has passed: what is left is cut.
    Stopped,
}

/// How long-lived tunnels end in a drain. Everything else is asked to leave at its beginning in either case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// Each at a random instant between the middle of the drain and shortly before its end, so that their clients do
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
    time: Duration,
    strategy: Strategy,
}

/// Without being told, a drain takes so long.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Where the drain time has its last tenth, gradually ended tunnels are gone: their sockets wait for the client's FIN.
const TUNNELS_GONE_PERCENT: u32 = 90;
/// Before this part of the drain time is over, they are left alone.
const TUNNELS_SPARED_PERCENT: u32 = 50;

/// Moves things forward.
#[derive(Debug)]
pub struct DrainControl(Arc<Board>);

/// Sees how far things are, for listeners of one direction.
#[derive(Clone, Debug)]
pub struct Drain {
    board: Arc<Board>,
    direction: Direction,
}

/// Where the standing is written for all to see. Not tokio's `watch`: that wakes its receivers in an order that
/// chance decides, and connections would draw their lots in another order in every run.
#[derive(Debug)]
struct Board {
    standing: Mutex<Standing>,
    changed: Notify,
}

impl Board {
    fn read(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// Returns when the standing is as asked for. Those who wait are woken in the order in which they came.
    async fn wait_for(&self, is_so: impl Fn(&Standing) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable(); // from here on no change is missed
            if is_so(&self.read()) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for DrainControl {
    /// Nobody is left to let anything run on.
    fn drop(&mut self) {
        self.enter(Stage::Stopped);
    }
}

/// A control and a view of it, in [`Stage::Running`], with [`DRAIN_TIME`] and the usual strategy.
#[must_use]
pub fn drain() -> (DrainControl, Drain) {
    drain_over(DRAIN_TIME, Strategy::default())
}

/// A control and a view of it, in [`Stage::Running`]. `time` is what a drain takes, from its beginning to its end.
#[must_use]
pub fn drain_over(time: Duration, strategy: Strategy) -> (DrainControl, Drain) {
    let (inbound, other) = (Listening::Open, Listening::Open);
    let running = Standing { stage: Stage::Running, inbound, other, is_unwell: false, time, strategy };
    let board = Arc::new(Board { standing: Mutex::new(running), changed: Notify::new() });
    (DrainControl(Arc::clone(&board)), Drain { board, direction: Direction::Other })
}

impl DrainControl {
    /// Enters `stage`; never goes back.
    pub fn enter(&self, stage: Stage) {
        self.0.write(|standing| standing.stage = standing.stage.max(stage));
    }

    /// Enters [`Stage::Draining`] for a process that will be stopped after `time`.
    pub fn begin(&self, time: Duration) {
        self.0.write(|standing| standing.time = time);
        self.enter(Stage::Draining);
    }

    /// Has listeners stop: after the drain time, of which clients are told at once, or now and without a word.
    pub fn close_listeners(&self, scope: Scope, gracefully: bool) {
        let to = if gracefully { Listening::Draining } else { Listening::Closed };
        self.0.write(|standing| {
            standing.inbound = standing.inbound.max(to);
            if scope == Scope::All {
                standing.other = standing.other.max(to);
            }
        });
    }

    /// Is the process not about to end?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.read().stage == Stage::Running
    }

    /// Says whether clients are asked to go elsewhere with the next response they get.
    pub fn set_unwell(&self, is_unwell: bool) {
        self.0.write(|standing| standing.is_unwell = is_unwell);
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
        let standing = self.board.read();
        standing.is_unwell || self.has_begun(&standing)
    }

    /// Waits until `stage` is reached. A control that was dropped means [`Stage::Stopped`].
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn reached(&mut self, stage: Stage) {
        self.board.wait_for(|now| now.stage >= stage).await;
    }

    /// Waits until clients are to be asked to go elsewhere, idle ones too.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn begun(&mut self) {
        self.board.wait_for(|now| self.has_begun(now)).await;
    }

    /// Waits until no more connections are to be accepted.
    ///
    /// # Cancellation
    /// Safe to drop, but a drain time that was under way begins anew.
    pub async fn accepts_no_more(&mut self) {
        let view = self.clone();
        let closed = |now: &Standing| now.stage >= Stage::Draining || view.listening(now) == Listening::Closed;
        let mut begun = self.clone();
        tokio::select! {
            // The word that ends it at once comes first.
            biased;
            () = self.board.wait_for(closed) => {}
            () = async { begun.begun().await; sleep(begun.time()).await } => {}
        }
    }

    /// Waits until a tunnel is to end.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn ends_tunnel(&mut self, random: &dyn Random) {
        self.begun().await;
        let (time, strategy) = (self.time(), self.board.read().strategy);
        match strategy {
            Strategy::Gradual => sleep(spared(time, random.next_u64())).await,
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

    fn time(&self) -> Duration {
        self.board.read().time
    }
}

/// How long a tunnel lives on in a drain that takes `time`.
fn spared(time: Duration, chance: u64) -> Duration {
    let (from, to) = (time * TUNNELS_SPARED_PERCENT / 100, time * TUNNELS_GONE_PERCENT / 100);
    let window = u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX).max(1);
    from + Duration::from_nanos(chance % window)
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn stages_only_go_forward() {
        let (control, mut drain) = drain();
        control.enter(Stage::Stopped);
        control.enter(Stage::Draining);
        drain.reached(Stage::Stopped).await;
        assert!(drain.is_draining());
    }

    #[tokio::test]
    async fn a_dropped_control_stops() {
        let (control, mut drain) = drain();
        drop(control);
        drain.reached(Stage::Stopped).await;
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_drain_by_direction_and_close_after_the_drain_time() {
        let (control, drain) = drain_over(7 * SECOND, Strategy::Gradual);
        let (mut inbound, mut other) = (drain.of(Direction::Inbound), drain);
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

    #[test]
    fn tunnels_end_between_the_middle_and_the_last_tenth() {
        for chance in [0, 1, u64::MAX / 3, u64::MAX] {
            let spared = spared(10 * SECOND, chance);
            assert!((5 * SECOND..9 * SECOND).contains(&spared), "{spared:?}");
        }
        assert_eq!(spared(Duration::ZERO, 5), Duration::ZERO);
    }
}
