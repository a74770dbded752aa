//! What a route's match accepts.

use http::header::COOKIE;
use http::{HeaderValue, Method, StatusCode};

use super::chance::Chance;
use crate::codec::{Headers, RequestHead};
use crate::config::route::{
    Condition, CookieMatch, HeaderMatch, HeaderTest, Missing, PathMatch, QueryMatch, QueryTest, Route, Sense,
};

/// Does the route take the request? `path` is its path as far as it counts.
pub(super) fn route_takes(route: &Route, head: &RequestHead, path: &[u8], chance: &Chance<'_>) -> bool {
    route.conditions.iter().all(|condition| holds(condition, head, chance)) && takes(&route.matches, head, path)
}

fn holds(condition: &Condition, head: &RequestHead, chance: &Chance<'_>) -> bool {
    match condition {
        // No client shows a certificate: nothing here ends TLS.
        Condition::ClientCertificate(wanted) => wanted.presented != Some(true) && wanted.validated != Some(true),
        Condition::Cookie(matcher) => cookie_holds(matcher, head),
        Condition::Fraction(fraction) => chance.is_within(fraction),
        Condition::Grpc => head.headers.is_grpc(),
        Condition::Header(matcher) => header_holds(matcher, head),
        Condition::Never => false,
        Condition::Query(matcher) => query_holds(matcher, head),
    }
}

/// Each line of a header is tested by itself. Inverted, none may succeed.
pub(crate) fn header_holds(matcher: &HeaderMatch, head: &RequestHead) -> bool {
    values_hold(matcher, values(head, &matcher.name))
}

/// The same for the headers of a response, where `:status` is one.
pub(crate) fn response_header_holds(matcher: &HeaderMatch, status: StatusCode, headers: &Headers) -> bool {
    let pseudo = (matcher.name == ":status").then(|| status.as_str().as_bytes());
    let lines = headers.iter().filter(|(name, _)| name.as_str() == matcher.name);
    values_hold(matcher, pseudo.into_iter().chain(lines.map(|(_, value)| value.as_bytes())))
}

fn values_hold<'h>(matcher: &HeaderMatch, values: impl Iterator<Item = &'h [u8]>) -> bool {
    let mut values = values.peekable();
    let is_missing = values.peek().is_none();
    let is_absent = is_missing && matcher.missing == Missing::Absent;
    let succeeds = match &matcher.value {
        HeaderTest::Absent => is_absent,
        HeaderTest::Present => !is_absent,
        HeaderTest::Range(_) | HeaderTest::Text(_) if is_absent => return false,
        HeaderTest::Range(range) => values.any(|value| number(value).is_some_and(|number| range.contains(&number))),
        HeaderTest::Text(text) => values.any(|value| text.takes(value)) || (is_missing && text.takes(b"")),
    };
    succeeds == (matcher.sense == Sense::Direct)
}

/// The values of a header, line by line.
fn values<'h>(head: &'h RequestHead, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let is_pseudo = name.starts_with(':') || name == "host";
    let pseudo = if is_pseudo { super::header(head, name) } else { None };
    let lines = head.headers.iter().filter(move |(other, _)| !is_pseudo && other.as_str() == name);
    pseudo.into_iter().chain(lines.map(|(_, value)| value.as_bytes()))
}

/// A decimal number, with a sign or without.
fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
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
    let path = head.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let query = path.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
    let mut parameters = query.split(|byte| *byte == b'&').map(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    let found = parameters.find(|(name, _)| *name == matcher.name.as_bytes());
    match (&matcher.value, found) {
        (QueryTest::Absent, found) => found.is_none(),
        (QueryTest::Present, found) => found.is_some(),
        (QueryTest::Text(text), Some((_, value))) => text.takes(value),
        (QueryTest::Text(_), None) => false,
    }
}

/// Does this match take the request? A plain CONNECT has no path and is taken by [`PathMatch::Connect`] only.
fn takes(matches: &PathMatch, head: &RequestHead, path: &[u8]) -> bool {
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
    use crate::config::string_match::{Pattern, StringMatch};

    fn head(path: &'static str, fields: &[(&'static str, &'static str)]) -> RequestHead {
        let mut head = RequestHead { path: Some(HeaderValue::from_static(path)), ..RequestHead::default() };
        for (name, value) in fields {
            head.headers.append(name.parse().unwrap(), HeaderValue::from_static(value));
        }
        head
    }

    fn text(pattern: Pattern) -> StringMatch {
        StringMatch { pattern, ignore_case: false }
    }

    #[test]
    fn a_header_is_tested_line_by_line() {
        use HeaderTest::{Absent, Present, Range, Text};
        let exact = |wanted: &str| Text(text(Pattern::Exact(wanted.into())));
        let (one, two) = (&["1"][..], &["1", "2"][..]);
        for (value, lines, direct, inverted) in [
            (Present, &[][..], false, true),
            (Present, &[""], true, false),
            (Absent, &[], true, false),
            (Absent, one, false, true),
            (exact("2"), two, true, false),
            (exact("1,2"), two, false, true),
            (exact(""), &[], false, false),
            (Range(1..3), &["3", "+2"], true, false),
            (Range(1..3), &["3"], false, true),
            (Range(1..3), &["0x1"], false, true),
            (Range(1..3), &["02"], true, false),
            (Range(1..3), &[], false, false),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("x", *line)).collect();
            for (sense, expected) in [(Sense::Direct, direct), (Sense::Inverted, inverted)] {
                let matcher = HeaderMatch { name: "x".into(), value: value.clone(), sense, missing: Missing::Absent };
                assert_eq!(header_holds(&matcher, &head("/", &fields)), expected, "{matcher:?} {lines:?}");
            }
        }
    }

    #[test]
    fn a_missing_header_may_count_as_an_empty_one() {
        let empty = text(Pattern::Exact(String::new()));
        for (value, sense, expected) in [
            (HeaderTest::Present, Sense::Direct, true),
            (HeaderTest::Text(empty.clone()), Sense::Direct, true),
            (HeaderTest::Text(empty), Sense::Inverted, false),
            (HeaderTest::Range(0..1), Sense::Direct, false),
            (HeaderTest::Range(0..1), Sense::Inverted, true),
        ] {
            let matcher = HeaderMatch { name: "x".into(), value, sense, missing: Missing::Empty };
            assert_eq!(header_holds(&matcher, &head("/", &[])), expected, "{matcher:?}");
        }
    }

    #[test]
    fn pseudo_headers_are_headers() {
        let request = RequestHead { authority: Some(HeaderValue::from_static("a.test")), ..head("/p", &[]) };
        for (name, wanted) in [(":method", "GET"), (":path", "/p"), (":authority", "a.test"), ("host", "a.test")] {
            let value = HeaderTest::Text(text(Pattern::Exact(wanted.into())));
            let matcher = HeaderMatch { name: name.into(), value, sense: Sense::Direct, missing: Missing::Absent };
            assert!(header_holds(&matcher, &request), "{name}");
        }
    }

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
            assert_eq!(takes(&by_case(true), &head, head.path_only()), expected, "{path}");
        }
        let head = head("/A/b", &[]);
        assert!(!takes(&by_case(true), &head, head.path_only()));
        assert!(takes(&by_case(false), &head, head.path_only()));
    }
}
