//! What a request gets: a route, and what the upstream responds if the route has one.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::call;
use super::decorate;
use super::direct;
use super::follow::{Followed, follow};
use super::local_reply::LocalReply;
use super::mirror;
use super::normalise::{self, Refused};
use super::record::count_expired;
use super::remote_client::{Origin, RemoteClient};
use super::service::{Routes, Service};
use super::{Forwarded, Reply, ResponseKind, StreamContext};
use crate::access_log::{Details, StreamInfo};
use crate::cluster::{Cluster, Failure, RequestKeys};
use crate::codec::{Body, ExchangeError, Payload, RequestHead, names};
use crate::config::filter::RouterOptions;
use crate::config::route::{Action, Forward, Upgrade, Upgrades};
use crate::config::subsets::{BALANCING, MetadataMatch};
use crate::dns_cache::Lookup;
use crate::exchange::{Expired, Interrupted};
use crate::filter::edits::edit_request;
use crate::filter::{Awaited, FilterReply, Filters, Flow, Refusal};
use crate::router::{self, Chance, Found, rewrite};
use crate::stats::Charged;
use crate::tunnel;
use crate::upstream::request_options::{self, RequestOptions};
use crate::upstream::{self, Ended, Forwarding, UpstreamResponse};

/// Decides what to reply: the route's own response, or what its upstream responds.
pub(super) async fn decide(stream: &mut StreamContext<'_>) -> Reply {
    if let Err(refusal) = check(stream) {
        return Reply::Local(refusal, None);
    }
    prepare(stream);
    let mut followed = Followed::default();
    loop {
        if let Some(reply) = decide_once(stream, &mut followed).await {
            return reply;
        }
    }
}

/// The same for a request as it stands; `None` where its upstream has redirected it, and it stands for the place it is to be
/// requested at.
async fn decide_once<'a>(stream: &mut StreamContext<'a>, followed: &mut Followed<'a>) -> Option<Reply> {
    let (service, routes) = (stream.service, stream.routes);
    // As with Envoy, a request whose `x-forwarded-proto` is empty has no route.
    let has_proto = stream.request.headers.get(&names::X_FORWARDED_PROTO).is_none_or(|proto| !proto.is_empty());
    let chance = Chance::new(&routes.keys, &*service.outside.random);
    let found = router::route(&routes.table, &stream.request, &chance).filter(|_| has_proto);
    trace(stream, found.as_ref());
    let Some(mut found) = found else {
        return Some(refuse_unrouted(stream).await);
    };
    set_name(stream, &found);
    // Found before the filters have changed the request, as the route is.
    let mut cluster = reach(stream, &found);
    let chains = found.filters().unwrap_or(&service.options.filters);
    let upgrade = match upgrade(stream, &found.route.action) {
        Ok(upgrade) => upgrade,
        Err(refusal) => {
            stream.exchange.filters = Filters::of(&chains.default, &service.filters).for_route(found.edits(), || None);
            return Some(Reply::Local(refusal, None));
        }
    };
    let chain = chains.of(upgrade.map(|upgrade| upgrade.protocol.as_str()));
    let counted = || cluster.as_deref().map(Cluster::filter_stats);
    stream.exchange.filters = Filters::of(chain, &service.filters).for_route(found.edits(), counted);
    if upgrade.is_some() {
        admit_upgrade(stream);
    }
    stream.log_begin();
    if let Err(reply) = filter_request(stream, cluster.as_deref()).await {
        // As in Envoy, a response that takes the place of the route's own is not changed by the route.
        if !matches!(found.route.action, Action::Forward(_)) {
            stream.exchange.filters.reroute(&[]);
        }
        return Some(reply);
    }
    service.stats.rq_total.inc();
    if stream.exchange.filters.clears_route() {
        let Some(again) = router::route(&routes.table, &stream.request, &chance) else {
            service.stats.no_route.inc();
            return Some(Reply::Local(LocalReply::NoRoute, None));
        };
        stream.exchange.filters.reroute(again.edits());
        found = again;
        set_name(stream, &found);
        cluster = reach(stream, &found);
    }
    let route = found.route;
    let reply = match &route.action {
        Action::Direct { status, body } => direct::direct(*status, body, &stream.request),
        Action::Forward(to) => {
            let router = &chain.router;
            let target = Target { to, found, cluster, upgrade, router, chance: &chance, routes };
            return forward(stream, target, followed).await;
        }
        Action::Redirect(to) => direct::redirect(to, &route.matches, &chain.router, &mut stream.request, stream.info),
        Action::RedirectToTls => direct::redirect_to_tls(&stream.request),
    };
    service.stats.rq_direct_response.inc();
    Some(Reply::Local(reply, None))
}

