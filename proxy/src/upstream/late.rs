//! Tries whose time is over and which go on beside the tries that follow (`hedge_on_per_try_timeout`).
//!
//! The first response that is none to retry counts, whichever try it comes from; the others are broken off. One that is to be
//! retried, or a loss, does not count while another try may still bring something better.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderValue, StatusCode};

use super::Forwarding;
use super::outcome::{Tried, charge, charge_informed, report};
use super::reach::Failed;
use super::response::UpstreamResponse;
use super::retry::{self, Outcome};
use super::sent::{Received, SentRequest};
use super::tracked::Tracked;
use crate::access_log::{StreamInfo, Times, UpstreamMetadata};
use crate::cluster::Cluster;
use crate::config::retry::RetryPolicy;
use crate::exchange::{Expired, Interrupted, Rest};
use crate::net::{Address, ConnInfo};

/// A try whose time is over.
pub(super) struct LateTry {
    sent: SentRequest,
    tracked: Option<Box<Tracked>>,
    rest: Rest,
    /// The endpoint that a log names if its response counts.
    host: Option<Address>,
    name: Option<HeaderValue>,
    zone: Option<Box<str>>,
    metadata: Option<UpstreamMetadata>,
    connection: Option<ConnInfo>,
    times: Times,
    follower: Follower,
}

impl LateTry {
    pub(super) fn new(sent: SentRequest, tracked: Option<Box<Tracked>>, rest: Rest, info: &StreamInfo) -> Self {
        let (host, name) = (info.upstream_host.clone(), info.upstream_name.clone());
        let zone = info.upstream_zone.clone();
        let metadata = info.upstream_metadata.clone();
        let (connection, times) = (info.upstream_connection.clone(), info.times);
        Self { sent, tracked, rest, host, name, zone, metadata, connection, times, follower: Follower::Missing }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.rest.write(cx, &mut self.sent.writer);
        self.sent.awaited.poll(cx)
    }

    /// It has ended like this, and its response or its loss is what counts.
    fn conclude(mut self, received: Received, request: &mut Forwarding<'_, '_>) -> LateEnd {
        let Forwarding { cluster, info, .. } = request;
        info.upstream_host = self.host.take();
        info.upstream_name = self.name.take();
        info.upstream_zone = self.zone.take();
        info.upstream_metadata = self.metadata.take();
        info.upstream_connection = self.connection.take();
        info.times.pool_wait = self.times.pool_wait;
        info.times.upstream_ready = self.times.upstream_ready;
        let informed = self.sent.informational().to_vec();
        charge_informed(cluster, &informed, info);
        let endpoint = Rc::clone(&self.sent.endpoint);
        let mut result = self.sent.conclude(received);
        if let Ok(response) = &mut result {
            response.track(self.tracked, &informed);
        }
        report(cluster, &endpoint, &result);
        LateEnd { tried: Tried { result, informed: !informed.is_empty() }, rest: self.rest, follower: self.follower }
    }
}

/// Whether another try has taken the place of a late one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Follower {
    /// None has, and none will unless its end requests one.
    Missing,
    /// One has, or will after its pause.
    Scheduled,
}

/// How a late try has ended.
pub(super) struct LateEnd {
    pub(super) tried: Tried,
    /// The part of the request that is still to be written to it.
    pub(super) rest: Rest,
    pub(super) follower: Follower,
}

/// What ended first: the work beside which late tries were awaited, or one of them.
pub(super) enum First<T> {
    Work(T),
    Late(Box<LateResponse>),
}

/// A late try and how the wait for its response has ended.
pub(super) struct LateResponse(LateTry, Received);

impl LateResponse {
    pub(super) fn conclude(self, request: &mut Forwarding<'_, '_>) -> LateEnd {
        self.0.conclude(self.1, request)
    }
}

