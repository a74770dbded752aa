//! What requests are told apart by where they are limited: the policies of filters, routes and virtual hosts.

use std::sync::Arc;

use super::{address, matching, metadata as interpret_metadata};
use crate::config::bootstrap::metadata::Metadata as WrittenMetadata;
use crate::config::bootstrap::rate_limit::{
    RateLimit as Written, RateLimitAction, RateLimitHitsAddend, RateLimitMetadata, RateLimitMetadataKey,
    RateLimitMetadataSource, RateLimitOverride, RateLimitRemoteAddressMatch, RateLimitUnit, VhRateLimitsOptions,
    XRateLimitOption,
};
use crate::config::global_rate_limit::{GlobalOfRoute, GlobalRateLimit};
use crate::config::log_format::Format;
use crate::config::matching::{Condition, Sense};
use crate::config::metadata::{Found, Metadata, MetadataPath, Value};
use crate::config::problem::Problem;
use crate::config::rate_limit::{
    Absent, Action, BucketHeaders, HitCount, HitSign, Hits, LimitOverride, MetadataSource, Moment, OfHost, Policy,
    RateLimit,
};
use crate::config::yaml::{At, Notes};

/// Envoy's largest `stage`.
const STAGE_MAX: u32 = 10;
/// Envoy's largest `hits_addend.number`.
const HITS_MAX: u64 = 1_000_000_000;

/// Who has policies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// `envoy.filters.http.local_ratelimit`
    Bucket,
    /// A route or a virtual host.
    Route,
    /// `envoy.filters.http.ratelimit`, or what a level says of it.
    Service,
}

/// What a level says of what requests are told apart by.
pub(super) enum OfLevel {
    Host(Vec<Policy>),
    /// With those of the virtual host (`include_vh_rate_limits`), or as the limit says.
    Route(Vec<Policy>, Option<OfHost>, Arc<Metadata>),
}

/// What all levels say.
#[derive(Default)]
struct Said<'l> {
    of_host: &'l [Policy],
    /// `None` is a route that responds by itself.
    of_route: Option<&'l [Policy]>,
    included: Option<OfHost>,
    /// Of the route.
    metadata: Option<&'l Metadata>,
}

impl<'l> Said<'l> {
    fn by(levels: impl Iterator<Item = &'l OfLevel>) -> Self {
        let mut said = Self::default();
        for level in levels {
            match level {
                OfLevel::Host(policies) => said.of_host = policies,
                OfLevel::Route(policies, included, metadata) => {
                    (said.of_route, said.included, said.metadata) =
                        (Some(policies.as_slice()), *included, Some(&**metadata));
                }
            }
        }
        said
    }

    /// The policies of the route and, as `host` has it, of its virtual host. A response of the route's own has none, as in Envoy.
    fn of_stage(&self, stage: u32, host: OfHost) -> impl Iterator<Item = Policy> {
        let of_host = match (self.of_route, self.included.unwrap_or(host)) {
            (Some(_), OfHost::Included) | (Some([]), OfHost::Overridden) => self.of_host,
            (None, _) | (_, OfHost::Ignored) | (Some(_), OfHost::Overridden) => &[],
        };
        let all = self.of_route.unwrap_or_default().iter().chain(of_host);
        all.filter(move |policy| policy.stage == stage).map(|policy| self.placed(policy))
    }

    /// The policy as it is on the route.
    fn placed(&self, policy: &Policy) -> Policy {
        self.metadata.map_or_else(|| policy.clone(), |metadata| on_route(policy, metadata))
    }
}

/// What requests of a route are told apart by, for this limit.
pub(super) fn below_bucket<'l>(limit: &RateLimit, levels: impl Iterator<Item = &'l OfLevel>) -> Arc<[Policy]> {
    if limit.descriptors.is_empty() {
        return Arc::default();
    }
    let said = Said::by(levels);
    if !limit.policies.is_empty() {
        // As in Envoy, a token is taken when a request comes, or never.
        let of_filter = limit.policies.iter().filter(|policy| policy.at == Moment::Request);
        return of_filter.map(|policy| said.placed(policy)).collect();
    }
    said.of_stage(limit.stage, limit.of_host).map(|policy| Policy { at: Moment::Request, ..policy }).collect()
}

