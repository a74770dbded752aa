//! Worlds with two hosts, seen from their programs and in their traces.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;

use finwait::net::{Accept, Address, Conn, ConnectOptions, ListenOptions};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::*;
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

fn echo(outside: Outside) -> impl Future<Output = ()> {
    async move {
        let mut listener = listen(&outside);
        while let Ok(conn) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let (mut read, mut write) = tokio::io::split(conn);
                drop(tokio::io::copy(&mut read, &mut write).await);
                drop(write.shutdown().await);
            });
        }
    }
}

async fn echo_once(outside: &Outside) {
    let mut conn = connect(outside).await.unwrap();
    conn.write_all(b"hello").await.unwrap();
    conn.shutdown().await.unwrap();
    let mut answer = Vec::new();
    conn.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"hello");
}

#[test]
fn a_message_goes_there_and_back() {
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
