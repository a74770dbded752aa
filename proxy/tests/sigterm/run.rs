//! One SIGTERM: open tunnels, requests that go on, and what becomes of both.
//!
//! Clients behave as those behind a load balancer do: a new connection goes to the process that was there first, and to
//! its successor once that refuses. Half of the requests come on connections that are kept, the others on fresh ones.

#[path = "../support/bootstrap.rs"]
mod bootstrap;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/wire.rs"]
mod wire;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use finwait::net::tokio::{LogFiles, outside};
use finwait::net::{Accept, Address, Conn, ConnectOptions, Outside, Peek};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval, sleep, timeout};

use bootstrap::Bootstrap;
use process::Finwait;
use wire::{listen, read_head};

/// What is to be done to a process.
pub(crate) struct Plan {
    pub(crate) tunnels: usize,
    /// `--drain-time-s`
    pub(crate) drain: Duration,
    pub(crate) requests_per_second: u32,
    /// Requests that have been asked when the signal is sent.
    pub(crate) requests_before: usize,
}

/// What became of it.
pub(crate) struct Report {
    pub(crate) exit: ExitStatus,
    /// From the signal on, as all times here.
    pub(crate) exited_after: Duration,
    /// When each tunnel ended.
    pub(crate) tunnel_ends: Vec<Duration>,
    /// Tunnels that ended with a reset.
    pub(crate) tunnels_reset: usize,
    pub(crate) requests_before: usize,
    pub(crate) requests_after: usize,
    /// Of them, those that the process answered that had got the signal.
    pub(crate) answered_in_drain: usize,
    /// Fresh connections that were reset before anything came: the listener closed between the handshake, which the
    /// system completes, and `accept`. Their requests went to the successor.
    pub(crate) reset_at_the_door: usize,
    /// What went wrong with a request, and when.
    pub(crate) failures: Vec<String>,
}

/// How long the application works on a request, so that some are under way at any time.
const ANSWER_DELAY: Duration = Duration::from_millis(30);
/// A step that takes longer has failed.
const STEP_MAX: Duration = Duration::from_secs(30);
const GREETING: &[u8] = b"\x81\x05hello";

/// Carries the plan out.
pub(crate) async fn run(plan: &Plan) -> io::Result<Report> {
    LocalSet::new().run_until(carry_out(plan)).await
}

async fn carry_out(plan: &Plan) -> io::Result<Report> {
    let logs = LogFiles::new();
    let world = outside(&logs);
    let (app, app_port) = listen(&world)?;
    let mut serving = JoinSet::new(); // until it is dropped
    serving.spawn_local(serve(app));
    let (first, first_at) = start(app_port, plan.drain)?;
    let (_successor, successor_at) = start(app_port, plan.drain)?;
    let mut tunnels = JoinSet::new();
    for _ in 0..plan.tunnels {
        let tunnel = open_tunnel(&world, &first_at).await?;
        tunnels.spawn_local(watch(tunnel));
    }
    let clients = Rc::new(Clients::new(world, [first_at, successor_at]));
    let mut requests = JoinSet::new();
    let mut pace = interval(Duration::from_secs(1) / plan.requests_per_second);
    for number in 0..plan.requests_before {
        pace.tick().await;
        requests.spawn_local(Rc::clone(&clients).ask(number));
    }
    let signalled = Instant::now();
    clients.signalled.set(Some(signalled));
    first.signal("TERM")?;
    let (ended, mut exited) = oneshot::channel();
    let silence = plan.drain + STEP_MAX;
    std::thread::spawn(move || ended.send(first.end(silence)));
    let mut requests_after = 0;
    let (exit, _) = loop {
        tokio::select! {
            // The exit first: nothing is asked of a process that is gone.
            biased;
            exit = &mut exited => break exit.map_err(io::Error::other)?,
            _ = pace.tick() => {
                requests.spawn_local(Rc::clone(&clients).ask(plan.requests_before + requests_after));
                requests_after += 1;
            }
        }
    }?;
    let exited_after = signalled.elapsed();
    while requests.join_next().await.is_some() {}
    let mut ends = Vec::new();
    while let Some(ended) = tunnels.join_next().await {
        ends.push(ended.map_err(io::Error::other)?);
    }
    Ok(Report {
        exit,
        exited_after,
        tunnels_reset: ends.iter().filter(|(_, how)| how.is_err()).count(),
        tunnel_ends: ends.iter().map(|(at, _)| at.saturating_duration_since(signalled)).collect(),
        requests_before: plan.requests_before,
        requests_after,
        answered_in_drain: clients.answered_in_drain.get(),
        reset_at_the_door: clients.reset_at_the_door.get(),
        failures: clients.failures.take(),
    })
}

/// Starts a finwait in front of `app`; also returns where it serves.
fn start(app: u16, drain: Duration) -> io::Result<(Finwait, Address)> {
    let manager = ["upgrade_configs: [{ upgrade_type: websocket }]"];
    let cluster = ["circuit_breakers: { thresholds: [{ max_connections: 100000, max_requests: 100000 }] }"];
    let yaml = Bootstrap { app, manager: &manager, cluster: &cluster, ..Bootstrap::default() }.yaml();
    let drain = drain.as_secs().to_string();
    let arguments =
        ["--concurrency", "1", "--config-yaml", &yaml, "--drain-time-s", &drain, "--drain-listeners-after", "0s"];
    let mut process = Finwait::start(Path::new("."), &arguments)?;
    let at = process.until("listening on ")?.parse().map_err(io::Error::other)?;
    Ok((process, Address::Socket(at)))
}

