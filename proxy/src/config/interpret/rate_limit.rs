//! What limits of requests mean.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{fraction, matching, mutation};
use crate::config::bootstrap::RuntimeFractionalPercent;
use crate::config::bootstrap::filter::{HeaderValueOption, LocalRateLimit};
use crate::config::bootstrap::rate_limit::{
    LocalRateLimitDescriptor, RateLimit as WrittenPolicy, RateLimitAction, TokenBucket, VhRateLimitsOptions,
    XRateLimitHeadersRfcVersion,
};
use crate::config::error::Place;
use crate::config::fraction::Fraction;
use crate::config::matching::{Condition, Sense};
use crate::config::problem::Problem;
use crate::config::rate_limit::{
    Absent, Action, BucketHeaders, BucketSize, DefaultBucket, Descriptor, OfHost, Policy, RateLimit, Sharing,
};
use crate::config::route::Edits;
use crate::config::yaml::{At, Notes};

/// Envoy's limit for each list of headers that the filter adds.
const ADDED_MAX: usize = 10;
/// Envoy's shortest `fill_interval`.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Envoy's largest `stage`.
const STAGE_MAX: u32 = 10;
/// `max_dynamic_descriptors`
const VALUES_MAX: u32 = 20;
/// RESOURCE_EXHAUSTED
const RESOURCE_EXHAUSTED: u32 = 8;

/// Where a limit stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Filter,
    Route,
}

pub(super) fn rate_limit(
    written: &LocalRateLimit,
    owner: Owner,
    place: &Place,
    notes: &Notes,
) -> Result<RateLimit, Problem> {
    // As in Envoy, what is no error is not said of a request that is refused.
    let status = written.status.map(|status| status.code as u16).filter(|status| *status >= 400);
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    if written.token_bucket.is_none() && owner == Owner::Route {
        return Err(Problem::invalid(place, "local rate limit token bucket must be set for per filter configs"));
    }
    Ok(RateLimit {
        place: place.path.clone(),
        stat_prefix: written.stat_prefix.to_string(),
        bucket: written.token_bucket.as_ref().map(bucket).transpose()?,
        sharing: if written.local_rate_limit_per_downstream_connection { Sharing::Connection } else { Sharing::All },
        enabled: share(written.filter_enabled.as_ref(), notes),
        enforced: share(written.filter_enforced.as_ref(), notes),
        status: status.unwrap_or(StatusCode::TOO_MANY_REQUESTS),
        grpc_status: written.rate_limited_as_resource_exhausted.then_some(RESOURCE_EXHAUSTED),
        response: Arc::new(added(&written.response_headers_to_add)?),
        unenforced: added(&written.request_headers_to_add_when_not_enforced)?,
        descriptors: descriptors(&written.descriptors)?,
        values_max: written
            .max_dynamic_descriptors
            .map(|most| most.0)
            .or(NonZeroU32::new(VALUES_MAX))
            .unwrap_or(NonZeroU32::MIN),
        default_bucket: match written.always_consume_default_token_bucket {
            None | Some(true) => DefaultBucket::All,
            Some(false) => DefaultBucket::Others,
        },
        policies: policies(&written.rate_limits)?.into(),
        stage: stage(written.stage.as_ref())?,
        of_host: match written.vh_rate_limits {
            None | Some(VhRateLimitsOptions::Override) => OfHost::Overridden,
            Some(VhRateLimitsOptions::Include) => OfHost::Included,
            Some(VhRateLimitsOptions::Ignore) => OfHost::Ignored,
        },
        headers: match written.enable_x_ratelimit_headers {
            None | Some(XRateLimitHeadersRfcVersion::Off) => BucketHeaders::Off,
            Some(XRateLimitHeadersRfcVersion::Draft03) => BucketHeaders::Draft03,
        },
    })
}

/// The bucket that fills most slowly comes first, as in Envoy: a request that it refuses takes no other token.
fn descriptors(written: &[At<LocalRateLimitDescriptor>]) -> Result<Vec<Descriptor>, Problem> {
    let mut all: Vec<Descriptor> = Vec::new();
    for at in written {
        let mut entries = Vec::new();
        for entry in &at.value.entries.value {
            let value = entry.value.value.clone().filter(|value| !value.is_empty());
            entries.push((entry.value.key.to_string(), value));
        }
        if entries.is_empty() {
            return Err(at.value.entries.invalid("a descriptor takes one entry or more"));
        }
        if all.iter().any(|other| other.entries == entries) {
            return Err(at.invalid("duplicate descriptor in the local rate limit descriptor"));
        }
        all.push(Descriptor { entries, bucket: bucket(&at.value.token_bucket)? });
    }
    let rate = |bucket: &BucketSize| f64::from(bucket.tokens_per_fill.get()) / bucket.fill_interval.as_secs_f64();
    all.sort_by(|one, other| rate(&one.bucket).total_cmp(&rate(&other.bucket)));
    Ok(all)
}

