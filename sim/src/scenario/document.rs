//! The text of a scenario file: as it is written, and as one of its runs reads it, with the values of `sweep` put in.
//!
//! A value takes the place of one scalar and is written so that YAML reads exactly this value there: it may hold line
//! ends, quotation marks and colons, or be a list or a mapping. Lines keep their numbers; for columns the document
//! remembers what was replaced.

use serde_yaml::Location;

use super::tree::{Edit, Mistake, Role, SweepValue, tree};

/// The text of a scenario file.
#[derive(Clone, Debug)]
pub struct Document {
    written: String,
    read: String,
    /// In the order of the text.
    replaced: Vec<Replaced>,
    /// What distinguishes this run from the others of its file.
    run: String,
}

/// A place in the file. Lines and columns count from 1.
pub(super) struct Place<'d> {
    pub(super) line: usize,
    /// Of what is inside a value, the column where the parameter is named.
    pub(super) column: usize,
    /// The run, if its line has values that only this run has there.
    pub(super) run: Option<&'d str>,
}

/// One scalar that was replaced. Lines and columns count from 1, as in [`Location`].
#[derive(Clone, Debug)]
struct Replaced {
    line: usize,
    /// Where the value begins in the line as it is read.
    column: usize,
    /// Characters of the value as it is read.
    read: usize,
    /// Characters of the scalar as it is written.
    written: usize,
}

impl Document {
    /// A text in which nothing is replaced.
    pub(super) fn new(text: &str) -> Self {
        Self { written: text.to_owned(), read: text.to_owned(), replaced: Vec::new(), run: String::new() }
    }

    /// The text that a run reads.
    #[must_use]
    pub fn as_read(&self) -> &str {
        &self.read
    }

    /// The text in the file.
    pub(super) fn as_written(&self) -> &str {
        &self.written
    }

    /// Where in the file a place in the text stands that a run reads.
    pub(super) fn locate(&self, location: Location) -> Option<Place<'_>> {
        let line = usize::try_from(location.line()).ok()?;
        let column = usize::try_from(location.column()).ok()?;
        let mut written = column;
        let here = || self.replaced.iter().filter(|replaced| replaced.line == line);
        for replaced in here().filter(|replaced| replaced.column <= column) {
            let inside = column - replaced.column;
            if inside < replaced.read {
                written -= inside;
                break;
            }
            written = written.saturating_add(replaced.written).saturating_sub(replaced.read);
        }
        Some(Place {
            line,
            column: written,
            run: here().next().map(|_| self.run.as_str()).filter(|run| !run.is_empty()),
        })
    }

    /// The text with values in place of the parameters. `value` finds the value of a name that is a parameter's.
    pub(super) fn substitute<'v>(
        text: &str,
        run: &str,
        value: &impl Fn(&str) -> Option<&'v SweepValue>,
    ) -> Result<Self, Mistake> {
        let Some(root) = tree(text) else { return Ok(Self::new(text)) };
        let mut edits = Vec::new();
        for (key, node) in root.entries().filter(|(key, _)| key.scalar() != Some("sweep")) {
            edits.extend(key.edits(Role::Key, value)?);
            edits.extend(node.edits(Role::Value, value)?);
        }
        Ok(Self::edited(text, run, &edits))
    }

    fn edited(text: &str, run: &str, edits: &[Edit]) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let mut document = Self { read: String::new(), run: run.to_owned(), ..Self::new(text) };
        let (mut end, mut line, mut shift) = (0, 0, 0_isize);
        for edit in edits {
            document.read.extend(characters.get(end..edit.span.start.index()).unwrap_or_default());
            end = edit.span.end.index();
            let scalar = characters.get(edit.span.start.index()..end).unwrap_or_default();
            if line != edit.span.start.line() {
                (line, shift) = (edit.span.start.line(), 0);
            }
            let column = edit.span.start.col().saturating_add_signed(shift) + 1;
            let (read, written) = (edit.flow.chars().count(), scalar.len());
            document.replaced.push(Replaced { line, column, read, written });
            shift += isize::try_from(read).unwrap_or_default() - isize::try_from(written).unwrap_or_default();
            document.read.push_str(&edit.flow);
            document.read.push_str(&line_ends(scalar));
        }
        document.read.extend(characters.get(end..).unwrap_or_default());
        document
    }
}

/// What keeps the lines behind a replaced scalar at their numbers: its own line ends, which mean nothing behind a value.
fn line_ends(scalar: &[char]) -> String {
    let Some(last) = scalar.iter().rposition(|c| *c == '\n') else { return String::new() };
    let ends = scalar.iter().filter(|c| **c == '\n').count();
    let indentation = scalar.iter().skip(last + 1).take_while(|c| **c == ' ').collect::<String>();
    "\n".repeat(ends) + &indentation
}