/// The clients that ask.
struct Clients {
    world: Outside,
    /// In the order in which they are tried.
    servers: [Address; 2],
    kept: RefCell<Vec<(usize, Conn)>>,
    signalled: Cell<Option<Instant>>,
    answered_in_drain: Cell<usize>,
    reset_at_the_door: Cell<usize>,
    failures: RefCell<Vec<String>>,
}

/// A connection to one of the servers, and whether it has served a request before.
struct Connected {
    server: usize,
    conn: Conn,
    is_fresh: bool,
}

impl Clients {
    fn new(world: Outside, servers: [Address; 2]) -> Self {
        Self {
            world,
            servers,
            kept: RefCell::default(),
            signalled: Cell::new(None),
            answered_in_drain: Cell::new(0),
            reset_at_the_door: Cell::new(0),
            failures: RefCell::default(),
        }
    }

    async fn ask(self: Rc<Self>, number: usize) {
        let answered =
            timeout(STEP_MAX, self.try_ask(number.is_multiple_of(2))).await.unwrap_or_else(|late| Err(late.into()));
        let since = self.signalled.get().map(|signalled| signalled.elapsed());
        match (answered, since) {
            (Ok(0), Some(_)) => self.answered_in_drain.set(self.answered_in_drain.get() + 1),
            (Ok(_), _) => {}
            (Err(error), since) => {
                self.failures.borrow_mut().push(format!("request {number}, {since:?} after SIGTERM: {error}"));
            }
        }
    }

    /// Which server answered with 200?
    async fn try_ask(&self, keeps: bool) -> io::Result<usize> {
        let Connected { mut server, mut conn, is_fresh } = self.connection(keeps).await?;
        let head = match exchange(&mut conn, keeps).await {
            Err(error) if is_fresh && server == 0 && error.kind() == io::ErrorKind::ConnectionReset => {
                self.reset_at_the_door.set(self.reset_at_the_door.get() + 1);
                (server, conn) = (1, self.connect(1).await?);
                exchange(&mut conn, keeps).await?
            }
            head => head?,
        };
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(head));
        }
        if keeps && !head.contains("\r\nconnection: close\r\n") {
            self.kept.borrow_mut().push((server, conn));
        }
        Ok(server)
    }

    /// One that was kept and is still open, or a fresh one.
    async fn connection(&self, keeps: bool) -> io::Result<Connected> {
        let kept = || if keeps { self.kept.borrow_mut().pop() } else { None };
        while let Some((server, conn)) = kept() {
            if conn.peek() == Peek::Open {
                return Ok(Connected { server, conn, is_fresh: false });
            }
        }
        match self.connect(0).await {
            Ok(conn) => Ok(Connected { server: 0, conn, is_fresh: true }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Ok(Connected { server: 1, conn: self.connect(1).await?, is_fresh: true })
            }
            Err(error) => Err(error),
        }
    }

    async fn connect(&self, server: usize) -> io::Result<Conn> {
        self.world.net.connect(&self.servers[server], &ConnectOptions::default()).await
    }
}

/// One request and its answer, whose head is returned.
async fn exchange(conn: &mut Conn, keeps: bool) -> io::Result<String> {
    let persistence = if keeps { "keep-alive" } else { "close" };
    let request = format!("GET /work HTTP/1.1\r\nhost: here\r\nconnection: {persistence}\r\n\r\n");
    conn.write_all(request.as_bytes()).await?;
    let head = read_head(conn).await?;
    conn.read_exact(&mut [0; 2]).await?;
    Ok(head)
}

async fn open_tunnel(world: &Outside, at: &Address) -> io::Result<Conn> {
    let mut conn = world.net.connect(at, &ConnectOptions::default()).await?;
    conn.write_all(
        b"GET /tunnel HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await?;
    let head = read_head(&mut conn).await?;
    let mut greeting = [0; GREETING.len()];
    conn.read_exact(&mut greeting).await?;
    if head.starts_with("HTTP/1.1 101 ") && greeting == GREETING { Ok(conn) } else { Err(io::Error::other(head)) }
}

/// When and how a tunnel ended.
async fn watch(mut tunnel: Conn) -> (Instant, io::Result<usize>) {
    let ended = tunnel.read_to_end(&mut Vec::new()).await;
    (Instant::now(), ended)
}

/// The application: accepts every tunnel and holds it, answers every request after a while.
async fn serve(mut listener: Box<dyn Accept>) {
    let mut connections = JoinSet::new();
    while let Ok(conn) = listener.accept().await {
        connections.spawn_local(answer(conn));
    }
}

async fn answer(mut conn: Conn) -> io::Result<()> {
    loop {
        let head = read_head(&mut conn).await?;
        if head.contains("\r\nupgrade: websocket\r\n") {
            let accepted = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            conn.write_all(&[accepted.as_bytes(), GREETING].concat()).await?;
            conn.read_to_end(&mut Vec::new()).await?;
            return Ok(());
        }
        sleep(ANSWER_DELAY).await;
        conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
    }
}
