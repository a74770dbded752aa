//! What retry policies mean.

use std::time::Duration;

use super::matching::header;
use super::metadata::labels;
use crate::config::bootstrap::policies::{
    HedgePolicy, HostPredicate as WrittenPredicate, PriorityChoice, RateLimitedRetryBackOff, ResetHeaderFormat,
    RetryBackOff, RetryPolicy as Written,
};
use crate::config::error::{Cause, Name};
use crate::config::problem::{Problem, unknown};
use crate::config::retry::{
    HostPredicate, Intervals, OtherEndpoints, RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy, WantedLabels,
};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// `RateLimitedRetryBackOff.max_interval`
const RATE_LIMITED_INTERVAL_MAX: Duration = Duration::from_secs(300);
/// `RetryPolicy.host_selection_retry_max_attempts`
const HOST_SELECTION_ATTEMPTS: u32 = 1;
/// The shortest back-off interval: what is shorter is taken for it, as in Envoy.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

pub(super) fn policy(written: &Written, notes: &Notes) -> Result<RetryPolicy, Problem> {
    let back_off = written.retry_back_off.as_ref().map(|back_off| intervals(&back_off.value)).transpose()?;
    Ok(RetryPolicy {
        on: written.retry_on.as_ref().map_or(Ok(RetryOn::default()), |words| retry_on(words, notes))?,
        retries_max: written.num_retries.unwrap_or(1),
        statuses: written.retriable_status_codes.clone(),
        headers: written.retriable_headers.iter().map(header).collect::<Result<_, _>>()?,
        request_headers: written.retriable_request_headers.iter().map(header).collect::<Result<_, _>>()?,
        other_endpoints: other_endpoints(written)?,
        per_try_timeout: written.per_try_timeout.and_then(Seconds::unless_zero),
        per_try_idle_timeout: written.per_try_idle_timeout.and_then(Seconds::unless_zero),
        back_off,
        rate_limited: written.rate_limited_retry_back_off.as_ref().map(rate_limited).transpose()?,
    })
}

/// Does a try that is late go on beside the next?
pub(super) fn hedges(written: &HedgePolicy, notes: &Notes) -> bool {
    if let Some(requests) = written.initial_requests.as_ref().filter(|requests| requests.value.0.get() > 1) {
        notes.note(&requests.place, "has no effect: as in Envoy, there is one request to begin with");
    }
    written.hedge_on_per_try_timeout
}

fn other_endpoints(written: &Written) -> Result<Option<OtherEndpoints>, Problem> {
    if written.retry_host_predicate.is_empty() && written.retry_priority.is_none() {
        return Ok(None);
    }
    let predicates = written.retry_host_predicate.iter().map(|predicate| predicate_of(&predicate.typed_config));
    let draws_max = written.host_selection_retry_max_attempts.unwrap_or(HOST_SELECTION_ATTEMPTS);
    let every = |PriorityChoice::PreviousPriorities(written): &PriorityChoice| written.update_frequency.0;
    let other_priorities_every = written.retry_priority.as_ref().map(|priority| every(&priority.typed_config));
    Ok(Some(OtherEndpoints { predicates: predicates.collect::<Result<_, _>>()?, draws_max, other_priorities_every }))
}

fn predicate_of(written: &WrittenPredicate) -> Result<HostPredicate, Problem> {
    Ok(match written {
        WrittenPredicate::OmitCanaryHosts(_) => HostPredicate::Canary,
        WrittenPredicate::OmitHostMetadata(wanted) => {
            let labels = wanted.metadata_match.as_ref().map(labels).transpose()?.flatten();
            HostPredicate::Labels(WantedLabels(labels.unwrap_or_default()))
        }
        WrittenPredicate::PreviousHosts(_) => HostPredicate::Tried,
    })
}

pub(super) fn intervals(written: &RetryBackOff) -> Result<Intervals, Problem> {
    let base = written.base_interval.0;
    if let Some(short) = written.max_interval.as_ref().filter(|max| max.value.0 < base) {
        return Err(short.invalid("must not be less than base_interval"));
    }
    let base = base.max(BACKOFF_MIN);
    let by_default = Intervals::from_base(base);
    let max = written.max_interval.as_ref().map_or(by_default.max, |max| max.value.0.max(BACKOFF_MIN));
    Ok(Intervals { base, max })
}

fn rate_limited(written: &At<RateLimitedRetryBackOff>) -> Result<RateLimitedBackOff, Problem> {
    if written.value.reset_headers.is_empty() {
        return Err(written.invalid("reset_headers must not be empty"));
    }
    let headers = written.value.reset_headers.iter().map(|header| {
        let format = match header.format {
            None | Some(ResetHeaderFormat::Seconds) => ResetFormat::Seconds,
            Some(ResetHeaderFormat::UnixTimestamp) => ResetFormat::UnixTimestamp,
        };
        (header.name.to_string(), format)
    });
    let interval_max = written.value.max_interval.map_or(RATE_LIMITED_INTERVAL_MAX, |max| max.0);
    Ok(RateLimitedBackOff { headers: headers.collect(), interval_max })
}

/// The comma-separated words of `retry_on`.
pub(super) fn retry_on(written: &At<String>, notes: &Notes) -> Result<RetryOn, Problem> {
    let mut on = RetryOn::default();
    for word in written.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if on.add(word) {
            continue;
        }
        if notes.ignores_retry_words() {
            notes.note(&written.place, format!("{word:?} is no condition for a retry, and ignored"));
        } else {
            return Err(written.problem(unsupported(word)));
        }
    }
    Ok(on)
}

/// Envoy ignores words that it does not know; a misspelt retry policy is then found out in an outage.
fn unsupported(word: &str) -> Cause {
    let reason = match word {
        "http3-post-connect-failure" => "there is no UDP and no QUIC",
        _ => return unknown(Name::Value(word.to_owned()), word, &RetryOn::WORDS),
    };
    Cause::Unsupported { name: Name::Value(word.to_owned()), reason }
}
