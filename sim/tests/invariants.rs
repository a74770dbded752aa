//! What holds in every run is looked at in every run: scenarios that break an invariant, and what is said of them.

use std::path::Path;
use std::time::Duration;

use finwait::net::{Address, ListenOptions};
use finwait::stats::StatKind;
use finwait_sim::check::invariants;
use finwait_sim::run::Played;
use finwait_sim::scenario::{Family, Library, Scenario};
use finwait_sim::world::{Ended, Run, Settings, World};

const RESPONDS_TWICE: &str = r#"
about: An app answers a request twice.
hosts:
  client: { client: { connect: app:80 } }
  app: { app: { response_bytes: "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n" } }
script:
  - client: GET /
"#;

const REQUESTS_TWICE: &str = r#"
about: A POST arrives twice, with the id of one request.
hosts:
  client: { client: { connect: app:80 } }
  app: { app: {} }
script:
  - client.a: { request: POST /pay, headers: { x-request-id: one } }
  - client.b: { request: POST /pay, headers: { x-request-id: one } }
"#;

const LIES: &str = r#"
about: What one side says in pieces, the other side has not said.
hosts:
  client: { client: { connect: app:80 } }
  app: { app: { websocket: echo } }
script:
  - client: { websocket: /chat }
  - client: { websocket_frame: { text: { text: not recorded as said } } }
  - wait: 10ms
"#;

#[test]
fn broken_invariants_are_reported() {
    let cases = [
        (RESPONDS_TWICE, "app sent 2 responses to 1 requests of client", "one_response"),
        (REQUESTS_TWICE, "POST /pay reached an app 2 times", "one_delivery"),
        (LIES, "app did not receive over its WebSocket what client had sent", "tunnels_keep_order"),
    ];
    for (text, expected, name) in cases {
        let complaints = complaints(text);
        assert!(complaints.iter().any(|complaint| complaint.contains(expected)), "{name}: {complaints:?}");
        let excepted = complaints_with_exception(text, name);
        assert!(!excepted.iter().any(|complaint| complaint.contains(expected)), "{name}: {excepted:?}");
    }
}

const THROUGH_THE_PROXY: &str = "scenarios/keepalive/a-get-that-crosses-the-apps-fin-is-sent-again.yaml";

/// No shipped actor and no shipped proxy leaks, so what a leak would show is put in by hand; that the world sees real ones
/// is proved below.
#[test]
fn sockets_and_tasks_left_open_are_reported() {
    let scenario = Scenario::load(&repository(), THROUGH_THE_PROXY).expect("it is shipped");
    let told = |change: &dyn Fn(&mut Played)| {
        let mut played = scenario.play(None).expect("its configuration is accepted");
        change(&mut played);
        invariants(&scenario, &played)
    };
    assert!(told(&|_| ()).is_empty());
    assert_eq!(told(&|played| played.left_open.push("proxy: a socket".into())), ["left open: proxy: a socket"]);
    assert_eq!(
        told(&|played| played.ended = Ended::Spinning { waiting: Vec::new() }),
        ["a host ran without end, so that no time could pass"]
    );
    // Every gauge that counts work is watched; one that describes the configuration is not.
    let gauges = |played: &Played| played.stats.iter().map(|(_, stats)| stats.numbers.len()).sum::<usize>();
    let watched: Vec<String> = (0..gauges(&scenario.play(None).expect("it is accepted")))
        .flat_map(|nth| {
            told(&|played| {
                let number = played.stats.iter_mut().flat_map(|(_, stats)| &mut stats.numbers).nth(nth);
                if let Some(number) = number.filter(|number| number.kind == StatKind::Gauge) {
                    number.value += 1;
                }
            })
        })
        .collect();
    for gauge in ["http.proxy.downstream_cx_active", "cluster.app.upstream_rq_active", "cluster.app.upstream_cx_active"]
    {
        let expected = format!("proxy: {gauge} is 1 after all connections closed");
        assert!(watched.contains(&expected), "{expected}: {watched:?}");
    }
    assert!(!watched.iter().any(|told| told.contains("membership")), "{watched:?}");
}

/// A program that goes and leaves a listener and a task with a timer behind; another that goes and leaves nothing.
#[test]
fn the_world_reports_sockets_left_open() {
    let leak = |leaks: bool| -> Run {
        let mut world = World::new(Settings::default());
        let host = world.host("host", &[]);
        world.spawn_main(host, move |outside| async move {
            let at = Address::Socket("0.0.0.0:80".parse().expect("this is an address"));
            let listener = outside.net.listen(&at, &ListenOptions::default()).expect("nobody else listens");
            let forgotten = tokio::task::spawn_local(async move {
                let _kept = listener;
                tokio::time::sleep(Duration::from_secs(3600)).await;
            });
            if !leaks {
                forgotten.abort();
            }
        });
        world.run(Duration::from_secs(10))
    };
    let left = leak(true);
    assert_eq!((left.ended, left.with_tasks.len()), (Ended::AtRest, 1));
    assert!(left.open_sockets.iter().any(|socket| socket.held));
    let clean = leak(false);
    assert_eq!((clean.with_tasks.len(), clean.open_sockets.len()), (0, 0));
}

#[test]
fn the_world_sees_a_program_that_spins() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn_main(host, |_| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    assert!(matches!(world.run(Duration::from_secs(10)).ended, Ended::Spinning { .. }));
}

fn repository() -> Library {
    Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

fn complaints_with_exception(text: &str, name: &str) -> Vec<String> {
    complaints(&format!("{text}except: [{name}]\n"))
}

fn complaints(text: &str) -> Vec<String> {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).into());
    let family = Family::read(&library, "test.yaml", text).expect("this is a scenario");
    let performance = family.perform("test.yaml", None).expect("no proxy can refuse anything");
    performance.complaints.iter().map(ToString::to_string).collect()
}
