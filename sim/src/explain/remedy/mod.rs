//! What would have changed the outcome of a failed request.

mod decision;
mod edit;
mod pings;
mod plan;
mod timeout;
pub(super) mod trial;

use std::time::Duration;

use finwait::access_log::ResponseFlag;
use finwait::config::cluster::{ClusterProtocol, Limits, UpstreamProtocol};
use finwait::config::listener::Keepalive;
use finwait::config::retry::RetryPolicy;
use finwait::config::route::{Action, Forward};

use crate::actor::is_idempotent;
use crate::explain::hop::{Cause, Judged};
use crate::explain::proposal::{Proposal, set};
use crate::explain::settings::{HostSettings, Routed, Setting, http_options, seconds};
use crate::explain::stops::KEEPALIVE;
use crate::explain::traffic::Exchange;
use crate::explain::{Case, Change};
use crate::scenario::Role;
use crate::trace::Loss;
use decision::decision;
use timeout::timeout;

/// What to do, the most to the point first.
pub(super) fn changes(case: &Case<'_>, origin: Option<&Judged<'_>>, hops: &[Judged<'_>]) -> Vec<Change> {
    let Some(origin) = origin else { return Vec::new() };
    let settings = HostSettings::new(case.scenario, &origin.story.host);
    let connection = case.traffic.conversations.get(origin.exchange.connection);
    let led =
        settings.as_ref().zip(connection).and_then(|(settings, connection)| settings.led(origin.exchange, connection));
    let here = settings.as_ref().zip(led.as_ref());
    match &origin.cause {
        Cause::Timeout(setting) => timeout(case, setting, hops),
        Cause::Admin => {
            vec![Change::advice("no setting: it is the response of the admin interface to the operator's request")]
        }
        Cause::Decision | Cause::Itself | Cause::Unknown => decision(case, origin, here),
        Cause::Refused => endpoint(here, "an endpoint that has a listener"),
        Cause::ConnectTimeout(lost) => connect_timeout(*lost, origin, here),
        Cause::Left => vec![Change::advice(match origin.exchange.response {
            _ if origin.exchange.is_tunnel() => "no setting: the client closed its connection",
            None => {
                "no setting: the client has to keep its connection open until it has the response; half-closing counts as disconnecting"
            }
            Some(_) => "no setting: the client has to keep its connection open until the response is complete",
        })],
        Cause::Beginning(beginning, setting) => {
            vec![Change::of(beginning.change(), setting.clone(), beginning.proposal())]
        }
        Cause::NoFilterChain(setting) => {
            let what = "add a filter chain that takes the connection, or a default";
            vec![Change::of(what, setting.clone(), NOT_KNOWN)]
        }
        Cause::Own | Cause::NextHop { .. } | Cause::Busy => match pings::fewer(case, hops) {
            Some(fewer) => vec![fewer],
            None => retries(case, hops),
        },
        Cause::Handshake(mismatch) => {
            let cluster = here.and_then(|(settings, led)| match &led.route {
                Some((_, Action::Forward(forward))) => Some((settings, settings.cluster(forward)?.0)),
                Some(_) | None => None,
            });
            mismatch.changes(cluster.as_ref().map(|(settings, path)| (*settings, path.as_slice())))
        }
        Cause::OverLimit(limit) => vec![Change::advice(limit.advice())],
        Cause::Unread => vec![Change::advice("no setting found: see the next hop and its log")],
        Cause::Unreadable => vec![Change::advice("no setting: the next hop has to send valid HTTP")],
        Cause::WithoutTls => encrypt(case, origin),
        Cause::WrongProtocol => protocol(case, origin),
    }
}

/// A cluster in clear text whose endpoints want TLS.
fn encrypt(case: &Case<'_>, hop: &Judged<'_>) -> Vec<Change> {
    // Which authority is right is for the operator to say; what is tried accepts any.
    const TLS: &str = "{ name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext } }";
    let Some((settings, to)) = forward(case, hop) else { return Vec::new() };
    let setting = settings.cluster(&to).map(|(path, _)| settings.setting(&path, "transport_socket", None));
    let what = "use TLS for this cluster, or a port of its endpoints without TLS";
    setting.map(|setting| Change::of(what, setting, set(TLS))).into_iter().collect()
}

/// An endpoint that left a PING without a response.
fn keepalive(case: &Case<'_>, setting: &Setting, hops: &[Judged<'_>]) -> Vec<Change> {
    let name = hops.last().map_or("the next hop", |last| last.story.host.as_str());
    let what = format!("{name} has to acknowledge PING, as every HTTP/2 peer must (RFC 9113 6.7), or wait longer");
    let mut changes = vec![Change::of(what, setting.clone(), Proposal::Longer(None))];
    let hop = hops.iter().find(|hop| hop.story.host == setting.host);
    if let Some((settings, forward)) = hop.and_then(|hop| forward(case, hop))
        && let Some((_, meant)) = settings.cluster(&forward)
        && let Some(options) = meant.protocol.always_http2()
        && let Some(Keepalive { interval, after_idle: Some(pause), .. }) = options.keepalive
    {
        let below = |name: &str| format!("{KEEPALIVE}.{name}");
        let doubt = cluster(&settings, &forward, &below("connection_idle_interval"), Some(seconds(pause)));
        let what = "send PING only after a longer idle time";
        changes.extend(doubt.map(|it| Change::of(what, it, Proposal::Longer(None))));
        if interval.is_none() {
            let interval = cluster(&settings, &forward, &below("interval"), None);
            let what = "send PING periodically, not only with a request";
            changes.extend(interval.map(|it| Change::of(what, it, set("10s"))));
        }
    }
    changes.extend(retries(case, hops));
    changes
}

