//! What the admin interface says, as a client reads it.

use std::time::{Duration, SystemTime};

use super::*;
use crate::config::{Config, Difference};
use crate::net::Address;
use crate::snapshot::{Ground, Snapshot};
use crate::stats::{
    Charged, ClusterStats, CodeStats, EndpointFacts, Http2Stats, HttpStats, ListenerStats, ResponseStats, ServerState,
};
use crate::token_bucket::SharedBuckets;

const CONFIG: &str = "
node: { id: host-1, cluster: edge }
layered_runtime:
  layers:
  - { name: file, static_layer: { finwait: { resend: false }, finwait.redispatch: 100 } }
  - { name: operator, admin_layer: {} }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 9901 } } }
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            name: local
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: { prefix: / }
                route: { cluster: up }
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 8080 } } }
";

/// A process that has served three requests, with what its workers hold.
/// It is always the beginning of 1970.
struct FixedClock;

impl Clock for FixedClock {
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

struct Process {
    state: AdminState,
    endpoint: Arc<crate::stats::EndpointStats>,
    _held: [crate::stats::Held; 2],
}

impl Process {
    fn new() -> Self {
        let registry = Arc::new(Registry::new());
        let config = Config::from_yaml(CONFIG, "edge.yaml").unwrap().config;
        let bound: std::net::SocketAddr = "127.0.0.1:10000".parse().unwrap();
        let http = HttpStats::new(&registry, "ingress");
        let cluster = ClusterStats::new(&registry, "up");
        let codes = CodeStats::new(&registry, "up", None);
        Http2Stats::downstream(&registry).goaway_sent.inc();
        ListenerStats::new(&registry, &bound.to_string()).downstream_cx_total.inc();
        for (status, ms) in [(200, 1), (200, 43), (503, 0)] {
            let status = StatusCode::from_u16(status).unwrap();
            http.downstream_rq_total.inc();
            http.downstream_rq_time.record(ms);
            http.responses.charge(status);
            ResponseStats::of_listener(&registry, &bound.to_string(), "ingress").charge(status);
            codes.charge(status, Charged::default());
        }
        registry.end_interval();
        cluster.membership_total.set(1);
        let held = [http.downstream_cx_active.enter(), cluster.upstream_cx_active.enter()];

        let runtime = Arc::new(Runtime::new(config.runtime.clone(), config.differences));
        // What the process counts is listed above, not what the configuration would have it count.
        let ground = Ground { registry: &Registry::new(), runtime: &runtime, buckets: &SharedBuckets::default() };
        let snapshot = Arc::new(Snapshot::first(config, SystemTime::UNIX_EPOCH, ground));
        let endpoint = snapshot.clusters[0].endpoints.of(&Address::Socket("127.0.0.1:8080".parse().unwrap()).into());
        endpoint.set_facts(EndpointFacts { weight: 1, ..EndpointFacts::default() });
        endpoint.cx_total.inc();
        endpoint.rq_total.add(3);
        endpoint.rq_success.add(2);
        endpoint.rq_error.inc();

        let server = ServerStats::new(&registry, 2);
        server.enter(ServerState::Live);
        let addresses =
            [("main".to_owned(), vec![Address::Socket(bound), Address::Socket("[::1]:10001".parse().unwrap())])].into();
        let in_force = InForce { snapshot, addresses };
        let state = AdminState {
            registry,
            server,
            in_force: Rc::new(move || in_force.clone()),
            runtime,
            command_line: CommandLine::of_file("edge.yaml"),
            process_log: Arc::new(ProcessLog::silent()),
            memory: || Memory { anonymous: 6_000_000, resident: 13_000_000 },
            clock: Rc::new(FixedClock),
            started: Instant::now(),
        };
        Self { state, endpoint, _held: held }
    }

    fn get(&self, path: &str) -> AdminResponse {
        respond(&Method::GET, path, &self.state)
    }

