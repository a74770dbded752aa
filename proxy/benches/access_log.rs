//! Access logs under load: is there a line for each request?
//!
//! Twice: with a file that is moved away and reopened by SIGUSR1 every second, and with a standard output that is not
//! read until the load is over. Clients send pipelined requests that the proxy answers by itself, since the log is what
//! is measured. The benchmark fails (exit status 1) where a request fails, and where the lines, with those that the
//! proxy says it has dropped, are not as many as the requests.
//!
//!     cargo bench -p finwait --bench access_log [-- SECONDS REQUESTS_PER_SECOND [path/to/another/finwait]]

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets, and measures real time")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads files, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const SECONDS: u64 = 60;
const REQUESTS_PER_SECOND: u64 = 30_000;
const CLIENTS: u64 = 4;
/// Requests that are sent together.
const BATCH: u64 = 50;
const REQUEST: &[u8] = b"GET /bench HTTP/1.1\r\nhost: bench\r\n\r\n";
/// The end of each response's body, which occurs nowhere else in it.
const BODY: &[u8] = b"<end>";
const RESPONSE_MAX: Duration = Duration::from_secs(10);
const START_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
const ROTATION: Duration = Duration::from_secs(1);
/// After the load, until all lines are written.
const FLUSH: Duration = Duration::from_secs(2);
/// SIGTERM is given that long.
const END_MAX: Duration = Duration::from_secs(20);

struct Plan {
    program: String,
    seconds: u64,
    per_second: u64,
    dir: PathBuf,
}

/// The proxy, and where it is.
struct Proxy {
    process: Child,
    at: SocketAddr,
    admin: SocketAddr,
}

/// What the clients saw.
#[derive(Default)]
struct Load {
    answered: u64,
    failed: Vec<String>,
    /// Of a batch.
    slowest: Duration,
}

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |at: usize| arguments.get(at).map(|given| given.parse::<u64>().expect("a number"));
    let plan = Plan {
        program: arguments.get(2).cloned().unwrap_or_else(|| env!("CARGO_BIN_EXE_finwait").to_owned()),
        seconds: number(0).unwrap_or(SECONDS),
        per_second: number(1).unwrap_or(REQUESTS_PER_SECOND),
        dir: std::env::temp_dir().join(format!("finwait-access-log-{}", std::process::id())),
    };
    fs::create_dir_all(&plan.dir)?;
    let rotated = rotate(&plan)?;
    let unread = leave_unread(&plan)?;
    fs::remove_dir_all(&plan.dir)?;
    Ok(if rotated && unread { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `mv` and SIGUSR1 every second; whether there is a line for each request.
fn rotate(plan: &Plan) -> io::Result<bool> {
    let log = plan.dir.join("access.log");
    let logger = format!("file.v3.FileAccessLog, path: {}", log.display());
    let mut proxy = Proxy::start(plan, &logger)?;
    let mut rotations = 0;
    let load = thread::scope(|scope| {
        let load = scope.spawn(|| load(proxy.at, plan));
        while !load.is_finished() {
            thread::sleep(ROTATION);
            rotations += 1;
            if fs::rename(&log, plan.dir.join(format!("access.log.{rotations}"))).is_ok() {
                proxy.signal("USR1")?;
            }
        }
        Ok::<_, io::Error>(load.join().expect("it only counts"))
    })?;
    thread::sleep(FLUSH);
    let dropped = proxy.dropped();
    let end = proxy.end()?;
    let files: Vec<PathBuf> = fs::read_dir(&plan.dir)?.flatten().map(|entry| entry.path()).collect();
    let logs = files.iter().filter(|path| path.to_string_lossy().contains("access.log"));
    let lines: u64 = logs.map(|path| fs::read(path).map(|bytes| count_lines(&bytes))).sum::<io::Result<_>>()?;
    let how = format!("{rotations} rotations");
    Ok(load.report("a file, rotated", &how, lines, dropped, plan, &end))
}

/// Standard output is not read until the load is over; whether the lines and the dropped ones are as many as requests.
fn leave_unread(plan: &Plan) -> io::Result<bool> {
    let mut proxy = Proxy::start(plan, "stream.v3.StdoutAccessLog")?;
    let mut stdout = proxy.process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let load = load(proxy.at, plan);
    let reader = thread::spawn(move || {
        let (mut bytes, mut lines) = ([0; 64 * 1024], 0);
        while let Ok(len @ 1..) = stdout.read(&mut bytes) {
            lines += count_lines(&bytes[..len]);
        }
        lines
    });
    thread::sleep(FLUSH);
    let dropped = proxy.dropped();
    let end = proxy.end()?;
    let lines = reader.join().expect("it only counts");
    Ok(load.report("an unread standard output", "read at the end", lines, dropped, plan, &end))
}

impl Proxy {
    fn start(plan: &Plan, logger: &str) -> io::Result<Self> {
        let [at, admin] = [free_port()?, free_port()?];
        let config = plan.dir.join("bootstrap.yaml");
        fs::write(&config, bootstrap(at, admin, logger))?;
        let mut command = Command::new(&plan.program);
        command.arg("-c").arg(&config).args(["--concurrency", "1", "--drain-time-s", "1"]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(at).is_err() && Instant::now() < until {
            thread::sleep(POLL);
        }
        Ok(Self { process, at, admin })
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        // No crate for one signal: a shell has kill built in.
        Command::new("sh").args(["-c", &format!("kill -s {name} {}", self.process.id())]).status().map(drop)
    }

    /// Lines that the proxy says it has not written.
    fn dropped(&self) -> u64 {
        let page = get(self.admin, "/stats").unwrap_or_default();
        let values = page.lines().filter_map(|line| line.split_once("write_dropped: ")?.1.parse::<u64>().ok());
        values.sum()
    }

    /// SIGTERM; how it ended.
    fn end(&mut self) -> io::Result<String> {
        let begun = Instant::now();
        self.signal("TERM")?;
        while begun.elapsed() < END_MAX {
            if let Some(status) = self.process.try_wait()? {
                return Ok(format!("{status} {:.1} s after SIGTERM", begun.elapsed().as_secs_f64()));
            }
            thread::sleep(POLL);
        }
        Ok(format!("not ended {END_MAX:?} after SIGTERM"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.process.kill()); // fails if it has ended, and that is what is wanted
        drop(self.process.wait());
    }
}

impl Load {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed.extend(other.failed);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Prints; whether all is as it should be.
    fn report(&self, log: &str, how: &str, lines: u64, dropped: u64, plan: &Plan, end: &str) -> bool {
        let failed = self.failed.len();
        let rate = self.answered / plan.seconds.max(1);
        println!(
            "{log}, {how}: {} requests ({rate}/s), {failed} batches failed {:?}",
            self.answered,
            self.failed.first()
        );
        println!("    slowest batch of {BATCH}: {:.1} ms", self.slowest.as_secs_f64() * 1000.0);
        let missing = i128::from(self.answered) - i128::from(lines);
        println!("    {lines} lines, {missing} missing, {dropped} dropped; {end}");
        let is_right = failed == 0 && missing == i128::from(dropped) && end.starts_with("exit status: 0 ");
        if !is_right {
            println!("limit broken: {log}: no request fails, missing lines are dropped lines, and the end is status 0");
        }
        is_right
    }
}

fn load(at: SocketAddr, plan: &Plan) -> Load {
    let sum = Mutex::new(Load::default());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let seen = send_batches(at, plan);
                sum.lock().expect("no panic holds it").add(seen);
            });
        }
    });
    sum.into_inner().expect("no panic held it")
}

