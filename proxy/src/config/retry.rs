//! When and how often to try again, typed.

use std::num::NonZeroU32;
use std::time::Duration;

use super::matching::HeaderMatch;
use super::metadata::{Struct, Value};

/// When and how often to try again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// What makes a try worth repeating.
    pub on: RetryOn,
    /// Tries after the first.
    pub retries_max: u32,
    /// The statuses of `retriable-status-codes`.
    pub statuses: Vec<u16>,
    /// `retriable_request_headers`: if there are any, the policy is about requests for which one of them holds.
    pub request_headers: Vec<HeaderMatch>,
    /// The headers of `retriable-headers`: it is enough that one of them holds for a response.
    pub headers: Vec<HeaderMatch>,
    /// `retry_host_predicate` and `retry_priority`: a retry looks for an endpoint of another kind, or of another priority.
    pub other_endpoints: Option<OtherEndpoints>,
    /// From the moment a try has its connection, and the request is complete, to its response head; `None` is no limit.
    pub per_try_timeout: Option<Duration>,
    /// As long may a try be silent; `None` is no limit.
    pub per_try_idle_timeout: Option<Duration>,
    /// `retry_back_off`; without it the runtime key `upstream.base_retry_backoff_ms` says the first interval.
    pub back_off: Option<Intervals>,
    /// Where an upstream's own word on when to come back is looked for.
    pub rate_limited: Option<RateLimitedBackOff>,
}

/// Which endpoints a retry would rather not go to.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherEndpoints {
    /// Those that one of these is about.
    pub predicates: Vec<HostPredicate>,
    /// `host_selection_retry_max_attempts`: so often, at most, is another one drawn.
    pub draws_max: u32,
    /// `previous_priorities`, its `update_frequency`: each time so many more tries have failed, retries avoid the priorities of all
    /// tries before.
    pub other_priorities_every: Option<NonZeroU32>,
}

/// What an endpoint is that a retry would rather not go to.
#[derive(Clone, Debug, PartialEq)]
pub enum HostPredicate {
    /// `omit_canary_hosts`
    Canary,
    /// `omit_host_metadata`: it has these labels.
    Labels(WantedLabels),
    /// `previous_hosts`: one that the request has been sent to.
    Tried,
}

/// Labels that an endpoint has, all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedLabels(pub Struct);

impl WantedLabels {
    /// Does an endpoint with these labels have all of them? It is enough that a list of its own holds one. Without a label none
    /// is wanted, which holds for every endpoint, as in Envoy.
    #[must_use]
    pub fn hold(&self, labels: Option<&Struct>) -> bool {
        self.0.iter().all(|(key, wanted)| match labels.and_then(|labels| labels.get(key)) {
            None => false,
            Some(Value::List(items)) => items.contains(wanted),
            Some(value) => value == wanted,
        })
    }
}

/// The intervals of which the pause before a retry is a random part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Intervals {
    /// `base_interval`: the pause before the first retry is a random part of it.
    pub base: Duration,
    /// `max_interval`.
    pub max: Duration,
}

impl Intervals {
    /// Those that begin with `base` where nothing says how long they may get.
    #[must_use]
    pub fn from_base(base: Duration) -> Self {
        Self { base, max: base.saturating_mul(BACKOFF_MAX_FACTOR) }
    }
}

/// `rate_limited_retry_back_off`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimitedBackOff {
    /// In this order; the first that says an interval is believed. Names are in lower case.
    pub headers: Vec<(String, ResetFormat)>,
    /// A longer interval is not believed.
    pub interval_max: Duration,
}

/// How a header says when to come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResetFormat {
    /// In so many seconds.
    Seconds,
    /// At this second since 1970.
    UnixTimestamp,
}

/// The words of `retry_on`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent words, as in the configuration")]
pub struct RetryOn {
    /// `5xx`
    pub server_error: bool,
    /// `gateway-error`
    pub gateway_error: bool,
    /// `reset`
    pub reset: bool,
    /// `reset-before-request`
    pub reset_before_request: bool,
    /// `connect-failure`
    pub connect_failure: bool,
    /// `envoy-ratelimited`
    pub rate_limited: bool,
    /// `refused-stream`
    pub refused_stream: bool,
    /// `retriable-4xx`
    pub retriable_4xx: bool,
    /// `retriable-headers`
    pub retriable_headers: bool,
    /// `retriable-status-codes`
    pub retriable_status_codes: bool,
    /// The values of `grpc-status` that are retried, a bit for each: `cancelled` is bit 1.
    pub grpc: u32,
}

impl RetryOn {
    /// Every policy of `retry_on`, in the order of names.
    pub const WORDS: [&str; 15] = [
        "5xx",
        "cancelled",
        "connect-failure",
        "deadline-exceeded",
        "envoy-ratelimited",
        "gateway-error",
        "internal",
        "refused-stream",
        "reset",
        "reset-before-request",
        "resource-exhausted",
        "retriable-4xx",
        "retriable-headers",
        "retriable-status-codes",
        "unavailable",
    ];

    /// Adds a word; false if there is no such word.
    pub fn add(&mut self, word: &str) -> bool {
        self.add_http(word) || self.add_grpc(word)
    }

    /// Adds a word that is about a gRPC status; false if it is not.
    pub fn add_grpc(&mut self, word: &str) -> bool {
        let status = match word {
            "cancelled" => 1,
            "deadline-exceeded" => 4,
            "internal" => 13,
            "resource-exhausted" => 8,
            "unavailable" => 14,
            _ => return false,
        };
        self.grpc |= 1 << status;
        true
    }

    /// Adds a word that is about connections and HTTP; false if it is not.
    pub fn add_http(&mut self, word: &str) -> bool {
        let flag = match word {
            "5xx" => &mut self.server_error,
            "connect-failure" => &mut self.connect_failure,
            "envoy-ratelimited" => &mut self.rate_limited,
            "gateway-error" => &mut self.gateway_error,
            "refused-stream" => &mut self.refused_stream,
            "reset" => &mut self.reset,
            "reset-before-request" => &mut self.reset_before_request,
            "retriable-4xx" => &mut self.retriable_4xx,
            "retriable-headers" => &mut self.retriable_headers,
            "retriable-status-codes" => &mut self.retriable_status_codes,
            _ => return false,
        };
        *flag = true;
        true
    }
}

/// `RetryBackOff.base_interval`, where neither `retry_back_off` nor the runtime says it. Milliseconds.
pub const BACKOFF_BASE_MS: u32 = 25;
/// `RetryBackOff.max_interval` is so many times the base.
pub const BACKOFF_MAX_FACTOR: u32 = 10;

impl Default for RetryPolicy {
    /// Of a request that brings its own conditions where the route has none.
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            retries_max: 1,
            statuses: Vec::new(),
            request_headers: Vec::new(),
            headers: Vec::new(),
            other_endpoints: None,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            back_off: None,
            rate_limited: None,
        }
    }
}