/// The request is for an upgrade that is permitted, whatever becomes of it.
fn admit_upgrade(stream: &mut StreamContext<'_>) {
    let stats = &stream.service.stats;
    stats.downstream_cx_upgrades_total.inc();
    stream.upgrade_active = Some(stats.downstream_cx_upgrades_active.enter());
    stream.exchange.withhold();
}

/// Begins the trace of the request, once.
fn trace(stream: &mut StreamContext<'_>, found: Option<&Found<'_>>) {
    let StreamContext { service, request, info, .. } = stream;
    if let Some(tracer) = service.tracer.as_ref().filter(|_| info.trace.is_none()) {
        tracer.begin(request, found.and_then(|found| found.route.tracing.as_ref()), info);
    }
}

/// Lets the filters see a request that no route takes.
async fn refuse_unrouted(stream: &mut StreamContext<'_>) -> Reply {
    count_unrouted_upgrade(stream);
    stream.log_begin();
    if let Err(reply) = filter_request(stream, None).await {
        return reply;
    }
    let stats = &stream.service.stats;
    stats.rq_total.inc();
    stats.no_route.inc();
    Reply::Local(LocalReply::NoRoute, None)
}

/// Sets the name of the route, and its metadata.
fn set_name(stream: &mut StreamContext<'_>, found: &Found<'_>) {
    stream.info.has_route = true;
    stream.info.route_metadata.clone_from(&found.route.metadata);
    stream.info.route_name = Some(found.route.name.as_str()).filter(|name| !name.is_empty()).map(Rc::from);
}

/// As in Envoy, an upgrade that the connection manager permits counts though no route takes it.
fn count_unrouted_upgrade(stream: &StreamContext<'_>) {
    let StreamContext { service, request, .. } = stream;
    let permitted = |protocol: String| service.options.upgrades.find(&protocol).is_some_and(|upgrade| upgrade.enabled);
    if upgrade_wanted(request).is_some_and(permitted) {
        service.stats.downstream_cx_upgrades_total.inc();
    }
}

/// The upgrade that the request names, if any.
///
/// # Errors
/// It may not have it.
fn upgrade<'s>(stream: &StreamContext<'s>, action: &'s Action) -> Result<Option<&'s Upgrade>, LocalReply> {
    static NONE: Upgrades = Upgrades(Vec::new());
    let Some(protocol) = upgrade_wanted(&stream.request) else { return Ok(None) };
    let by_route = match action {
        Action::Forward(to) => &to.upgrades,
        Action::Direct { .. } | Action::Redirect(_) | Action::RedirectToTls => &NONE,
    };
    let allowed = tunnel::allowed(&protocol, &stream.service.options.upgrades, by_route);
    if allowed.is_none() {
        stream.service.stats.downstream_rq_ws_on_non_ws_route.inc();
    }
    allowed.map(Some).ok_or(LocalReply::UpgradeRefused)
}

/// The cluster that the route leads to, if there is one.
fn reach(stream: &mut StreamContext<'_>, found: &Found<'_>) -> Option<Rc<Cluster>> {
    let StreamContext { service, request, info, .. } = stream;
    let cluster = found.cluster().and_then(|cluster| service.cluster(cluster, request));
    info.upstream_cluster = cluster.as_ref().map(|cluster| Rc::clone(&cluster.names));
    info.upstream_metadata = cluster.as_ref().and_then(|cluster| cluster.metadata(None));
    cluster
}