/// The tries of one request whose time is over: no more than its policy permits tries.
#[derive(Default)]
pub(super) struct LateTries {
    tries: Vec<LateTry>,
    /// The statuses that those which were lost meanwhile stand for, to be counted.
    lost: Vec<StatusCode>,
}

impl LateTries {
    pub(super) fn is_empty(&self) -> bool {
        self.tries.is_empty()
    }

    pub(super) fn push(&mut self, mut late: LateTry, follower: Follower) {
        late.follower = follower;
        self.tries.push(late);
    }

    /// Drives `work` and the late tries until it is done, or one of them has ended in a way that counts.
    pub(super) async fn beside<T>(
        &mut self,
        policy: Option<&RetryPolicy>,
        cluster: &Cluster,
        work: impl Future<Output = T>,
    ) -> First<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(First::Work(done)),
            Poll::Pending => self.poll(cx, policy, cluster, Others::Awaited).map(First::Late),
        })
        .await
    }

    /// Ready when one of them has ended in a way that counts: of the last, every way does.
    pub(super) async fn next(&mut self, policy: Option<&RetryPolicy>, cluster: &Cluster) -> Box<LateResponse> {
        poll_fn(|cx| self.poll(cx, policy, cluster, Others::None)).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        policy: Option<&RetryPolicy>,
        cluster: &Cluster,
        others: Others,
    ) -> Poll<Box<LateResponse>> {
        let mut at = 0;
        while let Some(late) = self.tries.get_mut(at) {
            let Poll::Ready(received) = late.poll(cx) else {
                at += 1;
                continue;
            };
            let late = self.tries.remove(at);
            let is_last = others == Others::None && self.tries.is_empty();
            if is_last || late.follower == Follower::Missing || counts(policy, &received) {
                return Poll::Ready(Box::new(LateResponse(late, received)));
            }
            let endpoint = Rc::clone(&late.sent.endpoint);
            let result = late.sent.conclude(received);
            report(cluster, &endpoint, &result);
            self.lose(result);
        }
        Poll::Pending
    }

    /// What a try came to does not count, since another is awaited.
    pub(super) fn lose(&mut self, result: Result<Box<UpstreamResponse>, Failed>) {
        match result {
            Ok(response) => response.drop_beside_others(),
            Err(failed) => self.lost.push(failed.failure.status()),
        }
    }

    /// Counts those that were lost.
    pub(super) fn charge_lost(&mut self, cluster: &Cluster, info: &StreamInfo) {
        self.lost.drain(..).for_each(|status| charge(cluster, status, info));
    }

    /// The request's own time is over, and so is the wait for these. As in Envoy, each counts for itself; `charged` says whether
    /// one of them is counted elsewhere, as that which the request waited for.
    pub(super) fn time_out(&mut self, charged: Others, status: StatusCode, cluster: &Cluster, info: &StreamInfo) {
        let elsewhere = usize::from(charged == Others::None);
        for (nth, mut late) in self.tries.drain(..).enumerate() {
            if let Some(tracked) = &mut late.tracked {
                tracked.interrupt(Interrupted::Timer(Expired::Global));
            }
            late.sent.endpoint.counts.rq_timeout.inc();
            late.sent.endpoint.counts.rq_error.inc();
            if nth >= elsewhere {
                cluster.shared.stats.upstream_rq_timeout.inc();
                info.parts.iter().for_each(|part| part.counters.upstream_rq_timeout.inc());
                charge(cluster, status, info);
            }
        }
    }
}

/// Whether a request waits for more than its late tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Others {
    /// A try is under way or follows a pause.
    Awaited,
    None,
}

/// Does the end of a try count though others are awaited?
fn counts(policy: Option<&RetryPolicy>, received: &Received) -> bool {
    let Ok((head, _)) = received else { return false };
    let outcome = Outcome::Response { status: head.status, headers: &head.headers };
    !policy.is_some_and(|policy| retry::is_retriable(policy, &outcome))
}
