//! A worker's view of the drain: of each listener, and without a lock.
//!
//! Every connection waits for a drain, and every response checks whether there is one. A change by the process or its operators
//! therefore reaches a worker once, through [`WorkerDrain::follow`], and is passed on to values of the worker's own. A
//! listener that a new configuration leaves out or replaces drains by itself.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::signal::{LocalSignal, Signal};
use super::{Direction, Listening, Stage, Standing, Strategy};

/// Tunnels that are ended gradually are closed by this part of the drain time; in the rest of it their sockets wait for the
/// client's FIN.
const TUNNELS_GONE_PERCENT: u32 = 90;
/// Tunnels that are ended gradually are left open for this part of the drain time.
const TUNNELS_SPARED_PERCENT: u32 = 50;

/// What the listeners of one worker see of the drain.
#[derive(Debug)]
pub struct WorkerDrain {
    process: Arc<Signal<Standing>>,
    listeners: RefCell<Vec<Weak<Local>>>,
}

/// How far the drain of one listener is, on one worker.
#[derive(Clone, Debug)]
pub struct ListenerDrain(Rc<Local>);

#[derive(Debug)]
struct Local {
    process: Arc<Signal<Standing>>,
    /// Changes of the process that have been passed on.
    followed: Cell<u64>,
    signal: LocalSignal<Seen>,
    direction: Direction,
}

/// The state that decides whether a listener drains.
#[derive(Clone, Copy, Debug)]
struct Seen {
    process: Standing,
    service: Service,
}

/// Whether the listener is part of the configuration in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Service {
    /// The listener is configured.
    Configured,
    /// A new configuration has left it out or replaced it.
    Removed,
}

impl WorkerDrain {
    pub(super) fn new(process: Arc<Signal<Standing>>) -> Self {
        Self { process, listeners: RefCell::default() }
    }

    /// The view of a listener of this direction.
    #[must_use]
    pub fn listener(&self, direction: Direction) -> ListenerDrain {
        let followed = Cell::new(self.process.changes());
        let seen = Seen { process: self.process.now(), service: Service::Configured };
        let local =
            Rc::new(Local { process: Arc::clone(&self.process), followed, signal: LocalSignal::new(seen), direction });
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Rc::downgrade(&local));
        ListenerDrain(local)
    }

    /// Passes on changes by the process and its operators. Has no end of its own.
    ///
    /// # Cancellation
    /// Dropped, listeners see no further change.
    pub async fn follow(&self) {
        let mut seen = 0;
        loop {
            self.process.changed(&mut seen).await;
            let process = self.process.now();
            let listeners: Vec<Rc<Local>> = self.listeners.borrow().iter().filter_map(Weak::upgrade).collect();
            for listener in listeners {
                listener.followed.set(seen);
                listener.signal.set(Seen { process, ..listener.signal.now() });
            }
        }
    }
}

impl ListenerDrain {
    /// The configuration has left the listener out, or replaced it: responses close their connections, and the connections
    /// that are left after the drain time are reset.
    pub fn remove(&self) {
        self.0.signal.set(Seen { service: Service::Removed, ..self.0.signal.now() });
    }

    /// Does an operator want this process to fail its health checks? It holds for the next check, which may be there before
    /// the worker has followed.
    #[must_use]
    pub fn is_unwell(&self) -> bool {
        let Local { process, followed, signal, .. } = &*self.0;
        if process.changes() == followed.get() { signal.now().process.is_unwell } else { process.now().is_unwell }
    }

    /// Shall a response have its client open another connection, by `connection: close` or GOAWAY?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        let seen = self.0.signal.now();
        (seen.process.is_unwell && self.0.direction != Direction::Internal) || self.has_begun(&seen)
    }

    /// Waits until connections are to be closed, idle ones too.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn begun(&self) {
        self.0.signal.until(|now| self.has_begun(now)).await;
    }

    /// Waits until no more connections are to be accepted.
    ///
    /// # Cancellation
    /// Safe to drop, but a drain time that was under way begins anew.
    pub async fn accepts_no_more(&self) {
        let closed = |now: &Seen| {
            now.service == Service::Removed
                || self.stage(now) >= Stage::Closed
                || self.listening(now) == Listening::Closed
        };
        let drained = async {
            self.0.signal.until(|now| self.listening(now) == Listening::Draining).await;
            sleep(self.time()).await;
        };
        tokio::select! {
            // What ends it at once comes first.
            biased;
            () = self.0.signal.until(closed) => {}
            () = drained => {}
        }
    }

    /// Waits until a tunnel is to end, the `number`th that was begun. A process that ends spares them until its listeners
    /// have closed: before that, their clients might come back to it.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn ends_tunnel(&self, number: u64) {
        let ends = |now: &Seen| {
            now.service == Service::Removed
                || self.stage(now) >= Stage::Closed
                || self.listening(now) == Listening::Draining
        };
        self.0.signal.until(ends).await;
        let Standing { time, strategy, .. } = self.0.signal.now().process;
        match strategy {
            Strategy::Gradual => sleep(spared(time, number)).await,
            Strategy::Immediate => {}
        }
    }

    /// Waits until what is left is to be cut.
    ///
    /// # Cancellation
    /// Safe to drop, but the drain time of a removed listener begins anew.
    pub async fn is_over(&self) {
        let removed = async {
            self.0.signal.until(|now| now.service == Service::Removed).await;
            sleep(self.time()).await;
        };
        tokio::select! {
            // What ends it at once comes first.
            biased;
            () = self.0.signal.until(|now| now.process.stage == Stage::Stopped) => {}
            () = removed => {}
        }
    }

    fn time(&self) -> Duration {
        self.0.signal.now().process.time
    }

    fn has_begun(&self, seen: &Seen) -> bool {
        seen.service == Service::Removed
            || self.stage(seen) >= Stage::Draining
            || self.listening(seen) == Listening::Draining
    }

    /// How far the process has come, as far as that concerns the listener: clients within the process have no other place to go
    /// to, and are gone with those that they serve.
    fn stage(&self, seen: &Seen) -> Stage {
        match (self.0.direction, seen.process.stage) {
            (Direction::Internal, Stage::Draining | Stage::Closed) => Stage::Running,
            (_, stage) => stage,
        }
    }

    fn listening(&self, seen: &Seen) -> Listening {
        seen.process.listening(self.0.direction)
    }
}

