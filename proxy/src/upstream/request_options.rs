//! The options of one request: what its route grants, and what the request sets itself by `x-envoy-` headers.
//!
//! Pure. Callers from outside have lost these headers before they come here; a request that still has one may use it. The headers
//! end here, whether they mean something or not.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;

use super::grpc;
use crate::codec::grpc::set_timeout;
use crate::codec::{Headers, names};
use crate::config::filter::{RouterOptions, StrictHeader};
use crate::config::retry::{RetryOn, RetryPolicy};
use crate::config::route::{Forward, GrpcTimeout, HeaderMatch};
use crate::config::subsets::MetadataMatch;

const ALT_STAT_NAME: &str = "x-envoy-upstream-alt-stat-name";
const ALT_RESPONSE: &str = "x-envoy-upstream-rq-timeout-alt-response";
const HEDGE: &str = "x-envoy-hedge-on-per-try-timeout";
const MAX_RETRIES: &str = "x-envoy-max-retries";
const PER_TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";
const RETRIABLE_HEADER_NAMES: &str = "x-envoy-retriable-header-names";
const RETRIABLE_STATUS_CODES: &str = "x-envoy-retriable-status-codes";
const RETRY_GRPC_ON: &str = "x-envoy-retry-grpc-on";
const RETRY_ON: &str = "x-envoy-retry-on";
const STREAM_DURATION: &str = "x-envoy-upstream-stream-duration-ms";
const TIMEOUT: &str = "x-envoy-upstream-rq-timeout-ms";

/// What no upstream sees.
const OPTIONS: [&str; 11] = [
    ALT_RESPONSE,
    ALT_STAT_NAME,
    MAX_RETRIES,
    PER_TRY_TIMEOUT,
    RETRIABLE_HEADER_NAMES,
    RETRIABLE_STATUS_CODES,
    RETRY_GRPC_ON,
    RETRY_ON,
    TIMEOUT,
    HEDGE,
    STREAM_DURATION,
];

/// Those of them that configure retries.
const RETRY_OPTIONS: [&str; 5] = [MAX_RETRIES, RETRIABLE_HEADER_NAMES, RETRIABLE_STATUS_CODES, RETRY_GRPC_ON, RETRY_ON];

/// What holds for one request.
#[derive(Debug)]
pub(crate) struct RequestOptions<'r> {
    /// For all tries together, from the request's end; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    /// Replaces the connection manager's longest stream: `Some(None)` switches it off.
    pub(crate) longest: Option<Option<Duration>>,
    /// Replaces the longest stream of the cluster, for one try with its response: `Some(None)` switches it off.
    pub(crate) upstream_longest: Option<Option<Duration>>,
    /// For one try, to its response head; `None` is no limit.
    pub(crate) per_try_timeout: Option<Duration>,
    /// A try that has reached it goes on beside the next one.
    pub(crate) hedges: bool,
    /// When and how often to try again.
    pub(crate) retry: Option<Cow<'r, RetryPolicy>>,
    /// A timeout is reported as 204 instead of 504: the caller counts on getting nothing now and then.
    pub(crate) timeout_is_empty: bool,
    /// What the request's stats shall be called besides.
    pub(crate) alt_stat_name: Option<Box<str>>,
    /// What the endpoint has to have, where the cluster has subsets.
    pub(crate) metadata_match: Option<Cow<'r, MetadataMatch>>,
}

impl<'r> RequestOptions<'r> {
    /// What `route` grants to a request with these headers. Removes the headers that it used for that.
    pub(crate) fn resolve(route: &'r Forward, router: &RouterOptions, headers: &mut Headers) -> Self {
        let retry = route.retry.as_deref();
        let timeout = match route.grpc_timeout {
            GrpcTimeout::Whole(limit) if headers.is_grpc() => grpc::whole_timeout(limit, headers),
            GrpcTimeout::Passed | GrpcTimeout::Stream(_) | GrpcTimeout::Whole(_) => route.timeout,
        };
        let longest = match route.grpc_timeout {
            GrpcTimeout::Stream(Some(limit)) => grpc::longest_stream(limit, headers).map(Some),
            GrpcTimeout::Passed | GrpcTimeout::Stream(None) | GrpcTimeout::Whole(_) => None,
        };
        let mut options = Self {
            timeout,
            longest: longest.or(route.stream_duration_max),
            upstream_longest: None,
            per_try_timeout: retry.and_then(|policy| policy.per_try_timeout),
            hedges: route.hedges,
            retry: retry.map(Cow::Borrowed),
            timeout_is_empty: false,
            alt_stat_name: None,
            metadata_match: None,
        };
        // Most requests have none of these headers.
        if headers.iter().any(|(name, _)| name.as_str().starts_with("x-envoy-")) {
            options.apply_headers(router, headers);
        }
        // A limit that the whole timeout reaches first is none.
        options.per_try_timeout =
            options.per_try_timeout.filter(|limit| options.timeout.is_none_or(|whole| *limit < whole));
        options
    }

