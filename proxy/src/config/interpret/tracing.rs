//! What is written of tracing means.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{ClusterNames, basis_points, service};
use crate::config::bootstrap::listener::{Listener, NetworkFilter};
use crate::config::bootstrap::tracing::{
    CollectorEndpointVersion, CustomTag as WrittenTag, Decorator as WrittenDecorator, HcmTracing, OpenTelemetryConfig,
    RouteTracing as WrittenRoute, TagEnvironment, TagHeader, TagLiteral, TracerConfig, Tracing as WrittenTracing,
    ZipkinConfig,
};
use crate::config::bootstrap::{DenominatorType, FractionalPercent, Percent};
use crate::config::cluster::ClusterName;
use crate::config::error::Cause;
use crate::config::problem::Problem;
use crate::config::tracing::{
    CLIENT_ENABLED, Collector, CustomTag, Decorator, GLOBAL_ENABLED, OpenTelemetry, RANDOM_SAMPLING, REQUEST_TIMEOUT,
    RouteTracing, Sampling, Share, Sharing, Side, TagValue, TraceIds, TracedNode, Tracing, Transport, Zipkin,
    flush_interval_ms, min_flush_spans,
};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// `max_path_tag_length`
const PATH_BYTES_MAX: u32 = 256;

/// Connection managers that name no provider have that of the bootstrap.
pub(super) fn fill_in(listeners: &mut [At<Listener>], default: Option<WrittenTracing>) {
    let Some(provider) = default.and_then(|tracing| tracing.http) else { return };
    let chains = listeners.iter_mut().flat_map(|listener| {
        let Listener { filter_chains, default_filter_chain, .. } = &mut listener.value;
        filter_chains.iter_mut().chain(default_filter_chain)
    });
    for filter in chains.flat_map(|chain| &mut chain.value.filters) {
        if let NetworkFilter::HttpConnectionManager(manager) = &mut filter.value.typed_config.value
            && let Some(tracing) = &mut manager.tracing
        {
            tracing.provider.get_or_insert_with(|| provider.clone());
        }
    }
}

