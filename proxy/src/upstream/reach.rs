//! How far a request got that has no response: what decides whether it may be sent again.

use http::StatusCode;

use crate::cluster::Failure;
use crate::codec::ExchangeError;
use crate::exchange::TryExpired;

/// A try that brought no response.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// How far the request got.
    pub(super) reach: Reach,
}

impl Failed {
    pub(super) fn unseen(broken: ExchangeError, on_reused: bool) -> Self {
        Self { failure: Failure::from(broken), reach: Reach::Unseen { on_reused } }
    }

    pub(super) fn expired(which: TryExpired, nothing_sent: bool) -> Self {
        let failure = match which {
            TryExpired::Idle => Failure::TryIdle,
            TryExpired::Longest { request_complete } => Failure::LongestStream { request_complete },
            TryExpired::Timeout => Failure::TryTimeout,
        };
        // An upstream that is slow is no stale connection.
        let reach = match nothing_sent {
            true => Reach::Unseen { on_reused: false },
            false => Reach::Sent { lost_on_reused: false },
        };
        Self { failure, reach }
    }
}

/// How far a request got that has no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// There was no connection to send it on.
    NoConnection,
    /// An upstream may have acted on it.
    Sent {
        /// The connection had carried other requests, ended as a whole, and brought no byte of a response: what a
        /// server does to an idle connection, perhaps before it could see the request.
        lost_on_reused: bool,
    },
    /// No upstream has seen it, though there was a connection: not one byte was written, or the peer's GOAWAY says
    /// that it was not looked at.
    Unseen {
        /// The connection had carried other requests.
        on_reused: bool,
    },
}

/// What is known of a request when its connection or stream ends without a response.
pub(super) struct Course<'i> {
    /// The connection had carried other requests.
    pub(super) on_reused: bool,
    /// It is certain that no upstream has looked at it.
    pub(super) is_unseen: bool,
    /// Informational responses that came.
    pub(super) informed: &'i [StatusCode],
}

impl Course<'_> {
    /// How far the request got, once `broken` has ended it.
    pub(super) fn reach(&self, broken: ExchangeError) -> Reach {
        if self.is_unseen {
            return Reach::Unseen { on_reused: self.on_reused };
        }
        Reach::Sent { lost_on_reused: self.on_reused && self.informed.is_empty() && is_loss(broken) }
    }
}

impl Reach {
    /// Is it certain that not one byte of the request was written?
    pub(super) fn nothing_sent(self) -> bool {
        matches!(self, Self::NoConnection | Self::Unseen { .. })
    }
}

/// Did the connection end as a whole, before a byte of the response?
pub(super) fn is_loss(broken: ExchangeError) -> bool {
    matches!(broken, ExchangeError::Closed | ExchangeError::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{ResetReason, Violation};

    #[test]
    fn only_fin_or_rst_before_a_response_is_a_loss_on_reuse() {
        let early_hints = [StatusCode::EARLY_HINTS];
        let lost = Reach::Sent { lost_on_reused: true };
        let sent = Reach::Sent { lost_on_reused: false };
        let reset = ExchangeError::StreamReset(ResetReason::InternalError);
        let malformed = ExchangeError::Malformed(Violation::Protocol);
        for (on_reused, informed, broken, expected) in [
            (true, &[][..], ExchangeError::Closed, lost),
            (true, &[], ExchangeError::ConnectionReset, lost),
            (true, &early_hints, ExchangeError::Closed, sent),
            (true, &[], reset, sent),
            (true, &[], malformed, sent),
            (false, &[], ExchangeError::Closed, sent),
        ] {
            let course = Course { on_reused, is_unseen: false, informed };
            assert_eq!(course.reach(broken), expected, "reused {on_reused}, {informed:?}, {broken:?}");
            let course = Course { is_unseen: true, ..course };
            assert_eq!(course.reach(broken), Reach::Unseen { on_reused }, "whatever ended it");
        }
    }

    #[test]
    fn an_upstream_that_is_slow_is_no_stale_connection() {
        for (which, failure) in [(TryExpired::Idle, Failure::TryIdle), (TryExpired::Timeout, Failure::TryTimeout)] {
            for (nothing_sent, reach) in
                [(true, Reach::Unseen { on_reused: false }), (false, Reach::Sent { lost_on_reused: false })]
            {
                let failed = Failed::expired(which, nothing_sent);
                assert_eq!((&failed.failure, failed.reach), (&failure, reach));
                assert_eq!(failed.reach.nothing_sent(), nothing_sent);
            }
        }
        assert!(Reach::NoConnection.nothing_sent());
    }
}
