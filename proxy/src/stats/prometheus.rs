//! Text exposition for Prometheus, in Envoy's spelling.
//!
//! A stat's name holds the names of things: `cluster.up.upstream_rq_200`. Here those become labels:
//! `envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="up"}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use super::{Recorded, Snapshot, StatKind};
use crate::config::stats::{DefaultTag, StatsOptions, TagValue, Tags};

/// Renders a snapshot in Prometheus' text format 0.0.4.
#[must_use]
pub fn render(snapshot: &Snapshot, options: &StatsOptions) -> String {
    let tags = &options.tags;
    let mut out = String::new();
    for (kind, word) in [(StatKind::Counter, "counter"), (StatKind::Gauge, "gauge")] {
        let numbers = snapshot.numbers.iter().filter(|number| number.kind == kind);
        for (family, samples) in families(tags, numbers.map(|number| (number.name.as_str(), number.value))) {
            line(&mut out, format_args!("# TYPE {family} {word}"));
            for (labels, value) in samples {
                line(&mut out, format_args!("{family}{{{}}} {value}", labels.join(",")));
            }
        }
    }
    let histograms = snapshot.histograms.iter().map(|recorded| (recorded.name.as_str(), recorded));
    for (family, samples) in families(tags, histograms) {
        line(&mut out, format_args!("# TYPE {family} histogram"));
        for (labels, recorded) in samples {
            histogram(&mut out, &family, &labels, recorded, options.buckets(&recorded.name));
        }
    }
    out
}

fn histogram(out: &mut String, family: &str, labels: &[String], recorded: &Recorded, buckets: &[f64]) {
    let count = recorded.total.count();
    let own = labels.join(",");
    let comma = if own.is_empty() { "" } else { "," };
    for limit in buckets {
        let up_to = recorded.total.count_up_to(*limit);
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
fn families<'a, T>(tags: &Tags, stats: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<String, Vec<(Vec<String>, T)>> {
    let mut families: BTreeMap<String, Vec<(Vec<String>, T)>> = BTreeMap::new();
    for (name, value) in stats {
        let (family, labels) = split(tags, name);
        families.entry(family).or_default().push((labels, value));
    }
    families
}

/// A stat's name as family and labels. The labels stand in Envoy's order, and those of the operator's behind them.
fn split(tags: &Tags, name: &str) -> (String, Vec<String>) {
    let found: Vec<Found<'_>> = found(name)
        .into_iter()
        .filter(|found| found.tag == DefaultTag::Endpoint || tags.default.contains(&found.tag))
        .collect();
    let mut cuts: Vec<Range<usize>> = found.iter().map(|found| found.cut.clone()).collect();
    let mut labels: Vec<String> = found.iter().map(|found| label(found.tag.name(), &found.value)).collect();
    for tag in &tags.own {
        let value = match &tag.value {
            TagValue::Fixed(value) => value.as_str(),
            TagValue::Taken(regex) => {
                let Some(groups) = regex.captures(name) else { continue };
                let Some(cut) = groups.get(1) else { continue };
                cuts.push(cut.range());
                groups.get(2).unwrap_or(cut).as_str()
            }
        };
        labels.push(label(&tag.name, value));
    }
    let kept = name.char_indices().filter(|(at, _)| !cuts.iter().any(|cut| cut.contains(at)));
    let family = std::iter::once("envoy_".to_owned()).chain(kept.map(|(_, char)| match char {
        char if char.is_ascii_alphanumeric() => char.to_string(),
        _ => "_".to_owned(),
    }));
    (family.collect(), labels)
}

/// A tag of Envoy's in a name.
struct Found<'a> {
    tag: DefaultTag,
    value: Cow<'a, str>,
    /// What is left out of the family.
    cut: Range<usize>,
}

