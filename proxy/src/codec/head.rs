//! The head of a message, in one form for HTTP/1 and HTTP/2.

use http::{HeaderName, HeaderValue, Method, StatusCode, Version};

/// A request without its body.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// `:scheme`, or the scheme of an absolute URI; HTTP/1 in origin form has none.
    pub scheme: Option<HeaderValue>,
    /// `:authority`, or the `host` header, which therefore is not among [`Self::headers`].
    pub authority: Option<HeaderValue>,
    /// Path and query; plain CONNECT has none.
    pub path: Option<HeaderValue>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<HeaderValue>,
    /// What the peer speaks.
    pub version: Version,
    /// The rest.
    pub headers: Headers,
}

/// A final response without its body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// What the peer speaks.
    pub version: Version,
    /// The headers.
    pub headers: Headers,
}

impl RequestHead {
    /// The path without its query, as bytes; empty where there is no path.
    #[must_use]
    pub fn path_only(&self) -> &[u8] {
        let path = self.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        path.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// The protocol an HTTP/1 request asks to switch to: the `upgrade` header, if `connection` names it.
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
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// Room for `count` fields.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds a field at the end, beside others of its name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
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

    /// Keeps the fields that `keep` says yes to.
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

    /// The `upgrade` field, if `connection` names it (RFC 9110 7.8).
    #[must_use]
    pub fn upgrade(&self) -> Option<&HeaderValue> {
        let upgrade = self.get(&http::header::UPGRADE)?;
        self.has_token(&http::header::CONNECTION, "upgrade").then_some(upgrade)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The members of a comma-separated field value, without the blanks around them.
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
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
    fn set_replaces_in_place_and_drops_the_others() {
        let mut h = headers(&[(SERVER, "a"), (HOST, "h"), (SERVER, "b"), (UPGRADE, "u")]);
        h.set(SERVER, HeaderValue::from_static("c"));
        assert_eq!(h, headers(&[(SERVER, "c"), (HOST, "h"), (UPGRADE, "u")]));
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        assert!(headers(&[(UPGRADE, "websocket")]).upgrade().is_none());
        assert!(headers(&[(CONNECTION, "keep-alive, Upgrade"), (UPGRADE, "websocket")]).upgrade().is_some());
        assert!(headers(&[(CONNECTION, "keep-alive")]).upgrade().is_none());
    }
}
