//! Where a redirect sends the client: the URL of `location` (RFC 9110 10.2.2), always absolute.

use http::HeaderValue;

use crate::codec::RequestHead;
use crate::config::rewrite::{Redirect, RedirectPath, RedirectQuery};

/// The URL that `redirect` makes from a request whose path has been rewritten already; `None` for CONNECT, which has no path.
pub(crate) fn location(redirect: &Redirect, head: &RequestHead) -> Option<HeaderValue> {
    let path = head.path.as_ref()?.as_bytes();
    let authority = head.authority.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let own_scheme = head.scheme.as_ref().map_or(&b"http"[..], HeaderValue::as_bytes);
    let scheme = redirect.scheme.as_ref().map_or(own_scheme, |scheme| scheme.as_bytes());
    let host = match &redirect.host {
        Some(host) => host.as_bytes(),
        None if redirect.port.is_some() || is_left(authority, own_scheme, scheme) => without_port(authority),
        None => authority,
    };
    let mut url = [scheme, b"://", host].concat();
    if let Some(port) = redirect.port {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    put_path(redirect, path, &mut url);
    HeaderValue::from_bytes(&url).ok()
}

/// The same URL over TLS.
pub(crate) fn location_over_tls(head: &RequestHead) -> Option<HeaderValue> {
    let authority = head.authority.as_ref()?.as_bytes();
    HeaderValue::from_bytes(&[b"https://", authority, head.path.as_ref()?.as_bytes()].concat()).ok()
}

fn put_path(redirect: &Redirect, path: &[u8], url: &mut Vec<u8>) {
    let query_at = |path: &[u8]| path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
    let (path, query) = path.split_at_checked(query_at(path)).unwrap_or((path, b""));
    let (path, query) = match &redirect.path {
        RedirectPath::Kept | RedirectPath::Rewritten(_) => (path, query),
        RedirectPath::Replaced(whole) if whole.contains('?') => {
            let (path, query) = whole.as_bytes().split_at_checked(query_at(whole.as_bytes())).unwrap_or_default();
            return put(path, query, url); // it is not the request's, which alone is stripped
        }
        RedirectPath::Replaced(path) => (path.as_bytes(), query),
    };
    put(path, if redirect.query == RedirectQuery::Stripped { b"" } else { query }, url);
}

fn put(path: &[u8], query: &[u8], url: &mut Vec<u8>) {
    if !path.starts_with(b"/") {
        url.push(b'/');
    }
    url.extend_from_slice(path);
    url.extend_from_slice(query);
}

/// Does a port go that is the default of the scheme that is left, and would be odd in the new one?
fn is_left(authority: &[u8], from: &[u8], to: &[u8]) -> bool {
    let port = authority.strip_prefix(without_port(authority)).unwrap_or_default();
    from != to && ((from == b"http" && port == b":80") || (from == b"https" && port == b":443"))
}

fn without_port(authority: &[u8]) -> &[u8] {
    let from = match authority.first() {
        Some(b'[') => authority.windows(2).rposition(|pair| pair == b"]:").map(|at| at + 1),
        Some(_) | None => authority.iter().rposition(|byte| *byte == b':'),
    };
    from.and_then(|from| authority.get(..from)).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(pattern: &'static str) -> impl Strategy<Value = Option<String>> {
        prop::option::of(pattern)
    }

    proptest! {
        #[test]
        fn whatever_is_redirected_to_is_an_absolute_url(
            (scheme, host, port) in (text("https?"), text("[a-z.]{1,6}(:[0-9]{1,5})?"), prop::option::of(any::<u16>())),
            path in text("/?[!-~]{0,10}"),
            is_stripped in any::<bool>(),
            authority in "[!-~&&[^/?#]]{0,10}|\\[::1\\](:[0-9]{1,5})?",
            requested in "/[!-~]{0,12}",
        ) {
            let redirect = Redirect {
                scheme,
                host,
                port,
                path: path.map_or(RedirectPath::Kept, RedirectPath::Replaced),
                query: if is_stripped { RedirectQuery::Stripped } else { RedirectQuery::Kept },
                ..Redirect::default()
            };
            let head = RequestHead {
                scheme: Some(HeaderValue::from_static("http")),
                authority: Some(HeaderValue::from_str(&authority).unwrap()),
                path: Some(HeaderValue::from_str(&requested).unwrap()),
                ..RequestHead::default()
            };
            let location = location(&redirect, &head).unwrap();
            let (scheme, rest) = location.to_str().unwrap().split_once("://").unwrap();
            prop_assert!(["http", "https"].contains(&scheme), "{location:?}");
            prop_assert!(rest.contains('/'), "{location:?}");
        }
    }

    fn head(authority: &'static str, path: &'static str) -> RequestHead {
        RequestHead {
            scheme: Some(HeaderValue::from_static("http")),
            authority: Some(HeaderValue::from_static(authority)),
            path: Some(HeaderValue::from_static(path)),
            ..RequestHead::default()
        }
    }

    fn to(scheme: Option<&str>, host: Option<&str>, port: Option<u16>) -> Redirect {
        Redirect { scheme: scheme.map(Into::into), host: host.map(Into::into), port, ..Redirect::default() }
    }

    #[test]
    fn a_port_that_does_not_fit_the_scheme_is_removed() {
        let https = || Some("https");
        for (redirect, authority, expected) in [
            (to(None, None, None), "h:80", "http://h:80/a"),
            (to(https(), None, None), "h:80", "https://h/a"),
            (to(https(), None, None), "h:443", "https://h:443/a"),
            (to(https(), None, None), "h:8080", "https://h:8080/a"),
            (to(https(), None, None), "[::1]:80", "https://[::1]/a"),
            (to(https(), None, None), "[::1]", "https://[::1]/a"),
            (to(None, None, Some(80)), "h:99", "http://h:80/a"),
            (to(None, Some("n:1"), None), "h:99", "http://n:1/a"),
            (to(None, Some("n:1"), Some(2)), "h:99", "http://n:1:2/a"),
            (to(Some("ftp"), None, None), "h:80", "ftp://h/a"),
        ] {
            assert_eq!(location(&redirect, &head(authority, "/a")).unwrap(), expected, "{authority}");
        }
    }

    #[test]
    fn a_query_is_kept_stripped_or_replaced_with_the_path() {
        let replaced = |path: &str| RedirectPath::Replaced(path.into());
        let (kept, stripped) = (RedirectQuery::Kept, RedirectQuery::Stripped);
        for (path, query, requested, expected) in [
            (RedirectPath::Kept, kept, "/a?q=1", "http://h/a?q=1"),
            (RedirectPath::Kept, stripped, "/a?q=1", "http://h/a"),
            (replaced("/n"), kept, "/a?q=1", "http://h/n?q=1"),
            (replaced("/n"), stripped, "/a?q=1", "http://h/n"),
            (replaced("/n?x"), kept, "/a?q=1", "http://h/n?x"),
            (replaced("/n?x"), stripped, "/a?q=1", "http://h/n?x"),
            (replaced("n"), kept, "/a", "http://h/n"),
            (replaced("/n#f"), kept, "/a?q", "http://h/n#f?q"),
        ] {
            let redirect = Redirect { path, query, ..Redirect::default() };
            assert_eq!(location(&redirect, &head("h", requested)).unwrap(), expected, "{redirect:?}");
        }
    }

    #[test]
    fn connect_has_no_path_to_be_sent_to() {
        let connect = RequestHead { path: None, ..head("h:1", "/") };
        assert_eq!(location(&Redirect::default(), &connect), None);
        assert_eq!(location_over_tls(&connect), None);
        assert_eq!(location_over_tls(&head("h:80", "/a?q")).unwrap(), "https://h:80/a?q");
    }
}
