//! What access logs mean whose entries a service gets over gRPC.

use std::sync::Arc;
use std::time::Duration;

use super::rate_limit_policy::path;
use super::{metadata, service};
use crate::config::bootstrap::Node;
use crate::config::bootstrap::entry_log::{
    CommonGrpcAccessLogConfig, EntryTag as WrittenTag, HttpGrpcAccessLogConfig, OfCluster, OfHost, OfRequest, OfRoute,
    TagMetadata, TagMetadataKind, TcpGrpcAccessLogConfig,
};
use crate::config::bootstrap::tracing::{TagEnvironment, TagHeader, TagLiteral};
use crate::config::constraints::HeaderName;
use crate::config::entry_log::{
    CallRetries, EntryExtras, EntryHeaders, EntryKind, EntryLog, EntryService, EntryTag, NodeIdentity, NodeLocality,
};
use crate::config::log_format::{Format, Operator, Piece};
use crate::config::metadata::MetadataOwner;
use crate::config::problem::Problem;
use crate::config::retry::RetryPolicy;
use crate::config::yaml::{At, Notes};

/// `buffer_flush_interval`, as Envoy has it by default.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// `buffer_size_bytes`, the same.
const BUFFER_BYTES: u32 = 16_384;
/// What `grpc_stream_retry_policy` is about, whatever it says.
const RETRY_ON: &str = "connect-failure";

pub(super) fn http(written: &HttpGrpcAccessLogConfig, notes: &Notes) -> Result<EntryLog, Problem> {
    let names = |names: &[HeaderName]| names.iter().map(|name| name.to_string()).collect();
    let headers = EntryHeaders {
        request: names(&written.additional_request_headers_to_log),
        response: names(&written.additional_response_headers_to_log),
        trailers: names(&written.additional_response_trailers_to_log),
    };
    Ok(EntryLog { headers: Arc::new(headers), ..log(EntryKind::Http, &written.common_config, notes)? })
}

pub(super) fn tcp(written: &TcpGrpcAccessLogConfig, notes: &Notes) -> Result<EntryLog, Problem> {
    log(EntryKind::Tcp, &written.common_config, notes)
}

fn log(kind: EntryKind, written: &CommonGrpcAccessLogConfig, notes: &Notes) -> Result<EntryLog, Problem> {
    let at = &written.grpc_service;
    if at.value.timeout.is_some() {
        notes.note(&at.place, "timeout has no effect here: entries go as long as there are some");
    }
    let service = service::grpc(at, Duration::ZERO, notes)?;
    let retry = match &written.grpc_stream_retry_policy {
        Some(policy) => Some(service::policy(policy, Some(RETRY_ON), notes)?),
        None => service.to.retry.clone(),
    };
    let bytes = written.buffer_size_bytes.unwrap_or(BUFFER_BYTES);
    let to = EntryService {
        log_name: written.log_name.to_string(),
        cluster: service.to.cluster.clone(),
        authority: service.authority,
        headers: service.edits,
        retry: retry.map(retries),
        flush_interval: written.buffer_flush_interval.map_or(FLUSH_INTERVAL, |interval| interval.0),
        // A usize has at least 32 bits wherever this runs.
        buffer_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
    };
    let extras = EntryExtras {
        state: written.filter_state_objects_to_log.clone(),
        tags: written.custom_tags.iter().map(tag).collect::<Result<_, _>>()?,
    };
    Ok(EntryLog { kind, to: Arc::new(to), headers: Arc::default(), extras: Arc::new(extras) })
}

fn retries(policy: RetryPolicy) -> CallRetries {
    CallRetries { on: policy.on, retries_max: policy.retries_max, back_off: policy.back_off }
}

fn tag(written: &At<WrittenTag>) -> Result<EntryTag, Problem> {
    let WrittenTag { environment, literal, metadata, request_header, tag, value } = &written.value;
    let said = |operator| Format(vec![Piece::Operator(operator, None)]);
    let (value, default) = match (environment, literal, metadata, request_header, value) {
        (Some(TagEnvironment { name, default_value }), None, None, None, None) => {
            (said(Operator::Environment { name: name.to_string(), or: "" }), default_value.clone())
        }
        (None, Some(TagLiteral { value }), None, None, None) => {
            (Format(vec![Piece::Literal(value.to_string())]), String::new())
        }
        (None, None, Some(metadata), None, None) => (said(of_metadata(metadata)?), metadata.default_value.clone()),
        (None, None, None, Some(TagHeader { name, default_value }), None) => {
            (said(Operator::RequestHeader { name: name.to_string(), or: None }), default_value.clone())
        }
        (None, None, None, None, Some(text)) => {
            (Format::parse(&text.value).map_err(|error| text.invalid(error.to_string()))?, String::new())
        }
        _ => {
            return Err(
                written.invalid("takes exactly one of environment, literal, metadata, request_header and value")
            );
        }
    };
    Ok(EntryTag { name: tag.to_string(), value, default })
}

fn of_metadata(written: &TagMetadata) -> Result<Operator, Problem> {
    let path = path(&written.metadata_key)?;
    let TagMetadataKind { cluster, host, request, route } = written.kind.value;
    match (cluster, host, request, route) {
        (Some(OfCluster {}), None, None, None) => Ok(Operator::ConfiguredMetadata { of: MetadataOwner::Cluster, path }),
        (None, Some(OfHost {}), None, None) => Ok(Operator::ConfiguredMetadata { of: MetadataOwner::Host, path }),
        (None, None, Some(OfRequest {}), None) => Ok(Operator::DynamicMetadata(path)),
        (None, None, None, Some(OfRoute {})) => Ok(Operator::RouteMetadata(path)),
        _ => Err(written.kind.invalid("takes exactly one of request, route, cluster and host")),
    }
}

/// What services are told of this process.
pub(super) fn identity(node: Option<&Node>) -> Result<NodeIdentity, Problem> {
    let Some(node) = node else { return Ok(NodeIdentity::default()) };
    let text = |written: Option<&At<String>>| written.map(|written| written.value.clone()).unwrap_or_default();
    let locality = node.locality.as_ref().map(|locality| NodeLocality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    });
    Ok(NodeIdentity {
        id: text(node.id.as_ref()),
        cluster: text(node.cluster.as_ref()),
        metadata: node.metadata.as_ref().map(metadata::members).transpose()?,
        locality,
    })
}
