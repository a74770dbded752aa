//! A YAML or JSON document as a tree in which every node knows its place.
//!
//! The text is parsed once, into [`Node`]s; [`decode()`] then reads Envoy's messages out of the tree. Two steps, because
//! serde forgets positions wherever it must look ahead, and a `typed_config` cannot be read before its `@type` is
//! known, which may stand last.

mod decode;
mod decoder;
mod message;
mod place;
mod read;
mod scalar;

use serde_yaml::budget::BudgetBreach;

pub(super) use decode::decode;
pub(super) use message::snake_case;
pub(super) use place::{At, Notes, Tree};

use super::error::{Cause, Place, Position};
use super::problem::Problem;

/// Deepest nesting that is read. Envoy's deepest useful path has about thirty levels. Each level costs up to 34 KiB of
/// stack in a debug build and 10 KiB in a release build, so that a thread with 2 MiB can read any file.
const DEPTH_MAX: usize = 48;

/// Values that aliases (`*name`) and merge keys may add to those that the text itself holds. The text bounds its own:
/// a value has at least one character. The bound keeps a few lines of nested aliases from filling the memory; what is
/// written out instead of aliased is not subject to it.
const ALIASED_VALUES_MAX: usize = 1_000_000;

/// The same for the bytes of texts.
const ALIASED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// What YAML and JSON can say. A fraction is the text that was written, until a field wants a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i128),
    List(Vec<Node>),
    Map(Vec<Entry>),
    Null,
    Text(String),
}

/// One key and its value, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// Parses `text`; JSON is read by the same rules, being a part of YAML.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        // A byte-order mark is not part of the document, nor counted in the places of what follows.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document: read::Document =
            serde_yaml::from_str_with_options(text, options(text.len())).map_err(|error| syntax(&error))?;
        let tree = document.resolve(text);
        if tree.value == Value::Null {
            return Err(Problem::invalid(&Place { path: String::new(), at: None }, "the file is empty"));
        }
        Ok(tree)
    }

    /// The entry of a mapping with this key, as it is spelled in snake case.
    pub(super) fn field(&self, name: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| snake_case(&entry.key) == name)
    }

    /// Leaves out the field or the item at `path`; the path of the message or list that it was in. Nothing, if there is
    /// none. Items after one that is left out keep their index.
    pub(super) fn leave_out(&mut self, path: &str) -> Option<String> {
        leave_out(self, place::Path::Root, path)
    }

    /// Whether this item of a list has been left out.
    pub(super) fn is_left_out(&self) -> bool {
        self.at == LEFT_OUT
    }

    /// A message as JSON with every field spelled `lower_snake` and the lists of a bootstrap as lists, however they were
    /// written, so that two files that say the same can be compared.
    pub(super) fn to_message(&self) -> serde_json::Value {
        let mut message = self.with_snake_case_fields();
        for list in ["listeners", "clusters"] {
            let written = message.get_mut("static_resources").and_then(|resources| resources.get_mut(list));
            if let Some(single) = written.filter(|value| value.is_object()) {
                *single = vec![single.take()].into();
            }
        }
        message
    }

    fn with_snake_case_fields(&self) -> serde_json::Value {
        match &self.value {
            Value::List(items) => items.iter().map(Self::with_snake_case_fields).collect(),
            Value::Map(entries) => {
                let field = |entry: &Entry| {
                    let name = snake_case(&entry.key);
                    let value = match FREE_KEYS.contains(&name.as_str()) {
                        true => entry.value.to_json(),
                        false => entry.value.with_snake_case_fields(),
                    };
                    (name, value)
                };
                entries.iter().map(field).collect()
            }
            Value::Bool(_) | Value::Integer(_) | Value::Null | Value::Text(_) => self.to_json(),
        }
    }

    /// The same as JSON, without positions.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Bool(value) => (*value).into(),
            // JSON numbers are 64 bits wide; anything longer was a string of digits to begin with.
            Value::Integer(value) => i64::try_from(*value)
                .map(Into::into)
                .or_else(|_| u64::try_from(*value).map(Into::into))
                .unwrap_or_else(|_| value.to_string().into()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
            Value::Null => serde_json::Value::Null,
            Value::Text(text) => text.as_str().into(),
        }
    }
}

/// Fields whose keys are names of the author's, which no spelling may change.
const FREE_KEYS: &[&str] = &["json_format", "metadata", "static_layer", "typed_json_format"];

/// Where an item of a list stands that has been left out: lines are counted from one.
const LEFT_OUT: Position = Position { line: 0, column: 0 };

