//! What is wrong with a scenario file, and where.

use std::fmt;

use serde_yaml::budget::BudgetBreach;
use serde_yaml::{Error as YamlError, Location};

use super::document::Document;
use super::tree::{Mistake, too_deep};

/// A mistake in a scenario file. Displays as `file:line:column: what`, followed by the line in question.
#[derive(Debug)]
pub struct ScenarioError {
    file: String,
    at: Option<Position>,
    what: String,
}

#[derive(Debug)]
struct Position {
    line: usize,
    column: usize,
    /// The line, or of a long line the part around the column.
    excerpt: String,
    /// Characters of the excerpt before the column.
    before: usize,
}

impl ScenarioError {
    /// A mistake that belongs to no line: the file cannot be read, for example.
    #[must_use]
    pub fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.into(), at: None, what: what.into() }
    }

    /// A mistake at a place in the file.
    pub(super) fn at(file: &str, document: &Document, location: Location, what: impl Into<String>) -> Self {
        let Some(place) = document.locate(location) else { return Self::of_file(file, what) };
        let at = position(document.as_written(), place.line, place.column);
        let error = Self { file: file.into(), at, what: what.into() };
        match place.run {
            Some(run) => error.of_run(run),
            None => error,
        }
    }

    pub(super) fn of_substitution(file: &str, text: &str, mistake: Mistake) -> Self {
        Self { file: file.into(), at: position(text, mistake.line, mistake.column), what: mistake.what }
    }

    /// The same, about one of several runs.
    #[must_use]
    pub fn of_run(mut self, run: &str) -> Self {
        self.what = format!("with {run}: {}", self.what);
        self
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What the YAML reader found.
    #[must_use]
    pub(crate) fn of_yaml(file: &str, document: &Document, error: &YamlError) -> Self {
        let bare = error.without_snippet();
        let what = if let YamlError::Budget { breach: BudgetBreach::Depth { .. }, .. } = bare {
            too_deep()
        } else if let YamlError::SerdeUnknownField { field, expected, .. } = bare {
            unknown("key", field, expected)
        } else if let YamlError::SerdeUnknownVariant { variant, expected, .. } = bare {
            unknown("word", variant, expected)
        } else if let YamlError::SerdeMissingField { field, .. } = bare {
            format!("the key `{field}` is missing here; see scenarios/README.md")
        } else if let YamlError::InvalidScalar { ty, .. } = bare {
            format!("expected {}", kind(ty))
        } else if let YamlError::SerdeInvalidValue { unexpected, expected, .. }
        | YamlError::SerdeInvalidType { unexpected, expected, .. } = bare
        {
            format!("expected {expected}, got {}", unexpected.strip_prefix("string ").unwrap_or(unexpected))
        } else {
            match without_position(&bare.to_string()).as_str() {
                "invalid IP address syntax" => "expected an address such as 10.0.0.9".into(),
                what => what.to_owned(),
            }
        };
        match error.location() {
            Some(location) => Self::at(file, document, location, what),
            None => Self::of_file(file, what),
        }
    }
}

fn position(text: &str, line: usize, column: usize) -> Option<Position> {
    // In YAML a CR alone ends a line too (YAML 1.2, 5.4).
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (excerpt, before) = excerpt(text.lines().nth(line.checked_sub(1)?)?, column);
    Some(Position { line, column, excerpt, before })
}

/// `line`, and how many of its characters stand before `column`. JSON may be one line of any length: of such a line it is
/// the part around the column.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    const SHOWN_MAX: usize = 140;
    const BEFORE_MAX: usize = 60;
    const DOTS: &str = "...";
    let length = line.chars().count();
    let before = column.saturating_sub(1).min(length);
    if length <= SHOWN_MAX {
        return (line.to_owned(), before);
    }
    let skipped = before.saturating_sub(BEFORE_MAX);
    let shown: String = line.chars().skip(skipped).take(SHOWN_MAX).collect();
    let head = if skipped > 0 { DOTS } else { "" };
    let tail = if skipped + SHOWN_MAX < length { DOTS } else { "" };
    (format!("{head}{shown}{tail}"), head.len() + before - skipped)
}

/// What the reader's name for a kind of value means.
fn kind(ty: &str) -> String {
    match ty {
        "bool" => "`true` or `false`".into(),
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number, 0 or above".into(),
        "f32" | "f64" => "a number".into(),
        other => format!("a value of the kind {other}"),
    }
}

/// The reader's own message names the place in words; ours names it in front.
fn without_position(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message.get(..end).unwrap_or(message).to_owned()
}

/// Keys and words that the language once had, with the names that stand for them.
const RENAMED: [(&str, &str); 13] = [
    ("answer_bytes", "response_bytes"),
    ("answers", "responds"),
    ("asked", "request"),
    ("every_host_gets_on", "every_host_progresses"),
    ("greets", "sends_preface"),
    ("keeps_to_windows", "respects_windows"),
    ("notice", "read_delay"),
    ("one_answer", "one_response"),
    ("speaks", "protocol"),
    ("tell", "story"),
    ("us", "local"),
    ("way", "direction"),
    ("which", "segment"),
];

/// Names the key that stands for an earlier one, the nearest known key, or all of them if none is near.
pub(crate) fn unknown(what: &str, field: &str, known: &[&str]) -> String {
    const EDITS_MAX: usize = 3; // farther away it is a different word
    let renamed = RENAMED.iter().find(|(old, new)| *old == field && known.contains(new));
    if let Some((old, new)) = renamed {
        return format!("the {what} `{old}` is called `{new}` here; see scenarios/README.md");
    }
    match nearest(field, known, EDITS_MAX.min(field.len() / 2)) {
        Some(name) => format!("unknown {what} `{field}`: did you mean `{name}`?"),
        None => format!("unknown {what} `{field}`: known here are {}", known.join(", ")),
    }
}

/// The nearest word, if it is no more than `edits_max` letters away.
pub(super) fn nearest<'a>(field: &str, known: &[&'a str], edits_max: usize) -> Option<&'a str> {
    let (edits, name) = known.iter().map(|name| (edits(field, name), *name)).min()?;
    (edits <= edits_max).then_some(name)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let above = *cell;
            *cell = (diagonal + usize::from(from != to)).min(left + 1).min(above + 1);
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Position { line, column, excerpt, before }) = &self.at else {
            return write!(f, "{}: {}", self.file, self.what);
        };
        writeln!(f, "{}:{line}:{column}: {}", self.file, self.what)?;
        let number = line.to_string();
        writeln!(f, "  {number} | {excerpt}")?;
        write!(f, "  {:number$} | {:before$}^", "", "", number = number.len())
    }
}

impl std::error::Error for ScenarioError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_part_around_the_column_is_shown() {
        assert_eq!(excerpt("a: b", 4), ("a: b".into(), 3));
        assert_eq!(excerpt("a: b", 9), ("a: b".into(), 4), "behind the line");
        let line = format!("{}é{}", "a".repeat(100_000), "b".repeat(100));
        let (shown, before) = excerpt(&line, 100_001);
        assert_eq!(shown.chars().nth(before), Some('é'));
        assert_eq!(shown, format!("...{}é{}...", "a".repeat(60), "b".repeat(79)));
    }

    #[test]
    fn edit_distances() {
        for (a, b, expected) in [("", "abc", 3), ("latency", "latency", 0), ("latancy", "latency", 1), ("ba", "ab", 2)]
        {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }
}
