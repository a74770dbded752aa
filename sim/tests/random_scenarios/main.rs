//! Scenarios that nobody wrote: topology, timeouts, clients, apps, frames by hand, links, misfortunes and departures are drawn,
//! and what holds in every run must hold in these.
//!
//! A case that fails is printed as a scenario file, made as small as proptest can. It belongs into `corpus/`, where it is played for ever: a file outlives changes of the generator, a seed does not. `PROPTEST_CASES` asks for more cases.

#![expect(clippy::panic, reason = "a helper of the test says why it fails")]

mod misfortune;

use std::path::{Path, PathBuf};

use finwait_sim::check::check;
use finwait_sim::report::story;
use finwait_sim::scenario::{Library, Scenario};
use misfortune::{by_hand, misfortunes, programs};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Cases in a run of the tests, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 64;

/// Where the scenarios pretend to be, so that they find the configurations of real ones.
const PLACE: &str = "scenarios/upgrades/random.yaml";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What does not hold. A step that cannot be carried out is no such thing here: nobody says that it can.
fn broken(text: &str) -> Vec<String> {
    let scenario = Scenario::read(&Library::Disk(repository()), PLACE, text.into()).unwrap_or_else(|error| {
        panic!("the generator makes scenarios: {error}\n{text}");
    });
    let played = scenario.play(None).unwrap_or_else(|error| panic!("configurations are accepted: {error}\n{text}"));
    let stuck = played.stuck.as_ref().map(|(_, why)| why.clone());
    // A script may wait for what never comes. Then nobody has left, and what is open is no leak.
    let is_over = played.took < scenario.limit.0;
    let is_of_the_end = |what: &str| what.starts_with("left open") || what.ends_with("after all connections closed");
    let complaints = check(&scenario, &played, &story(&scenario, &played));
    let broken = complaints.iter().map(|complaint| complaint.what().to_owned());
    broken.filter(|what| Some(what) != stuck.as_ref() && (is_over || !is_of_the_end(what))).collect()
}

#[test]
fn what_failed_before_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/random_scenarios/corpus");
    let mut files: Vec<PathBuf> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(broken(&text), [""; 0], "{}", file.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None, // the corpus is made of files that people can read
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_holds_in_every_run_holds_in_any(text in scenario()) {
        let broken = broken(&text);
        prop_assert!(broken.is_empty(), "{}\n\nput it into sim/tests/random_scenarios/corpus/:\n{text}", broken.join("\n"));
    }
}

/// Who stands between the client and the app, and which of these two speak HTTP/2 by hand.
#[derive(Clone, Copy, Debug)]
struct Shape {
    proxies: &'static [&'static str],
    /// The address that the last proxy knows the app by.
    app_ip: &'static str,
    client_speaks_http2: bool,
    app_speaks_http2: bool,
}

impl Shape {
    fn all() -> Vec<Self> {
        let shape = |proxies, app_ip, client_speaks_http2, app_speaks_http2| Self {
            proxies,
            app_ip,
            client_speaks_http2,
            app_speaks_http2,
        };
        vec![
            shape(&[], "10.0.0.3", false, false),
            shape(&["proxy"], "10.0.0.3", false, false),
            shape(&["front", "ingress", "sidecar"], "10.0.0.5", false, false),
            shape(&["ingress", "sidecar"], "10.0.0.5", false, false),
            shape(&["ingress"], "10.0.0.4", false, true),
            shape(&["sidecar"], "10.0.0.5", true, false),
        ]
    }

    fn stations(self) -> Vec<&'static str> {
        ["client"].into_iter().chain(self.proxies.iter().copied()).chain(["app"]).collect()
    }
}

