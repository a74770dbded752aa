//! What would have changed the outcome of a failed request, and whether sending it again would have been safe.

use std::time::Duration;

use finwait::config::cluster::UpstreamProtocol;
use finwait::config::route::{Action, Forward};

use super::hop::{Cause, Judged};
use super::settings::{Led, Setting, Told, seconds};
use super::wire::ActKind;
use super::{Case, Change, Retry};

/// Methods that may be repeated (RFC 9110 9.2.2).
const IDEMPOTENT: [&str; 6] = ["DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"];

/// Where a cluster's HTTP options stand.
const HTTP_OPTIONS: [&str; 2] =
    ["typed_extension_protocol_options", "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];

pub(super) fn retry(case: &Case<'_>, origin: Option<&Judged<'_>>, hops: &[Judged<'_>]) -> Retry {
    let retry = |is_safe, why: &str| Retry { is_safe, why: why.to_owned() };
    let (Some(origin), Some(last)) = (origin, hops.last()) else { return retry(true, "nothing was sent") };
    let deepest = last.exchange;
    if deepest.is_tunnel() {
        return retry(false, "bytes may have passed in both directions; only the client can begin again");
    }
    // What an app did is told by the hop before it, in the words of the protocol.
    let told = hops
        .iter()
        .rev()
        .find(|hop| hop.next.is_some() && hop.cause != Cause::Busy)
        .filter(|_| origin.cause == Cause::Own);
    match &told.unwrap_or(origin).cause {
        Cause::ConnectTimeout | Cause::Refused => {
            return retry(true, "the request never left the hop that could not connect");
        }
        Cause::Decision(_) => return retry(true, "nobody was asked; though the answer will be the same"),
        Cause::NextHop { did: Some(ActKind::GoAway { .. }), .. } => {
            return retry(
                true,
                "the stream is above the last one that GOAWAY names, so nobody worked on it (RFC 9113 8.7)",
            );
        }
        Cause::NextHop { did: Some(ActKind::Reset { code, .. }), .. } if code == "REFUSED_STREAM" => {
            return retry(true, "REFUSED_STREAM says that nobody worked on it (RFC 9113 8.7)");
        }
        Cause::Busy
        | Cause::Itself
        | Cause::NextHop { .. }
        | Cause::Own
        | Cause::Timeout(_)
        | Cause::Unknown
        | Cause::WrongProtocol => {}
    }
    let id = deepest.field("x-request-id");
    let deliveries = &case.played.sightings.deliveries;
    let seen = deliveries.iter().filter(|it| id.is_some() && it.request_id.as_deref() == id).count();
    // An app that does not read HTTP counts no requests. What crosses the end of a connection is not read at all.
    let is_read = |at| !case.wire.acts_on(deepest).any(|act| Some(act.by) == deepest.server && act.sent.at < at);
    let server = deepest.server.and_then(|host| super::role(case.scenario, &case.played.trace, host));
    let is_proxy = server.is_some_and(super::passes_on);
    let in_this_run = match seen {
        0 if deepest.request.arrived.is_some_and(is_read) && !is_proxy => "in this run it arrived there".to_owned(),
        0 => "in this run no app saw it".into(),
        1 => "in this run an app saw it".into(),
        more => format!("in this run apps saw it {more} times"),
    };
    let method = if deepest.is_websocket() { "GET" } else { deepest.method.as_str() };
    match IDEMPOTENT.contains(&method) {
        true => Retry { is_safe: true, why: format!("{method} may be repeated (RFC 9110 9.2.2); {in_this_run}") },
        false => Retry { is_safe: false, why: format!("{method} may have been carried out; {in_this_run}") },
    }
}

/// What to do, the most to the point first.
pub(super) fn changes(case: &Case<'_>, origin: Option<&Judged<'_>>, hops: &[Judged<'_>]) -> Vec<Change> {
    let Some(origin) = origin else { return Vec::new() };
    let told = Told::new(case.scenario, &origin.story.host);
    let to = case.wire.conversations.get(origin.exchange.connection).map(|it| it.server_address);
    let led = told.as_ref().zip(to).and_then(|(told, to)| told.led(origin.exchange, to));
    let here = told.as_ref().zip(led.as_ref());
    match &origin.cause {
        Cause::Timeout(setting) => timeout(case, setting, hops),
        Cause::Decision(details) => here.map(|(told, led)| decision(details, told, led)).unwrap_or_default(),
        Cause::Refused => endpoint(here, "an endpoint where somebody listens", "connect-failure"),
        Cause::ConnectTimeout => connect_timeout(here),
        Cause::Own | Cause::NextHop { .. } => ask_again(case, hops),
        Cause::WrongProtocol => protocol(case, origin),
        Cause::Busy | Cause::Itself | Cause::Unknown => Vec::new(),
    }
}

/// A timer that was too short, or one at the other end that was too long.
fn timeout(case: &Case<'_>, setting: &Setting, hops: &[Judged<'_>]) -> Vec<Change> {
    let last = hops.last();
    let was_idle = |last: &Judged<'_>| {
        last.exchange.answer.is_none() && last.tries == 0 && setting.name == "common_http_protocol_options.idle_timeout"
    };
    if last.is_some_and(was_idle) {
        return vec![change("wait longer than those who ask keep their connections".into(), setting.clone())];
    }
    let by_app = last.is_some_and(|last| last.story.host == setting.host && last.next.is_none());
    if by_app && let Some(before) = hops.iter().rev().nth(1) {
        let mut changes = Vec::new();
        if let Some((told, forward)) = forward(case, before) {
            let value = seconds_of(told.cluster(&forward).and_then(|(_, cluster)| cluster.idle_timeout));
            let what = format!(
                "close idle connections before the app does, in less than {}",
                setting.value.as_deref().unwrap_or("its timeout")
            );
            changes.extend(
                cluster(&told, &forward, "common_http_protocol_options.idle_timeout", value).map(|it| change(what, it)),
            );
        }
        changes.extend(ask_again(case, hops));
        return changes;
    }
    let is_tunnel = last.is_some_and(|last| last.exchange.is_tunnel());
    let timer = hops.iter().find_map(|hop| hop.timer.as_ref().filter(|_| hop.story.host == setting.host));
    let until = timer.map(|timer| timer.until);
    if let Some(hop) = hops.iter().find(|hop| hop.story.host == setting.host && hop.tries == 0)
        && let Some((told, forward)) = forward(case, hop)
        && let Some((path, _)) = told.cluster(&forward)
    {
        let what = "permit more connections, since the request waited for one".into();
        return vec![change(what, told.setting(&path, "circuit_breakers.thresholds", None))];
    }
    let answered =
        last.filter(|_| !is_tunnel).and_then(|last| Some((last.exchange.answer.as_ref()?.part.began.at, last)));
    let what = match answered {
        Some((at, last)) if until.is_some_and(|until| at > until) => {
            let took = last.exchange.request.head_arrived.map(|asked| at.saturating_sub(asked)).unwrap_or_default();
            format!("wait longer: the app needed {}", seconds(took))
        }
        Some(_) => "wait longer, or try less often".into(),
        None if is_tunnel => "send something more often, or wait longer (0s waits forever)".into(),
        None => "no longer wait would have helped as far as this run shows: nobody answered".into(),
    };
    vec![change(what, setting.clone())]
}

/// What a proxy decided by its configuration.
fn decision(details: &str, told: &Told<'_>, led: &Led<'_>) -> Vec<Change> {
    let manager = |below: &str| told.setting(&led.manager, below, None);
    let forward = led
        .route
        .as_ref()
        .and_then(|(_, action)| if let Action::Forward(forward) = action { Some(forward) } else { None });
    let (what, setting) = match details {
        "route_not_found" => ("add a route that takes the request", Some(manager("route_config.virtual_hosts"))),
        "upgrade_failed" => ("permit the upgrade", Some(manager("upgrade_configs"))),
        "http2.invalid.header.field" => {
            ("permit extended CONNECT", Some(manager("http2_protocol_options.allow_connect")))
        }
        "low_version" => ("accept HTTP/1.0", Some(manager("http_protocol_options.accept_http_10"))),
        "http1.headers_too_large" => ("permit larger heads", Some(manager("max_request_headers_kb"))),
        "http1.too_many_headers" => {
            ("permit more headers", Some(manager("common_http_protocol_options.max_headers_count")))
        }
        "direct_response" | "cluster_not_found" => {
            let route = led.route.as_ref().map(|(path, _)| path);
            ("lead the route elsewhere", route.map(|path| told.setting(path, "route", None)))
        }
        "no_healthy_upstream" => (
            "give the cluster endpoints",
            forward
                .and_then(|it| told.cluster(it))
                .map(|(path, _)| told.setting(&path, "load_assignment.endpoints", None)),
        ),
        other if other.contains("overflow") => (
            "permit more at once",
            forward
                .and_then(|it| told.cluster(it))
                .map(|(path, _)| told.setting(&path, "circuit_breakers.thresholds", None)),
        ),
        _ => return vec![Change { what: "send another request: no setting is about this one".into(), setting: None }],
    };
    vec![Change { what: what.into(), setting }]
}

/// A connection that could not be made.
fn endpoint(here: Option<(&Told<'_>, &Led<'_>)>, what: &str, retry_on: &str) -> Vec<Change> {
    let Some((told, led)) = here else { return Vec::new() };
    let Some((path, Action::Forward(forward))) = &led.route else { return Vec::new() };
    let mut changes = Vec::new();
    if let Some((cluster, _)) = told.cluster(forward) {
        changes.push(change(format!("name {what}"), told.setting(&cluster, "load_assignment.endpoints", None)));
    }
    if forward.retry.is_none() {
        let what = format!("with a second endpoint, retry_on: {retry_on}");
        changes.push(change(what, told.setting(path, "route.retry_policy", None)));
    }
    changes
}

/// Nobody answered in time. TCP repeats a lost SYN after a second (RFC 6298 2.1), so a limit below that takes one
/// lost segment for a host that is gone.
fn connect_timeout(here: Option<(&Told<'_>, &Led<'_>)>) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some((told, led)) = here
        && let Some((_, Action::Forward(forward))) = &led.route
        && let Some((cluster, meant)) = told.cluster(forward)
        && meant.connect_timeout <= Duration::from_secs(1)
    {
        let what = "if a segment was lost, wait until TCP has sent it again, more than 1s".to_owned();
        let value = Some(seconds(meant.connect_timeout));
        changes.push(change(what, told.setting(&cluster, "connect_timeout", value)));
    }
    changes.extend(endpoint(here, "an endpoint that exists", "connect-failure"));
    changes
}

