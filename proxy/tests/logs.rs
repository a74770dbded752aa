//! Access logs of a real process: none of their lines is lost where their readers keep up, and no request where they do
//! not.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/client.rs"]
mod client;
#[path = "support/process.rs"]
mod process;

use std::io::{BufRead, BufReader, PipeReader, Write, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bootstrap::Bootstrap;
use client::{Client, Load, answering};
use process::Finwait;

#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpStream = std::net::TcpStream;

const CLIENTS: usize = 4;
/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);
/// 4,000 lines with such a path are more than a pipe and a log's queue hold.
const LONG_PATH_BYTES: usize = 8_000;

/// A configuration that answers by itself and logs paths to `path`.
fn logging_to(path: &str) -> String {
    let format = r#"log_format: { text_format_source: { inline_string: "%REQ(:PATH)% %RESPONSE_CODE% end\n" } }"#;
    let kind = "\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let log = format!("access_log: [{{ name: log, typed_config: {{ {kind}, path: {path:?}, {format} }} }}]");
    answering(&Bootstrap { manager: &[&log], ..Bootstrap::default() }.yaml())
}

fn arguments(yaml: &str) -> [&str; 4] {
    ["--config-yaml", yaml, "--concurrency", "2"]
}

fn listening(finwait: &mut Finwait) -> SocketAddr {
    finwait.until("listening on ").unwrap().parse().unwrap()
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("logs").join(name);
    drop(std::fs::remove_dir_all(&folder)); // from the last time
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Interrupts it; what it said last.
fn end(finwait: Finwait) -> String {
    finwait.signal("INT").unwrap();
    let (status, said) = finwait.end(STEP_MAX).unwrap();
    assert!(status.success(), "{status}\n{said}");
    said
}

/// The last count of dropped lines in the process's log.
fn dropped(said: &str) -> usize {
    let count = said.lines().rev().find_map(|line| line.split_once(" dropped=")?.1.split(' ').next());
    count.map_or(0, |count| count.parse().unwrap())
}

/// Reads to the end; how many lines there were, all of them whole. `caught_up` is set by one with the path `/last`.
fn count_lines(pipe: PipeReader, caught_up: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let caught_up = Arc::clone(caught_up);
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines().map(Result::unwrap);
        let checked = lines.inspect(|line| {
            assert!(line.starts_with('/') && line.ends_with(" 200 end"), "{line:?}");
            caught_up.fetch_or(line.starts_with("/last"), Relaxed);
        });
        checked.count()
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads the logs it checks")]
fn rotation_loses_no_line() {
    let folder = folder("rotation");
    let yaml = logging_to("access.log");
    let mut finwait = Finwait::start(&folder, &arguments(&yaml)).unwrap();
    let load = Load::start(listening(&mut finwait), CLIENTS, "/rotated");
    let log = folder.join("access.log");
    for number in 0..20 {
        load.wait_for(100);
        std::fs::rename(&log, folder.join(format!("access.log.{number}"))).unwrap();
        finwait.signal("USR1").unwrap();
        while !log.exists() {
            thread::park_timeout(Duration::from_millis(1));
        }
    }
    assert_eq!(load.failures(), Vec::<String>::new());
    let requests = load.stop();
    assert_eq!(dropped(&end(finwait)), 0);
    let mut lines = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.lines().all(|line| line == "/rotated 200 end"));
        lines += text.lines().count();
    }
    assert_eq!(lines, requests);
}

#[test]
fn a_stalled_log_reader_loses_counted_lines_and_fails_no_request() {
    let (reader, writer) = pipe().unwrap();
    let yaml = logging_to("/dev/stdout");
    let arguments = ["--config-yaml", &yaml, "--concurrency", "1"];
    let mut finwait = Finwait::start_with(Path::new("."), &arguments, writer.into()).unwrap();
    let at = listening(&mut finwait);
    let load = Load::start(at, CLIENTS, &format!("/{}", "p".repeat(LONG_PATH_BYTES)));
    load.wait_for(4_000);
    finwait.until("log lines dropped").unwrap();
    assert_eq!(load.failures(), Vec::<String>::new());
    let mut requests = load.stop();
    let caught_up = Arc::default();
    let lines = count_lines(reader, &caught_up);
    // The worker's lines come in order: what was queued before this one has been written when it is read.
    let mut last = Client::new(at);
    while !caught_up.load(Relaxed) {
        last.get("/last").unwrap();
        requests += 1;
    }
    drop(last);
    let dropped = dropped(&end(finwait));
    assert!(dropped > 0);
    assert_eq!(lines.join().unwrap() + dropped, requests);
}

