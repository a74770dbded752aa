//! Distributed tracing, as written.

use std::rc::Rc;

use serde::{Deserialize, Deserializer};

use super::ext_authz::HttpUri;
use super::grpc_service::CoreGrpcService;
use super::{FractionalPercent, Percent};
use crate::config::constraints::{HeaderName, HeaderText, NonEmpty};
use crate::config::yaml::At;

/// `envoy.config.trace.v3.Tracing`: what connection managers do that name no provider of their own.
#[derive(Debug, Deserialize)]
pub(crate) struct Tracing {
    pub(crate) http: Option<Provider>,
}

/// `envoy.config.trace.v3.Tracing.Http`
#[derive(Debug, Deserialize)]
pub(crate) struct TracingHttp {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: TracerConfig,
}

/// A provider, which connection managers may share.
#[derive(Clone, Debug)]
pub(crate) struct Provider(pub(crate) Rc<TracingHttp>);

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TracingHttp::deserialize(deserializer).map(|provider| Self(Rc::new(provider)))
    }
}

/// The tracers there are.
#[derive(Debug, Deserialize)]
pub(crate) enum TracerConfig {
    #[serde(rename = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig")]
    OpenTelemetry(Box<At<OpenTelemetryConfig>>),
    #[serde(rename = "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig")]
    Zipkin(Box<At<ZipkinConfig>>),
}

/// `envoy.config.trace.v3.OpenTelemetryConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct OpenTelemetryConfig {
    pub(crate) grpc_service: Option<At<CoreGrpcService>>,
    pub(crate) http_service: Option<At<HttpService>>,
    #[serde(default)]
    pub(crate) service_name: String,
}

/// `envoy.config.core.v3.HttpService`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpService {
    pub(crate) http_uri: HttpUri,
}

/// `envoy.config.trace.v3.ZipkinConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ZipkinConfig {
    pub(crate) collector_cluster: Option<At<String>>,
    pub(crate) collector_endpoint: Option<At<String>>,
    pub(crate) collector_endpoint_version: Option<At<CollectorEndpointVersion>>,
    pub(crate) collector_hostname: Option<HeaderText>,
    pub(crate) shared_span_context: Option<bool>,
    #[serde(default)]
    pub(crate) trace_id_128bit: bool,
}

/// `envoy.config.trace.v3.ZipkinConfig.CollectorEndpointVersion`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum CollectorEndpointVersion {
    #[serde(rename = "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE")]
    Deprecated,
    #[serde(rename = "HTTP_JSON")]
    HttpJson,
}

/// `HttpConnectionManager.Tracing`
#[derive(Debug, Deserialize)]
pub(crate) struct HcmTracing {
    pub(crate) client_sampling: Option<Percent>,
    #[serde(default)]
    pub(crate) custom_tags: Vec<At<CustomTag>>,
    pub(crate) max_path_tag_length: Option<u32>,
    pub(crate) overall_sampling: Option<Percent>,
    pub(crate) provider: Option<Provider>,
    pub(crate) random_sampling: Option<Percent>,
    #[serde(default)]
    pub(crate) verbose: bool,
}

/// `envoy.type.tracing.v3.CustomTag`
#[derive(Debug, Deserialize)]
pub(crate) struct CustomTag {
    pub(crate) environment: Option<TagEnvironment>,
    pub(crate) literal: Option<TagLiteral>,
    pub(crate) request_header: Option<TagHeader>,
    pub(crate) tag: NonEmpty,
}

/// `envoy.type.tracing.v3.CustomTag.Literal`
#[derive(Debug, Deserialize)]
pub(crate) struct TagLiteral {
    pub(crate) value: NonEmpty,
}

/// `envoy.type.tracing.v3.CustomTag.Environment`
#[derive(Debug, Deserialize)]
pub(crate) struct TagEnvironment {
    #[serde(default)]
    pub(crate) default_value: String,
    pub(crate) name: NonEmpty,
}

/// `envoy.type.tracing.v3.CustomTag.Header`
#[derive(Debug, Deserialize)]
pub(crate) struct TagHeader {
    #[serde(default)]
    pub(crate) default_value: String,
    pub(crate) name: HeaderName,
}

/// `envoy.config.route.v3.Tracing`
#[derive(Debug, Deserialize)]
pub(crate) struct RouteTracing {
    pub(crate) client_sampling: Option<FractionalPercent>,
    #[serde(default)]
    pub(crate) custom_tags: Vec<At<CustomTag>>,
    pub(crate) overall_sampling: Option<FractionalPercent>,
    pub(crate) random_sampling: Option<FractionalPercent>,
}

/// `envoy.config.route.v3.Decorator`
#[derive(Debug, Deserialize)]
pub(crate) struct Decorator {
    pub(crate) operation: At<HeaderText>,
    pub(crate) propagate: Option<bool>,
}
