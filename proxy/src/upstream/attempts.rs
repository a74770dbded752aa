//! The attempts of one request, and what follows each.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};

use super::attempt::{self, EndpointHost, How, TryEnd};
use super::hashing::Hash;
use super::late::{First, Follower, LateEnd, LateResponse, LateTries, LateTry, Others};
use super::outcome::Tried;
use super::reach::{Failed, Reach};
use super::request_options::RequestOptions;
use super::response::UpstreamResponse;
use super::retry::{self, BackOff, BackOffKind, Outcome, RetryDecision, Tries};
use super::{Ended, Forwarding};
use crate::access_log::ResponseFlag;
use crate::cluster::{Avoided, Cluster, Failure, RequestKeys, Wanted, Wish};
use crate::codec::{RequestHead, names};
use crate::config::retry::RetryPolicy;
use crate::config::rewrite::NewHost;
use crate::config::route::Forward;
use crate::config::{Difference, Differences};
use crate::exchange::{Exchange, Expired, Interrupted};
use crate::permits::Permit;
use crate::stats::ClusterStats;

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    /// `None` if no attempt may be followed by a retry.
    policy: Option<&'a RetryPolicy>,
    /// The body is kept, for a retry or for a redirect that is followed.
    keeps_body: bool,
    second: Second,
    how: How<'a>,
    pub(super) tries: Tries,
    /// A retry's, held through its back-off and its attempt.
    permit: Option<Permit>,
    avoided: Option<Avoided<'a>>,
    /// `set-cookie` of the response, by which later requests come to the same endpoint.
    pub(super) cookies: Vec<HeaderValue>,
    /// Attempts whose time is over and that are awaited all the same.
    late: LateTries,
}

/// What is to be done for a request.
pub(super) enum Step {
    /// The request is sent to an endpoint.
    Attempt,
    /// A pause before a retry.
    Pause(BackOff, Cause),
    /// Nothing but to wait for late attempts.
    Wait,
    /// This is what the request came to.
    Over(Result<Box<UpstreamResponse>, Failed>),
}

/// Why a request is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    Timeout,
    Other,
}

/// What follows an attempt.
enum Next {
    /// Its result is the request's.
    Deliver,
    /// The same, unless another attempt is awaited.
    GiveUp,
    /// The request is sent again at once, which is no retry.
    Resend,
    /// The request is sent again after a pause.
    Retry(BackOff),
}

impl<'a> Attempts<'a> {
    pub(super) fn new(request: &mut Forwarding<'a, '_>) -> Self {
        let Forwarding { exchange, head, to, options, router, cluster, info, .. } = request;
        let options: &'a RequestOptions<'a> = options;
        let policy = options.retry.as_deref().filter(|policy| retry::concerns(policy, head));
        let second = Second::new(cluster.shared.runtime.differences(), head);
        let keeps_body = policy.is_some() || to.redirects.is_some();
        if keeps_body || second.may_need_body() {
            exchange.keep_for_retry(to.kept_body);
        }
        let idle_timeout = policy.and_then(|policy| policy.per_try_idle_timeout);
        let to: &'a Forward = to;
        let host = to.rewrites.as_ref().and_then(|rewrites| rewrites.host.as_ref());
        let host = host.filter(|rewrite| matches!(rewrite.host, NewHost::Endpoint));
        let endpoint_host = host.map(|rewrite| EndpointHost { forwarded: rewrite.forwarded_host, router });
        let timeout = options.per_try_timeout;
        let termination = to.upgrades.termination(&head.method);
        let is_tunnel = head.upgrade().is_some() || head.method == Method::CONNECT || termination.is_some();
        let hedges = options.hedges && !is_tunnel;
        let longest = options.upstream_longest.unwrap_or(cluster.shared.config.stream_duration_max);
        let (priority, wanted) = (to.priority, Wanted::Any);
        let own = Some(&cluster.shared.config.hash_policies).filter(|own| !own.is_empty());
        let policies = Some(own.unwrap_or(&to.hash_policies)).filter(|_| cluster.may_hash());
        let Hash { value: hash, cookies } = policies.map_or_else(Hash::default, |of| Hash::new(of, head, info));
        let destination = cluster.destination(Some(head), &info.downstream);
        let wish = Wish { wanted: options.metadata_match.as_deref(), hash, destination, ..Wish::default() };
        let how = How { priority, wanted, wish, timeout, idle_timeout, longest, hedges, endpoint_host, termination };
        let avoided = policy.and_then(|policy| policy.other_endpoints.as_ref()).map(Avoided::new);
        Self {
            policy,
            keeps_body,
            second,
            how,
            tries: Tries::default(),
            permit: None,
            avoided,
            cookies,
            late: LateTries::default(),
        }
    }

