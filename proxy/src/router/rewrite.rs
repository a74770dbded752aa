//! What rewrites make of a request's host and path.
//!
//! Whatever comes out can be read as a request again: a path begins with a slash, and what is no host does not become one.

use http::HeaderValue;

use crate::access_log::StreamInfo;
use crate::access_log::format::{Heads, header_value};
use crate::codec::head::is_joined_in_requests;
use crate::codec::matching::header;
use crate::codec::{RequestHead, names};
use crate::config::filter::RouterOptions;
use crate::config::rewrite::{ForwardedHost, NewHost, PathRewrite, Rewrites, is_host, is_part_of_target};
use crate::config::route::PathMatch;

/// Rewrites the target of a request that is forwarded. The host first, which may come from the path.
pub(crate) fn target(
    rewrites: &Rewrites,
    matches: &PathMatch,
    router: &RouterOptions,
    request: &mut RequestHead,
    info: &StreamInfo,
) {
    if let Some(rewrite) = &rewrites.host
        && let Some(new) = new_host(&rewrite.host, request, info)
    {
        set_host(new, rewrite.forwarded_host, router, request);
    }
    if let Some(rewrite) = &rewrites.path {
        rewrite_path(rewrite, matches, router, request, info);
    }
}

/// Gives a request another host, and adds the former one as a header.
pub(crate) fn set_host(
    new: HeaderValue,
    forwarded_host: ForwardedHost,
    router: &RouterOptions,
    request: &mut RequestHead,
) {
    let Some(old) = request.authority.replace(new) else { return };
    if !router.suppress_envoy_headers {
        request.headers.set(names::X_ENVOY_ORIGINAL_HOST.clone(), old.clone());
    }
    if forwarded_host == ForwardedHost::Appended {
        let last = request
            .headers
            .get(&names::X_FORWARDED_HOST)
            .and_then(|list| list.as_bytes().rsplit(|byte| *byte == b',').next());
        if last != Some(old.as_bytes()) {
            request.headers.append_or_join(&names::X_FORWARDED_HOST, old, is_joined_in_requests);
        }
    }
}

/// The new host, if there is one.
fn new_host(from: &NewHost, request: &RequestHead, info: &StreamInfo) -> Option<HeaderValue> {
    let found = match from {
        NewHost::Endpoint => return None, // which endpoint it is, is not known yet
        NewHost::Format(format) => {
            HeaderValue::from_bytes(&header_value(format, Heads::of_request(request), info)).ok()
        }
        NewHost::Header(name) => header(request, name).and_then(|host| HeaderValue::from_bytes(host).ok()),
        NewHost::Literal(host) => return Some(host.clone()),
        NewHost::Path(rewrite) => {
            let path = std::str::from_utf8(request.path_only()).ok()?;
            HeaderValue::from_str(&rewrite.replace_all(path)).ok()
        }
    };
    found.filter(|host| is_host(host.as_bytes()))
}

/// Rewrites a request's path, and adds the former one as a header.
pub(crate) fn rewrite_path(
    rewrite: &PathRewrite,
    matches: &PathMatch,
    router: &RouterOptions,
    request: &mut RequestHead,
    info: &StreamInfo,
) {
    let Some(before) = &request.path else { return };
    let after = match rewrite {
        PathRewrite::Format(format) => {
            let made = header_value(format, Heads::of_request(request), info);
            match replaced_whole(&made, before) {
                Some(after) => Some(after),
                None => return,
            }
        }
        // A route that ignores path parameters may take a path that does not begin with its prefix.
        PathRewrite::Prefix(_) if !begins(before.as_bytes(), matches) => return,
        PathRewrite::Prefix(_) | PathRewrite::Regex(_) => path(rewrite, matches, before),
    };
    if !router.suppress_envoy_headers {
        request.headers.set(names::X_ENVOY_ORIGINAL_PATH.clone(), before.clone());
    }
    if after.is_some() {
        request.path = after;
    }
}

/// `path` with `made` in its place, before its query. `None`: the path stays, since nothing or no part of a target was made.
fn replaced_whole(made: &[u8], path: &HeaderValue) -> Option<HeaderValue> {
    if made.is_empty() || !is_part_of_target(made) {
        return None;
    }
    let query = path.as_bytes().iter().position(|byte| *byte == b'?').and_then(|at| path.as_bytes().get(at..));
    let slash: &[u8] = if made.starts_with(b"/") { b"" } else { b"/" };
    HeaderValue::from_bytes(&[slash, made, query.unwrap_or_default()].concat()).ok()
}

/// `path` after a rewrite of a route that takes requests by `matches`. The query stays as it came.
///
/// `None`: the path stays. A regular expression is looked for in text, so a path that is not UTF-8 stays.
fn path(rewrite: &PathRewrite, matches: &PathMatch, path: &HeaderValue) -> Option<HeaderValue> {
    let bytes = path.as_bytes();
    let whole = bytes.iter().position(|byte| *byte == b'?').unwrap_or(bytes.len());
    let (replaced, with) = match rewrite {
        PathRewrite::Prefix(with) => (matched(matches, whole), with.as_str().into()),
        PathRewrite::Format(_) => return None,
        PathRewrite::Regex(rewrite) => {
            let text = std::str::from_utf8(bytes.get(..whole)?).ok()?;
            (whole, rewrite.replace_all(text))
        }
    };
    // Envoy sends such a path without its slash, which no server takes (RFC 9112 3.2.1).
    let slash: &[u8] = if with.starts_with('/') { b"" } else { b"/" };
    HeaderValue::from_bytes(&[slash, with.as_bytes(), bytes.get(replaced..)?].concat()).ok()
}

