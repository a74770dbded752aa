//! What a listener and its network filter chains mean.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::address::cidr;
use super::secret::Secrets;
use super::{
    ClusterNames, access_log, address, buffer_bytes_max, connection_manager, filter_state, network_filter,
    proxy_protocol, socket_option, tcp_proxy, tls, within,
};
use crate::config::access_log::AccessLog;
use crate::config::address::{Address, Binding};
use crate::config::bootstrap::access_log::AccessLog as WrittenLog;
use crate::config::bootstrap::listener::{
    AdditionalAddress, ConnectionSourceType, FilterChain as Written, FilterChainMatch as WrittenMatch, HttpInspector,
    Listener as WrittenListener, ListenerFilter, ListenerFilterConfig, NetworkFilter, OriginalDst, TlsInspector,
    TrafficDirection,
};
use crate::config::bootstrap::socket_option::WrittenSocket;
use crate::config::bootstrap::{
    Address as WrittenAddress, BootstrapExtension, BootstrapExtensionConfig, CidrRange, InternalListener,
};
use crate::config::error::{Cause, Place};
use crate::config::filter_chain::{FilterChain, FilterChainMatch, FilterChains, SourceType, TransportProtocol};
use crate::config::listener::{ConnectionManager, Listener, Terminal};
use crate::config::listener_filter::{
    Destination, Fingerprinted, HttpInspection, Inspection, ListenerFilters, OnTimeout,
};
use crate::config::log_format::Operator;
use crate::config::network_filter::Gate;
use crate::config::problem::Problem;
use crate::config::socket_option::SocketOption;
use crate::config::tcp_proxy::TcpProxy;
use crate::config::tracing::Side;
use crate::config::trust::Cidr;
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// Envoy's `buffer_size_kb`.
const INTERNAL_BUFFER_BYTES: usize = 1024 * 1024;

/// How a chain ends, as configured.
type Configured = Terminal<Arc<ConnectionManager>, Arc<TcpProxy>>;

/// What a listener at `place` means. `internal` says whether the process has internal listeners.
pub(super) fn listener(
    At { value: written, place }: At<WrittenListener>,
    internal: InternalListeners,
    clusters: &ClusterNames<'_>,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Listener, Problem> {
    let mut binding = binding(&written, &place, internal)?;
    socket_options(&written, notes)?;
    binding.options = options_of(&written, None, &binding)?;
    let further = written.additional_addresses.iter().map(|further| {
        let mut binding = address::bound(&further.value.address)?;
        binding.options = options_of(&written, Some(&further.value), &binding)?;
        Ok(binding)
    });
    let further_bindings = further.collect::<Result<_, Problem>>()?;
    let buffer_bytes_max = buffer_bytes_max(written.per_connection_buffer_limit_bytes.as_ref())?;
    let name = written.name.filter(|name| !name.is_empty()).unwrap_or_else(|| binding.at.to_string());
    let mut filter_chains =
        filter_chains(written.filter_chains, written.default_filter_chain, &place, &name, clusters, secrets, notes)?;
    let is_original_dst = |filter: &At<ListenerFilter>| {
        matches!(filter.value.typed_config.value, ListenerFilterConfig::OriginalDst(OriginalDst {}))
    };
    let filters = ListenerFilters {
        destination: match written.listener_filters.iter().any(is_original_dst) {
            true => Destination::Original,
            false => Destination::Socket,
        },
        proxy_protocol: proxy_protocol::listener_filter(&written.listener_filters)?,
        timeout: written.listener_filters_timeout.map_or(Some(ListenerFilters::TIMEOUT), Seconds::unless_zero),
        on_timeout: match written.continue_on_listener_filters_timeout {
            Some(true) => OnTimeout::Continue,
            Some(false) | None => OnTimeout::Close,
        },
    };
    filter_chains.inspection = inspection(&written.listener_filters, &filter_chains, &place, notes);
    let access_logs = access_logs(written.access_log, &name, notes)?;
    let mut listener = Listener {
        name,
        binding,
        further_bindings,
        stat_prefix: written.stat_prefix.filter(|prefix| !prefix.is_empty()),
        filter_chains,
        filters,
        access_logs,
        buffer_bytes_max,
        ignores_global_limit: written.ignore_global_conn_limit.unwrap_or(false),
        is_inbound: written.traffic_direction == Some(TrafficDirection::Inbound),
    };
    if written.traffic_direction == Some(TrafficDirection::Outbound) {
        let traced = listener.managers_mut().filter_map(|manager| manager.tracing.as_mut());
        traced.for_each(|tracing| tracing.side = Side::Egress);
    }
    Ok(listener)
}

