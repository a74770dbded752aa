//! Text exposition for Prometheus, in Envoy's spelling.
//!
//! A stat's name holds the names of things: `cluster.up.upstream_rq_200`. Here those become labels:
//! `envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="up"}`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Kind, Recorded, Snapshot};

/// Upper bounds of the buckets, Envoy's choice. In the histogram's unit.
const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Renders `snapshot`.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for (kind, word) in [(Kind::Counter, "counter"), (Kind::Gauge, "gauge")] {
        let numbers = snapshot.numbers.iter().filter(|number| number.kind == kind);
        for (family, samples) in families(numbers.map(|number| (number.name.as_str(), number.value))) {
            line(&mut out, format_args!("# TYPE {family} {word}"));
            for (labels, value) in samples {
                line(&mut out, format_args!("{family}{{{}}} {value}", labels.join(",")));
            }
        }
    }
    for (family, samples) in families(snapshot.histograms.iter().map(|recorded| (recorded.name.as_str(), recorded))) {
        line(&mut out, format_args!("# TYPE {family} histogram"));
        for (labels, recorded) in samples {
            histogram(&mut out, &family, &labels, recorded);
        }
    }
    out
}

fn histogram(out: &mut String, family: &str, labels: &[String], recorded: &Recorded) {
    let count = recorded.total.count();
    let own = labels.join(",");
    let comma = if own.is_empty() { "" } else { "," };
    for limit in BUCKETS {
        let up_to = recorded.total.count_up_to(limit);
        line(out, format_args!("{family}_bucket{{{own}{comma}le=\"{limit}\"}} {up_to}"));
    }
    line(out, format_args!("{family}_bucket{{{own}{comma}le=\"+Inf\"}} {count}"));
    line(out, format_args!("{family}_sum{{{own}}} {}", recorded.sum));
    line(out, format_args!("{family}_count{{{own}}} {count}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a String does not fail");
}

/// Stats by the name they have without their labels.
fn families<'a, T>(stats: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<String, Vec<(Vec<String>, T)>> {
    let mut families: BTreeMap<String, Vec<(Vec<String>, T)>> = BTreeMap::new();
    for (name, value) in stats {
        let (family, labels) = split(name);
        families.entry(family).or_default().push((labels, value));
    }
    families
}

/// A stat's name as family and labels. The labels stand in Envoy's order.
fn split(name: &str) -> (String, Vec<String>) {
    let mut words = vec!["envoy"];
    let mut rest = name;
    let mut outer = None;
    if let Some((address, inner)) = name.strip_prefix("listener.").and_then(split_address) {
        words.push("listener");
        outer = Some(label("envoy_listener_address", address));
        rest = inner;
    }
    let mut scope = None;
    for (word, key) in [("cluster", "envoy_cluster_name"), ("http", "envoy_http_conn_manager_prefix")] {
        let inside = rest.strip_prefix(word).and_then(|rest| rest.strip_prefix('.'));
        if let Some((thing, inner)) = inside.and_then(|inside| inside.split_once('.')) {
            words.push(word);
            scope = Some(label(key, thing));
            rest = inner;
            break;
        }
    }
    let (last, code) = split_code(rest);
    words.push(&last);
    let labels = code.into_iter().chain(scope).chain(outer).collect();
    let family = words.join("_").replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    (family, labels)
}

/// `127.0.0.1_80.rest`: the address ends with the segment that ends with the port.
fn split_address(text: &str) -> Option<(&str, &str)> {
    let ends_in_port = |address: &str| {
        let port = address.rsplit_once('_').map_or("", |(_, port)| port);
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let cuts = text.match_indices('.').filter_map(|(at, _)| text.split_at_checked(at));
    cuts.map(|(address, rest)| (address, rest.trim_start_matches('.'))).find(|(address, _)| ends_in_port(address))
}

/// `upstream_rq_200` and `upstream_rq_2xx`: the code or its class becomes a label.
fn split_code(name: &str) -> (String, Option<String>) {
    let Some((before, last)) = name.rsplit_once("_rq_") else { return (name.to_owned(), None) };
    match last.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => (format!("{before}_rq"), Some(label("envoy_response_code", last))),
        [b'0'..=b'9', b'x', b'x'] => {
            (format!("{before}_rq_xx"), Some(label("envoy_response_code_class", last.trim_end_matches('x'))))
        }
        _ => (name.to_owned(), None),
    }
}

fn label(key: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{key}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Registry;

    #[test]
    fn names_of_things_become_labels() {
        // As Envoy 1.40 spelled them.
        let cases = [
            ("cluster.up.upstream_cx_total", r#"envoy_cluster_upstream_cx_total{envoy_cluster_name="up"}"#),
            (
                "cluster.up.external.upstream_rq_200",
                r#"envoy_cluster_external_upstream_rq{envoy_response_code="200",envoy_cluster_name="up"}"#,
            ),
            (
                "cluster.up.upstream_rq_2xx",
                r#"envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="up"}"#,
            ),
            ("cluster.up.http2.rx_reset", r#"envoy_cluster_http2_rx_reset{envoy_cluster_name="up"}"#),
            (
                "cluster.up.circuit_breakers.default.cx_open",
                r#"envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name="up"}"#,
            ),
            ("http.in.downstream_rq_time", r#"envoy_http_downstream_rq_time{envoy_http_conn_manager_prefix="in"}"#),
            ("http.in.tracing.health_check", r#"envoy_http_tracing_health_check{envoy_http_conn_manager_prefix="in"}"#),
            (
                "http.in.downstream_rq_2xx",
                r#"envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="in"}"#,
            ),
            (
                "listener.127.0.0.1_80.downstream_cx_total",
                r#"envoy_listener_downstream_cx_total{envoy_listener_address="127.0.0.1_80"}"#,
            ),
            (
                "listener.[__1]_80.http.in.downstream_rq_5xx",
                r#"envoy_listener_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="in",envoy_listener_address="[__1]_80"}"#,
            ),
            ("http2.rx_reset", "envoy_http2_rx_reset{}"),
            ("server.live", "envoy_server_live{}"),
            (r#"cluster.a"b\c.x-y"#, r#"envoy_cluster_x_y{envoy_cluster_name="a\"b\\c"}"#),
            ("listener.nowhere", "envoy_listener_nowhere{}"),
        ];
        for (name, want) in cases {
            let (family, labels) = split(name);
            assert_eq!(format!("{family}{{{}}}", labels.join(",")), want, "{name}");
        }
    }

    #[test]
    fn a_scrape() {
        let registry = Registry::new();
        for name in ["http.b.rq_total", "http.a.rq_total", "cluster.up.upstream_rq_200", "cluster.up.upstream_rq_503"] {
            registry.counter(name).inc();
        }
        registry.state("server.live").set(1);
        let time = registry.histogram("http.a.downstream_rq_time");
        [0, 1, 43, 2500, 9_000_000].iter().for_each(|ms| time.record(*ms));
        registry.histogram("plain");
        insta::assert_snapshot!(render(&registry.snapshot()));
    }

    proptest::proptest! {
        #[test]
        fn any_name_has_a_family_that_prometheus_takes(name in "((cluster|http|listener|_rq_2xx|_rq_200|[0-9._]|\\PC)[.]?){0,9}") {
            let (family, labels) = split(&name);
            proptest::prop_assert!(family.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{family}");
            proptest::prop_assert!(labels.iter().all(|label| label.ends_with('"')));
        }
    }
}
