//! What a proxy decided by itself, from its configuration: which setting it decided by, and what would have it decide otherwise.

use finwait::access_log::{Details, ResponseFlag};
use finwait::codec::Violation;
use finwait::config::cluster::Priority;
use finwait::config::route::{Action, Destination, NamedCluster};
use serde_json::Value;

use super::{NOT_KNOWN, forward, limits};
use crate::explain::health;
use crate::explain::hop::{Cause, Judged, ProxyView};
use crate::explain::proposal::{Proposal, set};
use crate::explain::reason::At;
use crate::explain::reasons;
use crate::explain::settings::{HostSettings, Routed, Setting, http_options};
use crate::explain::traffic::{Exchange, Protocol};
use crate::explain::unresolved::unresolved;
use crate::explain::{Case, Change};

/// Where runtime keys stand.
const RUNTIME: &str = "layered_runtime";

/// The limits of a circuit breaker that keys of the runtime set, beyond reach.
fn raised(settings: &HostSettings<'_>, led: &Routed<'_>) -> Proposal {
    let Some((_, Action::Forward(forward))) = &led.route else { return NOT_KNOWN };
    let Some((_, cluster)) = settings.cluster(forward) else { return NOT_KNOWN };
    let of = |name: &str| (format!("circuit_breakers.{}.{}.{name}", cluster.name, forward.priority.key()), 100_000);
    Proposal::Runtime(["max_connections", "max_pending_requests", "max_requests", "max_retries"].map(of).into())
}

/// The setting of a reason.
fn setting_of(
    case: &Case<'_>,
    origin: &Judged<'_>,
    (settings, led): (&HostSettings<'_>, &Routed<'_>),
    (at, name): (At, &str),
) -> Option<Setting> {
    let forward = forward(case, origin);
    let cluster = forward.as_ref().and_then(|(settings, forward)| settings.cluster(forward));
    match at {
        At::Cluster => cluster.map(|(path, cluster)| {
            let priority = match &led.route {
                Some((_, Action::Forward(forward))) => forward.priority,
                Some(_) | None => Priority::Default,
            };
            let is_limit = name == "circuit_breakers.thresholds";
            let by_key = is_limit.then(|| settings.keys_of_limits(&cluster.name, priority)).flatten();
            by_key
                .unwrap_or_else(|| settings.setting(&path, name, is_limit.then(|| limits(cluster.limits.of(priority)))))
        }),
        At::ClusterHttp => cluster.map(|(path, _)| settings.setting(&http_options(path), name, None)),
        At::Filter(kind) => settings.filter(&led.manager, kind).map(|filter| settings.setting(&filter, name, None)),
        At::Listener => led.manager.get(..3).map(|listener| settings.setting(listener, name, None)),
        At::Manager => Some(settings.setting(&led.manager, name, None)),
        At::Route => led.route.as_ref().map(|(path, action)| match action {
            Action::Forward(forward) if matches!(forward.cluster, Destination::One(NamedCluster::Header(_))) => {
                settings.setting(path, "route.cluster_header", None)
            }
            Action::Direct { .. } | Action::Forward(_) | Action::Redirect(_) | Action::RedirectToTls => {
                settings.setting(path, name, None)
            }
        }),
    }
}

/// A proposal with what only the request knows.
fn filled_in(proposal: Proposal, exchange: &Exchange) -> Proposal {
    if proposal != Proposal::Upgrade {
        return proposal;
    }
    let offers = exchange.fields.iter().filter(|(name, _)| name == "upgrade").map(|(_, value)| value.as_str());
    let offer = offers.collect::<Vec<_>>().join(",");
    let offer = if offer.is_empty() { exchange.field(":protocol").unwrap_or("websocket").to_owned() } else { offer };
    Proposal::Push(format!("{{ upgrade_type: {} }}", Value::from(offer)).into())
}

/// What a proxy decided by its configuration.
pub(super) fn decision(
    case: &Case<'_>,
    origin: &Judged<'_>,
    here: Option<(&HostSettings<'_>, &Routed<'_>)>,
) -> Vec<Change> {
    let (details, flags) = origin.account.map_or((None, &[][..]), |it| (it.details.as_ref(), it.flags.as_slice()));
    let none = || vec![Change::advice("no setting is known to change it")];
    let Some((settings, led)) = here else { return none() };
    if (details == Some(&Details::NoHealthyUpstream) || flags.contains(&ResponseFlag::UH))
        && let Some(host) = origin.exchange.server
    {
        let at = ProxyView { host, settings: Some(settings), led: Some(led) };
        let unresolved = unresolved(case, at, origin.exchange.request.began.at).map(|it| it.changes);
        if let Some(changes) = unresolved.or_else(|| health::left_out(case, at).map(|it| it.changes)) {
            return changes;
        }
    }
    let extends_connect = origin.exchange.is_websocket() && origin.exchange.protocol == Protocol::Http2;
    if details == Some(&Details::Codec(Violation::InvalidHeaderField)) && extends_connect {
        let setting = settings.setting(&led.manager, "http2_protocol_options.allow_connect", None);
        return vec![Change::of("permit extended CONNECT", setting, set("true"))];
    }
    if details == Some(&Details::UpgradeFailed) && is_ordinary(origin.exchange) {
        let setting = settings.setting(&led.manager, "http_protocol_options.ignore_http_11_upgrade", None);
        let what = "have the offer ignored by a prefix of its name, so that the request is an ordinary one";
        let offer = origin.exchange.field("upgrade").unwrap_or_default();
        let ignored = Proposal::Set(format!("[{{ prefix: {} }}]", Value::from(offer)).into());
        return vec![Change::of(what, setting, ignored)];
    }
    // An exchange that the hop itself ended was not ended by its client.
    let reason = if origin.cause == Cause::Decision {
        reasons::of(details, flags)
    } else {
        reasons::of(reasons::of_own_end(details).as_ref(), &[])
    };
    let Some(reason) = reason else { return none() };
    let Some((at, name, proposal)) = reason.setting else { return vec![Change::advice(reason.change)] };
    let setting = setting_of(case, origin, (settings, led), (at, name));
    vec![match setting {
        Some(setting) if setting.name == RUNTIME => Change::of(reason.change, setting, raised(settings, led)),
        Some(setting) => Change::of(reason.change, setting, filled_in(proposal, origin.exchange)),
        None => Change::advice(reason.change),
    }]
}

/// Does a request offer another protocol and mean the request itself? TLS inside of the connection (RFC 2817) is something
/// no proxy passes on; and the content of a request that has some would not leave before a 101, which no app sends before it
/// has read the content.
fn is_ordinary(exchange: &Exchange) -> bool {
    let offer = exchange.field("upgrade").filter(|_| exchange.protocol == Protocol::Http1);
    let has_content = exchange.field("content-length").is_some_and(|length| length != "0")
        || exchange.field("transfer-encoding").is_some();
    offer.is_some_and(|offer| offer.starts_with("TLS/") || (has_content && !exchange.is_websocket()))
}