fn send_batches(at: SocketAddr, plan: &Plan) -> Load {
    let pace = Duration::from_secs(1) * u32::try_from(BATCH * CLIENTS).expect("a few")
        / u32::try_from(plan.per_second).expect("a rate");
    let batch = REQUEST.repeat(usize::try_from(BATCH).expect("a few"));
    let begun = Instant::now();
    let (mut load, mut connection, mut due) = (Load::default(), None, begun);
    while begun.elapsed() < Duration::from_secs(plan.seconds) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pace;
        let sent = Instant::now();
        match send_batch(&mut connection, at, &batch) {
            Ok(()) => load.answered += BATCH,
            Err(error) => {
                load.failed.push(error.to_string());
                thread::sleep(POLL);
            }
        }
        load.slowest = load.slowest.max(sent.elapsed());
    }
    load
}

fn send_batch(connection: &mut Option<TcpStream>, at: SocketAddr, batch: &[u8]) -> io::Result<()> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => TcpStream::connect(at)?,
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(RESPONSE_MAX))?;
    stream.write_all(batch)?;
    let (mut got, mut bytes, mut answered) = (Vec::new(), [0; 16 * 1024], 0);
    while answered < BATCH {
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => got.extend_from_slice(&bytes[..len]),
        }
        while let Some(end) = got.windows(BODY.len()).position(|window| window == BODY) {
            if !got.starts_with(b"HTTP/1.1 200 ") {
                return Err(io::Error::other("not a 200"));
            }
            got.drain(..end + BODY.len());
            answered += 1;
        }
    }
    *connection = Some(stream);
    Ok(())
}

fn get(at: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(RESPONSE_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn bootstrap(at: SocketAddr, admin: SocketAddr, logger: &str) -> String {
    let body = String::from_utf8_lossy(BODY);
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {at} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log:
          - name: log
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.access_loggers.{logger} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                direct_response: {{ status: 200, body: {{ inline_string: "{body}" }} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#,
        at = at.port(),
        admin = admin.port(),
    )
}
