//! Two configurations become one, as protobuf merges messages: lists are appended, messages are merged field by field, a
//! member of a oneof clears the others, anything else of the second replaces what the first has.

use super::error::{ConfigError, Place, Position, Warning};
use super::problem::Problem;
use super::yaml::{Entry, Node, Value, snake_case};

/// The texts behind a merged tree, in which the second stands below the last line of the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'t> {
    /// Name and text.
    pub(super) first: (&'t str, &'t str),
    pub(super) second: (&'t str, &'t str),
}

impl Texts<'_> {
    /// How far the second is moved down. Lines.
    fn offset(&self) -> usize {
        self.first.1.lines().count()
    }

    /// The tree of the second text, with its places moved behind those of the first.
    pub(super) fn behind(&self, mut tree: Node) -> Node {
        move_down(&mut tree, self.offset());
        tree
    }

    /// The name of the text that a place is in, the text, and the place there.
    fn split(&self, mut place: Place) -> (&str, &str, Place) {
        match &mut place.at {
            Some(at) if at.line > self.offset() => {
                at.line -= self.offset();
                (self.second.0, self.second.1, place)
            }
            Some(_) | None => (self.first.0, self.first.1, place),
        }
    }

    pub(super) fn error(&self, problems: Vec<Problem>) -> ConfigError {
        ConfigError::all(problems.into_iter().map(|mut problem| {
            let (name, text, place) = self.split(problem.place.take().unwrap_or_default());
            problem.place = Some(place);
            problem.error(name, text)
        }))
    }

    pub(super) fn warning(&self, place: Place, text: String) -> Warning {
        let (name, _, place) = self.split(place);
        Warning { file: name.to_owned(), place, text }
    }
}

fn move_down(node: &mut Node, lines: usize) {
    let down = |at: &mut Position| at.line = at.line.saturating_add(lines);
    down(&mut node.at);
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| move_down(item, lines)),
        Value::Map(entries) => {
            for entry in entries {
                down(&mut entry.at);
                move_down(&mut entry.value, lines);
            }
        }
        Value::Bool(_) | Value::Integer(_) | Value::Null | Value::Text(_) => {}
    }
}

/// `over` merged over `base`.
pub(super) fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        // A field that is null is not set.
        (value, Value::Null) => Node { at: base.at, value },
        (Value::List(mut items), Value::List(more)) => {
            items.extend(more);
            Node { at: base.at, value: Value::List(items) }
        }
        (Value::Map(entries), Value::Map(more)) if !is_any(&entries) && !is_any(&more) => {
            Node { at: base.at, value: Value::Map(merge_fields(entries, more)) }
        }
        (_, value) => Node { at: over.at, value },
    }
}

/// A message of any type is replaced whole, as its bytes are in protobuf.
fn is_any(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.key == "@type")
}

/// Each oneof that a merge can meet, by its members. Messages inside lists and inside an `Any` are not merged, which leaves
/// those of the admin address and of the node. No other message of a bootstrap has fields of these names.
const ONEOFS: &[&[&str]] = &[
    &["envoy_internal_address", "pipe", "socket_address"],
    &["named_port", "port_value"],
    &["user_agent_build_version", "user_agent_version"],
];

/// Whether both are members of one oneof, and not the same: setting one of them clears the other.
fn is_cleared_by(old: &str, new: &str) -> bool {
    let (old, new) = (snake_case(old), snake_case(new));
    old != new && ONEOFS.iter().any(|members| members.contains(&&*old) && members.contains(&&*new))
}

fn merge_fields(mut entries: Vec<Entry>, more: Vec<Entry>) -> Vec<Entry> {
    // Both members of a oneof in one text stay, for that text to be refused.
    entries.retain(|old| {
        let is_clearing = |new: &Entry| new.value.value != Value::Null && is_cleared_by(&old.key, &new.key);
        !more.iter().any(is_clearing)
    });
    for new in more {
        let known = entries.iter_mut().find(|old| snake_case(&old.key) == snake_case(&new.key));
        match known {
            None => entries.push(new),
            Some(old) => {
                let value = std::mem::replace(&mut old.value, Node { at: new.at, value: Value::Null });
                // Metadata is a map of values, of which protobuf replaces each.
                let is_map = new.key == "metadata";
                old.value = if is_map { merge_keys(value, new.value) } else { merge(value, new.value) };
            }
        }
    }
    entries
}

fn merge_keys(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(more)) => {
            entries.retain(|old| more.iter().all(|new| new.key != old.key));
            entries.extend(more);
            Node { at: base.at, value: Value::Map(entries) }
        }
        (value, Value::Null) => Node { at: base.at, value },
        (_, value) => Node { at: over.at, value },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, over: &str) -> String {
        merge(Node::parse(base).unwrap(), Node::parse(over).unwrap()).to_json().to_string()
    }

    /// The rules of protobuf's `MergeFrom`, by which Envoy merges the two.
    #[test]
    fn lists_are_appended_and_messages_merged_field_by_field() {
        let cases = [
            ("{a: {x: 1, l: [1]}}", "{a: {y: 2, l: [2]}, b: 3}", r#"{"a":{"l":[1,2],"x":1,"y":2},"b":3}"#),
            ("{a: 1}", "{a: null}", r#"{"a":1}"#),
            (
                "{staticResources: {clusters: [1]}}",
                "{static_resources: {clusters: [2]}}",
                r#"{"staticResources":{"clusters":[1,2]}}"#,
            ),
            ("{a: {'@type': t, x: 1}}", "{a: {'@type': u}}", r#"{"a":{"@type":"u"}}"#),
            ("{metadata: {k: {x: 1}, l: 1}}", "{metadata: {k: {y: 2}}}", r#"{"metadata":{"k":{"y":2},"l":1}}"#),
            ("{a: [1]}", "{a: 2}", r#"{"a":2}"#),
            (
                "{admin: {address: {pipe: {path: p}}}}",
                "{admin: {address: {socketAddress: {address: a}}}}",
                r#"{"admin":{"address":{"socketAddress":{"address":"a"}}}}"#,
            ),
            ("{portValue: 1, address: a}", "{named_port: http}", r#"{"address":"a","named_port":"http"}"#),
            ("{port_value: 1}", "{named_port: null}", r#"{"named_port":null,"port_value":1}"#),
            ("{pipe: {path: p}}", "{pipe: {mode: 1}}", r#"{"pipe":{"mode":1,"path":"p"}}"#),
        ];
        for (base, over, want) in cases {
            assert_eq!(merged(base, over), want, "{base} {over}");
        }
    }
}
