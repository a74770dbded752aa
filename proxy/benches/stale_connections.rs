//! Requests over a pool whose connections end without notice: how many does each proxy lose?
//!
//! The application answers a random 1 to 20 requests on a connection and then closes it, at once or a few milliseconds
//! later, and says nothing of it before. 24 clients ask one after the other, each over one connection to the proxy. No
//! `retry_on` is configured. Every proxy gets the same dice. POSTs may fail, but none may arrive twice.
//!
//!     cargo bench -p finwait --bench stale_connections [-- REQUESTS]

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads files and the environment, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod rivals;
#[path = "rivals/watched.rs"]
mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rivals::{Kind, Options};
use watched::{MIB, Memory, Watched};

const CLIENTS: usize = 24;
const REQUESTS: usize = 200_000;
/// A connection of the application's answers at most so often.
const ANSWERS_MAX: u64 = 20;
/// It closes at once or up to so many milliseconds later, less one.
const LINGER_MS: u64 = 4;
/// An answer that takes longer is a failure.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// finwait's own counters: requests saved, each in its way.
const SAVED: [&str; 3] = ["upstream_cx_reuse_stale", "upstream_rq_redispatched", "upstream_rq_resent"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let requests = arguments.first().map_or(REQUESTS, |requests| requests.parse().expect("REQUESTS"));
    let dir = std::env::temp_dir().join(format!("finwait-stale-{}", std::process::id()));
    println!(
        "{requests} GETs, then {requests} POSTs, from {CLIENTS} clients; each connection to the app answers 1 to 20"
    );
    println!(
        "{:>22}  {:>22}  {:>22}  {:>10}  {:>15}  how",
        "", "GETs failed", "POSTs failed", "seen twice", "MiB after, peak"
    );
    for kind in Kind::ALL {
        let app = App::start(requests);
        match Watched::start(kind, &dir, app.at, &Options::default()) {
            None => println!("{:>22}  not installed or not named, left out", kind.name()),
            Some(rival) => measure(&rival, &app, requests),
        }
    }
    drop(fs::remove_dir_all(dir));
}

fn measure(rival: &Watched, app: &App, requests: usize) {
    let gets = load(rival.process.at, "GET", requests);
    app.seen.forget();
    let posts = load(rival.process.at, "POST", requests);
    let twice = app.seen.twice();
    let share = |failed: &Failures| {
        let failed: usize = failed.values().sum();
        format!("{failed} = {:.3} %", 100.0 * failed as f64 / requests as f64)
    };
    let [stale, redispatched, resent] = rival.stats(SAVED);
    let how = match rival.kind {
        Kind::Finwait | Kind::FinwaitBefore => {
            format!("{stale} ended connections seen in time, {redispatched} moved on, {resent} sent again")
        }
        Kind::Envoy | Kind::FinwaitExact | Kind::HaProxy | Kind::Nginx => format!("GETs {gets:?}, POSTs {posts:?}"),
    };
    let Memory { now_bytes, peak_bytes } = rival.memory();
    let memory = [now_bytes, peak_bytes].map(|bytes| format!("{:.1}", bytes as f64 / MIB)).join(", ");
    println!(
        "{:>22}  {:>22}  {:>22}  {twice:>10}  {memory:>15}  {how}",
        rival.kind.name(),
        share(&gets),
        share(&posts)
    );
}

/// How often each thing came in the place of a 200.
type Failures = BTreeMap<String, usize>;

/// Requests one after the other from each client; numbered, so that the application knows them again.
fn load(at: SocketAddr, method: &'static str, requests: usize) -> Failures {
    let failures = Mutex::new(Failures::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    if let Err(what) = ask(&mut connection, at, method, number) {
                        *failures.lock().expect("no panic holds it").entry(what).or_default() += 1;
                    }
                }
            });
        }
    });
    failures.into_inner().expect("no panic held it")
}

/// One request on the client's connection, or on another if it has none.
fn ask(
    connection: &mut Option<BufReader<TcpStream>>,
    at: SocketAddr,
    method: &str,
    number: usize,
) -> Result<(), String> {
    let mut reader = match connection.take() {
        Some(reader) => reader,
        None => connect(at).map_err(|error| format!("connect: {}", error.kind()))?,
    };
    let body = if method == "POST" { "content-length: 5\r\n\r\nhello" } else { "\r\n" };
    let request = format!("{method} /{number} HTTP/1.1\r\nhost: bench\r\n{body}");
    reader.get_mut().write_all(request.as_bytes()).map_err(|error| format!("write: {}", error.kind()))?;
    let answer = read_answer(&mut reader).map_err(|error| format!("read: {}", error.kind()))?;
    if !answer.closes {
        *connection = Some(reader);
    }
    if answer.status == "200" { Ok(()) } else { Err(answer.status) }
}

fn connect(at: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(BufReader::new(stream))
}

struct Answer {
    status: String,
    closes: bool,
}

fn read_answer(reader: &mut impl BufRead) -> io::Result<Answer> {
    let head = read_head(reader)?;
    let mut body = vec![0; content_length(&head)];
    reader.read_exact(&mut body)?;
    let status = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    Ok(Answer { status, closes: head.contains("\r\nconnection: close\r\n") })
}

/// Everything to the empty line, in lower case.
fn read_head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    loop {
        let line = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head.get(line..) == Some("\r\n") {
            return Ok(head.to_ascii_lowercase());
        }
    }
}

fn content_length(head: &str) -> usize {
    let value = head.split_once("\r\ncontent-length: ").and_then(|(_, rest)| rest.split("\r\n").next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The application, a thread for each connection. It serves until the process ends.
struct App {
    at: SocketAddr,
    seen: Arc<Seen>,
}

impl App {
    fn start(requests: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("a bound socket");
        let seen = Arc::new(Seen((0..requests).map(|_| AtomicUsize::new(0)).collect()));
        let (dice, counts) = (Arc::new(Dice(AtomicU64::new(7))), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (dice, counts) = (Arc::clone(&dice), Arc::clone(&counts));
                thread::spawn(move || answer(stream, &dice, &counts));
            }
        });
        Self { at, seen }
    }
}

/// Answers a few requests and closes, at once or a little later.
fn answer(stream: TcpStream, dice: &Dice, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    for _ in 0..=dice.roll(ANSWERS_MAX) {
        let head = read_head(&mut reader)?;
        reader.read_exact(&mut vec![0; content_length(&head)])?;
        seen.note(&head);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
    match dice.roll(LINGER_MS) {
        0 => {}
        later => thread::sleep(Duration::from_millis(later)),
    }
    Ok(())
}

/// How often each request has arrived.
struct Seen(Vec<AtomicUsize>);

impl Seen {
    fn note(&self, head: &str) {
        let number = head.split_whitespace().nth(1).and_then(|path| path.strip_prefix('/')?.parse::<usize>().ok());
        if let Some(times) = number.and_then(|number| self.0.get(number)) {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn forget(&self) {
        self.0.iter().for_each(|times| times.store(0, Ordering::Relaxed));
    }

    fn twice(&self) -> usize {
        self.0.iter().filter(|times| times.load(Ordering::Relaxed) > 1).count()
    }
}

/// The same throws for everybody (Steele, Lea and Flood's SplitMix64).
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self, below: u64) -> u64 {
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}