/// Where a listener at `place` listens: its first address, or its name in the process.
fn binding(written: &WrittenListener, place: &Place, internal: InternalListeners) -> Result<Binding, Problem> {
    let further = written.additional_addresses.first().map(|further| &further.value.address);
    match (&written.address, &written.internal_listener) {
        (Some(address), None) => address::bound(address),
        (Some(address), Some(_)) => Err(address_of_internal(address)),
        (None, Some(here)) => match (further, internal) {
            (Some(address), _) => Err(address_of_internal(address)),
            (None, InternalListeners::None) => Err(here.invalid_but(
                "InternalListener bootstrap extension is mandatory",
                "write bootstrap_extensions: [{name: envoy.bootstrap.internal_listener, typed_config: {\"@type\": \
                 type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}]",
            )),
            (None, InternalListeners::Buffering { .. }) => {
                Ok(Address::Internal(written.name.clone().unwrap_or_default().into()).into())
            }
        },
        (None, None) => Err(Problem::at(place, Cause::Missing { field: "address" })),
    }
}

/// What is set on a socket of a listener: what stands beside its address, else what stands in the listener.
fn options_of(
    written: &WrittenListener,
    further: Option<&AdditionalAddress>,
    binding: &Binding,
) -> Result<Arc<[SocketOption]>, Problem> {
    let is_on = |flag: &Option<At<bool>>| flag.as_ref().is_some_and(|flag| flag.value);
    let own = further.and_then(|further| further.socket_options.as_ref());
    let socket = WrittenSocket {
        options: own.map_or(&written.socket_options, |own| &own.socket_options),
        keepalive: further
            .and_then(|further| further.tcp_keepalive)
            .or_else(|| written.tcp_keepalive.as_ref().map(|keepalive| keepalive.value)),
        freebind: is_on(&written.freebind),
        transparent: is_on(&written.transparent),
    };
    let options = socket_option::of_socket(socket, binding.at.ip().is_some_and(|ip| ip.is_ipv6()))?;
    match (&binding.at, options.first(), socket.options.first()) {
        (Address::Pipe(_), Some(_), Some(first)) => {
            Err(first.invalid("a Unix domain socket has none of these options"))
        }
        (Address::Pipe(_), _, _) => Ok(Arc::default()),
        (Address::Internal(_) | Address::Socket(_), ..) => Ok(options.into()),
    }
}

/// What concerns the sockets of a listener: those that an internal listener does not have, and the only ones that there are of
/// others.
fn socket_options(written: &WrittenListener, notes: &Notes) -> Result<(), Problem> {
    let balance = written.connection_balance_config.as_ref().filter(|it| it.value.exact_balance.is_some());
    let options = [
        (balance.map(|it| &it.place), "the kernel spreads connections over the workers"),
        (written.enable_reuse_port.as_ref().map(|it| &it.place), "each worker listens on a socket of its own"),
        (written.tcp_backlog_size.as_ref().map(|it| &it.place), "the backlog is as long as the kernel permits"),
    ];
    if written.internal_listener.is_some() {
        let keys = [
            written.freebind.as_ref().filter(|flag| flag.value).map(|flag| &flag.place),
            written.socket_options.first().map(|option| &option.place),
            written.tcp_keepalive.as_ref().map(|keepalive| &keepalive.place),
            written.transparent.as_ref().filter(|flag| flag.value).map(|flag| &flag.place),
        ];
        if let Some(place) = keys.into_iter().flatten().next() {
            let what = "does not support socket option".to_owned();
            let remedy = Some("leave it out: an internal listener has no socket".to_owned());
            return Err(Problem::at(place, Cause::Invalid { what, remedy }));
        }
    }
    for (place, why) in options.into_iter().filter_map(|(place, why)| Some((place?, why))) {
        if written.internal_listener.is_some() {
            let what = "has unsupported tcp listener feature".to_owned();
            let remedy = Some("leave it out: an internal listener has no socket".to_owned());
            return Err(Problem::at(place, Cause::Invalid { what, remedy }));
        }
        notes.note(place, format!("has no effect: {why}"));
    }
    Ok(())
}