/// Which value is right depends on what the operator wants.
const NOT_KNOWN: Proposal = Proposal::Untried("what is right here is for the operator to say");

/// Twice as many, and one at least.
fn twice(number: u32) -> Proposal {
    Proposal::Set(number.saturating_mul(2).max(1).to_string().into())
}

/// The limits of a cluster that differ from the default, or all of them.
fn limits(limits: &Limits) -> String {
    const DEFAULT: u32 = 1024; // Envoy's, of all three
    let limits = [
        ("max_connections", limits.connections_max),
        ("max_pending_requests", limits.pending_max),
        ("max_requests", limits.requests_max),
    ];
    let chosen: Vec<_> = limits.iter().filter(|(_, value)| *value != DEFAULT).collect();
    let shown = if chosen.is_empty() { limits.iter().collect() } else { chosen };
    shown.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

/// A hop that closed an idle connection while a request was in flight on it.
fn keep_longer(case: &Case<'_>, setting: &Setting, hops: &[Judged<'_>]) -> Vec<Change> {
    let client = hops.last().map(|last| last.exchange.client);
    let name = client.map_or("the client", |client| case.played.trace.host(client));
    let role = client.and_then(|client| super::role(case.scenario, &case.played.trace, client));
    let keeps = match role {
        Some(Role::Alb(alb)) => format!(", which is {} (its idle_timeout)", seconds(alb.idle_timeout.0)),
        _ => String::new(),
    };
    let what = format!("keep idle connections open longer than {name} does{keeps}");
    let than = match role {
        Some(Role::Alb(alb)) => Some(alb.idle_timeout.0),
        Some(Role::App(_) | Role::Client(_) | Role::Proxy(_)) | None => None,
    };
    let mut changes = vec![Change::of(what, setting.clone(), Proposal::Longer(than))];
    let last = hops.last();
    let settings = last.and_then(|last| HostSettings::new(case.scenario, &last.story.host));
    let connection = last.and_then(|last| case.traffic.conversations.get(last.exchange.connection));
    if let Some(last) = last
        && let Some((settings, led)) = settings
            .as_ref()
            .zip(connection)
            .and_then(|(settings, it)| Some((settings, settings.led(last.exchange, it)?)))
    {
        let timeouts = &led.options.timeouts;
        let serve = "serve requests for longer while draining";
        let close = "close at once, without waiting for the client to close first, 0s";
        for (what, name, value, proposal) in [
            (serve, "drain_timeout", timeouts.drain, Proposal::Longer(None)),
            (close, "delayed_close_timeout", timeouts.delayed_close, set("0s")),
        ] {
            if !value.is_zero() {
                let setting = settings.setting(&led.manager, name, Some(seconds(value)));
                changes.push(Change::of(what, setting, proposal));
            }
        }
    }
    changes
}

