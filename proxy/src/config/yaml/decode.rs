//! Reads Envoy's messages out of a tree of [`Node`]s.
//!
//! A serde `Deserializer`, so that the messages in [`bootstrap`](crate::config::bootstrap) are plain derived structs, with
//! four things that protobuf's JSON form requires: fields may be spelled `lower_snake` or `lowerCamel`; `null` says what
//! absence says; a `typed_config` chooses its message by `@type`; and fields outside a struct are not simply unknown, but
//! looked up in [`unsupported`](crate::config::unsupported).
//!
//! Promise: every error that leaves here has a place.

use serde::de::{DeserializeSeed, IntoDeserializer, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::decoder::Decoder;
use super::message::{Choice, Fields, Named};
use super::place::{AT, Notes, Path, TREE};
use super::{Node, Value, scalar};
use crate::config::problem::Problem;
use crate::config::units::{DURATION, DURATION_FIELDS};

/// Reads a message of type `T` out of `node`, the whole document.
pub(crate) fn decode<'de, T: Deserialize<'de>>(node: &'de Node, notes: &Notes) -> Result<T, Problem> {
    T::deserialize(Decoder::root(node, notes))
}

impl<'de> Decoder<'de, '_> {
    /// A value of any shape. A whole number of more than 32 bits is a text, as Envoy reads YAML.
    fn whatever<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Integer(number) => match i32::try_from(*number) {
                Ok(number) => visitor.visit_i64(number.into()),
                Err(_) => visitor.visit_str(&number.to_string()),
            },
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), decoder: self }),
            Value::Map(entries) => visitor.visit_map(Named::new(entries, self)),
            Value::Null => visitor.visit_unit(),
            Value::Text(text) => visitor.visit_str(text),
        }
        .map_err(|problem: Problem| problem.or_at(|| self.place()))
    }

    /// Whole numbers; protobuf's JSON form also takes them as strings.
    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value = match self.scalar() {
            Value::Integer(value) => Some(*value),
            Value::Text(text) => scalar::whole_number(text),
            Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Null => None,
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

    /// Every field of a message says what it takes, so nothing has to ask what was written.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        Err(self.mismatch("a field of a known kind"))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.scalar() {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Text(text) if text == "true" => visitor.visit_bool(true),
            Value::Text(text) if text == "false" => visitor.visit_bool(false),
            Value::Integer(_) | Value::List(_) | Value::Map(_) | Value::Null | Value::Text(_) => {
                Err(self.mismatch("true or false"))
            }
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.number(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.number(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.number(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value = match self.scalar() {
            Value::Integer(value) => scalar::number(&value.to_string()), // as precise as a double can be
            Value::Text(text) => scalar::number(text),
            Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Null => None,
        };
        visitor.visit_f64(value.ok_or_else(|| self.mismatch("a number"))?)
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
        visitor.visit_some(self.optional())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        // Protobuf takes a single value where a list is wanted.
        let items = match &self.node.value {
            Value::List(items) => items.as_slice(),
            _ if self.notes.demands_lists() => return Err(self.mismatch("a list")),
            Value::Bool(_) | Value::Integer(_) | Value::Map(_) | Value::Null | Value::Text(_) => {
                std::slice::from_ref(self.node)
            }
        };
        visitor.visit_seq(Items { items: items.iter().enumerate(), decoder: self })
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
        let fields = Fields::new(name, fields, entries, self);
        visitor.visit_map(fields).map_err(|problem| problem.or_at(|| self.place()))
    }

    /// Keys are names that the author chose, so no table knows them.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.mismatch("a mapping"));
        };
        visitor.visit_map(Named::new(entries, self)).map_err(|problem| problem.or_at(|| self.place()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(Choice { name, variants, decoder: self })
    }

    /// Of a field whose meaning is read from the tree.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        match name {
            AT => visitor.visit_seq(AtParts { decoder: self, next: 0 }),
            TREE => self.whatever(visitor),
            DURATION => match &self.node.value {
                Value::Map(_) => self.deserialize_struct(DURATION, DURATION_FIELDS, visitor),
                Value::Text(_) => self.deserialize_str(visitor),
                Value::Bool(_) | Value::Integer(_) | Value::List(_) | Value::Null => {
                    Err(self.mismatch("a duration such as 0.25s"))
                }
            },
            _ => visitor.visit_newtype_struct(self),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The items of a list.
struct Items<'de, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
    decoder: Decoder<'de, 'p>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some((index, node)) = self.items.find(|(_, node)| !node.is_left_out()) else {
            return Ok(None);
        };
        let decoder = self.decoder.child(node, Path::Item(&self.decoder.path, index));
        seed.deserialize(decoder).map(Some).map_err(|problem| problem.or_at(|| decoder.place()))
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
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_any(visitor)
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