fn address_of_internal(address: &At<WrittenAddress>) -> Problem {
    address.invalid_but(
        "address should not be used when an internal listener config is provided",
        "leave the address out; the name of the listener is what endpoints find it by",
    )
}

/// The logs of the listener of this name.
fn access_logs(written: Vec<WrittenLog>, listener: &str, notes: &Notes) -> Result<Vec<AccessLog>, Problem> {
    let said = |operator: &Operator| (*operator == Operator::ListenerName).then(|| listener.to_owned());
    let log = |written| {
        let mut log = access_log::access_log(written, notes)?;
        log.resolve(&said);
        Ok(log)
    };
    written.into_iter().map(log).collect()
}

/// Whether the process has internal listeners: its bootstrap extension is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InternalListeners {
    /// It is, and so many bytes may wait in each direction of a connection.
    Buffering {
        bytes: usize,
    },
    None,
}

/// What the bootstrap extensions say of internal listeners.
pub(super) fn internal_listeners(written: &[At<BootstrapExtension>]) -> Result<InternalListeners, Problem> {
    const KIBIBYTES: RangeInclusive<u32> = 1..=8192;
    let Some((extension, further)) = written.split_first() else { return Ok(InternalListeners::None) };
    if let Some(second) = further.first() {
        return Err(second.invalid("the bootstrap extension stands here twice"));
    }
    let BootstrapExtensionConfig::InternalListener(InternalListener { buffer_size_kb }) = &extension.value.typed_config;
    let kibibytes = buffer_size_kb.as_ref().map(|size| within(size, KIBIBYTES)).transpose()?;
    let bytes = |kibibytes| usize::try_from(kibibytes).unwrap_or(usize::MAX).saturating_mul(1024);
    Ok(InternalListeners::Buffering { bytes: kibibytes.map_or(INTERNAL_BUFFER_BYTES, bytes) })
}

fn inspection(
    written: &[At<ListenerFilter>],
    chains: &FilterChains<Configured>,
    place: &Place,
    notes: &Notes,
) -> Inspection {
    let mut inspection = Inspection::default();
    for filter in written {
        match filter.value.typed_config.value {
            ListenerFilterConfig::HttpInspector(HttpInspector {}) if inspection.tls => {
                inspection.http = Some(HttpInspection::AfterTls);
            }
            ListenerFilterConfig::HttpInspector(HttpInspector {}) => inspection.http = Some(HttpInspection::First),
            ListenerFilterConfig::OriginalDst(OriginalDst {}) | ListenerFilterConfig::ProxyProtocol(_) => {}
            ListenerFilterConfig::TlsInspector(TlsInspector {
                enable_ja3_fingerprinting,
                enable_ja4_fingerprinting,
            }) => {
                inspection.tls = true;
                inspection.fingerprints =
                    Fingerprinted { ja3: enable_ja3_fingerprinting, ja4: enable_ja4_fingerprinting };
            }
        }
    }
    if chains.chains.iter().any(|chain| chain.matches.is_out_of_reach(inspection)) {
        notes.note(
            place,
            "has a filter chain that matches server names, application protocols or TLS, and takes no connection, as in Envoy: \
             add to listener_filters {name: envoy.filters.listener.tls_inspector, typed_config: {\"@type\": \
             type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}, or http_inspector \
             (filters.listener.http_inspector.v3.HttpInspector) for application protocols in clear text",
        );
    }
    inspection
}

