//! Try again? Pure: a function of the policy, what happened, and how often we tried.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;

use crate::cluster::Failure;
use crate::codec::matching::{header_holds, response_header_holds};
use crate::codec::names;
use crate::codec::{Headers, RequestHead};
use crate::config::retry::{Intervals, RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy};

/// What one try came to.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It failed before a response.
    Failed {
        /// Why the attempt failed.
        failure: &'a Failure,
        /// Not one byte of the request was written.
        nothing_sent: bool,
    },
    /// A response head.
    Response {
        /// The status of the response.
        status: StatusCode,
        /// The headers of the response, of which some are retry policies.
        headers: &'a Headers,
    },
}

/// What to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum RetryDecision {
    /// Worth repeating, but the tries are used up.
    Exhausted,
    /// Pass it on.
    Deliver,
    /// Try again after a wait.
    Retry(BackOff),
}

/// How long to wait: a fixed part, and a random part of a window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackOff {
    /// At least this.
    pub at_least: Duration,
    /// And a random part of this.
    pub within: Duration,
    /// Where the time comes from.
    pub kind: BackOffKind,
}

/// What determines how long to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BackOffKind {
    /// `retry_back_off` of the retry policy: grows with each attempt.
    Exponential,
    /// Neither: there is nothing to wait for.
    Immediate,
    /// `rate_limited_retry_back_off`: the upstream named the time in a header.
    RateLimited,
}

/// How often it was tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tries {
    /// Retries so far.
    pub retries: u32,
    /// Those of them that waited for the back-off of the policy.
    pub exponential: u32,
    /// Retries that a circuit breaker or the runtime has prevented.
    pub forgone: u32,
}

impl Tries {
    /// Does the policy permit no further retry?
    #[must_use]
    pub fn are_used_up(&self, policy: &RetryPolicy) -> bool {
        self.retries.saturating_add(self.forgone) >= policy.retries_max
    }
}

/// Is the policy about this request?
#[must_use]
pub fn concerns(policy: &RetryPolicy, head: &RequestHead) -> bool {
    policy.request_headers.is_empty() || policy.request_headers.iter().any(|header| header_holds(header, head))
}

/// Judges `outcome` of the try that follows `tries`. `now` is wall time, for upstreams that name an hour; `base` the first
/// interval of a policy that has none.
pub fn judge(
    policy: Option<&RetryPolicy>,
    outcome: &Outcome<'_>,
    tries: Tries,
    now: SystemTime,
    base: Duration,
) -> RetryDecision {
    let Some(policy) = policy else { return RetryDecision::Deliver };
    if !is_retriable(policy, outcome) {
        return RetryDecision::Deliver;
    }
    if tries.are_used_up(policy) {
        return RetryDecision::Exhausted;
    }
    if let (Outcome::Response { headers, .. }, Some(limited)) = (outcome, &policy.rate_limited)
        && let Some(interval) = interval(limited, headers, now)
    {
        let kind = BackOffKind::RateLimited;
        return RetryDecision::Retry(BackOff { at_least: interval, within: interval / 2, kind });
    }
    if is_too_early(policy, outcome) {
        return RetryDecision::Retry(BackOff {
            at_least: Duration::ZERO,
            within: Duration::ZERO,
            kind: BackOffKind::Immediate,
        });
    }
    RetryDecision::Retry(exponential(policy, tries, base))
}

/// The back-off of the policy.
#[must_use]
pub fn exponential(policy: &RetryPolicy, tries: Tries, base: Duration) -> BackOff {
    let intervals = policy.back_off.unwrap_or_else(|| Intervals::from_base(base));
    let within = backoff(intervals, tries.exponential + 1);
    BackOff { at_least: Duration::ZERO, within, kind: BackOffKind::Exponential }
}

/// How long the headers of a response require to wait; `None` without a valid value of at most `max_interval`.
fn interval(limited: &RateLimitedBackOff, headers: &Headers, now: SystemTime) -> Option<Duration> {
    limited.headers.iter().find_map(|(name, format)| {
        let value: u64 = headers.get_str(name)?.to_str().ok()?.parse().ok()?;
        let interval = match format {
            ResetFormat::Seconds => Duration::from_secs(value),
            ResetFormat::UnixTimestamp => {
                let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
                Duration::from_secs(value.checked_sub(now)?)
            }
        };
        (!interval.is_zero() && interval <= limited.interval_max).then_some(interval)
    })
}

