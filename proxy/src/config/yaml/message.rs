//! What a mapping holds: the fields of a message, or a message chosen by its type.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, MapAccess};

use super::decoder::Decoder;
use super::place::Path;
use super::{Entry, Node, Value};
use crate::config::enumerations;
use crate::config::error::{Cause, Name, Place};
use crate::config::problem::{Problem, unknown};
use crate::config::unsupported::{self, Support};

/// The fields of a message.
pub(super) struct Fields<'de, 'p> {
    message: &'static str,
    known: &'static [&'static str],
    entries: std::slice::Iter<'de, Entry>,
    /// The field whose key has been given out, and whose value is requested next.
    current: Option<&'de Entry>,
    decoder: Decoder<'de, 'p>,
}

impl<'de, 'p> Fields<'de, 'p> {
    /// Those of `message`, written as `entries` where `decoder` stands; it knows the names in `known`.
    pub(super) fn new(
        message: &'static str,
        known: &'static [&'static str],
        entries: &'de [Entry],
        decoder: Decoder<'de, 'p>,
    ) -> Self {
        Self { message, known, entries: entries.iter(), current: None, decoder }
    }

    /// Where the key stands, which is what a mistake in a name is about.
    fn place(&self, entry: &Entry) -> Place {
        place(&self.decoder, entry)
    }
}

fn place(of: &Decoder<'_, '_>, entry: &Entry) -> Place {
    Place { path: Path::Field(&of.path, &entry.key).to_string(), at: Some(entry.at) }
}

/// What happens to a field that `message`, where `decoder` stands, does not have; it knows the names in `known`.
fn judge(decoder: &Decoder<'_, '_>, message: &str, known: &[&'static str], entry: &Entry) -> Result<(), Problem> {
    // Protobuf cannot tell an empty list from an absent one.
    let says_nothing = match &entry.value.value {
        Value::List(items) => items.is_empty(),
        Value::Null => true,
        Value::Bool(_) | Value::Integer(_) | Value::Map(_) | Value::Text(_) => false,
    };
    let named = || refusal_within(&entry.value);
    let cause = match unsupported::field(message, &snake_case(&entry.key)) {
        Some(Support::Ignored(reason)) => {
            decoder.notes.note(&place(decoder, entry), format!("has no effect: {reason}"));
            return Ok(());
        }
        Some(Support::Old(instead)) => Cause::Old { name: Name::Field, instead },
        Some(Support::Only(value, _)) if says(&entry.value, value) => return Ok(()),
        Some(Support::Only(..) | Support::Refused(_) | Support::Within(_)) if says_nothing => return Ok(()),
        Some(Support::Only(_, reason) | Support::Refused(reason)) => {
            named().unwrap_or(Cause::Unsupported { name: Name::Field, reason })
        }
        Some(Support::Within(message)) => {
            let inner = decoder.child(&entry.value, Path::Field(&decoder.path, &entry.key));
            let Value::Map(entries) = inner.value() else { return Err(inner.mismatch("a mapping")) };
            if let Some(cause) = named() {
                return Err(Problem::at(&place(decoder, entry), cause));
            }
            let known: Vec<&'static str> = unsupported::fields_of(message).collect();
            entries.iter().try_for_each(|entry| judge(&inner, message, &known, entry))?;
            let is_there = |field: &str| entries.iter().any(|entry| snake_case(&entry.key) == field);
            return match unsupported::required_of(message).find(|field| !is_there(field)) {
                Some(field) => Err(Problem::at(&inner.place(), Cause::Missing { field })),
                None => Ok(()),
            };
        }
        None => unknown(Name::Field, &entry.key, known),
    };
    Err(Problem::at(&place(decoder, entry), cause))
}

/// Why the first extension that is configured somewhere in `node` is refused, if Envoy has one of that type.
fn refusal_within(node: &Node) -> Option<Cause> {
    match &node.value {
        Value::Map(entries) => entries.iter().find_map(|entry| match &entry.value.value {
            Value::Text(url) if entry.key == TYPE => unsupported::refusal(url),
            // Without a configuration it is found by its name.
            Value::Text(name) if entry.key == "name" && node.field("typed_config").is_none() => {
                unsupported::refusal_by_name(name)
            }
            Value::Bool(_) | Value::Integer(_) | Value::List(_) | Value::Map(_) | Value::Null | Value::Text(_) => {
                refusal_within(&entry.value)
            }
        }),
        Value::List(items) => items.iter().find_map(refusal_within),
        Value::Bool(_) | Value::Integer(_) | Value::Null | Value::Text(_) => None,
    }
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        while let Some(entry) = self.entries.next() {
            if self.decoder.is_typed && entry.key == TYPE {
                continue;
            }
            let name = snake_case(&entry.key);
            if !self.known.contains(&name.as_str()) {
                judge(&self.decoder, self.message, self.known, entry)?;
                continue;
            }
            if entry.value.value == Value::Null {
                continue;
            }
            self.current = Some(entry);
            let place = self.place(entry);
            return seed
                .deserialize(StrDeserializer::new(&name))
                .map(Some)
                .map_err(|problem: Problem| problem.or_at(|| place));
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some(entry) = self.current.take() else {
            return Err(Cause::Syntax("a value without a key".to_owned()).into());
        };
        let path = Path::Field(&self.decoder.path, &entry.key);
        let decoder = self.decoder.child(&entry.value, path);
        seed.deserialize(decoder).map_err(|problem| problem.or_at(|| decoder.place()))
    }
}

/// The entries of a map whose keys are names of the author's.
pub(super) struct Named<'de, 'p> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
    decoder: Decoder<'de, 'p>,
}

