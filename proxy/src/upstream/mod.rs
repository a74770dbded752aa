//! A connection carries the request; tries are counted here.
//!
//! [`forward`] is the attempt loop and nothing else: an [`attempt`] reports what it came to, [`retry`] judges,
//! and the loop acts on the decision. What it returns is a response whose payload has not been read;
//! [`stream`](crate::stream) relays it.

mod attempt;
pub(crate) mod grpc;
mod reach;
pub(crate) mod request_options;
pub mod retry;

use std::time::{Duration, SystemTime};

use http::HeaderValue;

pub(crate) use attempt::UpstreamResponse;

use crate::access_log::{ResponseFlag, StreamInfo};
use crate::cluster::{Avoided, Cluster, Failure, RequestKeys, Wanted};
use crate::codec::{RequestHead, names};
use crate::config::filter::RouterOptions;
use crate::config::retry::RetryPolicy;
use crate::config::rewrite::NewHost;
use crate::config::route::Forward;
use crate::config::{Difference, Differences};
use crate::exchange::{Exchange, Interrupted};
use crate::net::Random;
use crate::permits::Permit;
use crate::stats::ClusterStats;
use attempt::{EndpointHost, How, Tried};
use reach::{Failed, Reach};
use request_options::RequestOptions;
use retry::{BackOff, BackOffKind, Outcome, RetryDecision, Tries};

/// How a request ended without an answer of an upstream.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Every try failed; this is the last one's reason.
    Failed {
        /// Why.
        failure: Failure,
        /// It was tried more than once.
        retried: bool,
    },
    /// The client or a timer ended it while a try was under way.
    Interrupted(Interrupted),
    /// The client or a timer ended it in the pause before the next try: every upstream that was asked had answered or
    /// failed, so none of them was too slow.
    InterruptedBetweenTries(Interrupted),
}

/// A request, and what it is sent to.
pub(crate) struct Forwarding<'a, 's> {
    pub(crate) exchange: &'a mut Exchange<'s>,
    pub(crate) head: &'a mut RequestHead,
    pub(crate) to: &'a Forward,
    pub(crate) options: &'a RequestOptions<'a>,
    pub(crate) router: &'a RouterOptions,
    pub(crate) cluster: &'a Cluster,
    pub(crate) random: &'a dyn Random,
    pub(crate) info: &'a mut StreamInfo,
}

/// Sends the request until there is a response or the policy gives up.
///
/// # Cancellation
/// Safe to drop: the attempt under way is broken off and its connection closed or reset.
pub(crate) async fn forward(request: &mut Forwarding<'_, '_>) -> Result<UpstreamResponse, Ended> {
    request.exchange.begin_tries(&request.cluster.flow);
    let mut attempts = Attempts::new(request);
    loop {
        attempts.set_number(request);
        let Forwarding { exchange, head, cluster, info, .. } = request;
        let Tried { result, informed } =
            attempt::run(exchange, head, cluster, attempts.how, attempts.avoided.as_mut(), info)
                .await
                .map_err(Ended::Interrupted)?;
        if informed {
            attempts.policy = None; // a part of this response was passed on, so no other may take its place
        }
        let back_off = match attempts.judge(request, &result) {
            Next::Deliver => return deliver(result, attempts.tries, request.exchange),
            Next::Resend => {
                request.exchange.rewind();
                continue;
            }
            Next::Retry(back_off) => back_off,
        };
        let timed_out = matches!(&result, Err(Failed { failure: Failure::TryTimeout, .. }));
        if let Ok(answer) = result {
            request.cluster.codes.charge_retried(answer.head.status);
            answer.discard(request.exchange);
        }
        request.exchange.rewind(); // before the pause: what comes in its course waits behind what has been there
        // Never zero, so that each retry takes one chance, whatever its back-off.
        let within = back_off.within.max(Duration::from_nanos(1));
        let pause = tokio::time::sleep(back_off.at_least + request.random.up_to(within));
        request.exchange.alongside(&mut None, pause).await.map_err(Ended::InterruptedBetweenTries)?;
        attempts.count(back_off.kind, &request.cluster.shared.stats);
        request.info.parts.iter().for_each(|part| part.counters.upstream_rq_retry.inc());
        if request.to.tells_timeout {
            let value = HeaderValue::from_static(if timed_out { "true" } else { "false" });
            request.head.headers.set(names::X_ENVOY_IS_TIMEOUT_RETRY.clone(), value);
        }
        attempts.set_expected_timeout(request);
    }
}

