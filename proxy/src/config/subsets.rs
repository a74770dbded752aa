//! Subsets of the endpoints of a cluster, typed: `lb_subset_config` and `metadata_match`.

use std::collections::{BTreeMap, BTreeSet};

use super::metadata::{Struct, Value};

/// What endpoints have to have in their metadata under `envoy.lb`: keys, each with its value. Values are compared as JSON texts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Criteria(BTreeMap<String, String>);

/// Under which name the metadata of endpoints, routes and requests says what balancing reads.
pub const BALANCING: &str = "envoy.lb";

/// The key of [`Criteria`] that lists others to be tried one after the other.
const FALLBACK_LIST: &str = "fallback_list";

impl From<&Struct> for Criteria {
    fn from(members: &Struct) -> Self {
        Self(members.iter().map(|(key, value)| (key.clone(), Self::text(value))).collect())
    }
}

impl Criteria {
    /// A value as it is compared.
    #[must_use]
    pub fn text(value: &Value) -> String {
        value.to_json().to_string()
    }

    /// The keys with their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Nothing has to be there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of these keys that are here.
    #[must_use]
    pub fn only(&self, keys: &BTreeSet<String>) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(key, _)| keys.contains(*key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }
}

/// `metadata_match` of a route: what the endpoint of its requests has to have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataMatch {
    /// Without the list.
    pub criteria: Criteria,
    /// `fallback_list`: in place of its own values of these keys, one after the other until an endpoint is found. For clusters
    /// whose `metadata_fallback_policy` is `FALLBACK_LIST`.
    pub alternatives: Option<Vec<Criteria>>,
    /// As written, for what is joined with it.
    pub written: Struct,
}

impl From<Struct> for MetadataMatch {
    fn from(written: Struct) -> Self {
        let alternatives = match written.get(FALLBACK_LIST) {
            Some(Value::List(list)) => Some(list.iter().map(|one| alternative(&written, one)).collect()),
            Some(Value::Flag(_) | Value::Null | Value::Number(_) | Value::Struct(_) | Value::Text(_)) | None => None,
        };
        let criteria = if alternatives.is_some() { Criteria::from(&without_list(&written)) } else { (&written).into() };
        Self { criteria, alternatives, written }
    }
}

fn without_list(written: &Struct) -> Struct {
    written.iter().filter(|(key, _)| *key != FALLBACK_LIST).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn alternative(written: &Struct, one: &Value) -> Criteria {
    let mut all = without_list(written);
    if let Value::Struct(members) = one {
        all.extend(members.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    (&all).into()
}

impl MetadataMatch {
    /// The same with what `more` says, whose values take the place of those of the same keys.
    #[must_use]
    pub fn joined(&self, more: &Struct) -> Self {
        let mut all = self.written.clone();
        all.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        all.into()
    }
}

/// `lb_subset_config`
#[derive(Clone, Debug, PartialEq)]
pub struct Subsets {
    /// By which keys endpoints are grouped.
    pub selectors: Vec<Selector>,
    /// Where requests go for which there is no subset.
    pub fallback: Fallback,
    /// `default_subset`
    pub default: Struct,
    /// What the weights of localities mean within subsets.
    pub localities: SubsetLocalities,
    /// `panic_mode_any`: if the default subset has no endpoint, all endpoints take its place.
    pub panic_any: bool,
    /// `list_as_any`: an endpoint whose value is a list has each of its members as value.
    pub list_as_any: bool,
    /// `allow_redundant_keys`: keys of a route that no selector has are left out.
    pub redundant_keys: bool,
    /// `metadata_fallback_policy: FALLBACK_LIST`
    pub reads_fallback_list: bool,
}

/// `subset_selectors`: endpoints that have all of these keys are grouped by their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The keys.
    pub keys: BTreeSet<String>,
    /// Where requests go that name these keys, with values for which there is no subset; `None` is as for all.
    pub fallback: Option<SelectorFallback>,
    /// `single_host_per_subset`: the first endpoint of a subset is the only one.
    pub single: bool,
}

/// Where requests go for which there is no subset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fallback {
    /// `ANY_ENDPOINT`
    Any,
    /// `DEFAULT_SUBSET`
    Default,
    /// `NO_FALLBACK`: they get no endpoint.
    None,
}

/// The same for the keys of one selector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SelectorFallback {
    /// One of the policies for all.
    Plain(Fallback),
    /// `KEYS_SUBSET`: the subset of these keys alone.
    Keys(BTreeSet<String>),
}

/// What the weights of localities mean within subsets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubsetLocalities {
    /// Nothing.
    Merged,
    /// `locality_weight_aware`: what they mean in the cluster.
    Weighted,
    /// `scale_locality_weight`: the part of it that the subset has of the locality's endpoints.
    Scaled,
}
