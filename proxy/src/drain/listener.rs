//! A worker's view of the drain: of each listener, and without a lock.
//!
//! Every connection waits for a drain, and every response checks whether there is one. A change by the process or its operators
//! therefore reaches a worker once, through [`WorkerDrain::follow`], and is passed on to values of the worker's own. A
//! listener that a new configuration leaves out or replaces drains by itself.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

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
    /// Since when an operator's gradual drain is under way, as the first response in it saw.
    gradual: Cell<Option<Instant>>,
    /// Responses that such a drain has met.
    responses: Cell<u64>,
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
        let local = Rc::new(Local {
            process: Arc::clone(&self.process),
            followed,
            signal: LocalSignal::new(seen),
            direction,
            gradual: Cell::default(),
            responses: Cell::default(),
        });
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
                if listener.gradual.get().is_none() && process.listening(listener.direction) == Listening::Draining {
                    listener.gradual.set(Some(Instant::now()));
                }
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

    /// Shall this response have its client open another connection, by `connection: close` or GOAWAY? In a gradual drain that
    /// an operator has begun, a share of the responses shall, which grows with the time that has passed.
    #[must_use]
    pub fn sends_away(&self) -> bool {
        let seen = self.0.signal.now();
        match self.listening(&seen) {
            _ if self.is_unwell_for(&seen) || self.is_leaving(&seen) => true,
            Listening::Draining => match seen.process.strategy {
                Strategy::Gradual => self.is_of_share(seen.process.time),
                Strategy::Immediate => true,
            },
            Listening::Closed | Listening::Open => false,
        }
    }

    /// Is a drain under way, so that it is one if a connection ends with its response?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        let seen = self.0.signal.now();
        self.is_unwell_for(&seen) || self.is_leaving(&seen) || self.listening(&seen) == Listening::Draining
    }

    /// Waits until connections are to be closed, idle ones too. A gradual drain that an operator has begun leaves those alone.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn begun(&self) {
        let at_once =
            |now: &Seen| self.listening(now) == Listening::Draining && now.process.strategy == Strategy::Immediate;
        self.0.signal.until(|now| self.is_leaving(now) || at_once(now)).await;
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

    fn is_unwell_for(&self, seen: &Seen) -> bool {
        seen.process.is_unwell && self.0.direction != Direction::Internal
    }

    /// Does the process end, or has the configuration left the listener out?
    fn is_leaving(&self, seen: &Seen) -> bool {
        seen.service == Service::Removed || self.stage(seen) >= Stage::Draining
    }

    /// Is the next response of the share that a drain of this length has reached?
    fn is_of_share(&self, time: Duration) -> bool {
        let Local { gradual, responses, .. } = &*self.0;
        let elapsed = gradual.get().map(|since| since.elapsed()).unwrap_or_default();
        responses.set(responses.get().wrapping_add(1));
        spread(time.as_nanos(), responses.get()) < elapsed.as_nanos()
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

/// How long a tunnel stays open in a drain that takes `time`.
fn spared(time: Duration, number: u64) -> Duration {
    let (from, to) = (time * TUNNELS_SPARED_PERCENT / 100, time * TUNNELS_GONE_PERCENT / 100);
    from + Duration::from_nanos(u64::try_from(spread((to - from).as_nanos(), number)).unwrap_or(u64::MAX))
}

/// A part of `whole` for each number. Multiples of the golden ratio, without their whole part, are evenly distributed, however
/// many there are and whichever of them are left.
fn spread(whole: u128, number: u64) -> u128 {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15; // times 2^64
    whole.saturating_mul(number.wrapping_mul(GOLDEN_RATIO).into()) >> 64
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
            let begun = Instant::now();
            tokio::task::yield_now().await;
            assert!(inbound.is_draining() && !other.is_draining());
            // Of a hundred responses in each second, a share that grows from none to all.
            let shares = async {
                for second in 0..7_u32 {
                    let sent_away = (0..100).filter(|_| inbound.sends_away()).count();
                    assert!(sent_away.abs_diff(second as usize * 100 / 7) <= 2, "{sent_away} after {second} s");
                    assert!(timeout(SECOND, inbound.begun()).await.is_err(), "idle connections stay");
                }
            };
            let closed = async {
                inbound.accepts_no_more().await;
                begun.elapsed()
            };
            let ((), closed) = tokio::join!(shares, closed);
            assert_eq!(closed, 7 * SECOND);
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
