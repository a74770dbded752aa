//! One try at one endpoint.
//!
//! [`forward`](super::forward) calls [`run`]; `run` takes a connection, sends the head, lets the body follow,
//! and waits for the response head. It never decides whether to try again: it reports, and
//! [`retry`](super::retry) decides.
//!
//! Promise: when `run` returns without a response, its connection is back in the pool or closed, unless the try goes on as a
//! [`LateTry`].

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::late::LateTry;
use super::outcome::{Tried, charge_informed, report};
use super::reach::{Failed, Reach};
use super::sent::{Received, SentRequest};
use super::tracked::Tracked;
use crate::access_log::{Downstream, StreamInfo};
use crate::cluster::{Avoided, Cluster, Endpoint, Failure, Lease, Wanted, Wish};
use crate::codec::RequestHead;
use crate::config::cluster::Priority;
use crate::config::filter::RouterOptions;
use crate::config::rewrite::ForwardedHost;
use crate::config::route::Termination;
use crate::dns_cache::{Host, HostFailure, Lookup};
use crate::exchange::{Exchange, Expired, Interrupted, TryExpired, TryLimit};
use crate::net::proxy_header::proxy_header;
use crate::router::rewrite;

/// How to try.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) priority: Priority,
    pub(super) wanted: Wanted,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    /// A try and its response are ended after this.
    pub(super) longest: Option<Duration>,
    /// What the request says of its endpoint.
    pub(super) wish: Wish<'a>,
    /// A try whose time is over goes on beside the next one.
    pub(super) hedges: bool,
    /// The request gets the name of its endpoint as host.
    pub(super) endpoint_host: Option<EndpointHost<'a>>,
    /// The request is a tunnel that ends here: its payload goes out without HTTP around it.
    pub(super) termination: Option<&'a Termination>,
}

/// How a request gets the name of its endpoint as host.
#[derive(Clone, Copy)]
pub(super) struct EndpointHost<'a> {
    pub(super) forwarded: ForwardedHost,
    pub(super) router: &'a RouterOptions,
}

/// How a try ended, if it did.
pub(super) enum TryEnd {
    Tried(Tried),
    /// Its time is over, and it goes on beside the next one.
    Late(Box<LateTry>),
}

impl TryEnd {
    fn unconnected(failure: Failure) -> Self {
        Self::Tried(Tried { result: Err(Failed { failure, reach: Reach::NoConnection }), informed: false })
    }
}

/// Sends the request to an endpoint of `cluster` and waits for the response head.
pub(super) async fn run(
    exchange: &mut Exchange<'_>,
    head: &mut RequestHead,
    cluster: &Cluster,
    how: How<'_>,
    avoided: Option<&mut Avoided<'_>>,
    info: &mut StreamInfo,
) -> Result<TryEnd, Interrupted> {
    let host = match find_host(exchange, head, cluster).await? {
        Ok(host) => host,
        Err(failure) => return Ok(TryEnd::unconnected(Failure::Host(failure))),
    };
    let Some(endpoint) = cluster.choose(Wish { host: host.as_ref(), ..how.wish }, avoided) else {
        cluster.shared.stats.upstream_cx_none_healthy.inc();
        return Ok(TryEnd::unconnected(Failure::NoHealthyUpstream));
    };
    let mut tracked = Tracked::begin(cluster, head, how.timeout, exchange);
    if how.termination.is_none() {
        cluster.expect_more(|next| next.pool(how.priority, &cluster.origin(next, Some(head), info)));
    }
    let home = cluster.home(&endpoint);
    let leased = checkout(exchange, head, &home, &endpoint, how, info).await;
    let lease = match leased.inspect_err(|by| interrupt(&mut tracked, *by))? {
        Ok(lease) => lease,
        Err(failure) => return Ok(TryEnd::unconnected(failure)),
    };
    set_host(how, &home, &endpoint, head);
    info.trace.iter().for_each(|trace| trace.inject(head));
    info.parts.iter().for_each(|part| part.counters.upstream_rq_total.inc());
    let mut limit = TryLimit::new(how.timeout, how.idle_timeout, how.longest);
    let mut sent =
        match SentRequest::send(exchange, head, &endpoint, lease, before_payload(how, info), info.counted_upstream()) {
            Ok(sent) => sent,
            Err(failed) => {
                let result = Err(failed);
                report(cluster, &endpoint, &result);
                return Ok(TryEnd::Tried(Tried { result, informed: false }));
            }
        };
    let received = loop {
        let SentRequest { writer, awaited, .. } = &mut sent;
        let received = exchange.alongside_try(writer, &mut limit, poll_fn(|cx| awaited.poll(cx))).await;
        // As in Envoy, an upstream that has begun to respond, if only with an informational response, has its time.
        if !matches!(received, Ok(Err(TryExpired::Timeout))) || sent.informational().is_empty() {
            break received;
        }
        limit.response_began();
    };
    if how.hedges
        && let Ok(Err(TryExpired::Idle | TryExpired::Timeout)) = &received
    {
        home.note_timeout(&endpoint);
        return Ok(TryEnd::Late(Box::new(LateTry::new(sent, tracked, exchange.rest(), info))));
    }
    Ok(TryEnd::Tried(conclude(cluster, &endpoint, (sent, tracked), received, (how, limit), info)?))
}