/// The tags of Envoy's in a name, in the order of its labels.
fn found(name: &str) -> Vec<Found<'_>> {
    let mut outer = None;
    let mut begin = 0;
    if let Some((address, _)) = name.strip_prefix("listener.").and_then(split_address) {
        let from = "listener.".len();
        begin = from + address.len() + 1;
        outer = Some(Found { tag: DefaultTag::Listener, value: address.into(), cut: from..begin });
    }
    let mut scope = None;
    for (word, tag) in [("cluster.", DefaultTag::Cluster), ("http.", DefaultTag::ConnectionManager)] {
        let inside = name.get(begin..).and_then(|rest| rest.strip_prefix(word));
        if let Some((value, _)) = inside.and_then(|inside| inside.split_once('.')) {
            let from = begin + word.len();
            begin = from + value.len() + 1;
            scope = Some(Found { tag, value: value.into(), cut: from..begin });
            break;
        }
    }
    let endpoint = scope.as_ref().filter(|scope| scope.tag == DefaultTag::Cluster).and_then(|_| endpoint(name, begin));
    let rules = match scope.as_ref().map(|scope| scope.tag) {
        Some(DefaultTag::ConnectionManager) => rules(name, begin),
        None if outer.is_none() => rules_of_connections(name).into_iter().collect(),
        Some(_) | None => Vec::new(),
    };
    code(name, begin).into_iter().chain(rules).chain(scope).chain(endpoint).chain(outer).collect()
}

/// `rbac.<prefix>.policy.<policy>.denied`, behind `begin`: a filter's prefix, if it has one, and a policy whose name has no dot.
fn rules(name: &str, begin: usize) -> Vec<Found<'_>> {
    const WORD: &str = "rbac.";
    const POLICY: &str = "policy.";
    const COUNTED: [&str; 4] = ["allowed", "denied", "shadow_allowed", "shadow_denied"];
    let Some(mut rest) = name.get(begin..).and_then(|rest| rest.strip_prefix(WORD)) else { return Vec::new() };
    let mut from = begin + WORD.len();
    let mut found = Vec::new();
    if let Some((prefix, behind)) = rest.split_once('.').filter(|_| !rest.starts_with(POLICY)) {
        let cut = from..from + prefix.len() + 1;
        (from, rest) = (cut.end, behind);
        found.push(Found { tag: DefaultTag::RbacHttpPrefix, value: prefix.into(), cut });
    }
    let policy = rest.strip_prefix(POLICY).and_then(|rest| rest.split_once('.'));
    if let Some((policy, _)) = policy.filter(|(_, last)| COUNTED.contains(last)) {
        let from = from + POLICY.len();
        let cut = from..from + policy.len() + 1;
        found.insert(0, Found { tag: DefaultTag::RbacPolicy, value: policy.into(), cut });
    }
    found
}

/// `<prefix>.rbac.denied` of the network filter.
fn rules_of_connections(name: &str) -> Option<Found<'_>> {
    let (prefix, _) = name.split_once(".rbac.").filter(|(prefix, _)| !prefix.contains('.'))?;
    Some(Found { tag: DefaultTag::RbacPrefix, value: prefix.into(), cut: 0..prefix.len() + 1 })
}

/// `endpoint.127.0.0.1_80.`, behind `begin`: of the address, colons became underscores.
fn endpoint(name: &str, begin: usize) -> Option<Found<'_>> {
    const WORD: &str = "endpoint.";
    let (address, _) = name.get(begin..)?.strip_prefix(WORD)?.rsplit_once('.')?;
    let value = match address.rsplit_once('_') {
        Some(_) if address.starts_with('[') => address.replace('_', ":").into(),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => format!("{host}:{port}").into(),
        Some(_) | None => address.into(),
    };
    let from = begin + WORD.len();
    Some(Found { tag: DefaultTag::Endpoint, value, cut: from..from + address.len() + 1 })
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

/// `upstream_rq_200` and `upstream_rq_2xx`, behind `begin`: the code or its class becomes a label.
fn code(name: &str, begin: usize) -> Option<Found<'_>> {
    let (before, last) = name.get(begin..)?.rsplit_once("_rq_")?;
    let from = begin + before.len() + "_rq_".len();
    let (tag, value, cut) = match last.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => (DefaultTag::ResponseCode, last, from - 1..name.len()),
        [b'0'..=b'9', b'x', b'x'] => (DefaultTag::ResponseCodeClass, last.trim_end_matches('x'), from..from + 1),
        _ => return None,
    };
    Some(Found { tag, value: value.into(), cut })
}

