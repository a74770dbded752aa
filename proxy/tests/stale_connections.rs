//! An application that closes its connections without announcing it, over real sockets: no request is lost to a
//! connection that was kept for reuse, and none that must not be repeated arrives twice.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/wire.rs"]
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use finwait::net::tokio::{LogFiles, outside};
use finwait::net::{Accept, Address, Conn, ConnectOptions, Outside};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinSet, LocalSet};

use bootstrap::Bootstrap;
use proxy::Proxy;
use wire::{listen, read_head};

const CLIENTS: usize = 24;
const REQUESTS_PER_CLIENT: usize = 100;
/// A connection of the application's answers at most so often.
const ANSWERS_MAX: u64 = 20;
/// However busy the machine is.
const RUN_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn no_get_fails_and_no_post_arrives_twice() {
    LocalSet::new().run_until(ask_through_a_proxy()).await;
}

async fn ask_through_a_proxy() {
    let world = outside(&LogFiles::new());
    let app = Rc::new(App { outside: world.clone(), seen: RefCell::default(), dice: Cell::new(7) });
    let (listener, port) = listen(&world).unwrap();
    let mut serving = JoinSet::new(); // until it is dropped
    serving.spawn_local(Rc::clone(&app).serve(listener));
    let proxy = Proxy::start(&Bootstrap { app: port, ..Bootstrap::default() }.yaml());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn_local(ask(world.clone(), Address::Socket(proxy.at), client));
    }
    let failures = tokio::time::timeout(RUN_MAX, clients.join_all()).await.expect("every request ends").concat();
    assert!(!failures.contains(&"GET"), "{failures:?}");
    let twice = app.seen.borrow().iter().filter(|(what, times)| what.starts_with("POST") && **times > 1).count();
    assert_eq!(twice, 0, "a POST may have been carried out by the time its connection ends");
    let numbers = proxy.stop().numbers;
    let saved = ["upstream_cx_reuse_stale", "upstream_rq_redispatched", "upstream_rq_resent"]
        .map(|name| numbers.iter().find(|number| number.name == format!("cluster.app.{name}")).unwrap().value);
    assert!(saved.iter().sum::<u64>() > 0, "the application closed in time to do harm");
}

/// Sends GETs and POSTs in turn over one connection to the proxy; returns the methods of those that failed.
async fn ask(world: Outside, proxy: Address, client: usize) -> Vec<&'static str> {
    let mut conn = world.net.connect(&proxy, &ConnectOptions::default()).await.unwrap();
    let mut failed = Vec::new();
    for number in 0..REQUESTS_PER_CLIENT {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let length = if number % 2 == 0 { "" } else { "content-length: 0\r\n" };
        let request = format!("{method} /{client}/{number} HTTP/1.1\r\nhost: here\r\n{length}\r\n");
        conn.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut conn).await.expect("the proxy answers");
        let body = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
        let mut rest = vec![0; body];
        conn.read_exact(&mut rest).await.unwrap();
        if !head.starts_with("HTTP/1.1 200 ") {
            failed.push(method);
        }
    }
    failed
}

struct App {
    outside: Outside,
    /// How often each request came.
    seen: RefCell<BTreeMap<String, u32>>,
    dice: Cell<u64>,
}

impl App {
    async fn serve(self: Rc<Self>, mut listener: Box<dyn Accept>) {
        let mut connections = JoinSet::new();
        while let Ok(conn) = listener.accept().await {
            connections.spawn_local(Rc::clone(&self).answer(conn));
        }
    }

    /// Answers a few requests and closes, at once or a little later.
    async fn answer(self: Rc<Self>, mut conn: Conn) {
        for _ in 0..=self.roll(ANSWERS_MAX) {
            let Ok(head) = read_head(&mut conn).await else { return };
            let what = head.split(" HTTP/").next().unwrap().to_owned();
            *self.seen.borrow_mut().entry(what).or_default() += 1;
            if conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(self.roll(4))).await;
    }

    fn roll(&self, below: u64) -> u64 {
        let stirred = self.dice.get().wrapping_add(self.outside.random.next_u64());
        self.dice.set(stirred);
        stirred % below
    }
}
