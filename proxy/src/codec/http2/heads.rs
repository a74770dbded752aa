//! Heads and trailers, from h2's form into ours and back.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request, response,
};

use super::ExchangeError;
use super::message::Original;
use super::target::{METHOD_BYTES_MAX, Target};
use crate::codec::Violation;
use crate::codec::head::{Received, is_joined_in_requests, is_joined_in_responses};
use crate::codec::{Headers, RequestHead, ResponseHead};

/// What a request is sent with that has none.
const DEFAULT_SCHEME: &[u8] = b"http";
const ROOT_PATH: &[u8] = b"/";

pub(super) fn request_from_h2(parts: request::Parts) -> RequestHead {
    let uri = parts.uri.into_parts();
    let protocol = parts.extensions.get::<h2::ext::Protocol>().and_then(|p| value(p.as_str()));
    let mut headers = joined_headers_from_h2(parts.headers, is_joined_in_requests);
    join_cookies(&mut headers);
    let host = headers.get(&HOST).cloned();
    headers.remove(&HOST);
    let is_plain_connect = parts.method == Method::CONNECT && protocol.is_none();
    // h2 requires :scheme, but loses it where there is no :authority.
    let scheme = uri.scheme.as_ref().map_or(Some("http"), |scheme| Some(scheme.as_str()));
    RequestHead {
        scheme: scheme.filter(|_| !is_plain_connect).and_then(value),
        authority: uri.authority.as_ref().and_then(|authority| value(authority.as_str())).or(host),
        path: uri.path_and_query.as_ref().and_then(|path| value(path.as_str())),
        protocol,
        version: Version::HTTP_2,
        headers,
        method: parts.method,
    }
}

pub(super) fn response_from_h2(parts: response::Parts) -> ResponseHead {
    let headers = joined_headers_from_h2(parts.headers, is_joined_in_responses);
    ResponseHead { status: parts.status, version: Version::HTTP_2, headers }
}

/// What h2 is given of a head, and what the I/O layer is to write in the place of it. Fails where neither could send the head.
pub(super) fn request_to_h2(head: &RequestHead) -> Result<(Request<()>, Option<Target>), ExchangeError> {
    let invalid = || ExchangeError::Malformed(Violation::InvalidHeaderField);
    let (uri, target) = match uri_of(head) {
        Some(uri) => (uri, None),
        None if head.method.as_str().len() > METHOD_BYTES_MAX => return Err(invalid()),
        None => (Uri::from_static("/"), Some(target_of(head))),
    };
    let has_authority = uri.authority().is_some();

    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = if has_authority { Version::HTTP_2 } else { Version::HTTP_11 };
    *request.headers_mut() = headers_to_h2(&head.headers);
    if let Some(protocol) = &head.protocol {
        let protocol = protocol.to_str().map_err(|_| invalid())?;
        request.extensions_mut().insert(h2::ext::Protocol::from(protocol));
    }
    Ok((request, target))
}

/// The target as a URI, if the http crate can hold it as it is.
fn uri_of(head: &RequestHead) -> Option<Uri> {
    let mut uri = http::uri::Parts::default();
    uri.authority = match &head.authority {
        None => None,
        Some(authority) => Some(Authority::try_from(authority.as_bytes()).ok()?),
    };
    if !is_plain_connect(head) {
        let path = head.path.as_ref().map_or(ROOT_PATH, HeaderValue::as_bytes);
        // It cuts a fragment off.
        uri.path_and_query = Some(PathAndQuery::try_from(path).ok().filter(|held| held.as_str().len() == path.len())?);
        let scheme = head.scheme.as_ref().map_or(DEFAULT_SCHEME, HeaderValue::as_bytes);
        // The http crate has no URI with a scheme and without an authority; h2 then adds "http" itself.
        let scheme = Scheme::try_from(scheme).ok()?;
        uri.scheme = uri.authority.is_some().then_some(scheme);
    }
    Uri::from_parts(uri).ok()
}