/// What a level says of what requests are told apart by.
pub(super) enum OfLevel {
    Host(Vec<Policy>),
    /// With those of the virtual host (`include_vh_rate_limits`), or as the limit says.
    Route(Vec<Policy>, Option<OfHost>),
}

/// What requests of a route are told apart by, for this limit.
pub(super) fn policies_below<'l>(limit: &RateLimit, levels: impl Iterator<Item = &'l OfLevel>) -> Arc<[Policy]> {
    if limit.descriptors.is_empty() || !limit.policies.is_empty() {
        return Arc::clone(&limit.policies);
    }
    let (mut of_host, mut of_route): (&[Policy], Option<&[Policy]>) = (&[], None);
    let mut host = limit.of_host;
    for level in levels {
        match level {
            OfLevel::Host(policies) => of_host = policies,
            OfLevel::Route(policies, included) => {
                of_route = Some(policies.as_slice());
                host = included.unwrap_or(host);
            }
        }
    }
    // A response of the route's own has no policies, as in Envoy.
    let Some(of_route) = of_route else { return Arc::default() };
    let of_host = match host {
        OfHost::Included => of_host,
        OfHost::Overridden if of_route.is_empty() => of_host,
        OfHost::Ignored | OfHost::Overridden => &[],
    };
    of_route.iter().chain(of_host).filter(|policy| policy.stage == limit.stage).cloned().collect()
}

/// What requests are told apart by.
pub(super) fn policies(written: &[At<WrittenPolicy>]) -> Result<Vec<Policy>, Problem> {
    let policy = |at: &At<WrittenPolicy>| {
        if at.value.actions.value.is_empty() {
            return Err(at.value.actions.invalid("takes one action or more"));
        }
        let actions = at.value.actions.value.iter().map(action).collect::<Result<_, _>>()?;
        Ok(Policy { stage: stage(at.value.stage.as_ref())?, actions })
    };
    written.iter().map(policy).collect()
}

fn stage(written: Option<&At<u32>>) -> Result<u32, Problem> {
    match written {
        Some(stage) if stage.value > STAGE_MAX => Err(stage.invalid(format!("must be from 0 to {STAGE_MAX}"))),
        stage => Ok(stage.map_or(0, |stage| stage.value)),
    }
}

fn action(at: &At<RateLimitAction>) -> Result<Action, Problem> {
    let written = &at.value;
    let absent = |skips: bool| if skips { Absent::Skipped } else { Absent::Ends };
    let key = |written: &str, default: &str| if written.is_empty() { default.to_owned() } else { written.to_owned() };
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
        let bits = |written: Option<&At<u32>>, all: u32| match written {
            Some(bits) if bits.value > all => Err(bits.invalid(format!("must be from 0 to {all}"))),
            bits => Ok(bits.map_or(all, |bits| bits.value)),
        };
        let (v4, v6) = (masked.v4_prefix_mask_len.as_ref(), masked.v6_prefix_mask_len.as_ref());
        all.push(Action::MaskedRemoteAddress { v4: bits(v4, 32)?, v6: bits(v6, 128)? });
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

pub(super) fn bucket(written: &At<TokenBucket>) -> Result<BucketSize, Problem> {
    let TokenBucket { fill_interval, max_tokens, tokens_per_fill } = &written.value;
    if fill_interval.value.0 < FILL_INTERVAL_MIN {
        return Err(fill_interval.invalid("local rate limit token bucket fill timer must be >= 50ms"));
    }
    let tokens_per_fill = match tokens_per_fill {
        None => NonZeroU32::MIN,
        Some(count) => NonZeroU32::new(count.value).ok_or_else(|| count.invalid("must be greater than 0"))?,
    };
    Ok(BucketSize { tokens_max: *max_tokens, tokens_per_fill, fill_interval: fill_interval.value.0 })
}

/// Without a share of its own the filter does nothing.
fn share(written: Option<&RuntimeFractionalPercent>, notes: &Notes) -> Fraction {
    written.map_or(Fraction { millionths: 0, key: None }, |written| fraction::fraction(written, notes))
}

fn added(written: &[At<HeaderValueOption>]) -> Result<Edits, Problem> {
    if let Some(one_too_many) = written.get(ADDED_MAX) {
        return Err(one_too_many.invalid(format!("at most {ADDED_MAX} headers can be added")));
    }
    mutation::edits(written, &[])
}