    /// Sends the request to an endpoint, while late attempts are awaited.
    pub(super) async fn attempt(&mut self, request: &mut Forwarding<'_, '_>) -> Result<Step, Ended> {
        self.set_number(request);
        let Forwarding { exchange, head, cluster, info, .. } = request;
        let run = attempt::run(exchange, head, cluster, self.how, self.avoided.as_mut(), info);
        let first = self.late.beside(self.policy, cluster, run).await;
        self.late.charge_lost(cluster, info);
        match first {
            First::Late(late) => Ok(self.late_ended(request, *late)),
            First::Work(Ok(TryEnd::Late(late))) => Ok(self.outlive(request, *late)),
            First::Work(Ok(TryEnd::Tried(tried))) => Ok(self.follow(request, tried)),
            First::Work(Err(interrupted)) => {
                self.interrupt_late(request, interrupted, Others::Awaited);
                Err(Ended::Interrupted(interrupted))
            }
        }
    }

    /// Waits for late attempts alone.
    pub(super) async fn wait(&mut self, request: &mut Forwarding<'_, '_>) -> Result<Step, Ended> {
        let Forwarding { exchange, cluster, info, .. } = request;
        let waited = exchange.alongside(&mut None, self.late.next(self.policy, cluster)).await;
        self.late.charge_lost(cluster, info);
        match waited {
            Ok(late) => Ok(self.late_ended(request, *late)),
            Err(interrupted) => {
                self.interrupt_late(request, interrupted, Others::None);
                Err(Ended::Interrupted(interrupted))
            }
        }
    }

    /// Waits before a retry, while late attempts are awaited.
    pub(super) async fn pause(
        &mut self,
        request: &mut Forwarding<'_, '_>,
        back_off: BackOff,
        cause: Cause,
    ) -> Result<Step, Ended> {
        let Forwarding { exchange, cluster, random, info, .. } = request;
        // Never zero, so that each retry takes one chance, whatever its back-off.
        let within = back_off.within.max(Duration::from_nanos(1));
        let pause = tokio::time::sleep(back_off.at_least + random.up_to(within));
        let first = self.late.beside(self.policy, cluster, exchange.alongside(&mut None, pause)).await;
        self.late.charge_lost(cluster, info);
        match first {
            First::Late(late) => return Ok(self.late_ended(request, *late)),
            First::Work(Err(interrupted)) if self.late.is_empty() => {
                return Err(Ended::InterruptedBetweenTries(interrupted));
            }
            First::Work(Err(interrupted)) => {
                self.interrupt_late(request, interrupted, Others::None);
                return Err(Ended::Interrupted(interrupted));
            }
            First::Work(Ok(())) => {}
        }
        self.count(back_off.kind, &cluster.shared.stats);
        info.parts.iter().for_each(|part| part.counters.upstream_rq_retry.inc());
        if request.to.adds_timeout_header {
            let value = HeaderValue::from_static(if cause == Cause::Timeout { "true" } else { "false" });
            request.head.headers.set(names::X_ENVOY_IS_TIMEOUT_RETRY.clone(), value);
        }
        self.set_expected_timeout(request);
        Ok(Step::Attempt)
    }

