//! Metadata of streams, typed: what filters leave under a namespace for those that come after them, for headers and for logs.
//!
//! A namespace holds a `google.protobuf.Struct`, whose numbers are doubles.

use std::collections::BTreeMap;
use std::ops::Range;

use super::string_match::StringMatch;

/// What one namespace holds.
pub type Struct = BTreeMap<String, Value>;

/// `google.protobuf.Value`
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A flag.
    Flag(bool),
    /// A list.
    List(Vec<Self>),
    /// `null`
    Null,
    /// A number, which is finite.
    Number(f64),
    /// A message within.
    Struct(Struct),
    /// A text.
    Text(String),
}

impl Value {
    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Flag(flag) => (*flag).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Null => serde_json::Value::Null,
            Self::Number(number) => match format!("{number:.0}").parse::<i64>() {
                // Whole numbers have no point, as in Envoy.
                Ok(whole) if number.fract() == 0.0 => whole.into(),
                Ok(_) | Err(_) => (*number).into(),
            },
            Self::Struct(members) => struct_to_json(members),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

fn struct_to_json(members: &Struct) -> serde_json::Value {
    members.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
}

/// Lays `from` over `to` as Envoy does: lists are joined, messages merged, `null` changes nothing, and everything else, as well as
/// a value of another kind, takes the place of what was there.
pub fn merge(to: &mut Struct, from: &Struct) {
    for (key, value) in from {
        match (to.get_mut(key), value) {
            (Some(Value::Struct(to)), Value::Struct(from)) => merge(to, from),
            (Some(Value::List(to)), Value::List(from)) => to.extend(from.iter().cloned()),
            (Some(_), Value::Null) => {}
            (Some(to), from) => *to = from.clone(),
            (None, from) => drop(to.insert(key.clone(), from.clone())),
        }
    }
}

/// The metadata of one stream, by namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(pub BTreeMap<String, Struct>);

/// `metadata` of a cluster, of its endpoints and of their localities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterMetadata {
    /// Of the cluster.
    pub of_cluster: Metadata,
    /// Of its endpoints, in the order of `discovery`.
    pub of_endpoints: Vec<Metadata>,
    /// Of their localities, in the same order.
    pub of_localities: Vec<Metadata>,
}

/// Who has metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetadataOwner {
    /// The cluster.
    Cluster,
    /// The endpoint.
    Host,
}

impl ClusterMetadata {
    /// That of the cluster, or of the endpoint at this place.
    #[must_use]
    pub fn of(&self, owner: MetadataOwner, endpoint: Option<usize>) -> Option<&Metadata> {
        match owner {
            MetadataOwner::Cluster => Some(&self.of_cluster),
            MetadataOwner::Host => self.of_endpoints.get(endpoint?),
        }
    }
}

/// Where a value stands in metadata.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetadataPath {
    /// Under which name.
    pub namespace: String,
    /// The key, and those within what it holds; none is the whole namespace.
    pub keys: Vec<String>,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// The whole namespace, or a message within.
    Struct(&'a Struct),
    /// Anything else.
    Value(&'a Value),
}

impl Found<'_> {
    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Struct(members) => struct_to_json(members),
            Self::Value(value) => value.to_json(),
        }
    }
}

impl Metadata {
    /// What stands there, if anything does.
    #[must_use]
    pub fn get(&self, path: &MetadataPath) -> Option<Found<'_>> {
        let mut found = Found::Struct(self.0.get(&path.namespace)?);
        for key in &path.keys {
            let Found::Struct(members) = found else { return None };
            found = match members.get(key)? {
                Value::Struct(members) => Found::Struct(members),
                value @ (Value::Flag(_) | Value::List(_) | Value::Null | Value::Number(_) | Value::Text(_)) => {
                    Found::Value(value)
                }
            };
        }
        Some(found)
    }
}

