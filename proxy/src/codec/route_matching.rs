//! Tests of requests by what a route's match consists of.

use http::header::COOKIE;
use http::{HeaderValue, Method};

use super::RequestHead;
use super::matching::header_holds;
use crate::config::route::{Condition, CookieMatch, Fraction, PathMatch, QueryMatch, QueryTest, Sense};

/// Does the condition hold for the request? `is_within` draws whether a share takes it.
pub(crate) fn condition_holds(
    condition: &Condition,
    head: &RequestHead,
    is_within: impl FnOnce(&Fraction) -> bool,
) -> bool {
    match condition {
        // No client shows a certificate: nothing here ends TLS.
        Condition::ClientCertificate(wanted) => wanted.presented != Some(true) && wanted.validated != Some(true),
        Condition::Cookie(matcher) => cookie_holds(matcher, head),
        Condition::Fraction(fraction) => is_within(fraction),
        Condition::Grpc => head.headers.is_grpc(),
        Condition::Header(matcher) => header_holds(matcher, head),
        Condition::Never => false,
        Condition::Query(matcher) => query_holds(matcher, head),
    }
}

/// RFC 6265 4.2.1, with quotes taken off.
fn cookie_holds(matcher: &CookieMatch, head: &RequestHead) -> bool {
    let pairs = head.headers.get_all(&COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value = pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        let (name, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
        (name == matcher.name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
    });
    let value =
        value.map(|value| value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value));
    value.is_some_and(|value| matcher.value.takes(value)) == (matcher.sense == Sense::Direct)
}

fn query_holds(matcher: &QueryMatch, head: &RequestHead) -> bool {
    match (&matcher.value, query_parameter(head, &matcher.name)) {
        (QueryTest::Absent, found) => found.is_none(),
        (QueryTest::Present, found) => found.is_some(),
        (QueryTest::Text(text), Some(value)) => text.takes(value),
        (QueryTest::Text(_), None) => false,
    }
}

/// The first value of a query parameter, as it stands in the path.
pub(crate) fn query_parameter<'h>(head: &'h RequestHead, name: &str) -> Option<&'h [u8]> {
    let path = head.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let query = path.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
    let mut parameters = query.split(|byte| *byte == b'&').map(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    parameters.find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
}

/// Does a condition hold that is about the head alone? One of another kind does not.
pub(crate) fn condition_of_head_holds(condition: &Condition, head: &RequestHead) -> bool {
    match condition {
        Condition::Header(matcher) => header_holds(matcher, head),
        Condition::Query(matcher) => query_holds(matcher, head),
        Condition::Cookie(_)
        | Condition::ClientCertificate(_)
        | Condition::Fraction(_)
        | Condition::Grpc
        | Condition::Never => false,
    }
}

/// Does this match take the request? A plain CONNECT has no path and is taken by [`PathMatch::Connect`] only.
pub(crate) fn path_takes(matches: &PathMatch, head: &RequestHead, path: &[u8]) -> bool {
    match matches {
        PathMatch::Connect => head.method == Method::CONNECT,
        _ if head.path.is_none() => false,
        PathMatch::Exact { path: wanted, case_sensitive: true } => path == wanted.as_bytes(),
        PathMatch::Exact { path: wanted, case_sensitive: false } => path.eq_ignore_ascii_case(wanted.as_bytes()),
        PathMatch::Prefix { prefix, case_sensitive } => starts_with(path, prefix, *case_sensitive),
        PathMatch::SeparatedPrefix { prefix, case_sensitive } => {
            starts_with(path, prefix, *case_sensitive) && matches!(path.get(prefix.len()), None | Some(b'/'))
        }
        PathMatch::Regex(regex) => std::str::from_utf8(path)
            .is_ok_and(|path| regex.find(path).is_some_and(|found| found.start() == 0 && found.end() == path.len())),
    }
}

fn starts_with(text: &[u8], start: &str, case_sensitive: bool) -> bool {
    let Some(head) = text.get(..start.len()) else { return false };
    if case_sensitive { head == start.as_bytes() } else { head.eq_ignore_ascii_case(start.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::matching::testing::{head, text};
    use crate::config::string_match::Pattern;

    #[test]
    fn a_parameter_is_looked_for_undecoded_and_the_first_counts() {
        use QueryTest::{Absent, Present, Text};
        let exact = |wanted: &str| Text(text(Pattern::Exact(wanted.into())));
        for (value, path, expected) in [
            (Present, "/?b&a", true),
            (Present, "/?b;a", false),
            (Present, "/a", false),
            (Absent, "/?a=1", false),
            (Absent, "/", true),
            (exact(""), "/?a", true),
            (exact(""), "/?", false),
            (exact("1=2"), "/?a=1=2", true),
            (exact("1"), "/?a=2&a=1", false),
            (exact("1"), "/?a=%31", false),
            (exact("?"), "/?a=?", true),
        ] {
            let matcher = QueryMatch { name: "a".into(), value };
            assert_eq!(query_holds(&matcher, &head(path, &[])), expected, "{matcher:?} {path}");
        }
    }

    #[test]
    fn the_first_cookie_of_a_name_counts() {
        let exact = |sense| CookieMatch { name: "a".into(), value: text(Pattern::Exact("b".into())), sense };
        for (lines, expected) in [
            (&["a=b"][..], true),
            (&["x=y; a=b"], true),
            (&["x=y", "a=b"], true),
            (&["a=\"b\""], true),
            (&["a=c; a=b"], false),
            (&["xa=b"], false),
            (&["a"], false),
            (&[], false),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            let head = head("/", &fields);
            assert_eq!(cookie_holds(&exact(Sense::Direct), &head), expected, "{lines:?}");
            assert_eq!(cookie_holds(&exact(Sense::Inverted), &head), !expected, "{lines:?}");
        }
    }

    #[test]
    fn a_separated_prefix_ends_at_a_slash() {
        let by_case = |case_sensitive| PathMatch::SeparatedPrefix { prefix: "/a".into(), case_sensitive };
        for (path, expected) in [("/a", true), ("/a/", true), ("/a?b", true), ("/ab", false), ("/a;b", false)] {
            let head = head(path, &[]);
            assert_eq!(path_takes(&by_case(true), &head, head.path_only()), expected, "{path}");
        }
        let head = head("/A/b", &[]);
        assert!(!path_takes(&by_case(true), &head, head.path_only()));
        assert!(path_takes(&by_case(false), &head, head.path_only()));
    }
}
