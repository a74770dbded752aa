//! What a connection manager means.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::HeaderValue;

use super::access_log::access_log;
use super::address::cidr;
use super::local_reply::local_replies;
use super::{ClusterNames, downstream_http2_options, filter, name_case, pattern, route, tracing, trailer_rule, within};
use crate::config::bootstrap::listener::{
    CodecType as WrittenCodec, ForwardClientCertDetails, HeadersWithUnderscoresAction, HttpConnectionManager,
    InternalAddressConfig, PathWithEscapedSlashesAction, SchemeHeaderTransformation, ServerHeaderTransformation,
    SetCurrentClientCertDetails,
};
use crate::config::bootstrap::route::UpgradeConfig;
use crate::config::client_cert::{ClientCertDetail, ClientCertHeader};
use crate::config::error::Place;
use crate::config::header_names::Underscores;
use crate::config::listener::{
    CodecType, ConnectionManager, EarlyLogs, Http1Options, Http2Options, ManagerTimeouts, NodeNames, RequestIds,
    ServerHeader, ServerTransformation,
};
use crate::config::normalisation::{EscapedSlashes, HostPort, Normalisation, PathForm, Slashes, TrailingDot};
use crate::config::problem::Problem;
use crate::config::route::{Action, PathMatch, Upgrades};
use crate::config::trust::{Cidr, Trust};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

