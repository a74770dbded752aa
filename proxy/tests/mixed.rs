//! Hops of finwait and of Envoy in front of each other: `examples/` in every mixture of both, a WebSocket through three hops in clear
//! text and over TLS, and a request through a CONNECT tunnel that one of them opens and the other ends.
//!
//! ENVOY names the program. Where there is none the tests say so and pass: they prove nothing there, and stop nobody.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]
#![expect(clippy::disallowed_types, reason = "clients and apps are not the proxy")]
#![expect(clippy::disallowed_methods, reason = "another program is run, which needs files")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/websocket.rs"]
mod websocket;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use proxy::Proxy;
use websocket::{STEP_MAX, app, handshake, on_free_ports};

/// So much goes there and back.
const SENT_BYTES: usize = 1_000_000;
const POLL: Duration = Duration::from_millis(50);

/// A proxy that runs.
enum Hop {
    Finwait(Proxy),
    Envoy(Envoy),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Finwait,
    Envoy,
}

/// What the hops speak with each other.
#[derive(Clone, Copy, Debug)]
enum Transport {
    ClearText,
    Tls,
}

const TRANSPORTS: [Transport; 2] = [Transport::ClearText, Transport::Tls];

/// The other program. It ends with this value.
struct Envoy {
    process: Child,
    at: SocketAddr,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Envoy {
    fn start(program: &Path, name: &str, yaml: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mixed").join(name);
        fs::create_dir_all(&folder).unwrap();
        let (config, admin) = (folder.join("envoy.yaml"), folder.join("admin"));
        fs::write(&config, yaml).unwrap();
        fs::write(&admin, "").unwrap();
        let process = Command::new(program)
            .args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "error", "-c"])
            .args([config.as_os_str(), "--admin-address-path".as_ref(), admin.as_os_str()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let at = until(&|| fs::read_to_string(&admin).ok()?.trim().parse().ok());
        until(&|| get(at, "/ready").filter(|response| response.contains("LIVE\n")));
        let listeners = get(at, "/listeners").unwrap();
        let address = listeners.lines().find_map(|line| line.split_once("::").filter(|(_, at)| at.contains(':')));
        Self { process, at: address.unwrap().1.parse().unwrap() }
    }
}

impl Hop {
    /// Runs a configuration whose last address is that of its endpoint, if it has `next`; it listens where there is room.
    fn start(kind: Kind, program: &Path, name: &str, yaml: &str, next: Option<SocketAddr>) -> Self {
        let bound = on_free_ports(yaml, next);
        match kind {
            Kind::Finwait => Self::Finwait(Proxy::start(&bound)),
            Kind::Envoy => Self::Envoy(Envoy::start(program, name, &bound)),
        }
    }

    fn at(&self) -> SocketAddr {
        match self {
            Self::Finwait(proxy) => proxy.at,
            Self::Envoy(envoy) => envoy.at,
        }
    }

