//! Where each value of a configuration stands, for those who explain what a proxy did by what it was told.

use super::error::Position;
use super::yaml::{Node, Value};

/// A YAML or JSON text whose every key knows its line.
#[derive(Clone, Debug)]
pub struct Places(Node);

impl Places {
    /// Reads a text; none if it is neither YAML nor JSON.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Node::parse(text).ok().map(Self)
    }

    /// The place of the key or item at the end of `path`. A step is a key, or the number of an item: `["clusters", "0"]`.
    #[must_use]
    pub fn find(&self, path: &[&str]) -> Option<Position> {
        self.walk(path).map(|(at, _)| at)
    }

    /// The keys of the map at the end of `path`, with their places, in the order of the file.
    #[must_use]
    pub fn keys(&self, path: &[&str]) -> Vec<(&str, Position)> {
        match self.walk(path) {
            Some((_, Node { value: Value::Map(entries), .. })) => {
                entries.iter().map(|entry| (entry.key.as_str(), entry.at)).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn walk(&self, path: &[&str]) -> Option<(Position, &Node)> {
        let mut here = &self.0;
        let mut at = here.at;
        for step in path {
            match &here.value {
                Value::Map(entries) => {
                    let entry = entries.iter().find(|entry| entry.key == *step)?;
                    (at, here) = (entry.at, &entry.value);
                }
                Value::List(items) => {
                    here = items.get(step.parse::<usize>().ok()?)?;
                    at = here.at;
                }
                Value::Bool(_) | Value::Integer(_) | Value::Null | Value::Text(_) => return None,
            }
        }
        Some((at, here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_items_are_found() {
        let places = Places::read("a:\n  - b: 1\n    c: {d: 2}\n").unwrap();
        for (path, expected) in [
            (&["a"][..], Some((1, 1))),
            (&["a", "0"], Some((2, 5))),
            (&["a", "0", "c", "d"], Some((3, 9))),
            (&["a", "1"], None),
            (&["a", "0", "b", "x"], None),
        ] {
            assert_eq!(places.find(path).map(|at| (at.line, at.column)), expected, "{path:?}");
        }
        assert_eq!(places.keys(&["a", "0"]).iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["b", "c"]);
        assert!(places.keys(&["a"]).is_empty());
        assert!(Places::read("[").is_none());
    }
}