/// A whole scenario file.
fn scenario() -> impl Strategy<Value = String> {
    select(Shape::all()).prop_flat_map(|shape| {
        let programs = if shape.app_speaks_http2 { programs().boxed() } else { Just(String::new()).boxed() };
        let parts = (conversations("client", shape), conversations("other", shape), misfortunes(shape.stations()));
        (topology(shape), app(), programs, chance(), parts, any::<u16>()).prop_map(
            move |((hosts, links), app, programs, chance, (client, other, misfortunes), seed)| {
                let http2 = if programs.is_empty() { String::new() } else { format!(", protocol: http2, programs: {programs}") };
                let script = [background(&other), background(&misfortunes), client].concat();
                let text = format!(
                    "about: A scenario that nobody wrote.\nseed: {seed}\nlimit: 5m\n{chance}hosts:\n{hosts}  app: {{ ip: {}, \
                     app: {{ {app}{http2} }} }}\n{links}script:\n{}\n",
                    shape.app_ip,
                    script.join("\n")
                );
                // An app that refuses a stream says that it has not carried out what it has seen.
                let except = if text.contains("REFUSED_STREAM") { "except: [one_delivery]\n" } else { "" };
                text + except
            },
        )
    })
}

/// The steps beside those that follow.
fn background(steps: &[String]) -> Vec<String> {
    match steps {
        [] => Vec::new(),
        steps => {
            ["- background:".to_owned()].into_iter().chain(steps.iter().map(|step| format!("    {step}"))).collect()
        }
    }
}

/// Hosts but for the app, and links.
fn topology(shape: Shape) -> impl Strategy<Value = (String, String)> {
    (prop::collection::vec(link(), 4), prop::collection::vec(patch(), 3)).prop_map(move |(links, patches)| {
        let first = shape.proxies.first().copied().unwrap_or("app");
        let speaks = if shape.client_speaks_http2 { ", protocol: http2" } else { "" };
        let mut hosts = String::new();
        for (name, ip) in [("client", 1), ("other", 9)] {
            hosts += &format!("  {name}: {{ client: {{ connect: \"{first}:80\"{speaks} }}, ip: 10.0.0.{ip} }}\n");
        }
        for (name, patch) in shape.proxies.iter().zip(patches) {
            let (config, ip) = match *name {
                "front" => ("configs/front", 2),
                "ingress" => ("configs/ingress", 3),
                "sidecar" => ("configs/sidecar", 4),
                _ => ("../keepalive/configs/one-hop", 2),
            };
            hosts += &format!("  {name}: {{ config: {config}.yaml, ip: 10.0.0.{ip}, patch: {{ {patch} }} }}\n");
        }
        let stations = shape.stations();
        let pairs = stations.windows(2).zip(links).map(|(pair, link)| format!("  {}: {{ {link} }}\n", pair.join("-")));
        (hosts, format!("links:\n{}", pairs.collect::<String>()))
    })
}

fn link() -> impl Strategy<Value = String> {
    let losses = prop_oneof![4 => Just(0), 1 => 1..50_u32];
    let bandwidths = prop_oneof![3 => Just(String::new()), 1 => Just(", bandwidth: 1MB/s".to_owned())];
    (50..20_000_u32, 0..5_000_u32, any::<bool>(), losses, bandwidths).prop_map(
        |(latency, jitter, reorder, loss, bandwidth)| {
            format!("latency: {latency}us, jitter: {jitter}us, reorder: {reorder}, loss: 0.{loss:03}{bandwidth}")
        },
    )
}

/// Timeouts and retries of one proxy.
fn patch() -> impl Strategy<Value = String> {
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let options = vec![
        "..route.timeout: 0.2s".to_owned(),
        "..route.timeout: 2s".to_owned(),
        "..route.idle_timeout: 0.3s".to_owned(),
        "..connect_timeout: 0.05s".to_owned(),
        "..route.retry_policy: { retry_on: \"5xx,reset,connect-failure\", num_retries: 2 }".to_owned(),
        format!("\"{manager}.stream_idle_timeout\": 0.5s"),
        format!("\"{manager}.common_http_protocol_options\": {{ idle_timeout: 1s }}"),
        format!("\"{manager}.request_timeout\": 1s"),
    ];
    prop::sample::subsequence(options, 0..=3).prop_map(|chosen| {
        let mut places: Vec<&str> = Vec::new();
        // One place can be changed once.
        let kept = chosen.iter().filter(|option| {
            let place = option.split(": ").next().unwrap_or(option);
            let is_new = !places.contains(&place);
            places.push(place);
            is_new
        });
        kept.cloned().collect::<Vec<_>>().join(", ")
    })
}

