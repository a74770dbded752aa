//! The letters in which names of header fields are written over HTTP/1: names are compared ignoring case (RFC 9110 5.1), but some
//! old peers do not.

use crate::config::header_names::NameCase;

/// Names as they came, of those that did not come in lower case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Spelling(Vec<Box<str>>);

impl Spelling {
    /// Adds a name that came; the first form of a name is kept.
    pub(super) fn note(&mut self, name: &str) {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) && self.find(name).is_none() {
            self.0.push(name.into());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How this name came.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|known| known.eq_ignore_ascii_case(name)).map(|known| &**known)
    }
}

/// Writes a name, which is in lower case, to `out`.
pub(super) fn put(name: &str, case: NameCase, spelling: Option<&Spelling>, mut out: impl FnMut(&[u8])) {
    if let Some(spelled) = spelling.and_then(|spelling| spelling.find(name)) {
        return out(spelled.as_bytes());
    }
    match case {
        NameCase::AsReceived | NameCase::Lower => out(name.as_bytes()),
        NameCase::Words => {
            let mut begins = true;
            for byte in name.bytes() {
                out(&[if begins { byte.to_ascii_uppercase() } else { byte }]);
                begins = !byte.is_ascii_alphanumeric();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_the_configured_case() {
        let mut spelling = Spelling::default();
        ["hOsT", "HOST", "x-a"].iter().for_each(|name| spelling.note(name));
        for (name, case, kept, expected) in [
            ("x-envoy-expected-rq-timeout-ms", NameCase::Words, None, "X-Envoy-Expected-Rq-Timeout-Ms"),
            ("content-md5", NameCase::Words, None, "Content-Md5"),
            ("x_y", NameCase::Words, None, "X_Y"),
            ("x-a", NameCase::Lower, None, "x-a"),
            ("host", NameCase::AsReceived, Some(&spelling), "hOsT"),
            ("x-a", NameCase::AsReceived, Some(&spelling), "x-a"),
            ("date", NameCase::AsReceived, Some(&spelling), "date"),
        ] {
            let mut out = Vec::new();
            put(name, case, kept, |bytes| out.extend_from_slice(bytes));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
