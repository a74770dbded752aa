//! Try again? Pure: a function of the policy, what happened, and how often we tried.

use std::time::Duration;

use http::StatusCode;

use crate::cluster::Failure;
use crate::config::route::{RetryOn, RetryPolicy};

/// What one try came to.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It failed before a response. `nothing_sent`: not one byte of the request left.
    Failed {
        /// Why.
        failure: &'a Failure,
        /// Not one byte of the request was written.
        nothing_sent: bool,
    },
    /// A response head.
    Response(StatusCode),
}

/// What to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Verdict {
    /// Worth repeating, but the tries are used up.
    Exhausted,
    /// Pass it on.
    Deliver,
    /// Try again after a random part of this long.
    Retry {
        /// The upper end of the back-off window.
        within: Duration,
    },
}

/// Judges `outcome` of the try number `retries_so_far + 1`.
pub fn judge(policy: Option<&RetryPolicy>, outcome: &Outcome<'_>, retries_so_far: u32) -> Verdict {
    let Some(policy) = policy else { return Verdict::Deliver };
    if !is_retriable(policy.on, outcome) {
        return Verdict::Deliver;
    }
    if retries_so_far >= policy.retries_max {
        return Verdict::Exhausted;
    }
    Verdict::Retry { within: backoff(policy, retries_so_far + 1) }
}

/// The window of retry number `retry`: min(max, base * 2^(retry-1)). Measured on Envoy; its documentation
/// says otherwise.
fn backoff(policy: &RetryPolicy, retry: u32) -> Duration {
    let doubled = 2u32.checked_pow(retry.saturating_sub(1)).unwrap_or(u32::MAX);
    policy.backoff_base.saturating_mul(doubled).min(policy.backoff_max)
}

fn is_retriable(on: RetryOn, outcome: &Outcome<'_>) -> bool {
    match outcome {
        Outcome::Response(status) => response_is_retriable(on, status.as_u16()),
        Outcome::Failed { failure, nothing_sent } => failure_is_retriable(on, failure, *nothing_sent),
    }
}

fn response_is_retriable(on: RetryOn, status: u16) -> bool {
    (on.server_error && status >= 500)
        || (on.gateway_error && matches!(status, 502..=504))
        || (on.retriable_4xx && status == 409)
}

fn failure_is_retriable(on: RetryOn, failure: &Failure, nothing_sent: bool) -> bool {
    let any_reset = on.server_error || on.gateway_error || on.reset;
    match failure {
        Failure::Connect(_) | Failure::ConnectTimeout => any_reset || on.connect_failure || on.reset_before_request,
        Failure::Refused => any_reset || on.refused_stream,
        Failure::Terminated => any_reset || (on.reset_before_request && nothing_sent),
        Failure::Protocol | Failure::Reset | Failure::ResetByConnect => any_reset,
        Failure::NoHealthyUpstream | Failure::Overflow => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_retries_what_envoy_retries() {
        let refused = Failure::Connect("Connection refused".into());
        let cases: &[(&str, Outcome<'_>, &[&str])] = &[
            ("connect refused", failed(&refused, true), &["5xx", "gateway", "reset", "before", "connect"]),
            ("connection lost", failed(&Failure::Terminated, false), &["5xx", "gateway", "reset"]),
            ("lost unsent", failed(&Failure::Terminated, true), &["5xx", "gateway", "reset", "before"]),
            ("garbage", failed(&Failure::Protocol, false), &["5xx", "gateway", "reset"]),
            ("stream reset", failed(&Failure::Reset, false), &["5xx", "gateway", "reset"]),
            ("stream refused", failed(&Failure::Refused, false), &["5xx", "gateway", "reset", "refused"]),
            ("overflow", failed(&Failure::Overflow, true), &[]),
            ("no endpoint", failed(&Failure::NoHealthyUpstream, true), &[]),
            ("500", Outcome::Response(StatusCode::INTERNAL_SERVER_ERROR), &["5xx"]),
            ("503", Outcome::Response(StatusCode::SERVICE_UNAVAILABLE), &["5xx", "gateway"]),
            ("409", Outcome::Response(StatusCode::CONFLICT), &["4xx"]),
            ("404", Outcome::Response(StatusCode::NOT_FOUND), &[]),
        ];
        for (name, outcome, retried_by) in cases {
            for word in ["5xx", "gateway", "reset", "before", "connect", "refused", "4xx"] {
                let expected = retried_by.contains(&word);
                assert_eq!(is_retriable(on(word), outcome), expected, "{name} with {word}");
            }
        }
    }

    #[test]
    fn windows_double_up_to_the_maximum() {
        let windows: Vec<_> = (1..=5).map(|retry| backoff(&policy(5), retry).as_millis()).collect();
        assert_eq!(windows, [25, 50, 100, 200, 250]);
    }

    #[test]
    fn a_retriable_outcome_after_the_last_retry_is_exhausted() {
        let outcome = Outcome::Response(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(judge(Some(&policy(1)), &outcome, 0), Verdict::Retry { within: Duration::from_millis(25) });
        assert_eq!(judge(Some(&policy(1)), &outcome, 1), Verdict::Exhausted);
        assert_eq!(judge(None, &outcome, 0), Verdict::Deliver);
    }

    fn failed(failure: &Failure, nothing_sent: bool) -> Outcome<'_> {
        Outcome::Failed { failure, nothing_sent }
    }

    fn policy(retries_max: u32) -> RetryPolicy {
        let (base, max) = (Duration::from_millis(25), Duration::from_millis(250));
        RetryPolicy { on: on("5xx"), retries_max, backoff_base: base, backoff_max: max }
    }

    fn on(word: &str) -> RetryOn {
        RetryOn {
            server_error: word == "5xx",
            gateway_error: word == "gateway",
            reset: word == "reset",
            reset_before_request: word == "before",
            connect_failure: word == "connect",
            refused_stream: word == "refused",
            retriable_4xx: word == "4xx",
        }
    }
}
