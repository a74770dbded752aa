//! What a rewrite makes of a path.

use http::HeaderValue;

use crate::config::rewrite::PathRewrite;
use crate::config::route::PathMatch;

/// `path` after a rewrite of a route that takes requests by `matches`. The query stays as it came.
///
/// `None`: the path stays. A regular expression is looked for in text, so a path that is not UTF-8 stays.
pub(crate) fn path(rewrite: &PathRewrite, matches: &PathMatch, path: &HeaderValue) -> Option<HeaderValue> {
    let bytes = path.as_bytes();
    let whole = bytes.iter().position(|byte| *byte == b'?').unwrap_or(bytes.len());
    let (replaced, with) = match rewrite {
        PathRewrite::Prefix(with) => (matched(matches, whole), with.as_str().into()),
        PathRewrite::Regex(rewrite) => {
            let text = std::str::from_utf8(bytes.get(..whole)?).ok()?;
            (whole, rewrite.replace_all(text))
        }
    };
    HeaderValue::from_bytes(&[with.as_bytes(), bytes.get(replaced..)?].concat()).ok()
}

/// How long the part of a path is that `matches` takes, if the path without its query has `whole` bytes.
fn matched(matches: &PathMatch, whole: usize) -> usize {
    match matches {
        PathMatch::Connect | PathMatch::Exact { .. } | PathMatch::Regex(_) => whole,
        PathMatch::Prefix { prefix, .. } => prefix.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rewrite::{Piece, RegexRewrite, Substitution};

    #[test]
    fn a_prefix_rewrite_replaces_what_was_matched() {
        let prefix = |prefix: &str| PathMatch::Prefix { prefix: prefix.into(), case_sensitive: false };
        let exact = PathMatch::Exact { path: "/a/b".into(), case_sensitive: true };
        for (matches, with, before, after) in [
            (prefix("/a"), "/n", "/a/b?q=1", "/n/b?q=1"),
            (prefix("/a"), "/", "/A/b", "//b"),
            (prefix("/a"), "/n?x", "/ab?q", "/n?xb?q"),
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
            ("(x)?/", vec![Piece::Group(1), literal("/n/")], "/a", "/n/a"),
        ] {
            let pattern = regex::Regex::new(pattern).unwrap();
            let rewrite = PathRewrite::Regex(RegexRewrite { pattern, substitution: Substitution(pieces) });
            assert_eq!(path(&rewrite, &matches, &HeaderValue::from_static(before)).unwrap(), after, "{before}");
        }
    }
}
