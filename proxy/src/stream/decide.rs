//! What a request gets: a route, and what the upstream says if the route asks one.

use std::rc::Rc;

use http::{HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::caller::{Caller, Origin};
use super::decorate;
use super::local_reply::LocalReply;
use super::record::count_expired;
use super::service::Routes;
use super::{Answered, Kind, Reply, StreamContext};
use crate::access_log::Details;
use crate::cluster::Cluster;
use crate::codec::{Broken, RequestHead, names};
use crate::config::route::{Action, Forward, Upgrade, Upgrades};
use crate::exchange::Expired;
use crate::exchange::Interrupted;
use crate::router;
use crate::tunnel;
use crate::upstream::terms::{self, Terms};
use crate::upstream::{self, Answer, Ended, Forwarding};

/// Decides what to reply: the route's own response, or what its upstream responds.
pub(super) async fn decide(stream: &mut StreamContext<'_>, routes: &Routes) -> Reply {
    if let Err(refusal) = check(stream) {
        return Reply::Local(refusal, None);
    }
    prepare(stream, routes);
    let stats = &stream.service.stats;
    // As with Envoy, a request whose `x-forwarded-proto` is empty has no route.
    let forwarded_proto = stream.request.headers.get(&names::X_FORWARDED_PROTO);
    let has_proto = forwarded_proto.is_none_or(|proto| !proto.is_empty());
    let Some((_, route)) = router::route(&routes.0, &stream.request).filter(|_| has_proto) else {
        stats.rq_total.inc();
        stats.no_route.inc();
        return Reply::Local(LocalReply::NoRoute, None);
    };
    if !route.name.is_empty() {
        stream.info.route_name = Some(route.name.as_str().into());
    }
    let none = Upgrades::default();
    let upgrades = match &route.action {
        Action::Forward(to) => &to.upgrades,
        Action::Direct { .. } => &none,
    };
    let upgrade = match upgrade_wanted(&stream.request) {
        None => None,
        Some(protocol) => match tunnel::allowed(&protocol, &stream.service.options.upgrades, upgrades) {
            Some(upgrade) => Some(upgrade),
            None => {
                stats.downstream_rq_ws_on_non_ws_route.inc();
                return Reply::Local(LocalReply::UpgradeRefused, None);
            }
        },
    };
    stats.rq_total.inc();
    match &route.action {
        Action::Direct { status, body } => {
            stats.rq_direct_response.inc();
            Reply::Local(LocalReply::Direct { status: *status, body: body.clone() }, None)
        }
        Action::Forward(to) => forward(stream, to, upgrade).await,
    }
}

/// Refuses what no route should see.
fn check(stream: &StreamContext<'_>) -> Result<(), LocalReply> {
    decorate::check(&stream.request).inspect_err(|refusal| {
        if matches!(refusal, LocalReply::NotAPath) {
            stream.service.stats.downstream_rq_non_relative_path.inc();
        }
        if matches!(refusal, LocalReply::PathWithFragment) {
            stream.service.stats.downstream_rq_failed_path_normalization.inc();
        }
    })
}

/// Makes the request what the upstream shall see, as far as that does not depend on its route.
fn prepare(stream: &mut StreamContext<'_>, routes: &Routes) {
    let StreamContext { service, request, info, .. } = stream;
    let peer = info.downstream.peer.ip();
    let caller = Caller::of(&request.headers, &service.options.trust, peer, service.own_address);
    let internal_only = &routes.0.internal_only_headers;
    decorate::request(request, &service.options, internal_only, &caller, &*service.outside.random);
    info.internal = caller.origin == Origin::Internal;
    info.client = caller.named();
}

/// What the request asks to switch to, in lower case; `connect` for CONNECT.
fn upgrade_wanted(head: &RequestHead) -> Option<String> {
    if head.method == Method::CONNECT {
        return Some("connect".into());
    }
    head.upgrade().map(|protocol| String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase())
}

async fn forward(stream: &mut StreamContext<'_>, to: &Forward, upgrade: Option<&Upgrade>) -> Reply {
    let StreamContext { service, request, exchange, info, .. } = stream;
    let Some(cluster) = service.cluster(&to.cluster, request) else {
        service.stats.no_cluster.inc();
        return Reply::Local(LocalReply::NoCluster { status: to.missing }, None);
    };
    info.upstream_cluster = Some(Rc::clone(&cluster.name));
    let router = upgrade.and_then(|upgrade| upgrade.router.as_ref()).unwrap_or(&service.options.router);
    if let Some((header, value)) = terms::malformed(&router.strict, &request.headers) {
        return Reply::Local(LocalReply::MalformedHeader { header, value }, None);
    }
    let mut terms = Terms::agree(to, router, &mut request.headers);
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
        request.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), service.millis.header(limit));
    }
    let random = &*service.outside.random;
    let mut forwarding = Forwarding { exchange, head: request, to, terms: &terms, cluster: &cluster, random, info };
    let answer = match upstream::forward(&mut forwarding).await {
        Ok(answer) => answer,
        Err(ended) => return unanswered(stream, ended, cluster).with_timeouts_empty(terms.timeout_is_empty),
    };
    let kind = kind(&answer, &stream.request, upgrade);
    begin_answer(stream, &answer, kind);
    let exchange = &stream.exchange;
    let timed = exchange.is_complete() && !router.suppress_envoy_headers;
    let service_time = if timed { exchange.completed_at().map(millis_since) } else { None };
    Reply::Answer(Box::new(Answered { answer, cluster, kind, service_time, _upgrade_active: upgrade_active }))
}

/// An upstream has responded: notes it, and lets the payload of an accepted upgrade flow.
fn begin_answer(stream: &mut StreamContext<'_>, answer: &Answer, kind: Kind) {
    let StreamContext { exchange, info, .. } = stream;
    info.detail(Details::ViaUpstream);
    info.upstream_protocol = Some(answer.head.version);
    info.times.upstream_response_begin = Some(Instant::now());
    exchange.timers.response_began();
    match kind {
        Kind::Tunnel => {
            exchange.release();
            exchange.timers.upgrade_accepted();
        }
        Kind::Unsuccessful => info.detail(Details::WebSocketHandshakeUnsuccessful),
        Kind::Plain | Kind::Rejected => {}
    }
}

fn unanswered(stream: &StreamContext<'_>, ended: Ended, cluster: Rc<Cluster>) -> Reply {
    let StreamContext { service, request, exchange, .. } = stream;
    let (interrupted, waited_for) = match ended {
        Ended::Failed { failure, retried } => {
            return Reply::Local(LocalReply::Upstream { failure, retried }, Some(cluster));
        }
        Ended::Interrupted(interrupted) => (interrupted, Some(cluster)),
        Ended::InterruptedBetweenTries(interrupted) => (interrupted, None),
    };
    let expired = match interrupted {
        Interrupted::Downstream(Broken::Malformed(_)) if request.version != Version::HTTP_2 => {
            service.stats.downstream_cx_protocol_error.inc();
            return Reply::Local(LocalReply::BadBody, None);
        }
        Interrupted::Downstream(broken) => return Reply::Gone(broken),
        Interrupted::Timer(expired) => expired,
    };
    let reply = LocalReply::too_late(expired, exchange.is_complete());
    count_expired(service, expired);
    // Only the route's timeout is the upstream's fault, and only if its response was awaited.
    let late = waited_for.filter(|_| expired == Expired::Global);
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
