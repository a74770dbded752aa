//! Reads Envoy's messages out of a tree of [`Node`]s.
//!
//! A serde `Deserializer`, so that the messages in [`bootstrap`](crate::config::bootstrap) are plain derived structs, with
//! four things that protobuf's JSON form asks for: fields may be spelled `lower_snake` or `lowerCamel`; `null` says what
//! absence says; a `typed_config` chooses its message by `@type`; and fields outside a struct are not simply unknown, but
//! looked up in [`unsupported`](crate::config::unsupported).
//!
//! Promise: every error that leaves here has a place.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Entry, Node, Value};
use crate::config::error::{Cause, Name, Place, Position};
use crate::config::problem::{Problem, unknown};
use crate::config::unsupported::{self, Verdict};

/// Things to tell the author of a file that is accepted.
#[derive(Debug, Default)]
pub(crate) struct Notes(RefCell<Vec<(Place, String)>>);

impl Notes {
    /// Adds one.
    pub(crate) fn note(&self, place: &Place, text: impl Into<String>) {
        self.0.borrow_mut().push((place.clone(), text.into()));
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(self) -> Vec<(Place, String)> {
        let mut notes = self.0.into_inner();
        notes.sort_by_key(|(place, _)| place.at.map(|at| (at.line, at.column)));
        notes
    }
}

/// Reads a message of type `T` out of `node`, the whole document.
pub(crate) fn decode<'de, T: Deserialize<'de>>(node: &'de Node, notes: &Notes) -> Result<T, Problem> {
    T::deserialize(Decoder { node, path: Path::Root, notes, typed: false })
}

/// A value that remembers where it was written, for checks that come after decoding.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) place: Place,
    pub(crate) value: T,
}

impl<T> At<T> {
    /// `cause` at this place.
    pub(crate) fn problem(&self, cause: Cause) -> Problem {
        Problem::at(&self.place, cause)
    }

    /// A rule that this value breaks.
    pub(crate) fn invalid(&self, what: impl Into<String>) -> Problem {
        Problem::invalid(&self.place, what)
    }

    /// A rule that this value breaks, and what to do about it.
    pub(crate) fn invalid_but(&self, what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        self.problem(Cause::Invalid { what: what.into(), remedy: Some(remedy.into()) })
    }
}

/// How [`At`] asks the decoder for line, column, path and value, in this order.
const AT: &str = "finwait::At";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(AT, AtVisitor(PhantomData))
    }
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("line, column, path and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
        let missing = || serde::de::Error::custom("only the configuration decoder knows places");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let column = parts.next_element()?.ok_or_else(missing)?;
        let path = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(At { place: Place { path, at: Some(Position { line, column }) }, value })
    }
}

/// From the root to a node; lives on the stack of the decoding functions.
#[derive(Clone, Copy)]
enum Path<'p> {
    Field(&'p Self, &'p str),
    Item(&'p Self, usize),
    Root,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Field(parent, name) if name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') => {
                write!(f, "{parent}[{name:?}]")
            }
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Decoder<'de, 'p> {
    node: &'de Node,
    path: Path<'p>,
    notes: &'p Notes,
    /// The node has been chosen by its `@type`, which stands among its fields.
    typed: bool,
}

impl<'de> Decoder<'de, '_> {
    fn place(&self) -> Place {
        Place { path: self.path.to_string(), at: Some(self.node.at) }
    }

    fn mismatch(&self, expected: &str) -> Problem {
        let found = self.node.value.describe();
        Problem::at(&self.place(), Cause::WrongType { expected: expected.to_owned(), found })
    }

    /// Whole numbers; protobuf's JSON form also takes them as strings.
    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value = match &self.node.value {
            Value::Integer(value) => Some(*value),
            Value::Text(text) => text.parse().ok(),
            Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) | Value::Null => None,
        };
        let value = value.ok_or_else(|| self.mismatch("a whole number"))?;
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => visitor.visit_u64(value),
            (Err(_), Ok(value)) => visitor.visit_i64(value),
            (Err(_), Err(_)) => Err(self.mismatch("a number of at most 64 bits")),
        }
        .map_err(|problem: Problem| problem.or_at(|| self.place()))
    }
}

