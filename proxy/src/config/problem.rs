//! What is wrong, while it is still being found out where.
//!
//! Decoding and interpretation fail with a [`Problem`]; the file's name and the excerpt are added once, at the front
//! door, when it becomes a [`ConfigError`](super::ConfigError).

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::error::{Cause, ConfigError, Name, Place};

/// A cause on its way out. The innermost caller that knows the place fills it in.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) place: Option<Place>,
    pub(super) cause: Box<Cause>,
}

impl Problem {
    /// `cause` at `place`.
    pub(super) fn at(place: &Place, cause: Cause) -> Self {
        Self { place: Some(place.clone()), cause: Box::new(cause) }
    }

    /// A rule that is broken at `place`.
    pub(super) fn invalid(place: &Place, what: impl Into<String>) -> Self {
        Self::at(place, Cause::Invalid { what: what.into(), remedy: None })
    }

    /// The same for the author of `file`, whose content is `text`.
    pub(super) fn error(self, file: &str, text: &str) -> ConfigError {
        ConfigError::one(self.place, self.cause, file, text)
    }

    /// Fills in the place if a more exact one is not known yet.
    pub(super) fn or_at(mut self, place: impl FnOnce() -> Place) -> Self {
        self.place.get_or_insert_with(place);
        self
    }
}

/// The problems of `file`, whose content is `text`, for its author.
pub(super) fn error(problems: Vec<Problem>, file: &str, text: &str) -> ConfigError {
    ConfigError::all(problems.into_iter().map(|problem| problem.error(file, text)))
}

impl From<Cause> for Problem {
    fn from(cause: Cause) -> Self {
        Self { place: None, cause: Box::new(cause) }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

// Unknown fields and variants do not come this way: the decoder finds them first, and knows more about them.
impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Cause::Invalid { what: message.to_string(), remedy: None }.into()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, which describes itself")]
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // Names of Rust types, as an operator would put them.
        let expected = match expected.to_string().as_str() {
            "u16" => "a number from 0 to 65535".to_owned(),
            "u32" => "a number from 0 to 4294967295".to_owned(),
            other => other.to_owned(),
        };
        let found = match unexpected {
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Unsigned(number) => format!("the number {number}"),
            other => other.to_string(),
        };
        Cause::WrongType { expected, found }.into()
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Cause::Missing { field }.into()
    }
}

/// The cause for `written`, which stands where only the names in `known` are known.
pub(super) fn unknown(name: Name, written: &str, known: &[&'static str]) -> Cause {
    Cause::Unknown { name, nearest: nearest(written, known), known: known.to_vec() }
}

/// Most letters in which a misspelling differs from the word that was meant.
const MISTAKES_MAX: usize = 4;

/// The entry of `known` that `name` is most likely a misspelling of.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    // No distance is smaller than the difference of the lengths, and a key of the file may have any length.
    let length = name.chars().count();
    let similar = known.iter().filter(|word| word.chars().count().abs_diff(length) <= MISTAKES_MAX);
    let (distance, near) = similar.map(|word| (distance(name, word), *word)).min()?;
    // One mistake in five letters, and never so many that one type is offered for another.
    (distance <= (1 + name.len() / 5).min(MISTAKES_MAX)).then_some(near)
}

/// Levenshtein's distance between two names, compared ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(!from.eq_ignore_ascii_case(to));
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_near() {
        let known = ["lb_policy", "load_assignment", "name"];
        for (name, near) in [
            ("lb_polcy", Some("lb_policy")),
            ("LB_POLICY", Some("lb_policy")),
            ("load_asignment", Some("load_assignment")),
            ("nme", Some("name")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), near, "{name}");
        }
    }
}
