//! How connections to the endpoints of a cluster are made: `transport_socket`, and `transport_socket_matches` for some of them.

use std::sync::Arc;

use super::secret::Secrets;
use super::{metadata, proxy_protocol, tls};
use crate::config::bootstrap::cluster::Cluster as Written;
use crate::config::bootstrap::metadata::Metadata as WrittenMetadata;
use crate::config::bootstrap::tls::{MetadataValueSource, TransportSocket, TransportSocketConfig};
use crate::config::cluster::{MetadataOwner, PassedNamespace, SocketMatch, UpstreamSocket};
use crate::config::metadata::Struct;
use crate::config::problem::Problem;
use crate::config::proxy_header::HeaderToUpstream;
use crate::config::tls::HttpAlpn;
use crate::config::yaml::{At, Notes, Tree};

/// The metadata of an endpoint by which its transport socket is chosen.
const MATCHED: &str = "envoy.transport_socket_match";

/// What a transport socket means; without one connections are clear text.
pub(super) fn socket(
    written: Option<&At<TransportSocket>>,
    http: HttpAlpn,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<UpstreamSocket, Problem> {
    Ok(UpstreamSocket {
        passing: passing(written)?,
        proxy_header: proxy_header(written)?,
        tls: sockets(written).last().map_or(Ok(None), |socket| tls::upstream(socket, http, secrets, notes))?,
    })
}

/// What `transport_socket_matches` mean.
pub(super) fn matches(
    cluster: &Written,
    http: HttpAlpn,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Vec<SocketMatch>, Problem> {
    let entries = cluster.transport_socket_matches.iter().map(|entry| {
        let socket = socket(Some(&entry.value.transport_socket), http, secrets, notes)?;
        Ok(SocketMatch { name: entry.value.name.to_string(), socket })
    });
    entries.collect()
}

/// Which entry of `transport_socket_matches` is the first whose fields all stand in the metadata of an endpoint. One without fields
/// matches every endpoint.
pub(super) fn matched(cluster: &Written, written: Option<&At<WrittenMetadata>>) -> Result<Option<usize>, Problem> {
    if cluster.transport_socket_matches.is_empty() {
        return Ok(None);
    }
    let fields = written.and_then(|written| written.value.filter_metadata.get(MATCHED));
    first_match(cluster, &fields.map(metadata::members).transpose()?.unwrap_or_default())
}

/// The same for such metadata.
pub(super) fn matched_by(cluster: &Written, fields: &At<Tree>) -> Result<Option<usize>, Problem> {
    first_match(cluster, &metadata::members(fields)?)
}

fn first_match(cluster: &Written, fields: &Struct) -> Result<Option<usize>, Problem> {
    for (nth, entry) in cluster.transport_socket_matches.iter().enumerate() {
        let wanted = entry.value.r#match.as_ref().map(metadata::members).transpose()?.unwrap_or_default();
        if wanted.iter().all(|(name, value)| fields.get(name) == Some(value)) {
            return Ok(Some(nth));
        }
    }
    Ok(None)
}

/// Is there TLS in any of the transport sockets?
pub(super) fn encrypts(cluster: &Written) -> bool {
    let is_tls =
        |socket: &At<TransportSocket>| matches!(socket.value.typed_config.value, TransportSocketConfig::Upstream(_));
    sockets(cluster.transport_socket.as_ref()).any(is_tls)
}

/// The transport socket and those within it, the outermost first.
fn sockets(written: Option<&At<TransportSocket>>) -> impl Iterator<Item = &At<TransportSocket>> {
    std::iter::successors(written, |socket| match &socket.value.typed_config.value {
        TransportSocketConfig::InternalUpstream(internal) => Some(&internal.transport_socket),
        TransportSocketConfig::ProxyProtocol(header) => Some(&header.transport_socket),
        TransportSocketConfig::Downstream(_)
        | TransportSocketConfig::RawBuffer(_)
        | TransportSocketConfig::Upstream(_) => None,
    })
}

/// What connections begin with.
fn proxy_header(written: Option<&At<TransportSocket>>) -> Result<Option<HeaderToUpstream>, Problem> {
    let headers = sockets(written).filter_map(|socket| {
        let TransportSocketConfig::ProxyProtocol(header) = &socket.value.typed_config.value else { return None };
        Some((socket, header))
    });
    only(headers, "one upstream_proxy_protocol is enough")?
        .map(|header| proxy_protocol::to_upstream(header.config.as_ref()))
        .transpose()
}

/// The one of these sockets, if there is one.
fn only<'w, T>(
    mut all: impl Iterator<Item = (&'w At<TransportSocket>, T)>,
    of_two: &str,
) -> Result<Option<T>, Problem> {
    let first = all.next();
    match all.next() {
        Some((second, _)) => Err(second.invalid(of_two)),
        None => Ok(first.map(|(_, found)| found)),
    }
}

/// What connections to internal listeners pass on.
fn passing(written: Option<&At<TransportSocket>>) -> Result<Option<Arc<[PassedNamespace]>>, Problem> {
    let internals = sockets(written).filter_map(|socket| {
        let TransportSocketConfig::InternalUpstream(internal) = &socket.value.typed_config.value else { return None };
        Some((socket, internal))
    });
    let Some(internal) = only(internals, "one internal_upstream is enough")? else { return Ok(None) };
    internal.passthrough_metadata.iter().map(passed_namespace).collect::<Result<_, _>>().map(Some)
}

fn passed_namespace(written: &At<MetadataValueSource>) -> Result<PassedNamespace, Problem> {
    let MetadataValueSource { kind, name } = &written.value;
    let of = match (&kind.value.cluster, &kind.value.host) {
        (Some(_), None) => MetadataOwner::Cluster,
        (None, Some(_)) => MetadataOwner::Host,
        (None, None) | (Some(_), Some(_)) => return Err(kind.invalid("takes exactly one of cluster and host")),
    };
    Ok(PassedNamespace { name: name.to_string(), of })
}
