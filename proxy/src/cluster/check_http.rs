//! A health check that is a request of HTTP, over HTTP/1.1 or HTTP/2, and what the response to it says.

use bytes::BytesMut;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Version};

use super::check_http2;
use super::check_target::{BODY_BYTES_MAX, Failure, Finding, Found, Response, Target, find};
use crate::codec::http1::{ClientConnection, ClientOptions};
use crate::codec::{Frame, Headers, Payload, RequestHead, names};
use crate::config::header_names::{NameCase, TrailerRule};
use crate::config::health::{CheckVersion, HttpProbe};
use crate::filter::edits;

/// Largest head of a response to a check. Bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;

/// A response with it says that the endpoint is to be used where healthy ones do not suffice.
const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");
/// What the endpoint is called by a filter `health_check` of its own proxy.
const SERVICE: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");

/// # Cancellation
/// Safe to drop; the connection is then in no state to be used again.
pub(super) async fn check(
    probe: &HttpProbe,
    authority: &str,
    target: Target<'_>,
    (http1, http2): (&mut Option<ClientConnection>, &mut Option<check_http2::Connection>),
) -> Finding {
    let mut head = target.head(probe.method.clone(), &probe.path, authority);
    edits::add_to_own(&probe.edits, &mut head, target.info);
    if !probe.body.is_empty() || (probe.version == CheckVersion::Http1 && head.wants_length()) {
        head.headers.set(CONTENT_LENGTH, HeaderValue::from(probe.body.len()));
    }
    let body = (!probe.body.is_empty()).then(|| probe.body.clone());
    let response = match probe.version {
        CheckVersion::Http1 => {
            head.version = Version::HTTP_11;
            over_http1(head, body, target, http1).await
        }
        CheckVersion::Http2 => check_http2::exchange(head, body, target, http2).await,
    };
    match response {
        Some(response) => judge(probe, &response, target),
        None => Found::Failure(Failure::Network).into(),
    }
}

fn judge(probe: &HttpProbe, response: &Response, target: Target<'_>) -> Finding {
    let (status, headers) = (response.head.status.as_u16(), &response.head.headers);
    let is_in = |ranges: &[std::ops::RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&status));
    let found = if !is_in(&probe.expected) {
        if is_in(&probe.retriable) { Found::Failure(Failure::Response) } else { Found::Verdict }
    } else if !has_all(&response.body, probe) {
        Found::Verdict
    } else {
        service(probe, headers, target)
    };
    let says_excluded = headers.contains(&names::X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL);
    Finding { found, is_degraded: headers.contains(&DEGRADED), is_excluded: found != Found::Success && says_excluded }
}

/// Does the body have what is wanted, one behind the other?
fn has_all(body: &[u8], probe: &HttpProbe) -> bool {
    let mut rest = body.get(..probe.response_bytes_max.unwrap_or(usize::MAX)).unwrap_or(body);
    probe.receive.iter().all(|wanted| {
        let after = find(rest, wanted).and_then(|at| rest.get(at + wanted.len()..));
        rest = after.unwrap_or_default();
        after.is_some()
    })
}

/// Is the endpoint the service that is wanted?
fn service(probe: &HttpProbe, headers: &Headers, target: Target<'_>) -> Found {
    let Some(wanted) = &probe.service else { return Found::Success };
    target.stats.health_check_verify_cluster.inc();
    let named = headers.get(&SERVICE).map(|value| value.as_bytes()).unwrap_or_default();
    if wanted.takes(named) { Found::Success } else { Found::Verdict }
}

async fn over_http1(
    head: RequestHead,
    body: Option<bytes::Bytes>,
    target: Target<'_>,
    kept: &mut Option<ClientConnection>,
) -> Option<Response> {
    let kept_one = kept.take().filter(ClientConnection::is_reusable);
    let mut connection = match kept_one.and_then(|mut kept| kept.peek().is_none().then_some(kept)) {
        Some(connection) => connection,
        None => {
            let options = ClientOptions {
                head_bytes_max: HEAD_BYTES_MAX,
                headers_max: HEADERS_MAX,
                case: NameCase::Lower,
                trailers: TrailerRule::Dropped,
                write_buffer_bytes_max: HEAD_BYTES_MAX,
            };
            target.codec_stats.http1();
            ClientConnection::new(target.connect().await.ok()?, options)
        }
    };
    let mut outgoing = connection.send(&head, if body.is_some() { Payload::Some } else { Payload::None });
    if let Some(body) = body {
        outgoing.write(body);
        outgoing.finish(None);
    }
    std::future::poll_fn(|cx| outgoing.poll_flush(cx)).await.ok()?;
    drop(outgoing);
    let (head, mut incoming) = target.counted(connection.response().await)?;
    let mut whole = Response { head, body: BytesMut::new(), trailers: None };
    while let Some(frame) = std::future::poll_fn(|cx| incoming.poll_frame(cx)).await {
        let Ok(Frame::Data(data)) = frame else { break };
        if whole.body.len() + data.len() > BODY_BYTES_MAX {
            break;
        }
        whole.body.extend_from_slice(&data);
    }
    drop(incoming);
    if connection.is_reusable() {
        *kept = Some(connection);
    }
    Some(whole)
}
