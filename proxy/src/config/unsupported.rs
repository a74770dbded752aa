//! Envoy's fields and values that finwait knows and does not act on, with what happens to a file that uses them.
//!
//! One table, so that a reader can see in one place what is missing, and why. A line says: message, field (or
//! enumeration, value), verdict. A field in neither this table nor [`bootstrap`](super::bootstrap) is an unknown field.

/// What happens to a file with this field or value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It loads, with a warning: the field changes nothing that a client or an upstream could notice.
    Ignored(&'static str),
    /// It is refused, with today's spelling: the field belongs to an earlier API.
    Old(&'static str),
    /// It loads if the field has this value, which says what finwait does anyway; else it is refused.
    Only(&'static str, &'static str),
    /// It is refused: without the field, the proxy would behave otherwise than the file says.
    Refused(&'static str),
}

use Verdict::{Ignored, Old, Only, Refused};

/// What is known about `field` of `message`.
pub(super) fn field(message: &str, field: &str) -> Option<Verdict> {
    FIELDS.iter().find(|(of, name, _)| *of == message && *name == field).map(|(_, _, verdict)| *verdict)
}

/// What is known about `value` of the enumeration `of`, or about the `@type` `value` where an `of` stands.
pub(super) fn value(of: &str, value: &str) -> Option<Verdict> {
    if value.starts_with("type.googleapis.com/envoy.api.v2.")
        || value.starts_with("type.googleapis.com/envoy.config.filter.")
    {
        return Some(Old("the v3 type, which begins with type.googleapis.com/envoy.extensions."));
    }
    let value = value.strip_prefix("type.googleapis.com/envoy.extensions.").unwrap_or(value);
    VALUES.iter().find(|(name, known, _)| *name == of && *known == value).map(|(_, _, verdict)| *verdict)
}

// Reasons that many lines share.
const ACCESS_FILTER: &str = "every stream is logged; filter the log where it is read";
const DYNAMIC: &str = "the configuration is static; there is no xDS";
const EXTENSION: &str = "there is no such extension here";
const FLOOD: &str = "a peer that does not read what it asked for is not read either, so nothing piles up";
const HEADER_EDITS: &str = "headers are not edited";
const HEALTH: &str = "the health of an endpoint is found out by health_checks and outlier_detection";
const LOAD_BALANCING: &str = "endpoints are equal: round robin, least request and random choose among all of them";
const METADATA: &str = "nothing here reads metadata";
const OUTLIER: &str = "ejection goes by failures in a row alone";
const RATE_LIMIT: &str = "there is no rate limiting";
const SOCKET: &str = "sockets are opened with fixed options";
const TLS: &str = "finwait speaks plaintext; TLS has to end in front of it and begin behind it";
const TRACING: &str = "there is no distributed tracing";

// Replacements that several lines share.
const EXTENSION_OPTIONS: &str =
    "typed_extension_protocol_options with envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const TYPED_CONFIG: &str = "typed_config with an @type";

#[rustfmt::skip]
const FIELDS: &[(&str, &str, Verdict)] = &[
    ("Bootstrap", "application_log_config", Refused("diagnostics have one form, on standard error")),
    ("Bootstrap", "bootstrap_extensions", Refused(EXTENSION)),
    ("Bootstrap", "certificate_provider_instances", Refused(TLS)),
    ("Bootstrap", "cluster_manager", Refused("clusters are managed in one fixed way")),
    ("Bootstrap", "config_sources", Refused(DYNAMIC)),
    ("Bootstrap", "default_config_source", Refused(DYNAMIC)),
    ("Bootstrap", "default_regex_engine", Ignored("there is one regular expression engine")),
    ("Bootstrap", "default_socket_interface", Refused(SOCKET)),
    ("Bootstrap", "dns_resolution_config", Refused("names are resolved by the operating system")),
    ("Bootstrap", "dynamic_resources", Refused(DYNAMIC)),
    ("Bootstrap", "enable_dispatcher_stats", Ignored("there are no dispatcher stats")),
    ("Bootstrap", "fatal_actions", Refused(EXTENSION)),
    ("Bootstrap", "flags_path", Ignored("there are no flag files")),
    ("Bootstrap", "grpc_async_client_manager_config", Ignored("there is no gRPC client")),
    ("Bootstrap", "hds_config", Refused(DYNAMIC)),
    ("Bootstrap", "header_prefix", Only("x-envoy", "header names begin with x-envoy")),
    ("Bootstrap", "inline_headers", Ignored("it concerns how Envoy keeps headers in memory")),
    ("Bootstrap", "listener_manager", Refused("listeners are managed in one fixed way")),
    ("Bootstrap", "memory_allocator_manager", Ignored("it concerns Envoy's allocator")),
    ("Bootstrap", "node", Ignored("only a control plane reads it")),
    ("Bootstrap", "node_context_params", Ignored("only a control plane reads it")),
    ("Bootstrap", "overload_manager", Refused("there are no overload actions")),
    ("Bootstrap", "perf_tracing_file_path", Ignored("there is no profiler")),
    ("Bootstrap", "runtime", Old("layered_runtime")),
    ("Bootstrap", "stats_config", Refused("stats have fixed names and no tags")),
    ("Bootstrap", "stats_flush_interval", Ignored("stats are always current")),
    ("Bootstrap", "stats_flush_on_admin", Ignored("stats are always current")),
    ("Bootstrap", "stats_server_version_override", Ignored("there is no server.version stat")),
    ("Bootstrap", "stats_sinks", Refused("stats are read from the admin interface; point a scraper at /stats/prometheus")),
    ("Bootstrap", "tracing", Refused(TRACING)),
    ("Bootstrap", "typed_dns_resolver_config", Refused("names are resolved by the operating system")),
    ("Bootstrap", "use_tcp_for_dns_lookups", Refused("names are resolved by the operating system")),
    ("Bootstrap", "watchdog", Ignored("there is no watchdog")),
    ("Bootstrap", "watchdogs", Ignored("there is no watchdog")),
    ("Bootstrap", "xds_config_tracker_extension", Refused(DYNAMIC)),
    ("Bootstrap", "xds_delegate_extension", Refused(DYNAMIC)),

    ("StaticResources", "secrets", Refused(TLS)),

    ("Admin", "access_log", Ignored("requests to the admin interface are not logged")),
    ("Admin", "access_log_path", Ignored("requests to the admin interface are not logged")),
    ("Admin", "ignore_global_conn_limit", Ignored("admin connections neither count nor are refused")),
    ("Admin", "profile_path", Ignored("there is no profiler")),
    ("Admin", "socket_options", Refused(SOCKET)),

    ("Address", "envoy_internal_address", Refused("there are no internal listeners")),
    ("Address", "pipe", Refused("only TCP sockets are supported")),
    ("SocketAddress", "ipv4_compat", Only("false", "an IPv6 socket takes IPv6 alone")),
    ("SocketAddress", "named_port", Refused("write the number as port_value")),
    ("SocketAddress", "network_namespace_filepath", Refused(SOCKET)),
    ("SocketAddress", "resolver_name", Refused("names are resolved by the operating system")),

    ("Http1ProtocolOptions", "allow_absolute_url", Only("true", "absolute URLs are always accepted, as RFC 9112 3.2.2 demands")),
    ("Http1ProtocolOptions", "allow_chunked_length", Only("false", "a message with both Content-Length and Transfer-Encoding is always refused")),
    ("Http1ProtocolOptions", "enable_trailers", Only("false", "HTTP/1 trailers are dropped")),
    ("Http1ProtocolOptions", "header_key_format", Refused("header names are written in lower case")),
    ("Http1ProtocolOptions", "override_stream_error_on_invalid_http_message", Only("false", "a malformed request ends its connection")),
    ("Http1ProtocolOptions", "send_fully_qualified_url", Only("false", "requests are sent in origin form")),
    ("UpstreamHttp1ProtocolOptions", "accept_http_10", Only("false", "it concerns requests; towards a cluster there are only responses")),
    ("UpstreamHttp1ProtocolOptions", "allow_absolute_url", Only("true", "it concerns requests; towards a cluster there are only responses")),
    ("UpstreamHttp1ProtocolOptions", "allow_chunked_length", Only("false", "a message with both Content-Length and Transfer-Encoding is always refused")),
    ("UpstreamHttp1ProtocolOptions", "allow_custom_methods", Ignored("it concerns requests; towards a cluster there are only responses")),
    ("UpstreamHttp1ProtocolOptions", "enable_trailers", Only("false", "HTTP/1 trailers are dropped")),
    ("UpstreamHttp1ProtocolOptions", "header_key_format", Refused("header names are written in lower case")),
    ("UpstreamHttp1ProtocolOptions", "ignore_http_11_upgrade", Refused("an upgrade that a response names is never taken over")),
    ("UpstreamHttp1ProtocolOptions", "send_fully_qualified_url", Only("false", "requests are sent in origin form")),

    ("Http2ProtocolOptions", "allow_metadata", Only("false", "METADATA frames are not passed on")),
    ("Http2ProtocolOptions", "custom_settings_parameters", Refused("the settings that are sent are fixed")),
    ("Http2ProtocolOptions", "max_metadata_size", Ignored("METADATA frames are not passed on")),
    ("Http2ProtocolOptions", "max_outbound_control_frames", Ignored(FLOOD)),
    ("Http2ProtocolOptions", "max_outbound_frames", Ignored(FLOOD)),
    ("Http2ProtocolOptions", "override_stream_error_on_invalid_http_message", Refused("h2 decides what ends a stream and what ends a connection")),
    ("Http2ProtocolOptions", "stream_error_on_invalid_http_messaging", Refused("h2 decides what ends a stream and what ends a connection")),
    ("Http2ProtocolOptions", "use_oghttp2_codec", Ignored("there is one HTTP/2 codec")),

    ("Listener", "access_log", Refused("streams are logged, connections are not; log in the connection manager")),
    ("Listener", "additional_addresses", Refused("write one listener for each address")),
    ("Listener", "api_listener", Refused(DYNAMIC)),
    ("Listener", "bind_to_port", Only("true", "a listener that does not listen has no use here")),
    ("Listener", "bypass_overload_manager", Ignored("there are no overload actions")),
    ("Listener", "connection_balance_config", Refused("the kernel spreads connections over the workers")),
    ("Listener", "continue_on_listener_filters_timeout", Only("false", "there are no listener filters")),
    ("Listener", "default_filter_chain", Refused("write it as the one entry of filter_chains")),
    ("Listener", "deprecated_v1", Old("bind_to_port")),
    ("Listener", "drain_type", Only("DEFAULT", "every listener drains when the server does")),
    ("Listener", "enable_mptcp", Only("false", SOCKET)),
    ("Listener", "enable_reuse_port", Only("true", "each worker listens on a socket of its own")),
    ("Listener", "fcds_config", Refused(DYNAMIC)),
    ("Listener", "filter_chain_matcher", Refused("a listener has one filter chain")),
    ("Listener", "freebind", Only("false", SOCKET)),
    ("Listener", "internal_listener", Refused("there are no internal listeners")),
    ("Listener", "listener_filters", Refused("there are no listener filters")),
    ("Listener", "listener_filters_timeout", Ignored("there are no listener filters")),
    ("Listener", "max_connections_to_accept_per_socket_event", Ignored("it concerns Envoy's event loop")),
    ("Listener", "metadata", Ignored(METADATA)),
    ("Listener", "reuse_port", Only("true", "each worker listens on a socket of its own")),
    ("Listener", "socket_options", Refused(SOCKET)),
    ("Listener", "stat_prefix", Refused("a listener's stats are named after its address")),
    ("Listener", "tcp_backlog_size", Ignored("the backlog is as long as the kernel permits")),
    ("Listener", "tcp_fast_open_queue_length", Refused(SOCKET)),
    ("Listener", "tls_context", Old("filter_chains[].transport_socket; though connections are plaintext here")),
    ("Listener", "transparent", Only("false", SOCKET)),
    ("Listener", "udp_listener_config", Refused("there is no UDP and no QUIC")),
    ("Listener", "use_original_dst", Only("false", SOCKET)),

    ("FilterChain", "filter_chain_match", Only("{}", "a listener has one filter chain, which takes every connection")),
    ("FilterChain", "metadata", Ignored(METADATA)),
    ("FilterChain", "name", Ignored("a listener has one filter chain")),
    ("FilterChain", "tls_context", Old("transport_socket; though connections are plaintext here")),
    ("FilterChain", "transport_socket", Refused(TLS)),
    ("FilterChain", "transport_socket_connect_timeout", Ignored("a plaintext connection is ready at once")),
    ("FilterChain", "use_proxy_proto", Old("the listener filter envoy.filters.listener.proxy_protocol; though there are no listener filters here")),

    ("Filter", "config", Old(TYPED_CONFIG)),
    ("Filter", "config_discovery", Refused(DYNAMIC)),
    ("HttpFilter", "config", Old(TYPED_CONFIG)),
    ("HttpFilter", "config_discovery", Refused(DYNAMIC)),
    ("HttpFilter", "disabled", Only("false", "the router is the only filter, and it cannot be off")),
    ("HttpFilter", "is_optional", Ignored("a filter that is not known is refused, optional or not")),

    ("HttpConnectionManager", "access_log_flush_interval", Refused("a stream is logged once, at its end")),
    ("HttpConnectionManager", "access_log_options", Refused("a stream is logged once, at its end")),
    ("HttpConnectionManager", "add_proxy_protocol_connection_state", Ignored("there is no proxy protocol")),
    ("HttpConnectionManager", "add_user_agent", Only("false", HEADER_EDITS)),
    ("HttpConnectionManager", "append_local_overload", Only("false", "there are no overload actions")),
    ("HttpConnectionManager", "append_x_forwarded_port", Only("false", HEADER_EDITS)),
    ("HttpConnectionManager", "early_header_mutation_extensions", Refused(HEADER_EDITS)),
    ("HttpConnectionManager", "flush_access_log_on_new_request", Only("false", "a stream is logged once, at its end")),
    ("HttpConnectionManager", "forward_client_cert_details", Only("SANITIZE", TLS)),
    ("HttpConnectionManager", "http3_protocol_options", Refused("there is no UDP and no QUIC")),
    ("HttpConnectionManager", "idle_timeout", Old("common_http_protocol_options.idle_timeout")),
    ("HttpConnectionManager", "local_reply_config", Refused("local replies are Envoy's own")),
    ("HttpConnectionManager", "max_request_headers_count", Old("common_http_protocol_options.max_headers_count")),
    ("HttpConnectionManager", "merge_slashes", Only("false", "paths are passed on as they came")),
    ("HttpConnectionManager", "normalize_path", Only("false", "paths are passed on as they came")),
    ("HttpConnectionManager", "original_ip_detection_extensions", Refused(EXTENSION)),
    ("HttpConnectionManager", "path_normalization_options", Refused("paths are passed on as they came")),
    ("HttpConnectionManager", "path_with_escaped_slashes_action", Only("KEEP_UNCHANGED", "paths are passed on as they came")),
    ("HttpConnectionManager", "proxy_status_config", Refused("no proxy-status header is written")),
    ("HttpConnectionManager", "rds", Refused(DYNAMIC)),
    ("HttpConnectionManager", "represent_ipv4_remote_address_as_ipv4_mapped_ipv6", Only("false", "addresses are shown as they are")),
    ("HttpConnectionManager", "request_id_extension", Refused("request ids are version 4 UUIDs")),
    ("HttpConnectionManager", "scheme_header_transformation", Refused(HEADER_EDITS)),
    ("HttpConnectionManager", "scoped_routes", Refused("a connection manager has one route_config")),
    ("HttpConnectionManager", "server_header_transform", Old("server_header_transformation")),
    ("HttpConnectionManager", "set_current_client_cert_details", Refused(TLS)),
    ("HttpConnectionManager", "stream_error_on_invalid_http_message", Only("false", "a malformed request ends its connection")),
    ("HttpConnectionManager", "strip_any_host_port", Only("false", "hosts are matched and passed on as they came")),
    ("HttpConnectionManager", "strip_matching_host_port", Only("false", "hosts are matched and passed on as they came")),
    ("HttpConnectionManager", "strip_trailing_host_dot", Only("false", "hosts are matched and passed on as they came")),
    ("HttpConnectionManager", "tracing", Refused(TRACING)),
    ("HttpConnectionManager", "typed_header_validation_config", Refused("headers are validated in one fixed way")),
    ("HttpConnectionManager", "via", Only("", HEADER_EDITS)),
    ("HttpConnectionManager", "websocket_config", Old("upgrade_configs: [{upgrade_type: websocket}]")),

    ("DownstreamHttpProtocolOptions", "headers_with_underscores_action", Only("ALLOW", "header names with underscores are passed on")),
    ("DownstreamHttpProtocolOptions", "max_response_headers_kb", Refused("it concerns clusters")),
    ("UpstreamHttpProtocolOptions", "headers_with_underscores_action", Refused("it concerns requests; towards a cluster there are only responses")),
    ("UpstreamHttpProtocolOptions", "max_headers_count", Refused("the limits of a response head are fixed")),
    ("UpstreamHttpProtocolOptions", "max_response_headers_kb", Refused("the limits of a response head are fixed")),
    ("UpstreamHttpProtocolOptions", "max_stream_duration", Refused("bound a stream by the route's timeout or by stream_idle_timeout")),

    ("UpgradeConfig", "connect_config", Refused("CONNECT is passed on; tunnels to raw TCP are not terminated here")),

    ("Router", "child_span_formatter", Refused(TRACING)),
    ("Router", "dynamic_stats", Only("true", "stats of response codes are always kept")),
    ("Router", "reject_connect_request_early_data", Ignored("nothing after a CONNECT is sent before its answer")),
    ("Router", "start_child_span", Only("false", TRACING)),
    ("Router", "suppress_grpc_request_failure_code_stats", Ignored("there are no gRPC stats")),
    ("Router", "upstream_http_filters", Refused("there are no upstream filters")),
    ("Router", "upstream_log", Refused("streams are logged, attempts are not")),
    ("Router", "upstream_log_options", Refused("streams are logged, attempts are not")),

    ("AccessLog", "config", Old(TYPED_CONFIG)),
    ("AccessLog", "filter", Refused(ACCESS_FILTER)),
    ("FileAccessLog", "json_format", Refused("write the object as text, in log_format.text_format_source.inline_string")),
    ("FileAccessLog", "typed_json_format", Refused("write the object as text, in log_format.text_format_source.inline_string")),
    ("SubstitutionFormatString", "content_type", Ignored("it concerns local replies")),
    ("SubstitutionFormatString", "formatters", Refused(EXTENSION)),
    ("SubstitutionFormatString", "json_format", Refused("write the object as text, in text_format_source.inline_string")),
    ("SubstitutionFormatString", "json_format_options", Refused("there is no JSON format")),
    ("SubstitutionFormatString", "omit_empty_values", Only("false", "an empty value is written as -")),
    ("DataSource", "environment_variable", Refused("write the text here, as inline_string")),
    ("DataSource", "filename", Refused("write the text here, as inline_string")),
    ("DataSource", "inline_bytes", Refused("write the text here, as inline_string")),
    ("DataSource", "watched_directory", Refused("write the text here, as inline_string")),

    ("RouteConfiguration", "cluster_specifier_plugins", Refused(EXTENSION)),
    ("RouteConfiguration", "ignore_path_parameters_in_path_matching", Only("false", "the whole path is compared")),
    ("RouteConfiguration", "ignore_port_in_host_matching", Only("false", "hosts are compared with their ports")),
    ("RouteConfiguration", "max_direct_response_body_size_bytes", Only("4096", "a direct response has at most 4096 bytes")),
    ("RouteConfiguration", "metadata", Ignored(METADATA)),
    ("RouteConfiguration", "most_specific_header_mutations_wins", Only("false", HEADER_EDITS)),
    ("RouteConfiguration", "request_headers_to_add", Refused(HEADER_EDITS)),
    ("RouteConfiguration", "request_headers_to_remove", Refused(HEADER_EDITS)),
    ("RouteConfiguration", "request_mirror_policies", Refused("requests are not mirrored")),
    ("RouteConfiguration", "response_headers_to_add", Refused(HEADER_EDITS)),
    ("RouteConfiguration", "response_headers_to_remove", Refused(HEADER_EDITS)),
    ("RouteConfiguration", "typed_per_filter_config", Refused("the router is the only filter")),
    ("RouteConfiguration", "vhds", Refused(DYNAMIC)),

    ("VirtualHost", "cors", Refused(EXTENSION)),
    ("VirtualHost", "hedge_policy", Refused("requests are not hedged")),
    ("VirtualHost", "include_is_timeout_retry_header", Only("false", HEADER_EDITS)),
    ("VirtualHost", "matcher", Refused("routes are a list")),
    ("VirtualHost", "metadata", Ignored(METADATA)),
    ("VirtualHost", "per_request_buffer_limit_bytes", Refused("the connection's limit holds for its requests")),
    ("VirtualHost", "rate_limits", Refused(RATE_LIMIT)),
    ("VirtualHost", "request_body_buffer_limit", Refused("the connection's limit holds for its requests")),
    ("VirtualHost", "request_headers_to_add", Refused(HEADER_EDITS)),
    ("VirtualHost", "request_headers_to_remove", Refused(HEADER_EDITS)),
    ("VirtualHost", "request_mirror_policies", Refused("requests are not mirrored")),
    ("VirtualHost", "require_tls", Only("NONE", TLS)),
    ("VirtualHost", "response_headers_to_add", Refused(HEADER_EDITS)),
    ("VirtualHost", "response_headers_to_remove", Refused(HEADER_EDITS)),
    ("VirtualHost", "typed_per_filter_config", Refused("the router is the only filter")),
    ("VirtualHost", "virtual_clusters", Refused("stats are kept for clusters and listeners")),

    ("Route", "decorator", Refused(TRACING)),
    ("Route", "filter_action", Refused("a route forwards or answers directly")),
    ("Route", "metadata", Ignored(METADATA)),
    ("Route", "non_forwarding_action", Refused("a route forwards or answers directly")),
    ("Route", "per_request_buffer_limit_bytes", Refused("the connection's limit holds for its requests")),
    ("Route", "redirect", Refused("there are no redirects; answer with direct_response or in the application")),
    ("Route", "request_body_buffer_limit", Refused("the connection's limit holds for its requests")),
    ("Route", "request_headers_to_add", Refused(HEADER_EDITS)),
    ("Route", "request_headers_to_remove", Refused(HEADER_EDITS)),
    ("Route", "response_headers_to_add", Refused(HEADER_EDITS)),
    ("Route", "response_headers_to_remove", Refused(HEADER_EDITS)),
    ("Route", "stat_prefix", Refused("stats are kept for clusters and listeners")),
    ("Route", "tracing", Refused(TRACING)),
    ("Route", "typed_per_filter_config", Refused("the router is the only filter")),

    ("RouteMatch", "cookies", Refused("routes are chosen by path")),
    ("RouteMatch", "dynamic_metadata", Refused(METADATA)),
    ("RouteMatch", "filter_state", Refused("there is no filter state")),
    ("RouteMatch", "grpc", Refused("routes are chosen by path")),
    ("RouteMatch", "headers", Refused("routes are chosen by path")),
    ("RouteMatch", "path_match_policy", Refused(EXTENSION)),
    ("RouteMatch", "path_separated_prefix", Refused("write a prefix that ends in a slash, and the path itself")),
    ("RouteMatch", "query_parameters", Refused("routes are chosen by path")),
    ("RouteMatch", "regex", Old("safe_regex: {regex: ...}")),
    ("RouteMatch", "runtime", Old("runtime_fraction; though there is no runtime here")),
    ("RouteMatch", "runtime_fraction", Refused("there is no runtime")),
    ("RouteMatch", "tls_context", Refused(TLS)),
    ("RegexMatcher", "google_re2", Ignored("there is one regular expression engine, which like RE2 is linear in its input")),

    ("DirectResponseAction", "body_format", Refused("the body is sent as it is written")),

    ("RouteAction", "append_x_forwarded_host", Only("false", HEADER_EDITS)),
    ("RouteAction", "auto_host_rewrite", Only("false", "requests are not rewritten")),
    ("RouteAction", "auto_host_rewrite_header", Old("host_rewrite_header; though requests are not rewritten here")),
    ("RouteAction", "cluster_specifier_plugin", Refused(EXTENSION)),
    ("RouteAction", "cors", Refused(EXTENSION)),
    ("RouteAction", "early_data_policy", Refused(TLS)),
    ("RouteAction", "hash_policy", Refused("no load balancer here reads hashes")),
    ("RouteAction", "hedge_policy", Refused("requests are not hedged")),
    ("RouteAction", "host_rewrite", Old("host_rewrite_literal; though requests are not rewritten here")),
    ("RouteAction", "host_rewrite_header", Refused("requests are not rewritten")),
    ("RouteAction", "host_rewrite_literal", Refused("requests are not rewritten")),
    ("RouteAction", "host_rewrite_path_regex", Refused("requests are not rewritten")),
    ("RouteAction", "include_vh_rate_limits", Refused(RATE_LIMIT)),
    ("RouteAction", "inline_cluster_specifier_plugin", Refused(EXTENSION)),
    ("RouteAction", "internal_redirect_policy", Refused("redirects are passed on")),
    ("RouteAction", "max_grpc_timeout", Refused("grpc-timeout is not read")),
    ("RouteAction", "metadata_match", Refused(METADATA)),
    ("RouteAction", "path_rewrite_policy", Refused("requests are not rewritten")),
    ("RouteAction", "prefix_rewrite", Refused("requests are not rewritten")),
    ("RouteAction", "rate_limits", Refused(RATE_LIMIT)),
    ("RouteAction", "regex_rewrite", Refused("requests are not rewritten")),
    ("RouteAction", "request_mirror_policies", Refused("requests are not mirrored")),
    ("RouteAction", "request_mirror_policy", Old("request_mirror_policies; though requests are not mirrored here")),
    ("RouteAction", "retry_policy_typed_config", Refused(EXTENSION)),
    ("RouteAction", "timeout_ms", Old("timeout: in seconds with an s, as in 0.25s")),
    ("RouteAction", "use_websocket", Old("upgrade_configs: [{upgrade_type: websocket}] in the HttpConnectionManager")),
    ("RouteAction", "websocket_config", Old("upgrade_configs: [{upgrade_type: websocket}], and idle_timeout and retry_policy on the route")),
    ("RouteAction", "weighted_clusters", Refused("a route names one cluster")),
    ("Route", "timeout_ms", Old("route.timeout: in seconds with an s, as in 0.25s")),
    ("Route", "use_websocket", Old("upgrade_configs: [{upgrade_type: websocket}] in the HttpConnectionManager")),
    ("Route", "prefix", Old("match: {prefix: ...}")),
    ("Route", "cluster", Old("route: {cluster: ...}")),

    ("MaxStreamDuration", "grpc_timeout_header_max", Refused("grpc-timeout is not read")),
    ("MaxStreamDuration", "grpc_timeout_header_offset", Refused("grpc-timeout is not read")),

    ("RetryPolicy", "per_try_timeout_ms", Old("per_try_timeout: in seconds with an s, as in 0.25s")),
    ("RetryPolicy", "retry_options_predicates", Refused(EXTENSION)),
    ("RetryPolicy", "retry_priority", Refused("there is one priority")),
    ("RetriableHeader", "contains_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "exact_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "invert_match", Only("false", "a retriable header is looked for by its name")),
    ("RetriableHeader", "prefix_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "present_match", Only("true", "a retriable header is looked for by its name")),
    ("RetriableHeader", "range_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "safe_regex_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "string_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "suffix_match", Refused("a retriable header is looked for by its name")),
    ("RetriableHeader", "treat_missing_header_as_empty", Only("false", "a retriable header is looked for by its name")),

    ("Cluster", "alt_stat_name", Refused("a cluster's stats are named after it")),
    ("Cluster", "cleanup_interval", Ignored("it concerns ORIGINAL_DST clusters")),
    ("Cluster", "close_connections_on_host_health_failure", Only("false", "idle connections to an unhealthy endpoint are closed, others finish their request")),
    ("Cluster", "cluster_type", Refused(EXTENSION)),
    ("Cluster", "connect_timeout_ms", Old("connect_timeout: in seconds with an s, as in 0.25s")),
    ("Cluster", "connection_pool_per_downstream_connection", Only("false", "connections are shared")),
    ("Cluster", "dns_failure_refresh_rate", Refused("after a failure, names are asked for again at dns_refresh_rate")),
    ("Cluster", "dns_jitter", Refused("names are asked for at dns_refresh_rate")),
    ("Cluster", "dns_resolution_config", Refused("names are resolved by the operating system")),
    ("Cluster", "dns_resolvers", Old("typed_dns_resolver_config; though names are resolved by the operating system here")),
    ("Cluster", "eds_cluster_config", Refused(DYNAMIC)),
    ("Cluster", "features", Old(EXTENSION_OPTIONS)),
    ("Cluster", "filters", Refused("there are no upstream filters")),
    ("Cluster", "hosts", Old("load_assignment: {cluster_name: ..., endpoints: [{lb_endpoints: [{endpoint: {address: ...}}]}]}")),
    ("Cluster", "ignore_health_on_host_removal", Only("false", "an endpoint that left DNS is gone")),
    ("Cluster", "lb_config", Refused(LOAD_BALANCING)),
    ("Cluster", "lb_subset_config", Refused(LOAD_BALANCING)),
    ("Cluster", "lb_type", Old("lb_policy")),
    ("Cluster", "least_request_lb_config", Refused("least request chooses between two endpoints")),
    ("Cluster", "load_balancing_policy", Refused("write lb_policy: ROUND_ROBIN, LEAST_REQUEST or RANDOM")),
    ("Cluster", "lrs_report_endpoint_metrics", Refused(DYNAMIC)),
    ("Cluster", "lrs_server", Refused(DYNAMIC)),
    ("Cluster", "maglev_lb_config", Refused("no load balancer here reads hashes")),
    ("Cluster", "metadata", Ignored(METADATA)),
    ("Cluster", "observability_name", Refused("a cluster's stats are named after it")),
    ("Cluster", "original_dst_lb_config", Refused(LOAD_BALANCING)),
    ("Cluster", "prefetch_policy", Old("preconnect_policy")),
    ("Cluster", "protocol_selection", Only("USE_CONFIGURED_PROTOCOL", "a cluster speaks one protocol")),
    ("Cluster", "respect_dns_ttl", Only("false", "names are asked for at dns_refresh_rate")),
    ("Cluster", "ring_hash_lb_config", Refused("no load balancer here reads hashes")),
    ("Cluster", "round_robin_lb_config", Refused(LOAD_BALANCING)),
    ("Cluster", "tls_context", Old("transport_socket; though connections are plaintext here")),
    ("Cluster", "track_cluster_stats", Refused("stats have fixed names")),
    ("Cluster", "track_timeout_budgets", Only("false", "there are no timeout budget stats")),
    ("Cluster", "transport_socket", Refused(TLS)),
    ("Cluster", "transport_socket_matches", Refused(TLS)),
    ("Cluster", "typed_dns_resolver_config", Refused("names are resolved by the operating system")),
    ("Cluster", "upstream_bind_config", Refused(SOCKET)),
    ("Cluster", "upstream_config", Refused("there is one kind of connection pool")),
    ("PreconnectPolicy", "predictive_preconnect_ratio", Refused("only the endpoint that gets a request is connected to ahead of the next")),
    ("UpstreamConnectionOptions", "happy_eyeballs_config", Refused("an endpoint has one address")),
    ("UpstreamConnectionOptions", "set_local_interface_name_on_upstream_connections", Only("false", SOCKET)),
    ("Cluster", "upstream_http_protocol_options", Refused(TLS)),
    ("Cluster", "use_tcp_for_dns_lookups", Refused("names are resolved by the operating system")),
    ("Cluster", "wait_for_warm_on_init", Ignored("the server is live when every name has been asked for once")),

    ("ClusterLoadAssignment", "named_endpoints", Refused("write the endpoint where it is used")),
    ("ClusterLoadAssignment", "policy", Refused(LOAD_BALANCING)),
    ("LocalityLbEndpoints", "lb_cluster_collection_config", Refused(DYNAMIC)),
    ("LocalityLbEndpoints", "leds_cluster_locality_config", Refused(DYNAMIC)),
    ("LocalityLbEndpoints", "load_balancer_endpoints", Refused(DYNAMIC)),
    ("LocalityLbEndpoints", "load_balancing_weight", Refused(LOAD_BALANCING)),
    ("LocalityLbEndpoints", "locality", Ignored("all localities are one group of endpoints")),
    ("LocalityLbEndpoints", "metadata", Ignored(METADATA)),
    ("LocalityLbEndpoints", "priority", Only("0", "there is one priority")),
    ("LocalityLbEndpoints", "proximity", Ignored("all localities are one group of endpoints")),
    ("LbEndpoint", "endpoint_name", Refused("write the endpoint where it is used")),
    ("LbEndpoint", "health_status", Refused(HEALTH)),
    ("LbEndpoint", "load_balancing_weight", Only("1", LOAD_BALANCING)),
    ("LbEndpoint", "metadata", Ignored(METADATA)),
    ("Endpoint", "additional_addresses", Refused("write one endpoint for each address")),
    ("Endpoint", "health_check_config", Refused("checks go to the endpoint's own address")),
    ("Endpoint", "hostname", Ignored("nothing here reads an endpoint's hostname")),

    ("CircuitBreakers", "per_host_thresholds", Refused("limits are kept for whole clusters")),
    ("Thresholds", "max_connection_pools", Refused("an endpoint has one pool")),
    ("CommonLbConfig", "close_connections_on_host_set_change", Only("false", LOAD_BALANCING)),
    ("CommonLbConfig", "consistent_hashing_lb_config", Refused(LOAD_BALANCING)),
    ("CommonLbConfig", "ignore_new_hosts_until_first_hc", Only("false", LOAD_BALANCING)),
    ("CommonLbConfig", "locality_weighted_lb_config", Refused(LOAD_BALANCING)),
    ("CommonLbConfig", "override_host_status", Refused(LOAD_BALANCING)),
    ("CommonLbConfig", "update_merge_window", Ignored("a change of the endpoints takes effect at once")),
    ("CommonLbConfig", "zone_aware_lb_config", Refused(LOAD_BALANCING)),
    ("HealthCheck", "alt_port", Refused("checks go to the endpoint's own address")),
    ("HealthCheck", "always_log_health_check_failures", Ignored("there is no log of health checks")),
    ("HealthCheck", "always_log_health_check_success", Ignored("there is no log of health checks")),
    ("HealthCheck", "custom_health_check", Refused(EXTENSION)),
    ("HealthCheck", "event_log_path", Refused("there is no log of health checks")),
    ("HealthCheck", "event_logger", Refused(EXTENSION)),
    ("HealthCheck", "event_service", Refused(DYNAMIC)),
    ("HealthCheck", "grpc_health_check", Refused("checks speak HTTP/1.1 or plain TCP")),
    ("HealthCheck", "tls_options", Refused(TLS)),
    ("HealthCheck", "transport_socket_match_criteria", Refused(TLS)),
    ("HttpHealthCheck", "codec_client_type", Only("HTTP1", "checks speak HTTP/1.1")),
    ("HttpHealthCheck", "method", Only("GET", "checks ask with GET")),
    ("HttpHealthCheck", "receive", Refused("the status decides")),
    ("HttpHealthCheck", "request_headers_to_add", Refused(HEADER_EDITS)),
    ("HttpHealthCheck", "request_headers_to_remove", Refused(HEADER_EDITS)),
    ("HttpHealthCheck", "response_buffer_size", Refused("the status decides")),
    ("HttpHealthCheck", "send", Refused("checks have no body")),
    ("HttpHealthCheck", "service_name_matcher", Refused("the status decides")),
    ("HttpHealthCheck", "use_http2", Old("codec_client_type; though checks speak HTTP/1.1 here")),
    ("TcpHealthCheck", "proxy_protocol_config", Refused("there is no proxy protocol")),
    ("HealthCheckPayload", "binary", Refused("write it as text, in hexadecimal digits")),
    ("OutlierDetection", "degraded_host_detection_config", Refused(OUTLIER)),
    ("OutlierDetection", "detect_degraded_hosts", Only("false", OUTLIER)),
    ("OutlierDetection", "enforcing_failure_percentage", Only("0", OUTLIER)),
    ("OutlierDetection", "enforcing_failure_percentage_local_origin", Refused(OUTLIER)),
    ("OutlierDetection", "enforcing_local_origin_success_rate", Refused(OUTLIER)),
    ("OutlierDetection", "enforcing_success_rate", Only("0", OUTLIER)),
    ("OutlierDetection", "failure_percentage_minimum_hosts", Refused(OUTLIER)),
    ("OutlierDetection", "failure_percentage_request_volume", Refused(OUTLIER)),
    ("OutlierDetection", "failure_percentage_threshold", Refused(OUTLIER)),
    ("OutlierDetection", "max_ejection_time_jitter", Refused(OUTLIER)),
    ("OutlierDetection", "monitors", Refused(OUTLIER)),
    ("OutlierDetection", "success_rate_minimum_hosts", Refused(OUTLIER)),
    ("OutlierDetection", "success_rate_request_volume", Refused(OUTLIER)),
    ("OutlierDetection", "success_rate_stdev_factor", Refused(OUTLIER)),
    ("RetryBudget", "budget_interval", Refused("a budget is a share of the requests of the moment")),

    ("HttpProtocolOptions", "auto_config", Refused("there is no ALPN; write explicit_http_config")),
    ("HttpProtocolOptions", "header_validation_config", Refused("headers are validated in one fixed way")),
    ("HttpProtocolOptions", "http_filters", Refused("there are no upstream filters")),
    ("HttpProtocolOptions", "outlier_detection", Refused("write it in the cluster; which responses are errors is fixed")),
    ("HttpProtocolOptions", "upstream_http_protocol_options", Refused(TLS)),
    ("HttpProtocolOptions", "use_downstream_protocol_config", Refused("a cluster speaks one protocol; write explicit_http_config")),
    ("ExplicitHttpConfig", "http3_protocol_options", Refused("there is no UDP and no QUIC")),
];

/// Types stand here without `type.googleapis.com/envoy.extensions.` in front.
#[rustfmt::skip]
const VALUES: &[(&str, &str, Verdict)] = &[
    ("AccessLogConfig", "access_loggers.grpc.v3.HttpGrpcAccessLogConfig", Refused("lines are written to a file, stdout or stderr")),
    ("AccessLogConfig", "access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig", Refused("lines are written to a file, stdout or stderr")),
    ("CodecType", "HTTP3", Refused("there is no UDP and no QUIC")),
    ("DiscoveryType", "EDS", Refused(DYNAMIC)),
    ("DiscoveryType", "LOGICAL_DNS", Refused("write STRICT_DNS, which uses every address of the name")),
    ("DiscoveryType", "ORIGINAL_DST", Refused("endpoints come from the file or from DNS")),
    ("DiscoveryType", "logical_dns", Old("STRICT_DNS")),
    ("DiscoveryType", "sds", Old("STATIC or STRICT_DNS")),
    ("DiscoveryType", "static", Old("STATIC")),
    ("DiscoveryType", "strict_dns", Old("STRICT_DNS")),
    ("HostPredicate", "retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate", Refused("no endpoint is a canary")),
    ("HostPredicate", "retry.host.omit_host_metadata.v3.OmitHostMetadataConfig", Refused(METADATA)),
    ("HttpFilterConfig", "filters.http.buffer.v3.Buffer", Refused("bodies are streamed")),
    ("HttpFilterConfig", "filters.http.cors.v3.Cors", Refused("the router is the only filter")),
    ("HttpFilterConfig", "filters.http.fault.v3.HTTPFault", Refused("faults belong into the simulator")),
    ("HttpFilterConfig", "filters.http.health_check.v3.HealthCheck", Refused("answer with a direct_response route, or ask the admin interface")),
    ("HttpFilterConfig", "filters.http.local_ratelimit.v3.LocalRateLimit", Refused(RATE_LIMIT)),
    ("LbPolicy", "CLUSTER_PROVIDED", Refused(LOAD_BALANCING)),
    ("LbPolicy", "LOAD_BALANCING_POLICY_CONFIG", Refused(LOAD_BALANCING)),
    ("LbPolicy", "MAGLEV", Refused("no load balancer here reads hashes")),
    ("LbPolicy", "RING_HASH", Refused("no load balancer here reads hashes")),
    ("LbPolicy", "least_request", Old("LEAST_REQUEST")),
    ("LbPolicy", "random", Old("RANDOM")),
    ("LbPolicy", "round_robin", Old("ROUND_ROBIN")),
    ("NetworkFilter", "filters.network.tcp_proxy.v3.TcpProxy", Refused("a listener speaks HTTP")),
    ("Protocol", "UDP", Refused("there is no UDP and no QUIC")),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the messages are; a line that names none of them would never be found.
    const MESSAGES: [&str; 4] = [
        include_str!("bootstrap/mod.rs"),
        include_str!("bootstrap/cluster.rs"),
        include_str!("bootstrap/listener.rs"),
        include_str!("bootstrap/route.rs"),
    ];

    #[test]
    fn every_field_is_of_a_message_that_does_not_have_it() {
        for (message, field, _) in FIELDS {
            let body =
                body(&format!("pub(crate) struct {message} {{")).unwrap_or_else(|| panic!("{message} is no message"));
            assert!(!body.contains(&format!("pub(crate) {field}:")), "{message}.{field} is supported");
        }
    }

    #[test]
    fn every_value_is_of_an_enumeration_that_does_not_have_it() {
        for (name, value, _) in VALUES {
            let body =
                body(&format!("pub(crate) enum {name} {{")).unwrap_or_else(|| panic!("{name} is no enumeration"));
            assert!(!body.contains(&format!("{value}\"")), "{name} has {value}");
        }
    }

    #[test]
    fn no_line_stands_twice() {
        for table in [FIELDS, VALUES] {
            for (index, (of, name, _)) in table.iter().enumerate() {
                let later = table.iter().skip(index + 1).find(|(other, same, _)| other == of && same == name);
                assert_eq!(later, None, "{of} {name}");
            }
        }
    }

    /// What stands between the braces of a declaration.
    fn body(declaration: &str) -> Option<&'static str> {
        let (_, after) = MESSAGES.iter().find_map(|text| text.split_once(declaration))?;
        after.split_once('}').map(|(body, _)| body)
    }
}