impl<'de> Deserializer<'de> for Decoder<'de, '_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Integer(_) => self.number(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Null => visitor.visit_unit(),
            Value::Text(text) => visitor.visit_str(text),
        }
        .map_err(|problem| problem.or_at(|| self.place()))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Value::Bool(value) = self.node.value else {
            return Err(self.mismatch("true or false"));
        };
        visitor.visit_bool(value)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.number(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Value::Text(text) = &self.node.value else {
            return Err(self.mismatch("a string"));
        };
        visitor.visit_str(text).map_err(|problem: Problem| problem.or_at(|| self.place()))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.node.value == Value::Null {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Value::List(items) = &self.node.value else {
            return Err(self.mismatch("a list"));
        };
        visitor.visit_seq(Items { items: items.iter().enumerate(), path: self.path, notes: self.notes })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.mismatch("a mapping"));
        };
        let fields = Fields {
            message: name,
            known: fields,
            entries: entries.iter(),
            value: None,
            path: self.path,
            notes: self.notes,
            typed: self.typed,
        };
        visitor.visit_map(fields).map_err(|problem| problem.or_at(|| self.place()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(Choice { name, variants, decoder: self })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        match name {
            AT => visitor.visit_seq(AtParts { decoder: self, next: 0 }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

/// The items of a list.
struct Items<'de, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
    path: Path<'p>,
    notes: &'p Notes,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let decoder = Decoder { node, path: Path::Item(&self.path, index), notes: self.notes, typed: false };
        seed.deserialize(decoder).map(Some).map_err(|problem| problem.or_at(|| decoder.place()))
    }
}

/// The fields of a message, or the entries of a map (which has no name and knows no fields).
struct Fields<'de, 'p> {
    message: &'static str,
    known: &'static [&'static str],
    entries: std::slice::Iter<'de, Entry>,
    value: Option<&'de Entry>,
    path: Path<'p>,
    notes: &'p Notes,
    typed: bool,
}

impl<'de> Fields<'de, '_> {
    fn place(&self, entry: &Entry) -> Place {
        Place { path: Path::Field(&self.path, &entry.key).to_string(), at: Some(entry.at) }
    }

    /// What happens to a field that the message does not have.
    fn judge(&self, entry: &Entry, name: &str) -> Result<(), Problem> {
        // Protobuf cannot tell an empty list from an absent one.
        let says_nothing = match &entry.value.value {
            Value::List(items) => items.is_empty(),
            Value::Null => true,
            Value::Bool(_) | Value::Float(_) | Value::Integer(_) | Value::Map(_) | Value::Text(_) => false,
        };
        let cause = match unsupported::field(self.message, name) {
            Some(Verdict::Ignored(reason)) => {
                self.notes.note(&self.place(entry), format!("has no effect: {reason}"));
                return Ok(());
            }
            Some(Verdict::Old(instead)) => Cause::Old { name: Name::Field, instead },
            Some(Verdict::Only(value, _)) if says(&entry.value, value) => return Ok(()),
            Some(Verdict::Only(..) | Verdict::Refused(_)) if says_nothing => return Ok(()),
            Some(Verdict::Only(_, reason) | Verdict::Refused(reason)) => {
                Cause::Unsupported { name: Name::Field, reason }
            }
            None => unknown(Name::Field, &entry.key, self.known),
        };
        Err(Problem::at(&self.place(entry), cause))
    }
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        while let Some(entry) = self.entries.next() {
            if self.message.is_empty() {
                self.value = Some(entry);
                return seed.deserialize(StrDeserializer::new(&entry.key)).map(Some);
            }
            if self.typed && entry.key == TYPE {
                continue;
            }
            let name = snake_case(&entry.key);
            if !self.known.contains(&name.as_str()) {
                self.judge(entry, &name)?;
                continue;
            }
            if entry.value.value == Value::Null {
                continue;
            }
            self.value = Some(entry);
            let place = self.place(entry);
            return seed
                .deserialize(StrDeserializer::new(&name))
                .map(Some)
                .map_err(|problem: Problem| problem.or_at(|| place));
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some(entry) = self.value.take() else {
            return Err(Cause::Syntax("a value without a key".to_owned()).into());
        };
        let path = Path::Field(&self.path, &entry.key);
        let decoder = Decoder { node: &entry.value, path, notes: self.notes, typed: false };
        seed.deserialize(decoder).map_err(|problem| problem.or_at(|| decoder.place()))
    }
}