    /// A successful response.
    fn body(&self, path: &str) -> String {
        let response = self.get(path);
        assert_eq!(response.status, StatusCode::OK, "{path}: {}", response.body);
        response.body
    }
}

#[test]
fn an_operator_switches_a_difference_by_its_runtime_key() {
    let process = Process::new();
    let modify = |parameters: &str| {
        let response = respond(&Method::POST, &format!("/runtime_modify{parameters}"), &process.state);
        (response.status.as_u16(), response.body)
    };
    let has = |difference| process.state.runtime.differences().has(difference);
    assert!(!has(Difference::Resend) && has(Difference::Redispatch) && has(Difference::RetryFresh));
    assert_eq!(modify("?finwait.resend=true&other=50%25"), (200, "OK\n".into()));
    assert!(has(Difference::Resend));
    insta::assert_snapshot!(process.body("/runtime"));
    assert_eq!(modify("?finwait.resend="), (200, "OK\n".into()));
    assert!(!has(Difference::Resend));
    assert_eq!(modify("").0, 400);
    let (status, why) = modify("?finwait.nothing=true");
    assert!(status == 400 && why.starts_with("there is no finwait.nothing; known are finwait."), "{why}");
    assert_eq!(modify("?finwait.resend=perhaps"), (400, "finwait.resend is true or false, not perhaps\n".into()));
}

#[test]
fn the_list_of_commands() {
    insta::assert_snapshot!(Process::new().body("/help"));
}

#[test]
fn the_page_links_every_command() {
    let page = Process::new().get("/");
    assert_eq!(page.content_type, "text/html; charset=UTF-8");
    for endpoint in ENDPOINTS {
        assert!(page.body.contains(&format!("=\"{}\"", endpoint.path)), "{}", endpoint.path);
    }
}

#[test]
fn stats_as_text() {
    insta::assert_snapshot!(Process::new().body("/stats?usedonly"));
}

#[test]
fn stats_that_a_filter_selects() {
    let process = Process::new();
    let cases = [
        (
            "/stats?filter=^cluster.up.upstream_rq_(5|2)..$",
            "upstream_rq_200: 2|upstream_rq_2xx: 2|upstream_rq_503: 1|upstream_rq_5xx: 1",
        ),
        ("/stats?filter=cx_active$&type=Gauges&usedonly", "upstream_cx_active: 1|http.ingress.downstream_cx_active: 1"),
        ("/stats?filter=cx_active$&type=Counters", ""),
        ("/stats?filter=rq_per_cx&type=Histograms", "upstream_rq_per_cx: No recorded values"),
        (
            "/stats?filter=http2%5C.rx_reset&format=prometheus",
            "# TYPE envoy_http2_rx_reset counter|envoy_http2_rx_reset{} 0",
        ),
    ];
    for (path, want) in cases {
        let body = process.body(path);
        let lines: Vec<&str> = body.lines().map(|line| line.trim_start_matches("cluster.up.")).collect();
        assert_eq!(lines.join("|"), want, "{path}");
    }
}

#[test]
fn stats_as_json() {
    let body = Process::new().body("/stats?format=json&filter=^http.ingress.downstream_(rq_time|rq_5xx|rq_2xx)");
    insta::assert_snapshot!(body);
}

#[test]
fn a_scrape_names_everything_once() {
    let body = Process::new().body("/stats/prometheus");
    let mut names: Vec<&str> =
        body.lines().filter(|line| !line.starts_with('#')).map(|l| l.split_once("} ").unwrap().0).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "no sample twice");
    assert!(body.contains("\nenvoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"ingress\",envoy_listener_address=\"127.0.0.1_10000\"} 1\n"));
    assert_eq!(body, Process::new().body("/stats?format=prometheus"));
}

#[test]
fn clusters_as_text() {
    insta::assert_snapshot!(Process::new().body("/clusters"));
}

#[test]
fn clusters_as_json() {
    insta::assert_snapshot!(Process::new().body("/clusters?format=json"));
}

#[test]
fn an_unhealthy_endpoint_shows() {
    let process = Process::new();
    process.endpoint.health.set_flag(crate::stats::HealthFlag::FailedCheck);
    assert!(process.body("/clusters").contains("up::127.0.0.1:8080::health_flags::/failed_active_hc\n"));
}

