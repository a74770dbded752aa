//! Calls of filters: what a filter requests from a cluster while its own request waits.

use std::pin::Pin;

use http::HeaderValue;

use super::decorate;
use super::service::Service;
use super::subrequest::{Kept, Subrequest, Whole, of_bytes};
use crate::access_log::StreamInfo;
use crate::codec::names;
use crate::config::filter::RouterOptions;
use crate::config::route::{Forward, NamedCluster};
use crate::filter::{Call, CallEnd, Sender};
use crate::upstream::request_options::RequestOptions;

/// Makes the call for the stream of `info`. Boxed, since few requests make one.
///
/// # Cancellation
/// Safe to drop: what is under way is broken off.
pub(super) fn make<'a>(
    service: &'a Service,
    call: Call,
    info: &StreamInfo,
) -> Pin<Box<dyn Future<Output = CallEnd> + 'a>> {
    let Call { to, mut head, body, bytes_max, sender } = call;
    let named = NamedCluster::Cluster(to.cluster.clone());
    let cluster = service.cluster(&named, &head);
    // As in Envoy, a cluster that is not there is one that does not respond.
    let Some(cluster) = cluster else { return Box::pin(std::future::ready(CallEnd::Failed)) };
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
            None => CallEnd::Failed,
            Some(Whole { head, body, trailers }) => CallEnd::Response { head, body, trailers },
        }
    })
}
