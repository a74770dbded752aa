//! What limits of requests mean.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::rate_limit_policy::{Owner, of_host, policies, stage};
use super::{fraction, mutation};
use crate::config::bootstrap::RuntimeFractionalPercent;
use crate::config::bootstrap::filter::{HeaderValueOption, LocalRateLimit};
use crate::config::bootstrap::rate_limit::{LocalRateLimitDescriptor, TokenBucket, XRateLimitHeadersRfcVersion};
use crate::config::error::Place;
use crate::config::fraction::Fraction;
use crate::config::problem::Problem;
use crate::config::rate_limit::{BucketHeaders, BucketSize, DefaultBucket, Descriptor, Enforcing, RateLimit, Sharing};
use crate::config::route::Edits;
use crate::config::yaml::{At, Notes};

/// Envoy's limit for each list of headers that the filter adds.
const ADDED_MAX: usize = 10;
/// Envoy's shortest `fill_interval`.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// `max_dynamic_descriptors`
const VALUES_MAX: u32 = 20;
/// RESOURCE_EXHAUSTED
pub(super) const RESOURCE_EXHAUSTED: u32 = 8;

/// Where a limit stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LimitOwner {
    Filter,
    Route,
}

pub(super) fn rate_limit(
    written: &LocalRateLimit,
    owner: LimitOwner,
    place: &Place,
    notes: &Notes,
) -> Result<RateLimit, Problem> {
    // As in Envoy, what is no error is not said of a request that is refused.
    let status = written.status.map(|status| status.code as u16).filter(|status| *status >= 400);
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    if written.token_bucket.is_none() && owner == LimitOwner::Route {
        return Err(Problem::invalid(place, "local rate limit token bucket must be set for per filter configs"));
    }
    Ok(RateLimit {
        place: place.path.clone(),
        stat_prefix: written.stat_prefix.to_string(),
        bucket: written.token_bucket.as_ref().map(bucket).transpose()?,
        sharing: if written.local_rate_limit_per_downstream_connection { Sharing::Connection } else { Sharing::All },
        shared_among: shared_among(written, notes)?,
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
        policies: policies(&written.rate_limits, Owner::Bucket, notes)?.into(),
        stage: stage(written.stage.as_ref())?,
        of_host: of_host(written.vh_rate_limits),
        headers: headers(written.enable_x_ratelimit_headers),
    })
}

/// The proxies that share a limit.
fn shared_among(written: &LocalRateLimit, notes: &Notes) -> Result<Option<Arc<str>>, Problem> {
    let Some(at) = &written.local_cluster_rate_limit else { return Ok(None) };
    if written.local_rate_limit_per_downstream_connection {
        return Err(at.invalid_but(
            "local_cluster_rate_limit is set and local_rate_limit_per_downstream_connection is set to true",
            "write one of the two",
        ));
    }
    let local = notes.local_cluster().ok_or_else(|| {
        at.invalid_but(
            "local_cluster_rate_limit is set but no local cluster name is present",
            "write cluster_manager.local_cluster_name, with the cluster of the proxies that share the limit",
        )
    });
    local.map(Some)
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
        let enforcing = if at.value.shadow_mode { Enforcing::Off } else { Enforcing::On };
        all.push(Descriptor { entries, bucket: bucket(&at.value.token_bucket)?, enforcing });
    }
    let rate = |bucket: &BucketSize| f64::from(bucket.tokens_per_fill.get()) / bucket.fill_interval.as_secs_f64();
    all.sort_by(|one, other| rate(&one.bucket).total_cmp(&rate(&other.bucket)));
    Ok(all)
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

/// `enable_x_ratelimit_headers`
pub(super) fn headers(written: Option<XRateLimitHeadersRfcVersion>) -> BucketHeaders {
    match written {
        None | Some(XRateLimitHeadersRfcVersion::Off) => BucketHeaders::Off,
        Some(XRateLimitHeadersRfcVersion::Draft03) => BucketHeaders::Draft03,
    }
}

/// Headers that the filter adds.
pub(super) fn added(written: &[At<HeaderValueOption>]) -> Result<Edits, Problem> {
    if let Some(one_too_many) = written.get(ADDED_MAX) {
        return Err(one_too_many.invalid(format!("at most {ADDED_MAX} headers can be added")));
    }
    mutation::edits(written, &[])
}
