//! Hosts and paths in one form, before routes are matched: what the configuration sets for ports, dots, slashes and escapes.
//!
//! Pure. By the rules of Envoy, which are those of browsers.

use http::HeaderValue;

use crate::codec::RequestHead;
use crate::config::normalisation::{EscapedSlashes, HostPort, Normalisation, PathForm, Slashes, TrailingDot};
use crate::router::port_at;

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// Its path has no normal form, or one that is not permitted.
    Malformed,
    /// The client shall request the path that the request has now.
    Redirected,
}

/// Brings the path of a request into its form.
///
/// # Errors
/// The request has no other response.
pub(super) fn path(rules: &Normalisation, request: &mut RequestHead) -> Result<(), Refused> {
    let acts = rules.escaped_slashes != EscapedSlashes::Kept
        || rules.path != PathForm::AsReceived
        || rules.slashes != Slashes::Kept;
    let Some(before) = request.path.as_ref().filter(|_| acts) else { return Ok(()) };
    let whole = before.as_bytes();
    let query_at = whole.iter().position(|byte| *byte == b'?').unwrap_or(whole.len());
    let (path, query) = whole.split_at_checked(query_at).unwrap_or((whole, b""));
    let unescaped = if rules.escaped_slashes == EscapedSlashes::Kept { None } else { unescape_slashes(path) };
    let mut result = match (rules.escaped_slashes, &unescaped) {
        (EscapedSlashes::Redirected, Some(_)) => Err(Refused::Redirected),
        (EscapedSlashes::Refused, Some(_)) => Err(Refused::Malformed),
        _ => Ok(()),
    };
    let mut path = unescaped.unwrap_or_else(|| path.to_owned());
    if result != Err(Refused::Malformed) {
        if rules.path == PathForm::Normalised {
            match normalise(&path) {
                Some(normal) => path = normal,
                None => result = Err(Refused::Malformed),
            }
        }
        if rules.slashes == Slashes::Merged {
            path = merge_slashes(path);
        }
    }
    path.extend_from_slice(query);
    // Whatever was changed is ASCII and visible.
    request.path = Some(HeaderValue::from_bytes(&path).map_err(|_| Refused::Malformed)?);
    result
}

/// Brings the host of a request that came to `port` into its form.
pub(super) fn host(rules: &Normalisation, port: Option<u16>, request: &mut RequestHead) {
    if rules.trailing_dot == TrailingDot::Kept && rules.port == HostPort::Kept {
        return;
    }
    let Some(before) = &request.authority else { return };
    let mut host = before.as_bytes().to_owned();
    if rules.trailing_dot == TrailingDot::Stripped
        && let Some(dot) = host.iter().rposition(|byte| *byte == b'.')
        && matches!(host.get(dot + 1), None | Some(b':'))
    {
        host.remove(dot);
    }
    let is_stripped = |stated: u32| match rules.port {
        HostPort::Kept => false,
        HostPort::StrippedIfOurs => port.map(u32::from) == Some(stated),
        HostPort::Stripped => true,
    };
    if let Some(at) = port_at(&host)
        && let Some(stated) = number(host.get(at + 1..).unwrap_or_default())
        && is_stripped(stated)
    {
        host.truncate(at);
    }
    if host != before.as_bytes() {
        // A part of a value is a value.
        request.authority = HeaderValue::from_bytes(&host).ok();
    }
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `%2F` and `%5C` as what they stand for; `None` if there is none.
fn unescape_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut unescaped = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let slash = escaped(rest).filter(|byte| matches!(byte, b'/' | b'\\'));
        unescaped.push(slash.unwrap_or(*first));
        rest = if slash.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    (unescaped.len() < path.len()).then_some(unescaped)
}

/// The byte for which an escape at the beginning of `text` stands.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}