fn leave_out(node: &mut Node, here: place::Path<'_>, path: &str) -> Option<String> {
    match &mut node.value {
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let inside = place::Path::Item(&here, index);
                match inside.leads_to(path) {
                    place::Way::There => {
                        *item = Node { at: LEFT_OUT, value: Value::Null };
                        return Some(here.to_string());
                    }
                    place::Way::Inside => return leave_out(item, inside, path),
                    place::Way::Elsewhere => {}
                }
            }
            None
        }
        Value::Map(entries) => {
            for index in 0..entries.len() {
                let entry = entries.get_mut(index)?;
                let inside = place::Path::Field(&here, &entry.key);
                match inside.leads_to(path) {
                    place::Way::There => {
                        entries.remove(index);
                        return Some(here.to_string());
                    }
                    place::Way::Inside => return leave_out(&mut entry.value, inside, path),
                    place::Way::Elsewhere => {}
                }
            }
            None
        }
        Value::Bool(_) | Value::Integer(_) | Value::Null | Value::Text(_) => None,
    }
}

/// Options for a text of so many bytes: no limit of the parser's own is met before one of ours.
fn options(bytes: usize) -> serde_yaml::Options {
    let values_max = bytes.saturating_add(ALIASED_VALUES_MAX);
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: values_max,
            // A value is one event or two, and so is a document.
            max_events: values_max.saturating_mul(4),
            max_aliases: values_max,
            max_anchors: values_max,
            max_merge_keys: values_max,
            // A value is kept once for each anchor that it stands under.
            max_recorded_anchor_events: values_max.saturating_mul(4),
            max_recorded_anchor_bytes: bytes.saturating_mul(4).saturating_add(ALIASED_BYTES_MAX),
            max_total_scalar_bytes: bytes.saturating_add(ALIASED_BYTES_MAX),
            // A key is as long as its author likes; YAML's 1,024 characters are for readers without memory.
            simple_key_max_lookahead: bytes.max(1024),
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: ALIASED_VALUES_MAX.saturating_mul(4),
            max_replay_stack_depth: DEPTH_MAX,
        },
        with_snippet: false,
        // To Envoy these are texts.
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::PassThrough,
    }
}

/// The parser's error in our words, where its own speak to programmers.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum of many kinds, most of which describe themselves")]
fn syntax(error: &serde_yaml::Error) -> Problem {
    let said = match cause(error) {
        serde_yaml::Error::DuplicateMappingKey { key: Some(key), .. } => format!("duplicate key `{key}`"),
        serde_yaml::Error::MultipleDocuments { .. } => {
            "the file has a second YAML document; only one is allowed".into()
        }
        serde_yaml::Error::NullIntoString { .. } => {
            "the key of this entry is null; write the name of a field before the colon, in quotes if it is ~ or null"
                .into()
        }
        serde_yaml::Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "the alias is inside the value of its own anchor; write the value instead of the alias".into()
        }
        // What has no tag is read as what it looks like.
        serde_yaml::Error::InvalidScalar { ty, .. } => format!(
            "the value is not {}, as its tag requires; delete the tag, and put a text in quotes",
            match *ty {
                "boolean" => "true or false",
                "floating point" => "a number",
                _ => "a whole number",
            }
        ),
        serde_yaml::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        serde_yaml::Error::Budget { .. }
        | serde_yaml::Error::AliasReplayLimitExceeded { .. }
        | serde_yaml::Error::AliasReplayStackDepthExceeded { .. } => format!(
            "aliases add more than {ALIASED_VALUES_MAX} values or {ALIASED_BYTES_MAX} bytes to the file; write the \
             values instead of aliases, which has no limit"
        ),
        other => {
            // The position is printed by ConfigError, once and in front.
            let said = other.to_string();
            match said.split(" at line ").next().unwrap_or_default() {
                "recursion limit exceeded" => too_deep(),
                said => said.to_owned(),
            }
        }
    };
    let at = error.location().map(Position::from);
    Problem::at(&Place { path: String::new(), at }, Cause::Syntax(said))
}

fn too_deep() -> String {
    format!("values are nested more than {DEPTH_MAX} deep")
}

/// The error itself, out of what the parser wraps around it.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, of which two variants wrap others")]
fn cause(error: &serde_yaml::Error) -> &serde_yaml::Error {
    match error {
        serde_yaml::Error::AliasError { error, .. } | serde_yaml::Error::WithSnippet { error, .. } => cause(error),
        error => error,
    }
}

