//! One sleep that is moved lazily.
//!
//! Nearly every timer of a proxy is set and then not needed. Registering a sleep with the runtime for each costs
//! more than the rest of its life, so a connection keeps one sleep for good: a later deadline leaves it where it
//! is, and when it goes off too early it moves on.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// Wakes its task at an instant. Holds no memory until it is first polled.
#[derive(Debug, Default)]
pub(crate) struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Ready when `due` has come. Each call may name another instant; only the last one wakes the task.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Waits until `due`; for ever, if there is none.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(crate) async fn at(&mut self, due: Option<Instant>) {
        match due {
            Some(due) => std::future::poll_fn(|cx| self.poll(cx, due)).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_fires_when_due_whatever_its_deadline_was_before() {
        let begun = Instant::now();
        let mut timer = LazyTimer::default();
        for seconds in [2, 3, 3, 10, 4, 11] {
            let due = begun + Duration::from_secs(seconds);
            let early = due - Duration::from_millis(1);
            let waited = tokio::time::timeout_at(early, timer.at(Some(due))).await;
            assert!(waited.is_err() || begun.elapsed() >= Duration::from_secs(seconds), "{seconds}");
            timer.at(Some(due)).await;
            assert!(begun.elapsed() >= Duration::from_secs(seconds), "{seconds}");
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(11));
    }
}
