//! Redirects of upstreams that are followed here instead of being passed on (`internal_redirect_policy`).
//!
//! As in Envoy, a redirect that is followed ends the stream for its log and begins another one, which goes through routes and
//! filters anew with the same body; the client waits for the response of the last.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::StreamContext;
use crate::access_log::format::Heads;
use crate::access_log::{Details, StreamInfo};
use crate::cluster::Cluster;
use crate::codec::{Headers, RequestHead, names};
use crate::config::log_filter::LogType;
use crate::config::redirects::{InternalRedirects, RedirectPredicate};
use crate::exchange::Again;
use crate::router::{self, AbsoluteUrl, Chance};
use crate::upstream::UpstreamResponse;

/// What is known of the redirects that a request has followed.
#[derive(Debug, Default)]
pub(super) struct Followed<'r> {
    count: u32,
    /// The names of a route that has led elsewhere and of the route there.
    previous: Vec<(&'r str, &'r str)>,
}

/// Why a redirect is passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Passed {
    BadLocation,
    /// The request has not come whole, or its body is too large to be sent again.
    Incomplete,
    NoRoute,
    Predicate,
    TooMany,
    UnsafeScheme,
}

/// Follows the redirect that `response` is: then the request is the one for that place, and begins anew with this. Else it is what
/// it was, and the response is to be passed on. `route` is the name of its route.
pub(super) fn follow<'r>(
    stream: &mut StreamContext<'r>,
    policy: &InternalRedirects,
    route: &'r str,
    cluster: &Cluster,
    response: &UpstreamResponse,
    followed: &mut Followed<'r>,
) -> Option<Again> {
    let before = stream.request.clone();
    let redirected = redirect(stream, policy, route, &response.head.headers, followed);
    let (stats, http) = (&cluster.shared.stats, &stream.service.stats);
    if let Err(why) = redirected {
        stream.request = before;
        stats.upstream_internal_redirect_failed_total.inc();
        match why {
            Passed::BadLocation => http.passthrough_internal_redirect_bad_location.inc(),
            Passed::Incomplete => {}
            Passed::NoRoute => http.passthrough_internal_redirect_no_route.inc(),
            Passed::Predicate => http.passthrough_internal_redirect_predicate.inc(),
            Passed::TooMany => http.passthrough_internal_redirect_too_many_redirects.inc(),
            Passed::UnsafeScheme => http.passthrough_internal_redirect_unsafe_scheme.inc(),
        }
        return None;
    }
    stats.upstream_internal_redirect_succeeded_total.inc();
    let again = see_other(response.head.status, &mut stream.request);
    let scheme = if is_over_tls(stream.info) { "https" } else { "http" };
    set_original_url(scheme, &before, &mut stream.request.headers);
    begin_stream(stream, response);
    Some(again)
}

/// Makes the request the one for the new place.
fn redirect<'r>(
    stream: &mut StreamContext<'r>,
    policy: &InternalRedirects,
    route: &'r str,
    response: &Headers,
    followed: &mut Followed<'r>,
) -> Result<(), Passed> {
    let StreamContext { service, routes, request, exchange, info, .. } = stream;
    if !exchange.is_complete() || !exchange.can_repeat() {
        return Err(Passed::Incomplete);
    }
    let location = response.get(&LOCATION).ok_or(Passed::Incomplete)?;
    let url = AbsoluteUrl::parse(location.as_bytes()).ok_or(Passed::BadLocation)?;
    let is_cross_scheme = url.is_http() == is_over_tls(info);
    if !policy.cross_scheme && is_cross_scheme {
        return Err(Passed::UnsafeScheme);
    }
    if followed.count >= policy.redirects_max {
        return Err(Passed::TooMany);
    }
    copy(&policy.copied, response, &mut request.headers);
    let is_http = url.is_http();
    (request.scheme, request.authority, request.path) = (Some(url.scheme), Some(url.authority), Some(url.path));
    let chance = Chance::new(&routes.keys, &*service.outside.random);
    let found = router::route(&routes.table, request, &chance).ok_or(Passed::NoRoute)?;
    let next = found.route.name.as_str();
    for predicate in &policy.predicates {
        let accepts = match predicate {
            RedirectPredicate::AllowListedRoutes(allowed) => allowed.iter().any(|name| name == next),
            RedirectPredicate::PreviousRoutes => {
                let is_new = !followed.previous.contains(&(route, next));
                followed.previous.push((route, next));
                is_new
            }
            // What came in clear text leads to nothing that should not be seen.
            RedirectPredicate::SafeCrossScheme => is_http || is_over_tls(info),
        };
        if !accepts {
            return Err(Passed::Predicate);
        }
    }
    followed.count += 1;
    Ok(())
}

/// `response_headers_to_copy`: the request has them as the response has, or not at all.
fn copy(copied: &[HeaderName], response: &Headers, request: &mut Headers) {
    for name in copied {
        request.remove(name);
        for value in response.get_all(name) {
            request.append(name.clone(), value.clone());
        }
    }
}

/// RFC 9110 15.4.4: what 303 leads to is requested with GET, or with HEAD.
fn see_other(status: StatusCode, request: &mut RequestHead) -> Again {
    if status != StatusCode::SEE_OTHER || [Method::GET, Method::HEAD].contains(&request.method) {
        return Again::Whole;
    }
    request.method = Method::GET;
    request.headers.remove(&CONTENT_LENGTH);
    Again::WithoutBody
}

/// Did the client's connection encrypt the request?
fn is_over_tls(info: &StreamInfo) -> bool {
    info.downstream.tls.is_some()
}

fn set_original_url(scheme: &str, before: &RequestHead, headers: &mut Headers) {
    let bytes = |value: &Option<HeaderValue>| value.as_ref().map_or(Vec::new(), |value| value.as_bytes().to_vec());
    let url = [scheme.as_bytes().to_vec(), b"://".to_vec(), bytes(&before.authority), bytes(&before.path)].concat();
    // Parts of values make a value.
    if let Ok(url) = HeaderValue::from_bytes(&url) {
        headers.set(names::X_ENVOY_ORIGINAL_URL.clone(), url);
    }
}

/// Ends the stream for its log, and begins the next.
fn begin_stream(stream: &mut StreamContext<'_>, response: &UpstreamResponse) {
    let StreamContext { service, request, exchange, info, .. } = stream;
    service.begin_stream(request.version);
    let mut next = StreamInfo::new(Instant::now(), service.outside.clock.wall(), Rc::clone(&info.downstream));
    next.process = info.process.clone();
    (next.client, next.protocol, next.internal) = (info.client.clone(), info.protocol, info.internal);
    let mut ended = std::mem::replace(*info, next);
    ended.bytes_received = exchange.bytes_received;
    ended.times.request_end = exchange.completed_at();
    ended.response_code = Some(response.head.status.as_u16());
    ended.detail(Details::InternalRedirect);
    ended.finish(Instant::now());
    let heads = Heads { request: Some(request), response: Some(&response.head) };
    service.logs.write(LogType::DownstreamEnd, heads, &ended, &*service.outside.random);
}
