//! The named timers of one stream.
//!
//! All share one [`Alarm`]: most streams end before any timer fires.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::alarm::Alarm;

/// The timers of a stream. `None` is off.
pub(crate) struct Timers {
    /// Route `timeout`: from the request's end to the response's end.
    global: Option<Duration>,
    /// Stream idle timeout: from the last progress in either direction.
    idle: Option<Duration>,
    /// `request_timeout`, as an instant: the request must be complete by then.
    request: Option<Instant>,
    last_progress: Instant,
    completed_at: Option<Instant>,
    alarm: Alarm,
}

/// A timer that fired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expired {
    /// Route `timeout`.
    Global,
    /// `stream_idle_timeout`, or the route's `idle_timeout`.
    Idle,
    /// `request_timeout`.
    Request,
}

impl Timers {
    /// The timers a stream starts with; the route's come later. `alarm` is the connection's.
    pub(crate) fn new(alarm: Alarm, idle: Option<Duration>, request: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            global: None,
            idle,
            request: request.map(|limit| now + limit),
            last_progress: now,
            completed_at: None,
            alarm,
        }
    }

    /// The stream is over: the connection's alarm, for its next use.
    pub(crate) fn into_alarm(self) -> Alarm {
        self.alarm
    }

    /// What the chosen route says.
    pub(crate) fn set_route(&mut self, global: Option<Duration>, idle: Option<Option<Duration>>) {
        self.global = global;
        self.idle = idle.unwrap_or(self.idle);
    }

    /// Something moved.
    pub(crate) fn progress(&mut self) {
        if self.idle.is_some() {
            self.last_progress = Instant::now();
        }
    }

    /// The request has been read whole: the route's timeout starts, the request's own ends.
    pub(crate) fn request_is_complete(&mut self) {
        self.request = None;
        if self.completed_at.is_none() {
            self.completed_at = Some(Instant::now());
        }
    }

    /// When the request was complete.
    pub(crate) fn completed_at(&self) -> Option<Instant> {
        self.completed_at
    }

    /// An upgrade was accepted: the route's timeout covered the handshake only.
    pub(crate) fn upgrade_accepted(&mut self) {
        self.global = None;
        self.request = None;
    }

    /// A response head has come: `request_timeout` has nothing left to guard.
    pub(crate) fn response_began(&mut self) {
        self.request = None;
        self.progress();
    }

    /// What is left of the route's timeout, for `x-envoy-expected-rq-timeout-ms`.
    pub(crate) fn global_left(&self) -> Option<Duration> {
        let limit = self.global?;
        Some(self.completed_at.map_or(limit, |at| (at + limit).saturating_duration_since(Instant::now())))
    }

    /// Ready when a timer has fired.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let Some((due, which)) = self.earliest() else { return Poll::Pending };
        self.alarm.poll(cx, due).map(|()| which)
    }

    fn earliest(&self) -> Option<(Instant, Expired)> {
        let global = self.completed_at.zip(self.global).map(|(at, limit)| (at + limit, Expired::Global));
        let idle = self.idle.map(|limit| (self.last_progress + limit, Expired::Idle));
        let request = self.request.map(|at| (at, Expired::Request));
        global.into_iter().chain(idle).chain(request).min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn progress_moves_the_idle_timer_and_nothing_else() {
        let begun = Instant::now();
        let mut timers = Timers::new(Alarm::default(), Some(3 * SECOND), None);
        timers.set_route(Some(10 * SECOND), None);
        timers.request_is_complete();
        for _ in 0..4 {
            let waited = tokio::time::timeout(2 * SECOND, poll_fn(|cx| timers.poll(cx))).await;
            assert!(waited.is_err(), "nothing fires while there is progress");
            timers.progress();
        }
        assert_eq!(poll_fn(|cx| timers.poll(cx)).await, Expired::Global);
        assert_eq!(begun.elapsed(), 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_timer_ends_with_the_request() {
        let mut timers = Timers::new(Alarm::default(), None, Some(SECOND));
        assert_eq!(poll_fn(|cx| timers.poll(cx)).await, Expired::Request);
        timers.request_is_complete();
        let waited = tokio::time::timeout(60 * SECOND, poll_fn(|cx| timers.poll(cx))).await;
        assert!(waited.is_err());
    }
}