#[test]
fn the_name_and_the_kind_of_an_endpoint_show() {
    let process = Process::new();
    process.endpoint.set_facts(EndpointFacts {
        hostname: "app.test".into(),
        is_canary: true,
        weight: 1,
        ..EndpointFacts::default()
    });
    let text = process.body("/clusters");
    assert!(text.contains("up::127.0.0.1:8080::hostname::app.test\n"), "{text}");
    assert!(text.contains("up::127.0.0.1:8080::canary::true\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&process.body("/clusters?format=json")).unwrap();
    assert_eq!(json["cluster_statuses"][0]["host_statuses"][0]["hostname"], "app.test");
}

#[test]
fn listeners_in_both_forms() {
    let process = Process::new();
    assert_eq!(process.body("/listeners"), "main::127.0.0.1:10000\nmain::[::1]:10001\n");
    insta::assert_snapshot!(process.body("/listeners?format=json"));
}

#[tokio::test(start_paused = true)]
async fn server_info() {
    let process = Process::new();
    tokio::time::advance(Duration::from_millis(61_999)).await;
    insta::assert_snapshot!(process.body("/server_info?left").replace(COMMIT, "COMMIT"));
    let without: serde_json::Value = serde_json::from_str(&process.body("/server_info")).unwrap();
    assert!(without["left"].is_null(), "a field that Envoy does not have is there on request only");
    assert_eq!(process.body("/stats?filter=server.uptime"), "server.uptime: 61\n");
}

#[test]
fn config_dump() {
    insta::assert_snapshot!(Process::new().body("/config_dump"));
}

#[test]
fn readiness_follows_the_state() {
    let process = Process::new();
    let cases = [
        (ServerState::Initializing, 503, "INITIALIZING\n"),
        (ServerState::Live, 200, "LIVE\n"),
        (ServerState::Draining, 503, "DRAINING\n"),
    ];
    for (state, status, body) in cases {
        process.state.server.enter(state);
        let response = process.get("/ready?x");
        assert_eq!((response.status.as_u16(), response.body.as_str()), (status, body));
    }
}

#[test]
fn what_changes_something_wants_post() {
    let process = Process::new();
    let cases = [("/quitquitquit", Then::Quit), ("/reset_counters", Then::Nothing)];
    for (path, then) in cases {
        let refused = process.get(path);
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.body, "Method GET not allowed, POST required.");
        assert_eq!(refused.then, Then::Nothing, "{path}");
        let done = respond(&Method::POST, path, &process.state);
        assert_eq!((done.status, done.body.as_str(), done.then), (StatusCode::OK, "OK\n", then), "{path}");
    }
    assert_eq!(
        process.body("/stats?filter=^http.ingress.downstream_rq_total"),
        "http.ingress.downstream_rq_total: 0\n"
    );
}

#[test]
fn invalid_admin_requests_get_an_explanation() {
    let process = Process::new();
    let cases = [
        ("/stats?format=html", 400, "usage: /stats?format=(json|prometheus|text)"),
        ("/stats?type=Texts", 400, "invalid &type= param"),
        (
            "/stats?histogram_buckets=some",
            400,
            "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)",
        ),
        ("/stats?filter=((", 400, "Invalid re2 regex: missing ): (("),
        ("/nope", 404, "invalid path. admin commands are:"),
        ("/stats/", 404, "invalid path. admin commands are:"),
    ];
    for (path, status, first_line) in cases {
        let response = process.get(path);
        assert_eq!(response.status.as_u16(), status, "{path}");
        assert_eq!(response.body.lines().next(), Some(first_line), "{path}");
    }
}

#[test]
fn responses_forbid_caching_and_sniffing() {
    let head = Process::new().get("/ready").head();
    let headers: Vec<String> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(
        headers,
        [
            "content-type: text/plain; charset=UTF-8",
            "cache-control: no-cache, max-age=0",
            "x-content-type-options: nosniff"
        ]
    );
}

#[test]
fn an_operator_reads_and_changes_the_levels_of_loggers() {
    let process = Process::new();
    let post = |parameters: &str| {
        let response = respond(&Method::POST, &format!("/logging{parameters}"), &process.state);
        (response.status.as_u16(), response.body)
    };
    let level_of = |logger: &str| {
        let (_, body) = post("");
        body.lines().find_map(|line| Some(line.strip_prefix(&format!("  {logger}: "))?.to_owned()))
    };
    let listed = process.body("/logging");
    assert!(listed.starts_with("active loggers:\n  a2a: info\n  admin: info\n"), "{listed}");
    assert_eq!(process.get("/logging?level=debug").status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(post("?level=debug").0, 200);
    assert_eq!(post("?paths=upstream:trace,http:off").0, 200);
    assert_eq!(post("?dns=warning").0, 200);
    let now = ["main", "upstream", "http", "dns"].map(|logger| level_of(logger).unwrap());
    assert_eq!(now, ["debug", "trace", "off", "warning"]);
    for (parameters, why) in [
        ("?level=warn", "error: unknown logger level"),
        ("?nope=info", "error: unknown logger name"),
        ("?paths=upstream", "error: empty logger name or empty logger level"),
        ("?level=info&paths=upstream:info", "error: invalid number of parameters"),
    ] {
        let (status, body) = post(parameters);
        assert_eq!((status, body.lines().next()), (400, Some(why)), "{parameters}");
        assert!(body.contains("usage: /logging?level=<level> (change all levels)"));
    }
    assert_eq!(post("?level=").1, post("?paths=").1, "an empty value lists, as the page's form sends it");
}

#[test]
fn a_config_dump_is_cut_by_list_and_by_name() {
    let process = Process::new();
    insta::assert_snapshot!(process.body("/config_dump?resource=static_clusters"));
    let count = |query: &str| process.body(&format!("/config_dump?{query}")).matches("envoy.admin.v3").count();
    assert_eq!(count("resource=static_listeners&name_regex=ma.*"), 1);
    assert_eq!(count("resource=static_listeners&name_regex=ai"), 0, "the whole name has to match");
    assert_eq!(process.body("/config_dump?resource=dynamic_listeners"), "{}\n");
    let selected = process.body("/config_dump?name_regex=local");
    assert!(selected.contains("\"static_clusters\": []") && selected.contains("\"route_config\": {"), "{selected}");
    for (query, status, why) in [
        ("resource=nope", 404, "nope not found in config dump"),
        ("resource=bootstrap", 400, "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field"),
        ("name_regex=((", 400, "Error while parsing name_regex: regex parse error:"),
    ] {
        let response = process.get(&format!("/config_dump?{query}"));
        assert_eq!((response.status.as_u16(), response.body.lines().next()), (status, Some(why)), "{query}");
    }
}

#[test]
fn a_config_dump_shows_the_fields_that_its_mask_names() {
    let process = Process::new();
    let lines = |query: &str| {
        let response = process.get(&format!("/config_dump?{query}"));
        let is_field = |line: &&str| line.contains(": ") && !line.contains("@type") && !line.contains("configs");
        let lines = response.body.lines().map(str::trim).filter(is_field);
        (
            response.status.as_u16(),
            lines.map(|line| line.trim_end_matches(',').to_owned()).collect::<Vec<_>>().join(" "),
        )
    };
    for (query, expected) in [
        ("resource=static_clusters&mask=cluster.name", r#""cluster": { "name": "up""#),
        (
            "resource=static_clusters&mask=cluster.name,last_updated",
            r#""cluster": { "name": "up" "last_updated": "1970-01-01T00:00:00.000Z""#,
        ),
        (
            "resource=static_clusters&mask=cluster.load_assignment.cluster_name",
            r#""cluster": { "load_assignment": { "cluster_name": "up""#,
        ),
        ("resource=static_route_configs&mask=route_config.name", r#""route_config": { "name": "local""#),
        ("resource=static_clusters&mask=cluster.lb_policy", r#""cluster": {"#),
        ("mask=last_updated", r#""last_updated": "1970-01-01T00:00:00.000Z""#),
        ("mask=version_info", r#""version_info": "1" "version_info": "1""#),
        ("mask=bootstrap.node", r#""bootstrap": { "node": { "cluster": "edge" "id": "host-1""#),
        (
            "mask=bootstrap.admin.address.socket_address.port_value",
            r#""bootstrap": { "admin": { "address": { "socket_address": { "port_value": 9901"#,
        ),
    ] {
        let (status, shown) = lines(query);
        assert_eq!((status, shown.as_str()), (200, expected), "{query}");
    }
}

#[test]
fn a_mask_with_an_invalid_path_is_refused() {
    let process = Process::new();
    for (query, why) in [
        ("mask=nope", "FieldMask nope could not be successfully applied to any configs. "),
        (
            "mask=static_clusters.cluster.name",
            "FieldMask static_clusters.cluster.name could not be successfully applied to any configs. ",
        ),
        (
            "mask=bootstrap,static_clusters",
            "FieldMask bootstrap,static_clusters could not be successfully applied to any configs. ",
        ),
        (
            "resource=static_clusters&mask=cluster",
            r#"FieldMask could not be successfully used: "cluster" is no field of an element of static_clusters. "#,
        ),
        (
            "resource=static_clusters&mask=cluster.name,cluster.nope",
            r#"FieldMask could not be successfully used: "cluster.nope" is no field"#,
        ),
        (
            "resource=static_clusters&mask=cluster.load_assignment.endpoints.lb_endpoints",
            "FieldMask could not be successfully used: ",
        ),
    ] {
        let response = process.get(&format!("/config_dump?{query}"));
        assert_eq!(response.status.as_u16(), 400, "{query}");
        assert!(response.body.starts_with(why), "{query}: {}", response.body);
    }
    assert_eq!(process.body("/config_dump?mask="), process.body("/config_dump"));
    assert_eq!(process.body("/config_dump?resource=static_clusters&name_regex=nope&mask=cluster.name"), "{}\n");
}

#[test]
fn a_target_that_is_no_path_is_not_found() {
    let process = Process::new();
    for target in ["http://x/ready", "http://x", "*", ""] {
        let response = process.get(target);
        assert_eq!((response.status.as_u16(), response.body.as_str()), (404, ""), "{target}");
    }
}

#[test]
fn pages_of_which_little_is_known_have_envoys_form() {
    let process = Process::new();
    assert_eq!(process.body("/certs"), "{\n \"certificates\": []\n}\n");
    assert_eq!(process.body("/init_dump"), "{}\n");
    assert_eq!(process.body("/hot_restart_version"), "disabled");
    insta::assert_snapshot!(process.body("/memory"));
    let reopened = respond(&Method::POST, "/reopen_logs", &process.state);
    assert_eq!((reopened.body.as_str(), reopened.then), ("OK\n", Then::ReopenLogs));
    assert_eq!(process.body("/stats?type=TextReadouts"), "");
    assert_eq!(process.body("/stats?filter=.&invert_filter"), "");
    assert_eq!(
        process.body("/stats?filter=soft_drain&type=Gauges"),
        "http.ingress.downstream_cx_http1_soft_drain: 0\n"
    );
}

#[test]
fn large_responses_are_those_of_known_paths() {
    assert!(is_large("/stats?usedonly") && !is_large("/ready?x"));
    let large = ENDPOINTS.iter().filter(|endpoint| is_large(endpoint.path)).count();
    assert_eq!(large, 7, "each path of the list is one of the table");
}

proptest::proptest! {
    #[test]
    fn any_request_line_gets_a_response(path in "(/|/stats|/clusters)?[?]?([a-z]{1,8}|=|&|%[0-9a-f]?|\\PC){0,12}", post: bool) {
        let method = if post { Method::POST } else { Method::GET };
        let response = respond(&method, &path, &Process::new().state);
        proptest::prop_assert!(!response.status.is_server_error(), "{path}: {}", response.body);
        proptest::prop_assert!(!response.head().headers.is_empty());
    }
}
