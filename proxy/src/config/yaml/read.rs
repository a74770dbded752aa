//! Takes a document from the YAML parser, and resolves its scalars by Envoy's rules instead of the parser's.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

use super::scalar;
use super::{Entry, Node, Value};

/// A value as the parser gives it, and where its text stands.
pub(super) struct Document {
    at: Location,
    found: Found,
}

/// What the parser tells apart reliably.
enum Found {
    List(Vec<Document>),
    Map(Vec<(Location, String, Document)>),
    /// Without quotes, and to the parser something else than a text.
    Plain,
    /// With or without quotes.
    Text(String),
}

impl Document {
    /// The tree of nodes; `text` is what was parsed.
    pub(super) fn resolve(self, text: &str) -> Node {
        let value = match self.found {
            Found::List(items) => Value::List(items.into_iter().map(|item| item.resolve(text)).collect()),
            Found::Map(entries) => {
                let entry = |(at, key, value): (Location, String, Self)| Entry {
                    at: at.into(),
                    key,
                    value: value.resolve(text),
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
            Found::Plain => scalar::plain(written(text, self.at).unwrap_or_default()),
            // Quotes, escapes, folded lines and block scalars make a text differ from how it is written.
            Found::Text(value) if written(text, self.at) == Some(&value) => scalar::plain(&value),
            Found::Text(value) => Value::Text(value),
        };
        Node { at: self.at.into(), value }
    }
}

/// The part of `text` at `location`.
fn written(text: &str, location: Location) -> Option<&str> {
    let begin = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(begin..begin.checked_add(length)?)
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Found>::deserialize(deserializer)?;
        Ok(Self { at: spanned.defined, found: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FoundVisitor)
    }
}

struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_str<E>(self, value: &str) -> Result<Found, E> {
        Ok(Found::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(Found::Plain)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        Found::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Found, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Found::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Found, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Document>()? {
            entries.push((key.defined, key.value, value));
        }
        Ok(Found::Map(entries))
    }
}
