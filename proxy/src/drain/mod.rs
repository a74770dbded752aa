//! How a server, or some of its listeners, comes to an end: one signal, its stages and its pace.
//!
//! The owner of [`DrainControl`] enters the stages; every other part holds a [`Drain`] and observes them. A process that is to
//! end has each response close its connection, goes on accepting for the drain time, then closes its listeners, and gives what
//! runs a limited time. An operator can also have listeners drained or closed while the process stays, and can have every
//! health check fail and every response close its connection.

mod listener;
mod signal;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

pub use listener::{ListenerDrain, WorkerDrain};
use signal::Signal;

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// No drain has begun.
    Running,
    /// Peers are sent elsewhere. Listeners go on accepting: a load balancer learns late that it is to send no connection here.
    Draining,
    /// No new connections; what runs is finished.
    Closed,
    /// The deadline has passed: connections that are left are closed.
    Stopped,
}

/// How clients are sent elsewhere in a drain that an operator has begun, and how long-lived tunnels end in any drain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// Clients by a share of the responses that grows over the drain time. Tunnels each at an instant of its own between the
    /// middle of the drain and shortly before its end, so that their clients do not all come back at once.
    #[default]
    Gradual,
    /// All at once, when the drain begins.
    Immediate,
}

/// `traffic_direction` of a listener: where its connections come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Direction {
    /// `INBOUND`: from clients to the application beside this proxy.
    Inbound,
    /// From within the process: such a listener serves for as long as others do.
    Internal,
    /// `OUTBOUND` or unspecified.
    #[default]
    Other,
}

/// Which listeners an operator means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Every listener drains.
    All,
    /// Those of [`Direction::Inbound`].
    Inbound,
}

/// What an operator has demanded of the listeners of one direction, by `/drain_listeners`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Listening {
    /// No drain was demanded.
    Open,
    /// They stop when the drain time is over; until then clients are sent elsewhere.
    Draining,
    /// They stop now. Connections that are there are left alone.
    Closed,
}

/// The state of the drain of a process.
#[derive(Clone, Copy, Debug)]
struct Standing {
    stage: Stage,
    inbound: Listening,
    other: Listening,
    /// `/healthcheck/fail` was requested after the last `/healthcheck/ok`.
    is_unwell: bool,
    /// From the closing of the listeners to the end; where an operator drains listeners, from that request to their closing.
    time: Duration,
    strategy: Strategy,
}

/// How long a drain takes without `--drain-time-s`.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Enters the stages of the drain. Dropped, it enters the last: no other part could.
#[derive(Debug)]
pub struct DrainControl(Arc<Signal<Standing>>);

impl Drop for DrainControl {
    fn drop(&mut self) {
        self.enter(Stage::Stopped);
    }
}

/// Observes the stage that the process is in.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Signal<Standing>>);

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
    let signal = Arc::new(Signal::new(running));
    (DrainControl(Arc::clone(&signal)), Drain(signal))
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

    /// Closes listeners: after the drain time, in which responses close their connections, or now.
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

    /// Sets whether health checks fail and responses close their connections.
    pub fn set_unwell(&self, is_unwell: bool) {
        self.0.change(|standing| standing.is_unwell = is_unwell);
    }
}

impl Drain {
    /// Waits until `stage` is reached. A control that was dropped means [`Stage::Stopped`].
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn reached(&self, stage: Stage) {
        self.0.until(|now| now.stage >= stage).await;
    }

    /// The view of a worker's listeners.
    #[must_use]
    pub fn on_worker(&self) -> WorkerDrain {
        WorkerDrain::new(Arc::clone(&self.0))
    }
}

impl Standing {
    fn listening(&self, direction: Direction) -> Listening {
        match direction {
            Direction::Inbound => self.inbound,
            Direction::Internal => Listening::Open,
            Direction::Other => self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn stages_only_go_forward() {
        let (control, drain) = drain();
        control.enter(Stage::Stopped);
        control.enter(Stage::Draining);
        drain.reached(Stage::Stopped).await;
    }

    #[tokio::test]
    async fn a_dropped_control_stops() {
        let (control, drain) = drain();
        drop(control);
        drain.reached(Stage::Stopped).await;
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_close_after_the_grace_and_the_rest_is_cut_after_the_drain_time() {
        let (control, drain) = drain_over(7 * SECOND, Strategy::Immediate);
        let begun = Instant::now();
        let worker = drain.on_worker();
        let listener = worker.listener(Direction::Other);
        let announced = async {
            listener.begun().await;
            assert_eq!(begun.elapsed(), Duration::ZERO);
        };
        let closed = async {
            listener.accepts_no_more().await;
            listener.ends_tunnel(1).await;
            assert_eq!(begun.elapsed(), 20 * SECOND);
        };
        let stopped = async {
            drain.reached(Stage::Stopped).await;
            assert_eq!(begun.elapsed(), 27 * SECOND);
        };
        let checks = async { tokio::join!(control.end(20 * SECOND, pending(), pending()), announced, closed, stopped) };
        tokio::select! {
            biased;
            () = worker.follow() => unreachable!("it has no end"),
            _ = checks => {}
        }
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
}