/// The last proxy on the way may ask again, if that is safe, or ask otherwise.
fn ask_again(case: &Case<'_>, hops: &[Judged<'_>]) -> Vec<Change> {
    let proxies = || hops.iter().filter(|hop| hop.next.is_some());
    let Some(last) = proxies().next_back() else { return Vec::new() };
    let Some((told, to)) = forward(case, last) else { return Vec::new() };
    let Some(asked) = hops.last().map(|hop| hop.exchange) else { return Vec::new() };
    if asked.is_tunnel() {
        return vec![Change {
            what: "no setting: a WebSocket that is cut is its client's to open again".into(),
            setting: None,
        }];
    }
    let answered = asked.answer.as_ref().map(|answer| answer.status);
    let word = match answered {
        Some(502..=504) => "gateway-error",
        Some(500..) => "5xx",
        Some(..400) => {
            let what = "no setting: an answer that has begun cannot be asked for again".into();
            return vec![Change { what, setting: None }];
        }
        Some(_) => return vec![Change { what: "no setting: the app answered so".into(), setting: None }],
        None => "reset",
    };
    let safe = if asked.is_websocket() || IDEMPOTENT.contains(&asked.method.as_str()) {
        ""
    } else {
        ", which repeats what may have been carried out"
    };
    let Some(route) = route(&told, case, last) else { return Vec::new() };
    let (what, setting) = match &to.retry {
        Some(_) if last.story.log.as_deref().is_some_and(|line| line.contains("UO")) => {
            let Some((cluster, cluster_meant)) = told.cluster(&to) else { return Vec::new() };
            let value = Some(cluster_meant.limits.retries_max.to_string());
            let limit = told.setting(&cluster, "circuit_breakers.thresholds", value);
            ("permit more retries at once, max_retries".into(), limit)
        }
        Some(_) if last.tries < 2 => {
            let what = format!("let retry_on cover it: {word}{safe}");
            (what, told.setting(&route, "route.retry_policy.retry_on", None))
        }
        None => (format!("ask again, retry_on: {word}{safe}"), told.setting(&route, "route.retry_policy", None)),
        Some(policy) => {
            let value = Some(policy.retries_max.to_string());
            ("ask more often, if it may help".into(), told.setting(&route, "route.retry_policy.num_retries", value))
        }
    };
    vec![change(what, setting)]
}

