//! The head of a message, in one form for HTTP/1 and HTTP/2.

use http::header::{CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};

use super::names;
use super::spelling::Spelling;

/// A request without its body.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// In the letters of the request; methods are case-sensitive (RFC 9110 9.1).
    pub method: Method,
    /// `:scheme`, or the scheme of an absolute URI; HTTP/1 in origin form has none.
    pub scheme: Option<HeaderValue>,
    /// `:authority`, or the `host` header, which therefore is not among [`Self::headers`].
    pub authority: Option<HeaderValue>,
    /// Path and query; plain CONNECT has none.
    pub path: Option<HeaderValue>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<HeaderValue>,
    /// The peer's.
    pub version: Version,
    /// All other fields, in order.
    pub headers: Headers,
}

/// A final response without its body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: StatusCode,
    /// The peer's.
    pub version: Version,
    /// In order, without pseudo-header fields.
    pub headers: Headers,
}

impl RequestHead {
    /// RFC 9110 8.6: a request whose method may have content says so when it has none. Envoy's list of those that have none.
    #[must_use]
    pub fn wants_length(&self) -> bool {
        ![Method::GET, Method::HEAD, Method::DELETE, Method::TRACE, Method::CONNECT].contains(&self.method)
    }

    /// The path without its query, as bytes; empty where there is no path.
    #[must_use]
    pub fn path_only(&self) -> &[u8] {
        let path = self.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        path.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// The protocol an HTTP/1 request offers to switch to: the `upgrade` header, if `connection` names it.
    #[must_use]
    pub fn upgrade(&self) -> Option<&HeaderValue> {
        self.headers.upgrade()
    }
}

impl ResponseHead {
    /// A response with no headers.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, version: Version::HTTP_11, headers: Headers::default() }
    }
}

/// Header fields in the order they came. `http::HeaderMap` would lose that order on every removal, and a
/// proxy that reorders headers is the first suspect in every bug hunt. Lookups are linear: requests carry a
/// dozen fields, and their count is bounded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>, Option<Box<Spelling>>);

impl Headers {
    /// Room for `count` fields.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count), None)
    }

    /// From here on it is known how their names came.
    pub(in crate::codec) fn spell(&mut self, spelling: Spelling) {
        self.1 = (!spelling.is_empty()).then(|| Box::new(spelling));
    }

    /// How their names came, where that is known.
    pub(in crate::codec) fn spelling(&self) -> Option<&Spelling> {
        self.1.as_deref()
    }

    /// Adds a field at the end, beside others of its name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Adds a value as if it had come on a line of its own: it is joined to a field that is there, if `is_joined` is true of
    /// the name.
    pub(crate) fn append_or_join(&mut self, name: &HeaderName, value: HeaderValue, is_joined: fn(&str) -> bool) {
        if is_joined(name.as_str())
            && let Some((_, before)) = self.0.iter_mut().find(|(known, _)| known == name)
        {
            return join(before, value);
        }
        self.append(name.clone(), value);
    }

    /// Replaces the first field of this name in place and removes the others; adds it at the end if there is none.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        let Some(first) = self.0.iter().position(|(n, _)| *n == name) else {
            return self.append(name, value);
        };
        let mut at = 0;
        self.0.retain(|(n, _)| {
            at += 1;
            at - 1 <= first || *n != name
        });
        if let Some(field) = self.0.get_mut(first) {
            field.1 = value;
        }
    }

    /// Adds a field unless there is one of its name.
    pub fn set_if_absent(&mut self, name: HeaderName, value: HeaderValue) {
        if !self.contains(&name) {
            self.append(name, value);
        }
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(n, _)| n != name);
    }

    /// Keeps the fields for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The first field of this name, given as lower-case text.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(n, _)| n.as_str() == name).map(|(_, value)| value)
    }

    /// Every field of this name.
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value)
    }

    /// Is there a field of this name?
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Does a comma-separated field of this name hold `token`? Ignores case (RFC 9110 5.6.1).
    #[must_use]
    pub fn has_token(&self, name: &HeaderName, token: &str) -> bool {
        self.get_all(name).any(|value| tokens(value).any(|t| t.eq_ignore_ascii_case(token.as_bytes())))
    }

    /// The `upgrade` field, if `connection` names it (RFC 9110 7.8). There is one: several were joined as they came.
    #[must_use]
    pub fn upgrade(&self) -> Option<&HeaderValue> {
        let upgrade = self.get(&UPGRADE)?;
        self.has_token(&CONNECTION, "upgrade").then_some(upgrade)
    }

    /// Are they a gRPC request's? By Envoy's rule: the type is this one, with or without a suffix and without a parameter.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        let rest = self.get_str("content-type").and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
    }

    /// The fields in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there no fields?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// So many fields a plain proxy adds to a head (the client's address and scheme, the request's id, the time its upstream
/// has; or server, date, and the time that the upstream took): with room for them the list is allocated once.
const ADDED_FIELDS: usize = 4;

/// Fields of a head that is being read. Envoy keeps one field of each inline header, and joins the values of others
/// with a comma (RFC 9110 5.3): what is checked is then what is sent on, however many lines it came in.
#[derive(Debug)]
pub(in crate::codec) struct Received {
    headers: Headers,
    /// A bit for each name that came, and for others alike: a name whose bit is not set came for the first time.
    seen: u64,
    is_joined: fn(&str) -> bool,
}