/// The same for a rate limit service, where `of_level` is what the most specific level says of the filter.
pub(super) fn below_service<'l>(
    limit: &GlobalRateLimit,
    of_level: Option<&GlobalOfRoute>,
    levels: impl Iterator<Item = &'l OfLevel>,
) -> Arc<[Policy]> {
    let said = Said::by(levels);
    let own = of_level.map(|level| &level.policies).filter(|policies| !policies.is_empty()).unwrap_or(&limit.policies);
    if !own.is_empty() {
        return own.iter().map(|policy| said.placed(policy)).collect();
    }
    said.of_stage(limit.stage, of_level.map_or(OfHost::Overridden, |level| level.of_host)).collect()
}

/// What requests are told apart by.
pub(super) fn policies(written: &[At<Written>], owner: Owner, notes: &Notes) -> Result<Vec<Policy>, Problem> {
    written.iter().map(|at| policy(at, owner, notes)).collect()
}

fn policy(at: &At<Written>, owner: Owner, notes: &Notes) -> Result<Policy, Problem> {
    let Written { actions, apply_on_stream_done, disable_key, hits_addend, limit, stage, x_ratelimit_option } =
        &at.value;
    if actions.value.is_empty() {
        return Err(actions.invalid("takes one action or more"));
    }
    let key = disable_key.as_ref().filter(|key| !key.value.is_empty());
    let stage_place = stage.as_ref().map(|stage| &stage.place);
    let stage = self::stage(stage.as_ref())?;
    if owner != Owner::Route
        && let Some(place) = stage_place.or(key.map(|key| &key.place))
    {
        return Err(Problem::invalid(place, "'stage' field and 'disable_key' field are not supported"));
    }
    if owner == Owner::Bucket
        && let Some(limit) = limit
    {
        return Err(limit.invalid("'limit' field is not supported"));
    }
    let share_key = key.map(|key| format!("ratelimit.{}.http_filter_enabled", key.value));
    share_key.iter().for_each(|key| notes.reads(key));
    let hits = match hits_addend {
        // Envoy reads it where a filter has it.
        Some(at) if owner == Owner::Route => {
            notes.note(&at.place, "has no effect on a route: write it in rate_limits of the filter, or of the route's typed_per_filter_config");
            None
        }
        Some(at) => Some(hits(at, owner)?),
        None => None,
    };
    Ok(Policy {
        stage,
        actions: actions.value.iter().map(action).collect::<Result<_, _>>()?,
        share_key,
        limit: limit.as_ref().map(over).transpose()?,
        hits,
        at: if *apply_on_stream_done { Moment::End } else { Moment::Request },
        headers: match x_ratelimit_option {
            None | Some(XRateLimitOption::Unspecified) => None,
            Some(XRateLimitOption::Off) => Some(BucketHeaders::Off),
            Some(XRateLimitOption::Draft03) => Some(BucketHeaders::Draft03),
        },
    })
}

fn hits(at: &At<RateLimitHitsAddend>, owner: Owner) -> Result<Hits, Problem> {
    let RateLimitHitsAddend { format, is_negative_hits, number } = &at.value;
    if *is_negative_hits && owner == Owner::Bucket {
        return Err(at.invalid("is_negative_hits: a token that was taken is not given back"));
    }
    let count = match number {
        Some(number) if number.value > HITS_MAX => {
            return Err(number.invalid(format!("must be at most {HITS_MAX}")));
        }
        Some(number) if format.is_empty() => HitCount::Fixed(number.value),
        None if !format.is_empty() => {
            if !format.starts_with('%') || !format.ends_with('%') {
                return Err(at.invalid("format must begin and end with %"));
            }
            HitCount::Made(self::format(at, format)?)
        }
        Some(_) | None => return Err(at.invalid("hits_addend must contain either a format or a number")),
    };
    Ok(Hits { count, sign: if *is_negative_hits { HitSign::GivenBack } else { HitSign::Added } })
}

