//! The URL to which a response redirects, taken apart (RFC 9110 10.2.2, RFC 3986 3).

use http::HeaderValue;

/// An absolute URL. Envoy follows no other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AbsoluteUrl {
    /// As it is written.
    pub(crate) scheme: HeaderValue,
    /// Host and port, without userinfo.
    pub(crate) authority: HeaderValue,
    /// Path and query, without a fragment: `/` if there is none.
    pub(crate) path: HeaderValue,
}

impl AbsoluteUrl {
    /// The URL that `text` is, if it is one.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if !is_scheme || !is_authority(authority) {
            return None;
        }
        let path = rest.split('#').next().unwrap_or_default();
        let path = match path.strip_prefix('?') {
            // A path that does not begin with a slash is no path of a request (RFC 9112 3.2.1).
            Some(_) => HeaderValue::from_str(&format!("/{path}")).ok()?,
            None if path.is_empty() => HeaderValue::from_static("/"),
            None => HeaderValue::from_str(path).ok()?,
        };
        let value = |part: &str| HeaderValue::from_str(part).ok();
        Some(Self { scheme: value(scheme)?, authority: value(authority)?, path })
    }

    /// Is its scheme `http`?
    pub(crate) fn is_http(&self) -> bool {
        self.scheme.as_bytes().eq_ignore_ascii_case(b"http")
    }
}

/// `host [ ":" port ]`, where the host is a name, or an IPv6 address in brackets.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            if !(after.is_empty() || after.starts_with(':')) || address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (address, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    !host.is_empty() && host.bytes().all(is_name) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::RequestHead;
    use crate::codec::http1::sent_and_read;

    proptest! {
        #[test]
        fn a_request_for_any_url_is_a_request_again(
            scheme in "https?|[!-~]{0,3}",
            authority in "([a-z]{0,3}@)?([!-~]{0,8}|[a-z.]{1,8}(:[0-9]{0,6})?|\\[[0-9a-f:]{0,8}\\](:[0-9]{1,5})?)",
            rest in "[ -~]{0,12}|/[!-~]{0,12}|.{0,4}",
        ) {
            let Some(url) = AbsoluteUrl::parse(format!("{scheme}://{authority}{rest}").as_bytes()) else { return Ok(()) };
            let (authority, path) = (Some(url.authority), Some(url.path));
            let request = RequestHead { authority, path, ..RequestHead::default() };
            let again = sent_and_read(&request).map(|again| (again.authority, again.path));
            prop_assert_eq!(again, Some((request.authority, request.path)));
        }
    }

    #[test]
    fn only_absolute_urls_are_urls() {
        for (text, expected) in [
            ("http://a.test/b?c#d", Some(("http", "a.test", "/b?c"))),
            ("HTTPS://u:p@a.test:81", Some(("HTTPS", "a.test:81", "/"))),
            ("http://[::1]:80/x", Some(("http", "[::1]:80", "/x"))),
            ("http://a.test?x", Some(("http", "a.test", "/?x"))),
            ("http://a.test#x", Some(("http", "a.test", "/"))),
            ("ftp://a/", Some(("ftp", "a", "/"))),
            ("/next", None),
            ("next", None),
            ("", None),
            ("http:///x", None),
            ("http://a b/", None),
            ("http://a:99999/", None),
            ("http://a:/", None),
            ("http://[::1/", None),
            ("1http://a/", None),
        ] {
            let found = AbsoluteUrl::parse(text.as_bytes());
            let found = found.as_ref().map(|AbsoluteUrl { scheme, authority, path }| {
                (scheme.to_str().unwrap(), authority.to_str().unwrap(), path.to_str().unwrap())
            });
            assert_eq!(found, expected, "{text}");
        }
    }
}
