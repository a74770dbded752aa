//! A field mask: the paths, separated by commas, of all that is to be left of a message (`google.protobuf.FieldMask`).

use std::fmt;

use serde_json::{Map, Value};

/// Paths, each in its steps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mask<'q>(Vec<Vec<&'q str>>);

impl<'q> Mask<'q> {
    /// What a query says; `None` if it names no path, which leaves everything.
    pub(super) fn parse(text: &'q str) -> Option<Self> {
        let paths: Vec<_> =
            text.split(',').filter(|path| !path.is_empty()).map(|path| path.split('.').collect()).collect();
        (!paths.is_empty()).then_some(Self(paths))
    }

    /// The first path that is not `valid`, as it was written.
    pub(super) fn first_but(&self, valid: impl Fn(&[&'q str]) -> bool) -> Option<String> {
        self.0.iter().find(|path| !valid(path)).map(|path| path.join("."))
    }

    /// What is left of a message. Its own type, of which no mask speaks, stays, and so does that of a message in one of
    /// its fields.
    pub(super) fn of(&self, message: &Value) -> Value {
        let paths: Vec<&[&str]> = self.0.iter().map(Vec::as_slice).collect();
        left(message, &paths)
    }
}

impl fmt::Display for Mask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.0.iter().map(|path| path.join(".")).collect();
        f.write_str(&paths.join(","))
    }
}

fn left(message: &Value, paths: &[&[&str]]) -> Value {
    let Value::Object(fields) = message else { return message.clone() };
    let mut kept = Map::new();
    for (name, value) in fields {
        // What is left of each path that goes this way.
        let behind = || paths.iter().filter_map(|path| path.split_first()).filter(|(first, _)| *first == name);
        let behind: Vec<&[&str]> = behind().map(|(_, behind)| behind).collect();
        if name == "@type" || behind.iter().any(|behind| behind.is_empty()) {
            kept.insert(name.clone(), value.clone());
        } else if !behind.is_empty() {
            kept.insert(name.clone(), left(value, &behind));
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mask_keeps_the_paths_that_it_names() {
        let message = json!({ "@type": "t", "a": { "b": 1, "c": { "d": 2, "e": 3 } }, "f": [4], "g": 5 });
        for (mask, expected) in [
            ("a", json!({ "@type": "t", "a": { "b": 1, "c": { "d": 2, "e": 3 } } })),
            ("a.b,g", json!({ "@type": "t", "a": { "b": 1 }, "g": 5 })),
            ("a.c.e", json!({ "@type": "t", "a": { "c": { "e": 3 } } })),
            ("a.c.e,a.c", json!({ "@type": "t", "a": { "c": { "d": 2, "e": 3 } } })),
            ("a.x", json!({ "@type": "t", "a": {} })),
            ("f,,", json!({ "@type": "t", "f": [4] })),
            ("x", json!({ "@type": "t" })),
        ] {
            assert_eq!(Mask::parse(mask).map(|mask| mask.of(&message)), Some(expected), "{mask}");
        }
        assert_eq!((Mask::parse(""), Mask::parse(",")), (None, None));
    }

    #[test]
    fn the_first_wrong_path_is_named() {
        let mask = Mask::parse("a.b,c.d,e").unwrap();
        assert_eq!(mask.first_but(|path| path == ["a", "b"]).as_deref(), Some("c.d"));
        assert_eq!(mask.first_but(|_| true), None);
    }
}
