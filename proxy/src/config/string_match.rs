//! `envoy.type.matcher.v3.StringMatcher`: a test of a text.

/// A test of a text.
#[derive(Clone, Debug)]
pub struct StringMatch {
    /// What is looked for.
    pub pattern: Pattern,
    /// Letters are compared ignoring case (ASCII). A regular expression decides for itself.
    pub ignore_case: bool,
}

/// What a [`StringMatch`] looks for.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This, anywhere.
    Contains(String),
    /// This, and nothing else.
    Exact(String),
    /// This at the beginning.
    Prefix(String),
    /// The whole text.
    Regex(regex::Regex),
    /// This at the end.
    Suffix(String),
}

impl StringMatch {
    /// Does it take `text`?
    #[must_use]
    pub fn takes(&self, text: &[u8]) -> bool {
        let same = |part: &[u8], wanted: &str| match self.ignore_case {
            true => part.eq_ignore_ascii_case(wanted.as_bytes()),
            false => part == wanted.as_bytes(),
        };
        match &self.pattern {
            Pattern::Contains(wanted) => text.windows(wanted.len().max(1)).any(|part| same(part, wanted)),
            Pattern::Exact(wanted) => same(text, wanted),
            Pattern::Prefix(wanted) => text.get(..wanted.len()).is_some_and(|part| same(part, wanted)),
            Pattern::Regex(regex) => std::str::from_utf8(text).is_ok_and(|text| {
                regex.find(text).is_some_and(|found| found.start() == 0 && found.end() == text.len())
            }),
            Pattern::Suffix(wanted) => {
                let from = text.len().checked_sub(wanted.len());
                from.and_then(|from| text.get(from..)).is_some_and(|part| same(part, wanted))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_takes_its_part_of_the_text() {
        let regex = regex::Regex::new("TLS/1\\.[23]").unwrap();
        for (pattern, taken, left) in [
            (Pattern::Contains("S/1".into()), "TLS/1.2", "TLS/2"),
            (Pattern::Exact("foo".into()), "foo", "foobar"),
            (Pattern::Prefix("TLS/".into()), "TLS/1.2", "xTLS/1.2"),
            (Pattern::Regex(regex), "TLS/1.2", "TLS/1.2.3"),
            (Pattern::Suffix("1.2".into()), "TLS/1.2", "1.2x"),
        ] {
            let by_case = StringMatch { pattern: pattern.clone(), ignore_case: false };
            assert!(by_case.takes(taken.as_bytes()) && !by_case.takes(left.as_bytes()), "{pattern:?}");
            assert!(!by_case.takes(b""), "{pattern:?}");
            let is_regex = matches!(pattern, Pattern::Regex(_));
            let ignoring = StringMatch { pattern, ignore_case: true };
            assert!(is_regex || ignoring.takes(taken.to_ascii_lowercase().as_bytes()));
        }
    }
}
