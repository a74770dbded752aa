//! How the names of header fields are read and written over HTTP/1, typed.

/// In which letters names are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NameCase {
    /// As they came, where that is known; all others in lower case. `preserve_case`
    AsReceived,
    /// In lower case.
    #[default]
    Lower,
    /// With a capital at the beginning and behind whatever is no letter and no digit. `proper_case_words`
    Words,
}

/// What becomes of a request, or of a field of it, whose name has an underscore: some servers take it for a dash.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Underscores {
    /// The field is passed on.
    #[default]
    Allowed,
    /// The field is left out.
    Dropped,
    /// The request is refused.
    Refused,
}

/// `enable_trailers`: what becomes of trailers over HTTP/1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TrailerRule {
    /// They are left out, as Envoy does by default.
    #[default]
    Dropped,
    /// They are passed on: those of messages that are read, and those of messages that are written.
    Passed,
}
