//! What routes mean.

use std::time::Duration;

use crate::config::Cluster;
use crate::config::bootstrap::route::{
    ClusterNotFoundResponseCode, DirectResponseAction, RetryPolicy as WrittenRetry, Route as Written, RouteAction,
    RouteConfiguration, RouteMatch, UpgradeConfig, VirtualHost as WrittenHost,
};
use crate::config::error::{Cause, Name};
use crate::config::problem::{Problem, unknown};
use crate::config::route::{
    Action, Domain, Forward, PathMatch, RetryOn, RetryPolicy, Route, RouteTable, Upgrade, Upgrades, VirtualHost,
};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `RouteAction.timeout`
const TIMEOUT: Duration = Duration::from_secs(15);
/// `RetryBackOff.base_interval`, where there is no `retry_back_off`
const BACKOFF_BASE: Duration = Duration::from_millis(25);
/// `RetryBackOff.max_interval` is so many times the base.
const BACKOFF_MAX_FACTOR: u32 = 10;
/// Envoy's `max_direct_response_body_size_bytes`
const DIRECT_BODY_BYTES_MAX: usize = 4096;

/// What routes may point to.
#[derive(Clone, Copy)]
struct Targets<'a> {
    clusters: &'a [Cluster],
    /// `validate_clusters`: a name without a cluster is an error.
    validate: bool,
}

pub(super) fn table(written: &At<RouteConfiguration>, clusters: &[Cluster]) -> Result<RouteTable, Problem> {
    let written = &written.value;
    let validate = written.validate_clusters.unwrap_or(true);
    let targets = Targets { clusters, validate };
    let hosts = written.virtual_hosts.iter().map(|host| virtual_host(&host.value, targets));
    let virtual_hosts: Vec<VirtualHost> = hosts.collect::<Result<_, _>>()?;
    let mut taken: Vec<(&Domain, &str)> = Vec::new();
    for (host, written) in virtual_hosts.iter().zip(&written.virtual_hosts) {
        for (domain, text) in host.domains.iter().zip(&written.value.domains.value) {
            if let Some((_, earlier)) = taken.iter().find(|(other, _)| *other == domain) {
                return Err(text.invalid(format!(
                    "only unique values for domains are permitted; virtual host '{earlier}' has {:?} already",
                    text.value
                )));
            }
            taken.push((domain, &host.name));
        }
    }
    Ok(RouteTable { virtual_hosts })
}

fn virtual_host(written: &WrittenHost, targets: Targets<'_>) -> Result<VirtualHost, Problem> {
    if written.name.value.is_empty() {
        return Err(written.name.invalid("must not be empty"));
    }
    if written.domains.value.is_empty() {
        return Err(written.domains.invalid_but("a virtual host needs at least one domain", "write [\"*\"] for any"));
    }
    Ok(VirtualHost {
        name: written.name.value.clone(),
        domains: written.domains.value.iter().map(domain).collect::<Result<_, _>>()?,
        routes: written.routes.iter().map(|written| route(written, targets)).collect::<Result<_, _>>()?,
    })
}

fn domain(written: &At<String>) -> Result<Domain, Problem> {
    let text = written.value.to_ascii_lowercase();
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(""), _) => Ok(Domain::Any),
        (Some(suffix), _) => Ok(Domain::Suffix(suffix.to_owned())),
        (None, Some(prefix)) => Ok(Domain::Prefix(prefix.to_owned())),
        (None, None) if text.is_empty() => Err(written.invalid("must not be empty")),
        (None, None) => Ok(Domain::Exact(text)),
    }
}

