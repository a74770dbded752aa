//! The simulated kernel against the real one: every script runs once on loopback sockets of the system this
//! test runs on and once in the simulator, over the same seam, and each step must see the same in both.
//!
//! The scripts follow the rows of the table by which engines were compared when this one was designed:
//! what Linux does when connections are closed, reset, half-closed, refused, blocked or lost.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use finwait::net::tokio::LogFiles;
use finwait::net::{Accept, Address, Conn, ConnectOptions, ListenOptions, LocalBoxFuture, Outside};
use finwait_sim::kernel::link::Link;
use finwait_sim::world::{Ended, Settings, World};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use Action::*;
use Who::*;

/// Some steps of a row: who does what, and what they see.
type Script = &'static [(Who, Action, &'static str)];

#[derive(Clone, Copy, Debug)]
enum Who {
    /// The end that connected.
    Client,
    /// The end that accepted, or listens.
    Server,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Drop the connection with SO_LINGER 0.
    Abort,
    /// Take a connection out of the backlog.
    Accept,
    /// Drop the connection.
    Close,
    /// Stop listening.
    CloseListener,
    /// Begin to connect, and see how far it got.
    Connect,
    /// Wait until the connection that was begun last is open.
    Connected,
    /// Listen with this backlog.
    Listen(u32),
    /// Read once.
    Read,
    /// Read to the end, in pieces of this size.
    ReadAll(usize),
    /// Finish the sending direction.
    Shutdown,
    /// Write once.
    Write(&'static str),
    /// Write until it blocks, 64 MiB at most.
    WriteUntilBlocked,
}

/// Both ends exist.
const OPEN: Script = &[(Server, Listen(128), "listens"), (Client, Connect, "connected"), (Server, Accept, "accepted")];

#[test]
fn data_reaches_a_socket_whose_descriptor_is_closed() {
    same(&[
        OPEN,
        &[
            (Server, Close, "ok"),
            (Client, Write("one"), "wrote 3"),
            (Client, Write("two"), "BrokenPipe"),
            (Client, Write("three"), "BrokenPipe"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn close_with_unread_data() {
    same(&[
        OPEN,
        &[
            (Client, Write("request"), "wrote 7"),
            (Server, Write("response"), "wrote 8"),
            (Server, Close, "ok"),
            (Client, Read, "response"),
            (Client, Read, "ConnectionReset"),
            (Client, Read, "end"),
            (Client, Write("more"), "BrokenPipe"),
        ],
    ]);
}

#[test]
fn read_after_a_reset_with_data_queued() {
    same(&[
        OPEN,
        &[
            (Server, Write("data"), "wrote 4"),
            (Server, Abort, "ok"),
            (Client, Read, "data"),
            (Client, Read, "ConnectionReset"),
            (Client, Read, "end"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn read_after_a_fin_and_then_a_reset() {
    same(&[
        OPEN,
        &[
            (Server, Close, "ok"),
            (Client, Read, "end"),
            (Client, Write("late"), "wrote 4"),
            (Client, Read, "end"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn data_then_a_fin_then_a_reset() {
    same(&[
        OPEN,
        &[
            (Server, Write("data"), "wrote 4"),
            (Server, Close, "ok"),
            (Client, Write("late"), "wrote 4"),
            (Client, Read, "data"),
            (Client, Read, "end"),
            (Client, Write("later"), "BrokenPipe"),
        ],
    ]);
}

#[test]
fn first_write_after_a_reset_without_a_fin() {
    same(&[
        OPEN,
        &[
            (Server, Abort, "ok"),
            (Client, Write("one"), "ConnectionReset"),
            (Client, Write("two"), "BrokenPipe"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn second_shutdown_and_shutdown_after_a_reset() {
    same(&[
        OPEN,
        &[
            (Client, Shutdown, "ok"),
            (Client, Shutdown, "ok"),
            (Client, Write("x"), "BrokenPipe"),
            (Server, Abort, "ok"),
            (Client, Shutdown, "ok"),
            (Client, Read, "ConnectionReset"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn connect_completes_with_the_handshake_not_with_accept() {
    same(&[
        &[(Server, Listen(128), "listens"), (Client, Connect, "connected")],
        &[(Client, Write("early"), "wrote 5"), (Client, Shutdown, "ok")],
        &[(Server, Accept, "accepted"), (Server, Read, "early"), (Server, Read, "end")],
    ]);
}

/// One more than the backlog fits. The SYN that found no room is sent again after a second: the one script
/// that takes that long on the real system.
#[test]
fn backlog_full() {
    same(&[&[
        (Server, Listen(1), "listens"),
        (Client, Connect, "connected"),
        (Client, Connect, "connected"),
        (Client, Connect, "pending"),
        (Server, Accept, "accepted"),
        (Client, Connected, "connected"),
        (Server, Accept, "accepted"),
        (Server, Accept, "accepted"),
    ]]);
}

/// On loopback nobody is silent but a listener whose backlog is full, and giving up takes more than two minutes.
/// So the scripts compare that both wait and say nothing, and the moment of giving up is compared with what the
/// system's own settings promise.
#[test]
fn connect_to_a_silent_host() {
    same(&[&[
        (Server, Listen(0), "listens"),
        (Client, Connect, "connected"),
        (Client, Connect, "pending"),
        (Client, Connect, "pending"),
    ]]);

    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn_main(host, |outside| async move {
        let to = Address::Socket("10.9.9.9:80".parse().unwrap());
        let error = outside.net.connect(&to, &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
    let run = world.run(Duration::from_secs(1000));
    assert_eq!(run.ended, Ended::AtRest);
    let setting = |name| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
        text.trim().parse::<u32>().ok()
    };
    // Systems before 6.5 have no linear part; there is nothing to compare with on them.
    if let (Some(doubling), Some(linear)) = (setting("tcp_syn_retries"), setting("tcp_syn_linear_timeouts")) {
        let seconds = u64::from(linear) + (1 << (doubling + 1)) - 1;
        assert_eq!(run.virtual_time.as_secs(), seconds, "retries: {doubling}, and before them linear: {linear}");
    }
}

#[test]
fn connect_to_a_closed_port() {
    same(&[&[(Server, Listen(1), "listens"), (Server, CloseListener, "ok"), (Client, Connect, "ConnectionRefused")]]);
}

/// Loopback loses and reorders nothing: the real script runs on a perfect wire, the simulated one on a bad one,
/// and no end may see the difference.
#[test]
fn lost_and_reordered_segments() {
    const TRANSFER: Script = &[
        (Client, Write("first"), "wrote 5"),
        (Client, Write("second"), "wrote 6"),
        (Client, Shutdown, "ok"),
        (Server, ReadAll(4096), "11 bytes, end"),
        (Server, Write("answer"), "wrote 6"),
        (Server, Close, "ok"),
        (Client, ReadAll(4096), "6 bytes, end"),
    ];
    let open: Script =
        &[(Server, Listen(9), "listens"), (Client, Connected, "connected"), (Server, Accept, "accepted")];
    let expected = expected(&[open, TRANSFER]);
    assert_eq!(on_linux(&[open, TRANSFER]), expected);
    for seed in 0..50 {
        let link = Link { loss: 0.2, jitter: Duration::from_millis(20), reorder: true, ..Link::loopback() };
        assert_eq!(simulated(&[open, TRANSFER], seed, link), expected, "seed {seed}");
    }
}

#[test]
fn write_blocks_on_a_full_window_and_nothing_is_lost() {
    same(&[
        OPEN,
        &[
            (Client, WriteUntilBlocked, "blocked"),
            (Client, Write("x"), "pending"),
            (Client, Close, "ok"),
            (Server, ReadAll(7777), "all bytes, end"),
        ],
    ]);
}

#[test]
fn half_close() {
    same(&[
        OPEN,
        &[
            (Client, Write("request"), "wrote 7"),
            (Client, Shutdown, "ok"),
            (Server, Read, "request"),
            (Server, Read, "end"),
            (Server, Write("response"), "wrote 8"),
            (Client, Read, "response"),
            (Client, Read, "pending"),
            (Server, Close, "ok"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn a_half_closed_peer_that_goes_away_resets_the_answer() {
    same(&[
        OPEN,
        &[
            (Client, Shutdown, "ok"),
            (Client, Close, "ok"),
            (Server, Read, "end"),
            (Server, Write("answer"), "wrote 6"),
            (Server, Write("answer"), "BrokenPipe"),
        ],
    ]);
}

#[test]
fn a_listener_that_closes_resets_what_nobody_accepted() {
    same(&[&[
        (Server, Listen(8), "listens"),
        (Client, Connect, "connected"),
        (Server, CloseListener, "ok"),
        (Client, Read, "ConnectionReset"),
        (Client, Read, "end"),
    ]]);
}

/// Linux would hand it over; what fails is to ask for the address of a peer that is gone.
#[test]
fn a_connection_that_was_reset_in_the_backlog() {
    same(&[&[
        (Server, Listen(8), "listens"),
        (Client, Connect, "connected"),
        (Client, Abort, "ok"),
        (Server, Accept, "NotConnected"),
        (Client, Connect, "connected"),
        (Server, Accept, "accepted"),
    ]]);
}

#[test]
fn linger_zero_sends_a_reset() {
    same(&[OPEN, &[(Client, Abort, "ok"), (Server, Read, "ConnectionReset"), (Server, Write("x"), "BrokenPipe")]]);
}

#[test]
fn an_address_with_connections_in_time_wait_can_be_listened_on() {
    same(&[
        OPEN,
        &[
            (Server, Close, "ok"),
            (Client, Close, "ok"),
            (Server, CloseListener, "ok"),
            (Server, Listen(128), "listens"), // on the port of the first time
            (Client, Connect, "connected"),
            (Server, Accept, "accepted"),
        ],
    ]);
}

/// SO_REUSEPORT, several addresses of one machine, binding before connecting, and a port in TIME_WAIT.
#[test]
fn addresses() {
    let expected = [
        "shares the port",
        "AddrInUse",
        "AddrInUse",
        "AddrNotAvailable",
        "from 127.0.0.1 to 127.0.0.2",
        "from 127.0.0.3 to 127.0.0.1, from the port it asked for",
        "AddrInUse",
        "AddrInUse",
    ];
    assert_eq!(in_reality(|outside, settle| Box::pin(use_addresses(outside, settle))), expected);
    let simulated = in_simulation(0, Link::loopback(), |outside, settle| Box::pin(use_addresses(outside, settle)));
    assert_eq!(simulated, expected);
}

async fn use_addresses(outside: Outside, settle: Settle) -> Vec<String> {
    let net = &outside.net;
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let alone = ListenOptions::default();
    let mut seen = Vec::new();
    let mut see = |result: io::Result<String>| seen.push(result.unwrap_or_else(|e| format!("{:?}", e.kind())));

    // 0.0.0.0 first, so that the port is free on every address.
    let port = port(net.listen(&at("0.0.0.0", 0), &alone).unwrap().local());
    let mut first = net.listen(&at("127.0.0.1", port), &shared).unwrap();
    see(net.listen(&at("127.0.0.1", port), &shared).map(|_| "shares the port".into()));
    see(net.listen(&at("127.0.0.1", port), &alone).map(|_| "takes the port".into()));
    see(net.listen(&at("0.0.0.0", port), &alone).map(|_| "takes the port of every address".into()));
    see(net.listen(&at("192.0.2.1", port), &alone).map(|_| "takes a foreign address".into()));

    let mut second = net.listen(&at("127.0.0.2", port), &alone).unwrap();
    let connected = net.connect(&at("127.0.0.2", port), &ConnectOptions::default()).await;
    let accepted = second.accept().await;
    see(accepted.map(|conn| format!("from {} to {}", conn.peer.ip().unwrap(), conn.local.ip().unwrap())));
    drop(connected);

    let from = ConnectOptions { from: Some(SocketAddr::new("127.0.0.3".parse().unwrap(), port)) };
    let conn = net.connect(&at("127.0.0.1", port), &from).await.unwrap();
    let accepted = first.accept().await.unwrap();
    assert_eq!(accepted.peer, at("127.0.0.3", port));
    see(Ok("from 127.0.0.3 to 127.0.0.1, from the port it asked for".into()));
    let again = net.connect(&at("127.0.0.1", port), &from).await;
    see(again.map(|_| "connects twice from one port".into()));
    drop(conn);
    settle().await;
    drop(accepted);
    settle().await;
    let again = net.connect(&at("127.0.0.1", port), &from).await;
    see(again.map(|_| "connects from a port in TIME_WAIT".into()));
    seen
}

fn at(ip: &str, port: u16) -> Address {
    Address::Socket(SocketAddr::new(ip.parse().unwrap(), port))
}

fn port(at: &Address) -> u16 {
    match at {
        Address::Internal(name) => panic!("{name} has no port"),
        Address::Socket(at) => at.port(),
    }
}

// The two worlds.

/// Lets everything that is on its way arrive.
type Settle = fn() -> LocalBoxFuture<'static, ()>;

fn same(script: &[Script]) {
    let expected = expected(script);
    assert_eq!(on_linux(script), expected, "on Linux");
    assert_eq!(simulated(script, 0, Link::loopback()), expected, "in the simulator");
}

fn expected(script: &[Script]) -> Vec<String> {
    let steps = script.iter().flat_map(|part| part.iter());
    steps.map(|(who, action, sees)| format!("{who:?} {action:?}: {sees}")).collect()
}

fn on_linux(script: &[Script]) -> Vec<String> {
    in_reality(|outside, settle| Box::pin(play(script.to_vec(), outside, settle)))
}

fn simulated(script: &[Script], seed: u64, loopback: Link) -> Vec<String> {
    let script = script.to_vec();
    in_simulation(seed, loopback, |outside, settle| Box::pin(play(script, outside, settle)))
}

fn in_reality(program: impl FnOnce(Outside, Settle) -> LocalBoxFuture<'static, Vec<String>>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let logs = LogFiles::start().unwrap();
    let program = program(finwait::net::tokio::outside(&logs), || Box::pin(turn_the_driver()));
    tokio::task::LocalSet::new().block_on(&runtime, program)
}

/// Loopback delivers within the sender's system call; only the driver has to look. Many turns, in case the
/// kernel left the work to another thread.
async fn turn_the_driver() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

fn in_simulation(
    seed: u64,
    loopback: Link,
    program: impl FnOnce(Outside, Settle) -> LocalBoxFuture<'static, Vec<String>> + 'static,
) -> Vec<String> {
    let mut world = World::new(Settings { seed, ..Settings::default() });
    let host = world.host("host", &[]);
    world.link(host, host, loopback);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let seeing = Rc::clone(&seen);
    world.spawn_main(host, |outside| async move {
        let settle: Settle = || Box::pin(tokio::time::sleep(Duration::from_millis(20)));
        let seen = program(outside, settle).await;
        seeing.replace(seen);
    });
    let run = world.run(Duration::from_secs(3600));
    assert_eq!(run.ended, Ended::AtRest);
    seen.take()
}

// The driver of scripts.

/// Who is on stage.
struct Stage {
    outside: Outside,
    settle: Settle,
    listener: Option<Box<dyn Accept>>,
    /// Where it listens, or did.
    address: Address,
    connecting: Option<LocalBoxFuture<'static, io::Result<Conn>>>,
    client: Option<Conn>,
    server: Option<Conn>,
    /// Connections that later ones have replaced; they stay open.
    earlier: Vec<Conn>,
    /// Bytes that [`WriteUntilBlocked`] got rid of.
    flooded: usize,
}

async fn play(script: Vec<Script>, outside: Outside, settle: Settle) -> Vec<String> {
    let mut stage = Stage {
        outside,
        settle,
        listener: None,
        address: at("127.0.0.1", 0),
        connecting: None,
        client: None,
        server: None,
        earlier: Vec::new(),
        flooded: 0,
    };
    let mut seen = Vec::new();
    for (who, action, _) in script.into_iter().flatten() {
        let saw = stage.act(*who, *action).await.unwrap_or_else(|error| format!("{:?}", error.kind()));
        seen.push(format!("{who:?} {action:?}: {saw}"));
        settle().await;
    }
    seen
}

impl Stage {
    async fn act(&mut self, who: Who, action: Action) -> io::Result<String> {
        match action {
            Abort => {
                self.end(who).take().unwrap().abort();
                Ok("ok".into())
            }
            Accept => {
                let conn = self.listener.as_mut().unwrap().accept().await?;
                self.earlier.extend(self.server.replace(conn));
                Ok("accepted".into())
            }
            Close => {
                drop(self.end(who).take().unwrap());
                Ok("ok".into())
            }
            CloseListener => {
                drop(self.listener.take().unwrap());
                Ok("ok".into())
            }
            Connect => {
                self.connecting = Some(self.connect());
                self.see_connecting(10).await
            }
            Connected => {
                let connecting = self.connecting.take().unwrap_or_else(|| self.connect());
                self.earlier.extend(self.client.replace(connecting.await?));
                Ok("connected".into())
            }
            Listen(backlog) => {
                let how = ListenOptions { backlog, reuse_port: false };
                let listener = self.outside.net.listen(&self.address, &how)?;
                self.address = listener.local().clone();
                self.listener = Some(listener);
                Ok("listens".into())
            }
            Read => self.read(who).await,
            ReadAll(piece) => self.read_all(who, piece).await,
            Shutdown => {
                let conn = self.end(who).as_mut().unwrap();
                poll_fn(|cx| Pin::new(&mut *conn).poll_shutdown(cx)).await?;
                Ok("ok".into())
            }
            Write(text) => match self.write(who, text.as_bytes()).await? {
                None => Ok("pending".into()),
                Some(written) => Ok(format!("wrote {written}")),
            },
            WriteUntilBlocked => self.flood(who).await,
        }
    }

    fn end(&mut self, who: Who) -> &mut Option<Conn> {
        match who {
            Client => &mut self.client,
            Server => &mut self.server,
        }
    }

    fn connect(&self) -> LocalBoxFuture<'static, io::Result<Conn>> {
        let (net, to) = (Rc::clone(&self.outside.net), self.address.clone());
        Box::pin(async move { net.connect(&to, &ConnectOptions::default()).await })
    }

    async fn see_connecting(&mut self, patience: usize) -> io::Result<String> {
        let mut connecting = self.connecting.take().unwrap();
        for _ in 0..patience {
            if let Poll::Ready(conn) = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx))).await {
                self.earlier.extend(self.client.replace(conn?));
                return Ok("connected".into());
            }
            (self.settle)().await;
        }
        self.connecting = Some(connecting);
        Ok("pending".into())
    }

    async fn read(&mut self, who: Who) -> io::Result<String> {
        let mut buffer = [0; 4096];
        Ok(match self.read_into(who, &mut buffer, 10).await? {
            None => "pending".into(),
            Some(0) => "end".into(),
            Some(len) => String::from_utf8_lossy(&buffer[..len]).into_owned(),
        })
    }

    async fn read_all(&mut self, who: Who, piece: usize) -> io::Result<String> {
        // A bad wire may need many retransmissions, each later than the one before by twice the time.
        const PATIENCE: usize = 100_000;
        let mut total = 0;
        let mut buffer = vec![0; piece];
        loop {
            match self.read_into(who, &mut buffer, PATIENCE).await? {
                None => return Ok(format!("{total} bytes, pending")),
                Some(0) if total == self.flooded => return Ok("all bytes, end".into()),
                Some(0) => return Ok(format!("{total} bytes, end")),
                Some(len) => total += len,
            }
        }
    }

    /// None: nothing came, though everything that was on its way has had the time to.
    async fn read_into(&mut self, who: Who, buffer: &mut [u8], patience: usize) -> io::Result<Option<usize>> {
        for _ in 0..patience {
            let conn = self.end(who).as_mut().unwrap();
            let mut buf = ReadBuf::new(buffer);
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut *conn).poll_read(cx, &mut buf))).await {
                Poll::Ready(result) => return result.map(|()| Some(buf.filled().len())),
                Poll::Pending => (self.settle)().await,
            }
        }
        Ok(None)
    }

    /// None: it would block, and goes on doing so.
    async fn write(&mut self, who: Who, bytes: &[u8]) -> io::Result<Option<usize>> {
        for _ in 0..10 {
            let conn = self.end(who).as_mut().unwrap();
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut *conn).poll_write(cx, bytes))).await {
                Poll::Ready(result) => return result.map(Some),
                Poll::Pending => (self.settle)().await,
            }
        }
        Ok(None)
    }

    async fn flood(&mut self, who: Who) -> io::Result<String> {
        const FLOOD_BYTES_MAX: usize = 64 << 20;
        while self.flooded < FLOOD_BYTES_MAX {
            match self.write(who, &[7; 65_536]).await? {
                None => return Ok("blocked".into()),
                Some(written) => self.flooded += written,
            }
        }
        Ok("never blocked".into())
    }
}
