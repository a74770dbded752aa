//! The timers of one try.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::lazy_timer::LazyTimer;

/// How long one try may take: from the moment it has its connection and the request is complete.
pub(crate) struct TryLimit {
    /// `None` if nothing limits it; else since when.
    limit: Option<(Duration, TryExpired, Instant)>,
    timer: LazyTimer,
}

/// A limit of one try that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TryExpired {
    /// `per_try_idle_timeout`: nothing came for so long.
    Idle,
    /// `per_try_timeout`
    Timeout,
}

impl TryLimit {
    /// Begins with the connection's assignment. Before its response head a try is idle all the time.
    pub(crate) fn new(timeout: Option<Duration>, idle: Option<Duration>) -> Self {
        let timeout = timeout.map(|limit| (limit, TryExpired::Timeout));
        let idle = idle.map(|limit| (limit, TryExpired::Idle));
        let limit = timeout.into_iter().chain(idle).min_by_key(|(limit, _)| *limit);
        let limit = limit.map(|(limit, which)| (limit, which, Instant::now()));
        Self { limit, timer: LazyTimer::default() }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, completed_at: Option<Instant>) -> Poll<TryExpired> {
        let (Some((limit, which, assigned)), Some(completed)) = (self.limit, completed_at) else {
            return Poll::Pending;
        };
        self.timer.poll(cx, completed.max(assigned) + limit).map(|()| which)
    }
}