/// The attempts of one request.
struct Attempts<'a> {
    /// `None` if no attempt may be followed by a retry.
    policy: Option<&'a RetryPolicy>,
    second: Second,
    how: How<'a>,
    tries: Tries,
    /// A retry's, held through its back-off and its attempt.
    permit: Option<Permit>,
    avoided: Option<Avoided>,
}

/// What follows an attempt.
enum Next {
    /// Its result is the request's.
    Deliver,
    /// The request is sent again at once, which is no retry.
    Resend,
    /// The request is sent again after a pause.
    Retry(BackOff),
}

impl<'a> Attempts<'a> {
    fn new(request: &mut Forwarding<'a, '_>) -> Self {
        let Forwarding { exchange, head, to, options, router, cluster, .. } = request;
        let options: &'a RequestOptions<'a> = options;
        let policy = options.retry.as_deref().filter(|policy| retry::concerns(policy, head));
        let second = Second::new(cluster.shared.runtime.differences(), head);
        if policy.is_some() || second.may_need_body() {
            exchange.keep_for_retry(to.kept_body);
        }
        let idle_timeout = policy.and_then(|policy| policy.per_try_idle_timeout);
        let to: &'a Forward = to;
        let host = to.rewrites.as_ref().and_then(|rewrites| rewrites.host.as_ref());
        let host = host.filter(|rewrite| matches!(rewrite.host, NewHost::Endpoint));
        let endpoint_host = host.map(|rewrite| EndpointHost { forwarded: rewrite.forwarded_host, router });
        let timeout = options.per_try_timeout;
        let how = How { priority: to.priority, wanted: Wanted::Any, timeout, idle_timeout, endpoint_host };
        let avoided = policy.and_then(|policy| policy.other_endpoints).map(Avoided::new);
        Self { policy, second, how, tries: Tries::default(), permit: None, avoided }
    }

