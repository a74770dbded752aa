//! The admin interface on real sockets, beside clients that hold connections, send without end or never read: probes are
//! answered, and each client gets its response before its connection closes.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/process.rs"]
mod process;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bootstrap::Bootstrap;
use process::Finwait;

#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpStream = std::net::TcpStream;

/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);
/// What a process may have that is to run out of descriptors: about twenty for itself, the rest for connections.
const DESCRIPTORS: u32 = 48;
/// More connections than that, and fewer than a listener's backlog.
const CONNECTIONS: usize = 100;
/// More than the interface keeps of one peer.
const MANY: usize = 200;

struct Proxy {
    admin: String,
    finwait: Finwait,
}

const ARGUMENTS: [&str; 6] = [
    "-c",
    "finwait.yaml",
    "--config-yaml",
    "{admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}}",
    "--concurrency",
    "1",
];

/// A folder with a configuration.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("admin_clients").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let bootstrap = Bootstrap { port: 0, app: 1, ..Bootstrap::default() };
    std::fs::write(folder.join("finwait.yaml"), bootstrap.yaml()).unwrap();
    folder
}

impl Proxy {
    fn start(name: &str) -> Self {
        Self::ready(Finwait::start(&folder(name), &ARGUMENTS).unwrap()).0
    }

    /// The process, once it is ready; also where its listener is.
    fn ready(mut finwait: Finwait) -> (Self, String) {
        let admin = finwait.until("admin interface listening on ").unwrap();
        let web = finwait.until("listening on ").unwrap();
        finwait.until("ready").unwrap();
        (Self { admin, finwait }, web)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.admin).unwrap();
        stream.set_read_timeout(Some(STEP_MAX)).unwrap();
        stream.set_write_timeout(Some(STEP_MAX)).unwrap();
        stream
    }

    /// All that comes for `request`, to the end of the connection.
    fn answer(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn is_ready(&self) -> bool {
        let answer = self.answer(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nLIVE\n")
    }

    fn stop(self) {
        self.finwait.signal("INT").unwrap();
        self.finwait.end(STEP_MAX).unwrap();
    }
}

#[test]
fn idle_and_unfinished_connections_make_room_for_probes() {
    let proxy = Proxy::start("room");
    let mut held = Vec::new();
    for number in 0..MANY {
        let mut stream = proxy.connect();
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET /re").unwrap(),
            _ => stream.write_all(b"POST /reset_counters HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx").unwrap(),
        }
        held.push(stream);
        if number % 20 == 0 {
            assert!(proxy.is_ready(), "beside {number}");
        }
    }
    assert!(proxy.is_ready());
    // The oldest had to go, the newest is still served.
    assert!(matches!(held.first_mut().unwrap().read(&mut [0]), Ok(0) | Err(_)));
    let last = held.last_mut().unwrap();
    last.write_all(b"ady HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    proxy.stop();
}

#[test]
fn clients_that_never_read_hold_no_probe_up() {
    let proxy = Proxy::start("readers");
    let mut held = Vec::new();
    for _ in 0..30 {
        let mut stream = proxy.connect();
        stream.write_all(&b"GET /stats HTTP/1.1\r\nhost: a\r\n\r\n".repeat(200)).unwrap();
        held.push(stream);
    }
    assert!(proxy.is_ready());
    assert!(proxy.answer(b"GET /stats HTTP/1.0\r\n\r\n").contains("\nserver.live: 1\n"));
    drop(held);
    assert!(proxy.is_ready());
    proxy.stop();
}

#[test]
fn any_bytes_get_a_response_before_the_connection_closes() {
    let proxy = Proxy::start("answers");
    let head = |line: &str| format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
    let with_body = |bytes: usize| {
        let mut request = format!("{}content-length: {bytes}\r\n\r\n", head("POST /ready")).into_bytes();
        request.resize(request.len() + bytes, b'x');
        request
    };
    let long_field = |bytes: usize| format!("{}x: {}\r\n\r\n", head("GET /ready"), "y".repeat(bytes)).into_bytes();
    let fields = "x: y\r\n".repeat(110);
    let cases = [
        ("a body", with_body(300_000), "200", "LIVE\n"),
        ("a large body", with_body(3_000_000), "200", "LIVE\n"),
        (
            "chunks",
            format!("{}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", head("POST /ready")).into(),
            "200",
            "LIVE\n",
        ),
        ("a long field", long_field(50_000), "200", "LIVE\n"),
        ("a field above the limit", long_field(200_000), "431", "Request Header Fields Too Large"),
        ("a field of megabytes", long_field(2_000_000), "431", "Request Header Fields Too Large"),
        ("many fields", format!("{}{fields}\r\n", head("GET /ready")).into(), "431", "Request Header Fields Too Large"),
        ("not HTTP", b"\x16\x03\x01\r\n\r\n".to_vec(), "400", "Bad Request"),
        ("HEAD", format!("{}\r\n", head("HEAD /stats")).into(), "200", ""),
        (
            "a form",
            format!(
                "{}content-type: application/x-www-form-urlencoded\r\ncontent-length: 11\r\n\r\nlevel=trace",
                head("POST /logging")
            )
            .into(),
            "200",
            "  ip_tagging: trace\n\n",
        ),
    ];
    for (name, request, status, body) in cases {
        let answer = proxy.answer(&request);
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.get(9..12), Some(status), "{name}: {head}");
        assert!(rest.ends_with(body) && (rest.is_empty() == body.is_empty()), "{name}: {rest}");
    }
    let absolute = proxy.answer(b"GET http://a/ready HTTP/1.1\r\nhost: a\r\n\r\nGET /ready HTTP/1.0\r\n\r\n");
    assert!(absolute.starts_with("HTTP/1.1 404 ") && absolute.ends_with("LIVE\n"), "{absolute}");
    let pipelined = proxy.answer(
        b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\nGET /certs HTTP/1.1\r\nhost: a\r\n\r\nGET /ready HTTP/1.0\r\n\r\n",
    );
    assert_eq!(pipelined.matches("LIVE\n").count(), 2, "{pipelined}");
    proxy.stop();
}