/// Two hops that do not understand each other.
fn protocol(case: &Case<'_>, hop: &Judged<'_>) -> Vec<Change> {
    let Some((told, to)) = forward(case, hop) else { return Vec::new() };
    let what = match told.cluster(&to).map(|(_, cluster)| cluster.protocol) {
        Some(UpstreamProtocol::Http2(_)) => "speak HTTP/1 to this cluster",
        Some(UpstreamProtocol::Http1) | None => "speak the protocol that the next hop speaks",
    };
    cluster(&told, &to, "explicit_http_config", None).map(|setting| change(what.into(), setting)).into_iter().collect()
}

/// Where the route of a hop leads, and what the hop was told.
fn forward<'a>(case: &'a Case<'_>, hop: &Judged<'_>) -> Option<(Told<'a>, Forward)> {
    let name = case.scenario.hosts.iter().find(|host| host.name == hop.story.host)?;
    let told = Told::new(case.scenario, &name.name)?;
    let to = case.wire.conversations.get(hop.exchange.connection)?.server_address;
    let (_, Action::Forward(forward)) = told.led(hop.exchange, to)?.route? else { return None };
    let forward = forward.clone();
    Some((told, *forward))
}

fn route(told: &Told<'_>, case: &Case<'_>, hop: &Judged<'_>) -> Option<Vec<String>> {
    let to = case.wire.conversations.get(hop.exchange.connection)?.server_address;
    told.led(hop.exchange, to)?.route.map(|(path, _)| path)
}

/// A setting among a cluster's HTTP options.
fn cluster(told: &Told<'_>, forward: &Forward, below: &str, value: Option<String>) -> Option<Setting> {
    let (path, _) = told.cluster(forward)?;
    let parent = [path, HTTP_OPTIONS.map(str::to_owned).to_vec()].concat();
    Some(told.setting(&parent, below, value))
}

fn seconds_of(time: Option<Duration>) -> Option<String> {
    Some(time.map_or("never".into(), seconds))
}

fn change(what: String, setting: Setting) -> Change {
    Change { what, setting: Some(setting) }
}