/// The pseudo-headers of a request, names and values.
pub(super) fn pseudo_bytes(head: &RequestHead) -> usize {
    let pair = |name: &str, value: &[u8]| name.len() + value.len();
    let optional =
        |name: &str, value: &Option<HeaderValue>| value.as_ref().map_or(0, |value| pair(name, value.as_bytes()));
    let always = pair(":method", head.method.as_str().as_bytes()) + optional(":authority", &head.authority);
    if is_plain_connect(head) {
        return always;
    }
    let path = head.path.as_ref().map_or(ROOT_PATH, HeaderValue::as_bytes);
    let scheme = head.scheme.as_ref().map_or(DEFAULT_SCHEME, HeaderValue::as_bytes);
    always + pair(":path", path) + pair(":scheme", scheme) + optional(":protocol", &head.protocol)
}

/// The target as bytes.
fn target_of(head: &RequestHead) -> Target {
    let bytes = |value: &Option<HeaderValue>| value.as_ref().map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let has_path = !is_plain_connect(head);
    Target {
        authority: bytes(&head.authority),
        path: has_path.then(|| bytes(&head.path).unwrap_or(Bytes::from_static(ROOT_PATH))),
        scheme: has_path.then(|| bytes(&head.scheme).unwrap_or(Bytes::from_static(DEFAULT_SCHEME))),
    }
}

/// RFC 9113 8.5: plain CONNECT has neither `:scheme` nor `:path`.
fn is_plain_connect(head: &RequestHead) -> bool {
    head.method == Method::CONNECT && head.protocol.is_none()
}

pub(super) fn response_to_h2(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = headers_to_h2(&head.headers);
    if head.status == StatusCode::NO_CONTENT {
        // RFC 9110 8.6.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// Trailers, of which nothing is joined.
pub(super) fn trailers_from_h2(map: HeaderMap) -> Headers {
    joined_headers_from_h2(map, |_| false)
}

fn joined_headers_from_h2(map: HeaderMap, is_joined: fn(&str) -> bool) -> Headers {
    let mut received = Received::with_capacity(map.len(), is_joined);
    let mut last = None;
    for (name, value) in map {
        // The map gives a name once for all of its values.
        if name.is_some() {
            last = name;
        }
        if let Some(name) = &last {
            received.add(name.clone(), value);
        }
    }
    received.finish()
}

/// Leaves out what belongs to one HTTP/1 connection, which RFC 9113 8.2.2 forbids here, and `host`, which is
/// `:authority` here. Removing a field from the map would move its last field to that place.
pub(super) fn headers_to_h2(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, value)| !is_of_http1(name, value)) {
        // Fails at 32,768 names; our limits on heads are far below, and a field more or less is no reason to panic.
        if map.try_append(name.clone(), value.clone()).is_err() {
            break;
        }
    }
    map
}

/// Puts back what h2 could not hold.
pub(super) fn restore(head: &mut RequestHead, original: Original) {
    let value = |bytes: Option<Bytes>| bytes.and_then(|bytes| HeaderValue::from_maybe_shared(bytes).ok());
    head.authority = value(original.authority).or(head.authority.take());
    head.path = value(original.path).or(head.path.take());
}

fn is_of_http1(name: &HeaderName, value: &HeaderValue) -> bool {
    [CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection"].contains(&name.as_str())
        || (*name == TE && value != "trailers")
}

/// RFC 9113 8.2.3: a cookie may come in crumbs, and HTTP/1 must see it whole.
fn join_cookies(headers: &mut Headers) {
    let mut crumbs = headers.get_all(&COOKIE);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = BytesMut::from(first.as_bytes());
    for crumb in [second].into_iter().chain(crumbs) {
        whole.put_slice(b"; ");
        whole.put_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_maybe_shared(whole.freeze()) {
        headers.set(COOKIE, whole);
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}