/// Lets the filters see the request, reads its body for those that wait for it, and makes the calls that they wait for. `cluster`
/// is that of its route.
///
/// # Errors
/// The request ends before the router: with this.
async fn filter_request(stream: &mut StreamContext<'_>, cluster: Option<&Cluster>) -> Result<(), Reply> {
    if stream.exchange.filters.is_empty() {
        return Ok(());
    }
    loop {
        let payload = if stream.exchange.has_no_body() { Payload::None } else { Payload::Some };
        let StreamContext { service, request, exchange, info, .. } = stream;
        let flow = exchange.filter_request(request, payload, info);
        call::detach(service, exchange.filters.take_detached(), info);
        match flow {
            Flow::Continue => return Ok(()),
            Flow::Respond(FilterReply::Ended(reply)) => {
                if let Some(cluster) = cluster.filter(|_| reply.is_charged) {
                    cluster.codes.charge(reply.status, Charged { is_internal: true, ..Charged::default() });
                }
                return Err(Reply::Local(LocalReply::Ended(reply), None));
            }
            Flow::Respond(FilterReply::Preflight(headers)) => {
                return Err(Reply::Local(LocalReply::Preflight(headers), None));
            }
            Flow::Respond(FilterReply::Refused(refusal)) => {
                return Err(Reply::Local(refused(stream.service, refusal), None));
            }
            Flow::Wait => {
                let waited = match exchange.filters.take_awaited() {
                    Awaited::Body => exchange.receive().await,
                    Awaited::Call(call) => {
                        let called = exchange.alongside(&mut None, call::make(stream.service, *call, info)).await;
                        called.map(|end| exchange.filters.end_call(end))
                    }
                    Awaited::Host(wanted) => {
                        let found = match stream.service.look_up(&wanted) {
                            Lookup::Known(found) => Ok(found),
                            Lookup::Waits(waiting) => exchange.alongside(&mut None, Box::pin(waiting.end())).await,
                        };
                        found.map(|found| exchange.filters.end_lookup(found.map(drop)))
                    }
                    Awaited::Instant(at) => {
                        let waited = exchange.alongside(&mut None, Box::pin(tokio::time::sleep_until(at))).await;
                        waited.map(|()| exchange.filters.end_wait())
                    }
                };
                if let Err(interruption) = waited {
                    return Err(interrupted(stream, interruption, None));
                }
                exchange.timers.has_waited();
            }
        }
    }
}

/// A filter does not let a body pass.
pub(super) fn refused(service: &Service, refusal: Refusal) -> LocalReply {
    match refusal {
        Refusal::RequestTooLarge => service.stats.downstream_rq_too_large.inc(),
        Refusal::ResponseTooLarge => service.stats.rs_too_large.inc(),
        Refusal::Base64Data | Refusal::Base64Size | Refusal::RequestUndecodable | Refusal::ResponseUndecodable => {}
    }
    LocalReply::Filtered(refusal)
}

/// Refuses what no route should see, and brings the target into its form.
fn check(stream: &mut StreamContext<'_>) -> Result<(), LocalReply> {
    let StreamContext { service, request, info, .. } = stream;
    let rules = &service.options.normalisation;
    let checked = decorate::check(request).and_then(|()| match normalise::path(rules, request) {
        Ok(()) => Ok(()),
        // A gRPC client follows no redirects.
        Err(Refused::Redirected) if !request.headers.is_grpc() => {
            Err(LocalReply::NormalPath { location: request.path.clone() })
        }
        Err(Refused::Malformed | Refused::Redirected) => Err(LocalReply::MalformedPath),
    });
    match &checked {
        Err(LocalReply::NotAPath) => service.stats.downstream_rq_non_relative_path.inc(),
        Err(LocalReply::MalformedPath) => service.stats.downstream_rq_failed_path_normalization.inc(),
        Err(LocalReply::NormalPath { .. }) => service.stats.downstream_rq_redirected_with_normalized_path.inc(),
        Ok(()) | Err(_) => {}
    }
    normalise::host(rules, info.downstream.local.port(), request);
    checked
}

/// Makes the request what the upstream shall see, as far as that does not depend on its route.
fn prepare(stream: &mut StreamContext<'_>) {
    let StreamContext { service, routes, request, info, .. } = stream;
    let peer = info.downstream.peer.ip();
    let remote = RemoteClient::of(&request.headers, &service.options.trust, peer, service.own_address);
    let internal_only = &routes.table.internal_only_headers;
    decorate::request(request, &service.options, internal_only, &remote, &info.downstream, &*service.outside.random);
    info.internal = remote.origin == Origin::Internal;
    info.client = remote.named();
}

/// What the request offers to switch to, in lower case; `connect` for CONNECT.
fn upgrade_wanted(head: &RequestHead) -> Option<String> {
    if head.method == Method::CONNECT {
        return Some("connect".into());
    }
    head.upgrade().map(|protocol| String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase())
}

/// Where the router sends a request, and how.
struct Target<'s, 'c> {
    to: &'s Forward,
    /// Whose action `to` is.
    found: Found<'s>,
    /// `None` if there is no cluster of the name that the route gives.
    cluster: Option<Rc<Cluster>>,
    upgrade: Option<&'s Upgrade>,
    router: &'s RouterOptions,
    chance: &'c Chance<'s>,
    routes: &'s Routes,
}