    /// Those of a copy of a request: nothing but the time that the request has.
    pub(crate) fn of_copy(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            longest: None,
            upstream_longest: None,
            per_try_timeout: None,
            hedges: false,
            retry: None,
            timeout_is_empty: false,
            alt_stat_name: None,
            metadata_match: None,
        }
    }

    fn apply_headers(&mut self, router: &RouterOptions, headers: &mut Headers) {
        // What the hop before expects is the timeout that its own client requested.
        let expects = router.respect_expected_timeout && headers.contains(&names::X_ENVOY_EXPECTED_TIMEOUT);
        let timeout = if expects { names::X_ENVOY_EXPECTED_TIMEOUT.as_str() } else { TIMEOUT };
        if let Some(limit) = millis(headers, timeout) {
            self.timeout = unless_zero(limit);
        }
        if let Some(limit) = millis(headers, PER_TRY_TIMEOUT) {
            self.per_try_timeout = unless_zero(limit);
        }
        self.upstream_longest = millis(headers, STREAM_DURATION).map(unless_zero);
        match headers.get_str(HEDGE).map(HeaderValue::as_bytes) {
            Some(b"true") => self.hedges = true,
            Some(b"false") => self.hedges = false,
            Some(_) | None => {}
        }
        self.timeout_is_empty = headers.get_str(ALT_RESPONSE).is_some();
        self.alt_stat_name = value(headers, ALT_STAT_NAME).map(Into::into);
        if let Some(policy) = combined(self.retry.as_deref(), headers) {
            self.retry = Some(Cow::Owned(policy));
        }
        headers.retain(|name, _| !OPTIONS.contains(&name.as_str()) || (expects && name.as_str() == TIMEOUT));
    }

    /// Sets `grpc-timeout` of a gRPC request to the time that its upstream has, where the route limits that. `by_default` is the
    /// longest stream of the connection manager.
    pub(crate) fn set_grpc_timeout(&self, route: GrpcTimeout, by_default: Option<Duration>, headers: &mut Headers) {
        if route == GrpcTimeout::Passed || !headers.is_grpc() {
            return;
        }
        let stated = match route {
            GrpcTimeout::Passed => None,
            GrpcTimeout::Stream(_) => self.longest.unwrap_or(by_default),
            GrpcTimeout::Whole(_) => self.expected_timeout(),
        };
        match stated {
            Some(limit) => set_timeout(headers, limit),
            // The route switches the limit off that there is otherwise: the caller's is not passed on as if it held.
            None if self.longest == Some(None) && by_default.is_some() => headers.remove(&names::GRPC_TIMEOUT),
            None => {}
        }
    }

    /// A route that adds the headers by which retries are requested gets retries, as in Envoy; only timeouts are settled by then.
    pub(crate) fn add_retries(&mut self, headers: &mut Headers) {
        if !headers.iter().any(|(name, _)| RETRY_OPTIONS.contains(&name.as_str())) {
            return;
        }
        if let Some(policy) = combined(self.retry.as_deref(), headers) {
            self.retry = Some(Cow::Owned(policy));
        }
        headers.retain(|name, _| !RETRY_OPTIONS.contains(&name.as_str()));
    }

    /// The timeout that is sent to an upstream: a try's if the try ends with it, else that of the whole request.
    pub(crate) fn expected_timeout(&self) -> Option<Duration> {
        self.per_try_timeout.filter(|_| !self.hedges).or(self.timeout)
    }
}

