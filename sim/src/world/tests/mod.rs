//! Worlds with two hosts, seen from their programs and in their traces.

mod faults;
mod flow;

use std::io::ErrorKind;
use std::net::SocketAddr;

use finwait::net::{Accept, Address, Conn, ConnectOptions, ListenOptions, ResolveError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::EPOCH;
use crate::trace::{Change, Event};

const SERVER: &str = "10.0.0.2:80";

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

fn at(text: &str) -> Address {
    Address::Socket(text.parse::<SocketAddr>().unwrap())
}

fn listen(outside: &Outside) -> Box<dyn Accept> {
    outside.net.listen(&at(SERVER), &ListenOptions::default()).unwrap()
}

async fn connect(outside: &Outside) -> std::io::Result<Conn> {
    outside.net.connect(&at(SERVER), &ConnectOptions::default()).await
}

/// A world of "client" (10.0.0.1) and "server" (10.0.0.2).
fn two_hosts(settings: Settings) -> (World, HostId, HostId) {
    let mut world = World::new(settings);
    let client = world.host("client", &[]);
    let server = world.host("server", &[]);
    (world, client, server)
}

async fn echo(outside: Outside) {
    let mut listener = listen(&outside);
    while let Ok(conn) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let (mut read, mut write) = tokio::io::split(conn);
            drop(tokio::io::copy(&mut read, &mut write).await);
            drop(write.shutdown().await);
        });
    }
}

async fn echo_once(outside: &Outside) {
    let mut conn = connect(outside).await.unwrap();
    conn.write_all(b"hello").await.unwrap();
    conn.shutdown().await.unwrap();
    let mut response = Vec::new();
    conn.read_to_end(&mut response).await.unwrap();
    assert_eq!(response, b"hello");
}

fn has_change(run: &Run, wanted: Change) -> bool {
    run.trace.entries().iter().any(|entry| matches!(entry.event, Event::Socket { change, .. } if change == wanted))
}

#[test]
fn a_message_is_echoed() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    world.spawn_main(client, |outside| async move {
        let start = Instant::now();
        let conn = connect(&outside).await.unwrap();
        assert_eq!(start.elapsed(), us(500), "connect takes one round trip");
        drop(conn);
        echo_once(&outside).await;
    });
    let run = world.run(ms(60_000));
    assert_eq!(run.ended, Ended::AtRest);
    let open = run.open_sockets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        open,
        [
            "10.0.0.1:32768 -> 10.0.0.2:80 TIME_WAIT (kernel only)",
            "10.0.0.1:32769 -> 10.0.0.2:80 TIME_WAIT (kernel only)",
            "10.0.0.2:80 LISTEN",
        ]
    );
}

#[test]
fn a_run_repeats_itself_byte_for_byte() {
    let text = |seed| {
        let link = Link { jitter: ms(3), loss: 0.05, reorder: true, ..Link::default() };
        let settings = Settings { seed, link, read_delay: Duration::ZERO..=ms(2), ..Settings::default() };
        let (mut world, client, server) = two_hosts(settings);
        world.spawn(server, echo);
        for _ in 0..3 {
            world.spawn_main(client, |outside| async move {
                for _ in 0..5 {
                    sleep(ms(outside.random.next_u64() % 20)).await;
                    echo_once(&outside).await;
                }
            });
        }
        world.run(ms(600_000)).trace.to_text()
    };
    let first = text(1);
    assert!(first.lines().count() > 200, "{first}");
    assert_eq!(first, text(1));
    assert_ne!(first, text(2));
}

#[test]
fn packets_keep_their_nanoseconds_and_timers_their_milliseconds() {
    let latency = Duration::from_nanos(1_234_567);
    let link = Link { latency, ..Link::default() };
    let (mut world, client, server) = two_hosts(Settings { link, ..Settings::default() });
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let conn = connect(&outside).await.unwrap();
        assert_eq!(control.now(), 2 * latency);
        sleep(ms(1)).await;
        assert_eq!(control.now(), ms(4), "tokio's wheel: the next whole millisecond");
        sleep(ms(7)).await;
        assert_eq!(control.now(), ms(11));
        drop(conn);
        let start = Instant::now();
        echo_once(&outside).await;
        assert_eq!(start.elapsed(), 4 * latency);
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::AtRest);
}

