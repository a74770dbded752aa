//! The binary's first and last words: what it says when it cannot start, and that it ends as it is told.
//!
//! Each refusal is recorded as an insta snapshot: the exit code, then all of standard error. A refusal names the file,
//! the line and the path, and says what to do.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bootstrap::Bootstrap;
use process::Finwait;

#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpListener = std::net::TcpListener;
#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpStream = std::net::TcpStream;

/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_wrong_file_is_refused_in_one_message() {
    let proxy = bootstrap(0, 1);
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
        let (code, said) = run(&folder, &["-c", "finwait.yaml"]);
        compare(name, code, &said);
    }
}

#[test]
fn wrong_arguments_are_refused_in_one_message() {
    let folder = Folder::with("arguments", "");
    std::fs::write(folder.0.join("base.yaml"), bootstrap(0, 1)).unwrap();
    for (name, arguments) in [
        ("absent_file", &["-c", "absent.yaml"][..]),
        ("endless_file", &["-c", "/dev/zero"]),
        ("yaml_that_begins_with_a_hyphen", &["--config-yaml", "- admin"]),
        ("wrong_yaml_over_file", &["-c", "base.yaml", "--config-yaml", "{admin: {addres: {}}}"]),
        ("no_workers", &["-c", "finwait.yaml", "--concurrency", "0"]),
        ("unknown_argument", &["--config", "finwait.yaml"]),
        ("nothing_to_validate", &["--mode", "validate"]),
        ("unknown_level", &["-c", "base.yaml", "-l", "verbose"]),
        ("unknown_logger", &["-c", "base.yaml", "--component-log-level", "upstream:debug,nope:info"]),
        ("unknown_log_format", &["-c", "base.yaml", "--log-format", "%v %q"]),
        ("log_path_without_folder", &["-c", "base.yaml", "--log-path", "absent/finwait.log"]),
        ("refused_option", &["-c", "base.yaml", "--allow-unknown-static-fields"]),
        ("refused_option_with_value", &["-c", "base.yaml", "--stats-tag", "a:b"]),
        ("restart_epoch", &["-c", "base.yaml", "--restart-epoch", "1"]),
    ] {
        let (code, said) = run(&folder, arguments);
        compare(name, code, &said);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the files that the binary writes")]
fn a_container_s_command_line_works_unchanged() {
    let folder = Folder::with("envoys_options", &bootstrap(0, 1));
    drop(std::fs::remove_file(folder.0.join("admin.txt"))); // of an earlier run
    let admin = "{admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}}";
    let arguments = "-c finwait.yaml --service-cluster edge --service-node host-1 --service-zone west \
        --log-path finwait.log --log-format [%l][%n]%v --component-log-level misc:error,lua:debug -l info --base-id 7 \
        --restart-epoch 0 --disable-hot-restart --bootstrap-version 3 --parent-shutdown-time-s 60 \
        --admin-address-path admin.txt --concurrency 1 --config-yaml";
    let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
    arguments.push(admin);
    let finwait = Finwait::start(&folder.0, &arguments).unwrap();
    let address = within({
        let path = folder.0.join("admin.txt");
        move || {
            loop {
                match std::fs::read_to_string(&path) {
                    Ok(address) if !address.is_empty() => return address,
                    Ok(_) | Err(_) => thread::yield_now(),
                }
            }
        }
    });
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(STEP_MAX)).unwrap();
    client.write_all(b"GET /server_info HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    for part in ["\"id\": \"host-1\"", "\"cluster\": \"edge\"", "\"zone\": \"west\"", "\"service_node\": \"host-1\""] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    finwait.signal("TERM").unwrap();
    let (code, said) = ended(finwait);
    assert_eq!((code, said.as_str()), (Some(0), ""), "standard error is silent");
    let log = std::fs::read_to_string(folder.0.join("finwait.log")).unwrap();
    for line in ["[info][main]--base-id is accepted and has no effect", "[info][main]ready", "[info][main]stopped"] {
        assert!(log.lines().any(|logged| logged == line), "{line}: {log}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port(&occupied);
    for workers in ["1", "2"] {
        let folder = Folder::with("port_in_use", &bootstrap(port, 1));
        let (code, said) = run(&folder, &["-c", "finwait.yaml", "--concurrency", workers, "-l", "off"]);
        compare("port_in_use", code, &said.replace(&port.to_string(), "PORT"));
    }
}

#[test]
fn a_demonstration_without_its_port_names_it() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port(&occupied);
    let first = (port - 3).to_string(); // the application's port is the fourth
    let (code, said) = run(&Folder::with("demo", ""), &["--demo-port", &first]);
    compare("demo_port_in_use", code, &said.replace(&port.to_string(), "PORT"));
}

#[test]
fn validation_help_and_version_succeed() {
    let folder = Folder::with("validate", &bootstrap(0, 1));
    let (code, said) = run(&folder, &["-c", "finwait.yaml", "--mode", "validate"]);
    compare("validate", code, &said);
    let log = "access_log: [{ typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: absent/edge.log } }]";
    let yaml = bootstrap(0, 1).replace("http_filters:", &format!("{log}\n          http_filters:"));
    let (code, said) = run(&Folder::with("validate_log", &yaml), &["-c", "finwait.yaml", "--mode", "validate"]);
    compare("log_without_a_directory", code, &said);
    for (argument, expected) in
        [("--version", concat!("/", env!("CARGO_PKG_VERSION"), "/finwait")), ("--help", "http://127.0.0.1:10000/")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_finwait")).arg(argument).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(expected), "{argument}: {said}");
    }
}

#[test]
fn an_idle_server_ends_on_a_signal() {
    // SIGINT leaves the grace period out; without one, SIGTERM does the same.
    for (signal, grace) in [("TERM", "0s"), ("QUIT", "0ms"), ("INT", "60s")] {
        let folder = Folder::with(signal, &bootstrap(0, 1));
        let arguments = ["-c", "finwait.yaml", "--drain-listeners-after", grace];
        let mut finwait = Finwait::start(&folder.0, &arguments).unwrap();
        finwait.until("listening on ").unwrap();
        finwait.signal(signal).unwrap();
        let (code, said) = ended(finwait);
        assert!(code == Some(0) && said.ends_with("stopped\n"), "{signal}: {code:?}\n{said}");
    }
}

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = bootstrap(0, port(&upstream));
    let folder = Folder::with("under_way", &yaml);
    let arguments = ["-c", "finwait.yaml", "--concurrency", "1", "--drain-listeners-after", "0s"];
    let mut finwait = Finwait::start(&folder.0, &arguments).unwrap();
    let address = finwait.until("listening on ").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(STEP_MAX)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut app = within(move || upstream.accept().unwrap().0);
    app.set_read_timeout(Some(STEP_MAX)).unwrap();
    let asked = BufReader::new(&app).lines().next().unwrap().unwrap();
    assert_eq!(asked, "GET / HTTP/1.1");
    finwait.signal("TERM").unwrap();
    finwait.until("draining").unwrap();
    app.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let (code, said) = ended(finwait);
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

/// Runs the binary to its end: its exit code, and all of standard error.
fn run(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String) {
    ended(Finwait::start(&folder.0, arguments).unwrap())
}

fn ended(finwait: Finwait) -> (Option<i32>, String) {
    let (status, said) = finwait.end(STEP_MAX).unwrap();
    (status.code(), said)
}

/// A configuration that listens on `port` and forwards to `app`.
fn bootstrap(port: u16, app: u16) -> String {
    Bootstrap { port, app, ..Bootstrap::default() }.yaml()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
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