/// `envoy.type.matcher.v3.ValueMatcher`: a test of a value that is there.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// `or_match`: one of these takes it.
    Any(Vec<Self>),
    /// `present_match`: true takes everything, false nothing.
    Present(bool),
    /// `bool_match`
    Flag(bool),
    /// `list_match.one_of`: a list, one of whose items this takes.
    Item(Box<Self>),
    /// `null_match`
    Null,
    /// `double_match.exact`
    Number(f64),
    /// `double_match.range`, whose end is not in it.
    Range(Range<f64>),
    /// `string_match`
    Text(StringMatch),
}

impl ValueMatch {
    /// Does it take what was found?
    #[must_use]
    pub fn takes(&self, found: Found<'_>) -> bool {
        match found {
            // Of the tests only these two may take a message.
            Found::Struct(_) => match self {
                Self::Any(tests) => tests.iter().any(|test| test.takes(found)),
                Self::Present(wanted) => *wanted,
                Self::Flag(_) | Self::Item(_) | Self::Null | Self::Number(_) | Self::Range(_) | Self::Text(_) => false,
            },
            Found::Value(value) => self.takes_value(value),
        }
    }

    fn takes_value(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any(tests), _) => tests.iter().any(|test| test.takes_value(value)),
            (Self::Present(wanted), _) => *wanted,
            (Self::Flag(wanted), Value::Flag(flag)) => wanted == flag,
            (Self::Item(test), Value::List(items)) => items.iter().any(|item| test.takes_value(item)),
            (Self::Null, Value::Null) => true,
            (Self::Number(wanted), Value::Number(number)) => wanted == number,
            (Self::Range(range), Value::Number(number)) => range.contains(number),
            (Self::Text(test), Value::Text(text)) => test.takes(text.as_bytes()),
            (Self::Flag(_) | Self::Item(_) | Self::Null | Self::Number(_) | Self::Range(_) | Self::Text(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: Value) -> Struct {
        Struct::from([(key.to_owned(), value)])
    }

    #[test]
    fn lists_are_joined_and_null_changes_nothing() {
        let number = |number| Value::Number(number);
        let list = |items: &[f64]| Value::List(items.iter().copied().map(number).collect());
        for (to, from, merged) in [
            (Some(list(&[1.0])), list(&[2.0]), list(&[1.0, 2.0])),
            (Some(number(1.0)), list(&[2.0]), list(&[2.0])),
            (Some(number(1.0)), Value::Null, number(1.0)),
            (None, Value::Null, Value::Null),
            (Some(Value::Flag(true)), Value::Text("x".into()), Value::Text("x".into())),
            (
                Some(Value::Struct(one("a", number(1.0)))),
                Value::Struct(one("b", number(2.0))),
                Value::Struct(Struct::from([("a".into(), number(1.0)), ("b".into(), number(2.0))])),
            ),
        ] {
            let mut members = to.map(|to| one("k", to)).unwrap_or_default();
            merge(&mut members, &one("k", from.clone()));
            assert_eq!(members, one("k", merged), "{from:?}");
        }
    }

    #[test]
    fn numbers_are_json_without_a_point_where_they_are_whole() {
        for (number, json) in
            [(5.0, "5"), (-0.0, "0"), (1.5, "1.5"), (1e20, "1e+20"), (9_007_199_254_740_992.0, "9007199254740992")]
        {
            assert_eq!(Value::Number(number).to_json().to_string(), json);
        }
    }

    #[test]
    fn a_path_leads_through_messages_alone() {
        let inner = Value::Struct(one("p", Value::Text("x".into())));
        let metadata = Metadata(BTreeMap::from([("ns".to_owned(), one("o", inner))]));
        for (path, json) in [
            ("ns", Some(r#"{"o":{"p":"x"}}"#)),
            ("ns:o", Some(r#"{"p":"x"}"#)),
            ("ns:o:p", Some("\"x\"")),
            ("ns:o:p:q", None),
            ("ns:q", None),
            ("other", None),
        ] {
            let mut keys = path.split(':').map(str::to_owned);
            let path = MetadataPath { namespace: keys.next().unwrap_or_default(), keys: keys.collect() };
            let found = metadata.get(&path).map(|found| found.to_json().to_string());
            assert_eq!(found.as_deref(), json, "{path:?}");
        }
    }
}
