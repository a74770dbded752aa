//! The binary's first and last words: what it says when it cannot start, and that it ends as it is told.
//!
//! Each refusal is recorded as an insta snapshot: the exit code, then all of standard error. A refusal names the file,
//! the line and the path, and says what to do.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends where a step fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpListener = std::net::TcpListener;
#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpStream = std::net::TcpStream;

/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);

/// A configuration that listens on PORT and forwards to UPSTREAM.
const PROXY: &str = r#"
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: PORT } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route: { cluster: app }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: UPSTREAM } } }
"#;

#[test]
fn a_wrong_file_is_refused_in_one_message() {
    let proxy = PROXY.replace("PORT", "0").replace("UPSTREAM", "1");
    let cases = [
        ("unknown_field", proxy.replace("stat_prefix", "stats_prefix")),
        ("wrong_type", proxy.replace("port_value: 0", "port_value: web")),
        ("missing_cluster", proxy.replace("cluster: app }", "cluster: shop }")),
        ("v1_use_websocket", proxy.replace("cluster: app }", "cluster: app, use_websocket: true }")),
        ("not_yaml", "static_resources: [}\n".to_owned()),
        ("empty", String::new()),
    ];
    for (name, yaml) in cases {
        let folder = Folder::with(name, &yaml);
        let (code, said) = Finwait::start(&folder, &["-c", "finwait.yaml"]).end();
        compare(name, code, &said);
    }
}

#[test]
fn wrong_arguments_are_refused_in_one_message() {
    let folder = Folder::with("arguments", "");
    for (name, arguments) in [
        ("absent_file", &["-c", "absent.yaml"][..]),
        ("file_and_yaml", &["-c", "finwait.yaml", "--config-yaml", "{}"]),
        ("no_workers", &["-c", "finwait.yaml", "--concurrency", "0"]),
        ("unknown_argument", &["--config", "finwait.yaml"]),
        ("nothing_to_validate", &["--mode", "validate"]),
    ] {
        let (code, said) = Finwait::start(&folder, arguments).end();
        compare(name, code, &said);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port(&occupied);
    for workers in ["1", "2"] {
        let folder = Folder::with("port_in_use", &PROXY.replace("PORT", &port).replace("UPSTREAM", "1"));
        let (code, said) = Finwait::start(&folder, &["-c", "finwait.yaml", "--concurrency", workers]).end();
        compare("port_in_use", code, &said.replace(&port, "PORT"));
    }
}

#[test]
fn a_demonstration_without_its_port_names_it() {
    // Whether this succeeds or another process was quicker, the port is taken.
    let occupied = TcpListener::bind("127.0.0.1:10003");
    let folder = Folder::with("demo", "");
    let (code, said) = Finwait::start(&folder, &[]).end();
    compare("demo_port_in_use", code, &said);
    drop(occupied);
}

#[test]
fn validation_help_and_version_succeed() {
    let folder = Folder::with("validate", &PROXY.replace("PORT", "0").replace("UPSTREAM", "1"));
    let (code, said) = Finwait::start(&folder, &["-c", "finwait.yaml", "--mode", "validate"]).end();
    compare("validate", code, &said);
    for (argument, expected) in
        [("--version", concat!("finwait ", env!("CARGO_PKG_VERSION"), "\n")), ("--help", "http://127.0.0.1:10000/")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_finwait")).arg(argument).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(expected), "{argument}: {said}");
    }
}

#[test]
fn an_idle_server_ends_when_it_is_told() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::with(signal, &PROXY.replace("PORT", "0").replace("UPSTREAM", "1"));
        let mut finwait = Finwait::start(&folder, &["-c", "finwait.yaml"]);
        finwait.until("listening on ");
        finwait.signal(signal);
        let (code, said) = finwait.end();
        assert!(code == Some(0) && said.ends_with("stopped\n"), "{signal}: {code:?}\n{said}");
    }
}

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = PROXY.replace("PORT", "0").replace("UPSTREAM", &port(&upstream));
    let folder = Folder::with("under_way", &yaml);
    let mut finwait = Finwait::start(&folder, &["-c", "finwait.yaml", "--concurrency", "1"]);
    let address = finwait.until("listening on ");
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(STEP_MAX)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut app = within(move || upstream.accept().unwrap().0);
    app.set_read_timeout(Some(STEP_MAX)).unwrap();
    let asked = BufReader::new(&app).lines().next().unwrap().unwrap();
    assert_eq!(asked, "GET / HTTP/1.1");
    finwait.signal("TERM");
    finwait.until("draining");
    app.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let (code, said) = finwait.end();
    assert!(code == Some(0) && said.ends_with("stopped\n"), "{code:?}\n{said}");
}

/// A folder with a `finwait.yaml`, so that messages name the file in the same way on every machine.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, yaml: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("start_errors").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("finwait.yaml"), yaml).unwrap();
        Self(folder)
    }
}

/// The binary, running. Dropped, it is killed.
struct Finwait {
    child: Child,
    lines: Receiver<String>,
    /// All of standard error so far.
    said: String,
}

impl Finwait {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
        command
            .args(arguments)
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let (to_test, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if to_test.send(line).is_err() {
                    return; // the test is over
                }
            }
        });
        Self { child, lines, said: String::new() }
    }

    /// Waits for a line with `words`; what follows them there.
    fn until(&mut self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(STEP_MAX).unwrap_or_else(|error| panic!("{error}: {}", self.said));
            self.said += &format!("{line}\n");
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; the exit code, and all of standard error.
    fn end(mut self) -> (Option<i32>, String) {
        loop {
            match self.lines.recv_timeout(STEP_MAX) {
                Ok(line) => self.said += &format!("{line}\n"),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("does not end: {}", self.said),
            }
        }
        let code = self.child.wait().unwrap().code();
        (code, std::mem::take(&mut self.said))
    }
}

impl Drop for Finwait {
    fn drop(&mut self) {
        // Fails if it has ended, and that is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn port(listener: &TcpListener) -> String {
    listener.local_addr().unwrap().port().to_string()
}

fn within<T: Send + 'static>(step: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    thread::spawn(move || done.send(step()));
    result.recv_timeout(STEP_MAX).expect("every step ends")
}

fn compare(name: &str, code: Option<i32>, said: &str) {
    let code = code.map_or("killed".to_owned(), |code| code.to_string());
    insta::with_settings!({ snapshot_path => "start_errors", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, format!("exit code {code}\n{said}"));
    });
}