/// How long the part of a path is that `matches` takes, if the path without its query has `whole` bytes.
fn matched(matches: &PathMatch, whole: usize) -> usize {
    match matches {
        PathMatch::Connect | PathMatch::Regex(_) => whole,
        PathMatch::Exact { path: prefix, .. }
        | PathMatch::Prefix { prefix, .. }
        | PathMatch::SeparatedPrefix { prefix, .. } => prefix.len(),
    }
}

/// Does a path begin with what `matches` names?
fn begins(path: &[u8], matches: &PathMatch) -> bool {
    match matches {
        PathMatch::Connect | PathMatch::Regex(_) => true,
        PathMatch::Exact { path: prefix, .. }
        | PathMatch::Prefix { prefix, .. }
        | PathMatch::SeparatedPrefix { prefix, .. } => {
            path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access_log::Downstream;
    use crate::codec::http1::sent_and_read;
    use crate::config::log_format::Format;
    use crate::config::rewrite::{HostRewrite, Piece, RegexRewrite, Substitution};
    use crate::net::Address;

    fn info() -> StreamInfo {
        let here = Address::Socket("127.0.0.1:80".parse().unwrap());
        let downstream = Downstream::new(1, here.clone(), here);
        StreamInfo::new(tokio::time::Instant::now(), std::time::SystemTime::UNIX_EPOCH, std::rc::Rc::new(downstream))
    }

    #[test]
    fn a_prefix_rewrite_replaces_what_was_matched() {
        let prefix = |prefix: &str| PathMatch::Prefix { prefix: prefix.into(), case_sensitive: false };
        let exact = PathMatch::Exact { path: "/a/b".into(), case_sensitive: true };
        for (matches, with, before, after) in [
            (prefix("/a"), "/n", "/a/b?q=1", "/n/b?q=1"),
            (prefix("/a"), "/", "/A/b", "//b"),
            (prefix("/a"), "/n?x", "/ab?q", "/n?xb?q"),
            (PathMatch::SeparatedPrefix { prefix: "/a".into(), case_sensitive: true }, "/n", "/a/b?q", "/n/b?q"),
            (exact, "/n", "/a/b?q", "/n?q"),
            (PathMatch::Regex(regex::Regex::new("/a.*").unwrap()), "/n", "/a/b?q", "/n?q"),
        ] {
            let rewritten = path(&PathRewrite::Prefix(with.into()), &matches, &HeaderValue::from_static(before));
            assert_eq!(rewritten.unwrap(), after, "{before}");
        }
    }

    #[test]
    fn a_regex_rewrite_replaces_every_match_before_the_query() {
        let matches = PathMatch::Prefix { prefix: "/".into(), case_sensitive: true };
        let literal = |text: &str| Piece::Literal(text.into());
        for (pattern, pieces, before, after) in [
            ("a", vec![literal("b")], "/a/xa?a", "/b/xb?a"),
            ("^/(.*)/(.*)$", vec![literal("/"), Piece::Group(2), literal("/"), Piece::Group(1)], "/1/2?q", "/2/1?q"),
            ("z", vec![literal("b")], "/a", "/a"),
            ("^/a", vec![], "/a?q", "/?q"),
            ("^/a/", vec![], "/a/b", "/b"),
            ("(x)?/", vec![Piece::Group(1), literal("/n/")], "/a", "/n/a"),
        ] {
            let pattern = regex::Regex::new(pattern).unwrap();
            let rewrite = PathRewrite::Regex(RegexRewrite { pattern, substitution: Substitution(pieces) });
            assert_eq!(path(&rewrite, &matches, &HeaderValue::from_static(before)).unwrap(), after, "{before}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_rewritten_is_a_request_again(
            path in "/[!-~&&[^#]]{0,20}",
            literal in "[!-~&&[^#]]{0,6}",
            pattern in prop::sample::select(&[".*", "^/", "(/[^/]*)", "[a-z]*", "(.)(.)", "$", "/a|b"][..]),
            from_header in "[ -~]{0,10}",
            which in 0..4_usize,
        ) {
            let pattern = regex::Regex::new(pattern).unwrap();
            let group = Piece::Group(pattern.captures_len() - 1);
            let substitution = Substitution(vec![Piece::Literal(literal.clone()), group]);
            let regex = RegexRewrite { pattern, substitution };
            let mut request = RequestHead {
                authority: Some(HeaderValue::from_static("a.test")),
                path: Some(HeaderValue::from_str(&path).unwrap()),
                ..RequestHead::default()
            };
            request.headers.append("x-host".parse().unwrap(), HeaderValue::from_str(&from_header).unwrap());
            let (host, path) = match which {
                0 => (NewHost::Header("x-host".into()), PathRewrite::Regex(regex)),
                1 => (NewHost::Path(regex), PathRewrite::Prefix(format!("/{literal}"))),
                2 => {
                    let format = Format::parse_header_value("%REQ(x-host)%").unwrap();
                    (NewHost::Format(format.clone()), PathRewrite::Format(format))
                }
                _ => (NewHost::Path(regex.clone()), PathRewrite::Regex(regex)),
            };
            let host = HostRewrite { host, forwarded_host: ForwardedHost::Appended };
            let rewrites = Rewrites { host: Some(host), path: Some(path) };
            let matches = PathMatch::Prefix { prefix: "/".into(), case_sensitive: true };
            target(&rewrites, &matches, &RouterOptions::default(), &mut request, &info());
            let again = sent_and_read(&request).map(|again| (again.authority, again.path));
            prop_assert_eq!(again, Some((request.authority, request.path)));
        }
    }
}
