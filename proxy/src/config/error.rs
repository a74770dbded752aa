//! What is wrong with a configuration, said so that the reader can fix it: file, line, path, cause, excerpt, remedy.

use std::borrow::Cow;
use std::fmt;

/// Why a configuration was not accepted. Its `Display` is a complete message for people, of several lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The file, as named by the caller.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What is wrong there.
    pub cause: Box<Cause>,
    /// The line it is about, with a mark under the column; empty where there is no such line.
    excerpt: String,
    /// What else is wrong, in the order of the file.
    pub others: Box<[Self]>,
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
    /// Counted from 1.
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
        /// As the configuration spells it.
        field: &'static str,
    },
    /// A spelling of an earlier generation of the API.
    #[error("{name} belongs to an earlier API")]
    Old {
        /// The old word.
        name: Name,
        /// Today's way to say it.
        instead: &'static str,
    },
    /// The file is not YAML.
    #[error("{0}")]
    Syntax(String),
    /// Nothing is known by that name.
    #[error("unknown {name}{}", nearest.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// The field, value or type.
        name: Name,
        /// The known name most like it.
        nearest: Option<&'static str>,
        /// All known names.
        known: Vec<&'static str>,
    },
    /// Envoy has it, finwait does not.
    #[error("{name} is not supported: {reason}")]
    Unsupported {
        /// The field, value or type.
        name: Name,
        /// Why finwait refuses it.
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

/// A name in the file, and what it is a name of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Name {
    /// An extension of Envoy's.
    Extension {
        /// What it is: `HTTP filter`.
        kind: &'static str,
        /// As the configuration spells it.
        name: &'static str,
    },
    /// A field of a message. Its path ends in it.
    Field,
    /// The `@type` of a `typed_config`.
    Type(String),
    /// A value of an enumeration.
    Value(String),
}

// The message is complete; a source would make a caller that prints the whole chain say the cause twice.
impl std::error::Error for ConfigError {}

impl ConfigError {
    /// What is wrong at one place of a file, whose content is `text`.
    pub(super) fn one(place: Option<Place>, cause: Box<Cause>, file: &str, text: &str) -> Self {
        let place = place.unwrap_or_default();
        let excerpt = place.at.map(|at| excerpt(text, at)).unwrap_or_default();
        Self { file: file.to_owned(), place, cause, excerpt, others: Box::default() }
    }

    /// The first of several, with the rest.
    pub(super) fn all(mut errors: impl Iterator<Item = Self>) -> Self {
        let nothing = || Self::one(None, Box::new(Cause::Syntax("the file cannot be read".to_owned())), "", "");
        let mut first = errors.next().unwrap_or_else(nothing);
        first.others = errors.collect();
        first
    }

    fn fmt_one(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, &self.file, &self.place)?;
        write!(f, ": {}", shortened(&self.cause.to_string()))?;
        f.write_str(&self.excerpt)?;
        if let Some(remedy) = self.cause.remedy() {
            write!(f, "\n  = {}", shortened(&remedy))?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_one(f)?;
        for other in &self.others {
            f.write_str("\n")?;
            other.fmt_one(f)?;
        }
        match self.others.len() {
            0 => Ok(()),
            others => write!(f, "\n{}: {} problems", self.file, others + 1),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, &self.file, &self.place)?;
        write!(f, ": {}", shortened(&self.text))
    }
}

/// `file.yaml:12:7: static_resources.clusters[0]`
fn head(f: &mut fmt::Formatter<'_>, file: &str, place: &Place) -> fmt::Result {
    f.write_str(file)?;
    if let Some(at) = place.at {
        write!(f, ":{}:{}", at.line, at.column)?;
    }
    if !place.path.is_empty() {
        write!(f, ": {}", shortened(&place.path))?;
    }
    Ok(())
}

/// Characters of one part of a message that stand before and after what [`shortened`] leaves out. The longest texts of
/// finwait's own, the lists of known fields, are shorter than both together.
const PART_END_CHARS: usize = 1000;

