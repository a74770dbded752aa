//! A YAML or JSON document as a tree in which every node knows its place.
//!
//! The text is parsed once, into [`Node`]s; [`decode()`] then reads Envoy's messages out of the tree. Two steps, because
//! serde forgets positions wherever it must look ahead, and a `typed_config` cannot be read before its `@type` is
//! known, which may stand last.

mod decode;
mod message;
mod place;

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

pub(super) use decode::decode;
pub(super) use place::{At, Notes};

use super::error::{Cause, Place, Position};
use super::problem::Problem;

/// Deepest nesting that is read. Envoy's deepest useful path has about thirty levels; the bound keeps a hostile file
/// from exhausting the stack.
const DEPTH_MAX: usize = 100;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// What YAML and JSON can say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Float(f64),
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
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! { max_depth: DEPTH_MAX },
            with_snippet: false,
        };
        let tree: Self = serde_yaml::from_str_with_options(text, options).map_err(|error| syntax(&error))?;
        if tree.value == Value::Null {
            return Err(Problem::invalid(&Place { path: String::new(), at: None }, "the file says nothing"));
        }
        Ok(tree)
    }

    /// The entry of a mapping with this key, as it is spelled in snake case.
    pub(super) fn field(&self, name: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| message::snake_case(&entry.key) == name)
    }

    /// The same as JSON, without positions.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Bool(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
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

/// The parser's error in our words, where its own speak to programmers.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum of many kinds, most of which describe themselves")]
fn syntax(error: &serde_yaml::Error) -> Problem {
    let said = match error.without_snippet() {
        serde_yaml::Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` stands here twice"),
        serde_yaml::Error::MultipleDocuments { .. } => {
            "the file has a second document, and only one has a meaning".into()
        }
        other => {
            // The position is printed by ConfigError, once and in front.
            let said = other.to_string();
            said.split(" at line ").next().unwrap_or_default().to_owned()
        }
    };
    let at = error.location().map(Position::from);
    Problem::at(&Place { path: String::new(), at }, Cause::Syntax(said))
}

impl Value {
    /// For messages: what was found instead of what was wanted.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
            Self::Null => "nothing".to_owned(),
            Self::Text(text) => format!("the text {text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: spanned.defined.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        // Nothing in a configuration is this large; keeping the digits lets the field's own check refuse it.
        Ok(i128::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Integer))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { at: key.defined.into(), key: key.value, value });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_place() {
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
    fn deep_nesting_is_refused() {
        let text = "[".repeat(100_000);
        assert!(matches!(*Node::parse(&text).unwrap_err().cause, Cause::Syntax(_)));
    }
}
