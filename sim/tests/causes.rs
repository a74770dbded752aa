//! The reason follows the cause: the same request fails for another cause in each of many drawn variants of one scenario, and the
//! explanation names that cause, with its setting and value, and none of the others.

use std::path::Path;

use finwait_sim::explain::explain;
use finwait_sim::scenario::{Library, Scenario};

/// Variants that are drawn.
const VARIANTS: u64 = 50;

/// One way for the request to fail.
struct Cause {
    /// Fields of the proxy besides its configuration.
    patch: String,
    /// What the app does.
    app: String,
    /// The steps before and with the request.
    script: String,
    /// What the explanation has to contain.
    names: Vec<String>,
}

/// What the explanation of any other cause contains.
const MARKS: [&str; 8] = [
    "because of proxy's route.timeout",
    "because of proxy's route.retry_policy.per_try_timeout",
    "because of proxy's stream_idle_timeout",
    "because a circuit breaker was open",
    "because no route matches the request",
    "because the request head is larger than permitted",
    "app's idle_timeout",
    "the connection was refused",
];

const TIMEOUT: &str = "\"..route_config.virtual_hosts[0].routes[0].route.timeout\"";
const ROUTE: &str = "\"..route_config.virtual_hosts[0].routes[0].route.retry_policy\"";
const IDLE: &str = "\"static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stream_idle_timeout\"";
const LIMITS: &str = "\"static_resources.clusters[0].circuit_breakers\"";
const PREFIX: &str = "\"..route_config.virtual_hosts[0].routes[0].match.prefix\"";
const HEAD: &str = "\"static_resources.listeners[0].filter_chains[0].filters[0].typed_config.max_request_headers_kb\"";

/// The cause with this number, with a value that `drawn` decides.
fn cause(number: u64, drawn: u64) -> Cause {
    let seconds = 2 + drawn % 9;
    let late = format!("{{ reply: {{ after: {}s }} }}", seconds + 20);
    let get = "  - client: GET /it".to_owned();
    let names = |mark: usize, value: &str| vec![MARKS[mark].to_owned(), value.to_owned()];
    match number {
        0 => Cause {
            patch: format!("{TIMEOUT}: {seconds}s"),
            app: late,
            script: get,
            names: names(0, &format!("route.timeout, {seconds}s")),
        },
        1 => Cause {
            patch: format!("{ROUTE}: {{ retry_on: reset, num_retries: 0, per_try_timeout: {seconds}s }}"),
            app: late,
            script: get,
            names: names(1, &format!("per_try_timeout, {seconds}s")),
        },
        2 => Cause {
            patch: format!("{IDLE}: {seconds}s"),
            app: late,
            script: get,
            names: names(2, &format!("stream_idle_timeout, {seconds}s")),
        },
        3 => Cause {
            patch: format!("{LIMITS}: {{ thresholds: [{{ max_requests: 0, max_pending_requests: {seconds} }}] }}"),
            app: "{}".into(),
            script: get,
            names: names(3, &format!("max_pending_requests {seconds}, max_requests 0")),
        },
        4 => Cause {
            patch: format!("{PREFIX}: /only/{seconds}"),
            app: "{}".into(),
            script: get,
            names: names(4, "route_config.virtual_hosts"),
        },
        5 => Cause {
            patch: format!("{HEAD}: {seconds}"),
            app: "{}".into(),
            script: format!("  - client: {{ request: GET /it, headers: {{ x-large: \"{}\" }} }}", "a".repeat(12_000)),
            names: names(5, "max_request_headers_kb"),
        },
        6 => Cause {
            patch: String::new(),
            app: format!("{{ idle_timeout: {seconds}s }}"),
            script: format!(
                "  - client: GET /it\n  - wait: {}ms\n  - client: {{ request: POST /it, body: once }}",
                seconds * 1000 - 10
            ),
            names: names(6, &format!("idle_timeout, {seconds}s")),
        },
        _ => Cause {
            patch: format!(
                "\"static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value\": {}",
                8000 + seconds
            ),
            app: "{}".into(),
            script: get,
            names: names(7, &format!("10.0.0.3:{}", 8000 + seconds)),
        },
    }
}

#[test]
fn the_reason_changes_with_the_cause() {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    for variant in 0..VARIANTS {
        // Consecutive variants have different causes, and each cause comes with several values.
        let (number, drawn) = (variant % 8, variant.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
        let Cause { patch, app, script, names } = cause(number, drawn);
        let text = format!(
            "about: One cause of many.\nhosts:\n  client: {{ client: {{ connect: proxy:80 }}, ip: 10.0.0.1 }}\n  proxy: {{ config: ../keepalive/configs/one-hop.yaml, ip: 10.0.0.2, patch: {{ {patch} }} }}\n  app: {{ ip: 10.0.0.3, app: {app} }}\nlinks:\n  proxy-app: {{ latency: 10ms }}\nscript:\n{script}\n"
        );
        let scenario = Scenario::read(&library, "scenarios/errors/drawn.yaml", text);
        let scenario = scenario.unwrap_or_else(|error| panic!("{variant}: {error}"));
        let played = scenario.play(None).expect("it plays");
        let explained: String = explain(&scenario, &played).iter().map(ToString::to_string).collect();
        for name in &names {
            assert!(explained.contains(name.as_str()), "{variant}: no {name:?} in\n{explained}");
        }
        // What a remedy comes to may have other causes; the reason stands before it.
        let reason = explained.split("to change it").next().unwrap_or_default();
        for mark in MARKS.iter().filter(|mark| **mark != names[0]) {
            assert!(!reason.contains(mark), "{variant}: {mark:?} in\n{explained}");
        }
    }
}
