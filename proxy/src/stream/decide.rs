//! What a request gets: a route, and what the upstream says if the route asks one.

use std::rc::Rc;

use http::{HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::caller::{Caller, Origin};
use super::decorate;
use super::local_reply::LocalReply;
use super::record::count_expired;
use super::service::{Routes, Service};
use super::{Answered, Kind, Reply};
use crate::access_log::StreamInfo;
use crate::cluster::Cluster;
use crate::codec::{Broken, RequestHead, names};
use crate::config::route::{Action, Forward, Upgrade, Upgrades};
use crate::exchange::Expired;
use crate::exchange::{Exchange, Interrupted};
use crate::router;
use crate::tunnel;
use crate::upstream::terms::{self, Terms};
use crate::upstream::{self, Answer, Ended};

/// Decides what to reply: asks the route, and the upstream if the route says so.
pub(super) async fn decide(
    service: &Service,
    routes: &Routes,
    head: &mut RequestHead,
    exchange: &mut Exchange,
    info: &mut StreamInfo,
) -> Reply {
    if let Err(refusal) = decorate::check(head) {
        if matches!(refusal, LocalReply::NotAPath) {
            service.stats.downstream_rq_non_relative_path.inc();
        }
        if matches!(refusal, LocalReply::PathWithFragment) {
            service.stats.downstream_rq_failed_path_normalization.inc();
        }
        return Reply::Local(refusal, None);
    }
    let peer = info.downstream.peer.ip();
    let caller = Caller::of(&head.headers, &service.options.trust, peer, service.own_address);
    let internal_only = &routes.0.internal_only_headers;
    decorate::request(head, &service.options, internal_only, &caller, &*service.outside.random);
    info.internal = caller.origin == Origin::Internal;
    info.client = caller.named();
    let Some((_, route)) = router::route(&routes.0, head) else {
        service.stats.rq_total.inc();
        service.stats.no_route.inc();
        return Reply::Local(LocalReply::NoRoute, None);
    };
    if !route.name.is_empty() {
        info.route_name = Some(route.name.as_str().into());
    }
    let none = Upgrades::default();
    let upgrades = match &route.action {
        Action::Forward(to) => &to.upgrades,
        Action::Direct { .. } => &none,
    };
    let upgrade = match upgrade_wanted(head) {
        None => None,
        Some(protocol) => match tunnel::allowed(&protocol, &service.options.upgrades, upgrades) {
            Some(upgrade) => Some(upgrade),
            None => {
                service.stats.downstream_rq_ws_on_non_ws_route.inc();
                return Reply::Local(LocalReply::UpgradeRefused, None);
            }
        },
    };
    service.stats.rq_total.inc();
    match &route.action {
        Action::Direct { status, body } => {
            service.stats.rq_direct_response.inc();
            Reply::Local(LocalReply::Direct { status: *status, body: body.clone() }, None)
        }
        Action::Forward(to) => forward(service, head, exchange, to, upgrade, info).await,
    }
}

/// What the request asks to switch to, in lower case; `connect` for CONNECT.
fn upgrade_wanted(head: &RequestHead) -> Option<String> {
    if head.method == Method::CONNECT {
        return Some("connect".into());
    }
    head.upgrade().map(|protocol| String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase())
}

async fn forward(
    service: &Service,
    head: &mut RequestHead,
    exchange: &mut Exchange,
    to: &Forward,
    upgrade: Option<&Upgrade>,
    info: &mut StreamInfo,
) -> Reply {
    let Some(cluster) = service.cluster(&to.cluster, head) else {
        service.stats.no_cluster.inc();
        return Reply::Local(LocalReply::NoCluster { status: to.missing }, None);
    };
    info.upstream_cluster = Some(Rc::clone(&cluster.name));
    let router = upgrade.and_then(|upgrade| upgrade.router.as_ref()).unwrap_or(&service.options.router);
    if let Some((header, value)) = terms::malformed(&router.strict, &head.headers) {
        return Reply::Local(LocalReply::MalformedHeader { header, value }, None);
    }
    let mut terms = Terms::agree(to, router, &mut head.headers);
    info.alt_stat_name = terms.alt_stat_name.take();
    exchange.timers.set_route(to, terms.timeout);
    info.attempts_in_response = to.attempt_count.in_response;
    let mut upgrade_active = None;
    if upgrade.is_some() {
        service.stats.downstream_cx_upgrades_total.inc();
        upgrade_active = Some(service.stats.downstream_cx_upgrades_active.enter());
        exchange.withhold();
    }
    if !router.suppress_envoy_headers
        && let Some(limit) = terms.expected_timeout()
    {
        head.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), service.millis.header(limit));
    }
    let random = &*service.outside.random;
    let answer = match upstream::forward(exchange, head, to, &terms, &cluster, random, info).await {
        Ok(answer) => answer,
        Err(ended) => {
            return unanswered(service, ended, head, exchange, cluster).with_timeouts_empty(terms.timeout_is_empty);
        }
    };
    info.detail("via_upstream");
    info.upstream_protocol = Some(answer.head.version);
    info.times.upstream_response_begin = Some(Instant::now());
    exchange.timers.response_began();
    let kind = kind(&answer, head, upgrade);
    match kind {
        Kind::Tunnel => {
            exchange.release();
            exchange.timers.upgrade_accepted();
        }
        Kind::Unsuccessful => info.detail("websocket_handshake_unsuccessful"),
        Kind::Plain | Kind::Rejected => {}
    }
    let timed = exchange.is_complete() && !router.suppress_envoy_headers;
    let service_time = if timed { exchange.completed_at().map(millis_since) } else { None };
    Reply::Answer(Box::new(Answered { answer, cluster, kind, service_time, _upgrade_active: upgrade_active }))
}