/// The window of exponential back-off number `number`: min(max, base * 2^(number-1)). Measured on Envoy; its
/// documentation says otherwise.
fn backoff(intervals: Intervals, number: u32) -> Duration {
    let doubled = 2u32.checked_pow(number.saturating_sub(1)).unwrap_or(u32::MAX);
    intervals.base.saturating_mul(doubled).min(intervals.max)
}

/// Was the request retriable for its 425 alone? The handshake it came before is over by now (RFC 8470 5.2).
fn is_too_early(policy: &RetryPolicy, outcome: &Outcome<'_>) -> bool {
    matches!(outcome, Outcome::Response { status: StatusCode::TOO_EARLY, .. })
        && policy.on.retriable_status_codes
        && policy.statuses.contains(&StatusCode::TOO_EARLY.as_u16())
}

/// Is the outcome one that the policy repeats?
#[must_use]
pub fn is_retriable(policy: &RetryPolicy, outcome: &Outcome<'_>) -> bool {
    match outcome {
        Outcome::Response { status, headers } => response_is_retriable(policy, *status, headers),
        Outcome::Failed { failure, nothing_sent } => failure_is_retriable(policy.on, failure, *nothing_sent),
    }
}

fn response_is_retriable(policy: &RetryPolicy, code: StatusCode, headers: &Headers) -> bool {
    let (on, status) = (policy.on, code.as_u16());
    if headers.contains(&names::X_ENVOY_RATELIMITED) {
        // An upstream that limits rates does not want another attempt at once: no other field counts.
        return on.rate_limited;
    }
    (on.server_error && status >= 500)
        || (on.gateway_error && matches!(status, 502..=504))
        || (on.retriable_4xx && status == 409)
        || (on.retriable_status_codes && policy.statuses.contains(&status))
        || (on.retriable_headers && policy.headers.iter().any(|header| response_header_holds(header, code, headers)))
        || (on.grpc != 0 && grpc_status(headers).is_some_and(|status| on.grpc & status != 0))
}

/// The gRPC status as a bit, if the head has it: a response without payload, "Trailers-Only".
fn grpc_status(headers: &Headers) -> Option<u32> {
    let status: u32 = headers.get_str("grpc-status")?.to_str().ok()?.parse().ok()?;
    1u32.checked_shl(status)
}