/// Whether a request was lost for good on a connection that had served others.
fn is_forgotten(case: &Case<'_>, last: Option<&Judged<'_>>) -> bool {
    let Some(last) = last.map(|last| last.exchange) else { return false };
    let earlier = |it: &&Exchange| it.connection == last.connection && it.request.began < last.request.began;
    last.request.arrived.is_none() && case.traffic.exchanges.iter().any(|it| earlier(&it) && it.response.is_some())
}

/// A connection that could not be made.
fn endpoint(here: Option<(&HostSettings<'_>, &Routed<'_>)>, what: &str) -> Vec<Change> {
    let Some((settings, led)) = here else { return Vec::new() };
    let Some((_, Action::Forward(forward))) = &led.route else { return Vec::new() };
    let mut changes = Vec::new();
    if let Some((cluster, _)) = settings.cluster(forward) {
        let setting = settings.setting(&cluster, "load_assignment.endpoints", None);
        changes.push(Change::of(format!("name {what}"), setting, Proposal::AnotherApp));
    }
    changes.extend(other_endpoint(settings, led));
    changes
}

/// Another endpoint, if no retry policy permits it yet.
fn other_endpoint(settings: &HostSettings<'_>, led: &Routed<'_>) -> Option<Change> {
    let (path, Action::Forward(forward)) = led.route.as_ref()? else { return None };
    let setting = settings.setting(path, "route.retry_policy", None);
    let what = "with a second endpoint, retry_on: connect-failure";
    forward.retry.is_none().then(|| Change::of(what, setting, set("{ retry_on: connect-failure }")))
}

/// No SYN-ACK came in time. TCP repeats a lost SYN after a second (RFC 6298 2.1), so a limit below that takes one
/// lost segment for a host that is gone.
fn connect_timeout(
    lost: Option<Loss>,
    origin: &Judged<'_>,
    here: Option<(&HostSettings<'_>, &Routed<'_>)>,
) -> Vec<Change> {
    let Some((settings, led)) = here else { return Vec::new() };
    let Some((route, Action::Forward(forward))) = &led.route else { return Vec::new() };
    let mut changes = Vec::new();
    match lost {
        Some(Loss::NoHost) | None => return endpoint(here, "an endpoint that exists"),
        Some(Loss::NoPower) => changes.push(Change::advice("start the host, or route to another")),
        Some(Loss::Chance | Loss::Fault) => {
            if let Some((cluster, meant)) = settings.cluster(forward)
                && meant.connect_timeout <= Duration::from_secs(1)
            {
                let what = "wait for TCP to retransmit the lost segment, more than 1s";
                let setting = settings.setting(&cluster, "connect_timeout", Some(seconds(meant.connect_timeout)));
                changes.push(Change::of(what, setting, Proposal::Longer(Some(Duration::from_secs(1)))));
            }
        }
    }
    changes.extend(other_endpoint(settings, led));
    if let Some(policy) = forward.retry.as_ref().filter(|_| origin.tries > 1) {
        let setting = settings.setting(route, "route.retry_policy.num_retries", Some(policy.retries_max.to_string()));
        let what = format!("retry more often, although {} attempts failed here", origin.tries);
        changes.push(Change::of(what, setting, twice(policy.retries_max)));
    }
    changes
}

