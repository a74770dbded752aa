//! What the engine costs on one core: `cargo bench -p finwait-sim`.
//!
//! The unit of each benchmark is the item of its throughput: a packet, a seed, a connection. Nothing is left out that a user
//! of the program would wait for: runs are recorded, and explored seeds are judged.

#![expect(clippy::panic, reason = "a benchmark that cannot be set up says why")]

use std::path::Path;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use finwait::net::{Address, Conn, ConnectOptions, ListenOptions};
use finwait_sim::course::Course;
use finwait_sim::explore::{course, outcome};
use finwait_sim::scenario::{Library, Scenario};
use finwait_sim::trace::Event;
use finwait_sim::world::{Ended, Settings, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() {
    divan::main();
}

/// Packets of 1,000 requests through three proxies; an item is a packet.
#[divan::bench(sample_count = 20)]
fn packets_of_three_hop_http(bencher: Bencher<'_, '_>) {
    let scenario = three_hops(&["- client: GET /"; 1000].join("\n"));
    let played = scenario.play_on(1, &Course::Plain).expect("the configurations are accepted");
    let packets = played.trace.entries().iter().filter(|entry| matches!(entry.event, Event::Sent { .. })).count();
    bencher.counter(ItemsCount::new(packets)).bench_local(|| scenario.play_on(1, &Course::Plain));
}

/// Packets of a program that sends a byte and waits for one, without a proxy: the engine alone. An item is a packet.
#[divan::bench(sample_count = 20)]
fn packets_without_a_proxy(bencher: Bencher<'_, '_>) {
    let packets = ping_pong(true);
    bencher.counter(ItemsCount::new(packets)).bench_local(|| ping_pong(false));
}

/// A WebSocket over three hops with a message and its echo every second, for 60 virtual seconds; an item is a seed.
#[divan::bench(sample_count = 20)]
fn seeds_of_three_hop_traffic(bencher: Bencher<'_, '_>) {
    let scenario = three_hops(&minute_of_messages());
    let mut seed = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        seed += 1;
        scenario.play_on(seed, &Course::Plain)
    });
}

/// The same as `explore` does it: departing from the plain course, and judged.
#[divan::bench(sample_count = 20)]
fn explored_seeds_of_three_hop_traffic(bencher: Bencher<'_, '_>) {
    let scenario = three_hops(&minute_of_messages());
    let mut seed = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        seed += 1;
        outcome::play(&scenario, seed, &course(&scenario))
    });
}

/// What an idle virtual hour with an open tunnel over three hops adds to a run: the difference of the two times.
#[divan::bench(args = ["1s", "1h"], sample_count = 50)]
fn an_idle_tunnel(bencher: Bencher<'_, '_>, silence: &str) {
    let scenario = three_hops(&format!("- client: {{ websocket: / }}\n- wait: {silence}"));
    bencher.bench_local(|| scenario.play_on(1, &Course::Plain));
}

/// Connections that are opened and then say nothing; an item is a connection.
#[divan::bench(args = [2_500, 5_000, 10_000, 20_000], sample_count = 5)]
fn setup_of_idle_connections(bencher: Bencher<'_, '_>, connections: usize) {
    bencher.counter(ItemsCount::new(connections)).bench_local(|| idle_connections(connections));
}

fn minute_of_messages() -> String {
    let message = "- client: { send: hello }\n- client: { receive: hello }\n- wait: 1s";
    format!("- client: {{ websocket: / }}\n{}", [message; 60].join("\n"))
}

/// The example's three hops, without the timeouts that would end a silence.
fn three_hops(script: &str) -> Scenario {
    let without_timeouts =
        r#""static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stream_idle_timeout": 0s"#;
    let text = format!(
        "about: A benchmark.\nlimit: 2h\nhosts:\n  client:  {{ client: {{ connect: front:80 }} }}\n  \
         front:   {{ config: configs/front.yaml, ip: 10.0.0.2, patch: {{ {without_timeouts} }} }}\n  \
         ingress: {{ config: configs/ingress.yaml, ip: 10.0.0.3, patch: {{ {without_timeouts} }} }}\n  \
         sidecar: {{ config: configs/sidecar.yaml, ip: 10.0.0.4, patch: {{ {without_timeouts} }} }}\n  \
         app:     {{ app: {{}}, ip: 10.0.0.5 }}\nscript:\n{script}\n"
    );
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    Scenario::read(&library, "scenarios/upgrades/benchmark.yaml", text).unwrap_or_else(|error| panic!("{error}"))
}

/// Gives the number of packets if they are recorded.
fn ping_pong(record: bool) -> usize {
    const ROUNDS: usize = 2_000;
    let mut world = World::new(Settings { record, ..Settings::default() });
    let (client, server) = (world.host("client", &[]), world.host("server", &[]));
    world.spawn(server, |outside| async move {
        let at = Address::Socket(([0, 0, 0, 0], 80).into());
        let mut listener = outside.net.listen(&at, &ListenOptions::default()).expect("the port is free");
        let mut conn = listener.accept().await.expect("a client comes");
        let mut byte = [0; 1];
        while matches!(conn.read(&mut byte).await, Ok(1)) && conn.write_all(&byte).await.is_ok() {}
    });
    world.spawn_main(client, |outside| async move {
        let to = Address::Socket(([10, 0, 0, 2], 80).into());
        let mut conn = outside.net.connect(&to, &ConnectOptions::default()).await.expect("the server listens");
        let mut byte = [0; 1];
        for _ in 0..ROUNDS {
            conn.write_all(&byte).await.expect("the connection is open");
            conn.read_exact(&mut byte).await.expect("the server answers");
        }
    });
    let run = world.run(Duration::from_secs(3600));
    assert_eq!(run.ended, Ended::AtRest);
    run.trace.entries().iter().filter(|entry| matches!(entry.event, Event::Sent { .. })).count()
}

fn idle_connections(number: usize) {
    let mut world = World::new(Settings { record: false, ..Settings::default() });
    let (client, server) = (world.host("client", &[]), world.host("server", &[]));
    world.spawn(server, |outside| async move {
        let at = Address::Socket(([0, 0, 0, 0], 80).into());
        let mut listener = outside.net.listen(&at, &ListenOptions::default()).expect("the port is free");
        let mut conns: Vec<Conn> = Vec::new();
        while let Ok(conn) = listener.accept().await {
            conns.push(conn);
        }
    });
    world.spawn_main(client, move |outside| async move {
        let to = Address::Socket(([10, 0, 0, 2], 80).into());
        let mut conns: Vec<Conn> = Vec::new();
        while conns.len() < number {
            conns.push(outside.net.connect(&to, &ConnectOptions::default()).await.expect("the server listens"));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let run = world.run(Duration::from_secs(3600));
    assert_eq!(run.ended, Ended::AtRest);
}
