//! Header fields and trailers as a scenario writes them: a map of names and values, or a list of such maps where a name comes on
//! several lines. A list keeps the spelling of each value, which a list below a name would not.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::scenario::Ordered;

/// Fields in the order in which they are sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldLines(pub Vec<(String, String)>);

/// What is expected of the fields of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExpectedFields(pub Vec<(String, ExpectedValue)>);

/// What is expected of the lines with one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExpectedValue {
    /// There is none.
    Absent,
    /// All of them have these values, in order.
    All(Vec<String>),
    /// The first has this one.
    First(String),
}

impl FieldLines {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl ExpectedValue {
    /// Whether these are the values of a name.
    #[must_use]
    pub fn fits(&self, got: &[&str]) -> bool {
        match self {
            Self::Absent => got.is_empty(),
            Self::All(values) => got == values.as_slice(),
            Self::First(value) => got.first() == Some(&value.as_str()),
        }
    }
}

impl fmt::Display for ExpectedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::All(values) => write!(f, "[{}]", values.join(", ")),
            Self::First(value) => f.write_str(value),
        }
    }
}

/// A map, or a list of maps.
enum Written<T> {
    List(Vec<Ordered<T>>),
    Map(Ordered<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MapOrList(std::marker::PhantomData))
    }
}

struct MapOrList<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapOrList<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields such as `{ x-one: \"1\" }`, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written<T>, A::Error> {
        Ordered::deserialize(MapAccessDeserializer::new(map)).map(Written::Map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Written<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Written::List)
    }
}

impl<'de> Deserialize<'de> for FieldLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::List(maps) => Self(maps.into_iter().flat_map(|Ordered(lines)| lines).collect()),
            Written::Map(Ordered(lines)) => Self(lines),
        })
    }
}

impl<'de> Deserialize<'de> for ExpectedFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let first = |value: Option<String>| value.map_or(ExpectedValue::Absent, ExpectedValue::First);
        let maps: Vec<Ordered<Option<String>>> = match Written::deserialize(deserializer)? {
            Written::Map(Ordered(fields)) => {
                return Ok(Self(fields.into_iter().map(|(name, value)| (name, first(value))).collect()));
            }
            Written::List(maps) => maps,
        };
        let mut expected: Vec<(String, ExpectedValue)> = Vec::new();
        for (name, value) in maps.into_iter().flat_map(|Ordered(fields)| fields) {
            let known = expected.iter_mut().find(|(has, _)| has.eq_ignore_ascii_case(&name));
            match (known, value) {
                (Some((_, ExpectedValue::All(values))), Some(value)) => values.push(value),
                (_, Some(value)) => expected.push((name, ExpectedValue::All(vec![value]))),
                (_, None) => expected.push((name, ExpectedValue::Absent)),
            }
        }
        Ok(Self(expected))
    }
}
