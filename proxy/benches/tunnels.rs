//! Idle WebSocket tunnels through one hop from HTTP/1 to HTTP/2: what does each cost in resident memory, beside Envoy with
//! the same file, and what is left when they have closed?
//!
//! Each tunnel carries one message there and back and then rests. The application is an HTTP/2 server in this process that
//! accepts extended CONNECT (RFC 8441) and sends back what it receives.
//!
//!     cargo bench -p finwait --bench tunnels [-- PROXY... TUNNELS]      finwait and Envoy (ENVOY names its program), if none is named

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets, and measures real time")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the environment, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "rivals/mod.rs"]
mod rivals;
#[path = "rivals/watched.rs"]
mod watched;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode};
use rivals::{Kind, Options};
use watched::{MIB, Watched};

const TUNNELS: usize = 5_000;
/// Before memory is read: what a tunnel needs only while it is opened has been freed by then.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
const CLOSED_AFTER: Duration = Duration::from_secs(10);
/// A handshake or a message that takes longer is a failure.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Streams of one connection to the application, so that the tunnels need several.
const STREAMS_MAX: u32 = 1_000;
const MESSAGE: &[u8] = b"\x81\x85\0\0\0\0hello";

const MANAGER: &[&str] = &["upgrade_configs: [{ upgrade_type: websocket }]"];
const CLUSTER: &[&str] = &["typed_extension_protocol_options: { \
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
    \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
    explicit_http_config: { http2_protocol_options: { allow_connect: true } } } }"];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(TUNNELS);
    let dir = std::env::temp_dir().join(format!("finwait-bench-tunnels-{}", std::process::id()));
    let app = TcpListener::bind("127.0.0.1:0")?;
    let app_at = app.local_addr()?;
    thread::spawn(move || serve(app));
    println!("{count} idle WebSocket tunnels, HTTP/1 to HTTP/2; resident memory");
    println!("        proxy | opened in s | MiB before   open   peak  10 s on | KiB a tunnel | connections to the app");
    let options = Options { manager: MANAGER, cluster: CLUSTER, ..Options::default() };
    let is_named = |kind: &Kind| arguments.iter().any(|argument| argument == kind.name());
    let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(is_named).collect();
    if kinds.is_empty() {
        kinds = vec![Kind::Finwait, Kind::Envoy];
        kinds.extend(std::env::var_os("FINWAIT_BEFORE").map(|_| Kind::FinwaitBefore));
    }
    for kind in kinds {
        match Watched::start(kind, &dir, app_at, &options) {
            None => println!("{:>13} | is not installed", kind.name()),
            Some(proxy) => measure(&proxy, count)?,
        }
    }
    std::fs::remove_dir_all(dir)
}

fn measure(proxy: &Watched, count: usize) -> io::Result<()> {
    let mib = |bytes: u64| f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0 / MIB;
    let now = || mib(proxy.memory().now_bytes);
    drop(open(proxy.process.at)?); // what the first one makes the proxy load is not a tunnel's cost
    thread::sleep(SETTLED_AFTER);
    let before = now();
    let begun = Instant::now();
    let tunnels = (0..count).map(|_| open(proxy.process.at)).collect::<io::Result<Vec<TcpStream>>>()?;
    let took = begun.elapsed().as_secs_f64();
    thread::sleep(SETTLED_AFTER);
    let (open, peak) = (now(), mib(proxy.memory().peak_bytes));
    let [connections] = proxy.stats(["cluster.app.upstream_cx_active"]);
    drop(tunnels);
    thread::sleep(CLOSED_AFTER);
    let each = (open - before) * 1024.0 / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
    println!(
        "{:>13} | {took:>11.1} | {before:>10.1} {open:>6.1} {peak:>6.1} {:>8.1} | {each:>12.1} | {connections}",
        proxy.kind.name(),
        now()
    );
    Ok(())
}

/// Opens a tunnel, and sends a message there and back.
fn open(at: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.write_all(
        b"GET /chat HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(io::Error::other(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned()));
    }
    stream.write_all(MESSAGE)?;
    let mut echo = [0; MESSAGE.len()];
    stream.read_exact(&mut echo)?;
    if echo == MESSAGE { Ok(stream) } else { Err(io::Error::other("another message came back")) }
}

/// The application. It ends with the process.
fn serve(listener: TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        listener.set_nonblocking(true).expect("a listening socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listening socket");
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.enable_connect_protocol().max_concurrent_streams(STREAMS_MAX);
                let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(echo(request, respond));
                }
            });
        }
    });
}

async fn echo(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let is_tunnel = request.method() == Method::CONNECT;
    let mut response = Response::new(());
    *response.status_mut() = if is_tunnel { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mut out = respond.send_response(response, !is_tunnel)?;
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        out.send_data(data, false)?;
    }
    out.send_data(Bytes::new(), true)
}