async fn forward<'a>(
    stream: &mut StreamContext<'a>,
    mut target: Target<'a, '_>,
    followed: &mut Followed<'a>,
) -> Option<Reply> {
    let Target { to, upgrade, router, chance, .. } = target;
    let StreamContext { service, request, exchange, info, .. } = stream;
    let Some(cluster) = target.cluster.take() else {
        service.stats.no_cluster.inc();
        return Some(Reply::Local(LocalReply::NoCluster { status: to.missing }, None));
    };
    if let Some((header, value)) = request_options::malformed(&router.strict, &request.headers) {
        return Some(Reply::Local(LocalReply::MalformedHeader { header, value }, None));
    }
    target.routes.set_parts(&target.found, request, info);
    let mut options = RequestOptions::resolve(to, router, &mut request.headers);
    options.metadata_match = metadata_match(to, &target.found, info);
    info.is_codeless = router.suppress_grpc_codes && request.headers.is_grpc();
    (info.alt_stat_name, info.has_code_stats) = (options.alt_stat_name.take(), router.has_code_stats);
    if RequestKeys::draws(&cluster.shared.keys.maintenance, &*service.outside.random) {
        cluster.shared.stats.upstream_rq_maintenance_mode.inc();
        let marks_overload = !router.suppress_envoy_headers;
        return Some(Reply::Local(LocalReply::Maintenance { marks_overload }, Some(cluster)));
    }
    let longest_by_default = exchange.timers.longest();
    exchange.timers.set_route(to, options.timeout, options.longest);
    info.attempts_in_response = to.attempt_count.in_response;
    change_request(stream, &target, &mut options, longest_by_default);
    if upgrade.is_none() {
        mirror::begin(stream, to, &options, chance);
    }
    let StreamContext { service, request: head, exchange, info, .. } = stream;
    let (random, options) = (&*service.outside.random, &options);
    let mut forwarding = Forwarding { exchange, head, to, options, router, cluster: &cluster, random, info };
    let response = match upstream::forward(&mut forwarding).await {
        Ok(response) => response,
        Err(ended) => {
            return Some(failed(stream, ended, cluster).with_timeouts_empty(options.timeout_is_empty));
        }
    };
    if upstream::redirects(to, &response)
        && let Some(policy) = &to.redirects
    {
        if let Some(again) = follow(stream, policy, &target.found.route.name, &cluster, &response, followed) {
            response.end(&stream.exchange);
            stream.exchange.begin_again(again);
            return None;
        }
        upstream::settle(Some(&response), &mut stream.exchange);
    }
    let kind = kind(&response, &stream.request, upgrade);
    response_began(stream, &response, kind);
    let timed = stream.exchange.is_complete() && !router.suppress_envoy_headers;
    let service_time = if timed { service_time(stream) } else { None };
    Some(Reply::Upstream(Forwarded { response, cluster, kind, service_time }))
}

/// What the endpoint has to have: what the route says, and what filters have left for it.
fn metadata_match<'s>(to: &'s Forward, found: &Found<'s>, info: &StreamInfo) -> Option<Cow<'s, MetadataMatch>> {
    let of_route = found.chosen.map_or(&to.metadata_match, |chosen| &chosen.metadata_match).as_ref();
    let of_request = info.metadata.as_ref().and_then(|metadata| metadata.0.get(BALANCING));
    match (of_route, of_request) {
        (of_route, None) => of_route.map(Cow::Borrowed),
        (Some(of_route), Some(more)) => Some(Cow::Owned(of_route.joined(more))),
        (None, Some(of_request)) => Some(Cow::Owned(of_request.clone().into())),
    }
}

/// Makes the request what its upstream shall see, as far as that depends on its route. `longest_by_default` is the longest stream
/// of the connection manager.
fn change_request(
    stream: &mut StreamContext<'_>,
    target: &Target<'_, '_>,
    options: &mut RequestOptions<'_>,
    longest_by_default: Option<Duration>,
) {
    let Target { to, found, router, .. } = target;
    let StreamContext { service, request, info, .. } = stream;
    if !router.suppress_envoy_headers
        && let Some(limit) = options.expected_timeout()
    {
        request.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), service.millis.header(limit));
    }
    if service.options.scheme_matches_upstream {
        request.scheme = Some(HeaderValue::from_static("http"));
    }
    options.set_grpc_timeout(to.grpc_timeout, longest_by_default, &mut request.headers);
    if !found.edits().is_empty() {
        if to.attempt_count.in_request {
            request.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), HeaderValue::from(1));
        }
        edit_request(found.edits(), request, info);
        options.add_retries(&mut request.headers);
    }
    // Without a trace of what it was, and before the route's rewrites, which win.
    if let Some(host) = found.chosen.and_then(|chosen| chosen.host.as_ref()) {
        request.authority = Some(host.clone());
    }
    if let Some(rewrites) = &to.rewrites {
        rewrite::target(rewrites, &found.route.matches, router, request, info);
    }
}