impl Value {
    /// For messages: what was found instead of what was wanted.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
            Self::Null => "nothing".to_owned(),
            Self::Text(text) => format!("the text {text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_position() {
        let tree = Node::parse("a: 1\nb:\n  - x\n  - {c: true, d: null}\n").unwrap();
        let Value::Map(entries) = &tree.value else { panic!("{tree:?}") };
        assert_eq!(entries[1].at, Position { line: 2, column: 1 });
        let Value::List(items) = &entries[1].value.value else { panic!("{tree:?}") };
        assert_eq!(items[0].at, Position { line: 3, column: 5 });
        let Value::Map(inner) = &items[1].value else { panic!("{tree:?}") };
        assert_eq!(inner[1].at, Position { line: 4, column: 15 });
        assert_eq!(inner[1].value.value, Value::Null);
        assert_eq!(tree.to_json().to_string(), r#"{"a":1,"b":["x",{"c":true,"d":null}]}"#);
    }

    #[test]
    fn anchors_and_merges_are_expanded() {
        let tree = Node::parse("base: &b {x: 1}\nmore: {<<: *b, y: 2}\n").unwrap();
        assert_eq!(tree.to_json()["more"].to_string(), r#"{"x":1,"y":2}"#);
    }

    #[test]
    fn a_tag_that_does_not_fit_its_value_is_refused_where_it_stands() {
        for (value, why) in [
            ("!!str 5", None),
            ("!!str true", None),
            (
                "!!int a",
                Some("the value is not a whole number, as its tag requires; delete the tag, and put a text in quotes"),
            ),
            (
                "!!int -a",
                Some("the value is not a whole number, as its tag requires; delete the tag, and put a text in quotes"),
            ),
            (
                "!!bool a",
                Some("the value is not true or false, as its tag requires; delete the tag, and put a text in quotes"),
            ),
            (
                "!!float a",
                Some("the value is not a number, as its tag requires; delete the tag, and put a text in quotes"),
            ),
            ("!!str a", None),
            ("! 5", None),
            ("!!int 5", None),
            ("!other a", None),
        ] {
            let said = Node::parse(&format!("a:\n  - {value}\n")).err();
            let at = said.as_ref().and_then(|problem| problem.place.as_ref()?.at);
            assert_eq!(said.as_ref().map(|problem| problem.cause.to_string()).as_deref(), why, "{value}");
            assert_eq!(at.map(|at| at.line), why.map(|_| 2), "{value}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[{a: ", "}]")] {
            for depth in [DEPTH_MAX + 1, 10_000] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let cause = Node::parse(&text).unwrap_err().cause.to_string();
                assert_eq!(cause, "values are nested more than 48 deep", "{open}");
            }
        }
    }

    #[test]
    fn the_deepest_nesting_fits_the_stack_of_a_thread() {
        let maps = DEPTH_MAX - 1;
        let text = format!("{}1{}", "{a: ".repeat(maps), "}".repeat(maps));
        let tree = std::thread::spawn(move || Node::parse(&text).map(|tree| tree.to_json())); // 2 MiB
        assert!(tree.join().unwrap().is_ok());
    }

    #[test]
    fn a_long_text_is_read_whatever_it_consists_of() {
        let comments = "  # why\n".repeat(1000);
        let long = "x".repeat(10_000);
        for (text, items) in [
            (format!("a:\n{comments}  - b\n{comments}  - c\n"), 2),
            (format!("a:\n{}", "- {b: c}\n".repeat(90_000)), 90_000),
            (format!("a: [{}]", "1,".repeat(260_000)), 260_000),
            (format!("a: [{long}, \"{long}\"]"), 2),
            (format!("a: [{{{long}: 1}}, {{\"{long}\": 1}}]"), 2),
            (format!("x: &x 1\na: [{}]", "*x,".repeat(60_000)), 60_000),
            (format!("a:\n{}", (0..60_000).map(|n| format!("- &a{n} b\n")).collect::<String>()), 60_000),
        ] {
            let tree = Node::parse(&text).unwrap();
            let Some(Entry { value: Node { value: Value::List(found), .. }, .. }) = tree.field("a") else {
                panic!("{:.100}", text)
            };
            assert_eq!(found.len(), items, "{text:.100}");
        }
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        let mut text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        let cause = Node::parse(&text).unwrap_err().cause.to_string();
        assert!(cause.starts_with("aliases add more than 1000000 values"), "{cause}");
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(1_000_000), "*a,".repeat(1000));
        let cause = Node::parse(&long).unwrap_err().cause.to_string();
        assert!(cause.starts_with("aliases add more than 1000000 values"), "{cause}");
    }
}
