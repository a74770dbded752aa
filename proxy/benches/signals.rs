//! Each signal under load: what becomes of requests, and of the process?
//!
//! Clients on kept and on new connections send requests at a steady pace, from a second before the signal until the
//! process has ended or a few seconds are over. A connection that is refused is told apart: after a signal that ends the
//! process it has to come some time. The benchmark fails (exit status 1) where a request fails, where a connection is
//! refused that should not be, and where a signal ends the process that should not.
//!
//!     cargo bench -p finwait --bench signals [-- path/to/another/finwait]

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets, and measures real time")]
#![expect(clippy::disallowed_methods, reason = "a benchmark waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/support/bootstrap.rs"]
mod bootstrap;
#[path = "rivals/client.rs"]
mod client;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bootstrap::Bootstrap;
use client::{connect, read_head};

const KEPT_CLIENTS: usize = 4;
const NEW_CLIENTS: usize = 2;
const PAUSE: Duration = Duration::from_millis(2);
/// Before the signal.
const BEFORE: Duration = Duration::from_secs(1);
/// After a signal that the process survives.
const AFTER: Duration = Duration::from_secs(3);
/// The longest that a process may take to end; `--drain-time-s` and the grace are shorter together.
const END_MAX: Duration = Duration::from_secs(20);
const DRAIN_SECONDS: &str = "3";
/// A new connection is accepted for that long after SIGTERM: `--drain-listeners-after` less a margin.
const ACCEPTS_AFTER_TERM: Duration = Duration::from_millis(4_900);
/// Between two SIGTERM.
const SECOND_TERM_AFTER: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);
const START_MAX: Duration = Duration::from_secs(10);

/// Signals in the order in which they are sent, and what is expected.
struct Case {
    signals: &'static [&'static str],
    ends: bool,
    /// Since the first signal.
    refuses_from: Duration,
}

const CASES: [Case; 7] = [
    survived(&["HUP"]),
    survived(&["USR1"]),
    survived(&["USR2"]),
    survived(&["PIPE"]),
    Case { signals: &["TERM"], ends: true, refuses_from: ACCEPTS_AFTER_TERM },
    Case { signals: &["TERM", "TERM"], ends: true, refuses_from: SECOND_TERM_AFTER },
    Case { signals: &["INT"], ends: true, refuses_from: Duration::ZERO },
];

const fn survived(signals: &'static [&'static str]) -> Case {
    Case { signals, ends: false, refuses_from: Duration::MAX }
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    answered: usize,
    /// When, and how.
    failed: Vec<(Instant, String)>,
    /// New connections that were refused, or reset before a byte of a response.
    refused: Vec<Instant>,
}

/// How a request failed.
enum Failure {
    Refused,
    Other(io::Error),
}

