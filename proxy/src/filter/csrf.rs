//! `envoy.filters.http.csrf`: a request that changes something has to come from a page of the same host, or of one that is named.
//!
//! Hosts are compared with their ports and without their schemes, as in Envoy. Of the methods those count by which a browser lets
//! a page change something (RFC 9110 9.2.1: the others are safe, or no page can send them).

use http::header::{ORIGIN, REFERER};
use http::{HeaderValue, Method, StatusCode};

use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow};
use crate::access_log::Details;
use crate::codec::RequestHead;
use crate::config::filter::Csrf;

/// A request's head has come.
pub(super) fn on_request(policy: &Csrf, request: &RequestHead, context: &FilterContext) -> Flow<FilterReply> {
    let is_enforced = context.draw(&policy.enforced);
    if !is_enforced && !context.draw(&policy.counted) || !changes_something(&request.method) {
        return Flow::Continue;
    }
    let is_valid = source(request).map(|source| is_valid(policy, source, request));
    if let Some(stats) = &context.stats.csrf {
        match is_valid {
            None => stats.missing_source_origin.inc(),
            Some(false) => stats.request_invalid.inc(),
            Some(true) => stats.request_valid.inc(),
        }
    }
    if is_valid == Some(true) || !is_enforced {
        return Flow::Continue;
    }
    EndedReply::new(StatusCode::FORBIDDEN, "Invalid origin", Details::CsrfOriginMismatch).end()
}

fn changes_something(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::DELETE, Method::PATCH].contains(method)
}

/// The host of the page that sends the request, if it says which. `null` is said by a page that will not tell (RFC 6454 7.3).
fn source(request: &RequestHead) -> Option<&[u8]> {
    let host = |name| request.headers.get(name).map(host).filter(|host| !host.is_empty() && *host != b"null");
    host(&ORIGIN).or_else(|| host(&REFERER))
}

/// Host and port of a URL; what is no URL stands for itself.
fn host(url: &HeaderValue) -> &[u8] {
    let url = url.as_bytes();
    let Some(at) = url.windows(3).position(|bytes| bytes == b"://") else { return url };
    let (scheme, rest) = url.split_at(at);
    let authority = rest.get(3..).unwrap_or_default();
    let end = authority.iter().position(|byte| b"/?".contains(byte)).unwrap_or(authority.len());
    let authority = authority.get(..end).unwrap_or_default();
    let is_scheme_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte); // RFC 3986 3.1
    if scheme.is_empty() || !scheme.iter().all(is_scheme_byte) || authority.is_empty() {
        return url;
    }
    // User and password stand before the last `@` (RFC 3986 3.2.1).
    let from = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    authority.get(from..).unwrap_or_default()
}

fn is_valid(policy: &Csrf, source: &[u8], request: &RequestHead) -> bool {
    let target = request.authority.as_ref().map(host).unwrap_or_default();
    source == target || policy.additional_origins.iter().any(|origin| origin.takes(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.40 reads them.
    #[test]
    fn the_host_of_a_url_has_its_port() {
        for (url, expected) in [
            ("http://a.test", "a.test"),
            ("https://a.test:81/path", "a.test:81"),
            ("https://a.test?q", "a.test"),
            ("http://user@a.test/", "a.test"),
            ("http://[::1]:80/", "[::1]:80"),
            ("a.test:81", "a.test:81"),
            ("x-y://a.test", "a.test"),
            ("http://a.test#f", "a.test#f"),
            ("null", "null"),
            ("", ""),
        ] {
            assert_eq!(host(&HeaderValue::from_static(url)), expected.as_bytes(), "{url}");
        }
    }
}
