//! Every file under `configs/accepted` loads, and means what is recorded beside it; every file under `configs/refused` is
//! refused in the words recorded beside it; the examples load without a warning.
//!
//! The records are insta snapshots next to the inputs, so that a reader sees both at once.

use std::path::{Path, PathBuf};

use finwait::config::entry_log::NodeIdentity;
use finwait::config::{Config, ConfigError, Differences, Loaded};
use proptest::prelude::*;

#[test]
fn accepted_files_mean_what_is_recorded() {
    for file in files("tests/configs/accepted") {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{error}"));
        let warnings: String = loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
        let Config {
            admin,
            node,
            zone,
            secrets: _,
            connections_max,
            internal_buffer_bytes,
            listeners,
            clusters,
            differences: _,
            runtime: _,
            stats: _,
            dump: _,
            watched_files,
            dns_caches,
        } = loaded.config;
        let mut limit = connections_max.map(|max| format!("connections_max: {max}\n")).unwrap_or_default();
        if *node != NodeIdentity::default() {
            limit += &format!("node: {node:?}\n");
        }
        limit += &zone.map(|zone| format!("zone: {zone}\n")).unwrap_or_default();
        if internal_buffer_bytes > 0 {
            limit += &format!("internal_buffer_bytes: {internal_buffer_bytes}\n");
        }
        let watched = if watched_files.is_empty() { String::new() } else { format!("watched: {watched_files:?}\n") };
        let caches = if dns_caches.is_empty() { String::new() } else { format!("dns_caches: {dns_caches:#?}\n") };
        compare(
            "configs/accepted",
            &file,
            &format!(
                "{warnings}admin: {admin:?}\n{limit}{watched}{caches}listeners: {listeners:#?}\nclusters: {clusters:#?}"
            ),
        );
    }
}

#[test]
fn refused_files_are_refused_in_the_recorded_words() {
    for file in files("tests/configs/refused") {
        let error = load(&file).err().unwrap_or_else(|| panic!("{} was accepted", file.display()));
        compare("configs/refused", &file, &error.to_string());
    }
}