    /// What follows an attempt that has ended.
    fn follow(&mut self, request: &mut Forwarding<'_, '_>, tried: Tried) -> Step {
        let Tried { result, informed } = tried;
        if informed {
            self.policy = None; // a part of this response was passed on, so no other may take its place
        }
        match self.judge(request, &result) {
            Next::Retry(back_off) => {
                let timed_out = matches!(&result, Err(Failed { failure: Failure::TryTimeout, .. }));
                if let Ok(response) = result {
                    request.cluster.codes.charge_retried(response.head.status);
                    response.discard(request.exchange);
                }
                request.exchange.rewind(); // before the pause: what comes in its course waits behind what has been there
                Step::Pause(back_off, if timed_out { Cause::Timeout } else { Cause::Other })
            }
            Next::Resend => {
                request.exchange.rewind();
                Step::Attempt
            }
            Next::GiveUp if !self.late.is_empty() => {
                self.late.lose(result);
                self.late.charge_lost(request.cluster, request.info);
                Step::Wait
            }
            Next::Deliver | Next::GiveUp => Step::Over(result),
        }
    }

    /// What follows an attempt whose time is over and that goes on.
    fn outlive(&mut self, request: &mut Forwarding<'_, '_>, late: LateTry) -> Step {
        let Some(back_off) = self.hedge(request) else {
            self.late.push(late, Follower::Missing);
            return Step::Wait;
        };
        self.late.push(late, Follower::Scheduled);
        request.exchange.rewind();
        Step::Pause(back_off, Cause::Timeout)
    }

    /// What follows a late attempt that has ended in a way that counts.
    fn late_ended(&mut self, request: &mut Forwarding<'_, '_>, late: LateResponse) -> Step {
        let LateEnd { tried, rest, follower } = late.conclude(request);
        let step = match follower {
            Follower::Scheduled => Step::Over(tried.result),
            Follower::Missing => self.follow(request, tried),
        };
        if let Step::Over(_) = &step {
            request.exchange.resume(rest);
        }
        step
    }

    /// The request has ended while late attempts were awaited.
    fn interrupt_late(&mut self, request: &Forwarding<'_, '_>, by: Interrupted, others: Others) {
        if by == Interrupted::Timer(Expired::Global) {
            let Forwarding { cluster, info, options, .. } = request;
            let status = if options.timeout_is_empty { StatusCode::NO_CONTENT } else { StatusCode::GATEWAY_TIMEOUT };
            self.late.time_out(others, status, cluster, info);
        }
    }

