//! Two hundred reloads under load: does a request fail, is a tunnel cut, does memory grow?
//!
//! Clients send requests at a steady pace over a proxy with WebSocket tunnels open, while its configuration file changes and
//! SIGHUP is sent ten times a second: routes change, a cluster comes and goes, a listener comes and goes. The benchmark fails
//! (exit status 1) where a request fails, a tunnel does not answer, a reload is not applied, or memory ends more than a tenth
//! above where it began.
//!
//!     cargo bench -p finwait --bench reload

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets, and measures real time")]
#![expect(clippy::disallowed_methods, reason = "a benchmark waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/support/bootstrap.rs"]
mod bootstrap;
#[path = "rivals/client.rs"]
mod client;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bootstrap::Bootstrap;
use client::{connect, read_head};

const RELOADS: usize = 200;
const RELOAD_INTERVAL: Duration = Duration::from_millis(100);
const TUNNELS: usize = 500;
const CLIENTS: usize = 20;
/// Of one client: 20 clients make 2,000 requests a second.
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);
/// Before memory is measured, and after the last reload: drained listeners are gone by then.
const SETTLED_AFTER: Duration = Duration::from_secs(12);
const DRAIN_SECONDS: &str = "2";
const MEMORY_GROWTH_MAX_PERCENT: u64 = 10;
const START_MAX: Duration = Duration::from_secs(10);

/// What the clients saw.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    failures: Mutex<Vec<String>>,
    took: Mutex<Vec<Duration>>,
}

fn main() -> io::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("finwait-bench-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("envoy.yaml");
    let app = TcpListener::bind("127.0.0.1:0")?;
    let app_port = app.local_addr()?.port();
    thread::spawn(move || serve_app(&app));
    let versions = versions(app_port);
    std::fs::write(&file, &versions[0])?;
    let (mut finwait, at) = start(&file)?;
    let mut tunnels = Vec::with_capacity(TUNNELS);
    for _ in 0..TUNNELS {
        tunnels.push(open_tunnel(at)?);
    }
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    let (mut before, mut after, mut applied, mut cut) = (0, 0, 0, 0);
    thread::scope(|scope| -> io::Result<()> {
        for _ in 0..CLIENTS {
            scope.spawn(|| send_requests(at, &stop, &seen));
        }
        thread::sleep(SETTLED_AFTER);
        before = memory(&finwait)?;
        let begun = Instant::now();
        for number in 1..=RELOADS {
            std::fs::write(&file, &versions[number % versions.len()])?;
            signal(&finwait, "HUP")?;
            thread::sleep(
                (RELOAD_INTERVAL * u32::try_from(number).unwrap_or(u32::MAX)).saturating_sub(begun.elapsed()),
            );
        }
        let took = begun.elapsed();
        thread::sleep(SETTLED_AFTER);
        after = memory(&finwait)?;
        stop.store(true, Ordering::Relaxed);
        applied = reloads_applied(at.port())?;
        cut = tunnels.iter_mut().filter_map(|tunnel| echo(tunnel).err()).count();
        println!("{RELOADS} reloads in {took:.1?}, {applied} applied");
        Ok(())
    })?;
    drop(finwait.kill());
    drop(finwait.wait());
    std::fs::remove_dir_all(&folder)?;
    Ok(report(seen, [before, after], applied, cut))
}