    fn stop(self) {
        match self {
            Self::Finwait(proxy) => drop(proxy.stop()),
            Self::Envoy(envoy) => drop(envoy),
        }
    }
}

/// The program; `None`, and a line about it, where there is none.
fn envoy() -> Option<PathBuf> {
    let program = std::env::var_os("ENVOY").map(PathBuf::from).filter(|program| program.is_file());
    if program.is_none() {
        eprintln!("skipped: ENVOY names no program of Envoy's");
    }
    program
}

/// Waits for what another process does.
fn until<T>(found: &dyn Fn() -> Option<T>) -> T {
    let polls = STEP_MAX.as_millis() / POLL.as_millis();
    let found = (0..polls).find_map(|_| {
        let found = found();
        if found.is_none() {
            thread::sleep(POLL);
        }
        found
    });
    found.unwrap()
}

fn connect(at: SocketAddr) -> Option<TcpStream> {
    let conn = TcpStream::connect(at).ok()?;
    conn.set_read_timeout(Some(STEP_MAX)).unwrap();
    Some(conn)
}

/// The response to a GET, if the connection is there.
fn get(at: SocketAddr, path: &str) -> Option<String> {
    let mut conn = connect(at)?;
    write!(conn, "GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    conn.read_to_string(&mut response).ok()?;
    Some(response)
}

/// The configuration of a hop that speaks TLS with the hops beside it, and clear text with the client and the app.
fn over_tls(yaml: &str, name: &str) -> String {
    let file = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let socket = |context: &str, what: &str| {
        format!(
            "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}, {what} }} }}"
        )
    };
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let accepts = socket(
        "DownstreamTlsContext",
        &format!(
            "common_tls_context: {{ alpn_protocols: [h2], tls_certificates: [{{ certificate_chain: {{ filename: {certificate} }}, \
             private_key: {{ filename: {key} }} }}] }}"
        ),
    );
    let authority = file("authority.pem");
    let connects = socket(
        "UpstreamTlsContext",
        &format!(
            "sni: server.test, common_tls_context: {{ validation_context: {{ trusted_ca: {{ filename: {authority} }} }} }}"
        ),
    );
    let mut yaml = yaml.to_owned();
    if name != "front" {
        assert!(yaml.contains("\n    - filters:\n"));
        yaml = yaml.replacen("\n    - filters:\n", &format!("\n    - {accepts}\n      filters:\n"), 1);
    }
    if name != "sidecar" {
        assert!(yaml.contains("\n    connect_timeout: 1s\n"));
        yaml = yaml.replacen("\n    connect_timeout: 1s\n", &format!("\n    connect_timeout: 1s\n    {connects}\n"), 1);
    }
    yaml
}

/// A handshake, a megabyte there and back, and the end of both directions.
fn exchange(at: SocketAddr, hops: &[Kind], transport: Transport) {
    let mut conn = handshake(at);
    let sent: Vec<u8> = (0..=250).cycle().take(SENT_BYTES).collect();
    let (mut writer, written) = (conn.try_clone().unwrap(), sent.clone());
    let writes = thread::spawn(move || writer.write_all(&written).unwrap());
    let mut received = vec![0; sent.len()];
    conn.read_exact(&mut received).unwrap();
    writes.join().unwrap();
    assert!(received == sent, "{hops:?} {transport:?}: other bytes came back");
    conn.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(conn.read(&mut [0]).unwrap(), 0, "{hops:?} {transport:?}: nothing comes behind the end");
}

#[test]
fn a_websocket_crosses_every_mixture_of_finwait_and_envoy() {
    const FILES: [(&str, &str); 3] = [
        ("sidecar", include_str!("../examples/sidecar.yaml")),
        ("ingress", include_str!("../examples/ingress.yaml")),
        ("front", include_str!("../examples/front.yaml")),
    ];
    let Some(program) = envoy() else { return };
    for (mixture, transport) in
        (1..(1 << FILES.len())).flat_map(|mixture| TRANSPORTS.map(|transport| (mixture, transport)))
    {
        let kinds: Vec<Kind> =
            (0..FILES.len()).map(|nth| if mixture >> nth & 1 == 1 { Kind::Envoy } else { Kind::Finwait }).collect();
        let (mut next, task) = app(|mut conn| {
            let echoed = std::io::copy(&mut conn.try_clone().unwrap(), &mut conn).unwrap();
            assert_eq!(echoed, SENT_BYTES as u64);
        });
        let mut hops = Vec::new();
        for ((name, yaml), kind) in FILES.iter().zip(&kinds) {
            let yaml = match transport {
                Transport::ClearText => (*yaml).to_owned(),
                Transport::Tls => over_tls(yaml, name),
            };
            let hop = Hop::start(*kind, &program, &format!("{name}-{mixture}-{transport:?}"), &yaml, Some(next));
            next = hop.at();
            hops.push(hop);
        }
        exchange(next, &kinds, transport);
        task.join().unwrap();
        hops.into_iter().for_each(Hop::stop);
    }
}

#[test]
fn a_tunnel_that_one_opens_is_ended_by_the_other() {
    let Some(program) = envoy() else { return };
    for kinds in [[Kind::Finwait, Kind::Envoy], [Kind::Envoy, Kind::Finwait], [Kind::Envoy, Kind::Envoy]] {
        let [opens, ends] = kinds;
        let name = |what| format!("{what}-{opens:?}-{ends:?}");
        let terminates = include_str!("../examples/terminate_http_in_http2_connect.yaml");
        let terminates = Hop::start(ends, &program, &name("terminate"), terminates, None);
        let encapsulates = include_str!("../examples/encapsulate_http_in_http2_connect.yaml");
        let encapsulates = Hop::start(opens, &program, &name("encapsulate"), encapsulates, Some(terminates.at()));
        for _ in 0..3 {
            let response = get(encapsulates.at(), "/").unwrap();
            assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{kinds:?}: {response}");
            assert!(response.ends_with("\r\n\r\nHello, world!\n"), "{kinds:?}: {response}");
        }
        encapsulates.stop();
        terminates.stop();
    }
}
