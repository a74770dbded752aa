//! What entries of requests and of connections have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::{AltName, Certificate, Common, Flags, GrpcMessages, Tls, Unauthorized};
use crate::access_log::format::{Source, end as end_of, tag, text_of, wire_bytes};
use crate::access_log::time::Second;
use crate::access_log::{ResponseFlag, ResponseFlags, StreamInfo};
use crate::config::entry_log::{EntryExtras, EntryTag};
use crate::config::filter_state::{Object, ObjectKind};
use crate::config::log_filter::LogType;
use crate::config::log_format::{ByteKind, End, Hop, Operator, Way};
use crate::config::tls::x509::{self, NameKind};
use crate::net::TlsSession;
use crate::net::tls::subject;
use crate::protobuf::{Address, Any, Metadata, Number, Span, Timestamp, Words, text};

pub(super) fn common(extras: &EntryExtras, source: &Source<'_>, second: &mut Second) -> Common {
    let Source { info, log_type, .. } = *source;
    let address = |of| end_of(of, info).map(Address::from);
    let said = |operator: Operator| text_of(&operator, source).unwrap_or_default();
    let bytes = |hop, way| wire_bytes(hop, ByteKind::Wire, way, info);
    let since =
        |at: Option<tokio::time::Instant>| at.map(|at| Span::from(at.saturating_duration_since(info.times.begin)));
    let is_over = is_over(log_type);
    let end = info.times.end.filter(|_| is_over);
    let (times, is_http) = (&info.times, info.request.is_some() || source.heads.request.is_some());
    let upstream = |at| since(at).filter(|_| is_http);
    Common {
        downstream_remote_address: address(End::Client),
        downstream_local_address: address(End::Local),
        tls_properties: tls(info),
        start_time: Some(Timestamp::of(info.started)),
        time_to_last_rx_byte: since(times.request_end),
        time_to_first_upstream_tx_byte: upstream(times.upstream_ready),
        time_to_last_upstream_tx_byte: upstream(times.upstream_request_end()),
        time_to_first_upstream_rx_byte: upstream(times.upstream_response_begin),
        time_to_last_upstream_rx_byte: upstream(times.upstream_response_end),
        time_to_first_downstream_tx_byte: since(times.response_begin),
        time_to_last_downstream_tx_byte: since(times.response_begin.and(end)),
        upstream_remote_address: address(End::UpstreamHost),
        upstream_local_address: address(End::UpstreamLocal),
        upstream_cluster: info
            .upstream_cluster
            .as_ref()
            .filter(|_| info.upstream_host.is_some())
            .map(|names| names.shown.to_string())
            .unwrap_or_default(),
        response_flags: flags(&info.flags),
        metadata: info.metadata.as_ref().map(|known| Metadata {
            filter_metadata: known.0.iter().map(|(name, values)| (name.clone(), values.into())).collect(),
        }),
        upstream_transport_failure_reason: info.transport_failure.as_deref().unwrap_or_default().to_owned(),
        route_name: info.route_name.as_deref().unwrap_or_default().to_owned(),
        downstream_direct_remote_address: address(End::DirectClient),
        filter_state_objects: objects(&extras.state, info),
        custom_tags: tags(&extras.tags, source, second),
        duration: end.map(|_| Span::from(times.duration())),
        upstream_request_attempt_count: info.attempts,
        connection_termination_details: said(Operator::ConnectionTerminationDetails),
        stream_id: said(Operator::StreamId),
        intermediate_log_entry: !is_over,
        downstream_transport_failure_reason: failure(info).unwrap_or_default(),
        downstream_wire_bytes_sent: bytes(Hop::Downstream, Way::Sent),
        downstream_wire_bytes_received: bytes(Hop::Downstream, Way::Received),
        upstream_wire_bytes_sent: bytes(Hop::Upstream, Way::Sent),
        upstream_wire_bytes_received: bytes(Hop::Upstream, Way::Received),
        access_log_type: number_of(log_type),
    }
}

/// Is it written when the stream is over?
fn is_over(log_type: LogType) -> bool {
    match log_type {
        LogType::DownstreamEnd | LogType::NotSet | LogType::TcpConnectionEnd => true,
        LogType::DownstreamPeriodic
        | LogType::DownstreamStart
        | LogType::DownstreamTunnelSuccessfullyEstablished
        | LogType::TcpConnectionStart
        | LogType::TcpPeriodic
        | LogType::TcpUpstreamConnected => false,
    }
}

/// `envoy.data.accesslog.v3.AccessLogType`
fn number_of(log_type: LogType) -> i32 {
    match log_type {
        LogType::NotSet => 0,
        LogType::TcpUpstreamConnected => 1,
        LogType::TcpPeriodic => 2,
        LogType::TcpConnectionEnd => 3,
        LogType::DownstreamStart => 4,
        LogType::DownstreamPeriodic => 5,
        LogType::DownstreamEnd => 6,
        LogType::DownstreamTunnelSuccessfullyEstablished => 10,
        LogType::TcpConnectionStart => 14,
    }
}

/// Why the TLS of the client failed.
fn failure(info: &StreamInfo) -> Option<String> {
    Some(info.downstream.tls.as_ref()?.failure.get()?.to_string())
}