/// `part` without its middle, if it is long: keys and values of the file stand in messages, and have any length.
fn shortened(part: &str) -> Cow<'_, str> {
    let ends = part.char_indices().nth(PART_END_CHARS).zip(part.char_indices().rev().nth(PART_END_CHARS - 1));
    match ends {
        Some(((first, _), (last, _))) if first < last => {
            let left_out = part.get(first..last).unwrap_or_default().chars().count();
            let (begin, end) = (part.get(..first).unwrap_or_default(), part.get(last..).unwrap_or_default());
            Cow::Owned(format!("{begin}...({left_out} characters left out)...{end}"))
        }
        Some(_) | None => Cow::Borrowed(part),
    }
}

/// The line at `at` behind a bar, as compilers show it, and a mark under the column.
fn excerpt(text: &str, at: Position) -> String {
    // A JSON file may be one line of any length: of such a line, show the part around the column.
    const SHOWN_MAX: usize = 140;
    const SHOWN_BEFORE_MAX: usize = 60;
    // In YAML a CR alone ends a line too (YAML 1.2, 5.4).
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let Some(line) = text.lines().nth(at.line.saturating_sub(1)) else {
        return String::new();
    };
    let before = at.column.saturating_sub(1);
    let length = line.chars().count();
    let skipped = if length > SHOWN_MAX { before.saturating_sub(SHOWN_BEFORE_MAX) } else { 0 };
    let shown: String = line.chars().skip(skipped).take(SHOWN_MAX).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let head = if skipped > 0 { "..." } else { "" };
    let tail = if skipped + SHOWN_MAX < length { "..." } else { "" };
    let number = at.line.to_string();
    let margin = " ".repeat(number.len());
    let mark = " ".repeat(head.len() + before.saturating_sub(skipped));
    format!("\n {margin} |\n {number} | {head}{}{tail}\n {margin} | {mark}^", shown.trim_end())
}

impl Cause {
    /// What to do about it.
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Invalid { remedy, .. } => remedy.clone(),
            Self::Old { instead, .. } => Some(format!("write {instead}")),
            Self::Unknown { name, known, nearest: None } if !known.is_empty() => {
                Some(format!("known {}s here: {}", name.kind(), known.join(", ")))
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

impl Name {
    /// What it is a name of, in the operator's words.
    fn kind(&self) -> &'static str {
        match self {
            Self::Extension { kind, .. } => kind,
            Self::Field => "field",
            Self::Type(_) => "@type",
            Self::Value(_) => "value",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Field => Ok(()),
            Self::Extension { name, .. } => write!(f, " `{name}`"),
            Self::Type(name) | Self::Value(name) => write!(f, " `{name}`"),
        }
    }
}

impl From<serde_yaml::Location> for Position {
    fn from(location: serde_yaml::Location) -> Self {
        let clamp = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self { line: clamp(location.line()), column: clamp(location.column()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_counts_lines_as_yaml_does() {
        let shown = excerpt("a: 1\rb: 2\r\nc: 3\n", Position { line: 3, column: 1 });
        assert!(shown.contains("3 | c: 3\n"), "{shown}");
    }

    #[test]
    fn an_excerpt_of_a_long_line_shows_the_part_that_matters() {
        let text = format!("{{{}\"x\": 1}}", " ".repeat(5000));
        let shown = excerpt(&text, Position { line: 1, column: 5002 });
        assert!(shown.lines().all(|line| line.len() < 160), "{shown}");
        assert!(shown.contains("\"x\": 1"), "{shown}");
    }

    #[test]
    fn a_message_leaves_out_the_middle_of_long_keys_and_values() {
        let long = "\u{e9}".repeat(100_000);
        let unknown_key = format!("{long}: 1");
        let unknown_value =
            format!("admin: {{ address: {{ socket_address: {{ address: \"{long}\", port_value: 1 }} }} }}");
        let wrong_type = format!("static_resources: \"{long}\"");
        for text in [unknown_key, unknown_value, wrong_type] {
            let message = crate::config::Config::from_yaml(&text, "f.yaml").unwrap_err().to_string();
            assert!(message.chars().count() < 3 * PART_END_CHARS, "{} characters", message.chars().count());
            assert!(message.contains("characters left out"), "{message}");
        }
    }

    #[test]
    fn a_text_of_the_length_of_both_its_ends_is_not_shortened() {
        let text = "a".repeat(2 * PART_END_CHARS);
        assert_eq!(shortened(&text), text);
        assert_eq!(shortened(&format!("{text}a")).matches("(1 characters left out)").count(), 1);
    }
}
