//! Envoy's extensions that finwait has not: what each is, what it is called, which messages configure it, and what to do
//! without it.
//!
//! A file names an extension by the `@type` of its configuration; the name beside it is free text. What a standard build of
//! Envoy 1.40 lists is here, and of its contrib extensions those of other protocols.

use super::{EXTENSION, LOAD_BALANCING, METADATA, NO_FILTER, RATE_LIMIT, TLS, TYPE_URL};
use crate::config::error::{Cause, Name};
use Kind::{
    AccessLogger, Bootstrap, ClusterType, Formatter, HealthChecker, HttpFilter, ListenerFilter, LoadBalancer,
    LogFilter, NetworkFilter, ResourceMonitor, StatsSink, Tracer, TransportSocket, UdpFilter,
};

/// What an extension extends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    AccessLogger,
    Bootstrap,
    ClusterType,
    Formatter,
    HealthChecker,
    HttpFilter,
    ListenerFilter,
    LoadBalancer,
    LogFilter,
    NetworkFilter,
    ResourceMonitor,
    StatsSink,
    Tracer,
    TransportSocket,
    UdpFilter,
}

impl Kind {
    /// In an operator's words.
    fn words(self) -> &'static str {
        match self {
            AccessLogger => "access logger",
            Bootstrap => "bootstrap extension",
            ClusterType => "cluster type",
            Formatter => "formatter",
            HealthChecker => "health checker",
            HttpFilter => "HTTP filter",
            ListenerFilter => "listener filter",
            LoadBalancer => "load balancing policy",
            LogFilter => "access log filter",
            NetworkFilter => "network filter",
            ResourceMonitor => "resource monitor",
            StatsSink => "stats sink",
            Tracer => "tracer",
            TransportSocket => "transport socket",
            UdpFilter => "UDP filter",
        }
    }
}