fn failure_is_retriable(on: RetryOn, failure: &Failure, nothing_sent: bool) -> bool {
    let any_reset = on.server_error || on.gateway_error || on.reset;
    match failure {
        Failure::Bind(_) | Failure::Connect(_) | Failure::ConnectTimeout => {
            any_reset || on.connect_failure || on.reset_before_request
        }
        Failure::Refused => any_reset || on.refused_stream,
        Failure::LongestStream { .. } | Failure::Terminated | Failure::TryIdle | Failure::TryTimeout => {
            any_reset || (on.reset_before_request && nothing_sent)
        }
        Failure::Protocol | Failure::Reset | Failure::ResetByConnect => any_reset,
        Failure::Host(_)
        | Failure::NoHealthyUpstream
        | Failure::Overflow
        | Failure::PendingOverflow
        | Failure::PoolOverflow => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::route::HeaderMatch;

    #[test]
    fn each_retry_on_policy_retries_what_envoy_retries() {
        let refused = Failure::Connect("delayed connect error: Connection refused".into());
        let none = Headers::default();
        let response = |status| Outcome::Response { status, headers: &none };
        let cases: &[(&str, Outcome<'_>, &[&str])] = &[
            (
                "connect refused",
                failed(&refused, true),
                &["5xx", "gateway-error", "reset", "reset-before-request", "connect-failure"],
            ),
            ("connection lost", failed(&Failure::Terminated, false), &["5xx", "gateway-error", "reset"]),
            (
                "lost unsent",
                failed(&Failure::Terminated, true),
                &["5xx", "gateway-error", "reset", "reset-before-request"],
            ),
            ("garbage", failed(&Failure::Protocol, false), &["5xx", "gateway-error", "reset"]),
            ("stream reset", failed(&Failure::Reset, false), &["5xx", "gateway-error", "reset"]),
            ("stream refused", failed(&Failure::Refused, false), &["5xx", "gateway-error", "reset", "refused-stream"]),
            ("try too long", failed(&Failure::TryTimeout, false), &["5xx", "gateway-error", "reset"]),
            ("overflow", failed(&Failure::Overflow, true), &[]),
            ("no endpoint", failed(&Failure::NoHealthyUpstream, true), &[]),
            ("500", response(StatusCode::INTERNAL_SERVER_ERROR), &["5xx"]),
            ("503", response(StatusCode::SERVICE_UNAVAILABLE), &["5xx", "gateway-error"]),
            ("409", response(StatusCode::CONFLICT), &["retriable-4xx"]),
            ("404", response(StatusCode::NOT_FOUND), &[]),
        ];
        for (name, outcome, retried_by) in cases {
            for word in [
                "5xx",
                "gateway-error",
                "reset",
                "reset-before-request",
                "connect-failure",
                "refused-stream",
                "retriable-4xx",
            ] {
                let expected = retried_by.contains(&word);
                assert_eq!(is_retriable(&policy(word), outcome), expected, "{name} with {word}");
            }
        }
    }

    const BASE: Duration = Duration::from_millis(25);

    #[test]
    fn windows_double_up_to_the_maximum() {
        let windows: Vec<_> = (1..=5).map(|number| backoff(Intervals::from_base(BASE), number).as_millis()).collect();
        assert_eq!(windows, [25, 50, 100, 200, 250]);
    }

    #[test]
    fn a_retriable_outcome_after_the_last_retry_is_exhausted() {
        let headers = Headers::default();
        let outcome = Outcome::Response { status: StatusCode::SERVICE_UNAVAILABLE, headers: &headers };
        let within = Duration::from_millis(25);
        let back_off = BackOff { at_least: Duration::ZERO, within, kind: BackOffKind::Exponential };
        let judge = |policy: Option<&RetryPolicy>, retries| {
            judge(policy, &outcome, Tries { retries, exponential: retries, forgone: 0 }, UNIX_EPOCH, BASE)
        };
        assert_eq!(judge(Some(&policy("5xx")), 0), RetryDecision::Retry(back_off));
        assert_eq!(judge(Some(&policy("5xx")), 1), RetryDecision::Exhausted);
        assert_eq!(judge(None, 0), RetryDecision::Deliver);
    }

    #[test]
    fn a_response_is_retried_by_its_status_and_headers() {
        let mut by_code = policy("retriable-status-codes");
        by_code.statuses = vec![418];
        let mut by_header = policy("retriable-headers");
        by_header.headers = vec![HeaderMatch::present("x-again".into())];
        for (policy, status, header, expected) in [
            (&by_code, 418, "", true),
            (&by_code, 503, "", false),
            (&by_header, 200, "x-again", true),
            (&by_header, 200, "x-other", false),
            (&policy("5xx"), 503, "x-envoy-ratelimited", false),
            (&policy("envoy-ratelimited"), 429, "x-envoy-ratelimited", true),
            (&policy("envoy-ratelimited"), 429, "", false),
            (&policy("cancelled"), 200, "grpc-status", true),
            (&policy("unavailable"), 200, "grpc-status", false),
            (&policy("5xx"), 200, "grpc-status", false),
        ] {
            let headers = headers(&[(header, "1")]);
            let outcome = Outcome::Response { status: StatusCode::from_u16(status).unwrap(), headers: &headers };
            assert_eq!(is_retriable(policy, &outcome), expected, "{status} {header}");
        }
    }

    #[test]
    fn retry_after_of_the_upstream_sets_the_wait() {
        let limited = RateLimitedBackOff {
            headers: vec![("retry-after".into(), ResetFormat::Seconds), ("at".into(), ResetFormat::UnixTimestamp)],
            interval_max: Duration::from_secs(60),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (fields, expected) in [
            (&[("retry-after", "3")][..], Some(3)),
            (&[("retry-after", "0"), ("at", "1005")], Some(5)),
            (&[("retry-after", "1.5")], None),
            (&[("retry-after", "61")], None),
            (&[("at", "999")], None),
            (&[], None),
        ] {
            let found = interval(&limited, &headers(fields), now);
            assert_eq!(found, expected.map(Duration::from_secs), "{fields:?}");
        }
    }

    fn headers(fields: &[(&str, &'static str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields.iter().filter(|(name, _)| !name.is_empty()) {
            headers.append(name.parse().unwrap(), HeaderValue::from_static(value));
        }
        headers
    }

    fn failed(failure: &Failure, nothing_sent: bool) -> Outcome<'_> {
        Outcome::Failed { failure, nothing_sent }
    }

    fn policy(word: &str) -> RetryPolicy {
        let mut on = RetryOn::default();
        assert!(on.add(word), "{word}");
        RetryPolicy { on, ..RetryPolicy::default() }
    }
}