/// The first of `strict` that the request has and that is malformed, with its value.
pub(crate) fn malformed(strict: &[StrictHeader], headers: &Headers) -> Option<(StrictHeader, String)> {
    // A condition of Envoy's that never occurs without QUIC.
    const QUIC: &str = "http3-post-connect-failure";
    let mut on = RetryOn::default();
    strict.iter().find_map(|header| {
        let value = value(headers, header.name())?;
        let is_fine = match header {
            StrictHeader::MaxRetries | StrictHeader::PerTryTimeout | StrictHeader::Timeout => number(&value).is_some(),
            StrictHeader::RetryGrpcOn => words(&value).all(|word| on.add_grpc(word)),
            StrictHeader::RetryOn => words(&value).all(|word| word == QUIC || on.add_http(word)),
        };
        (!is_fine).then(|| (*header, value.into_owned()))
    })
}

/// The route's policy and what the request adds to it; none if the request adds nothing.
fn combined(route: Option<&RetryPolicy>, headers: &Headers) -> Option<RetryPolicy> {
    let list = |name: &str| value(headers, name).unwrap_or_default();
    let mut policy = route.cloned().unwrap_or_default();
    // An unknown condition has no effect, as in Envoy.
    words(&list(RETRY_ON)).for_each(|word| _ = policy.on.add_http(word));
    words(&list(RETRY_GRPC_ON)).for_each(|word| _ = policy.on.add_grpc(word));
    if policy.on == RetryOn::default() {
        return None;
    }
    policy.statuses.extend(words(&list(RETRIABLE_STATUS_CODES)).filter_map(|code| code.parse::<u16>().ok()));
    let names = words(&list(RETRIABLE_HEADER_NAMES)).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    policy.headers.extend(names.into_iter().map(HeaderMatch::present));
    // It replaces the route's number, whether larger or smaller.
    if let Some(retries) = number(&list(MAX_RETRIES)) {
        policy.retries_max = u32::try_from(retries).unwrap_or(u32::MAX);
    }
    Some(policy)
}

/// The value of a header, whose lines are one list (RFC 9110 5.3): two numbers are no number.
fn value<'h>(headers: &'h Headers, name: &str) -> Option<Cow<'h, str>> {
    let mut lines = headers.iter().filter(|(other, _)| other.as_str() == name);
    let first = String::from_utf8_lossy(lines.next()?.1.as_bytes());
    Some(lines.fold(first, |list, (_, line)| list + "," + String::from_utf8_lossy(line.as_bytes())))
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// What Envoy can count; a `Duration` and an `Instant` hold more.
fn millis(headers: &Headers, name: &str) -> Option<Duration> {
    const MAX: u64 = i64::MAX.unsigned_abs();
    number(&value(headers, name)?).filter(|millis| *millis <= MAX).map(Duration::from_millis)
}