fn main() -> ExitCode {
    let program = std::env::args().skip(1).find(|argument| argument != "--bench");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_finwait").to_owned());
    let app = start_app().expect("a free port");
    println!("signals       answered  failed  refused  first refusal after  end");
    let mut breaches = Vec::new();
    for case in &CASES {
        breaches.extend(try_signals(&program, app, case).expect("a process can be started and signalled"));
    }
    breaches.iter().for_each(|breach| println!("limit broken: {breach}"));
    if breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One process, its load and its signals; what should not have been.
fn try_signals(program: &str, app: SocketAddr, case: &Case) -> io::Result<Vec<String>> {
    let at = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut process = start(program, at, app)?;
    let seen = Seen::default();
    let (signalled, end) = thread::scope(|scope| {
        for number in 0..KEPT_CLIENTS + NEW_CLIENTS {
            let seen = &seen;
            scope.spawn(move || send_requests(at, number < KEPT_CLIENTS, seen));
        }
        thread::sleep(BEFORE);
        let signalled = Instant::now();
        let end = signal_and_wait(&mut process, case);
        seen.is_over.store(true, Ordering::Relaxed);
        end.map(|end| (signalled, end))
    })?;
    drop(process.kill()); // fails if it has ended, and that is what is wanted
    drop(process.wait());
    Ok(judge(case, &seen.tally.into_inner().expect("no panic held it"), signalled, &end))
}

/// How the process ended, and when; None if it did not.
type End = Option<(String, Instant)>;

fn signal_and_wait(process: &mut Child, case: &Case) -> io::Result<End> {
    for (number, name) in case.signals.iter().enumerate() {
        if number > 0 {
            thread::sleep(SECOND_TERM_AFTER);
        }
        // No crate for one signal: a shell has kill built in.
        let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", process.id())]).status()?;
        if !sent.success() {
            break; // it has ended already
        }
    }
    let until = Instant::now() + if case.ends { END_MAX } else { AFTER };
    while Instant::now() < until {
        if let Some(status) = process.try_wait()? {
            return Ok(Some((status.to_string(), Instant::now())));
        }
        thread::sleep(POLL);
    }
    Ok(None)
}

fn judge(case: &Case, tally: &Tally, signalled: Instant, end: &End) -> Vec<String> {
    let name = case.signals.join(", ");
    let after = |at: Instant| at.saturating_duration_since(signalled);
    // Once the process has ended nothing can be served.
    let ended = end.as_ref().map(|(_, at)| *at);
    let before_end = |at: Instant| ended.is_none_or(|ended| at < ended);
    let failed: Vec<_> = tally.failed.iter().filter(|(at, _)| !case.ends || before_end(*at)).collect();
    let first_refusal = tally.refused.iter().map(|at| after(*at)).min();
    let end = end.as_ref().map(|(status, at)| format!("{status} after {:.1} s", after(*at).as_secs_f64()));
    let seconds = first_refusal.map_or_else(|| "none".into(), |first| format!("{:.2} s", first.as_secs_f64()));
    println!(
        "{name:<12} {:>9} {:>7} {:>8} {seconds:>20}  {}",
        tally.answered,
        failed.len(),
        tally.refused.len(),
        end.as_deref().unwrap_or("survives")
    );
    let mut breaches = Vec::new();
    if let Some((at, how)) = failed.first() {
        breaches.push(format!("{name}: {} requests failed, the first {:?} after it: {how}", failed.len(), after(*at)));
    }
    if let Some(first) = first_refusal.filter(|first| *first < case.refuses_from) {
        breaches.push(format!("{name}: a connection was refused {first:?} after it"));
    }
    match (&end, case.ends) {
        (None, true) => breaches.push(format!("{name}: the process has not ended {END_MAX:?} later")),
        (Some(how), false) => breaches.push(format!("{name}: the process ended: {how}")),
        (Some(how), true) if !how.starts_with("exit status: 0 ") => breaches.push(format!("{name}: {how}")),
        (None, false) | (Some(_), true) => {}
    }
    breaches
}

fn start(program: &str, at: SocketAddr, app: SocketAddr) -> io::Result<Child> {
    let log = std::env::temp_dir().join(format!("finwait-signals-{}.log", std::process::id()));
    let typed = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let logs = format!(
        "access_log: [{{ name: envoy.access_loggers.file, typed_config: {{ \"@type\": {typed}, path: {} }} }}]",
        log.display()
    );
    let yaml = Bootstrap { port: at.port(), app: app.port(), manager: &[&logs], ..Bootstrap::default() }.yaml();
    let arguments = ["--concurrency", "1", "--drain-time-s", DRAIN_SECONDS, "--config-yaml", &yaml];
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn()?;
    let until = Instant::now() + START_MAX;
    while TcpStream::connect(at).is_err() && Instant::now() < until {
        thread::sleep(POLL);
    }
    Ok(process)
}

fn send_requests(at: SocketAddr, keeps: bool, seen: &Seen) {
    let mut connection = None;
    while !seen.is_over.load(Ordering::Relaxed) {
        let outcome = request(&mut connection, at);
        if !keeps {
            connection = None;
        }
        let mut tally = seen.tally.lock().expect("no panic holds it");
        match outcome {
            Ok(()) => tally.answered += 1,
            Err(Failure::Refused) => tally.refused.push(Instant::now()),
            Err(Failure::Other(error)) => tally.failed.push((Instant::now(), error.to_string())),
        }
        drop(tally);
        thread::sleep(PAUSE);
    }
}

fn request(connection: &mut Option<BufReader<TcpStream>>, at: SocketAddr) -> Result<(), Failure> {
    let is_new = connection.is_none();
    let mut reader = match connection.take() {
        Some(reader) => reader,
        None => connect(at).map_err(|_| Failure::Refused)?,
    };
    let sent = reader.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n");
    let first = sent.and_then(|()| reader.fill_buf().map(|bytes| !bytes.is_empty()));
    match first {
        Ok(true) => {}
        // The listener closed between the handshake, which the system completes, and accept.
        Err(error) if is_new && error.kind() == io::ErrorKind::ConnectionReset => return Err(Failure::Refused),
        Ok(false) => return Err(Failure::Other(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err(Failure::Other(error)),
    }
    if read_response(&mut reader).map_err(Failure::Other)? {
        *connection = Some(reader);
    }
    Ok(())
}

/// Reads a 200 with its body of five bytes; whether the connection stays open.
fn read_response(reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let head = read_head(reader)?;
    reader.read_exact(&mut [0; 5])?;
    Ok(!head.contains("connection: close"))
}

/// An application that answers after a moment, so that requests are under way when a signal comes.
fn start_app() -> io::Result<SocketAddr> {
    const DELAY: Duration = Duration::from_millis(5);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || -> io::Result<()> {
                stream.set_nodelay(true)?;
                let mut reader = BufReader::new(stream.try_clone()?);
                let mut line = String::new();
                while reader.read_line(&mut line)? > 0 {
                    if line == "\r\n" {
                        thread::sleep(DELAY);
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")?;
                    }
                    line.clear();
                }
                Ok(())
            });
        }
    });
    Ok(at)
}