/// The chains of the listener of this name, whose address stands at `place`.
fn filter_chains(
    written: Vec<At<Written>>,
    default: Option<At<Written>>,
    place: &Place,
    name: &str,
    clusters: &ClusterNames<'_>,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<FilterChains<Configured>, Problem> {
    if written.is_empty() && default.is_none() {
        return Err(Problem::invalid(place, "the listener has no filter_chains"));
    }
    let mut chains: Vec<FilterChain<Configured>> = Vec::with_capacity(written.len());
    for chain in written {
        let matches = chain.value.filter_chain_match.as_ref().map(|it| filter_chain_match(&it.value)).transpose()?;
        let matches = matches.unwrap_or_default();
        if matches.repeats() || chains.iter().any(|before| before.matches.overlaps(&matches)) {
            let name = chain.value.name.as_deref().unwrap_or_default();
            return Err(chain.invalid_but(
                format!("filter chain '{name}' has overlapping matching rules: some connections fit two equally well"),
                "write each port and prefix once, and let each chain differ from those before it by one of them",
            ));
        }
        let handshake_timeout = handshake_timeout(&chain);
        let tls =
            chain.value.transport_socket.as_ref().map_or(Ok(None), |socket| tls::downstream(socket, secrets, notes))?;
        let own_name = chain.value.name.as_deref().unwrap_or_default().into();
        let terminal = terminal(chain, name, clusters, notes)?;
        chains.push(FilterChain { name: own_name, matches, tls, handshake_timeout, terminal });
    }
    if let Some(matches) = default.as_ref().and_then(|default| default.value.filter_chain_match.as_ref()) {
        notes.note(&matches.place, "has no effect: the default filter chain takes whatever no other takes");
    }
    if let ([only], Some(default)) = (&chains[..], &default)
        && only.matches.takes_all()
    {
        notes.note(&default.place, "has no effect: the entry of filter_chains takes every connection");
    }
    let socket = default.as_ref().and_then(|default| default.value.transport_socket.as_ref());
    Ok(FilterChains {
        chains,
        default_name: default.as_ref().and_then(|default| default.value.name.as_deref()).unwrap_or_default().into(),
        default_handshake_timeout: default.as_ref().and_then(handshake_timeout),
        default_tls: socket.map_or(Ok(None), |socket| tls::downstream(socket, secrets, notes))?,
        default: default.map(|chain| terminal(chain, name, clusters, notes)).transpose()?,
        inspection: Inspection::default(),
    })
}

fn handshake_timeout(chain: &At<Written>) -> Option<Duration> {
    chain.value.transport_socket_connect_timeout.and_then(Seconds::unless_zero)
}

fn filter_chain_match(written: &WrittenMatch) -> Result<FilterChainMatch, Problem> {
    let ranges = |written: &[At<CidrRange>]| written.iter().map(cidr).collect::<Result<Vec<Cidr>, _>>();
    Ok(FilterChainMatch {
        destination_port: written.destination_port.map(|port| port.0),
        destination: ranges(&written.prefix_ranges)?,
        direct_source: ranges(&written.direct_source_prefix_ranges)?,
        source_type: match written.source_type {
            None | Some(ConnectionSourceType::Any) => SourceType::Any,
            Some(ConnectionSourceType::SameIpOrLoopback) => SourceType::SameIpOrLoopback,
            Some(ConnectionSourceType::External) => SourceType::External,
        },
        server_names: written.server_names.iter().map(server_name).collect::<Result<_, _>>()?,
        transport: transport_protocol(written.transport_protocol.as_ref())?,
        application_protocols: written.application_protocols.iter().map(|it| it.clone().into_bytes()).collect(),
        source: ranges(&written.source_prefix_ranges)?,
        source_ports: written.source_ports.iter().map(|port| port.0).collect(),
    })
}

