//! The named timers of one stream.
//!
//! All share one [`LazyTimer`]: most streams end before any timer fires.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::lazy_timer::LazyTimer;
use crate::config::listener::ManagerTimeouts;
use crate::config::route::Forward;

/// The timers of a stream. `None` is off.
pub(crate) struct Timers {
    /// Route `timeout`: from the request's end to the response's end.
    global: Option<Duration>,
    /// `stream_flush_timeout`: how long a finished response may take to leave. `None`: as long as a stream may be idle.
    flush: Option<Option<Duration>>,
    /// `request_headers_timeout`, as an instant: the head must be complete by then.
    head: Option<Instant>,
    /// Stream idle timeout: from the last progress in either direction.
    idle: Option<Duration>,
    /// `max_stream_duration`: from the first byte to the end of everything.
    longest: Option<Duration>,
    /// `max_stream_duration` of the cluster, once there is a response: its end, whatever it does.
    upstream: Option<Instant>,
    /// `request_timeout`, as an instant: the request must be complete by then.
    request: Option<Instant>,
    begun: Instant,
    last_progress: Instant,
    completed_at: Option<Instant>,
    /// When the last wait of a filter was over: the router gets the request no earlier.
    waited_until: Option<Instant>,
    timer: LazyTimer,
}

/// A timer that fired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expired {
    /// `max_stream_duration`.
    Duration,
    /// `timeout` of the route, for all attempts together.
    Global,
    /// `request_headers_timeout`.
    Head,
    /// `stream_idle_timeout`, or the route's `idle_timeout`.
    Idle,
    /// `request_timeout`.
    Request,
    /// `max_stream_duration` of the cluster, of a response that had begun.
    Upstream,
}

impl Timers {
    /// The timers of a stream whose first byte has come at `now`; the route's come later. `timer` is the connection's.
    pub(crate) fn new(timer: LazyTimer, limits: &ManagerTimeouts, now: Instant) -> Self {
        Self {
            global: None,
            flush: limits.stream_flush,
            head: limits.request_headers.map(|limit| now + limit),
            idle: limits.stream_idle,
            longest: limits.stream,
            upstream: None,
            request: limits.request.map(|limit| now + limit),
            begun: now,
            last_progress: now,
            completed_at: None,
            waited_until: None,
            timer,
        }
    }

    /// The stream is over: the connection's timer, for its next use.
    pub(crate) fn take_timer(&mut self) -> LazyTimer {
        std::mem::take(&mut self.timer)
    }

    /// The longest time of the stream.
    pub(crate) fn longest(&self) -> Option<Duration> {
        self.longest
    }

    /// The chosen route's; `timeout` is for the request as a whole, and `longest` replaces the longest time of the stream.
    pub(crate) fn set_route(&mut self, to: &Forward, timeout: Option<Duration>, longest: Option<Option<Duration>>) {
        self.global = timeout;
        self.flush = to.flush_timeout.or(self.flush);
        self.idle = to.idle_timeout.unwrap_or(self.idle);
        self.longest = longest.unwrap_or(self.longest);
    }

    /// How long a finished response may take to leave.
    pub(crate) fn flush_limit(&self) -> Option<Duration> {
        self.flush.unwrap_or(self.idle)
    }

    /// The head has been read whole.
    pub(crate) fn head_is_complete(&mut self) {
        self.head = None;
        self.progress();
    }

    /// The request has been read whole, and its head is all of it.
    pub(crate) fn head_is_all(&mut self) {
        let now = Instant::now();
        (self.head, self.request) = (None, None);
        (self.last_progress, self.completed_at) = (now, Some(now));
    }

    /// Bytes of the stream have moved: the idle timer begins anew.
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

    /// The request, which is complete, begins anew.
    pub(crate) fn begin_again(&mut self) {
        let now = Instant::now();
        (self.begun, self.last_progress, self.completed_at) = (now, now, Some(now));
    }

    /// A filter has waited with the request until now.
    pub(crate) fn has_waited(&mut self) {
        self.waited_until = Some(Instant::now());
    }

