//! What connections to an endpoint take from the client and the request that they are opened for. Connections of
//! different origins are not shared.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Version};

use super::{Cluster, Endpoint};
use crate::access_log::format::{Heads, line};
use crate::access_log::{Downstream, StreamInfo};
use crate::codec::RequestHead;
use crate::config::Cluster as Config;
use crate::config::cluster::{ClusterProtocol, HttpVersion, UpstreamSocket};
use crate::config::filter_state::{FilterState, ObjectKind};
use crate::config::proxy_header::{AddedTlvs, HeaderToUpstream, Tlv};
use crate::config::tls::OwnName;
use crate::config::upstream_name::{HostUses, RequestedNames};
use crate::net::Address;
use crate::net::proxy_header::{ProxyVersion, proxy_header};

/// What a connection takes from the client and the request that it is opened for: what it sends to the endpoint about them, and
/// what else keeps it from serving others.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// What comes before everything else: a PROXY header.
    pub(super) header: Option<ProxyHeader>,
    /// The names for TLS.
    pub(super) names: RequestedNames,
    /// What filters share with it.
    pub(super) state: SharedState,
    /// What the client speaks, where that decides what the endpoint is spoken to.
    pub(super) version: Option<HttpVersion>,
    /// The number of the client's connection, where no other client's requests are to be served.
    client: Option<u64>,
}

/// What filters share with a connection to an upstream. Only hashable objects keep connections apart, as in Envoy: of all others
/// those of the request that the first of them was opened for stand for all.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedState(pub(super) Option<Arc<FilterState>>);

impl SharedState {
    fn of(info: &StreamInfo) -> Self {
        if !info.has_state() {
            return Self::default();
        }
        let shared = info.shared_state();
        Self((!shared.is_empty()).then(|| Arc::new(shared)))
    }

    fn hashable(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().flat_map(|state| state.hashable())
    }
}

impl Ord for SharedState {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hashable().cmp(other.hashable())
    }
}

impl PartialOrd for SharedState {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for SharedState {}

impl PartialEq for SharedState {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

/// What a PROXY header says of a client.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ProxyHeader {
    /// Of its connection.
    ends: Option<(SocketAddr, SocketAddr)>,
    /// Those of its own header that are repeated.
    tlvs: Vec<Tlv>,
}

impl ProxyHeader {
    fn new(to_upstream: &HeaderToUpstream, downstream: &Downstream) -> Self {
        let is_added = |kind| to_upstream.added.fixed.iter().any(|added| added.kind == kind);
        let of_client = downstream.passed.as_ref().and_then(|passed| passed.tlvs.as_ref()).into_iter().flatten();
        let tlvs = of_client.filter(|tlv| to_upstream.passed.takes(tlv.kind) && !is_added(tlv.kind)).cloned().collect();
        Self { ends: downstream.peer.socket().zip(downstream.local.socket()), tlvs }
    }

    /// Its bytes on the connection to the endpoint that `info` is about, and how many TLVs had no room in it.
    pub(super) fn bytes(&self, to_upstream: &HeaderToUpstream, about: impl FnOnce() -> StreamInfo) -> (Bytes, u64) {
        let AddedTlvs { fixed, computed } = &to_upstream.added;
        if computed.is_empty() {
            return proxy_header(to_upstream.version, self.ends, fixed.iter().chain(&self.tlvs));
        }
        let mut computed = computed_tlvs(&to_upstream.added, &about());
        computed.retain(|tlv| !tlv.value.is_empty()); // as in Envoy
        let of_client = self.tlvs.iter().filter(|tlv| computed.iter().all(|added| added.kind != tlv.kind));
        proxy_header(to_upstream.version, self.ends, fixed.iter().chain(&computed).chain(of_client))
    }
}

/// Those of the TLVs that are lines about a connection.
pub(crate) fn computed_tlvs(added: &AddedTlvs, info: &StreamInfo) -> Vec<Tlv> {
    let value = |format| line(format, Heads { request: None, response: None }, info).into();
    added.computed.iter().map(|tlv| Tlv { kind: tlv.kind, value: value(&tlv.format) }).collect()
}

impl Origin {
    /// Of this client, whose request has this head, to an endpoint with this hostname.
    #[must_use]
    pub(super) fn new(
        config: &Config,
        socket: &UpstreamSocket,
        info: &StreamInfo,
        head: Option<&RequestHead>,
        hostname: Option<&HeaderValue>,
    ) -> Self {
        let header = socket.proxy_header.as_ref().map(|header| ProxyHeader::new(header, &info.downstream));
        let names = match socket.tls {
            Some(_) => requested_names(config, head, hostname, info),
            None => RequestedNames::default(),
        };
        let version = matches!(config.protocol, ClusterProtocol::OfClient { .. }).then(|| version(info)).flatten();
        let client = (config.is_per_client && !info.is_own).then_some(info.downstream.connection_id);
        Self { header, names, state: SharedState::of(info), version, client }
    }

