//! What metadata, and tests of it, mean.

use crate::config::bootstrap::filter::{MetadataEntry as WrittenEntry, SetMetadata as WrittenSetMetadata};
use crate::config::bootstrap::matchers::{DoubleMatcher, MetadataMatcher, ValueMatcher};
use crate::config::bootstrap::metadata::Metadata as WrittenMetadata;
use crate::config::filter::{MetadataEntry, Overwriting};
use crate::config::metadata::{Metadata, MetadataPath, Struct, Value, ValueMatch};
use crate::config::problem::Problem;
use crate::config::subsets::{BALANCING, MetadataMatch};
use crate::config::yaml::{At, Tree};

use super::pattern::string_match;

/// What the filter `envoy.filters.http.set_metadata` sets, one after the other.
pub(super) fn entries(written: &WrittenSetMetadata) -> Result<Vec<MetadataEntry>, Problem> {
    let mut entries = Vec::new();
    // The older spelling, which always overwrites.
    if let (Some(namespace), Some(value)) = (&written.metadata_namespace, &written.value)
        && !namespace.is_empty()
    {
        let value = members(value)?;
        entries.push(MetadataEntry { namespace: namespace.clone(), value, overwriting: Overwriting::Merged });
    }
    for entry in &written.metadata {
        entries.extend(self::entry(entry)?);
    }
    Ok(entries)
}

/// One without a value says nothing, as in Envoy.
fn entry(written: &WrittenEntry) -> Result<Option<MetadataEntry>, Problem> {
    let Some(value) = &written.value else { return Ok(None) };
    let overwriting = if written.allow_overwrite { Overwriting::Merged } else { Overwriting::Denied };
    let namespace = written.metadata_namespace.to_string();
    Ok(Some(MetadataEntry { namespace, value: members(value)?, overwriting }))
}

/// What stands under the name `envoy.lb`, by which endpoints are told apart.
pub(super) fn labels(written: &At<WrittenMetadata>) -> Result<Option<Struct>, Problem> {
    written.value.filter_metadata.get(BALANCING).map(members).transpose()
}

/// Metadata of a cluster or an endpoint.
pub(super) fn metadata(written: Option<&At<WrittenMetadata>>) -> Result<Metadata, Problem> {
    let Some(written) = written else { return Ok(Metadata::default()) };
    let namespace = |(name, at): (&String, &At<Tree>)| Ok((name.clone(), members(at)?));
    written.value.filter_metadata.iter().map(namespace).collect::<Result<_, _>>().map(Metadata)
}

/// What stands under `envoy.lb` in `metadata_match`.
pub(super) fn metadata_match(written: Option<&At<WrittenMetadata>>) -> Result<Option<MetadataMatch>, Problem> {
    Ok(written.map(labels).transpose()?.flatten().map(MetadataMatch::from))
}

/// The members of a mapping.
pub(super) fn members(written: &At<Tree>) -> Result<Struct, Problem> {
    match &written.value {
        Tree::Map(members) => members.iter().map(|(key, at)| Ok((key.clone(), value(&at.value)?))).collect(),
        Tree::Flag(_) | Tree::List(_) | Tree::Null | Tree::Number(_) | Tree::Text(_) => {
            Err(written.invalid("must be a mapping"))
        }
    }
}

fn value(written: &Tree) -> Result<Value, Problem> {
    Ok(match written {
        Tree::Flag(flag) => Value::Flag(*flag),
        Tree::List(items) => Value::List(items.iter().map(|item| value(&item.value)).collect::<Result<_, _>>()?),
        Tree::Map(members) => {
            let member = |(key, at): &(String, At<Tree>)| Ok((key.clone(), value(&at.value)?));
            Value::Struct(members.iter().map(member).collect::<Result<_, Problem>>()?)
        }
        Tree::Null => Value::Null,
        #[expect(clippy::cast_precision_loss, reason = "a number of google.protobuf.Value is a double")]
        Tree::Number(number) => Value::Number(*number as f64),
        Tree::Text(text) => Value::Text(text.clone()),
    })
}

/// Where it looks, and what it wants there. `invert` is left to the caller.
pub(super) fn matcher(written: &At<MetadataMatcher>) -> Result<(MetadataPath, ValueMatch), Problem> {
    let MetadataMatcher { filter, path, value, .. } = &written.value;
    if path.value.is_empty() {
        return Err(path.invalid("needs at least one key"));
    }
    let keys = path.value.iter().map(|segment| segment.key.to_string()).collect();
    Ok((MetadataPath { namespace: filter.to_string(), keys }, test(value)?))
}

fn test(at: &At<ValueMatcher>) -> Result<ValueMatch, Problem> {
    let ValueMatcher { bool_match, double_match, list_match, null_match, or_match, present_match, string_match: text } =
        &at.value;
    let mut tests = Vec::new();
    tests.extend(null_match.iter().map(|_| ValueMatch::Null));
    if let Some(double) = double_match {
        tests.push(self::double(double)?);
    }
    if let Some(text) = text {
        tests.push(ValueMatch::Text(string_match(text)?));
    }
    tests.extend(bool_match.map(ValueMatch::Flag));
    tests.extend(present_match.map(ValueMatch::Present));
    if let Some(list) = list_match {
        tests.push(ValueMatch::Item(Box::new(test(&list.one_of)?)));
    }
    if let Some(or) = or_match {
        if or.value.value_matchers.len() < 2 {
            return Err(or.invalid("takes two value_matchers or more"));
        }
        tests.push(ValueMatch::Any(or.value.value_matchers.iter().map(test).collect::<Result<_, _>>()?));
    }
    match (tests.pop(), tests.is_empty()) {
        (Some(test), true) => Ok(test),
        (None, _) | (Some(_), false) => {
            Err(at.invalid("takes exactly one of string_match, double_match, bool_match, present_match and so on"))
        }
    }
}

fn double(at: &At<DoubleMatcher>) -> Result<ValueMatch, Problem> {
    match (&at.value.exact, &at.value.range) {
        (Some(exact), None) => Ok(ValueMatch::Number(*exact)),
        (None, Some(range)) => Ok(ValueMatch::Range(range.start..range.end)),
        (None, None) | (Some(_), Some(_)) => Err(at.invalid("takes exactly one of exact and range")),
    }
}