fn app() -> impl Strategy<Value = String> {
    let status = select(vec![200_u16, 204, 404, 500, 503]);
    let after = prop_oneof![3 => Just(0), 1 => 1..400_u32, 1 => 400..3_000_u32];
    let reply = (status, after, 0..200_usize).prop_map(|(status, after, len)| {
        let body = if status == 204 { String::new() } else { "x".repeat(len) };
        format!("{{ status: {status}, after: {after}ms, body: \"{body}\" }}")
    });
    let first = prop::collection::vec(reply.clone(), 0..3);
    let manner = select(vec!["", ", idle_timeout: 700ms", ", idle_timeout: 3s", ", read_rate: 50kB/s"]);
    let websocket = select(vec!["echo", "echo", "echo", "listen", "{ refuse: { status: 400, body: no } }"]);
    (reply, first, websocket, manner).prop_map(|(reply, first, websocket, manner)| {
        format!("reply: {reply}, first: [{}], websocket: {websocket}{manner}", first.join(", "))
    })
}

/// Half of the scenarios keep to their plain course.
fn chance() -> impl Strategy<Value = String> {
    let departures =
        (0..3_000_u32, 0..2_000_u32, 0..50_u32, any::<bool>()).prop_map(|(jitter, read_delay, stall, order)| {
            format!(
                "chance: {{ jitter: {jitter}us, read_delay: {read_delay}us, stall: {stall}ms, clock: 20ms, drift: 500ppm, \
                 order: {order} }}\n"
            )
        });
    prop_oneof![Just(String::new()), departures]
}

/// What a client does: a few conversations, each a few steps.
fn conversations(client: &'static str, shape: Shape) -> impl Strategy<Value = Vec<String>> {
    let least = usize::from(client == "client"); // the other one may stay away
    let talk = match shape.client_speaks_http2 {
        true => prop_oneof![3 => requests().boxed(), 2 => frames().boxed(), 1 => pause().boxed()].boxed(),
        false => prop_oneof![3 => requests().boxed(), 1 => websocket().boxed(), 1 => pause().boxed()].boxed(),
    };
    prop::collection::vec(talk, least..6).prop_map(move |talks| {
        talks.into_iter().flatten().map(|step| step.replace("- client: ", &format!("- {client}: "))).collect()
    })
}

fn pause() -> impl Strategy<Value = Vec<String>> {
    // Around the timeouts above, where the races are.
    select(vec![1, 290, 310, 499, 501, 690, 710, 999, 1001, 2_990, 3_010])
        .prop_map(|ms| vec![format!("- wait: {ms}ms")])
}

fn frames() -> impl Strategy<Value = Vec<String>> {
    let frame = by_hand()
        .prop_map(|step| if step.starts_with("{ wait") { format!("- {step}") } else { format!("- client: {step}") });
    prop::collection::vec(frame, 1..4)
}

fn requests() -> impl Strategy<Value = Vec<String>> {
    let method = select(vec!["GET", "POST", "PUT", "DELETE"]);
    let leave = select(vec![None, None, None, Some("- client: fin"), Some("- client: rst")]);
    (method, 0..3_000_usize, 1..4_usize, leave).prop_map(|(method, len, times, leave)| {
        let request = match method {
            "GET" => "- client: GET /".to_owned(),
            _ => format!("- client: {{ request: {method} /, body_bytes: {len}B }}"),
        };
        let mut steps = vec![request; times];
        steps.extend(leave.map(str::to_owned));
        steps
    })
}

fn websocket() -> impl Strategy<Value = Vec<String>> {
    let sizes = prop::collection::vec(1..200_000_usize, 0..3);
    let leave = select(vec!["close", "fin", "rst", "closed"]);
    (sizes, leave, any::<Index>()).prop_map(|(sizes, leave, heard)| {
        let mut steps = vec!["- client: { websocket: /chat }".to_owned()];
        steps.extend(sizes.iter().map(|size| format!("- client: {{ send_bytes: {size}B }}")));
        // As many echoes as it likes to wait for; a client that does not read is a client too.
        let heard = heard.index(sizes.len() + 1);
        steps.extend(sizes.iter().take(heard).map(|size| format!("- client: {{ receive_bytes: {size}B }}")));
        // What it has not read would come where it waits for the app's close frame.
        let leave = if leave == "close" && heard < sizes.len() { "fin" } else { leave };
        steps.push(format!("- client: {leave}"));
        steps
    })
}