impl Received {
    /// Room for `count` fields and for those the proxy adds; those are joined for which `is_joined` is true.
    pub(in crate::codec) fn with_capacity(count: usize, is_joined: fn(&str) -> bool) -> Self {
        Self { headers: Headers::with_capacity(count.saturating_add(ADDED_FIELDS)), seen: 0, is_joined }
    }

    /// Adds a field that came.
    pub(in crate::codec) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        let bit = bit_of(name.as_str().as_bytes());
        let may_be_there = self.seen & bit != 0;
        self.seen |= bit;
        if may_be_there
            && (self.is_joined)(name.as_str())
            && let Some((_, before)) = self.headers.0.iter_mut().find(|(known, _)| *known == name)
        {
            return join(before, value);
        }
        self.headers.append(name, value);
    }

    /// All that came.
    pub(in crate::codec) fn finish(self) -> Headers {
        self.headers
    }
}

/// One of 64 bits, the same for the same name.
fn bit_of(name: &[u8]) -> u64 {
    let [first, last] = [name.first(), name.last()].map(|byte| u32::from(byte.copied().unwrap_or_default()));
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    1_u64.rotate_left(first.wrapping_mul(7).wrapping_add(last.wrapping_mul(3)).wrapping_add(length))
}

/// Adds `value` to the list in `before`; an empty value adds nothing.
fn join(before: &mut HeaderValue, value: HeaderValue) {
    if before.is_empty() {
        *before = value;
    } else if !value.is_empty() {
        // Two values with a comma between them are a value.
        if let Ok(joined) = HeaderValue::from_bytes(&[before.as_bytes(), b",", value.as_bytes()].concat()) {
            *before = joined;
        }
    }
}

/// The names of fields that Envoy joins in requests, in order.
const JOINED_IN_REQUESTS: [&str; 58] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "cdn-loop",
    "connection",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "origin",
    "pragma",
    "proxy-connection",
    "proxy-status",
    "referer",
    "te",
    "upgrade",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Does Envoy join fields of this name, in lower case, in a request?
pub(crate) fn is_joined_in_requests(name: &str) -> bool {
    JOINED_IN_REQUESTS.binary_search(&name).is_ok()
}

/// The names of fields that Envoy joins in responses, in order.
const JOINED_IN_RESPONSES: [&str; 35] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-connection",
    "proxy-status",
    "server",
    "upgrade",
    "vary",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-canary",
    "x-envoy-upstream-healthchecked-cluster",
    "x-envoy-upstream-service-time",
    "x-request-id",
];

/// Does Envoy join fields of this name, in lower case, in a response?
pub(crate) fn is_joined_in_responses(name: &str) -> bool {
    JOINED_IN_RESPONSES.binary_search(&name).is_ok()
}

/// Does a field of this name belong to one connection, whatever `connection` says (RFC 9110 7.6.1)? Of a message that was read,
/// such a field says nothing about another one.
pub(crate) fn is_of_connection(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || [&names::KEEP_ALIVE, &names::PROXY_CONNECTION, &names::HTTP2_SETTINGS].contains(&name)
}

/// The members of a comma-separated field value, without the blanks around them.
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
impl Headers {
    /// Fields for a test, in this order.
    pub(crate) fn of(fields: &[(&str, &'static str)]) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            headers.append(name.parse().unwrap(), HeaderValue::from_static(value));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, HOST, SERVER, UPGRADE};

    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_names_that_are_joined_are_in_order() {
        assert!(JOINED_IN_REQUESTS.is_sorted() && JOINED_IN_RESPONSES.is_sorted());
        assert!(is_joined_in_requests("via") && !is_joined_in_requests("cookie"));
        assert!(is_joined_in_responses("age") && !is_joined_in_responses("set-cookie"));
    }

    #[test]
    fn set_replaces_in_place_and_drops_the_others() {
        let mut h = headers(&[(SERVER, "a"), (HOST, "h"), (SERVER, "b"), (UPGRADE, "u")]);
        h.set(SERVER, HeaderValue::from_static("c"));
        assert_eq!(h, headers(&[(SERVER, "c"), (HOST, "h"), (UPGRADE, "u")]));
    }

    #[test]
    fn lines_of_a_list_are_joined_in_the_place_of_the_first() {
        let mut received = Received::with_capacity(0, is_joined_in_requests);
        for (name, value) in
            [("upgrade", ""), ("upgrade", "websocket"), ("x-a", "1"), ("upgrade", "h2c"), ("upgrade", ""), ("x-a", "2")]
        {
            received.add(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let x_a = HeaderName::from_static("x-a");
        let expected = headers(&[(UPGRADE, "websocket,h2c"), (x_a.clone(), "1"), (x_a, "2")]);
        assert_eq!(received.finish(), expected);
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        assert!(headers(&[(UPGRADE, "websocket")]).upgrade().is_none());
        assert!(headers(&[(CONNECTION, "keep-alive, Upgrade"), (UPGRADE, "websocket")]).upgrade().is_some());
        assert!(headers(&[(CONNECTION, "keep-alive")]).upgrade().is_none());
    }
}
