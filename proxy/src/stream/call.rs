//! Calls of filters: what a filter requests from a cluster while its own request waits.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::decorate;
use super::service::Service;
use super::subrequest::{Kept, Subrequest, Whole, of_bytes};
use crate::access_log::StreamInfo;
use crate::codec::{RequestHead, names};
use crate::config::filter::RouterOptions;
use crate::config::route::{Forward, NamedCluster};
use crate::filter::{Call, CallEnd, Filters, Sender, Unanswered};
use crate::upstream::request_options::RequestOptions;

/// Makes the call for the stream of `info`. Boxed, since few requests make one.
///
/// # Cancellation
/// Safe to drop: what is under way is broken off.
pub(super) fn make(service: &Service, call: Call, info: &StreamInfo) -> Pin<Box<dyn Future<Output = CallEnd>>> {
    let Call { to, mut head, body, bytes_max, sender } = call;
    let named = NamedCluster::Cluster(to.cluster.clone());
    let cluster = service.cluster(&named, &head);
    // As in Envoy, a cluster that is not there is one that does not respond.
    let Some(cluster) = cluster else { return Box::pin(std::future::ready(CallEnd::Failed(no_cluster()))) };
    head.headers.set(names::X_ENVOY_INTERNAL.clone(), HeaderValue::from_static("true"));
    if let Some(own) = service.own_address.filter(|_| sender == Sender::Forwarded) {
        decorate::append_forwarded_for(&mut head.headers, own);
    }
    if let Some(timeout) = to.timeout {
        head.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), service.millis.header(timeout));
    }
    let subrequest = Subrequest::new(service.subrequest_parts(), head, of_bytes(body), cluster, info);
    let mut forward = Forward::to(named, to.timeout);
    forward.retry = to.retry.clone().map(Box::new);
    Box::pin(async move {
        let options = RequestOptions::resolve(&forward, &RouterOptions::default(), &mut Default::default());
        match subrequest.send(&forward, &options, Kept::AtMost(bytes_max)).await {
            Err(unanswered) => CallEnd::Failed(unanswered),
            Ok(Whole { head, body, trailers }) => CallEnd::Response { head, body, trailers },
        }
    })
}

/// Makes calls that their filters do not wait for.
pub(super) fn detach(service: &Service, calls: Vec<Call>, info: &StreamInfo) {
    for call in calls {
        let call = make(service, call, info);
        tokio::task::spawn_local(async move {
            call.await;
        });
    }
}

/// What a call comes to that goes nowhere.
fn no_cluster() -> Unanswered {
    Unanswered { status: StatusCode::SERVICE_UNAVAILABLE, body: Bytes::new() }
}

/// Makes the calls that filters want made when the stream is over. As with copies of requests, nothing waits for their ends.
pub(super) fn make_last(service: &Service, filters: &mut Filters<'_>, request: &RequestHead, info: &mut StreamInfo) {
    let calls = filters.end(request, info);
    detach(service, calls, info);
}
