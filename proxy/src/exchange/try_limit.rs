//! The timers of one try.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::lazy_timer::LazyTimer;

/// How long one try may take: from the moment it has its connection and the request is complete.
pub(crate) struct TryLimit {
    /// `None` if nothing limits it; else since when.
    limit: Option<(Duration, TryExpired, Instant)>,
    /// The end of the try and its response, whether the request is complete or not.
    ends_at: Option<Instant>,
    timer: LazyTimer,
}

/// A limit of one try that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TryExpired {
    /// `per_try_idle_timeout`: nothing came for so long.
    Idle,
    /// `max_stream_duration` of the cluster.
    Longest {
        /// If not, the client kept the upstream waiting.
        request_complete: bool,
    },
    /// `per_try_timeout`
    Timeout,
}

impl TryLimit {
    /// Begins with the connection's assignment. Before its response head a try is idle all the time.
    pub(crate) fn new(timeout: Option<Duration>, idle: Option<Duration>, longest: Option<Duration>) -> Self {
        let timeout = timeout.map(|limit| (limit, TryExpired::Timeout));
        let idle = idle.map(|limit| (limit, TryExpired::Idle));
        let limit = timeout.into_iter().chain(idle).min_by_key(|(limit, _)| *limit);
        let limit = limit.map(|(limit, which)| (limit, which, Instant::now()));
        Self { limit, ends_at: longest.map(|limit| Instant::now() + limit), timer: LazyTimer::default() }
    }

    /// The response has begun: nothing but the longest stream limits the try.
    pub(crate) fn response_began(&mut self) {
        self.limit = None;
    }

    /// When a response to the try is ended, whatever it does.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, completed_at: Option<Instant>) -> Poll<TryExpired> {
        let limit = self.limit.zip(completed_at);
        let limit = limit.map(|((limit, which, assigned), completed)| (completed.max(assigned) + limit, which));
        let longest = TryExpired::Longest { request_complete: completed_at.is_some() };
        let due = limit.into_iter().chain(self.ends_at.map(|at| (at, longest))).min_by_key(|(due, _)| *due);
        let Some((due, which)) = due else { return Poll::Pending };
        self.timer.poll(cx, due).map(|()| which)
    }
}