impl<'de, 'p> Named<'de, 'p> {
    /// `entries`, which stand where `decoder` does.
    pub(super) fn new(entries: &'de [Entry], decoder: Decoder<'de, 'p>) -> Self {
        Self { entries: entries.iter(), current: None, decoder }
    }
}

impl<'de> MapAccess<'de> for Named<'de, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        self.current = self.entries.next();
        self.current.map(|entry| seed.deserialize(StrDeserializer::new(&entry.key))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some(entry) = self.current.take() else {
            return Err(Cause::Syntax("a value without a key".to_owned()).into());
        };
        let decoder = self.decoder.child(&entry.value, Path::Field(&self.decoder.path, &entry.key));
        seed.deserialize(decoder).map_err(|problem| problem.or_at(|| decoder.place()))
    }
}

/// The key that names the type of a `typed_config`.
const TYPE: &str = "@type";
/// The variant for a mapping without a type, where that means something.
const UNTYPED: &str = "";
/// How every type begins.
const TYPE_URL: &str = "type.googleapis.com/";

/// An enumeration's value, or a message chosen by `@type`.
pub(super) struct Choice<'de, 'p> {
    pub(super) name: &'static str,
    pub(super) variants: &'static [&'static str],
    pub(super) decoder: Decoder<'de, 'p>,
}

impl<'de> Choice<'de, '_> {
    /// The chosen name, its kind, and where it stands.
    fn chosen(&self) -> Result<(&'de str, Name, Place), Problem> {
        if self.variants.iter().any(|variant| variant.starts_with(TYPE_URL)) {
            return self.chosen_type();
        }
        let number = match self.decoder.value() {
            Value::Text(text) => match text.parse() {
                Ok(number) => number,
                Err(_) => return Ok((text, Name::Value(text.clone()), self.decoder.place())),
            },
            Value::Integer(number) => *number,
            Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Null => {
                return Err(self.decoder.mismatch(&format!("one of {}", self.variants.join(", "))));
            }
        };
        let name = enumerations::name(self.name, number);
        let name = name.ok_or_else(|| self.decoder.mismatch(&format!("one of {}", self.variants.join(", "))))?;
        Ok((name, Name::Value(name.to_owned()), self.decoder.place()))
    }

    /// Values in any case, as protobuf takes them; types exactly.
    fn known_as(&self, chosen: &str) -> Option<&'static str> {
        let is_same = |variant: &&&str| {
            let is_type = variant.starts_with(TYPE_URL);
            **variant == chosen || (!is_type && variant.eq_ignore_ascii_case(chosen))
        };
        self.variants.iter().find(is_same).copied()
    }

    fn chosen_type(&self) -> Result<(&'de str, Name, Place), Problem> {
        let Value::Map(entries) = self.decoder.value() else {
            return Err(self.decoder.mismatch("a mapping with an @type"));
        };
        if entries.is_empty() && self.variants.contains(&UNTYPED) {
            return Ok((UNTYPED, Name::Type(UNTYPED.to_owned()), self.decoder.place()));
        }
        let Some(entry) = entries.iter().find(|entry| entry.key == TYPE) else {
            return Err(Problem::at(&self.decoder.place(), Cause::Missing { field: TYPE }));
        };
        let path = Path::Field(&self.decoder.path, TYPE);
        let at = self.decoder.child(&entry.value, path);
        let Value::Text(text) = &entry.value.value else {
            return Err(at.mismatch("a string"));
        };
        Ok((text, Name::Type(text.clone()), at.place()))
    }
}

impl<'de, 'p> EnumAccess<'de> for Choice<'de, 'p> {
    type Error = Problem;
    type Variant = Decoder<'de, 'p>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Problem> {
        let (chosen, name, place) = self.chosen()?;
        let Some(variant) = self.known_as(chosen) else {
            let cause = match unsupported::value(self.name, chosen) {
                Some(Support::Old(instead)) => Cause::Old { name, instead },
                Some(Support::Ignored(reason) | Support::Only(_, reason) | Support::Refused(reason)) => {
                    Cause::Unsupported { name, reason }
                }
                // No value of an enumeration holds a message or is free text.
                Some(Support::Within(_)) | None => {
                    if let Some(cause) = unsupported::refusal(chosen) {
                        return Err(Problem::at(&place, cause));
                    }
                    let known: Vec<&str> =
                        self.variants.iter().copied().filter(|variant| *variant != UNTYPED).collect();
                    unknown(name, chosen, &known)
                }
            };
            return Err(Problem::at(&place, cause));
        };
        let variant = seed.deserialize(StrDeserializer::new(variant));
        let variant = variant.map_err(|problem: Problem| problem.or_at(|| place))?;
        Ok((variant, self.decoder.typed()))
    }
}

/// `lowerCamel` to `lower_snake`. Names with dots are extension names and stay as they are.
pub(in crate::config) fn snake_case(name: &str) -> String {
    if name.contains(['.', '@']) {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Whether a scalar is spelled `text`.
fn says(node: &Node, text: &str) -> bool {
    match &node.value {
        Value::Bool(value) => value.to_string() == text,
        Value::Integer(value) => value.to_string() == text,
        // The value of an enumeration, which may be written in any case.
        Value::Text(value) if text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => {
            value.eq_ignore_ascii_case(text)
        }
        Value::Text(value) => value == text,
        Value::Map(entries) => text == "{}" && entries.is_empty(),
        Value::List(_) | Value::Null => false,
    }
}
