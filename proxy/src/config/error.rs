//! What is wrong with a configuration, said so that the reader can fix it: file, line, path, cause, excerpt, remedy.

use std::fmt::{self, Write as _};

/// Why a configuration was not accepted. Its `Display` is a complete message for people, of several lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The file, as named by the caller.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What is wrong there.
    pub cause: Cause,
    /// The line it is about, with a mark under the column; empty where there is no such line.
    excerpt: String,
}

/// Something that was accepted, but that its author should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// The file, as named by the caller.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What to know.
    pub text: String,
}

/// Where something stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// `static_resources.clusters[0].name`; empty for the whole file.
    pub path: String,
    /// Line and column, where known.
    pub at: Option<Position>,
}

/// Line and column, both counted from one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// A value that its field does not take, or that does not fit the rest of the file.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
        /// What to do, if there is one thing to do.
        remedy: Option<String>,
    },
    /// A field that must be there is not.
    #[error("`{field}` is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A spelling of an earlier generation of the API.
    #[error("`{name}` belongs to an earlier API")]
    Old {
        /// The old word.
        name: String,
        /// Today's way to say it.
        instead: &'static str,
    },
    /// The file is not YAML.
    #[error("{0}")]
    Syntax(String),
    /// Nothing is known by that name.
    #[error("unknown {what} `{name}`{}", nearest.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// `field`, `value` or `@type`.
        what: &'static str,
        /// The name.
        name: String,
        /// The known name most like it.
        nearest: Option<&'static str>,
        /// All known names.
        known: Vec<&'static str>,
    },
    /// Envoy has it, finwait does not.
    #[error("`{name}` is not supported: {reason}")]
    Unsupported {
        /// The field, value or type.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A value of another kind than the field's.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What the field takes.
        expected: String,
        /// What it got.
        found: String,
    },
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl ConfigError {
    /// `problem` in `file`, whose content is `text`.
    pub(super) fn new(problem: Problem, file: &str, text: &str) -> Self {
        let place = problem.place.unwrap_or_default();
        let excerpt = place.at.map(|at| excerpt(text, at)).unwrap_or_default();
        Self { file: file.to_owned(), place, cause: problem.cause, excerpt }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, &self.file, &self.place)?;
        write!(f, ": {}", self.cause)?;
        f.write_str(&self.excerpt)?;
        if let Some(remedy) = self.cause.remedy() {
            write!(f, "\n  = {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, &self.file, &self.place)?;
        write!(f, ": {}", self.text)
    }
}

/// `file.yaml:12:7: static_resources.clusters[0]`
fn head(f: &mut fmt::Formatter<'_>, file: &str, place: &Place) -> fmt::Result {
    f.write_str(file)?;
    if let Some(at) = place.at {
        write!(f, ":{}:{}", at.line, at.column)?;
    }
    if !place.path.is_empty() {
        write!(f, ": {}", place.path)?;
    }
    Ok(())
}

/// The line at `at` between two bars, as compilers show it.
fn excerpt(text: &str, at: Position) -> String {
    let Some(line) = text.lines().nth(at.line.saturating_sub(1)) else {
        return String::new();
    };
    let before = at.column.saturating_sub(1);
    // A JSON file may be one line of any length: show the part around the column.
    const SHOWN_BEFORE_MAX: usize = 60;
    const SHOWN_MAX: usize = 100;
    let skipped = before.saturating_sub(SHOWN_BEFORE_MAX);
    let shown: String = line.chars().skip(skipped).take(SHOWN_MAX).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let number = at.line.to_string();
    let margin = " ".repeat(number.len());
    let mark = " ".repeat(before.saturating_sub(skipped));
    let mut out = String::new();
    // Writing to a String cannot fail.
    write!(out, "\n {margin} |\n {number} | {}\n {margin} | {mark}^", shown.trim_end()).unwrap_or_default();
    out
}

impl Cause {
    /// A value that breaks a rule, where the rule says it all.
    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), remedy: None }
    }

    /// What to do about it.
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Invalid { remedy, .. } => remedy.clone(),
            Self::Old { instead, .. } => Some(format!("write {instead}")),
            Self::Unknown { known, nearest: None, what, .. } if !known.is_empty() => {
                Some(format!("known {what}s here: {}", known.join(", ")))
            }
            Self::WrongType { expected, found } if expected == "a string" && !found.starts_with("a ") => {
                Some("put the value in quotes".to_owned())
            }
            Self::Missing { .. }
            | Self::Syntax(_)
            | Self::Unknown { .. }
            | Self::Unsupported { .. }
            | Self::WrongType { .. } => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<serde_yaml::Location> for Position {
    fn from(location: serde_yaml::Location) -> Self {
        let clamp = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self { line: clamp(location.line()), column: clamp(location.column()) }
    }
}

/// A cause on its way to becoming a [`ConfigError`]: the place is filled in by whoever knows it, innermost first.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) place: Option<Place>,
    pub(super) cause: Cause,
}

impl Problem {
    /// `cause` at `place`.
    pub(super) fn at(place: &Place, cause: Cause) -> Self {
        Self { place: Some(place.clone()), cause }
    }

    /// Fills in the place if a more exact one is not known yet.
    pub(super) fn or_at(mut self, place: impl FnOnce() -> Place) -> Self {
        self.place.get_or_insert_with(place);
        self
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { place: None, cause: Cause::invalid(message.to_string()) }
    }

    fn invalid_type(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self {
            place: None,
            cause: Cause::WrongType { expected: plain(&expected.to_string()), found: unexpected.to_string() },
        }
    }

    fn invalid_value(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { place: None, cause: Cause::Missing { field } }
    }
}

/// Names of Rust types, as an operator would put them.
fn plain(expected: &str) -> String {
    match expected {
        "u16" => "a number from 0 to 65535".to_owned(),
        "u32" => "a number from 0 to 4294967295".to_owned(),
        other => other.to_owned(),
    }
}

/// The cause for a name that is not among `known`.
pub(super) fn unknown(what: &'static str, name: &str, known: &[&'static str]) -> Cause {
    Cause::Unknown { what, name: name.to_owned(), nearest: nearest(name, known), known: known.to_vec() }
}

/// The entry of `known` that `name` is most likely a misspelling of.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let (distance, near) = known.iter().map(|word| (distance(name, word), *word)).min()?;
    (distance <= 1 + name.len() / 5).then_some(near)
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

    #[test]
    fn an_excerpt_of_a_long_line_shows_the_part_that_matters() {
        let text = format!("{{{}\"x\": 1}}", " ".repeat(5000));
        let shown = excerpt(&text, Position { line: 1, column: 5002 });
        assert!(shown.lines().all(|line| line.len() < 120), "{shown}");
        assert!(shown.contains("\"x\": 1"), "{shown}");
    }
}
