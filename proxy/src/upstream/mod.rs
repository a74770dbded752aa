//! A connection carries the request; tries are counted here.
//!
//! [`forward`] is the attempt loop and nothing else: an [`attempt`] reports what it came to, [`retry`] judges,
//! and the loop acts on the verdict. What it returns is a response whose payload has not been read;
//! [`stream`](crate::stream) relays it.

mod attempt;
pub mod retry;
pub(crate) mod terms;

use std::time::{Duration, SystemTime};

use http::HeaderValue;

pub(crate) use attempt::Answer;

use crate::access_log::{ResponseFlag, StreamInfo};
use crate::cluster::{Avoided, Cluster, Failure, Wanted};
use crate::codec::{RequestHead, names};
use crate::config::route::Forward;
use crate::config::{Difference, Differences};
use crate::exchange::{Exchange, Interrupted};
use crate::net::Random;
use crate::stats::ClusterStats;
use attempt::{How, Reach, Tried};
use retry::{BackOffKind, Outcome, Tries, Verdict};
use terms::Terms;

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

/// Sends the request until it is answered or the policy gives up.
///
/// # Cancellation
/// Safe to drop: the attempt under way is broken off and its connection closed or reset.
pub(crate) async fn forward(
    exchange: &mut Exchange,
    head: &mut RequestHead,
    to: &Forward,
    terms: &Terms<'_>,
    cluster: &Cluster,
    random: &dyn Random,
    info: &mut StreamInfo,
) -> Result<Answer, Ended> {
    let mut policy = terms.retry.as_deref().filter(|policy| retry::concerns(policy, &head.headers));
    let (stats, differences) = (&cluster.shared.stats, cluster.shared.runtime.differences());
    let mut second = Second::new(differences, head);
    if policy.is_some() || second.may_need_body() {
        exchange.keep_for_retry();
    }
    let idle_timeout = policy.and_then(|policy| policy.per_try_idle_timeout);
    let mut how = How { priority: to.priority, wanted: Wanted::Any, timeout: terms.per_try_timeout, idle_timeout };
    let mut tries = Tries::default();
    let mut permit = None;
    let mut avoided = policy.and_then(|policy| policy.other_endpoints).map(Avoided::new);
    loop {
        info.attempts = tries.retries + 1;
        if to.attempt_count.in_request {
            head.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), HeaderValue::from(info.attempts));
        }
        let Tried { result: tried, informed } =
            attempt::run(exchange, head, cluster, how, avoided.as_mut(), info).await.map_err(Ended::Interrupted)?;
        if informed {
            policy = None; // part of an answer has been heard, so no other may take its place
        }
        if policy.is_some() && exchange.was_too_much() {
            stats.retry_or_shadow_abandoned.inc();
            policy = None;
        }
        if let Err(failed) = &tried
            && exchange.can_repeat()
            && second.is_granted(failed.reach, stats)
        {
            how.wanted = Wanted::Unused;
            exchange.rewind();
            continue;
        }
        let outcome = match &tried {
            Ok(answer) => Outcome::Response { status: answer.head.status, headers: &answer.head.headers },
            Err(failed) => Outcome::Failed { failure: &failed.failure, nothing_sent: failed.reach.nothing_sent() },
        };
        drop(permit.take()); // a retry's was held through the back-off and the try
        // Only where an upstream may name an hour is the clock worth asking.
        let names_hour = policy.is_some_and(|policy| policy.rate_limited.is_some());
        let now = if names_hour { cluster.wall() } else { SystemTime::UNIX_EPOCH };
        let back_off = match retry::judge(policy, &outcome, tries, now) {
            Verdict::Deliver => {
                if tries.retries > 0 {
                    stats.upstream_rq_retry_success.inc();
                }
                return deliver(tried, tries, exchange);
            }
            Verdict::Exhausted => {
                stats.upstream_rq_retry_limit_exceeded.inc();
                info.flag(ResponseFlag::URX);
                return deliver(tried, tries, exchange);
            }
            Verdict::Retry(_) if !exchange.can_repeat() => return deliver(tried, tries, exchange),
            Verdict::Retry(back_off) => back_off,
        };
        permit = cluster.shared.breakers.of(to.priority).retry_permit();
        if permit.is_none() {
            stats.upstream_rq_retry_overflow.inc();
            info.flag(ResponseFlag::UO);
            return deliver(tried, tries, exchange);
        }
        let was_lost = matches!(&tried, Err(failed) if failed.failure == Failure::Terminated);
        how.wanted = if was_lost && differences.has(Difference::RetryFresh) { Wanted::Unused } else { Wanted::Any };
        if let Ok(answer) = tried {
            cluster.codes.charge_retried(answer.head.status);
            answer.discard(exchange);
        }
        exchange.rewind(); // before the pause: what comes in its course waits behind what has been there
        // Never zero, so that each retry takes one chance, whatever its back-off.
        let within = back_off.within.max(Duration::from_nanos(1));
        let pause = tokio::time::sleep(back_off.at_least + random.up_to(within));
        exchange.alongside(&mut None, pause).await.map_err(Ended::InterruptedBetweenTries)?;
        stats.upstream_rq_retry.inc();
        match back_off.kind {
            BackOffKind::Exponential => {
                stats.upstream_rq_retry_backoff_exponential.inc();
                tries.exponential += 1;
            }
            BackOffKind::Immediate => {}
            BackOffKind::RateLimited => stats.upstream_rq_retry_backoff_ratelimited.inc(),
        }
        tries.retries += 1;
        // The first try is told the whole timeout, a later one what is left of it.
        if head.headers.contains(&names::X_ENVOY_EXPECTED_TIMEOUT)
            && exchange.is_complete()
            && let Some(left) = exchange.timers.global_left()
        {
            set_expected_timeout(head, how.timeout.map_or(left, |limit| limit.min(left)));
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

fn deliver(tried: Result<Answer, attempt::Failed>, tries: Tries, exchange: &mut Exchange) -> Result<Answer, Ended> {
    exchange.keep_nothing();
    if let Ok(answer) = &tried {
        answer.settle();
    }
    tried.map_err(|failed| Ended::Failed { failure: failed.failure, retried: tries.retries > 0 })
}

/// Puts the time the upstream has left into the request.
pub(crate) fn set_expected_timeout(head: &mut RequestHead, left: Duration) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    head.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), HeaderValue::from(millis));
}