/// What a connection manager does. Without a provider there is no tracing, as in Envoy.
pub(super) fn tracing(
    written: Option<&HcmTracing>,
    clusters: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<Option<Tracing>, Problem> {
    let Some(written) = written else { return Ok(None) };
    let tags = tags(&written.custom_tags)?;
    let Some(provider) = written.provider.as_ref() else { return Ok(None) };
    let collector = match &provider.0.typed_config {
        TracerConfig::OpenTelemetry(written) => Collector::OpenTelemetry(open_telemetry(written, clusters, notes)?),
        TracerConfig::Zipkin(written) => Collector::Zipkin(zipkin(written, clusters)?),
    };
    let keys = [CLIENT_ENABLED, RANDOM_SAMPLING, GLOBAL_ENABLED, REQUEST_TIMEOUT];
    keys.into_iter().for_each(|key| notes.reads(key));
    [flush_interval_ms(collector.name()), min_flush_spans(collector.name())].iter().for_each(|key| notes.reads(key));
    Ok(Some(Tracing {
        collector: Arc::new(collector),
        sampling: Sampling {
            client: whole_percent(written.client_sampling.as_ref()),
            // Envoy draws this one in hundredths of a percent.
            random: Share {
                numerator: written.random_sampling.as_ref().map_or(10_000, |percent| basis_points(percent.value.0)),
                denominator: 10_000,
            },
            overall: whole_percent(written.overall_sampling.as_ref()),
        },
        tags,
        path_bytes_max: usize::try_from(written.max_path_tag_length.unwrap_or(PATH_BYTES_MAX)).unwrap_or(usize::MAX),
        has_times: written.verbose,
        // The listener and the node are known later.
        side: Side::default(),
        node: TracedNode::default(),
    }))
}

fn whole_percent(written: Option<&Percent>) -> Share {
    let numerator = written.map_or(100, |percent| basis_points(percent.value.0) / 100);
    Share { numerator, denominator: 100 }
}

fn open_telemetry(
    written: &At<OpenTelemetryConfig>,
    clusters: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<OpenTelemetry, Problem> {
    const UNNAMED: &str = "unknown_service:envoy"; // Envoy's
    let OpenTelemetryConfig { grpc_service, http_service, service_name } = &written.value;
    let (cluster, transport, timeout, place) = match (grpc_service, http_service) {
        (Some(grpc), None) => {
            if let Some(first) = grpc.value.initial_metadata.first() {
                return Err(first.invalid("reports have no headers of the configuration"));
            }
            let service = service::grpc(grpc, Duration::ZERO, notes)?;
            let timeout = grpc.value.timeout.and_then(Seconds::unless_zero);
            (service.to.cluster.clone(), Transport::Grpc { authority: service.authority }, timeout, &grpc.place)
        }
        (None, Some(http)) => {
            let uri = &http.value.http_uri;
            let (authority, path) = authority_and_path(&uri.uri.value, &uri.cluster);
            let transport = match (HeaderValue::from_str(authority), HeaderValue::from_str(path)) {
                (Ok(authority), Ok(path)) => Transport::Http { authority, path },
                _ => return Err(http.invalid("http_uri.uri is not the address of a collector")),
            };
            (ClusterName::from(&*uri.cluster), transport, uri.timeout.unless_zero(), &http.place)
        }
        // Envoy sends no spans then.
        (None, None) => return Err(written.problem(Cause::Missing { field: "grpc_service" })),
        (Some(_), Some(http)) => {
            return Err(http.invalid(
                "OpenTelemetry Tracer cannot have both gRPC and HTTP exporters configured. OpenTelemetry tracer will be disabled.",
            ));
        }
    };
    if !clusters.has(&cluster) {
        return Err(Problem::invalid(place, format!("envoy.tracers.opentelemetry: unknown cluster '{cluster}'")));
    }
    let service = if service_name.is_empty() { UNNAMED.to_owned() } else { service_name.clone() };
    Ok(OpenTelemetry { cluster, service, transport, timeout })
}

/// Of `http://host/path`; without a host it is the name of the cluster.
fn authority_and_path<'w>(uri: &'w str, cluster: &'w str) -> (&'w str, &'w str) {
    let Some((_, rest)) = uri.split_once("://") else { return (cluster, uri) };
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

fn zipkin(written: &At<ZipkinConfig>, clusters: &ClusterNames<'_>) -> Result<Zipkin, Problem> {
    let ZipkinConfig { collector_cluster, collector_endpoint, collector_hostname, .. } = &written.value;
    let missing = |field| written.problem(Cause::Missing { field });
    let cluster = collector_cluster.as_ref().filter(|name| !name.value.is_empty());
    let cluster = cluster.ok_or_else(|| missing("collector_cluster"))?;
    let endpoint = collector_endpoint.as_ref().filter(|path| !path.value.is_empty());
    let endpoint = endpoint.ok_or_else(|| missing("collector_endpoint"))?;
    if !clusters.has(&cluster.value) {
        return Err(cluster.invalid(format!("envoy.tracers.zipkin: unknown cluster '{}'", cluster.value)));
    }
    if let Some(version) = &written.value.collector_endpoint_version
        && version.value == CollectorEndpointVersion::Deprecated
    {
        return Err(version.invalid_but("there is no version 1 of the collector's interface", "write HTTP_JSON"));
    }
    let path = HeaderValue::from_str(&endpoint.value).ok().filter(|path| path.as_bytes().starts_with(b"/"));
    let host = match collector_hostname.as_ref().filter(|host| !host.0.is_empty()) {
        Some(host) => host.0.clone(),
        None => HeaderValue::from_str(&cluster.value)
            .map_err(|_| cluster.invalid("cannot be the host of requests; write collector_hostname"))?,
    };
    Ok(Zipkin {
        cluster: (&*cluster.value).into(),
        path: path.ok_or_else(|| endpoint.invalid("is not a path; write one that begins with /"))?,
        host,
        trace_ids: if written.value.trace_id_128bit { TraceIds::Long } else { TraceIds::Short },
        sharing: match written.value.shared_span_context {
            None | Some(true) => Sharing::Shared,
            Some(false) => Sharing::Separate,
        },
    })
}

fn tags(written: &[At<WrittenTag>]) -> Result<Vec<CustomTag>, Problem> {
    written.iter().map(tag).collect()
}

fn tag(written: &At<WrittenTag>) -> Result<CustomTag, Problem> {
    let WrittenTag { environment, literal, request_header, tag } = &written.value;
    let value = match (environment, literal, request_header) {
        (Some(TagEnvironment { name, default_value }), None, None) => {
            TagValue::Environment { name: name.to_string(), default: default_value.clone() }
        }
        (None, Some(TagLiteral { value }), None) => TagValue::Literal(value.to_string()),
        (None, None, Some(TagHeader { name, default_value })) => {
            let name = name.parse().map_err(|_| written.invalid("is not the name of a header"))?;
            TagValue::Header { name, default: default_value.clone() }
        }
        _ => return Err(written.invalid("takes exactly one of environment, literal and request_header")),
    };
    Ok(CustomTag { name: tag.to_string(), value })
}

/// What a route says.
pub(super) fn of_route(
    written: Option<&WrittenRoute>,
    decorator: Option<&WrittenDecorator>,
) -> Result<Option<Arc<RouteTracing>>, Problem> {
    if written.is_none() && decorator.is_none() {
        return Ok(None);
    }
    let sampling = written.map(|written| Sampling {
        client: share(written.client_sampling.as_ref()),
        random: share(written.random_sampling.as_ref()),
        overall: share(written.overall_sampling.as_ref()),
    });
    let decorator = decorator.map(|written| match written.operation.value.0.is_empty() {
        true => Err(written.operation.invalid("must not be empty")),
        false => Ok(Decorator {
            operation: written.operation.value.0.clone(),
            propagates: written.propagate.unwrap_or(true),
        }),
    });
    Ok(Some(Arc::new(RouteTracing {
        sampling,
        tags: written.map_or(Ok(Vec::new()), |written| tags(&written.custom_tags))?,
        decorator: decorator.transpose()?,
    })))
}

fn share(written: Option<&FractionalPercent>) -> Share {
    let Some(written) = written else { return Share::ALL };
    let denominator = match written.denominator {
        None | Some(DenominatorType::Hundred) => 100,
        Some(DenominatorType::TenThousand) => 10_000,
        Some(DenominatorType::Million) => 1_000_000,
    };
    Share { numerator: written.numerator, denominator }
}