fn unanswered(service: &Service, ended: Ended, head: &RequestHead, exchange: &Exchange, cluster: Rc<Cluster>) -> Reply {
    let (interrupted, asked) = match ended {
        Ended::Failed { failure, retried } => {
            return Reply::Local(LocalReply::Upstream { failure, retried }, Some(cluster));
        }
        Ended::Interrupted(interrupted) => (interrupted, Some(cluster)),
        Ended::InterruptedBetweenTries(interrupted) => (interrupted, None),
    };
    let expired = match interrupted {
        Interrupted::Downstream(Broken::Malformed(_)) if head.version != Version::HTTP_2 => {
            service.stats.downstream_cx_protocol_error.inc();
            return Reply::Local(LocalReply::BadBody, None);
        }
        Interrupted::Downstream(broken) => return Reply::Gone(broken),
        Interrupted::Timer(expired) => expired,
    };
    let reply = LocalReply::too_late(expired, exchange.is_complete());
    count_expired(service, expired);
    // Only the route's timeout is the upstream's fault, and only if it was being asked.
    let late = asked.filter(|_| expired == Expired::Global);
    if let Some(cluster) = &late {
        cluster.shared.stats.upstream_rq_timeout.inc();
    }
    Reply::Local(reply, late)
}

fn kind(answer: &Answer, head: &RequestHead, upgrade: Option<&Upgrade>) -> Kind {
    let Some(upgrade) = upgrade else { return Kind::Plain };
    if answer.accepts_upgrade(head) {
        return Kind::Tunnel;
    }
    let is_websocket = upgrade.protocol.eq_ignore_ascii_case("websocket");
    let from_http1 = answer.head.version != Version::HTTP_2;
    if is_websocket && from_http1 && answer.head.status < StatusCode::BAD_REQUEST {
        return Kind::Unsuccessful;
    }
    Kind::Rejected
}

fn millis_since(begun: Instant) -> HeaderValue {
    HeaderValue::from(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
}
