//! Services that filters make requests to.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{mutation, retry};
use crate::config::bootstrap::ext_authz::HttpUri;
use crate::config::bootstrap::grpc_service::{CoreGrpcService, EnvoyGrpc};
use crate::config::bootstrap::policies::CoreRetryPolicy;
use crate::config::problem::Problem;
use crate::config::retry::{Intervals, RetryPolicy};
use crate::config::service::{GrpcService, Service};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// `BackoffStrategy.base_interval` of requests that filters make, and so many times as long is the longest.
const BACK_OFF: Duration = Duration::from_secs(1);

/// The service at `uri`.
pub(super) fn service(
    uri: &HttpUri,
    retry: Option<&At<CoreRetryPolicy>>,
    retry_on: Option<&str>,
    notes: &Notes,
) -> Result<Arc<Service>, Problem> {
    let retry = retry.map(|policy| self::policy(policy, retry_on, notes)).transpose()?;
    Ok(Arc::new(Service { cluster: (&*uri.cluster).into(), timeout: uri.timeout.unless_zero(), retry }))
}

/// The service that is called over gRPC, within `timeout` unless the file has another.
pub(super) fn grpc(at: &At<CoreGrpcService>, timeout: Duration, notes: &Notes) -> Result<GrpcService, Problem> {
    let CoreGrpcService { envoy_grpc, initial_metadata, retry_policy, timeout: own } = &at.value;
    let Some(envoy_grpc) = envoy_grpc else { return Err(at.invalid("needs envoy_grpc")) };
    let EnvoyGrpc { authority, cluster_name, max_receive_message_length } = &envoy_grpc.value;
    let retry = retry_policy.as_ref().map(|policy| self::policy(policy, None, notes)).transpose()?;
    let cluster = &*cluster_name.value;
    let authority = match authority.as_ref().filter(|authority| !authority.value.0.is_empty()) {
        Some(authority) => authority.value.0.clone(),
        None => HeaderValue::from_str(cluster)
            .map_err(|_| cluster_name.invalid("cannot be the authority of requests; write authority"))?,
    };
    Ok(GrpcService {
        to: Arc::new(Service {
            cluster: cluster.into(),
            timeout: own.map_or(Some(timeout), Seconds::unless_zero),
            retry,
        }),
        authority,
        edits: mutation::appended(initial_metadata)?,
        bytes_max: max_receive_message_length.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX),
    })
}

/// `retry_on`: the conditions, where the policy has no say in them.
pub(super) fn policy(
    written: &At<CoreRetryPolicy>,
    retry_on: Option<&str>,
    notes: &Notes,
) -> Result<RetryPolicy, Problem> {
    let CoreRetryPolicy { num_retries, retry_back_off, retry_on: own } = &written.value;
    let by_default = Intervals::from_base(BACK_OFF);
    let back_off = retry_back_off.as_ref().map_or(Ok(by_default), |back_off| retry::intervals(&back_off.value))?;
    let words = retry_on.map(|words| At { place: written.place.clone(), value: words.to_owned() });
    let on = words.as_ref().or(own.as_ref()).map_or_else(|| Ok(Default::default()), |on| retry::retry_on(on, notes))?;
    Ok(RetryPolicy {
        on,
        retries_max: num_retries.unwrap_or(1),
        // Envoy's: the longest pause is the time of a try, too.
        per_try_timeout: Some(back_off.max),
        back_off: Some(back_off),
        ..RetryPolicy::default()
    })
}