/// An upstream has responded: notes it, and lets the payload of an accepted upgrade flow.
fn response_began(stream: &mut StreamContext<'_>, response: &UpstreamResponse, kind: ResponseKind) {
    let StreamContext { exchange, info, .. } = stream;
    info.detail(Details::ViaUpstream);
    info.upstream_protocol = (!matches!(response.body, Body::Tcp(_))).then_some(response.head.version);
    let now = Instant::now();
    info.times.upstream_response_begin = Some(now);
    exchange.timers.response_began(now, response.ends_at);
    match kind {
        ResponseKind::Tunnel => {
            exchange.release();
            exchange.timers.upgrade_accepted();
        }
        ResponseKind::Unsuccessful => info.detail(Details::WebSocketHandshakeUnsuccessful),
        ResponseKind::Plain | ResponseKind::Rejected => {}
    }
}

fn failed(stream: &StreamContext<'_>, ended: Ended, cluster: Rc<Cluster>) -> Reply {
    const GLOBAL: Interrupted = Interrupted::Timer(Expired::Global);
    match &ended {
        Ended::Failed { failure: Failure::TryIdle | Failure::TryTimeout, .. }
        | Ended::Interrupted(GLOBAL)
        | Ended::InterruptedBetweenTries(GLOBAL) => {
            cluster.shared.tracked.record_budget(stream.exchange.timers.budget_used());
        }
        Ended::Failed { .. } | Ended::Interrupted(_) | Ended::InterruptedBetweenTries(_) => {}
    }
    match ended {
        Ended::Failed { failure, retried } => {
            let response = stream.info.response_start;
            // As in Envoy, the longest stream of the cluster is no response of the cluster's.
            let charged = Some(cluster).filter(|_| !matches!(failure, Failure::LongestStream { .. }));
            Reply::Local(LocalReply::Upstream { failure, retried, response }, charged)
        }
        Ended::Interrupted(interruption) => interrupted(stream, interruption, Some(cluster)),
        Ended::InterruptedBetweenTries(interruption) => interrupted(stream, interruption, None),
    }
}

/// The client or a timer has ended the stream. `waited_for`: whose response was awaited.
fn interrupted(stream: &StreamContext<'_>, interruption: Interrupted, waited_for: Option<Rc<Cluster>>) -> Reply {
    let StreamContext { service, request, exchange, info, .. } = stream;
    let expired = match interruption {
        Interrupted::Downstream(ExchangeError::Malformed(violation)) if request.version != Version::HTTP_2 => {
            service.stats.downstream_cx_protocol_error.inc();
            return Reply::Local(LocalReply::bad_body(violation), None);
        }
        Interrupted::Downstream(broken) => return Reply::Gone(broken),
        Interrupted::Filter(refusal) => return Reply::Local(refused(service, refusal), None),
        Interrupted::Timer(expired) => expired,
    };
    let reply = LocalReply::too_late(expired, exchange.is_complete());
    count_expired(service, expired);
    // Only the route's timeout is the upstream's fault, and only if its response was awaited.
    let late = waited_for.filter(|_| expired == Expired::Global);
    if let Some(cluster) = &late {
        cluster.shared.stats.upstream_rq_timeout.inc();
        info.parts.iter().for_each(|part| part.counters.upstream_rq_timeout.inc());
    }
    Reply::Local(reply, late)
}

fn kind(response: &UpstreamResponse, head: &RequestHead, upgrade: Option<&Upgrade>) -> ResponseKind {
    let Some(upgrade) = upgrade else { return ResponseKind::Plain };
    if response.accepts_upgrade(head) {
        return ResponseKind::Tunnel;
    }
    let is_websocket = upgrade.protocol.eq_ignore_ascii_case("websocket");
    let from_http1 = response.head.version != Version::HTTP_2;
    if is_websocket && from_http1 && response.head.status < StatusCode::BAD_REQUEST {
        return ResponseKind::Unsuccessful;
    }
    ResponseKind::Rejected
}

/// Milliseconds from the request's end to the response's begin.
fn service_time(stream: &StreamContext<'_>) -> Option<HeaderValue> {
    let began = stream.info.times.upstream_response_begin?;
    let took = began.saturating_duration_since(stream.exchange.timers.forwarded_whole_at()?);
    Some(HeaderValue::from(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)))
}
