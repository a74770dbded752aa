//! A connection to an endpoint, in as many attempts as there may be.

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::tunnel::{self, Unopened};
use super::upstream::Upstream;
use crate::access_log::{ResponseFlag, StreamInfo};
use crate::cluster::origin::computed_tlvs;
use crate::cluster::{Cluster, Endpoint, Failure, Wish};
use crate::config::cluster::Priority;
use crate::config::filter_state::ObjectKind;
use crate::config::tcp_proxy::{TcpHash, TcpProxy as Options, TlvMerge, Tunneling};
use crate::upstream::hashing;

/// What an attempt came to that brought no connection.
enum Attempt {
    /// Another endpoint may do better.
    Failed,
    /// Another attempt would come to the same.
    Refused(ResponseFlag),
}

/// Connects to an endpoint of `cluster`; `None` if no attempt brought a connection, and what is wrong is put down in `info`.
///
/// # Cancellation
/// Dropped, it gives the attempt up.
pub(super) async fn connect(options: &Options, cluster: &Cluster, info: &mut StreamInfo) -> Option<Upstream> {
    let began = Instant::now();
    for _ in 0..options.connect_attempts_max.get() {
        add_tlvs(options, info);
        let attempt = attempt(options, cluster, info).await;
        info.times.pool_wait = Some(began.elapsed());
        match attempt {
            Ok(upstream) => {
                info.upstream_connection = upstream.info();
                return Some(upstream);
            }
            Err(Attempt::Failed) => {}
            Err(Attempt::Refused(flag)) => {
                info.flag(flag);
                return None;
            }
        }
    }
    cluster.shared.stats.upstream_cx_connect_attempts_exceeded.inc();
    info.flag(ResponseFlag::URX);
    None
}

/// Adds its TLVs to what the PROXY header of the client had. As in Envoy each attempt does so, and a later one finds what the one
/// before has left.
fn add_tlvs(options: &Options, info: &mut StreamInfo) {
    let (added, merge) = (&options.tlvs, options.tlv_merge);
    if added.is_empty() {
        return;
    }
    let existing = info.downstream.passed.as_ref().and_then(|passed| passed.tlvs.clone());
    if existing.is_some() && merge == TlvMerge::AddIfAbsent {
        return;
    }
    let mut own = added.fixed.clone();
    own.append(&mut computed_tlvs(added, info));
    let mut existing = existing.unwrap_or_default();
    let tlvs = match merge {
        TlvMerge::AddIfAbsent | TlvMerge::Append => {
            existing.append(&mut own);
            existing
        }
        TlvMerge::Overwrite => {
            existing.retain(|tlv| own.iter().all(|own| own.kind != tlv.kind));
            own.append(&mut existing);
            own
        }
    };
    let passed = Rc::make_mut(&mut info.downstream).passed.get_or_insert_default();
    Arc::make_mut(passed).tlvs = Some(tlvs);
}

async fn attempt(options: &Options, cluster: &Cluster, info: &mut StreamInfo) -> Result<Upstream, Attempt> {
    let stats = &cluster.shared.stats;
    // The limit before the endpoint, as in Envoy: none is looked for that could not be used.
    let Some(permit) = cluster.shared.breakers.of(Priority::Default).connections.permit() else {
        stats.upstream_cx_overflow.inc();
        return Err(Attempt::Refused(ResponseFlag::UO));
    };
    let own = &cluster.shared.config.hash_policies;
    let hash = match options.hash {
        _ if !own.is_empty() => hashing::of_connection(own, &info.downstream.peer),
        TcpHash::SourceIp => hashing::source_ip(&info.downstream.peer),
        TcpHash::None => None,
    };
    let destination = cluster.destination(None, &info.downstream);
    let wish = Wish { wanted: options.metadata_match.as_ref(), hash, destination, ..Wish::default() };
    let Some(endpoint) = cluster.choose(wish, None) else {
        stats.upstream_cx_none_healthy.inc();
        return Err(Attempt::Refused(ResponseFlag::UH));
    };
    let (chooser, home) = (cluster, cluster.home(&endpoint));
    let cluster = &*home;
    info.attempts += 1;
    info.upstream_host = Some(endpoint.address.clone());
    info.upstream_name = if info.shows_upstream_name { cluster.hostname(&endpoint) } else { None };
    info.upstream_metadata = cluster.metadata(Some(&endpoint));
    if let Some(tunneling) = options.tunneling.as_ref().filter(|_| !is_tunneling_disabled(info)) {
        drop(permit); // the pool takes its own
        chooser.expect_more(|next| next.pool(Priority::Default, &chooser.origin(next, None, info)));
        return open_tunnel(tunneling, cluster, &endpoint, info).await;
    }
    match endpoint.pool(Priority::Default, &cluster.origin(&endpoint, None, info)).connect_tcp(permit).await {
        Ok(upstream) => {
            cluster.report_connected(&endpoint);
            cluster.report(&endpoint, Ok(StatusCode::OK));
            Ok(Upstream::Tcp(Box::new(upstream)))
        }
        Err(failure) => {
            report_failed(cluster, &endpoint, &failure, info);
            Err(Attempt::Failed)
        }
    }
}

/// Has a filter said that bytes go to the endpoint as they are?
fn is_tunneling_disabled(info: &StreamInfo) -> bool {
    let object = info.state("envoy.tcp_proxy.disable_tunneling");
    object.is_some_and(|object| object.kind == ObjectKind::DisableTunneling && &*object.text == b"true")
}

async fn open_tunnel(
    options: &Tunneling,
    cluster: &Cluster,
    endpoint: &Rc<Endpoint>,
    info: &mut StreamInfo,
) -> Result<Upstream, Attempt> {
    match Box::pin(tunnel::open(options, endpoint, &cluster.origin(endpoint, None, info), info)).await {
        Ok(tunnel) => {
            cluster.report_connected(endpoint);
            cluster.report(endpoint, Ok(StatusCode::OK));
            return Ok(Upstream::Tunnel(Box::new(tunnel)));
        }
        Err(Unopened::Unconnected(failure)) => report_failed(cluster, endpoint, &failure, info),
        Err(Unopened::Lost) => {
            cluster.report(endpoint, Err(&Failure::Terminated));
            info.flag(ResponseFlag::UF);
        }
        Err(Unopened::Refused(status)) => {
            tracing::debug!(
                connection = info.downstream.connection_id,
                cluster = &*cluster.shared.config.name,
                endpoint = %endpoint.address,
                %status,
                "a tunnel was refused"
            );
            cluster.report(endpoint, Ok(status));
            info.flag(ResponseFlag::UF);
            info.transport_failure = Some(format!("tunnel_response:{}", status.as_u16()).into());
        }
    }
    Err(Attempt::Failed)
}

fn report_failed(cluster: &Cluster, endpoint: &Endpoint, failure: &Failure, info: &mut StreamInfo) {
    cluster.report(endpoint, Err(failure));
    if *failure == Failure::PendingOverflow {
        info.upstream_host = None; // it never came so far as to be this endpoint's
        return;
    }
    tracing::debug!(
        connection = info.downstream.connection_id,
        cluster = &*cluster.shared.config.name,
        endpoint = %endpoint.address,
        ?failure,
        "a connect failed"
    );
    info.flag(failure.flag());
    // It stays when a later attempt succeeds, as the flag does.
    if let Failure::Bind(why) | Failure::Connect(why) = failure {
        info.transport_failure = Some(why.clone().into());
    }
}