    /// Numbers the attempt that begins.
    fn set_number(&self, request: &mut Forwarding<'_, '_>) {
        request.info.attempts = self.tries.retries + 1;
        if request.to.attempt_count.in_request {
            let count = HeaderValue::from(request.info.attempts);
            request.head.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), count);
        }
    }

    fn judge(&mut self, request: &mut Forwarding<'_, '_>, result: &Result<Box<UpstreamResponse>, Failed>) -> Next {
        let Forwarding { exchange, cluster, info, .. } = request;
        let (stats, differences) = (&cluster.shared.stats, cluster.shared.runtime.differences());
        self.note_too_much(exchange, stats);
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
                let is_loss = matches!(result, Err(failed) if !matches!(failed.failure, Failure::Host(_) | Failure::NoHealthyUpstream | Failure::PoolOverflow));
                return if is_loss { Next::GiveUp } else { Next::Deliver };
            }
            RetryDecision::Exhausted => {
                exhausted(request);
                return Next::GiveUp;
            }
            RetryDecision::Retry(_) if !exchange.can_repeat() => return Next::Deliver,
            RetryDecision::Retry(back_off) => back_off,
        };
        let next = match self.permit(request) {
            Permission::Granted => Next::Retry(back_off),
            Permission::Overflow => Next::GiveUp,
            Permission::SwitchedOff => Next::Deliver,
        };
        let was_lost = matches!(result, Err(failed) if failed.failure == Failure::Terminated);
        let fresh = was_lost && differences.has(Difference::RetryFresh);
        self.how.wanted = if fresh { Wanted::Unused } else { Wanted::Any };
        next
    }

    /// The time of an attempt is over: whether another begins beside it. As in Envoy, whatever `retry_on` says.
    fn hedge(&mut self, request: &mut Forwarding<'_, '_>) -> Option<BackOff> {
        let Forwarding { exchange, cluster, .. } = request;
        self.note_too_much(exchange, &cluster.shared.stats);
        let policy = self.policy.filter(|_| exchange.can_repeat())?;
        self.permit = None;
        if self.tries.are_used_up(policy) {
            exhausted(request);
            return None;
        }
        let back_off = retry::exponential(policy, self.tries, base_interval(cluster));
        self.how.wanted = Wanted::Any;
        (self.permit(request) == Permission::Granted).then_some(back_off)
    }

    /// A body that was too large to be kept cannot be sent again.
    fn note_too_much(&mut self, exchange: &Exchange<'_>, stats: &ClusterStats) {
        if self.keeps_body && exchange.was_too_much() {
            stats.retry_or_shadow_abandoned.inc();
            (self.policy, self.keeps_body) = (None, false);
        }
    }

    /// Takes what a retry needs.
    fn permit(&mut self, request: &mut Forwarding<'_, '_>) -> Permission {
        let Forwarding { to, cluster, info, random, .. } = request;
        self.permit = cluster.shared.breakers.of(to.priority).retry_permit();
        if self.permit.is_none() {
            self.tries.forgone += 1;
            cluster.shared.stats.upstream_rq_retry_overflow.inc();
            info.parts.iter().for_each(|part| part.counters.upstream_rq_retry_overflow.inc());
            info.flag(ResponseFlag::UO);
            return Permission::Overflow;
        }
        // The last question, as in Envoy: it leaves no trace.
        if !RequestKeys::draws(&cluster.shared.keys.use_retry, *random) {
            self.tries.forgone += 1;
            self.permit = None;
            return Permission::SwitchedOff;
        }
        Permission::Granted
    }

    fn decision(&self, cluster: &Cluster, result: &Result<Box<UpstreamResponse>, Failed>) -> RetryDecision {
        let outcome = match result {
            Ok(response) => Outcome::Response { status: response.head.status, headers: &response.head.headers },
            Err(failed) => Outcome::Failed { failure: &failed.failure, nothing_sent: failed.reach.nothing_sent() },
        };
        // The clock is read only where an upstream may name an hour.
        let names_hour = self.policy.is_some_and(|policy| policy.rate_limited.is_some());
        let now = if names_hour { cluster.wall() } else { SystemTime::UNIX_EPOCH };
        retry::judge(self.policy, &outcome, self.tries, now, base_interval(cluster))
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
            set_expected_timeout(
                head,
                self.how.timeout.filter(|_| !self.how.hedges).map_or(left, |limit| limit.min(left)),
            );
        }
    }
}

/// May a retry be made?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Permission {
    Granted,
    /// A circuit breaker is open.
    Overflow,
    /// A runtime key forbids it.
    SwitchedOff,
}

/// `upstream.base_retry_backoff_ms`
fn base_interval(cluster: &Cluster) -> Duration {
    Duration::from_millis(cluster.shared.keys.base_retry_backoff_ms.get().max(1).into())
}

/// A request that is worth another try has none left.
fn exhausted(request: &mut Forwarding<'_, '_>) {
    let Forwarding { cluster, info, .. } = request;
    cluster.shared.stats.upstream_rq_retry_limit_exceeded.inc();
    info.parts.iter().for_each(|part| part.counters.upstream_rq_retry_limit_exceeded.inc());
    info.flag(ResponseFlag::URX);
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

/// Puts the time the upstream has left into the request.
fn set_expected_timeout(head: &mut RequestHead, left: Duration) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    head.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), HeaderValue::from(millis));
}