    /// What a connection of the proxy's own begins with, between these addresses: that of a health check.
    #[must_use]
    pub fn own_header(socket: &UpstreamSocket, local: &Address, peer: &Address) -> Option<Bytes> {
        Some(Self::header_of_check(socket.proxy_header.as_ref()?.version, local, peer))
    }

    /// A PROXY header of this version for a connection of the proxy's own.
    #[must_use]
    pub fn header_of_check(version: ProxyVersion, local: &Address, peer: &Address) -> Bytes {
        // Version 2 has a command of its own for this.
        let ends = local.socket().zip(peer.socket()).filter(|_| version == ProxyVersion::V1);
        proxy_header(version, ends, []).0
    }
}

impl Cluster {
    /// What the connections to `endpoint` that this stream or client uses take from it.
    #[must_use]
    pub fn origin(&self, endpoint: &Endpoint, head: Option<&RequestHead>, info: &StreamInfo) -> Origin {
        let config = &self.shared.config;
        let socket = endpoint.socket(config);
        let is_shared = !config.is_per_client && matches!(config.protocol, ClusterProtocol::Fixed(_));
        if is_shared && socket.proxy_header.is_none() && socket.tls.is_none() && !info.has_state() {
            return Origin::default();
        }
        Origin::new(config, socket, info, head, self.own_name(endpoint).as_ref())
    }

    /// The names for TLS where there is no request.
    pub(super) fn own_names(&self, endpoint: &Endpoint) -> RequestedNames {
        let server_name = self.own_name(endpoint).and_then(|name| name.to_str().ok().map(Box::from));
        RequestedNames { server_name, ..RequestedNames::default() }
    }

    /// The hostname of an endpoint, where it is the name for TLS.
    fn own_name(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        let tls = endpoint.socket(&self.shared.config).tls.as_ref()?;
        if tls.current().own_name() == OwnName::Requested { self.hostname(endpoint) } else { None }
    }
}

/// What a client speaks that speaks HTTP. The proxy's own requests are HTTP/1, as in Envoy.
fn version(info: &StreamInfo) -> Option<HttpVersion> {
    if info.is_own {
        return Some(HttpVersion::Http1);
    }
    info.protocol.map(|version| if version == Version::HTTP_2 { HttpVersion::Http2 } else { HttpVersion::Http1 })
}

/// The names for TLS: what filters have left, then the host of a request as far as the cluster is configured to use it, then the
/// hostname of the endpoint.
fn requested_names(
    config: &Config,
    head: Option<&RequestHead>,
    hostname: Option<&HeaderValue>,
    info: &StreamInfo,
) -> RequestedNames {
    let left = |key, kind| info.state(key).filter(|object| object.kind == kind);
    let left_name = left("envoy.network.upstream_server_name", ObjectKind::ServerName);
    let left_name = left_name.and_then(|object| object.as_text()).map(Box::from);
    let left_names = left("envoy.network.upstream_subject_alt_names", ObjectKind::SubjectAltNames);
    let left_names =
        left_names.map(|object| object.parts().filter_map(|part| str::from_utf8(part).ok().map(Box::from)));
    let protocols = left("envoy.network.application_protocols", ObjectKind::ApplicationProtocols);
    let protocols = protocols.map(|object| object.parts().map(Box::from).collect()).unwrap_or_default();
    let used = config.host_as_name.as_ref().zip(head).and_then(|(options, head)| {
        let written = options.header.as_ref().and_then(|name| head.headers.get(name)).filter(|value| !value.is_empty());
        let host = host_of(written.or(head.authority.as_ref())?.to_str().ok()?).to_ascii_lowercase();
        Some((options.uses, host.into_boxed_str()))
    });
    let is_address = |host: &str| host.parse::<IpAddr>().is_ok();
    let (uses, host) = used.map_or((None, None), |(uses, host)| (Some(uses), Some(host)));
    let of_host = |is_used: fn(HostUses) -> bool| host.clone().filter(|_| uses.is_some_and(is_used));
    let server_name = of_host(HostUses::is_server_name).filter(|host| !is_address(host));
    let own = hostname.and_then(|name| name.to_str().ok()).map(Box::from);
    let certified = match left_names {
        Some(names) => names.collect(),
        None => of_host(HostUses::is_certified).into_iter().collect(),
    };
    RequestedNames { server_name: left_name.or(server_name).or(own), certified, protocols }
}

/// The host of an authority, without its port and the brackets of an address.
fn host_of(authority: &str) -> &str {
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host)
}