#[test]
fn tasks_that_yield_run_before_time_passes() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    let control = world.control();
    world.spawn_main(host, move |_| async move {
        sleep(ms(5)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(control.now(), ms(5));
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::AtRest);
}

#[test]
fn a_program_learns_of_kernel_events_at_its_next_turn() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.read_delay(client, ms(20)..=ms(20));
    world.spawn(server, |outside| async move {
        let mut listener = listen(&outside);
        let conn = listener.accept().await.unwrap();
        sleep(ms(29)).await; // the client's driver has turned at 20.5 ms and will turn at 50.25 ms
        drop(conn);
        std::future::pending::<()>().await;
    });
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        sleep(ms(14)).await;
        let state = control.open_sockets(client).first().and_then(|socket| socket.state);
        assert_eq!(state, Some(crate::kernel::State::CloseWait));
        assert_eq!(conn.write(b"into a connection that is over").await.unwrap(), 30);
        let error = conn.read(&mut [0; 9]).await;
        assert_eq!(error.unwrap(), 0, "the FIN was there first");
        assert_eq!(conn.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
    let run = world.run(ms(1000));
    assert_eq!(run.ended, Ended::AtRest);
    assert!(has_change(&run, Change::Reset));
}

#[test]
fn the_limit_names_the_programs_that_wait() {
    let mut world = World::new(Settings::default());
    let host = world.host("patient", &[]);
    world.spawn_main(host, |_| std::future::pending());
    let run = world.run(ms(3_600_000));
    assert_eq!(run.ended, Ended::LimitReached { waiting: vec!["patient".into()] });
    assert_eq!(run.virtual_time, ms(3_600_000));
}

#[test]
#[should_panic(expected = "an actor's assertion")]
fn a_panic_in_a_program_is_not_lost() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn(host, |_| async { panic!("an actor's assertion") });
    let run = world.run(ms(1000));
    assert_eq!(run.ended, Ended::AtRest);
}

#[test]
#[should_panic(expected = "a task of a program panicked")]
fn a_panic_of_a_detached_task_is_reported() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn_main(host, |_| async {
        drop(tokio::task::spawn_local(async { panic!("unheard") }));
        sleep(ms(100)).await;
    });
    let run = world.run(ms(1000));
    assert_eq!(run.ended, Ended::AtRest);
}

#[test]
fn names_addresses_and_loopback() {
    let mut world = World::new(Settings::default());
    let many = ["10.1.0.1", "10.1.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let host = world.host("many", &many);
    let control = world.control();
    world.spawn_main(host, move |outside| async move {
        let net = &outside.net;
        assert_eq!(net.resolve("many").await.unwrap(), many);
        assert!(matches!(net.resolve("unknown").await, Err(ResolveError::NoAddress)));
        control.rename("alias", &many[..1]);
        assert_eq!(net.resolve("alias").await.unwrap(), many[..1]);
        let elsewhere = net.listen(&at("10.0.0.77:80"), &ListenOptions::default()).map(|_| ());
        assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let mut listener = net.listen(&at("127.0.0.1:0"), &ListenOptions::default()).unwrap();
        let again = net.listen(listener.local(), &ListenOptions::default()).map(|_| ());
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
        let how = ConnectOptions { from: Some("10.1.0.2:5555".parse().unwrap()), ..ConnectOptions::default() };
        let local = listener.local().clone();
        let (ours, theirs) = tokio::join!(net.connect(&local, &how), listener.accept());
        assert_eq!(ours.unwrap().local, at("10.1.0.2:5555"));
        assert_eq!(theirs.unwrap().peer, at("10.1.0.2:5555"));
        let wall = outside.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(wall, EPOCH + control.now());
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::AtRest);
}

#[test]
fn an_idle_hour_costs_no_more_than_an_idle_second() {
    let instants = |idle| {
        let (mut world, client, server) = two_hosts(Settings::default());
        world.spawn(server, echo);
        world.spawn_main(client, move |outside| async move {
            let conn = connect(&outside).await.unwrap();
            sleep(idle).await;
            drop(conn);
        });
        world.run(ms(10_000_000)).instants
    };
    let (second, hour) = (instants(ms(1000)), instants(ms(3_600_000)));
    assert!(hour <= second + 4, "{second} {hour}");
}

#[test]
fn programs_that_never_let_time_pass_are_stopped() {
    let mut world = World::new(Settings::default());
    let host = world.host("busy", &[]);
    world.spawn_main(host, |_| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::Spinning { waiting: vec!["busy".into()] });
}