/// The last proxy on the way may retry, if that is safe, or send another request.
fn retries(case: &Case<'_>, hops: &[Judged<'_>]) -> Vec<Change> {
    let Some(last) = hops.iter().rfind(|hop| hop.next.is_some()) else { return Vec::new() };
    let Some((settings, to)) = forward(case, last) else { return Vec::new() };
    let Some(forwarded) = hops.last().map(|hop| hop.exchange) else { return Vec::new() };
    let word = match Repeat::of(forwarded) {
        Repeat::Never(why) => return vec![Change::advice(why)],
        Repeat::On(word) => word,
    };
    let Some(route) = route(&settings, case, last) else { return Vec::new() };
    let safe =
        if is_idempotent(&forwarded.method) { "" } else { ", which repeats a request that may have been processed" };
    let retry = |name: &str, value| settings.setting(&route, &format!("route.retry_policy{name}"), value);
    let first = match &to.retry {
        Some(_) if last.account.is_some_and(|account| account.flags.contains(&ResponseFlag::UO)) => {
            let Some(change) = more_retries(&settings, &to) else { return Vec::new() };
            change
        }
        Some(policy) if last.tries < 2 && covers(policy, word) => {
            return uncovered(&settings, policy, &route, last.exchange);
        }
        Some(_) if last.tries < 2 => {
            Change::of(format!("add to retry_on: {word}{safe}"), retry(".retry_on", None), Proposal::Word(word))
        }
        None => {
            let policy = Proposal::Set(format!("{{ retry_on: {word} }}").into());
            Change::of(format!("retry, retry_on: {word}{safe}"), retry("", None), policy)
        }
        Some(policy) => {
            let app = hops.last().map_or("the next hop", |hop| hop.story.host.as_str());
            let what = match forwarded.response {
                Some(_) => format!(
                    "{app} has to respond otherwise; retry more often, although {} attempts had the same response here",
                    last.tries
                ),
                None => format!("retry more often, although {} attempts failed here", last.tries),
            };
            Change::of(what, retry(".num_retries", Some(policy.retries_max.to_string())), twice(policy.retries_max))
        }
    };
    let mut changes = vec![first];
    changes.extend(multiplied(case, hops));
    changes
}