fn report(seen: Seen, [before, after]: [u64; 2], applied: usize, cut: usize) -> ExitCode {
    let failures = seen.failures.into_inner().unwrap_or_default();
    let mut took = seen.took.into_inner().unwrap_or_default();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 1000).copied().unwrap_or_default();
    println!("requests: {}, failed: {}", seen.requests.into_inner(), failures.len());
    println!("latency: p50 {:.1?}, p99 {:.1?}, max {:.1?}", at(500), at(990), took.last().copied().unwrap_or_default());
    println!("tunnels: {TUNNELS} open, {cut} cut");
    println!("memory: {before} kB before, {after} kB after");
    failures.iter().take(5).for_each(|failure| println!("  {failure}"));
    let grew = after * 100 > before * (100 + MEMORY_GROWTH_MAX_PERCENT);
    if failures.is_empty() && cut == 0 && applied == RELOADS && !grew { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The configurations that take turns: the first, other routes, a second cluster, and a second listener.
fn versions(app: u16) -> [String; 4] {
    let port = free_pair();
    let route = ", upgrade_configs: [{ upgrade_type: websocket }]";
    let base = Bootstrap { port, app, route, ..Bootstrap::default() }.yaml();
    let admin =
        format!("admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}", admin(port));
    let base = format!("{admin}{base}");
    let (head, clusters) = base.split_once("  clusters:\n").unwrap_or_default();
    let (start, listener) = head.split_once("  listeners:\n").unwrap_or_default();
    let second = listener.replace("name: web", "name: second").replace("stat_prefix: web", "stat_prefix: second");
    let second = second.replace(&format!("port_value: {port}"), "port_value: 0");
    let more = clusters.replace("app", "more");
    let with_cluster = format!("{base}{more}");
    let with_listener = format!("{start}  listeners:\n{listener}{second}  clusters:\n{clusters}");
    [base.clone(), base.replace("prefix: / }", "prefix: \"\" }"), with_cluster, with_listener]
}

/// A free port whose neighbour, which [`admin`] names, is free as well: the application may have it.
fn free_pair() -> u16 {
    let bind = |port: u16| TcpListener::bind(("127.0.0.1", port)).and_then(|bound| bound.local_addr());
    let pairs = std::iter::repeat_with(|| bind(0).map_or(0, |at| at.port()));
    pairs.take(100).find(|port| bind(admin(*port)).is_ok()).unwrap_or(0)
}

/// The admin interface's port, beside the listener's.
fn admin(port: u16) -> u16 {
    port.wrapping_add(1).max(1024)
}

fn start(file: &Path) -> io::Result<(Child, SocketAddr)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.arg("-c").arg(file).args(["--concurrency", "2", "--drain-time-s", DRAIN_SECONDS]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (listening, bound) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let at = line.split_once(" listening on ").filter(|(before, _)| !before.contains("admin"));
            let at = at.and_then(|(_, at)| at.trim().parse::<SocketAddr>().ok());
            if let Some(Ok(()) | Err(_)) = at.map(|at| listening.send(at)) {
                continue; // the first is waited for, the others come with reloads
            }
            if line.contains(" WARN ") || line.contains(" ERROR ") {
                println!("{line}");
            }
        }
    });
    let at = bound.recv_timeout(START_MAX).map_err(io::Error::other)?;
    Ok((child, at))
}

/// Responds `ok` to each request, and echoes what comes over a tunnel.
fn serve_app(app: &TcpListener) {
    for conn in app.incoming().map_while(Result::ok) {
        thread::spawn(move || drop(serve_connection(&conn)));
    }
}

fn serve_connection(conn: &TcpStream) -> io::Result<()> {
    conn.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(conn), conn);
    loop {
        let mut is_upgrade = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            is_upgrade |= line.to_ascii_lowercase().starts_with("upgrade:");
            if line == "\r\n" {
                break;
            }
        }
        if is_upgrade {
            writer
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")?;
            return io::copy(&mut reader, &mut writer).map(drop);
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
}

fn open_tunnel(at: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let mut conn = connect(at)?;
    conn.get_mut().write_all(
        b"GET /ws HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
          sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let (mut first, mut line) = (String::new(), String::new());
    conn.read_line(&mut first)?;
    while line != "\r\n" {
        line.clear();
        if conn.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if first.starts_with("HTTP/1.1 101 ") { Ok(conn) } else { Err(io::Error::other(first)) }
}

fn echo(tunnel: &mut BufReader<TcpStream>) -> io::Result<()> {
    tunnel.get_mut().write_all(b"there?")?;
    tunnel.read_exact(&mut [0; 6])
}

fn send_requests(at: SocketAddr, stop: &AtomicBool, seen: &Seen) {
    let mut conn = None;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += REQUEST_INTERVAL;
        let begun = Instant::now();
        let outcome = request(at, &mut conn);
        seen.requests.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(()) => lock(&seen.took).push(begun.elapsed()),
            Err(error) => lock(&seen.failures).push(error.to_string()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One request, on the connection that is there; a response that says `connection: close` is heeded.
fn request(at: SocketAddr, kept: &mut Option<BufReader<TcpStream>>) -> io::Result<()> {
    let mut conn = match kept.take() {
        Some(conn) => conn,
        None => connect(at)?,
    };
    conn.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")?;
    let head = read_head(&mut conn)?;
    conn.read_exact(&mut [0; 2])?;
    if !head.contains("connection: close") {
        *kept = Some(conn);
    }
    Ok(())
}

fn reloads_applied(port: u16) -> io::Result<usize> {
    let mut conn = connect(SocketAddr::from(([127, 0, 0, 1], admin(port))))?;
    conn.get_mut()
        .write_all(b"GET /stats?filter=config_reload_success HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    conn.read_to_string(&mut response)?;
    let value = response.lines().find_map(|line| line.strip_prefix("server.config_reload_success: "));
    value.and_then(|value| value.trim().parse().ok()).ok_or_else(|| io::Error::other(response))
}

/// Pages in memory. kB.
fn memory(process: &Child) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next()).and_then(|number| number.parse().ok());
    resident.ok_or_else(|| io::Error::other("the system does not say"))
}

fn signal(process: &Child, name: &str) -> io::Result<()> {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", process.id())]).status()?;
    if sent.success() { Ok(()) } else { Err(io::Error::other("the signal could not be sent")) }
}