fn over(at: &At<RateLimitOverride>) -> Result<LimitOverride, Problem> {
    match (&at.value.dynamic_metadata, &at.value.rate_limit) {
        (Some(metadata), None) => Ok(LimitOverride::Metadata(path(&metadata.metadata_key)?)),
        (None, Some(limit)) => {
            let unit = limit.unit.unwrap_or(RateLimitUnit::Unknown);
            Ok(LimitOverride::Fixed { requests: limit.requests_per_unit, unit: unit as i32 })
        }
        (None, None) | (Some(_), Some(_)) => Err(at.invalid("takes exactly one of dynamic_metadata and rate_limit")),
    }
}

/// Where a value stands in metadata.
pub(super) fn path(written: &RateLimitMetadataKey) -> Result<MetadataPath, Problem> {
    if written.path.value.is_empty() {
        return Err(written.path.invalid("needs at least one key"));
    }
    let keys = written.path.value.iter().map(|segment| segment.key.to_string()).collect();
    Ok(MetadataPath { namespace: written.key.to_string(), keys })
}

/// A stage from 0 to 10.
pub(super) fn stage(written: Option<&At<u32>>) -> Result<u32, Problem> {
    match written {
        Some(stage) if stage.value > STAGE_MAX => Err(stage.invalid(format!("must be from 0 to {STAGE_MAX}"))),
        stage => Ok(stage.map_or(0, |stage| stage.value)),
    }
}

/// `vh_rate_limits`
pub(super) fn of_host(written: Option<VhRateLimitsOptions>) -> OfHost {
    match written {
        None | Some(VhRateLimitsOptions::Override) => OfHost::Overridden,
        Some(VhRateLimitsOptions::Include) => OfHost::Included,
        Some(VhRateLimitsOptions::Ignore) => OfHost::Ignored,
    }
}

fn action(at: &At<RateLimitAction>) -> Result<Action, Problem> {
    let written = &at.value;
    let sense = |expected: Option<bool>| if expected.unwrap_or(true) { Sense::Direct } else { Sense::Inverted };
    let mut all = Vec::new();
    all.extend(written.destination_cluster.iter().map(|_| Action::DestinationCluster));
    all.extend(written.remote_address.iter().map(|_| Action::RemoteAddress));
    all.extend(written.source_cluster.iter().map(|_| Action::SourceCluster));
    if let Some(generic) = &written.generic_key {
        let key = key(&generic.descriptor_key, "generic_key");
        all.push(Action::Fixed { key, value: generic.descriptor_value.value.to_string(), conditions: None });
    }
    if let Some(headers) = &written.header_value_match {
        let conditions = headers.headers.iter().map(|header| matching::header(header).map(Condition::Header));
        all.push(Action::Fixed {
            key: key(&headers.descriptor_key, "header_match"),
            value: headers.descriptor_value.value.to_string(),
            conditions: Some((conditions.collect::<Result<_, _>>()?, sense(headers.expect_match))),
        });
    }
    if let Some(query) = &written.query_parameter_value_match {
        let conditions = query.query_parameters.iter().map(|query| matching::query(query).map(Condition::Query));
        all.push(Action::Fixed {
            key: key(&query.descriptor_key, "query_match"),
            value: query.descriptor_value.value.to_string(),
            conditions: Some((conditions.collect::<Result<_, _>>()?, sense(query.expect_match))),
        });
    }
    if let Some(masked) = &written.masked_remote_address {
        let (v4, v6) = (masked.v4_prefix_mask_len.as_ref(), masked.v6_prefix_mask_len.as_ref());
        all.push(Action::MaskedRemoteAddress { v4: bits(v4, 32)?, v6: bits(v6, 128)? });
    }
    if let Some(address) = &written.remote_address_match {
        all.push(address_match(address)?);
    }
    if let Some(metadata) = &written.metadata {
        all.push(self::metadata(metadata)?);
    }
    all.extend(written.query_parameters.iter().map(|query| Action::Query {
        name: query.query_parameter_name.to_string(),
        key: query.descriptor_key.to_string(),
        absent: absent(query.skip_if_absent),
    }));
    all.extend(written.request_headers.iter().map(|header| Action::RequestHeader {
        name: header.header_name.to_string(),
        key: header.descriptor_key.to_string(),
        absent: absent(header.skip_if_absent),
    }));
    match (all.pop(), all.is_empty()) {
        (Some(action), true) => Ok(action),
        _ => Err(at.invalid("an action is exactly one of its fields")),
    }
}