/// The normal form of a path without a query; `None` for one with an escaped NUL.
fn normalise(path: &[u8]) -> Option<Vec<u8>> {
    let mut normal: Vec<u8> = Vec::with_capacity(path.len());
    let segments = path.split(|byte| *byte == b'/').skip(1).map(without_parameters);
    let mut segments = segments.flat_map(|segment| segment.split(|byte| *byte == b'\\')).peekable();
    while let Some(segment) = segments.next() {
        let begin = normal.len();
        normal.push(b'/');
        put_normal(segment, &mut normal)?;
        let up = match normal.get(begin..) {
            Some(b"/.") => begin,
            Some(b"/..") => {
                let before = normal.get(..begin).unwrap_or_default();
                before.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
            }
            Some(_) | None => continue,
        };
        normal.truncate(up);
        if segments.peek().is_none() {
            normal.push(b'/');
        }
    }
    Some(normal)
}

/// A segment without the parameters (`;a=b`) of a `.` or a `..` that is written as such, where they mean nothing.
fn without_parameters(segment: &[u8]) -> &[u8] {
    match segment.split(|byte| *byte == b';').next() {
        Some(name @ (b"." | b"..")) => name,
        Some(_) | None => segment,
    }
}

/// Adds a segment: without escapes of characters that need none, with escapes of those that should have one.
fn put_normal(segment: &[u8], normal: &mut Vec<u8>) -> Option<()> {
    let mut rest = segment;
    while let [first, tail @ ..] = rest {
        let unescaped = escaped(rest);
        rest = tail;
        match (unescaped, first) {
            (Some(0), _) => return None,
            (Some(byte), _) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (_, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..) => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let digit = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
                normal.extend_from_slice(&[b'%', digit(first >> 4), digit(first & 15)]);
            }
            (_, byte) => normal.push(*byte),
        }
    }
    Some(())
}

