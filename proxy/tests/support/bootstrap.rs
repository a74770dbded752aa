//! The configuration of one listener in front of one cluster, which the tests and benchmarks over real sockets share.

/// What differs between them.
#[derive(Default)]
pub(crate) struct Bootstrap<'a> {
    /// Where the proxy listens; 0 for any port that is free.
    pub(crate) port: u16,
    /// Where the application listens.
    pub(crate) app: u16,
    /// More fields of the connection manager, a line each.
    pub(crate) manager: &'a [&'a str],
    /// More fields of the virtual host, a line each.
    pub(crate) host: &'a [&'a str],
    /// Routes before the one to the cluster, a line each.
    pub(crate) routes: &'a [&'a str],
    /// More fields of the route's action, separated by commas, with a comma before the first.
    pub(crate) route: &'a str,
    /// More fields of the cluster, a line each.
    pub(crate) cluster: &'a [&'a str],
}

impl Bootstrap<'_> {
    pub(crate) fn yaml(&self) -> String {
        let lines =
            |indent: &str, lines: &[&str]| lines.iter().map(|line| format!("{indent}{line}\n")).collect::<String>();
        let host = lines("              ", self.host);
        let routes = lines("              - ", self.routes);
        let manager = lines("          ", self.manager);
        let cluster = lines("    ", self.cluster);
        format!(
            r#"
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
{manager}          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
{host}              routes:
{routes}              - match: {{ prefix: / }}
                route: {{ cluster: app{route} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: app
    type: STATIC
{cluster}    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {app} }} }} }}
"#,
            port = self.port,
            app = self.app,
            route = self.route,
        )
    }
}
