//! The runs that a line is about: one value of a parameter, a list of them, or several parameters.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::scenario::Ordered;
use crate::scenario::tree::shown;

/// What one run has of its own: the name and value of everything that differs from run to run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Label(pub Vec<(String, String)>);

/// The runs that something is about.
#[derive(Clone, Debug)]
pub enum When {
    /// One of these is among a run's values.
    Any(Vec<String>),
    /// Each of these parameters has one of these values.
    Parameters(Vec<(String, Vec<String>)>),
}

impl Label {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&pairs.join(", "))
    }
}

impl When {
    /// Whether it is about the run with this label.
    #[must_use]
    pub fn fits(&self, label: &Label) -> bool {
        match self {
            Self::Any(values) => label.0.iter().any(|(_, value)| values.contains(value)),
            Self::Parameters(wanted) => wanted
                .iter()
                .all(|(name, values)| label.0.iter().any(|(has, value)| has == name && values.contains(value))),
        }
    }
}

/// One value, or a list of values, as labels show them. Each is taken as it is written: `no` is a word here, and 010 has
/// its zero.
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueOrList).map(Self)
    }
}

struct ValueOrList;

impl<'de> Visitor<'de> for ValueOrList {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a list of values")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Vec<String>, E> {
        Ok(vec![shown(value)])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<String>()? {
            values.push(shown(&value));
        }
        Ok(values)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesOrParameters)
    }
}

struct ValuesOrParameters;

impl<'de> Visitor<'de> for ValuesOrParameters {
    type Value = When;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value such as `5s`, a list of values, or parameters such as `{ gap: 5s }`")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<When, E> {
        ValueOrList.visit_bool(value).map(When::Any)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<When, E> {
        ValueOrList.visit_f64(value).map(When::Any)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<When, E> {
        ValueOrList.visit_i64(value).map(When::Any)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<When, E> {
        ValueOrList.visit_u64(value).map(When::Any)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<When, E> {
        ValueOrList.visit_str(value).map(When::Any)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<When, A::Error> {
        ValueOrList.visit_seq(list).map(When::Any)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<When, A::Error> {
        let wanted = Ordered::<OneOrMore>::deserialize(MapAccessDeserializer::new(map))?;
        Ok(When::Parameters(wanted.0.into_iter().map(|(name, values)| (name, values.0)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_a_value_a_list_or_parameters() {
        let label = Label(vec![("gap".into(), "1s".into()), ("n".into(), "2".into())]);
        let cases = [("1s", true), ("2s", false), ("[3s, 1s]", true), ("{ n: 2 }", true), ("{ n: 2, gap: 2s }", false)];
        for (text, expected) in cases {
            assert_eq!(serde_yaml::from_str::<When>(text).unwrap().fits(&label), expected, "{text}");
        }
    }
}