/// Values that Envoy 1.40 refuses as well, except that it accepts header names with blanks; each in place of the one in `every-supported-field.yaml`.
const REFUSED_VALUES: &[(&str, &str)] = &[
    ("server_name: edge", r#"server_name: "a\r\nx: y""#),
    ("server_name: edge", r#"server_name: "a\u0001b""#),
    ("internal_only_headers: [X-Secret]", r#"internal_only_headers: ["a\nb"]"#),
    ("domains: [Example.com,", r#"domains: ["a\nb","#),
    ("upgrade_type: CONNECT }]", r#"upgrade_type: "a\nb" }]"#),
    ("regex: \"/v[0-9]+/.*\"", "regex: \"\""),
    ("redirect: { https_redirect: true,", "redirect: { https_redirect: true, scheme_redirect: http,"),
    ("port_redirect: 8443", "port_redirect: 65536"),
    ("path_redirect: /new", "path_redirect: \"/a\\r\\nb\""),
    ("response_code: PERMANENT_REDIRECT", "response_code: 200"),
    ("scheme_redirect: https, prefix_rewrite: /new", "path_redirect: /a, prefix_rewrite: /new"),
    ("require_tls: EXTERNAL_ONLY", "require_tls: SOME"),
    ("path_separated_prefix: /api", "path_separated_prefix: /api/"),
    ("path_separated_prefix: /api", "prefix: /, path_separated_prefix: /api"),
    ("exact_match: a }", "exact_match: a, present_match: true }"),
    ("name: b, present_match: false", "name: b, present_match: false, string_match: { exact: a }"),
    ("request_headers_to_remove: [x-everywhere]", "request_headers_to_remove: [Host]"),
    (
        "response_headers_to_remove: [x-powered-by]",
        "response_headers_to_add: [{ header: { key: \":status\", value: a } }]",
    ),
    (
        "response_headers_to_remove: [x-powered-by]",
        "response_headers_to_add: [{ header: { key: x, value: \"%NOTHING%\" } }]",
    ),
    ("append_x_forwarded_host: true", "regex_rewrite: { pattern: { regex: a }, substitution: b }"),
    ("append_x_forwarded_host: true", "host_rewrite_header: x-host"),
    ("retriable_headers: [{ name: X-Again }]", "retriable_headers: [{ name: \"\" }]"),
    ("retriable_headers: [{ name: X-Again }]", r#"retriable_headers: [{ name: "a\r\nb: c" }]"#),
    ("retriable_headers: [{ name: X-Again }]", r#"retriable_request_headers: [{ name: "a b" }]"#),
    ("initial_requests: 2", "initial_requests: 0"),
    ("{ name: Retry-After,", r#"{ name: "a\0b","#),
    ("{ max_interval: 60s,", "{ max_interval: 0s,"),
    ("base_interval: 0.1s", "base_interval: 0s"),
    ("cluster_header: X-Cluster, weight: 0 }", "cluster_header: X-Cluster, name: dns, weight: 0 }"),
    ("cluster_header: X-Cluster, weight: 0 }", "weight: 0 }"),
    ("cluster_header: X-Cluster, weight: 0 }", "cluster_header: X-Cluster }"),
    ("cluster_header: X-Cluster, weight: 0 }", "name: absent, weight: 0 }"),
    ("cluster_header: X-Cluster, weight: 0 }", "name: dns, weight: 4294967295 }"),
    (
        "cluster: dns, upgrade_configs",
        "cluster: dns, weighted_clusters: { clusters: [{ name: dns, weight: 1 }] }, upgrade_configs",
    ),
    ("cluster: dns, upgrade_configs", "weighted_clusters: { clusters: [{ name: dns, weight: 0 }] }, upgrade_configs"),
    (
        "cluster: dns, upgrade_configs",
        "weighted_clusters: { use_hash_policy: true, clusters: [{ name: dns, weight: 1 }] }, upgrade_configs",
    ),
    ("strip_any_host_port: true", "strip_any_host_port: true\n          strip_matching_host_port: true"),
    ("scheme_to_overwrite: https", "scheme_to_overwrite: ftp"),
    ("path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT", "path_with_escaped_slashes_action: UNESCAPE"),
    ("path_template: \"/t/{a}/{b=**}\"", "path_template: \"/t/{a\""),
    ("path_template: \"/t/{a}/{b=**}\"", "path_template: \"/t/{a}/{a}\""),
    ("path_template_rewrite: \"/{b}/{a}\"", "path_template_rewrite: \"/{c}\""),
    ("path_template_rewrite: \"/{b}/{a}\"", "path_template_rewrite: \"/a b/{a}\""),
    ("auto_host_rewrite: true", "auto_host_rewrite: true\n                  host_rewrite_literal: a.test"),
    ("host_rewrite: \"%REQ(x-a)%.test\"", "host_rewrite: \"%NOTHING%\""),
    ("path_rewrite: \"/%REQ(x-a)%\"", "path_rewrite: \"/%REQ(x-a)%\", prefix_rewrite: /a"),
    ("cluster_header: X-Mirror, disable", "disable"),
    ("request_mirror_policies: [{ cluster: static }]", "request_mirror_policies: [{ cluster: absent }]"),
    ("hostname: one.test", "hostname: \"one/test\""),
    ("header_key_format: { proper_case_words: {} }", "header_key_format: {}"),
    ("headers_with_underscores_action: DROP_HEADER", "headers_with_underscores_action: DROP"),
    ("{ name: gets, headers: [{ name: \":method\", string_match: { exact: GET } }] }", "{ name: gets }"),
    ("denominator: TEN_THOUSAND", "denominator: THOUSAND"),
    ("stat_prefix: edge", "stat_prefix: \"\""),
    ("- name: envoy.filters.network.http_connection_manager", "- name: \"\""),
    ("log_format: { text_format: \"100%%\\n\" }", "log_format: {}"),
    ("%RESP(SERVER)%", "%RESP(X SERVER)%"),
    ("stream_idle_timeout: 0s", "stream_idle_timeout: 9223372036s"),
    ("stream_idle_timeout: 0s", "stream_idle_timeout: -1s"),
    ("connect_timeout: 0.25s", "connect_timeout: 0s"),
    ("dns_refresh_rate: 60s", "dns_refresh_rate: 0.001s"),
    ("budget_percent: { value: 12.5 }", "budget_percent: { value: 101 }"),
    ("healthy_panic_threshold: { value: 0 }", "healthy_panic_threshold: { value: -1 }"),
    ("max_requests_per_connection: 100, max_connection", "max_requests_per_connection: -1, max_connection"),
    ("lb_policy: RANDOM", "max_requests_per_connection: 3"),
    ("      name: over-http\n", ""),
    ("name: over-tcp", "name: over-http"),
    ("no_traffic_interval: 30s", "no_traffic_interval: 0s"),
    ("unhealthy_interval: 1s", "unhealthy_interval: 0s"),
    ("[{ start: 200, end: 300 }]", "[{ start: 200, end: 200 }]"),
    ("[{ start: 200, end: 300 }]", "[{ start: 99, end: 200 }]"),
    ("[{ start: 503, end: 504 }]", "[{ start: 503, end: 601 }]"),
    ("[{ start: 503, end: 504 }]", "[{ start: 503 }]"),
    ("receive: [{ text: \"4f4b\" }]", "receive: [{ text: \"\" }]"),
    ("enforcing_consecutive_5xx: 100", "enforcing_consecutive_5xx: 101"),
    ("max_ejection_percent: 50", "max_ejection_percent: 101"),
    ("interval: 1s\n      base_ejection_time", "interval: 0s\n      base_ejection_time"),
    ("base_ejection_time: 10s", "base_ejection_time: 61s"),
    ("base_ejection_time: 10s\n      max_ejection_time: 60s\n", "max_ejection_time: 29s\n"),
    ("cluster_name: dns", "cluster_name: \"\""),
    ("      cluster_name: dns\n", ""),
];

#[test]
fn values_that_envoy_refuses_are_refused_with_their_place() {
    insta::with_settings!({ snapshot_path => "configs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("refused-values", refusals("every-supported-field.yaml", REFUSED_VALUES));
    });
}

/// Values that Envoy 1.40 refuses as well, each in place of one in `access-logs.yaml`; but it has the operator.
const REFUSED_LOGS: &[(&str, &str)] = &[
    ("stat_prefix: edge", "stat_prefix: edge\n          flush_access_log_on_new_request: true"),
    ("- not_health_check_filter: {}", "- {}"),
    ("- not_health_check_filter: {}", "- { not_health_check_filter: {}, traceable_filter: {} }"),
    ("- traceable_filter: {}", "- and_filter: { filters: [{ traceable_filter: {} }] }"),
    ("flags: [UH, UF]", "flags: [UH, uf]"),
    ("status_code: 410", "status_code: 199"),
    ("key: x-was", "key: \":status\""),
    ("content_type: text/html", "content_type: \"a\\nb\""),
    ("%TRAILER(x-t)%", "%TRAILER(x-t"),
    ("%TRAILER(x-t)%", "%trailer%"),
    ("json_format: { id: \"%STREAM_ID%\", tls: \"%DOWNSTREAM_TLS_VERSION%\" }", "json_format: text"),
    ("path: /var/log/old.json", "path: /var/log/old.json\n              format: a"),
    ("text_format_source: { inline_string: \"<p>", "json_format: {}, text_format_source: { inline_string: \"<p>"),
];

#[test]
fn logs_that_envoy_refuses_are_refused_with_their_place() {
    insta::with_settings!({ snapshot_path => "configs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("refused-logs", refusals("access-logs.yaml", REFUSED_LOGS));
    });
}

/// Values that are refused, the first five by Envoy 1.40 as well, each in place of one in `stats.yaml`.
const REFUSED_STATS: &[(&str, &str)] = &[
    ("exclusion_list:", "reject_all: true\n    exclusion_list:"),
    ("patterns: [{ prefix: cluster.noise. }, { safe_regex: { regex: \"http\\\\..*_buffered\" } }]", "patterns: []"),
    ("tag_name: envoy.worker_id", "tag_name: nope"),
    ("fixed_value: berlin", "fixed_value: berlin, regex: \"(a)\""),
    ("((up|down)stream)_", "((up|down)stream_"),
    ("buckets: [100, 1, 10.5, 100]", "buckets: []"),
    ("buckets: [100, 1, 10.5, 100]", "buckets: [0]"),
    ("((up|down)stream)_", "(?:up|down)stream_"),
    ("tag_name: envoy.cluster_name", "tag_name: envoy.cluster_name, fixed_value: a"),
    ("buckets: [100, 1, 10.5, 100]", "bins: 32, buckets: [1]"),
];

#[test]
fn stats_options_that_envoy_refuses_are_refused_with_their_place() {
    insta::with_settings!({ snapshot_path => "configs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("refused-stats", refusals("stats.yaml", REFUSED_STATS));
    });
}

/// Values that Envoy 1.40 refuses as well, each in place of one in `tls-peers.yaml`.
const REFUSED_PEERS: &[(&str, &str)] = &[
    ("zuOHTxXnk2NWV8sf1i97lW+l1/UoXC8phjAdqDECRo4=", "abc"),
    ("zuOHTxXnk2NWV8sf1i97lW+l1/UoXC8phjAdqDECRo4=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ("9D:4B:", "9D:"),
    ("9D:4B:", "9D:XX:"),
    ("oid: 1.3.6.1.4.1.311.20.2.3", "oid: userPrincipalName"),
    ("oid: 1.3.6.1.4.1.311.20.2.3, ", ""),
    ("max_verify_depth: 2", "max_verify_depth: 101"),
    (
        "trusted_ca: { filename: tests/tls/authority.pem }\n                  allow_expired_certificate: true\n                  match_subject_alt_names: [{ suffix: .client.test }]",
        "allow_expired_certificate: true",
    ),
    (
        "trusted_ca: { filename: tests/tls/authority.pem }\n                  allow_expired_certificate: true",
        "allow_expired_certificate: false",
    ),
];

#[test]
fn rules_for_peers_that_envoy_refuses_are_refused_with_their_place() {
    insta::with_settings!({ snapshot_path => "configs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("refused-peers", refusals("tls-peers.yaml", REFUSED_PEERS));
    });
}

/// Values that Envoy takes, and by which it would send requests that no server reads.
const UNSENDABLE_VALUES: &[(&str, &str)] = &[
    ("prefix_rewrite: /new, host", "prefix_rewrite: new, host"),
    ("prefix_rewrite: /new, host", "prefix_rewrite: \"/a b\", host"),
    ("prefix_rewrite: /new, host", "prefix_rewrite: \"/a#b\", host"),
    ("host_rewrite_literal: new.test:81", "host_rewrite_literal: new/test"),
    ("pattern: { regex: \"^/regex/\" }, substitution: \"\"", "pattern: { regex: \"^/regex/\" }, substitution: \"a b\""),
    ("pattern: { regex: \"^/regex/\" }, substitution: \"\"", "pattern: { regex: \"^/regex/\" }, substitution: '\\1'"),
    ("substitution: '\\1.test'", "substitution: '\\1/test'"),
];

#[test]
fn values_by_which_requests_could_not_be_sent_are_refused() {
    insta::with_settings!({ snapshot_path => "configs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("unsendable-values", refusals("every-supported-field.yaml", UNSENDABLE_VALUES));
    });
}

/// What is said to each of `values`, in place of another in `every-supported-field.yaml`.
fn refusals(accepted: &str, values: &[(&str, &str)]) -> String {
    let file = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/accepted").join(accepted));
    let refused = values.iter().map(|(accepted, refused)| {
        assert_eq!(file.matches(accepted).count(), 1, "{accepted} stands once in the file");
        let read = Config::from_yaml(&file.replace(accepted, refused), "x.yaml");
        assert!(read.is_err(), "{refused} was accepted in place of {accepted}");
        read.err().map(|error| format!("{error}\n")).unwrap_or_default()
    });
    refused.collect::<Vec<_>>().join("\n")
}

#[test]
fn thirty_thousand_routes_of_as_many_hosts_and_clusters_are_read() {
    const COUNT: usize = 30_000;
    let file =
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/accepted/cluster-that-does-not-exist.yaml"));
    let (head, _) = file.split_once("            - name: all").expect("the file has a virtual host");
    let hosts: String = (0..COUNT)
        .map(|n| {
            format!(
                "            - {{ name: h{n}, domains: [h{n}.test], routes: [{{ match: {{ prefix: /r{n} }}, route: {{ cluster: c{n} }} }}] }}\n"
            )
        })
        .collect();
    let clusters: String = (0..COUNT).map(|n| format!("  - {{ name: c{n} }}\n")).collect();
    let text =
        format!("{head}{hosts}  clusters:\n{clusters}").replace("validate_clusters: false", "validate_clusters: true");
    let loaded = Config::from_yaml(&text, "x").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config.clusters.len(), COUNT);
    assert_eq!(loaded.config.listeners[0].managers().next().unwrap().routes.virtual_hosts.len(), COUNT);
}

#[test]
fn a_misspelt_retry_policy_is_ignored_with_envoy_exact() {
    let file = read(Path::new("tests/configs/refused/misspelt-retry-word.yaml"));
    let loads = |text: &str, differences| {
        let loaded = Config::from_yaml_with(text, "x", differences);
        loaded.map(|loaded| loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let as_envoy = loads(&file, Differences::NONE).unwrap();
    assert_eq!(as_envoy.len(), 1);
    assert!(as_envoy[0].contains("is no condition for a retry, and ignored"), "{as_envoy:?}");
    let layer = |is_on| {
        format!(
            "{file}\nlayered_runtime: {{layers: [{{name: a, static_layer: {{finwait.strict_retry_on: {is_on}}}}}]}}\n"
        )
    };
    assert_eq!(loads(&layer(false), Differences::ALL).unwrap(), as_envoy, "the runtime says so");
    assert!(loads(&layer(true), Differences::NONE).is_err(), "the runtime says otherwise");
}

#[test]
fn examples_load_without_a_warning() {
    for file in files("examples") {
        let loaded = load(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings, [], "{}", file.display());
    }
}

#[test]
fn the_dump_is_the_file_with_the_names_of_fields_as_envoy_shows_them() {
    let loaded = Config::from_yaml("static_resources: {clusters: [{name: app, connectTimeout: 1s}]}", "x").unwrap();
    let dump = r#"{"static_resources":{"clusters":[{"connect_timeout":"1s","name":"app"}]}}"#;
    assert_eq!(loaded.config.dump.to_string(), dump);
}

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_refused_within_its_own_lines(
        which in 0..3usize,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), damage()), 1..4),
    ) {
        let file = &files("examples")[which];
        let mut text: Vec<char> = read(file).chars().collect();
        for (at, length, damage) in cuts {
            let at = at.index(text.len());
            let length = length.index((text.len() - at).min(40)).min(text.len() - at);
            text.splice(at..at + length, damage.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Config::from_yaml(&text, "damaged.yaml") {
            let lines = text.lines().count() + 1;
            prop_assert!(error.place.at.is_none_or(|at| (1..=lines).contains(&at.line)), "{error}");
            prop_assert!(error.to_string().starts_with("damaged.yaml:"), "{error}");
        }
    }
}

/// What a slip of the hand, or malice, might leave in a file.
fn damage() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ \\t\\n:{}\\[\\]\"'*&!|>%@`#,-]{1,6}",
        Just("\u{0}\u{feff}é𝄞".to_owned()),
        Just("0xffffffffffffffffffffffffffffffffffff".to_owned()),
        Just("-1".to_owned()),
        Just("1e999".to_owned()),
        Just("null".to_owned()),
        Just("\n  <<: *x\n".to_owned()),
        Just("99999999999999999999s".to_owned()),
        Just("%REQ(:%".to_owned()),
    ]
}

/// The inputs in `folder`, in the order of their names.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = folder.read_dir().expect("the folder stands beside this file");
    let paths = entries.map(|entry| entry.expect("a folder can be listed to its end").path());
    let is_input = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "yaml" || kind == "json");
    let mut files: Vec<PathBuf> = paths.filter(is_input).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

#[expect(clippy::disallowed_methods, reason = "the inputs of this test are files")]
fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("an input is a text")
}

fn load(file: &Path) -> Result<Loaded, ConfigError> {
    Config::from_yaml(&read(file), &name(file))
}

fn name(file: &Path) -> String {
    file.file_name().expect("an input has a name").to_string_lossy().into_owned()
}

/// Compares with `<folder>/<file>.snap`.
fn compare(folder: &str, file: &Path, said: &str) {
    insta::with_settings!({
        snapshot_path => folder,
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name(file), said);
    });
}