pub(super) fn connection_manager(
    written: HttpConnectionManager,
    place: &Place,
    clusters: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<ConnectionManager, Problem> {
    const HEADERS_MAX: u32 = 100; // Envoy's default, max_headers_count.
    const HEAD_KIB_MAX: u32 = 60; // Envoy's default, max_request_headers_kb.
    let filters = filter::Template::new(&written.http_filters, &written.upgrade_configs, place, notes)?;
    let upgrades = upgrades(&written.upgrade_configs)?;
    let routes = route::table(&written.route_config, clusters, &filters, notes)?;
    note_unreachable_connect(&written, &routes, &upgrades, notes);
    let common = written.common_http_protocol_options.as_ref();
    let headers = common.and_then(|common| common.max_headers_count.as_ref());
    let headers = headers.map_or(Ok(HEADERS_MAX), |count| within(count, 1..=u32::from(u16::MAX)))?;
    let head_kib = written.max_request_headers_kb.as_ref().map_or(Ok(HEAD_KIB_MAX), |kib| within(kib, 1..=8192))?;
    let tracing = tracing::tracing(written.tracing.as_ref(), clusters, notes)?;
    let (trust, server) = (trust(&written)?, server(&written));
    let (normalisation, scheme) = (normalisation(&written)?, scheme(&written)?);
    Ok(ConnectionManager {
        gates: Vec::new(), // the listener knows
        timeouts: timeouts(&written),
        codec: codec(written.codec_type),
        routes: Arc::new(routes),
        upgrades,
        http2: written.http2_protocol_options.as_ref().map_or(Ok(Http2Options::default()), downstream_http2_options)?,
        http1: http1_options(&written)?,
        early_logs: early_logs(&written)?,
        local_replies: local_replies(written.local_reply_config.as_ref(), notes)?,
        access_logs: written.access_log.into_iter().map(|log| access_log(log, notes)).collect::<Result<_, _>>()?,
        server,
        filters: filters.resolve(&[], filter::Forwarding::NotForwarded),
        counted: filters.counted(),
        own_cluster: HeaderValue::from_static(""), // as node_names
        rate_limits: filters.rate_limits(),
        // Both bounds were checked above; a usize has at least 32 bits wherever this runs.
        request_head_bytes_max: usize::try_from(head_kib).unwrap_or(usize::MAX).saturating_mul(1024),
        request_headers_max: usize::try_from(headers).unwrap_or(usize::MAX),
        underscores: underscores(common.and_then(|common| common.headers_with_underscores_action)),
        requests_per_connection_max: common
            .and_then(|common| common.max_requests_per_connection)
            .and_then(NonZeroU32::new),
        proxy_100_continue: written.proxy_100_continue.unwrap_or(false),
        trust,
        normalisation,
        scheme,
        scheme_matches_upstream: matches_upstream(written.scheme_header_transformation.as_ref()),
        client_cert: client_cert(written.forward_client_cert_details, written.set_current_client_cert_details.as_ref()),
        adds_port_header: written.append_x_forwarded_port,
        node_names: written.add_user_agent.unwrap_or(false).then(NodeNames::default), // named once the whole file has been read
        via: written.via.map(|via| via.0).filter(|via| !via.is_empty()),
        request_ids: RequestIds {
            generate: written.generate_request_id.unwrap_or(true),
            keep_external: written.preserve_external_request_id.unwrap_or(false),
            in_response: written.always_set_request_id_in_response.unwrap_or(false),
        },
        tracing,
        stat_prefix: written.stat_prefix.to_string(),
    })
}

fn server(written: &HttpConnectionManager) -> ServerHeader {
    let name = written.server_name.as_ref().filter(|name| !name.0.is_empty());
    ServerHeader {
        name: name.map_or_else(|| HeaderValue::from_static("envoy"), |name| name.0.clone()),
        transformation: match written.server_header_transformation {
            None | Some(ServerHeaderTransformation::Overwrite) => ServerTransformation::Overwrite,
            Some(ServerHeaderTransformation::AppendIfAbsent) => ServerTransformation::AppendIfAbsent,
            Some(ServerHeaderTransformation::PassThrough) => ServerTransformation::PassThrough,
        },
    }
}

fn client_cert(
    written: Option<ForwardClientCertDetails>,
    details: Option<&SetCurrentClientCertDetails>,
) -> ClientCertHeader {
    let chosen = details.map(|details| {
        [
            (details.cert.unwrap_or(false), ClientCertDetail::Certificate),
            (details.chain.unwrap_or(false), ClientCertDetail::Chain),
            (details.subject.unwrap_or(false), ClientCertDetail::Subject),
            (details.uri.unwrap_or(false), ClientCertDetail::Uris),
            (details.dns.unwrap_or(false), ClientCertDetail::DnsNames),
        ]
    });
    let chosen = chosen.into_iter().flatten().filter(|(is_chosen, _)| *is_chosen).map(|(_, detail)| detail).collect();
    match written {
        None | Some(ForwardClientCertDetails::Sanitize) => ClientCertHeader::Sanitize,
        Some(ForwardClientCertDetails::AlwaysForwardOnly) => ClientCertHeader::AlwaysForward,
        Some(ForwardClientCertDetails::AppendForward) => ClientCertHeader::Append(chosen),
        Some(ForwardClientCertDetails::ForwardOnly) => ClientCertHeader::Forward,
        Some(ForwardClientCertDetails::SanitizeSet) => ClientCertHeader::Set(chosen),
    }
}

fn underscores(written: Option<HeadersWithUnderscoresAction>) -> Underscores {
    match written {
        None | Some(HeadersWithUnderscoresAction::Allow) => Underscores::Allowed,
        Some(HeadersWithUnderscoresAction::DropHeader) => Underscores::Dropped,
        Some(HeadersWithUnderscoresAction::RejectRequest) => Underscores::Refused,
    }
}

fn normalisation(written: &HttpConnectionManager) -> Result<Normalisation, Problem> {
    use PathWithEscapedSlashesAction as Action;
    let port = match (written.strip_any_host_port, &written.strip_matching_host_port) {
        (true, Some(both)) if both.value => {
            return Err(both
                .invalid("a host loses its port always or if it is the listener's: write strip_any_host_port alone"));
        }
        (true, _) => HostPort::Stripped,
        (false, Some(matching)) if matching.value => HostPort::StrippedIfOurs,
        (false, _) => HostPort::Kept,
    };
    Ok(Normalisation {
        escaped_slashes: match written.path_with_escaped_slashes_action {
            None | Some(Action::ImplementationSpecificDefault | Action::KeepUnchanged) => EscapedSlashes::Kept,
            Some(Action::RejectRequest) => EscapedSlashes::Refused,
            Some(Action::UnescapeAndForward) => EscapedSlashes::Unescaped,
            Some(Action::UnescapeAndRedirect) => EscapedSlashes::Redirected,
        },
        path: if written.normalize_path { PathForm::Normalised } else { PathForm::AsReceived },
        slashes: if written.merge_slashes { Slashes::Merged } else { Slashes::Kept },
        port,
        trailing_dot: if written.strip_trailing_host_dot { TrailingDot::Stripped } else { TrailingDot::Kept },
    })
}

/// `match_upstream`
fn matches_upstream(written: Option<&SchemeHeaderTransformation>) -> bool {
    written.is_some_and(|written| written.match_upstream)
}

/// The scheme that requests get.
fn scheme(written: &HttpConnectionManager) -> Result<Option<HeaderValue>, Problem> {
    let written = written.scheme_header_transformation.as_ref();
    let Some(scheme) = written.and_then(|written| written.scheme_to_overwrite.as_ref()) else { return Ok(None) };
    match scheme.value.as_str() {
        "http" => Ok(Some(HeaderValue::from_static("http"))),
        "https" => Ok(Some(HeaderValue::from_static("https"))),
        other => Err(scheme.invalid(format!("{other:?} is neither http nor https"))),
    }
}

fn http1_options(written: &HttpConnectionManager) -> Result<Http1Options, Problem> {
    let options = written.http_protocol_options.as_ref();
    let host = options.and_then(|options| options.default_host_for_http_10.as_ref());
    let host = host.filter(|host| !host.value.is_empty());
    if let Some(host) = host.filter(|host| !host.value.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(host.invalid("a host has neither blanks nor control characters"));
    }
    let ignored = options.map_or(&[][..], |options| &options.ignore_http_11_upgrade);
    Ok(Http1Options {
        accept_http_10: options.is_some_and(|options| options.accept_http_10),
        allow_custom_methods: options.is_some_and(|options| options.allow_custom_methods),
        ignore_http_11_upgrade: ignored.iter().map(pattern::string_match).collect::<Result<_, _>>()?,
        default_host_for_http_10: host.map(|host| host.value.clone()),
        trailers: trailer_rule(options.is_some_and(|options| options.enable_trailers)),
        name_case: name_case(options.and_then(|options| options.header_key_format.as_ref()))?,
        safe_max_connection_duration: written.http1_safe_max_connection_duration.unwrap_or(false),
    })
}

/// On which occasions a line is written before the end of a stream.
fn early_logs(written: &HttpConnectionManager) -> Result<EarlyLogs, Problem> {
    let options = written.access_log_options.as_ref();
    let older = written.flush_access_log_on_new_request.as_ref();
    let older_interval = written.access_log_flush_interval.as_ref();
    if options.is_some() {
        let begin = older.filter(|older| older.value).map(|older| &older.place);
        if let Some(place) = begin.or(older_interval.map(|interval| &interval.place)) {
            return Err(Problem::invalid(place, "access_log_options has this field; write it there"));
        }
    }
    let interval = options.map_or(older_interval.map(|interval| interval.value), |it| it.access_log_flush_interval);
    Ok(EarlyLogs {
        at_begin: options
            .map_or_else(|| older.is_some_and(|older| older.value), |options| options.flush_access_log_on_new_request),
        at_tunnel: options.is_some_and(|options| options.flush_log_on_tunnel_successfully_established),
        every: interval.map(|interval| interval.0),
    })
}

fn timeouts(written: &HttpConnectionManager) -> ManagerTimeouts {
    let default = ManagerTimeouts::default();
    let common = written.common_http_protocol_options.as_ref();
    let idle = common.and_then(|common| common.idle_timeout);
    ManagerTimeouts {
        idle: idle.map_or(default.idle, Seconds::unless_zero),
        connection: common.and_then(|common| common.max_connection_duration).and_then(Seconds::unless_zero),
        stream: common.and_then(|common| common.max_stream_duration).and_then(Seconds::unless_zero),
        stream_idle: written.stream_idle_timeout.map_or(default.stream_idle, Seconds::unless_zero),
        stream_flush: written.stream_flush_timeout.map(Seconds::unless_zero),
        request: written.request_timeout.map_or(default.request, Seconds::unless_zero),
        request_headers: written.request_headers_timeout.map_or(default.request_headers, Seconds::unless_zero),
        delayed_close: written.delayed_close_timeout.map_or(default.delayed_close, |timeout| timeout.0),
        drain: written.drain_timeout.map_or(default.drain, |timeout| timeout.0),
    }
}

/// What is believed of what a request says of its sender.
fn trust(written: &HttpConnectionManager) -> Result<Trust, Problem> {
    let internal = match &written.internal_address_config {
        None => Vec::new(),
        Some(InternalAddressConfig { cidr_ranges, .. }) if cidr_ranges.is_empty() => Cidr::PRIVATE.to_vec(),
        Some(InternalAddressConfig { cidr_ranges, .. }) => cidr_ranges.iter().map(cidr).collect::<Result<_, _>>()?,
    };
    Ok(Trust {
        use_remote_address: written.use_remote_address.unwrap_or(false),
        trusted_hops: written.xff_num_trusted_hops.unwrap_or(0),
        skip_append: written.skip_xff_append.unwrap_or(false),
        internal,
    })
}

fn codec(written: Option<WrittenCodec>) -> CodecType {
    match written {
        None | Some(WrittenCodec::Auto) => CodecType::Auto,
        Some(WrittenCodec::Http1) => CodecType::Http1,
        Some(WrittenCodec::Http2) => CodecType::Http2,
    }
}

/// The connection manager's upgrades.
fn upgrades(written: &[At<UpgradeConfig>]) -> Result<Upgrades, Problem> {
    route::upgrades_of(written, |UpgradeConfig { upgrade_type: name, connect_config, .. }, known| {
        if let Some(connect) = connect_config {
            return Err(connect.invalid("a connection manager has no connect_config; write it in the route"));
        }
        match known {
            true => Err(name.invalid(format!("multiple upgrade configs with the same name: '{}'", &*name.value))),
            false => Ok(()),
        }
    })
}

/// A route for CONNECT responds 403 unless the upgrade is enabled, by the route or by the connection manager.
fn note_unreachable_connect(
    written: &HttpConnectionManager,
    routes: &crate::config::route::RouteTable,
    upgrades: &Upgrades,
    notes: &Notes,
) {
    let enabled = |upgrades: &Upgrades| upgrades.find("connect").map(|upgrade| upgrade.enabled);
    let hosts = routes.virtual_hosts.iter().zip(&written.route_config.value.virtual_hosts);
    for (route, written) in hosts.flat_map(|(host, written)| host.routes.iter().zip(&written.value.routes)) {
        let (PathMatch::Connect, Action::Forward(forward)) = (&route.matches, &route.action) else {
            continue;
        };
        if !enabled(&forward.upgrades).or(enabled(upgrades)).unwrap_or(false) {
            notes.note(
                &written.value.r#match.place,
                "matches CONNECT, but no upgrade_configs enables CONNECT: every such request gets a 403",
            );
        }
    }
}
