//! A timer expired: what the other side could have done in time, or how the timer waits longer.

use std::time::Duration;

use super::{cluster, forward, is_forgotten, keep_longer, keepalive, limits, retries, seconds_of};
use crate::explain::hop::{Cause, Judged};
use crate::explain::proposal::{Proposal, set};
use crate::explain::settings::{Setting, seconds, time};
use crate::explain::stops::{IDLE, KEEPALIVE};
use crate::explain::{Case, Change};

/// A timer that was too short, or one at the other end that was too long.
pub(super) fn timeout(case: &Case<'_>, setting: &Setting, hops: &[Judged<'_>]) -> Vec<Change> {
    let last = hops.last();
    let before = hops.iter().rev().nth(1);
    let stopped = hops.iter().find(|hop| hop.cause == Cause::Timeout(setting.clone()));
    match Expired::of(case, setting, hops, stopped) {
        Expired::IdleConnection => keep_longer(case, setting, hops),
        Expired::OfApp if let Some(before) = before => {
            let mut changes: Vec<Change> = close_before(case, setting, before).into_iter().collect();
            changes.extend(retries(case, hops));
            changes
        }
        Expired::WaitingForConnection(change) => vec![*change],
        Expired::Keepalive => keepalive(case, setting, hops),
        Expired::DownstreamKeepalive => vec![Change::of(
            "the client has to acknowledge PING, as every HTTP/2 peer must (RFC 9113 6.7), or wait longer",
            setting.clone(),
            Proposal::Longer(None),
        )],
        Expired::Forgotten if let Some((settings, forward)) = before.and_then(|before| forward(case, before)) => {
            let value = seconds_of(settings.cluster(&forward).and_then(|(_, cluster)| cluster.idle_timeout));
            let what = "the connection had been idle, and no packet crosses it any more: close it before a firewall or NAT in between drops it";
            let idle = cluster(&settings, &forward, "common_http_protocol_options.idle_timeout", value);
            idle.map(|setting| Change::of(what, setting, set("1s"))).into_iter().collect()
        }
        Expired::Forgotten | Expired::Other | Expired::OfApp => wait_longer(setting, last, stopped),
    }
}

/// What a timer that expired was waiting for.
enum Expired {
    /// The other side of an HTTP/2 connection of the client's, to acknowledge PING.
    DownstreamKeepalive,
    /// The peer of a connection that something on the way had forgotten.
    Forgotten,
    /// A request on a connection that had none.
    IdleConnection,
    /// An endpoint, to acknowledge PING.
    Keepalive,
    /// It is the app's own timer, and the proxy before it could have closed first.
    OfApp,
    /// A response, or a part of a request.
    Other,
    /// A connection, which the circuit breaker did not permit; what would have.
    WaitingForConnection(Box<Change>),
}

impl Expired {
    fn of(case: &Case<'_>, setting: &Setting, hops: &[Judged<'_>], stopped: Option<&Judged<'_>>) -> Self {
        let last = hops.last();
        let was_idle = |last: &Judged<'_>| last.exchange.response.is_none() && last.tries == 0 && setting.name == IDLE;
        if last.is_some_and(was_idle) {
            return Self::IdleConnection;
        }
        if last.is_some_and(|last| last.story.host == setting.host && last.next.is_none()) && hops.len() > 1 {
            return Self::OfApp;
        }
        if let Some(change) = stopped.and_then(|hop| permit_connections(case, hop)) {
            return Self::WaitingForConnection(Box::new(change));
        }
        match setting.name.as_str() {
            name if name.starts_with(KEEPALIVE) => Self::Keepalive,
            name if name.ends_with("connection_keepalive.timeout") => Self::DownstreamKeepalive,
            _ if is_forgotten(case, last) => Self::Forgotten,
            _ => Self::Other,
        }
    }
}

/// The proxy before an app closes its idle connections first.
fn close_before(case: &Case<'_>, setting: &Setting, before: &Judged<'_>) -> Option<Change> {
    let (settings, forward) = forward(case, before)?;
    let value = seconds_of(settings.cluster(&forward).and_then(|(_, cluster)| cluster.idle_timeout));
    let what = format!(
        "close idle connections before {} does, in less than {}",
        setting.host,
        setting.value.as_deref().unwrap_or("its timeout")
    );
    let than = setting.value.as_deref().and_then(time);
    let proposal = than.map_or(set("1s"), Proposal::Shorter);
    cluster(&settings, &forward, "common_http_protocol_options.idle_timeout", value)
        .map(|it| Change::of(what, it, proposal))
}

/// More connections, for a request that waited for one until its time was over.
fn permit_connections(case: &Case<'_>, hop: &Judged<'_>) -> Option<Change> {
    let (settings, forward) = Some(hop).filter(|hop| hop.tries == 0).and_then(|hop| forward(case, hop))?;
    let (path, _) = settings.cluster(&forward)?;
    let what = "permit more connections, since the request waited for one";
    let limits = settings.cluster(&forward).map(|(_, cluster)| limits(cluster.limits.of(forward.priority)));
    Some(Change::of(what, settings.setting(&path, "circuit_breakers.thresholds", limits), Proposal::Unlimited))
}

/// The other side does in time what the timer waited for, or the timer waits longer.
fn wait_longer(setting: &Setting, last: Option<&Judged<'_>>, stopped: Option<&Judged<'_>>) -> Vec<Change> {
    let until = stopped.and_then(|hop| hop.timer.as_ref()).map(|timer| timer.until);
    let is_tunnel = last.is_some_and(|last| last.exchange.is_tunnel());
    let responded =
        last.filter(|_| !is_tunnel).and_then(|last| Some((last.exchange.response.as_ref()?.part.began.at, last)));
    let app = last.map_or("the next hop", |last| last.story.host.as_str());
    let is_request = matches!(setting.name.as_str(), "request_timeout" | "request_headers_timeout");
    let is_handshake = |last: &Judged<'_>| last.exchange.is_websocket() && !last.exchange.request.is_complete;
    if !is_tunnel && last.is_some_and(is_handshake) {
        let what = format!(
            "no setting: {app} has to respond to the head of a handshake, since what follows it waits for the 101"
        );
        return vec![Change::advice(what)];
    }
    let mut needed = None;
    let what = match responded {
        _ if is_request
            || last.is_some_and(|last| last.tries == 0 && !last.exchange.request.is_complete && !is_tunnel) =>
        {
            "the client has to send its request without such a pause, or wait longer".to_owned()
        }
        Some((at, last)) if until.is_some_and(|until| at > until) => {
            let took = last.exchange.request.head_arrived.map(|arrived| at.saturating_sub(arrived)).unwrap_or_default();
            needed = Some(took);
            format!("wait longer: {app} needed {}", seconds(took))
        }
        Some((_, last)) if last.exchange.has_begun_response_by(Duration::MAX) => {
            "wait longer, which leaves time for more attempts".into()
        }
        Some(_) => format!("{app} has to complete its response and the client has to read it, or wait longer"),
        None if is_tunnel && setting.is_longest_life() => {
            "open a new one before that, or permit a longer one: bytes that move do not matter to it".into()
        }
        None if is_tunnel => "send data more often, or wait longer (0s waits forever)".into(),
        None => format!("{app} has to respond, which it never did here, or wait longer"),
    };
    vec![Change::of(what, setting.clone(), Proposal::Longer(needed))]
}