    /// When the router had the whole request: as in Envoy, the route's timeout and the upstream's time begin then.
    pub(crate) fn forwarded_whole_at(&self) -> Option<Instant> {
        self.completed_at.map(|at| self.waited_until.map_or(at, |until| at.max(until)))
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

    /// A response head has come at `now`: `request_timeout` has nothing left to guard. The response is ended at `ends_at`, if that is
    /// limited.
    pub(crate) fn response_began(&mut self, now: Instant, ends_at: Option<Instant>) {
        self.request = None;
        self.last_progress = now;
        self.upstream = ends_at;
    }

    /// What is left of the route's timeout, for `x-envoy-expected-rq-timeout-ms`.
    pub(crate) fn global_left(&self) -> Option<Duration> {
        let limit = self.global?;
        Some(self.forwarded_whole_at().map_or(limit, |at| (at + limit).saturating_duration_since(Instant::now())))
    }

    /// How much of the route's timeout has been used, in percent; `None` while the request is not complete.
    pub(crate) fn budget_used(&self) -> Option<u64> {
        self.forwarded_whole_at().map(|at| percent_used(at.elapsed(), self.global))
    }

    /// Waits until a timer fires.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(crate) async fn expired(&mut self) -> Expired {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Ready when a timer has fired.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let Some((due, which)) = self.earliest() else { return Poll::Pending };
        self.timer.poll(cx, due).map(|()| which)
    }

    fn earliest(&self) -> Option<(Instant, Expired)> {
        let global = self.forwarded_whole_at().zip(self.global).map(|(at, limit)| (at + limit, Expired::Global));
        let idle = self.idle.map(|limit| (self.last_progress + limit, Expired::Idle));
        let longest = self.longest.map(|limit| (self.begun + limit, Expired::Duration));
        let request = self.request.map(|at| (at, Expired::Request));
        let head = self.head.map(|at| (at, Expired::Head));
        let upstream = self.upstream.map(|at| (at, Expired::Upstream));
        let of_stream = global.into_iter().chain(idle).chain(longest).chain(request);
        of_stream.chain(head).chain(upstream).min_by_key(|(due, _)| *due)
    }
}

/// How much of `limit` that is, in whole percent of whole milliseconds, as Envoy counts: of none it is nothing.
pub(crate) fn percent_used(time: Duration, limit: Option<Duration>) -> u64 {
    let limit = limit.map_or(0, |limit| limit.as_millis());
    let percent = (time.as_millis() * 100).checked_div(limit).unwrap_or(0);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NONE: ManagerTimeouts = ManagerTimeouts {
        idle: None,
        connection: None,
        stream: None,
        stream_idle: None,
        stream_flush: None,
        request: None,
        request_headers: None,
        delayed_close: Duration::ZERO,
        drain: Duration::ZERO,
    };

    #[tokio::test(start_paused = true)]
    async fn progress_moves_the_idle_timer_and_nothing_else() {
        let begun = Instant::now();
        let limits = ManagerTimeouts { stream_idle: Some(3 * SECOND), stream: Some(10 * SECOND), ..NONE };
        let mut timers = Timers::new(LazyTimer::default(), &limits, Instant::now());
        for _ in 0..4 {
            let waited = tokio::time::timeout(2 * SECOND, timers.expired()).await;
            assert!(waited.is_err(), "nothing fires while there is progress");
            timers.progress();
        }
        assert_eq!(timers.expired().await, Expired::Duration);
        assert_eq!(begun.elapsed(), 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_timers_of_the_request_end_with_it() {
        let limits = ManagerTimeouts { request_headers: Some(SECOND), request: Some(2 * SECOND), ..NONE };
        let mut timers = Timers::new(LazyTimer::default(), &limits, Instant::now());
        assert_eq!(timers.expired().await, Expired::Head);
        timers.head_is_complete();
        assert_eq!(timers.expired().await, Expired::Request);
        timers.request_is_complete();
        let waited = tokio::time::timeout(60 * SECOND, timers.expired()).await;
        assert!(waited.is_err());
    }
}