/// The host that the request names, where that is to be the endpoint.
async fn find_host(
    exchange: &mut Exchange<'_>,
    head: &RequestHead,
    cluster: &Cluster,
) -> Result<Result<Option<Arc<Host>>, HostFailure>, Interrupted> {
    let found = match cluster.look_up(head) {
        None => return Ok(Ok(None)),
        // As in Envoy, only what is known at once counts.
        Some(Lookup::Known(found)) => found.inspect_err(|_| cluster.shared.stats.upstream_cx_none_healthy.inc()),
        Some(Lookup::Waits(waiting)) => exchange.alongside(&mut None, Box::pin(waiting.end())).await?,
    };
    Ok(found.map(Some))
}

/// The wait for the response of a try has ended like this.
fn conclude(
    cluster: &Cluster,
    endpoint: &Rc<Endpoint>,
    (mut sent, mut tracked): (SentRequest, Option<Box<Tracked>>),
    received: Result<Result<Received, TryExpired>, Interrupted>,
    (how, limit): (How<'_>, TryLimit),
    info: &mut StreamInfo,
) -> Result<Tried, Interrupted> {
    let informed = sent.informational().to_vec();
    charge_informed(cluster, &informed, info);
    if let Err(by) = &received {
        interrupt(&mut tracked, *by);
    }
    if let Err(Interrupted::Timer(Expired::Global)) = &received {
        cluster.home(endpoint).report_timeout(endpoint);
        endpoint.counts.rq_error.inc();
    }
    let mut result = match received? {
        Ok(received) => sent.conclude(received),
        Err(expired) => Err(sent.expire(expired)),
    };
    if let Ok(response) = &mut result {
        response.track(tracked, &informed);
        response.limit(how.idle_timeout.filter(|_| !how.hedges), limit.ends_at());
    }
    report(cluster, endpoint, &result);
    Ok(Tried { result, informed: !informed.is_empty() })
}

/// The request was interrupted while the response was awaited.
fn interrupt(tracked: &mut Option<Box<Tracked>>, by: Interrupted) {
    if let Some(tracked) = tracked {
        tracked.interrupt(by);
    }
}

/// What an endpoint gets in front of a tunnel's payload.
fn before_payload(how: How<'_>, info: &StreamInfo) -> Bytes {
    let Downstream { peer, local, .. } = &*info.downstream;
    let version = how.termination.and_then(|termination| termination.proxy);
    let ends = peer.socket().zip(local.socket());
    version.map(|version| proxy_header(version, ends, []).0).unwrap_or_default()
}

/// Gives the request the name of its endpoint as host, where its route wants that.
fn set_host(how: How<'_>, cluster: &Cluster, endpoint: &Rc<Endpoint>, head: &mut RequestHead) {
    if let Some(EndpointHost { forwarded, router }) = how.endpoint_host
        && let Some(name) = cluster.hostname(endpoint)
    {
        rewrite::set_host(name, forwarded, router, head);
    }
}

/// A connection to `endpoint`.
async fn checkout(
    exchange: &mut Exchange<'_>,
    head: &RequestHead,
    cluster: &Cluster,
    endpoint: &Rc<Endpoint>,
    how: How<'_>,
    info: &mut StreamInfo,
) -> Result<Result<Lease, Failure>, Interrupted> {
    info.upstream_host = Some(endpoint.address.clone());
    info.is_canary = cluster.labels(endpoint).is_some_and(|labels| labels.is_canary);
    info.upstream_zone = cluster.counted_zone(endpoint);
    info.upstream_name = if info.shows_upstream_name { cluster.hostname(endpoint) } else { None };
    info.upstream_metadata = cluster.metadata(Some(endpoint));
    info.times.upstream_ready = None;
    exchange.check_reset().await?;
    let began = Instant::now();
    let pool = endpoint.pool(how.priority, &cluster.origin(endpoint, Some(head), info));
    let leased = match how.termination {
        None => exchange.alongside(&mut None, pool.checkout(how.wanted)).await?,
        Some(_) => exchange.alongside(&mut None, Box::pin(pool.open_tunnel())).await?,
    };
    let ready = Instant::now();
    info.times.pool_wait = Some(ready.saturating_duration_since(began));
    match &leased {
        Ok(lease) => {
            cluster.report_connected(endpoint);
            info.times.upstream_ready = Some(ready);
            let connection = lease.info();
            if endpoint.has_moved_from(&connection.peer) {
                info.upstream_host = Some(connection.peer.clone());
            }
            info.upstream_connection = Some(connection);
            exchange.note(head, info);
        }
        Err(failure) => report_unconnected(cluster, endpoint, failure, info),
    }
    Ok(leased)
}

/// There is no connection to `endpoint`.
fn report_unconnected(cluster: &Cluster, endpoint: &Rc<Endpoint>, failure: &Failure, info: &mut StreamInfo) {
    if matches!(failure, Failure::PendingOverflow | Failure::PoolOverflow) {
        info.upstream_host = None; // it never came so far as to be this endpoint's
        info.upstream_zone = None;
    }
    if matches!(failure, Failure::Bind(_) | Failure::Connect(_) | Failure::ConnectTimeout) {
        tracing::debug!(
            connection = info.downstream.connection_id,
            cluster = &*cluster.shared.config.name,
            endpoint = %endpoint.address,
            ?failure,
            "a connect failed"
        );
    }
    if let Failure::Bind(why) | Failure::Connect(why) = failure {
        info.transport_failure = Some(why.clone().into());
    }
    if *failure == Failure::PoolOverflow {
        return;
    }
    cluster.report(endpoint, Err(failure));
    endpoint.counts.rq_error.inc();
}