/// How long a tunnel stays open in a drain that takes `time`. Multiples of the golden ratio, without their whole part,
/// are evenly distributed, however many there are and whichever of them are left.
fn spared(time: Duration, number: u64) -> Duration {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15; // times 2^64
    let (from, to) = (time * TUNNELS_SPARED_PERCENT / 100, time * TUNNELS_GONE_PERCENT / 100);
    let window = (to - from).as_nanos();
    let part = window.saturating_mul(number.wrapping_mul(GOLDEN_RATIO).into()) >> 64;
    from + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::drain::{Scope, drain_over};

    const SECOND: Duration = Duration::from_secs(1);

    /// Does `checks` while the worker follows changes.
    async fn following(worker: &WorkerDrain, checks: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = worker.follow() => unreachable!("it has no end"),
            () = checks => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_drain_by_direction_and_close_after_the_drain_time() {
        let (control, drain) = drain_over(7 * SECOND, Strategy::Gradual);
        let worker = drain.on_worker();
        let (inbound, other) = (worker.listener(Direction::Inbound), worker.listener(Direction::Other));
        following(&worker, async {
            control.close_listeners(Scope::Inbound, true);
            inbound.begun().await;
            assert!(inbound.is_draining() && !other.is_draining());
            let begun = Instant::now();
            inbound.accepts_no_more().await;
            assert_eq!(begun.elapsed(), 7 * SECOND);
            assert!(timeout(SECOND, other.accepts_no_more()).await.is_err());
            control.close_listeners(Scope::All, false);
            other.accepts_no_more().await;
            assert!(!other.is_draining(), "closed without a drain");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_listener_drains_alone_and_is_over_after_the_drain_time() {
        let (_control, drain) = drain_over(10 * SECOND, Strategy::Gradual);
        let worker = drain.on_worker();
        let (removed, stays) = (worker.listener(Direction::Other), worker.listener(Direction::Other));
        following(&worker, async {
            let begun = Instant::now();
            removed.remove();
            removed.accepts_no_more().await;
            removed.begun().await;
            assert!(removed.is_draining() && begun.elapsed().is_zero());
            let tunnel_ended = async {
                removed.ends_tunnel(1).await;
                begun.elapsed()
            };
            let over = async {
                removed.is_over().await;
                begun.elapsed()
            };
            let (tunnel_ended, over) = tokio::join!(tunnel_ended, over);
            assert!((5 * SECOND..9 * SECOND).contains(&tunnel_ended), "{tunnel_ended:?}");
            assert_eq!(over, 10 * SECOND);
            assert!(!stays.is_draining() && timeout(SECOND, stays.begun()).await.is_err());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_internal_listener_serves_through_a_drain_until_it_is_removed() {
        let (control, drain) = drain_over(10 * SECOND, Strategy::Gradual);
        let worker = drain.on_worker();
        let internal = worker.listener(Direction::Internal);
        following(&worker, async {
            control.close_listeners(Scope::All, false);
            control.enter(Stage::Closed);
            assert!(timeout(SECOND, internal.accepts_no_more()).await.is_err());
            assert!(timeout(20 * SECOND, internal.ends_tunnel(0)).await.is_err());
            assert!(!internal.is_draining());
            internal.remove();
            internal.accepts_no_more().await;
            control.enter(Stage::Stopped);
            internal.is_over().await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_begun_during_a_drain_see_it_at_once() {
        let (control, drain) = drain_over(SECOND, Strategy::Gradual);
        control.enter(Stage::Draining);
        assert!(drain.on_worker().listener(Direction::Other).is_draining());
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