/// `envoy.cluster_name` as `envoy_cluster_name="up"`.
fn label(key: &str, value: &str) -> String {
    let key = key.replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{key}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::stats::OwnTag;
    use crate::stats::Registry;

    #[test]
    fn names_in_stats_become_labels() {
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
            (
                "http.in.rbac.rp.policy.p.denied",
                r#"envoy_http_rbac_policy_denied{envoy_rbac_policy_name="p",envoy_rbac_http_prefix="rp",envoy_http_conn_manager_prefix="in"}"#,
            ),
            (
                "http.in.rbac.policy.a.b.denied",
                r#"envoy_http_rbac_policy_a_b_denied{envoy_http_conn_manager_prefix="in"}"#,
            ),
            ("http.in.rbac.denied", r#"envoy_http_rbac_denied{envoy_http_conn_manager_prefix="in"}"#),
            ("once.rbac.denied", r#"envoy_rbac_denied{envoy_rbac_prefix="once"}"#),
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
            (
                "cluster.up.endpoint.127.0.0.1_80.cx_total",
                r#"envoy_cluster_endpoint_cx_total{envoy_cluster_name="up",envoy_endpoint_address="127.0.0.1:80"}"#,
            ),
            (
                "cluster.up.endpoint.[__1]_80.rq_error",
                r#"envoy_cluster_endpoint_rq_error{envoy_cluster_name="up",envoy_endpoint_address="[::1]:80"}"#,
            ),
            ("http2.rx_reset", "envoy_http2_rx_reset{}"),
            ("server.live", "envoy_server_live{}"),
            (r#"cluster.a"b\c.x-y"#, r#"envoy_cluster_x_y{envoy_cluster_name="a\"b\\c"}"#),
            ("listener.nowhere", "envoy_listener_nowhere{}"),
        ];
        for (name, want) in cases {
            let (family, labels) = split(&Tags::default(), name);
            assert_eq!(format!("{family}{{{}}}", labels.join(",")), want, "{name}");
        }
    }

    /// As Envoy 1.40 does it, but for the order of the labels.
    #[test]
    fn tags_of_the_operators_are_taken_out_of_names() {
        let taken = |name: &str, regex: &str| OwnTag {
            name: name.to_owned(),
            value: TagValue::Taken(regex::Regex::new(regex).unwrap()),
        };
        let fixed = OwnTag { name: "fix".to_owned(), value: TagValue::Fixed("v\"1".to_owned()) };
        let own = vec![taken("my.tag", "^http\\.((x)\\.)"), fixed, taken("whole", "(upstream)_rq")];
        let tags = Tags { own, ..Tags::default() };
        let few = Tags { default: vec![DefaultTag::Cluster], own: Vec::new() };
        for (tags, name, want) in [
            (
                &tags,
                "cluster.up.upstream_rq_503",
                r#"envoy_cluster__rq{envoy_response_code="503",envoy_cluster_name="up",fix="v\"1",whole="upstream"}"#,
            ),
            (
                &tags,
                "http.x.rq_total",
                r#"envoy_http_rq_total{envoy_http_conn_manager_prefix="x",my_tag="x",fix="v\"1"}"#,
            ),
            (&few, "cluster.up.upstream_rq_503", r#"envoy_cluster_upstream_rq_503{envoy_cluster_name="up"}"#),
            (&few, "http.x.rq_total", "envoy_http_x_rq_total{}"),
        ] {
            let (family, labels) = split(tags, name);
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
        insta::assert_snapshot!(render(&registry.snapshot(), &StatsOptions::default()));
    }

    proptest::proptest! {
        #[test]
        fn any_name_has_a_family_that_prometheus_takes(name in "((cluster|http|listener|_rq_2xx|_rq_200|[0-9._]|\\PC)[.]?){0,9}") {
            let (family, labels) = split(&Tags::default(), &name);
            proptest::prop_assert!(family.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{family}");
            proptest::prop_assert!(labels.iter().all(|label| label.ends_with('"')));
        }
    }
}
