//! Tests of heads by header matchers.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};

use super::{Headers, RequestHead};
use crate::config::route::{HeaderMatch, HeaderTest, Missing, Sense};

/// A request's header, where `:authority` (or `host`), `:method` and `:path` are headers too.
#[must_use]
pub(crate) fn header<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    match name {
        ":authority" | "host" => head.authority.as_ref().map(HeaderValue::as_bytes),
        ":method" => Some(head.method.as_str().as_bytes()),
        ":protocol" => head.protocol.as_ref().map(HeaderValue::as_bytes),
        ":scheme" => head.scheme.as_ref().map(HeaderValue::as_bytes),
        ":path" => head.path.as_ref().map(HeaderValue::as_bytes),
        name => head.headers.get_str(name).map(HeaderValue::as_bytes),
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
    let pseudo = if is_pseudo { header(head, name) } else { None };
    let lines = head.headers.iter().filter(move |(other, _)| !is_pseudo && other.as_str() == name);
    pseudo.into_iter().chain(lines.map(|(_, value)| value.as_bytes()))
}

/// The values of a header, with commas between them.
pub(crate) fn joined<'h>(head: &'h RequestHead, name: &'h str) -> Option<Cow<'h, [u8]>> {
    let mut values = values(head, name);
    let first = values.next()?;
    let others: Vec<&[u8]> = values.collect();
    if others.is_empty() {
        return Some(first.into());
    }
    let all: Vec<&[u8]> = std::iter::once(first).chain(others).collect();
    Some(all.join(&b',').into())
}

/// A decimal number, with a sign or without.
fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// What tests of matching begin with.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::config::string_match::{Pattern, StringMatch};

    pub(crate) fn head(path: &'static str, fields: &[(&'static str, &'static str)]) -> RequestHead {
        let mut head = RequestHead { path: Some(HeaderValue::from_static(path)), ..RequestHead::default() };
        for (name, value) in fields {
            head.headers.append(name.parse().unwrap(), HeaderValue::from_static(value));
        }
        head
    }

    pub(crate) fn text(pattern: Pattern) -> StringMatch {
        StringMatch { pattern, ignore_case: false }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{head, text};
    use super::*;
    use crate::config::string_match::Pattern;

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
}
