//! CPU per proxied request, side by side in one run: finwait, nginx, HAProxy and Envoy where they are
//! installed, a bare TCP relay, and a bare proxy of hyper connections without any feature.
//!
//! Every candidate runs as a process of its own with one worker and an access log to a file, between the same
//! clients and the same app. Twice: with one route, and as people configure a proxy, with 64 routes of which the last is
//! taken, ten header edits and a log in JSON (finwait and Envoy only). What is compared is the processor time that the kernel charges to the candidate,
//! so a busy machine disturbs little. Rounds alternate between the candidates. With `filters`, one HTTP filter after the other
//! stands before the router, for finwait and Envoy.
//!
//!     [FINWAIT_BEFORE=path/to/finwait] cargo bench -p finwait --bench cpu_per_request [-- [filters] REQUESTS ROUNDS]
//!
//! FINWAIT_BEFORE names another binary of finwait: an earlier build takes part beside the present one.

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads files and the environment, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "rivals/cpu.rs"]
mod cpu;
mod rivals;

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;

use cpu::cpu;
use rivals::{Kind, Options, Running, free_port};

const CLIENTS: usize = 16;
const BODY: &str = "hello, this is the app\n";

/// Five of the request, five of the response.
const EDITS: [&str; 4] = [
    "request_headers_to_add: [\
     { header: { key: x-one, value: one } }, \
     { header: { key: x-client, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" } }, \
     { header: { key: x-route, value: \"%ROUTE_NAME%\" } }, \
     { header: { key: x-agent, value: \"%REQ(USER-AGENT)%\" }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }]",
    "request_headers_to_remove: [accept]",
    "response_headers_to_add: [\
     { header: { key: x-two, value: two } }, \
     { header: { key: x-code, value: \"%RESPONSE_CODE%\" } }, \
     { header: { key: x-cluster, value: \"%UPSTREAM_CLUSTER%\" } }, \
     { header: { key: strict-transport-security, value: max-age=31536000 }, append_action: ADD_IF_ABSENT }]",
    "response_headers_to_remove: [x-powered-by]",
];
/// What the documentation of Envoy shows as a JSON log.
const JSON_LOG: &str = "{ name: envoy.access_loggers.file, typed_config: { \
    \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: ACCESS_LOG, log_format: { json_format: { \
    start_time: \"%START_TIME%\", method: \"%REQ(:METHOD)%\", path: \"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\", \
    protocol: \"%PROTOCOL%\", code: \"%RESPONSE_CODE%\", flags: \"%RESPONSE_FLAGS%\", details: \"%RESPONSE_CODE_DETAILS%\", \
    received: \"%BYTES_RECEIVED%\", sent: \"%BYTES_SENT%\", duration: \"%DURATION%\", agent: \"%REQ(USER-AGENT)%\", \
    id: \"%REQ(X-REQUEST-ID)%\", authority: \"%REQ(:AUTHORITY)%\", upstream: \"%UPSTREAM_HOST%\" } } } }";

/// Each with its configuration, before `typed_config` and in it. None of them changes the exchange.
const FILTERS: [(&str, &str); 15] = [
    ("buffer.v3.Buffer", "max_request_bytes: 10000"),
    (
        "compressor.v3.Compressor",
        "compressor_library: { name: gzip, typed_config: { \
     \"@type\": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip } }",
    ),
    ("cors.v3.Cors", ""),
    ("csrf.v3.CsrfPolicy", "filter_enabled: { default_value: { numerator: 100 } }"),
    (
        "decompressor.v3.Decompressor",
        "decompressor_library: { name: gzip, typed_config: { \
     \"@type\": type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip } }",
    ),
    ("fault.v3.HTTPFault", "abort: { http_status: 503, percentage: { numerator: 0 } }"),
    ("grpc_stats.v3.FilterConfig", "stats_for_all_methods: true"),
    (
        "header_mutation.v3.HeaderMutation",
        "mutations: { request_mutations: [{ append: { header: { key: x-one, value: one } } }] }",
    ),
    ("grpc_web.v3.GrpcWeb", ""),
    (
        "header_to_metadata.v3.Config",
        "request_rules: [{ header: user-agent, on_header_present: { key: agent, type: STRING } }]",
    ),
    (
        "lua.v3.Lua",
        "default_source_code: { inline_string: \"function envoy_on_request(handle) \
     handle:headers():add('x-one', handle:headers():get(':path')) end\" }",
    ),
    (
        "set_filter_state.v3.Config",
        "on_request_headers: [{ object_key: one, factory_key: envoy.string, \
     format_string: { text_format_source: { inline_string: \"%REQ(:PATH)%\" } } }]",
    ),
    ("set_metadata.v3.Config", "metadata: [{ metadata_namespace: one, value: { two: 3 } }]"),
    (
        "local_ratelimit.v3.LocalRateLimit",
        "stat_prefix: limit, \
     token_bucket: { max_tokens: 100000000, tokens_per_fill: 100000000, fill_interval: 1s }, \
     filter_enabled: { default_value: { numerator: 100 } }, filter_enforced: { default_value: { numerator: 100 } }",
    ),
    ("rbac.v3.RBAC", "rules: { policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } } }"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["app", at] => app(at),
        ["relay", at, to] => relay(at, to),
        ["probe", at, to] => probe(at, to),
        [] => compare_both(40_000, 5),
        ["filters"] => compare_filters(40_000, 5),
        ["filters", requests, rounds] => {
            compare_filters(requests.parse().expect("REQUESTS"), rounds.parse().expect("ROUNDS"));
        }
        [requests, rounds] => compare_both(requests.parse().expect("REQUESTS"), rounds.parse().expect("ROUNDS")),
        _ => eprintln!("usage: cpu_per_request [filters] [REQUESTS ROUNDS]"),
    }
}

/// A process under comparison.
struct Candidate {
    name: &'static str,
    process: Running,
    micros_per_request: Vec<f64>,
}

fn compare_both(requests: usize, rounds: usize) {
    println!("One route, the default log:");
    compare(requests, rounds, &Kind::ALL, &Options::default());
    let others: Vec<String> =
        (1..64).map(|nth| format!("{{ match: {{ prefix: /service-{nth}/ }}, route: {{ cluster: app }} }}")).collect();
    let routes: Vec<&str> = others.iter().map(String::as_str).collect();
    println!("64 routes of which the last is taken, ten header edits, a log in JSON:");
    let options = Options { routes: &routes, host: &EDITS, log: Some(JSON_LOG), ..Options::default() };
    compare(requests, rounds, &[Kind::Finwait, Kind::FinwaitExact, Kind::Envoy], &options);
}

/// Each filter alone before the router.
fn compare_filters(requests: usize, rounds: usize) {
    for (of, fields) in FILTERS {
        let comma = if fields.is_empty() { "" } else { ", " };
        let of_type = format!("\"@type\": type.googleapis.com/envoy.extensions.filters.http.{of}");
        let filter = format!("{{ name: filter, typed_config: {{ {of_type}{comma}{fields} }} }}");
        println!("The filter {of}:");
        let options = Options { filters: &[&filter], ..Options::default() };
        compare(requests, rounds, &[Kind::Finwait, Kind::Envoy], &options);
    }
}

fn compare(requests: usize, rounds: usize, kinds: &[Kind], options: &Options<'_>) {
    let dir = std::env::temp_dir().join(format!("finwait-bench-{}", std::process::id()));
    let app = this("app", &[free_port()]);
    let proxies = kinds.iter().filter_map(|kind| {
        let started = kind.start(&dir, app.at, free_port(), options);
        if started.is_none() {
            println!("{}: not installed or not named, left out", kind.name());
        }
        Some((kind.name(), started?))
    });
    let bare = [("hyper probe", "probe"), ("TCP relay", "relay")];
    let bare = bare.map(|(name, role)| (name, this(role, &[free_port(), app.at])));
    let mut candidates: Vec<Candidate> = proxies
        .chain(bare)
        .map(|(name, process)| Candidate { name, process, micros_per_request: Vec::new() })
        .collect();
    for round in 0..=rounds {
        for candidate in &mut candidates {
            let before = cpu(candidate.process.worker());
            load(candidate.process.at, requests);
            let spent = cpu(candidate.process.worker()).saturating_sub(before);
            if round > 0 {
                candidate.micros_per_request.push(spent.as_secs_f64() * 1e6 / requests as f64);
            }
        }
    }
    report(&mut candidates, requests, rounds);
    drop(fs::remove_dir_all(dir));
}

fn report(candidates: &mut [Candidate], requests: usize, rounds: usize) {
    for candidate in candidates.iter_mut() {
        candidate.micros_per_request.sort_by(f64::total_cmp);
    }
    let median = |candidate: &Candidate| candidate.micros_per_request[candidate.micros_per_request.len() / 2];
    let ours = candidates.first().map_or(1.0, median);
    println!("CPU per request, {rounds} rounds of {requests} GETs over {CLIENTS} connections:");
    println!("{:>22} {:>8} {:>8} {:>8} {:>18}", "", "min us", "median", "max us", "finwait / it");
    for candidate in candidates.iter() {
        let all = &candidate.micros_per_request;
        let (min, max) = (all[0], all[all.len() - 1]);
        let it = median(candidate);
        println!("{:>22} {min:>8.1} {it:>8.1} {max:>8.1} {:>18.2}", candidate.name, ours / it);
    }
}

/// Sends `requests` GETs over keep-alive connections, each waiting for its answer.
fn load(at: SocketAddr, requests: usize) {
    let failed = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(at).expect("the candidate listens");
                stream.set_nodelay(true).expect("a TCP socket");
                let mut reader = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
                for _ in 0..requests / CLIENTS {
                    stream
                        .write_all(b"GET /bench HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
                        .expect("a request goes out");
                    if !read_response(&mut reader).starts_with("HTTP/1.1 200") {
                        *failed.lock().expect("no panic holds it") += 1;
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().expect("no panic held it"), 0, "every request is answered with 200");
}

fn read_response(reader: &mut BufReader<TcpStream>) -> String {
    let (mut status, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a response comes back");
        if status.is_empty() {
            status.clone_from(&line);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body comes back");
    status
}

/// This program in another role, which it serves at the first of `places`.
fn this(role: &str, places: &[SocketAddr]) -> Running {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(role).args(places.iter().map(SocketAddr::to_string));
    Running::new(command.spawn().expect("it runs"), places[0])
}

/// Answers every request with the same page.
fn app(at: &str) {
    let listener = TcpListener::bind(at).expect("the port is free");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }
}

/// One thread, current-thread runtime: what every candidate of ours runs on.
fn on_one_thread(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    tokio::task::LocalSet::new().block_on(&runtime, work);
}

fn relay(at: &str, to: &str) {
    on_one_thread(async {
        let listener = tokio::net::TcpListener::bind(at).await.expect("the port is free");
        loop {
            let Ok((mut down, _)) = listener.accept().await else { continue };
            let to = to.to_owned();
            tokio::task::spawn_local(async move {
                let mut up = tokio::net::TcpStream::connect(to).await?;
                down.set_nodelay(true)?;
                up.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut down, &mut up).await
            });
        }
    });
}

/// hyper on both sides, a pool, and nothing else.
fn probe(at: &str, to: &str) {
    type Pool = std::rc::Rc<std::cell::RefCell<Vec<SendRequest<hyper::body::Incoming>>>>;
    async fn forward(
        pool: Pool,
        to: String,
        request: hyper::Request<hyper::body::Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let pooled = pool.borrow_mut().pop();
        let mut sender = match pooled {
            Some(sender) => sender,
            None => {
                let stream = tokio::net::TcpStream::connect(to).await.expect("the app listens");
                stream.set_nodelay(true).expect("a TCP socket");
                let io = hyper_io::TokioIo(stream);
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("no bytes yet");
                tokio::task::spawn_local(connection);
                sender
            }
        };
        let answer = sender.send_request(request).await.expect("the app answers");
        let (head, body) = answer.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.expect("a whole body").to_bytes();
        pool.borrow_mut().push(sender);
        Ok(hyper::Response::from_parts(head, Full::new(body)))
    }
    on_one_thread(async {
        let listener = tokio::net::TcpListener::bind(at).await.expect("the port is free");
        let pool = Pool::default();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (pool, to) = (std::rc::Rc::clone(&pool), to.to_owned());
            tokio::task::spawn_local(async move {
                stream.set_nodelay(true).expect("a TCP socket");
                let service = service_fn(|request| forward(std::rc::Rc::clone(&pool), to.clone(), request));
                hyper::server::conn::http1::Builder::new().serve_connection(hyper_io::TokioIo(stream), service).await
            });
        }
    });
}

/// tokio's streams as hyper wants them.
mod hyper_io {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use hyper::rt::ReadBufCursor;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    pub(super) struct TokioIo<T>(pub(super) T);

    impl<T: AsyncRead + Unpin> hyper::rt::Read for TokioIo<T> {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            let mut bytes = [0; 8192];
            let room = bytes.len().min(into.remaining());
            let mut buffer = ReadBuf::new(&mut bytes[..room]);
            ready!(Pin::new(&mut self.get_mut().0).poll_read(cx, &mut buffer))?;
            into.put_slice(buffer.filled());
            Poll::Ready(Ok(()))
        }
    }

    impl<T: AsyncWrite + Unpin> hyper::rt::Write for TokioIo<T> {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
        }
    }
}