fn route(written: &At<Written>, targets: Targets<'_>) -> Result<Route, Problem> {
    let action = match (&written.value.route, &written.value.direct_response) {
        (Some(forward), None) => self::forward(forward, targets)?,
        (None, Some(direct)) => self::direct(direct)?,
        (None, None) => return Err(written.invalid("a route needs an action: route or direct_response")),
        (Some(_), Some(_)) => return Err(written.invalid("a route has one action: route or direct_response")),
    };
    Ok(Route { name: written.value.name.clone(), matches: path_match(&written.value.r#match)?, action })
}

fn path_match(written: &At<RouteMatch>) -> Result<PathMatch, Problem> {
    let case_sensitive = written.value.case_sensitive.unwrap_or(true);
    match &written.value {
        RouteMatch { prefix: Some(prefix), path: None, safe_regex: None, connect_matcher: None, .. } => {
            Ok(PathMatch::Prefix { prefix: prefix.clone(), case_sensitive })
        }
        RouteMatch { prefix: None, path: Some(path), safe_regex: None, connect_matcher: None, .. } => {
            Ok(PathMatch::Exact { path: path.clone(), case_sensitive })
        }
        RouteMatch { prefix: None, path: None, safe_regex: Some(safe), connect_matcher: None, .. } => {
            regex(&safe.regex).map(PathMatch::Regex)
        }
        RouteMatch { prefix: None, path: None, safe_regex: None, connect_matcher: Some(_), .. } => {
            Ok(PathMatch::Connect)
        }
        _ => Err(written.invalid("a match takes exactly one of prefix, path, safe_regex and connect_matcher")),
    }
}

/// A regular expression that must match the whole path.
fn regex(written: &At<String>) -> Result<regex::Regex, Problem> {
    // First by itself, so that `)(` is an error, and an error speaks of what was written.
    regex::Regex::new(&written.value).and_then(|_| regex::Regex::new(&format!(r"\A(?:{})\z", written.value))).map_err(
        |error| {
            // The last line says what is wrong; those above draw the expression, which the excerpt shows anyway.
            let said = error.to_string();
            let reason = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            written.invalid(format!("invalid regular expression: {reason}"))
        },
    )
}

fn direct(written: &At<DirectResponseAction>) -> Result<Action, Problem> {
    let status = &written.value.status;
    if !(200..600).contains(&status.value) {
        return Err(status.invalid(format!("{} is not a status from 200 to 599", status.value)));
    }
    let body = match &written.value.body {
        Some(body) if body.inline_string.value.len() > DIRECT_BODY_BYTES_MAX => {
            let bytes = body.inline_string.value.len();
            return Err(body
                .inline_string
                .invalid(format!("response body size is {bytes} bytes; maximum is {DIRECT_BODY_BYTES_MAX}")));
        }
        Some(body) => body.inline_string.value.clone(),
        None => String::new(),
    };
    Ok(Action::Direct { status: status.value, body })
}

fn forward(written: &RouteAction, targets: Targets<'_>) -> Result<Action, Problem> {
    let Some(cluster) = cluster_index(&written.cluster, targets)? else {
        let status = match written.cluster_not_found_response_code {
            None | Some(ClusterNotFoundResponseCode::ServiceUnavailable) => 503,
            Some(ClusterNotFoundResponseCode::NotFound) => 404,
            Some(ClusterNotFoundResponseCode::InternalServerError) => 500,
        };
        return Ok(Action::NoCluster { status });
    };
    Ok(Action::Forward(Forward {
        cluster,
        timeout: written.timeout.map_or(Some(TIMEOUT), Seconds::unless_zero),
        idle_timeout: written.idle_timeout.map(Seconds::unless_zero),
        stream_duration_max: written
            .max_stream_duration
            .and_then(|duration| duration.max_stream_duration)
            .map(Seconds::unless_zero),
        upgrades: upgrades(&written.upgrade_configs)?,
        retry: written.retry_policy.as_ref().map(retry_policy).transpose()?,
    }))
}

/// The cluster's place in the configuration; none if it may be missing and is.
fn cluster_index(name: &At<String>, targets: Targets<'_>) -> Result<Option<usize>, Problem> {
    let found = targets.clusters.iter().position(|cluster| cluster.name == name.value);
    if found.is_some() || !targets.validate {
        return Ok(found);
    }
    let known: Vec<&str> = targets.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let remedy = match known.as_slice() {
        [] => "static_resources.clusters is empty".to_owned(),
        known => format!("clusters: {}", known.join(", ")),
    };
    Err(name.invalid_but(format!("unknown cluster '{}'", name.value), remedy))
}

/// A route's upgrades: switches over those of the connection manager.
fn upgrades(written: &[At<UpgradeConfig>]) -> Result<Upgrades, Problem> {
    let mut upgrades = Upgrades::default();
    for config in written {
        let name = &config.value.upgrade_type;
        if name.value.is_empty() {
            return Err(name.invalid("must not be empty"));
        }
        if upgrades.find(&name.value).is_some() {
            return Err(name.invalid(format!("duplicate upgrade {}", name.value)));
        }
        if let Some(filters) = &config.value.filters {
            return Err(filters.invalid("a route cannot have filters; write them in the connection manager"));
        }
        let enabled = config.value.enabled.unwrap_or(true);
        upgrades.0.push(Upgrade { protocol: name.value.to_ascii_lowercase(), enabled, router: None });
    }
    Ok(upgrades)
}

fn retry_policy(written: &WrittenRetry) -> Result<RetryPolicy, Problem> {
    let (backoff_base, backoff_max) = match &written.retry_back_off {
        None => (BACKOFF_BASE, BACKOFF_BASE * BACKOFF_MAX_FACTOR),
        Some(back_off) => {
            let base = back_off.value.base_interval.value.0;
            if base.is_zero() {
                return Err(back_off.value.base_interval.invalid("must be greater than 0s"));
            }
            let max = back_off.value.max_interval.as_ref();
            if let Some(short) = max.filter(|max| max.value.0 < base) {
                return Err(short.invalid("must not be less than base_interval"));
            }
            (base, max.map_or(base.saturating_mul(BACKOFF_MAX_FACTOR), |max| max.value.0))
        }
    };
    Ok(RetryPolicy {
        on: written.retry_on.as_ref().map_or(Ok(RetryOn::default()), retry_on)?,
        retries_max: written.num_retries.unwrap_or(1),
        backoff_base,
        backoff_max,
    })
}

/// The comma-separated words of `retry_on`.
fn retry_on(written: &At<String>) -> Result<RetryOn, Problem> {
    const KNOWN: [&str; 7] =
        ["5xx", "connect-failure", "gateway-error", "refused-stream", "reset", "reset-before-request", "retriable-4xx"];
    let mut on = RetryOn::default();
    for word in written.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "5xx" => on.server_error = true,
            "connect-failure" => on.connect_failure = true,
            "gateway-error" => on.gateway_error = true,
            "refused-stream" => on.refused_stream = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "retriable-4xx" => on.retriable_4xx = true,
            other => return Err(written.problem(unsupported_retry(other, &KNOWN))),
        }
    }
    Ok(on)
}

/// Envoy ignores words that it does not know; a misspelt retry policy is then found out in an outage.
fn unsupported_retry(word: &str, known: &[&'static str]) -> Cause {
    let reason = match word {
        "envoy-ratelimited" => "rate limiting is not told from other refusals",
        "retriable-headers" | "retriable-status-codes" => "retries depend on classes of status codes and on resets",
        "http3-post-connect-failure" => "there is no UDP and no QUIC",
        "cancelled" | "deadline-exceeded" | "internal" | "resource-exhausted" | "unavailable" => {
            "gRPC status is not read"
        }
        _ => return unknown(Name::Value(word.to_owned()), word, known),
    };
    Cause::Unsupported { name: Name::Value(word.to_owned()), reason }
}