/// The key that names the type of a `typed_config`.
const TYPE: &str = "@type";
/// How every type begins.
const TYPE_URL: &str = "type.googleapis.com/";

/// An enumeration's value, or a message chosen by `@type`.
struct Choice<'de, 'p> {
    name: &'static str,
    variants: &'static [&'static str],
    decoder: Decoder<'de, 'p>,
}

impl<'de> Choice<'de, '_> {
    /// The chosen name, its kind, and where it stands.
    fn chosen(&self) -> Result<(&'de str, Name, Place), Problem> {
        if self.variants.iter().any(|variant| variant.starts_with(TYPE_URL)) {
            return self.chosen_type();
        }
        let Value::Text(text) = &self.decoder.node.value else {
            return Err(self.decoder.mismatch(&format!("one of {}", self.variants.join(", "))));
        };
        Ok((text, Name::Value(text.clone()), self.decoder.place()))
    }

    fn chosen_type(&self) -> Result<(&'de str, Name, Place), Problem> {
        let Value::Map(entries) = &self.decoder.node.value else {
            return Err(self.decoder.mismatch("a mapping with an @type"));
        };
        let Some(entry) = entries.iter().find(|entry| entry.key == TYPE) else {
            return Err(Problem::at(&self.decoder.place(), Cause::Missing { field: TYPE }));
        };
        let path = Path::Field(&self.decoder.path, TYPE);
        let at = Decoder { node: &entry.value, path, ..self.decoder };
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
        if !self.variants.contains(&chosen) {
            let cause = match unsupported::value(self.name, chosen) {
                Some(Verdict::Old(instead)) => Cause::Old { name, instead },
                Some(Verdict::Ignored(reason) | Verdict::Only(_, reason) | Verdict::Refused(reason)) => {
                    Cause::Unsupported { name, reason }
                }
                None => unknown(name, chosen, self.variants),
            };
            return Err(Problem::at(&place, cause));
        }
        let variant = seed.deserialize(StrDeserializer::new(chosen));
        let variant = variant.map_err(|problem: Problem| problem.or_at(|| place))?;
        Ok((variant, Decoder { typed: true, ..self.decoder }))
    }
}

impl<'de> VariantAccess<'de> for Decoder<'de, '_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// What [`At`] is made of.
struct AtParts<'de, 'p> {
    decoder: Decoder<'de, 'p>,
    next: u8,
}

impl<'de> SeqAccess<'de> for AtParts<'de, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.decoder.node.at.line.into_deserializer()),
            2 => seed.deserialize(self.decoder.node.at.column.into_deserializer()),
            3 => seed.deserialize(self.decoder.path.to_string().into_deserializer()),
            4 => seed.deserialize(self.decoder).map_err(|problem| problem.or_at(|| self.decoder.place())),
            _ => return Ok(None),
        }
        .map(Some)
    }
}

/// `lowerCamel` to `lower_snake`. Names with dots are extension names and stay as they are.
fn snake_case(name: &str) -> String {
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
        Value::Text(value) => value == text,
        Value::Map(entries) => text == "{}" && entries.is_empty(),
        Value::Float(_) | Value::List(_) | Value::Null => false,
    }
}