    /// Numbers the attempt that begins.
    fn set_number(&self, request: &mut Forwarding<'_, '_>) {
        request.info.attempts = self.tries.retries + 1;
        if request.to.attempt_count.in_request {
            let count = HeaderValue::from(request.info.attempts);
            request.head.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), count);
        }
    }

    fn judge(&mut self, request: &mut Forwarding<'_, '_>, result: &Result<UpstreamResponse, Failed>) -> Next {
        let Forwarding { exchange, to, cluster, info, random, .. } = request;
        let (stats, differences) = (&cluster.shared.stats, cluster.shared.runtime.differences());
        if self.policy.is_some() && exchange.was_too_much() {
            stats.retry_or_shadow_abandoned.inc();
            self.policy = None;
        }
        if let Err(failed) = result
            && exchange.can_repeat()
            && self.second.is_granted(failed.reach, stats)
        {
            self.how.wanted = Wanted::Unused;
            return Next::Resend;
        }
        self.permit = None;
        let back_off = match self.decision(cluster, result) {
            RetryDecision::Deliver => {
                if self.tries.retries > 0 {
                    stats.upstream_rq_retry_success.inc();
                    info.parts.iter().for_each(|part| part.counters.upstream_rq_retry_success.inc());
                }
                return Next::Deliver;
            }
            RetryDecision::Exhausted => {
                stats.upstream_rq_retry_limit_exceeded.inc();
                info.parts.iter().for_each(|part| part.counters.upstream_rq_retry_limit_exceeded.inc());
                info.flag(ResponseFlag::URX);
                return Next::Deliver;
            }
            RetryDecision::Retry(_) if !exchange.can_repeat() => return Next::Deliver,
            RetryDecision::Retry(back_off) => back_off,
        };
        self.permit = cluster.shared.breakers.of(to.priority).retry_permit();
        if self.permit.is_none() {
            stats.upstream_rq_retry_overflow.inc();
            info.parts.iter().for_each(|part| part.counters.upstream_rq_retry_overflow.inc());
            info.flag(ResponseFlag::UO);
            return Next::Deliver;
        }
        // The last question, as in Envoy: it leaves no trace.
        if !RequestKeys::draws(&cluster.shared.keys.use_retry, *random) {
            self.permit = None;
            return Next::Deliver;
        }
        let was_lost = matches!(result, Err(failed) if failed.failure == Failure::Terminated);
        let fresh = was_lost && differences.has(Difference::RetryFresh);
        self.how.wanted = if fresh { Wanted::Unused } else { Wanted::Any };
        Next::Retry(back_off)
    }

    fn decision(&self, cluster: &Cluster, result: &Result<UpstreamResponse, Failed>) -> RetryDecision {
        let outcome = match result {
            Ok(answer) => Outcome::Response { status: answer.head.status, headers: &answer.head.headers },
            Err(failed) => Outcome::Failed { failure: &failed.failure, nothing_sent: failed.reach.nothing_sent() },
        };
        // The clock is read only where an upstream may name an hour.
        let names_hour = self.policy.is_some_and(|policy| policy.rate_limited.is_some());
        let now = if names_hour { cluster.wall() } else { SystemTime::UNIX_EPOCH };
        let base = Duration::from_millis(cluster.shared.keys.base_retry_backoff_ms.get().max(1).into());
        retry::judge(self.policy, &outcome, self.tries, now, base)
    }

    /// Counts a retry whose pause is over.
    fn count(&mut self, kind: BackOffKind, stats: &ClusterStats) {
        stats.upstream_rq_retry.inc();
        match kind {
            BackOffKind::Exponential => {
                stats.upstream_rq_retry_backoff_exponential.inc();
                self.tries.exponential += 1;
            }
            BackOffKind::Immediate => {}
            BackOffKind::RateLimited => stats.upstream_rq_retry_backoff_ratelimited.inc(),
        }
        self.tries.retries += 1;
    }

    /// The first attempt carries the whole timeout, a later one what is left of it.
    fn set_expected_timeout(&self, request: &mut Forwarding<'_, '_>) {
        let Forwarding { exchange, head, .. } = request;
        if head.headers.contains(&names::X_ENVOY_EXPECTED_TIMEOUT)
            && exchange.is_complete()
            && let Some(left) = exchange.timers.global_left()
        {
            set_expected_timeout(head, self.how.timeout.map_or(left, |limit| limit.min(left)));
        }
    }
}

/// A second sending that is no retry: the server had closed a connection that was kept for reuse, which is the
/// connection's fault and not the request's. Granted once for each request.
struct Second {
    used: bool,
    differences: Differences,
    is_idempotent: bool,
}

impl Second {
    fn new(differences: Differences, head: &RequestHead) -> Self {
        let is_idempotent = head.method.is_idempotent() && head.upgrade().is_none();
        Self { used: false, differences, is_idempotent }
    }

    fn may_need_body(&self) -> bool {
        self.differences.has(Difference::Redispatch) || (self.is_idempotent && self.differences.has(Difference::Resend))
    }

    fn is_granted(&mut self, reach: Reach, stats: &ClusterStats) -> bool {
        let counter = match reach {
            Reach::Unseen { on_reused: true } if self.differences.has(Difference::Redispatch) => {
                &stats.upstream_rq_redispatched
            }
            // RFC 9110 9.2.2: a client may repeat these by itself when a connection fails before the response.
            Reach::Sent { lost_on_reused: true } if self.differences.has(Difference::Resend) && self.is_idempotent => {
                &stats.upstream_rq_resent
            }
            Reach::NoConnection | Reach::Sent { .. } | Reach::Unseen { .. } => return false,
        };
        if self.used {
            return false;
        }
        self.used = true;
        counter.inc();
        true
    }
}

fn deliver(
    tried: Result<UpstreamResponse, Failed>,
    tries: Tries,
    exchange: &mut Exchange<'_>,
) -> Result<UpstreamResponse, Ended> {
    exchange.keep_nothing();
    if let Ok(answer) = &tried {
        answer.settle();
    }
    tried.map_err(|failed| Ended::Failed { failure: failed.failure, retried: tries.retries > 0 })
}

/// Puts the time the upstream has left into the request.
fn set_expected_timeout(head: &mut RequestHead, left: Duration) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    head.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), HeaderValue::from(millis));
}
