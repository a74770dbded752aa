//! A connection carries the request; tries are counted here.
//!
//! [`forward`] is the attempt loop and nothing else: an [`attempt`] reports what it came to, [`retry`] judges,
//! and the loop acts on the decision. With hedging an attempt may outlive its time and go on as a [`late`] one. What it returns is
//! a response whose payload has not been read; [`stream`](crate::stream) relays it.

mod attempt;
mod attempts;
pub(crate) mod grpc;
pub(crate) mod hashing;
mod late;
mod outcome;
mod reach;
pub(crate) mod request_options;
mod response;
pub mod retry;
mod sent;
mod tracked;

pub(crate) use outcome::charge;
pub(crate) use response::UpstreamResponse;

use http::header::SET_COOKIE;

use crate::access_log::StreamInfo;
use crate::cluster::{Cluster, Failure};
use crate::codec::RequestHead;
use crate::config::filter::RouterOptions;
use crate::config::route::Forward;
use crate::exchange::{Exchange, Interrupted};
use crate::net::Random;
use attempts::{Attempts, Step};
use reach::Failed;
use request_options::RequestOptions;

/// How a request ended without a response of an upstream.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Every try failed; this is the last one's reason.
    Failed {
        /// Why the last attempt failed.
        failure: Failure,
        /// It was tried more than once.
        retried: bool,
    },
    /// The client or a timer ended it while a try was under way.
    Interrupted(Interrupted),
    /// The client or a timer ended it in the pause before the next try: every attempt had a response or had
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
/// Safe to drop: the attempts under way are broken off and their connections closed or reset.
pub(crate) async fn forward(request: &mut Forwarding<'_, '_>) -> Result<Box<UpstreamResponse>, Ended> {
    request.exchange.begin_tries(&request.cluster.flow);
    let mut attempts = Attempts::new(request);
    let mut step = Step::Attempt;
    loop {
        step = match step {
            Step::Attempt => attempts.attempt(request).await?,
            Step::Pause(back_off, cause) => attempts.pause(request, back_off, cause).await?,
            Step::Wait => attempts.wait(request).await?,
            Step::Over(result) => return deliver(result, attempts, request),
        };
    }
}

/// The result, which is the request's.
fn deliver(
    result: Result<Box<UpstreamResponse>, Failed>,
    attempts: Attempts<'_>,
    request: &mut Forwarding<'_, '_>,
) -> Result<Box<UpstreamResponse>, Ended> {
    let Attempts { tries, cookies, .. } = attempts;
    let mut response = result.map_err(|failed| Ended::Failed { failure: failed.failure, retried: tries.retries > 0 });
    if let Ok(response) = &mut response {
        cookies.into_iter().for_each(|cookie| response.head.headers.append(SET_COOKIE, cookie));
    }
    // A redirect may be followed, and the request then needs its body again.
    if !response.as_ref().is_ok_and(|response| redirects(request.to, response)) {
        settle(response.as_deref().ok(), request.exchange);
    }
    response
}

/// Is the response a redirect that may be followed here?
pub(crate) fn redirects(to: &Forward, response: &UpstreamResponse) -> bool {
    to.redirects.as_ref().is_some_and(|policy| policy.statuses.contains(&response.head.status.as_u16()))
}

/// The request is over with this response, if there is one.
pub(crate) fn settle(response: Option<&UpstreamResponse>, exchange: &mut Exchange<'_>) {
    exchange.keep_nothing();
    response.into_iter().for_each(UpstreamResponse::settle);
}
