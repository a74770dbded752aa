//! How much costly work one turn of a worker's event loop takes in.
//!
//! A worker serves what has happened in the order in which it did. That is fair as long as each event costs about the same.
//! To end a connection costs as much as several requests, and thousands may end at one instant: a load balancer stops, or a
//! client closes all that it has. A task requests a turn before such work, and events of other connections
//! are served in between.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::sync::{Semaphore, SemaphorePermit};
use ::tokio::task::{JoinSet, yield_now};
use ::tokio::time::Instant;

use super::LocalBoxFuture;

/// So many begin in one turn of the event loop. Each takes 20 to 100 µs, system calls included: together at most 2 ms of
/// what another client may wait.
const TURN_MAX: usize = 16;

/// After so long without a caller that waits, the next [`TURN_MAX`] begin at once. Longer than that many take, or a rush
/// of them would never be seen as one.
const RENEWAL: Duration = Duration::from_millis(20);

/// The costly work of one kind, on one worker. In order of arrival.
pub struct Pace {
    /// A permit for each that may begin.
    permits: Rc<Semaphore>,
    /// When the permits were last renewed while no caller waited.
    renewed: Cell<Option<Instant>>,
    /// The task that renews them with each turn, while a caller waits.
    pacer: RefCell<JoinSet<()>>,
}

/// A caller's turn. It is had once.
#[derive(Default)]
pub enum PaceTicket {
    /// Not requested yet.
    #[default]
    Unused,
    /// Requested, and not granted yet.
    Waiting(LocalBoxFuture<'static, ()>),
    /// The caller may go on.
    Granted,
}

impl Default for Pace {
    fn default() -> Self {
        Self { permits: Rc::new(Semaphore::new(TURN_MAX)), renewed: Cell::new(None), pacer: RefCell::default() }
    }
}

impl Pace {
    /// Returns when the caller may go on.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn turn(&self) {
        if !self.has_turn() {
            wait(Rc::clone(&self.permits)).await;
        }
    }

    /// The same, for a caller that is polled.
    pub fn poll_turn(&self, turn: &mut PaceTicket, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(turn, PaceTicket::Unused) {
            *turn = if self.has_turn() {
                PaceTicket::Granted
            } else {
                PaceTicket::Waiting(Box::pin(wait(Rc::clone(&self.permits))))
            };
        }
        if let PaceTicket::Waiting(waiting) = turn {
            ready!(waiting.as_mut().poll(cx));
            *turn = PaceTicket::Granted;
        }
        Poll::Ready(())
    }

    /// May one more begin at once? If not, the permits are renewed with each turn from now on.
    fn has_turn(&self) -> bool {
        let mut pacer = self.pacer.borrow_mut();
        while pacer.try_join_next().is_some() {}
        if pacer.is_empty() {
            let now = Instant::now();
            if self.renewed.get().is_none_or(|renewed| now.duration_since(renewed) >= RENEWAL) {
                self.renewed.set(Some(now));
                self.permits.add_permits(TURN_MAX.saturating_sub(self.permits.available_permits()));
            }
        }
        // No caller overtakes another: renewed permits go to those that wait before they can be taken here.
        let taken = self.permits.try_acquire().map(SemaphorePermit::forget);
        if taken.is_err() && pacer.is_empty() {
            pacer.spawn_local(renew(Rc::clone(&self.permits)));
        }
        taken.is_ok()
    }
}

async fn wait(permits: Rc<Semaphore>) {
    // Never closed.
    if let Ok(permit) = permits.acquire().await {
        permit.forget();
    }
}

/// With each turn [`TURN_MAX`] permits, until no caller waits for one.
async fn renew(permits: Rc<Semaphore>) {
    loop {
        // To the end of what is to run, behind the next events of the system.
        yield_now().await;
        if permits.available_permits() > 0 {
            return;
        }
        permits.add_permits(TURN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use ::tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Runs in the event loop of a worker, whose clock is paused.
    fn on_worker(test: impl Future<Output = ()>) {
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn of_many_disconnects_a_few_end_in_each_turn_in_order() {
        on_worker(async {
            let (pace, begun) = (Rc::new(Pace::default()), Rc::new(RefCell::new(Vec::new())));
            let all = 10 * TURN_MAX;
            for number in 0..all {
                let (pace, begun) = (Rc::clone(&pace), Rc::clone(&begun));
                spawn_local(async move {
                    pace.turn().await;
                    begun.borrow_mut().push(number);
                });
            }
            let (mut before, mut turns) = (0, 0);
            while before < all {
                yield_now().await;
                let now = begun.borrow().len();
                assert!(now - before <= 2 * TURN_MAX, "{} in one turn", now - before);
                (before, turns) = (now, turns + 1);
                assert!(turns < all, "all of them begin");
            }
            assert_eq!(*begun.borrow(), (0..all).collect::<Vec<_>>());
        });
    }

    #[test]
    fn one_now_and_then_never_waits() {
        on_worker(async {
            let pace = Pace::default();
            for _ in 0..10 * TURN_MAX {
                assert!(pace.has_turn());
                ::tokio::time::advance(RENEWAL).await;
            }
            assert!(pace.pacer.borrow().is_empty());
        });
    }

    #[test]
    fn a_caller_that_stops_waiting_delays_no_other() {
        on_worker(async {
            let pace = Pace::default();
            while pace.has_turn() {}
            let mut turns = [PaceTicket::Unused, PaceTicket::Unused];
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(turns.iter_mut().all(|turn| pace.poll_turn(turn, &mut cx).is_pending()));
            let [first, mut second] = turns;
            drop(first);
            std::future::poll_fn(|cx| pace.poll_turn(&mut second, cx)).await;
        });
    }
}
