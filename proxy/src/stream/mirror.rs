//! Copies of requests for other clusters, whose responses are not waited for (`request_mirror_policies`).
//!
//! A copy leaves beside its request, and its body comes as the request's does. The request never waits for it: a copy that falls
//! behind by more than a connection may buffer breaks off. Whatever becomes of a copy, the client sees nothing of it.

use http::HeaderValue;

use super::StreamContext;
use super::decorate;
use super::service::Service;
use super::subrequest::{Kept, Subrequest};
use crate::access_log::StreamInfo;
use crate::codec::{Body, RequestHead, names};
use crate::config::route::{Forward, Mirror, MirrorHost};
use crate::filter::edits::edit_copy;
use crate::router::{self, Chance};
use crate::upstream::request_options::RequestOptions;

/// Sends copies of a request that is about to be forwarded, with the timeout that the request has.
pub(super) fn begin(stream: &mut StreamContext<'_>, to: &Forward, options: &RequestOptions<'_>, chance: &Chance<'_>) {
    for mirror in &to.mirrors {
        if mirror.share.as_ref().is_some_and(|share| !chance.is_within(share)) {
            continue;
        }
        let Some(cluster) = stream.service.cluster(&mirror.cluster, &stream.request) else { continue };
        let StreamContext { service, request, exchange, info, .. } = stream;
        let body = Body::Copied(exchange.copy(service.buffer_bytes_max));
        let copy =
            Subrequest::new(service.subrequest_parts(), head(request, mirror, service, info), body, cluster, info);
        // One try, within the time that the request has.
        let to = Forward::to(mirror.cluster.clone(), options.timeout);
        tokio::task::spawn_local(async move {
            drop(copy.send(&to, &RequestOptions::of_copy(to.timeout), Kept::Nothing).await);
        });
    }
}

/// The head of the copy. Envoy sends copies as requests of its own, which come from inside.
fn head(request: &RequestHead, mirror: &Mirror, service: &Service, info: &StreamInfo) -> RequestHead {
    let mut head = request.clone();
    match &mirror.host {
        MirrorHost::Literal(host) => head.authority = Some(host.clone()),
        MirrorHost::Same => {}
        MirrorHost::Shadow => head.authority = head.authority.as_ref().and_then(shadow),
    }
    edit_copy(&mirror.edits, &mut head, info);
    head.headers.set(names::X_ENVOY_INTERNAL.clone(), HeaderValue::from_static("true"));
    if let Some(own) = service.own_address {
        decorate::append_forwarded_for(&mut head.headers, own);
    }
    head
}

/// The host with `-shadow` before its port.
fn shadow(host: &HeaderValue) -> Option<HeaderValue> {
    let host = host.as_bytes();
    let (name, port) = router::port_at(host).and_then(|at| host.split_at_checked(at)).unwrap_or((host, b""));
    // Parts of a value and letters make a value.
    HeaderValue::from_bytes(&[name, b"-shadow", port].concat()).ok()
}