/// None is no message. Two flags of Envoy have no field there.
fn flags(known: &ResponseFlags) -> Option<Flags> {
    let mut flags = Flags::default();
    for flag in known.iter() {
        match flag {
            ResponseFlag::DC => flags.downstream_connection_termination = true,
            ResponseFlag::DF => flags.dns_resolution_failure = true,
            ResponseFlag::DI => flags.delay_injected = true,
            ResponseFlag::DO | ResponseFlag::UDO => {}
            ResponseFlag::DPE => flags.downstream_protocol_error = true,
            ResponseFlag::DR => flags.downstream_remote_reset = true,
            ResponseFlag::DT => flags.duration_timeout = true,
            ResponseFlag::FI => flags.fault_injected = true,
            ResponseFlag::IH => flags.invalid_envoy_request_headers = true,
            ResponseFlag::LH => flags.failed_local_healthcheck = true,
            ResponseFlag::LR => flags.local_reset = true,
            ResponseFlag::NC => flags.no_cluster_found = true,
            ResponseFlag::NFCF => flags.no_filter_config_found = true,
            ResponseFlag::NR => flags.no_route_found = true,
            ResponseFlag::OM => flags.overload_manager = true,
            ResponseFlag::RFCF => flags.response_from_cache_filter = true,
            ResponseFlag::RL => flags.rate_limited = true,
            ResponseFlag::RLSE => flags.rate_limit_service_error = true,
            ResponseFlag::SI => flags.stream_idle_timeout = true,
            ResponseFlag::UAEX => flags.unauthorized_details = Some(Unauthorized { reason: 1 }),
            ResponseFlag::UC => flags.upstream_connection_termination = true,
            ResponseFlag::UF => flags.upstream_connection_failure = true,
            ResponseFlag::UH => flags.no_healthy_upstream = true,
            ResponseFlag::UMSDR => flags.upstream_max_stream_duration_reached = true,
            ResponseFlag::UO => flags.upstream_overflow = true,
            ResponseFlag::UPE => flags.upstream_protocol_error = true,
            ResponseFlag::UR => flags.upstream_remote_reset = true,
            ResponseFlag::URX => flags.upstream_retry_limit_exceeded = true,
            ResponseFlag::UT => flags.upstream_request_timeout = true,
        }
    }
    (flags != Flags::default()).then_some(flags)
}

/// What is known of the client's TLS, which may be that of a connection that passes through.
fn tls(info: &StreamInfo) -> Option<Tls> {
    let downstream = &info.downstream;
    let ja3 = downstream.fingerprints.as_ref().and_then(|made| made.ja3.as_deref());
    let name = downstream.requested_server_name.as_deref();
    let session = downstream.tls.as_deref().filter(|session| !session.cipher.is_empty());
    if ja3.is_none() && name.is_none() && session.is_none() {
        return None;
    }
    let mut tls = session.map(of_session).unwrap_or_default();
    tls.tls_sni_hostname = name.unwrap_or_default().to_owned();
    tls.ja3_fingerprint = ja3.unwrap_or_default().to_owned();
    Some(tls)
}

fn of_session(session: &TlsSession) -> Tls {
    let uris = |uris: Vec<String>| uris.into_iter().map(|uri| AltName { uri }).collect();
    let own = session.own.as_ref().and_then(|own| own.chain().first());
    let local = own.map(|own| Certificate {
        subject_alt_name: uris(x509::alt_names(own, NameKind::Uri)),
        subject: subject(own).unwrap_or_default(),
        issuer: String::new(),
    });
    let peer = session.peer.as_ref().map(|peer| Certificate {
        subject_alt_name: uris(peer.uris.clone()),
        subject: peer.subject.clone(),
        issuer: peer.issuer.clone(),
    });
    Tls {
        tls_version: match session.version {
            "TLSv1.2" => 3,
            "TLSv1.3" => 4,
            _ => 0,
        },
        tls_cipher_suite: Some(Number { value: session.cipher_number.into() }),
        local_certificate_properties: Some(local.unwrap_or_default()),
        peer_certificate_properties: Some(peer.unwrap_or_default()),
        ..Tls::default()
    }
}

/// The objects under these keys, as far as Envoy has messages for them.
fn objects(keys: &[String], info: &StreamInfo) -> BTreeMap<String, Any> {
    keys.iter().filter_map(|key| Some((key.clone(), object(info.state(key)?)?))).collect()
}

fn object(object: &Object) -> Option<Any> {
    let number = |name: &str, value: u64| Some(Any::of(name, &Number { value }));
    match object.kind {
        ObjectKind::DisableTunneling => number("google.protobuf.BoolValue", u64::from(&*object.text == b"true")),
        ObjectKind::GrpcMessages => {
            let mut counts = object.parts().map(|count| text(count).parse().unwrap_or_default());
            let (requests, responses) = (counts.next().unwrap_or_default(), counts.next().unwrap_or_default());
            let name = "envoy.extensions.filters.http.grpc_stats.v3.FilterObject";
            Some(Any::of(name, &GrpcMessages { requests, responses }))
        }
        ObjectKind::HashableText | ObjectKind::Text => {
            Some(Any::of("google.protobuf.StringValue", &Words { value: text(&object.text) }))
        }
        ObjectKind::IdleTimeout => {
            let millis = object.milliseconds().as_ref().map(Duration::as_millis)?;
            number("google.protobuf.UInt64Value", u64::try_from(millis).ok()?)
        }
        ObjectKind::RateLimitHits => number("google.protobuf.UInt32Value", object.hits()?.into()),
        ObjectKind::ApplicationProtocols
        | ObjectKind::Fields
        | ObjectKind::TlvValues
        | ObjectKind::ServerName
        | ObjectKind::SubjectAltNames
        | ObjectKind::TcpCluster => None,
    }
}

/// Tags with something to say.
fn tags(tags: &[EntryTag], source: &Source<'_>, second: &mut Second) -> BTreeMap<String, String> {
    let value = |written: &EntryTag, second: &mut Second| {
        let made = text(&tag(&written.value, source, second));
        if made.is_empty() { written.default.clone() } else { made }
    };
    let made = tags.iter().map(|tag| (tag.name.clone(), value(tag, second)));
    made.filter(|(_, value)| !value.is_empty()).collect()
}