/// Envoy's rule, by which a path of nothing but slashes keeps two.
fn merge_slashes(path: Vec<u8>) -> Vec<u8> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path;
    }
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).collect();
    let end: &[u8] = if path.ends_with(b"/") { b"/" } else { b"" };
    [b"/", &segments.join(&b'/')[..], end].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NORMALISED: Normalisation = Normalisation {
        escaped_slashes: EscapedSlashes::Kept,
        path: PathForm::Normalised,
        slashes: Slashes::Kept,
        port: HostPort::Kept,
        trailing_dot: TrailingDot::Kept,
    };

    fn request(authority: &str, path: &str) -> RequestHead {
        RequestHead {
            authority: HeaderValue::from_str(authority).ok(),
            path: HeaderValue::from_str(path).ok(),
            ..RequestHead::default()
        }
    }

    fn after(rules: &Normalisation, before: &str) -> (Result<(), Refused>, String) {
        let mut request = request("a.test", before);
        let result = path(rules, &mut request);
        (result, String::from_utf8_lossy(request.path.unwrap().as_bytes()).into_owned())
    }

    #[test]
    fn a_path_gets_the_normal_form_that_envoy_gives_it() {
        for (before, expected) in [
            ("/a/../b", "/b"),
            ("/../b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/...", "/..."),
            ("/a/..b/c../d", "/a/..b/c../d"),
            ("//a//../b", "//a/b"),
            ("/a//../../b", "/b"),
            ("/a\\b", "/a/b"),
            ("/a/\\../b", "/a/b"),
            ("/a/..\\b", "/b"),
            ("/a/%5c../b", "/a/%5c../b"),
            ("/a;x/../b", "/b"),
            ("/a/..;/b", "/b"),
            ("/a/..;x", "/"),
            ("/a/.;/b", "/a/b"),
            ("/a/%2e%2e;/b", "/a/..;/b"),
            ("/a/..;\\b", "/"),
            ("/;/a", "/;/a"),
            ("/a?x=/../y", "/a?x=/../y"),
            ("/a%zz/..", "/"),
            ("/a%aZ%2", "/a%aZ%2"),
            ("/%25%32%65%7E%2d", "/%252e~-"),
            ("/%41%", "/A%"),
            ("/a/%2e%2e%2fb", "/a/..%2fb"),
            ("/\"<>^`{|}", "/%22%3C%3E%5E%60%7B%7C%7D"),
            ("/!$&'()*+,:;=@[]", "/!$&'()*+,:;=@[]"),
            ("/", "/"),
        ] {
            assert_eq!(after(&NORMALISED, before), (Ok(()), expected.to_owned()), "{before}");
        }
        assert_eq!(after(&NORMALISED, "/a%00").0, Err(Refused::Malformed));
    }

    #[test]
    fn escaped_slashes_come_first_and_merged_slashes_last() {
        let rules = |escaped_slashes, path, slashes| Normalisation { escaped_slashes, path, slashes, ..NORMALISED };
        use EscapedSlashes::{Kept, Redirected, Refused as Never, Unescaped};
        use PathForm::{AsReceived, Normalised};
        for (rules, before, result, expected) in [
            (rules(Unescaped, AsReceived, Slashes::Kept), "/a%2f%2Fb%5C?x=%2f", Ok(()), "/a//b\\?x=%2f"),
            (rules(Unescaped, Normalised, Slashes::Merged), "/a%5Cb%2f../c%2f%2f", Ok(()), "/a/c/"),
            (rules(Redirected, AsReceived, Slashes::Merged), "/a//b", Ok(()), "/a/b"),
            (rules(Redirected, Normalised, Slashes::Kept), "/a/..%2fb", Err(Refused::Redirected), "/b"),
            (rules(Redirected, Normalised, Slashes::Kept), "/a%2f%00", Err(Refused::Malformed), "/a/%00"),
            (rules(Never, AsReceived, Slashes::Kept), "/a%2fb", Err(Refused::Malformed), "/a/b"),
            (rules(Never, AsReceived, Slashes::Kept), "/a%252fb?%2f", Ok(()), "/a%252fb?%2f"),
            (rules(Kept, AsReceived, Slashes::Merged), "//a//b///?x=//", Ok(()), "/a/b/?x=//"),
            (rules(Kept, AsReceived, Slashes::Merged), "//", Ok(()), "//"),
            (rules(Kept, AsReceived, Slashes::Kept), "//a%2f/../", Ok(()), "//a%2f/../"),
        ] {
            assert_eq!(after(&rules, before), (result, expected.to_owned()), "{before} by {rules:?}");
        }
    }

    #[test]
    fn ports_and_dots_go_where_they_are_not_wanted() {
        use HostPort::{Kept, Stripped, StrippedIfOurs};
        let dot = TrailingDot::Stripped;
        for (port, trailing_dot, before, expected) in [
            (Kept, TrailingDot::Kept, "a.test.:80", "a.test.:80"),
            (Stripped, TrailingDot::Kept, "a.test:9", "a.test"),
            (Stripped, TrailingDot::Kept, "a.test:", "a.test:"),
            (Stripped, TrailingDot::Kept, "a.test:abc", "a.test:abc"),
            (Stripped, TrailingDot::Kept, "[::1]:9", "[::1]"),
            (Stripped, TrailingDot::Kept, "[::1]", "[::1]"),
            (StrippedIfOurs, TrailingDot::Kept, "a.test:80", "a.test"),
            (StrippedIfOurs, TrailingDot::Kept, "a.test:81", "a.test:81"),
            (Kept, dot, "a.test.", "a.test"),
            (Kept, dot, "a.test.:80", "a.test:80"),
            (Kept, dot, "a.test..", "a.test."),
            (Kept, dot, "a.test:80.", "a.test:80"),
            (Stripped, dot, "a.test.:80", "a.test"),
        ] {
            let mut request = request(before, "/");
            host(&Normalisation { port, trailing_dot, ..NORMALISED }, Some(80), &mut request);
            assert_eq!(request.authority.unwrap(), expected, "{before}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_has_no_segment_of_dots(before in "(/[a.;%2e\\\\/x]{0,6}){1,5}") {
            let (result, once) = after(&NORMALISED, &before);
            prop_assert_eq!(result, Ok(()));
            prop_assert!(once.starts_with('/'));
            prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."), "{}", once);
        }
    }
}