fn key(written: &str, default: &str) -> String {
    if written.is_empty() { default.to_owned() } else { written.to_owned() }
}

fn absent(skips: bool) -> Absent {
    if skips { Absent::Skipped } else { Absent::Ends }
}

/// Of an address with `all` bits.
fn bits(written: Option<&At<u32>>, all: u32) -> Result<u32, Problem> {
    match written {
        Some(bits) if bits.value > all => Err(bits.invalid(format!("must be from 0 to {all}"))),
        bits => Ok(bits.map_or(all, |bits| bits.value)),
    }
}

fn address_match(written: &RateLimitRemoteAddressMatch) -> Result<Action, Problem> {
    let RateLimitRemoteAddressMatch { address_matcher, default_value, descriptor_key, descriptor_value } = written;
    Ok(Action::AddressMatch {
        key: key(descriptor_key, "remote_address_match"),
        value: format(descriptor_value, &descriptor_value.value)?,
        default: default_value.clone(),
        ranges: address_matcher.ranges.iter().map(address::cidr).collect::<Result<_, _>>()?,
        sense: if address_matcher.invert_match { Sense::Inverted } else { Sense::Direct },
    })
}

fn metadata(written: &RateLimitMetadata) -> Result<Action, Problem> {
    let path = path(&written.metadata_key)?;
    Ok(Action::Metadata {
        key: written.descriptor_key.to_string(),
        source: match written.source {
            None | Some(RateLimitMetadataSource::Dynamic) => MetadataSource::Stream(path),
            Some(RateLimitMetadataSource::RouteEntry) => MetadataSource::Route(path),
            Some(RateLimitMetadataSource::ClusterEntry) => MetadataSource::Cluster(path),
            Some(RateLimitMetadataSource::ClusterLocalityEntry) => MetadataSource::Locality(path),
        },
        default: Some(&written.default_value).filter(|value| !value.is_empty()).cloned(),
        absent: absent(written.skip_if_absent),
    })
}

fn format<T>(at: &At<T>, text: &str) -> Result<Format, Problem> {
    Format::parse_header_value(text).map_err(|error| at.invalid(error.to_string()))
}

/// What the metadata of a route says, for [`MetadataSource::Route`].
pub(super) fn of_route(written: Option<&At<WrittenMetadata>>) -> Result<Arc<Metadata>, Problem> {
    interpret_metadata::metadata(written).map(Arc::new)
}

/// The policy on a route with this metadata.
fn on_route(policy: &Policy, metadata: &Metadata) -> Policy {
    let mut policy = policy.clone();
    for action in &mut policy.actions {
        if let Action::Metadata { source, .. } = action
            && let MetadataSource::Route(path) = source
        {
            let text = match metadata.get(path) {
                Some(Found::Value(Value::Text(text))) => Some(text.clone()),
                Some(Found::Value(_) | Found::Struct(_)) | None => None,
            };
            *source = MetadataSource::Known(text);
        }
    }
    policy
}