/// 0 is no limit.
fn unless_zero(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::route::Action;

    const ROUTE: Duration = Duration::from_secs(15);

    #[test]
    fn request_headers_set_other_timeouts() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (fields, timeout, per_try) in [
            (&[][..], Some(ROUTE), None),
            (&[("x-envoy-upstream-rq-timeout-ms", "300")], ms(300), None),
            (&[("x-envoy-upstream-rq-timeout-ms", "20000")], ms(20_000), None),
            (&[("x-envoy-upstream-rq-timeout-ms", "0")], None, None),
            (&[("x-envoy-upstream-rq-timeout-ms", "abc")], Some(ROUTE), None),
            (&[("x-envoy-upstream-rq-timeout-ms", "-1")], Some(ROUTE), None),
            (&[("x-envoy-upstream-rq-timeout-ms", "18446744073709551615")], Some(ROUTE), None),
            (&[("x-envoy-upstream-rq-timeout-ms", "1"), ("x-envoy-upstream-rq-timeout-ms", "2")], Some(ROUTE), None),
            (&[("x-envoy-upstream-rq-per-try-timeout-ms", "150")], Some(ROUTE), ms(150)),
            (&[("x-envoy-upstream-rq-per-try-timeout-ms", "15000")], Some(ROUTE), None),
            (
                &[("x-envoy-upstream-rq-timeout-ms", "0"), ("x-envoy-upstream-rq-per-try-timeout-ms", "90000")],
                None,
                ms(90_000),
            ),
            (&[("x-envoy-expected-rq-timeout-ms", "300")], Some(ROUTE), None),
        ] {
            let route = route(None);
            let mut headers = Headers::of(fields);
            let options = RequestOptions::resolve(&route, &RouterOptions::default(), &mut headers);
            assert_eq!((options.timeout, options.per_try_timeout), (timeout, per_try), "{fields:?}");
            assert!(headers.iter().all(|(name, _)| *name == names::X_ENVOY_EXPECTED_TIMEOUT), "{fields:?}");
        }
    }

    #[test]
    fn what_the_hop_before_expects_may_be_respected() {
        let router = RouterOptions { respect_expected_timeout: true, ..RouterOptions::default() };
        for (fields, timeout, left) in [
            (&[("x-envoy-expected-rq-timeout-ms", "300"), ("x-envoy-upstream-rq-timeout-ms", "9")][..], 300, 2),
            (&[("x-envoy-upstream-rq-timeout-ms", "9")], 9, 0),
        ] {
            let route = route(None);
            let mut headers = Headers::of(fields);
            let options = RequestOptions::resolve(&route, &router, &mut headers);
            assert_eq!((options.timeout, headers.len()), (Some(Duration::from_millis(timeout)), left), "{fields:?}");
        }
    }

    #[test]
    fn request_headers_set_retries() {
        let mut of_route = RetryPolicy::default();
        assert!(of_route.on.add("reset"));
        let of_route = Some(of_route);
        for (policy, fields, expected) in [
            (&None, &[("x-envoy-retry-on", "5xx, nonsense")][..], Some((1, true, false, 0))),
            (&None, &[("x-envoy-retry-on", "x"), ("x-envoy-retry-on", "5xx")], Some((1, true, false, 0))),
            (&None, &[("x-envoy-max-retries", "9")], None),
            (&None, &[("x-envoy-retry-grpc-on", "cancelled,5xx")], Some((1, false, false, 0b10))),
            (&of_route, &[("x-envoy-max-retries", "0")], Some((0, false, true, 0))),
            (&of_route, &[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "x")], Some((1, true, true, 0))),
        ] {
            let route = route(policy.clone());
            let mut headers = Headers::of(fields);
            let options = RequestOptions::resolve(&route, &RouterOptions::default(), &mut headers);
            let found = options
                .retry
                .map(|policy| (policy.retries_max, policy.on.server_error, policy.on.reset, policy.on.grpc));
            assert_eq!(found, expected, "{fields:?}");
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn strictness_finds_what_is_malformed() {
        for (name, value, is_fine) in [
            ("x-envoy-max-retries", "3", true),
            ("x-envoy-max-retries", "x", false),
            ("x-envoy-upstream-rq-timeout-ms", "", false),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "1.5", false),
            ("x-envoy-retry-on", "5xx, reset", true),
            ("x-envoy-retry-on", "5xx,nonsense", false),
            ("x-envoy-retry-on", "cancelled", false),
            ("x-envoy-retry-grpc-on", "cancelled", true),
            ("x-envoy-retry-grpc-on", "5xx", false),
            ("x-other", "", true),
        ] {
            let headers = Headers::of(&[(name, value)]);
            assert_eq!(malformed(&StrictHeader::ALL, &headers).is_none(), is_fine, "{name}: {value}");
            assert!(malformed(&[], &headers).is_none());
        }
    }

    /// A route as it is configured by default, with another policy.
    fn route(retry: Option<RetryPolicy>) -> Forward {
        let text = r#"
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: 80 } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: a
          route_config:
            virtual_hosts: [{ name: a, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: a } }] }]
          http_filters:
          - { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
  clusters: [{ name: a }]
"#;
        let config = Config::from_yaml(text, "test").unwrap().config;
        let Action::Forward(route) =
            &config.listeners[0].managers().next().unwrap().routes.virtual_hosts[0].routes[0].action
        else {
            panic!("the route forwards");
        };
        Forward { retry: retry.map(Box::new), ..(**route).clone() }
    }
}