#[cfg(test)]
mod tests {
    use super::super::tree::sweep_values;
    use super::*;

    /// The document whose parameter `x` has this value, written as YAML.
    fn with(value: &str, text: &str) -> Result<Document, Mistake> {
        let values = sweep_values(&format!("sweep: {{ x: [{value}] }}")).unwrap_or_default();
        Document::substitute(text, "x", &|name| values.iter().find(|(has, _)| has == name)?.1.first())
    }

    #[test]
    fn a_value_is_read_as_this_value_wherever_it_stands() {
        let values = [
            "5",
            "no",
            "\"5\"",
            "'W/\"a\"'",
            "'a: b'",
            "'a # b'",
            "'{x}'",
            "\"a\\r\\nb\"",
            "'- a'",
            "''",
            "~",
            "\"\\u2028\\x7f\\ufeff\"",
            "-.5",
            "+5",
            "0x1F",
            "1_000",
            "*a",
            "'@a'",
            "'\\n'",
            "é",
            "[1, '[']",
            "{ a: { b: ' ' } }",
        ];
        let places =
            ["k: X\n", "k: { a: X, b: 1 }\n", "k:\n- X\n- b\n", "k: &b X\nl: *b\n", "k:\n  X\nl: 2\n", "k: [X,X]"];
        for place in places {
            for value in values {
                let text = place.replace('X', "$x");
                let document =
                    with(&format!("&a 7, {value}").replace("&a 7, *a", "&a 7").replacen("&a 7, ", "", 1), &text);
                let document = document.ok().unwrap();
                let read: serde_json::Value = serde_yaml::from_str(document.as_read()).unwrap();
                let direct = place.replace('X', if value == "*a" { "7" } else { value });
                let expected: serde_json::Value = serde_yaml::from_str(&direct).unwrap();
                assert_eq!(read, expected, "{}", document.as_read());
            }
        }
    }

    #[test]
    fn in_a_text_the_value_is_text() {
        for (text, expected) in [
            ("k: \"$x\"", "\"a: b\\r\\n\""),
            ("k: '1 $x'", "\"1 a: b\\r\\n\""),
            ("k: a-$x", "\"a-a: b\\r\\n\""),
            ("k: |\n  one\n  $x\nl: 1", "\"one\\na: b\\r\\n\\n\""),
            ("k: >-\n  one\n  $x\nl: 1", "\"one a: b\\r\\n\""),
            ("k: &b | # why > not\n\n  $x\nl: 1", "\"\\na: b\\r\\n\\n\""),
            ("k: \"one\n  $x\"\nl: 1", "\"one a: b\\r\\n\""),
        ] {
            let document = with("\"a: b\\r\\n\"", text).ok().unwrap();
            let read: serde_json::Value = serde_yaml::from_str(document.as_read()).unwrap();
            assert_eq!(read["k"].to_string(), expected, "{}", document.as_read());
            assert_eq!(document.as_read().lines().count(), text.lines().count(), "{}", document.as_read());
        }
    }

    #[test]
    fn a_mapping_is_refused_where_only_a_text_can_be() {
        let instead = |text| with("{ a: b }", text).err().map(|mistake| (mistake.line, mistake.column, mistake.what));
        let what = "a value of `x` is a list or a mapping, not a text: ";
        let key = format!("{what}write `<<: $x` to put its entries into a mapping");
        assert_eq!(instead("\n{ a: 1, $x }"), Some((2, 9, key)));
        assert_eq!(instead("k: a $x"), Some((1, 4, format!("{what}write $x alone and without quotation marks"))));
        assert_eq!(with("{ a: b }", "k: { <<: $x, c: d }").ok().unwrap().as_read(), "k: { <<: { a: b }, c: d }");
    }

    #[test]
    fn columns_are_those_of_the_file() {
        let document = with("long-value", "k: { a: $x, b: $x, c: 1 }\nl: 2\n").ok().unwrap();
        #[derive(serde::Deserialize)]
        struct Places {
            k: std::collections::BTreeMap<String, serde_yaml::Spanned<String>>,
            l: serde_yaml::Spanned<u8>,
        }
        let places: Places = serde_yaml::from_str(document.as_read()).unwrap();
        let at = |location| document.locate(location).map(|place| (place.line, place.column, place.run.is_some()));
        let columns: Vec<_> = places.k.values().map(|value| at(value.referenced)).collect();
        assert_eq!(columns, [Some((1, 9, true)), Some((1, 16, true)), Some((1, 23, true))]);
        assert_eq!(at(places.l.referenced), Some((2, 4, false)));
    }
}