/// Envoy takes `*` in front of a whole domain only.
fn server_name(written: &At<String>) -> Result<String, Problem> {
    let name = written.value.to_ascii_lowercase();
    let rest = name.strip_prefix("*.").unwrap_or(&name);
    if rest.contains('*') {
        return Err(written.invalid_but(
            format!("partial wildcards are not supported in server_names: {:?}", written.value),
            "write a whole name, or *. and a domain",
        ));
    }
    Ok(name)
}

fn transport_protocol(written: Option<&At<String>>) -> Result<TransportProtocol, Problem> {
    match written {
        None => Ok(TransportProtocol::Any),
        Some(name) if name.value.is_empty() => Ok(TransportProtocol::Any),
        Some(name) if name.value == "raw_buffer" => Ok(TransportProtocol::RawBuffer),
        Some(name) if name.value == "tls" => Ok(TransportProtocol::Tls),
        Some(name) => Err(name.invalid_but(
            format!("no connection has the transport protocol {:?}", name.value),
            "write tls or raw_buffer, or leave it out",
        )),
    }
}

/// The filter at the end of a chain, with those in front of it.
fn terminal(
    mut chain: At<Written>,
    listener: &str,
    clusters: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<Configured, Problem> {
    let mut filters = std::mem::take(&mut chain.value.filters).into_iter();
    let mut gates = Vec::new();
    let mut last = None;
    while let Some(filter) = filters.next() {
        let config = filter.value.typed_config;
        let filter_or_end = match config.value {
            NetworkFilter::ConnectionLimit(limit) => Err(network_filter::connection_limit(limit, notes)?),
            NetworkFilter::RateLimit(limit) => Err(network_filter::rate_limit(limit, notes)?),
            NetworkFilter::Rbac(rbac) => Err(network_filter::rbac(&rbac)?),
            NetworkFilter::SetFilterState(written) => {
                Err(Gate::SetFilterState(filter_state::entries(&written.on_new_connection)?.into()))
            }
            NetworkFilter::HttpConnectionManager(manager) => {
                let mut manager = connection_manager::connection_manager(*manager, &config.place, clusters, notes)?;
                manager.resolve(&|operator| said_of_chain(operator, &chain.value, listener));
                manager.gates = std::mem::take(&mut gates);
                Ok(Terminal::Http(Arc::new(manager)))
            }
            NetworkFilter::TcpProxy(proxy) => {
                let mut proxy = tcp_proxy::tcp_proxy(*proxy, &config.place, clusters, notes)?;
                proxy.resolve(&|operator| said_of_chain(operator, &chain.value, listener));
                proxy.gates = std::mem::take(&mut gates);
                Ok(Terminal::Tcp(Arc::new(proxy)))
            }
        };
        let terminal = match filter_or_end {
            Ok(terminal) => terminal,
            Err(gate) => {
                gates.push(gate);
                last = Some((filter.value.name, config.place));
                continue;
            }
        };
        return match filters.next() {
            None => Ok(terminal),
            Some(second) => {
                let name = &*filter.value.name;
                let what = format!("terminal filter named {name} must be the last filter in a network filter chain");
                Err(second.invalid(what))
            }
        };
    }
    if let Some((name, place)) = last {
        let what = format!("non-terminal filter named {} is the last filter in a network filter chain", &*name);
        return Err(Problem::invalid(&place, what));
    }
    notes.note(&chain.place, "has no filters: as in Envoy, each connection that it takes is closed at once");
    Ok(Terminal::Nothing)
}

/// What an operator of a format says of the chain and the listener.
fn said_of_chain(operator: &Operator, chain: &Written, listener: &str) -> Option<String> {
    match operator {
        operator if *operator == Operator::FilterChainName => Some(chain.name.clone().unwrap_or_default()),
        operator => (*operator == Operator::ListenerName).then(|| listener.to_owned()),
    }
}