#[test]
fn probes_get_responses_when_clients_have_taken_all_descriptors() {
    let mut limited = Command::new("sh");
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script, env!("CARGO_BIN_EXE_finwait")]).args(ARGUMENTS).current_dir(folder("descriptors"));
    let (mut proxy, web) = Proxy::ready(Finwait::spawn(&mut limited, Stdio::null()).unwrap());
    let probe = |proxy: &Proxy| {
        let mut stream = proxy.connect();
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        stream
    };
    // Every probe keeps its connection: one that waits for its client gives its descriptor to the next.
    let mut held = vec![probe(&proxy)];
    let clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(&web).unwrap()).collect();
    proxy.finwait.until("cannot accept; tried again every 50ms").unwrap();
    held.extend((0..10).map(|_| probe(&proxy)));
    drop((held, clients));

    let mut client = TcpStream::connect(&web).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "no socket listens at its cluster's endpoint: {answer}");
    probe(&proxy);
    proxy.finwait.signal("INT").unwrap();
    let (_, said) = proxy.finwait.end(STEP_MAX).unwrap();
    assert!(said.matches("cannot accept").count() <= 2, "one line for each that accepts: {said}");
}

#[test]
fn the_levels_of_the_process_log_change_while_it_runs() {
    let mut proxy = Proxy::start("levels");
    let post = |line: &str| proxy.answer(format!("POST {line} HTTP/1.0\r\n\r\n").as_bytes());
    assert!(post("/logging?main=off").contains("  main: off\n"));
    assert!(post("/logging?main=info").contains("  main: info\n"));
    proxy.finwait.signal("INT").unwrap();
    proxy.finwait.until("draining").unwrap();
    proxy.finwait.end(STEP_MAX).unwrap();
}