/// An extension: kind, name, `@type`s of its messages, and what to do without it.
type Extension = (Kind, &'static str, &'static [&'static str], &'static str);

/// Why a message of the type `url` is refused, if it configures an extension that is not there.
pub(in crate::config) fn refusal(url: &str) -> Option<Cause> {
    let of_url = url.strip_prefix(TYPE_URL)?;
    let of_url = of_url.strip_prefix("envoy.extensions.").unwrap_or(of_url);
    EXTENSIONS.iter().find(|(_, _, types, _)| types.contains(&of_url)).map(cause)
}

/// The same for an extension that is only named.
pub(in crate::config) fn refusal_by_name(name: &str) -> Option<Cause> {
    EXTENSIONS.iter().find(|(_, known, ..)| *known == name).map(cause)
}

fn cause((kind, name, _, reason): &Extension) -> Cause {
    Cause::Unsupported { name: Name::Extension { kind: kind.words(), name }, reason }
}

// What to do without one, where several share it.
const AUTHENTICATION: &str =
    "clients are authenticated by certificates, jwt_authn, basic_auth and ext_authz; use one of them";
const AUTHORISATION: &str = "requests are not authorised; do it in front of finwait or in the application";
const CACHE: &str = "nothing is stored here; serve it from an application behind a cluster";
const CHECKS: &str = "checks speak HTTP/1.1 or plain TCP; write http_health_check or tcp_health_check";
const CLUSTER_TYPE: &str = "endpoints come from the file or from DNS; write type: STATIC, STRICT_DNS or LOGICAL_DNS";
const CODE: &str = "no foreign code runs here; write what it does as routes and header edits, or in the application";
const FORMATTER: &str = "its operators are not there; the built-in ones are";
const FORWARD_PROXY: &str = "no host is looked up because a request names it; write a cluster for each host";
const LIMITS: &str = "limits do not adapt; write circuit_breakers, a retry budget and outlier_detection in the cluster";
const LISTENER_FILTER: &str =
    "of the listener filters there are http_inspector, original_dst, proxy_protocol and tls_inspector";
const LOGGER: &str = "lines are written to a file, stdout or stderr, and entries go to a service (http_grpc, tcp_grpc)";
const LOG_FILTER: &str = "there are no expressions; write status_code_filter, header_filter and the like";
const OVERLOAD: &str =
    "there are no overload actions; every buffer, queue and number of connections has a limit of its own";
const PROTOCOL: &str =
    "HTTP is understood, and TCP passed on as it is; end the filter chain in an HttpConnectionManager or a TcpProxy";
const SINK: &str = "stats are read from the admin interface; point a scraper at /stats/prometheus";
const TCP: &str = "no network filter answers by itself; write a TcpProxy whose cluster is an application that does";
const TRACING: &str = "the tracers are envoy.tracers.opentelemetry and envoy.tracers.zipkin; without one x-request-id and trace headers are passed on";
const TRANSLATION: &str = "gRPC is passed on, and translated from gRPC-Web alone";
const UDP: &str = "there is no UDP and no QUIC";

#[rustfmt::skip]
const EXTENSIONS: &[Extension] = &[
    (HttpFilter, "envoy.extensions.filters.http.dynamic_modules", &["filters.http.dynamic_modules.v3.DynamicModuleFilter", "filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute"], CODE),
    (HttpFilter, "envoy.filters.http.a2a", &["filters.http.a2a.v3.A2a"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.adaptive_concurrency", &["filters.http.adaptive_concurrency.v3.AdaptiveConcurrency"], LIMITS),
    (HttpFilter, "envoy.filters.http.admission_control", &["filters.http.admission_control.v3.AdmissionControl"], LIMITS),
    (HttpFilter, "envoy.filters.http.ai_protocol_manager", &["filters.http.ai_protocol_manager.v3.AiProtocolManager", "filters.http.ai_protocol_manager.v3.AiProtocolManagerPerRoute"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.alternate_protocols_cache", &["filters.http.alternate_protocols_cache.v3.FilterConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.api_key_auth", &["filters.http.api_key_auth.v3.ApiKeyAuth", "filters.http.api_key_auth.v3.ApiKeyAuthPerRoute"], AUTHENTICATION),
    (HttpFilter, "envoy.filters.http.aws_eventstream_parser", &["filters.http.aws_eventstream_parser.v3.AwsEventstreamParser"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.aws_lambda", &["filters.http.aws_lambda.v3.Config", "filters.http.aws_lambda.v3.PerRouteConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.aws_request_signing", &["filters.http.aws_request_signing.v3.AwsRequestSigning", "filters.http.aws_request_signing.v3.AwsRequestSigningPerRoute"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.bandwidth_limit", &["filters.http.bandwidth_limit.v3.BandwidthLimit"], RATE_LIMIT),
    (HttpFilter, "envoy.filters.http.bandwidth_share", &["filters.http.bandwidth_share.v3.BandwidthShare"], RATE_LIMIT),
    (HttpFilter, "envoy.filters.http.body_size_limit", &["filters.http.body_size_limit.v3.BodySizeLimit"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.cache", &["filters.http.cache.v3.CacheConfig"], CACHE),
    (HttpFilter, "envoy.filters.http.cache_v2", &["filters.http.cache_v2.v3.CacheV2Config"], CACHE),
    (HttpFilter, "envoy.filters.http.cdn_loop", &["filters.http.cdn_loop.v3.CdnLoopConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.checksum", &["filters.http.checksum.v3alpha.ChecksumConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.composite", &["filters.http.composite.v3.Composite", "filters.http.composite.v3.CompositePerRoute"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.connect_grpc_bridge", &["filters.http.connect_grpc_bridge.v3.FilterConfig"], TRANSLATION),
    (HttpFilter, "envoy.filters.http.credential_injector", &["filters.http.credential_injector.v3.CredentialInjector"], AUTHENTICATION),
    (HttpFilter, "envoy.filters.http.custom_response", &["filters.http.custom_response.v3.CustomResponse"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.dynamo", &["filters.http.dynamo.v3.Dynamo"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.ext_proc", &["filters.http.ext_proc.v3.ExtProcPerRoute", "filters.http.ext_proc.v3.ExternalProcessor"], CODE),
    (HttpFilter, "envoy.filters.http.file_server", &["filters.http.file_server.v3.FileServerConfig"], CACHE),
    (HttpFilter, "envoy.filters.http.file_system_buffer", &["filters.http.file_system_buffer.v3.FileSystemBufferFilterConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.filter_chain", &["filters.http.filter_chain.v3.FilterChainConfig", "filters.http.filter_chain.v3.FilterChainConfigPerRoute"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.gcp_authn", &["filters.http.gcp_authn.v3.GcpAuthnFilterConfig"], AUTHENTICATION),
    (HttpFilter, "envoy.filters.http.geoip", &["filters.http.geoip.v3.Geoip"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.golang", &["filters.http.golang.v3alpha.Config"], CODE),
    (HttpFilter, "envoy.filters.http.grpc_field_extraction", &["filters.http.grpc_field_extraction.v3.GrpcFieldExtractionConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.grpc_http1_bridge", &["filters.http.grpc_http1_bridge.v3.Config"], TRANSLATION),
    (HttpFilter, "envoy.filters.http.grpc_http1_reverse_bridge", &["filters.http.grpc_http1_reverse_bridge.v3.FilterConfig", "filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute"], TRANSLATION),
    (HttpFilter, "envoy.filters.http.grpc_json_reverse_transcoder", &["filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder"], TRANSLATION),
    (HttpFilter, "envoy.filters.http.grpc_json_transcoder", &["filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"], TRANSLATION),
    (HttpFilter, "envoy.filters.http.ip_tagging", &["filters.http.ip_tagging.v3.IPTagging"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.json_to_metadata", &["filters.http.json_to_metadata.v3.JsonToMetadata"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.mcp", &["filters.http.mcp.v3.Mcp", "filters.http.mcp.v3.McpOverride"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.mcp_json_rest_bridge", &["filters.http.mcp_json_rest_bridge.v3.McpJsonRestBridge", "filters.http.mcp_json_rest_bridge.v3.McpJsonRestBridgePerRoute"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.mcp_router", &["filters.http.mcp_router.v3.McpRouter"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.oauth2", &["filters.http.oauth2.v3.OAuth2", "filters.http.oauth2.v3.OAuth2PerRoute"], AUTHENTICATION),
    (HttpFilter, "envoy.filters.http.on_demand", &["filters.http.on_demand.v3.OnDemand", "filters.http.on_demand.v3.PerRouteConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.original_src", &["filters.http.original_src.v3.OriginalSrc"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.proto_api_scrubber", &["filters.http.proto_api_scrubber.v3.ProtoApiScrubberConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.proto_message_extraction", &["filters.http.proto_message_extraction.v3.ProtoMessageExtractionConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.rate_limit_quota", &["filters.http.rate_limit_quota.v3.RateLimitQuotaFilterConfig", "filters.http.rate_limit_quota.v3.RateLimitQuotaOverride"], RATE_LIMIT),
    (HttpFilter, "envoy.filters.http.squash", &["filters.http.squash.v3.Squash"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.sse_to_metadata", &["filters.http.sse_to_metadata.v3.SseToMetadata"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.stateful_session", &["filters.http.stateful_session.v3.StatefulSession", "filters.http.stateful_session.v3.StatefulSessionPerRoute"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.sxg", &["filters.http.sxg.v3alpha.SXG"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.tap", &["filters.http.tap.v3.Tap"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.thrift_to_metadata", &["filters.http.thrift_to_metadata.v3.ThriftToMetadata"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.transform", &["filters.http.transform.v3.TransformConfig"], NO_FILTER),
    (HttpFilter, "envoy.filters.http.wasm", &["filters.http.wasm.v3.Wasm"], CODE),
    (NetworkFilter, "envoy.filters.network.direct_response", &["filters.network.direct_response.v3.Config"], TCP),
    (NetworkFilter, "envoy.filters.network.dubbo_proxy", &["filters.network.dubbo_proxy.v3.DubboProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.dynamic_modules", &["filters.network.dynamic_modules.v3.DynamicModuleNetworkFilter"], CODE),
    (NetworkFilter, "envoy.filters.network.echo", &["filters.network.echo.v3.Echo"], TCP),
    (NetworkFilter, "envoy.filters.network.ext_authz", &["filters.network.ext_authz.v3.ExtAuthz"], AUTHORISATION),
    (NetworkFilter, "envoy.filters.network.ext_proc", &["filters.network.ext_proc.v3.NetworkExternalProcessor"], CODE),
    (NetworkFilter, "envoy.filters.network.generic_proxy", &["filters.network.generic_proxy.v3.GenericProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.geoip", &["filters.network.geoip.v3.Geoip"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.kafka_broker", &["filters.network.kafka_broker.v3.KafkaBroker"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.kafka_mesh", &["filters.network.kafka_mesh.v3alpha.KafkaMesh"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.mongo_proxy", &["filters.network.mongo_proxy.v3.MongoProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.mysql_proxy", &["filters.network.mysql_proxy.v3.MySQLProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.postgres_proxy", &["filters.network.postgres_proxy.v3alpha.PostgresProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.ratelimit", &["filters.network.ratelimit.v3.RateLimit"], RATE_LIMIT),
    (NetworkFilter, "envoy.filters.network.redis_proxy", &["filters.network.redis_proxy.v3.RedisProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.reverse_tunnel", &["filters.network.reverse_tunnel.v3.ReverseTunnel"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.reverse_tunnel_drain_aware_http_connection_manager", &["filters.network.reverse_tunnel.v3.DrainAwareHttpConnectionManager"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.rocketmq_proxy", &["filters.network.rocketmq_proxy.v3.RocketmqProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.sip_proxy", &["filters.network.sip_proxy.v3alpha.SipProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.sni_cluster", &["filters.network.sni_cluster.v3.SniCluster"], TCP),
    (NetworkFilter, "envoy.filters.network.sni_dynamic_forward_proxy", &["filters.network.sni_dynamic_forward_proxy.v3.FilterConfig"], FORWARD_PROXY),
    (NetworkFilter, "envoy.filters.network.tcp_bandwidth_limit", &["filters.network.tcp_bandwidth_limit.v3.TcpBandwidthLimit"], RATE_LIMIT),
    (NetworkFilter, "envoy.filters.network.thrift_proxy", &["filters.network.thrift_proxy.v3.ThriftProxy"], PROTOCOL),
    (NetworkFilter, "envoy.filters.network.wasm", &["filters.network.wasm.v3.Wasm"], CODE),
    (NetworkFilter, "envoy.filters.network.zookeeper_proxy", &["filters.network.zookeeper_proxy.v3.ZooKeeperProxy"], PROTOCOL),
    (ListenerFilter, "envoy.filters.listener.dynamic_modules", &["filters.listener.dynamic_modules.v3.DynamicModuleListenerFilter"], CODE),
    (ListenerFilter, "envoy.filters.listener.local_ratelimit", &["filters.listener.local_ratelimit.v3.LocalRateLimit"], RATE_LIMIT),
    (ListenerFilter, "envoy.filters.listener.original_src", &["filters.listener.original_src.v3.OriginalSrc"], LISTENER_FILTER),
    (ListenerFilter, "envoy.filters.listener.set_filter_state", &["filters.listener.set_filter_state.v3.Config"], "write the network filter envoy.filters.network.set_filter_state"),
    (UdpFilter, "envoy.filters.udp.dns_filter", &["filters.udp.dns_filter.v3.DnsFilterConfig"], UDP),
    (UdpFilter, "envoy.filters.udp.session.dynamic_forward_proxy", &["filters.udp.udp_proxy.session.dynamic_forward_proxy.v3.FilterConfig"], UDP),
    (UdpFilter, "envoy.filters.udp.session.ext_authz", &["filters.udp.udp_proxy.session.ext_authz.v3.FilterConfig"], UDP),
    (UdpFilter, "envoy.filters.udp.session.http_capsule", &["filters.udp.udp_proxy.session.http_capsule.v3.FilterConfig"], UDP),
    (UdpFilter, "envoy.filters.udp_listener.dynamic_modules", &["filters.udp.dynamic_modules.v3.DynamicModuleUdpListenerFilter"], UDP),
    (UdpFilter, "envoy.filters.udp_listener.udp_proxy", &["filters.udp.udp_proxy.v3.UdpProxyConfig"], UDP),
    (TransportSocket, "envoy.transport_sockets.alts", &["transport_sockets.alts.v3.Alts"], TLS),
    (TransportSocket, "envoy.transport_sockets.dynamic_modules", &["transport_sockets.dynamic_modules.v3.DynamicModuleTransportSocket"], TLS),
    (TransportSocket, "envoy.transport_sockets.http_11_proxy", &["transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport"], TLS),
    (TransportSocket, "envoy.transport_sockets.quic", &["transport_sockets.quic.v3.QuicDownstreamTransport", "transport_sockets.quic.v3.QuicUpstreamTransport"], UDP),
    (TransportSocket, "envoy.transport_sockets.starttls", &["transport_sockets.starttls.v3.StartTlsConfig", "transport_sockets.starttls.v3.UpstreamStartTlsConfig"], TLS),
    (TransportSocket, "envoy.transport_sockets.tap", &["transport_sockets.tap.v3.Tap"], TLS),
    (TransportSocket, "envoy.transport_sockets.tcp_stats", &["transport_sockets.tcp_stats.v3.Config"], TLS),
    (AccessLogger, "envoy.access_loggers.dynamic_modules", &["access_loggers.dynamic_modules.v3.DynamicModuleAccessLog"], CODE),
    (AccessLogger, "envoy.access_loggers.fluentd", &["access_loggers.fluentd.v3.FluentdAccessLogConfig"], LOGGER),
    (AccessLogger, "envoy.access_loggers.open_telemetry", &["access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"], LOGGER),
    (AccessLogger, "envoy.access_loggers.stats", &["access_loggers.stats.v3.Config"], LOGGER),
    (AccessLogger, "envoy.access_loggers.wasm", &["access_loggers.wasm.v3.WasmAccessLog"], CODE),
    (LogFilter, "envoy.access_loggers.extension_filters.cel", &["access_loggers.filters.cel.v3.ExpressionFilter"], LOG_FILTER),
    (LogFilter, "envoy.access_loggers.extension_filters.process_ratelimit", &["access_loggers.filters.process_ratelimit.v3.ProcessRateLimitFilter"], LOG_FILTER),
    (Formatter, "envoy.formatter.cel", &["formatter.cel.v3.Cel"], FORMATTER),
    (Formatter, "envoy.formatter.dynamic_modules", &["formatter.dynamic_modules.v3.DynamicModuleFormatter"], FORMATTER),
    (Formatter, "envoy.formatter.file_content", &["formatter.file_content.v3.FileContent"], FORMATTER),
    (Formatter, "envoy.formatter.generic_secret", &["formatter.generic_secret.v3.GenericSecret"], FORMATTER),
    (Formatter, "envoy.formatter.metadata", &["formatter.metadata.v3.Metadata"], METADATA),
    (Formatter, "envoy.formatter.req_without_query", &["formatter.req_without_query.v3.ReqWithoutQuery"], FORMATTER),
    (Tracer, "envoy.tracers.datadog", &["envoy.config.trace.v3.DatadogConfig"], TRACING),
    (Tracer, "envoy.tracers.dynamic_modules", &["tracers.dynamic_modules.v3.DynamicModuleTracer"], TRACING),
    (Tracer, "envoy.tracers.fluentd", &["tracers.fluentd.v3.FluentdConfig"], TRACING),
    (Tracer, "envoy.tracers.skywalking", &["envoy.config.trace.v3.SkyWalkingConfig"], TRACING),
    (Tracer, "envoy.tracers.xray", &["envoy.config.trace.v3.XRayConfig"], TRACING),
    (StatsSink, "envoy.stat_sinks.dog_statsd", &["envoy.config.metrics.v3.DogStatsdSink"], SINK),
    (StatsSink, "envoy.stat_sinks.dynamic_modules", &["stat_sinks.dynamic_modules.v3.DynamicModuleStatsSink"], SINK),
    (StatsSink, "envoy.stat_sinks.graphite_statsd", &["stat_sinks.graphite_statsd.v3.GraphiteStatsdSink"], SINK),
    (StatsSink, "envoy.stat_sinks.hystrix", &["envoy.config.metrics.v3.HystrixSink"], SINK),
    (StatsSink, "envoy.stat_sinks.metrics_service", &["envoy.config.metrics.v3.MetricsServiceConfig"], SINK),
    (StatsSink, "envoy.stat_sinks.open_telemetry", &["stat_sinks.open_telemetry.v3.SinkConfig"], SINK),
    (StatsSink, "envoy.stat_sinks.statsd", &["envoy.config.metrics.v3.StatsdSink"], SINK),
    (StatsSink, "envoy.stat_sinks.wasm", &["stat_sinks.wasm.v3.Wasm"], SINK),
    (ClusterType, "envoy.cluster.dns", &["clusters.dns.v3.DnsCluster"], CLUSTER_TYPE),
    (ClusterType, "envoy.cluster.original_dst", &["clusters.original_dst.v3.OriginalDstCluster"], CLUSTER_TYPE),
    (ClusterType, "envoy.clusters.composite", &["clusters.composite.v3.ClusterConfig"], CLUSTER_TYPE),
    (ClusterType, "envoy.clusters.dynamic_modules", &["clusters.dynamic_modules.v3.ClusterConfig"], CLUSTER_TYPE),
    (ClusterType, "envoy.clusters.mcp_multicluster", &["clusters.mcp_multicluster.v3.ClusterConfig"], CLUSTER_TYPE),
    (ClusterType, "envoy.clusters.redis", &["clusters.redis.v3.RedisClusterConfig"], CLUSTER_TYPE),
    (ClusterType, "envoy.clusters.reverse_connection", &["clusters.reverse_connection.v3.ReverseConnectionClusterConfig"], CLUSTER_TYPE),
    (LoadBalancer, "envoy.load_balancing_policies.client_side_weighted_round_robin", &["load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"], "load reports of endpoints (ORCA) are not read; write least_request, or round_robin and load_balancing_weight of endpoints"),
    (LoadBalancer, "envoy.load_balancing_policies.cluster_provided", &["load_balancing_policies.cluster_provided.v3.ClusterProvided"], "clusters that choose endpoints by themselves are recognised by their type; write lb_policy: CLUSTER_PROVIDED"),
    (LoadBalancer, "envoy.load_balancing_policies.dynamic_modules", &["load_balancing_policies.dynamic_modules.v3.DynamicModulesLoadBalancerConfig"], LOAD_BALANCING),
    (LoadBalancer, "envoy.load_balancing_policies.load_aware_locality", &["load_balancing_policies.load_aware_locality.v3.LoadAwareLocality"], LOAD_BALANCING),
    (LoadBalancer, "envoy.load_balancing_policies.override_host", &["load_balancing_policies.override_host.v3.OverrideHost"], "a header chooses an endpoint by its address in clusters of type ORIGINAL_DST alone (use_http_header), and by its hash with ring_hash"),
    (LoadBalancer, "envoy.load_balancing_policies.wrr_locality", &["load_balancing_policies.wrr_locality.v3.WrrLocality"], "it needs load reports of endpoints (ORCA), which are not read; write round_robin with locality_lb_config: {locality_weighted_lb_config: {}}"),
    (HealthChecker, "envoy.health_checkers.dynamic_modules", &["health_checkers.dynamic_modules.v3.DynamicModuleHealthCheck"], CHECKS),
    (HealthChecker, "envoy.health_checkers.redis", &["health_checkers.redis.v3.Redis"], CHECKS),
    (HealthChecker, "envoy.health_checkers.thrift", &["health_checkers.thrift.v3.Thrift"], CHECKS),
    (HealthChecker, "envoy.health_checkers.udp", &["health_checkers.udp.v3.UdpHealthCheck"], CHECKS),
    (ResourceMonitor, "envoy.resource_monitors.cgroup_memory", &["resource_monitors.cgroup_memory.v3.CgroupMemoryConfig"], OVERLOAD),
    (ResourceMonitor, "envoy.resource_monitors.cpu_utilization", &["resource_monitors.cpu_utilization.v3.CpuUtilizationConfig"], OVERLOAD),
    (ResourceMonitor, "envoy.resource_monitors.fixed_heap", &["resource_monitors.fixed_heap.v3.FixedHeapConfig"], OVERLOAD),
    (ResourceMonitor, "envoy.resource_monitors.injected_resource", &["resource_monitors.injected_resource.v3.InjectedResourceConfig"], OVERLOAD),
    (Bootstrap, "envoy.bootstrap.dynamic_modules", &["bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension"], CODE),
    (Bootstrap, "envoy.bootstrap.reverse_tunnel.downstream_socket_interface", &["bootstrap.reverse_tunnel.downstream_socket_interface.v3.DownstreamReverseConnectionSocketInterface"], EXTENSION),
    (Bootstrap, "envoy.bootstrap.reverse_tunnel.upstream_socket_interface", &["bootstrap.reverse_tunnel.upstream_socket_interface.v3.UpstreamReverseConnectionSocketInterface"], EXTENSION),
    (Bootstrap, "envoy.bootstrap.wasm", &["wasm.v3.WasmService"], CODE),
    (Bootstrap, "envoy.extensions.network.socket_interface.default_socket_interface", &["network.socket_interface.v3.DefaultSocketInterface"], EXTENSION),
    (Bootstrap, "envoy.extensions.network.socket_interface.sockmap", &["network.socket_interface.sockmap.v3.Sockmap"], EXTENSION),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_of_one_extension_that_is_not_there() {
        let messages = super::super::tests::MESSAGES.concat();
        let all = || EXTENSIONS.iter().flat_map(|(_, name, types, _)| types.iter().map(move |of| (*name, *of)));
        for (nth, (name, of)) in all().enumerate() {
            assert!(!messages.contains(&format!("{TYPE_URL}envoy.extensions.{of}\"")), "{name} is there: {of}");
            assert_eq!(all().skip(nth + 1).find(|(_, other)| *other == of), None, "{name}: {of}");
        }
    }

    #[test]
    fn an_extension_is_called_by_its_name() {
        let url = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        let said = refusal(url).map(|cause| cause.to_string());
        assert!(said.is_some_and(|said| said.starts_with("HTTP filter `envoy.filters.http.wasm` is not supported: ")));
        assert!(refusal("type.googleapis.com/envoy.config.trace.v3.XRayConfig").is_some());
        assert_eq!(refusal("type.googleapis.com/envoy.extensions.nothing.v3.Nothing"), None);
    }
}