/// Whether a request can be sent again after what came of it.
enum Repeat {
    /// No; the advice instead.
    Never(&'static str),
    /// If `retry_on` has this word.
    On(&'static str),
}

impl Repeat {
    fn of(forwarded: &Exchange) -> Self {
        if forwarded.is_tunnel() {
            return Self::Never(match forwarded.is_websocket() {
                true => "no setting: the client has to open a new WebSocket",
                false => "no setting: the client has to open a new tunnel",
            });
        }
        let status = forwarded.response.as_ref().map(|final_response| final_response.status);
        if forwarded.informed_by(Duration::MAX).is_some() && status.is_none_or(|status| status >= 400) {
            return Self::Never(
                "no setting: a request is not retried once its response has begun, and an informational one is its beginning",
            );
        }
        match status {
            Some(502..=504) => Self::On("gateway-error"),
            Some(500..) => Self::On("5xx"),
            Some(..400) if forwarded.is_websocket() => Self::Never(
                "no setting: an app that accepts a WebSocket has to respond 101; over HTTP/2 between proxies any 2xx accepts it (RFC 8441 5)",
            ),
            Some(..400) => Self::Never("no setting: a request is not retried once its response has begun"),
            Some(_) => Self::Never("no setting: it is the response of the app"),
            None => Self::On("reset"),
        }
    }
}

/// More retries at once, for one that the circuit breaker did not permit.
fn more_retries(settings: &HostSettings<'_>, to: &Forward) -> Option<Change> {
    let (cluster, meant) = settings.cluster(to)?;
    let limits = meant.limits.of(to.priority);
    let (limit, value) = match &limits.retry_budget {
        Some(budget) => {
            let percent = f64::from(budget.basis_points) / 100.0;
            ("retry_budget", format!("{percent} % of active requests, {} at least", budget.retries_min))
        }
        None => ("max_retries", limits.retries_max.to_string()),
    };
    let by_key = settings.keys_of_limits(&meant.name, to.priority);
    let setting = by_key.unwrap_or_else(|| settings.setting(&cluster, "circuit_breakers.thresholds", Some(value)));
    let what = format!("permit more concurrent retries, {limit}");
    Some(Change::of(what, setting, Proposal::Unlimited))
}

/// Whether a policy retries after what a word of `retry_on` stands for.
fn covers(policy: &RetryPolicy, word: &str) -> bool {
    // 5xx stands for the other words that come here too.
    policy.on.server_error
        || (word == "gateway-error" && policy.on.gateway_error)
        || (word == "reset" && policy.on.reset)
}

/// What kept a policy that covers what happened to an exchange from a retry.
fn uncovered(settings: &HostSettings<'_>, policy: &RetryPolicy, route: &[String], forwarded: &Exchange) -> Vec<Change> {
    let names: Vec<&str> = policy.request_headers.iter().map(|header| header.name.as_str()).collect();
    let below = |name: &str| format!("route.retry_policy.{name}");
    if !names.is_empty() && !names.iter().any(|name| forwarded.field(name).is_some()) {
        let setting = settings.setting(route, &below("retriable_request_headers"), Some(names.join(", ")));
        return vec![Change::of("send a header that permits retries of this request", setting, Proposal::Remove)];
    }
    if policy.retries_max == 0 {
        let setting = settings.setting(route, &below("num_retries"), Some("0".into()));
        return vec![Change::of("permit a retry", setting, set("1"))];
    }
    vec![Change::advice(match forwarded.response {
        Some(_) => "no setting: retry_on covers it, but the runtime key upstream.use_retry leaves this request out",
        None => "no setting: retry_on covers it, but a request body that exceeds the buffer limit is not sent again",
    })]
}

/// Retries at several hops: each multiplies those of the next.
fn multiplied(case: &Case<'_>, hops: &[Judged<'_>]) -> Option<Change> {
    let mut trying = hops.iter().filter(|hop| hop.tries > 1);
    let (first, _) = (trying.next()?, trying.next()?);
    let (settings, forward) = forward(case, first)?;
    let route = route(&settings, case, first)?;
    let value = forward.retry.as_ref().map(|policy| policy.retries_max.to_string());
    let what = "retry at one hop only, since the attempts of several hops multiply";
    Some(Change::of(what, settings.setting(&route, "route.retry_policy.num_retries", value), set("0")))
}

/// Two hops that do not understand each other.
fn protocol(case: &Case<'_>, hop: &Judged<'_>) -> Vec<Change> {
    let Some((settings, to)) = forward(case, hop) else { return Vec::new() };
    let (what, protocol) = match settings.cluster(&to).map(|(_, cluster)| cluster.protocol) {
        Some(ClusterProtocol::Fixed(UpstreamProtocol::Alpn(_))) => {
            return vec![Change::advice(
                "no setting: the next hop has to speak what it chooses by ALPN (RFC 7301 3.2)",
            )];
        }
        Some(ClusterProtocol::OfClient { .. }) => {
            return vec![Change::advice(
                "write explicit_http_config with the protocol of the next hop in place of use_downstream_protocol_config",
            )];
        }
        Some(ClusterProtocol::Fixed(UpstreamProtocol::Http2(_))) => {
            ("use HTTP/1 for this cluster", "{ http_protocol_options: {} }")
        }
        Some(ClusterProtocol::Fixed(UpstreamProtocol::Http1)) | None => {
            ("use the protocol of the next hop", "{ http2_protocol_options: {} }")
        }
    };
    let setting = cluster(&settings, &to, "explicit_http_config", None);
    setting.map(|setting| Change::of(what, setting, set(protocol))).into_iter().collect()
}

/// Where the route of a hop leads, and the settings of the hop.
fn forward<'a>(case: &'a Case<'_>, hop: &Judged<'_>) -> Option<(HostSettings<'a>, Forward)> {
    let name = case.scenario.hosts.iter().find(|host| host.name == hop.story.host)?;
    let settings = HostSettings::new(case.scenario, &name.name)?;
    let connection = case.traffic.conversations.get(hop.exchange.connection)?;
    let (_, Action::Forward(forward)) = settings.led(hop.exchange, connection)?.route? else { return None };
    let forward = forward.clone();
    Some((settings, *forward))
}

fn route(settings: &HostSettings<'_>, case: &Case<'_>, hop: &Judged<'_>) -> Option<Vec<String>> {
    let connection = case.traffic.conversations.get(hop.exchange.connection)?;
    settings.led(hop.exchange, connection)?.route.map(|(path, _)| path)
}

/// A setting among a cluster's HTTP options.
fn cluster(settings: &HostSettings<'_>, forward: &Forward, below: &str, value: Option<String>) -> Option<Setting> {
    let (path, _) = settings.cluster(forward)?;
    Some(settings.setting(&http_options(path), below, value))
}

fn seconds_of(time: Option<Duration>) -> Option<String> {
    Some(time.map_or("never".into(), seconds))
}
