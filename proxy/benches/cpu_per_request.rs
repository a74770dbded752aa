//! CPU per proxied request, side by side in one run: finwait, nginx, HAProxy and Envoy where they are
//! installed, a bare TCP relay, and a bare proxy of hyper connections without any feature.
//!
//! Every candidate runs as a process of its own with one worker and an access log to a file, between the same
//! clients and the same app. What is compared is the processor time that the kernel charges to the candidate,
//! so a busy machine disturbs little. Rounds alternate between the candidates.
//!
//!     cargo bench -p finwait --bench cpu_per_request [-- REQUESTS ROUNDS]

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads files and the environment, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;

const CLIENTS: usize = 16;
const BODY: &str = "hello, this is the app\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["app", at] => app(at),
        ["relay", at, to] => relay(at, to),
        ["probe", at, to] => probe(at, to),
        [] => compare(40_000, 5),
        [requests, rounds] => compare(requests.parse().expect("REQUESTS"), rounds.parse().expect("ROUNDS")),
        _ => eprintln!("usage: cpu_per_request [REQUESTS ROUNDS]"),
    }
}

/// A process under comparison.
struct Candidate {
    name: &'static str,
    at: SocketAddr,
    child: Child,
    micros_per_request: Vec<f64>,
}

fn compare(requests: usize, rounds: usize) {
    let dir = std::env::temp_dir().join(format!("finwait-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a temporary directory");
    let app_at = free_port();
    let mut app = this(&["app", &app_at.to_string()]);
    let mut candidates: Vec<Candidate> = [
        ("finwait", finwait as fn(&Path, SocketAddr, SocketAddr) -> Option<Child>),
        ("hyper probe", |_, at, to| Some(this(&["probe", &at.to_string(), &to.to_string()]))),
        ("TCP relay", |_, at, to| Some(this(&["relay", &at.to_string(), &to.to_string()]))),
        ("nginx", nginx),
        ("haproxy", haproxy),
        ("envoy", envoy),
    ]
    .into_iter()
    .filter_map(|(name, start)| {
        let at = free_port();
        let Some(child) = start(&dir, at, app_at) else {
            println!("{name}: not installed, left out");
            return None;
        };
        Some(Candidate { name, at, child, micros_per_request: Vec::new() })
    })
    .collect();
    candidates.iter().for_each(|candidate| wait_for(candidate.at));
    for round in 0..=rounds {
        for candidate in &mut candidates {
            let before = cpu_micros(candidate.child.id());
            load(candidate.at, requests);
            let spent = cpu_micros(candidate.child.id()) - before;
            if round > 0 {
                candidate.micros_per_request.push(spent / requests as f64);
            }
        }
    }
    report(&mut candidates, requests, rounds);
    for mut candidate in candidates {
        drop(candidate.child.kill());
        drop(candidate.child.wait());
    }
    drop(app.kill());
    drop(app.wait());
    drop(fs::remove_dir_all(dir));
}

fn report(candidates: &mut [Candidate], requests: usize, rounds: usize) {
    for candidate in candidates.iter_mut() {
        candidate.micros_per_request.sort_by(f64::total_cmp);
    }
    let median = |candidate: &Candidate| candidate.micros_per_request[candidate.micros_per_request.len() / 2];
    let ours = candidates.first().map_or(1.0, median);
    println!("CPU per request, {rounds} rounds of {requests} GETs over {CLIENTS} connections:");
    println!("{:>14} {:>8} {:>8} {:>8} {:>18}", "", "min us", "median", "max us", "finwait / it");
    for candidate in candidates.iter() {
        let all = &candidate.micros_per_request;
        let (min, max) = (all[0], all[all.len() - 1]);
        let it = median(candidate);
        println!("{:>14} {min:>8.1} {it:>8.1} {max:>8.1} {:>18.2}", candidate.name, ours / it);
    }
}

/// User and system time of a process and its children, in microseconds.
fn cpu_micros(pid: u32) -> f64 {
    let mut ticks = 0.0;
    for pid in [pid].into_iter().chain(children(pid)) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        ticks += [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum::<f64>();
    }
    ticks * 10_000.0 // a tick is 10 ms wherever Linux runs
}

fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
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

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn wait_for(at: SocketAddr) {
    for _ in 0..500 {
        if TcpStream::connect(at).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    eprintln!("nobody listens on {at}");
}

/// This program in another role.
fn this(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().expect("this program")).args(arguments).spawn().expect("it runs")
}

fn start(program: &str, arguments: &[&str]) -> Option<Child> {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("a temporary file");
    path
}

/// The same file serves Envoy.
fn envoy_yaml(dir: &Path, name: &str, at: SocketAddr, to: SocketAddr) -> PathBuf {
    let log = dir.join(format!("{name}.log"));
    let text = format!(
        r#"
static_resources:
  listeners:
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {at} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {log}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: app }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {to} }} }} }}
"#,
        at = at.port(),
        to = to.port(),
        log = log.display(),
    );
    write(dir, &format!("{name}.yaml"), &text)
}

fn finwait(dir: &Path, at: SocketAddr, to: SocketAddr) -> Option<Child> {
    let config = envoy_yaml(dir, "finwait", at, to);
    start(env!("CARGO_BIN_EXE_finwait"), &["-c", config.to_str()?, "--concurrency", "1"])
}

/// The binary named by ENVOY, or `envoy` on the path.
fn envoy(dir: &Path, at: SocketAddr, to: SocketAddr) -> Option<Child> {
    let config = envoy_yaml(dir, "envoy", at, to);
    let program = std::env::var("ENVOY").unwrap_or_else(|_| "envoy".into());
    start(&program, &["-c", config.to_str()?, "--concurrency", "1", "--disable-hot-restart", "-l", "off"])
}

fn nginx(dir: &Path, at: SocketAddr, to: SocketAddr) -> Option<Child> {
    let dir_text = dir.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {dir_text}/nginx.pid; error_log {dir_text}/nginx.err;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log {dir_text}/nginx.log; client_body_temp_path {dir_text}; proxy_temp_path {dir_text};\n\
         fastcgi_temp_path {dir_text}; uwsgi_temp_path {dir_text}; scgi_temp_path {dir_text}; keepalive_requests 10000000;\n\
         upstream app {{ server {to}; keepalive 64; keepalive_requests 10000000; }}\n\
         server {{ listen {at}; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n"
    );
    start("nginx", &["-c", write(dir, "nginx.conf", &text).to_str()?])
}

fn haproxy(dir: &Path, at: SocketAddr, to: SocketAddr) -> Option<Child> {
    // HAProxy has no file log; a UNIX datagram socket is what it writes to elsewhere, too.
    let text = format!(
        "global\n nbthread 1\n log {}/haproxy.sock len 1024 local0\ndefaults\n mode http\n log global\n option httplog\n\
         timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend f\n bind {at}\n default_backend b\nbackend b\n http-reuse always\n server app {to}\n",
        dir.display()
    );
    start("haproxy", &["-db", "-f", write(dir, "haproxy.cfg", &text).to_str()?])
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