#[test]
fn a_process_ends_while_the_reader_of_its_log_stalls() {
    let (reader, writer) = pipe().unwrap();
    let yaml = logging_to("/dev/stdout");
    let mut finwait = Finwait::start_with(Path::new("."), &arguments(&yaml), writer.into()).unwrap();
    let mut client = Client::new(listening(&mut finwait));
    for _ in 0..20 {
        client.get(&format!("/{}", "p".repeat(LONG_PATH_BYTES))).unwrap();
    }
    drop(client);
    let said = end(finwait);
    assert!(said.contains("stopped\n"), "{said}");
    assert!(dropped(&said) > 0, "{said}");
    drop(reader);
}

#[test]
fn a_log_on_a_full_disk_loses_lines_and_fails_no_request() {
    let yaml = logging_to("/dev/full");
    let mut finwait = Finwait::start(Path::new("."), &arguments(&yaml)).unwrap();
    let load = Load::start(listening(&mut finwait), CLIENTS, "/lost");
    load.wait_for(500);
    finwait.until("log lines dropped").unwrap();
    assert_eq!(load.failures(), Vec::<String>::new());
    let requests = load.stop();
    assert_eq!(dropped(&end(finwait)), requests);
}

#[test]
fn a_log_in_a_fifo_that_is_not_read_yet_keeps_no_process_from_serving() {
    let folder = folder("fifo");
    assert!(Command::new("mkfifo").arg(folder.join("access.log")).status().unwrap().success());
    let yaml = logging_to("access.log");
    let mut finwait = Finwait::start(&folder, &arguments(&yaml)).unwrap();
    Client::new(listening(&mut finwait)).get("/").unwrap();
    end(finwait);
}

#[test]
fn standard_error_that_is_not_read_stops_no_request() {
    let folder = folder("stderr");
    let yaml = logging_to("access.log");
    let (stalled, writer) = pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(arguments(&yaml)).args(["-l", "trace"]).current_dir(&folder).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command); // with its end of the pipe
    let mut said = BufReader::new(stalled);
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it says where it listens");
    }
    let at: SocketAddr = line.trim_end().split_once("listening on ").unwrap().1.parse().unwrap();
    // The HTTP/2 library says several lines for each frame, together far more than a pipe holds.
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..2_000 {
        frames.extend_from_slice(b"\0\0\0\x04\0\0\0\0\0"); // SETTINGS
    }
    let mut flood = TcpStream::connect(at).unwrap();
    flood.write_all(&frames).unwrap();
    let load = Load::start(at, CLIENTS, "/");
    load.wait_for(500);
    assert_eq!(load.failures(), Vec::<String>::new());
    load.stop();
    let interrupted = Command::new("sh").args(["-c", &format!("kill -s INT {}", child.id())]).status().unwrap();
    assert!(interrupted.success());
    drop(flood);
    assert!(child.wait().unwrap().success());
    drop(said);
}

#[test]
fn a_failed_connect_is_logged_once_with_the_connection_id_of_its_request() {
    let yaml = Bootstrap { app: 1, ..Bootstrap::default() }.yaml(); // a port on which nothing listens
    let arguments = ["--config-yaml", &yaml, "--concurrency", "1", "-l", "debug"];
    let mut finwait = Finwait::start(Path::new("."), &arguments).unwrap();
    let at = listening(&mut finwait);
    drop(Client::new(at).get("/")); // 503
    let said = end(finwait);
    let id_of = |words: &str| {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(words)).collect();
        let [line] = lines[..] else { panic!("{words} stands in {lines:?}\n{said}") };
        let (_, fields) = line.split_once("connection=").unwrap_or_else(|| panic!("{line}"));
        fields.split_whitespace().next().map(str::to_owned)
    };
    assert_eq!(id_of("a connect failed"), id_of("local reply"));
}
