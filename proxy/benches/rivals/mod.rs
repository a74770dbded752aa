//! Proxies to measure side by side: finwait, and Envoy, nginx and HAProxy where they are installed. Each is a process
//! of its own with one worker and an access log, in front of the same application, as it comes apart from that.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a process may take until it listens.
const START_MAX: Duration = Duration::from_secs(5);
const START_POLL: Duration = Duration::from_millis(10);

pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Envoy,
    Finwait,
    /// finwait with `--envoy-exact`.
    FinwaitExact,
    HaProxy,
    Nginx,
}

/// A proxy that runs. Dropped, it is killed.
pub(crate) struct Rival {
    pub(crate) kind: Kind,
    /// Where it serves.
    pub(crate) at: SocketAddr,
    /// Where it tells its stats; nginx and HAProxy have no such place.
    admin: SocketAddr,
    child: Child,
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now_bytes: u64,
    /// The most so far.
    pub(crate) peak_bytes: u64,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Finwait, Self::FinwaitExact, Self::Envoy, Self::Nginx, Self::HaProxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy",
            Self::Finwait => "finwait",
            Self::FinwaitExact => "finwait --envoy-exact",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it in front of `app`, with its files in `dir`; `None` where it is not installed.
    pub(crate) fn start(self, dir: &Path, app: SocketAddr) -> Option<Rival> {
        let (at, admin) = (free_port(), free_port());
        let dir = dir.join(format!("{}", at.port()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        let child = match self {
            Self::Envoy => envoy(&dir, at, admin, app),
            Self::Finwait => finwait(&dir, at, admin, app, &[]),
            Self::FinwaitExact => finwait(&dir, at, admin, app, &["--envoy-exact"]),
            Self::HaProxy => haproxy(&dir, at, app),
            Self::Nginx => nginx(&dir, at, app),
        }?;
        wait_for(at);
        Some(Rival { kind: self, at, admin, child })
    }
}

impl Rival {
    /// Its stats of these names, or that end so, in that order. A proxy that does not have one has none of it.
    pub(crate) fn stats<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        let listed = self.admin_page("/stats").unwrap_or_default();
        names.map(|name| {
            let line = listed.lines().find_map(|line| line.split_once(&format!("{name}: ")));
            line.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        })
    }

    fn admin_page(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }

    /// Of the process that does the work: nginx has it done by a child.
    pub(crate) fn memory(&self) -> Memory {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let worker = children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(pid);
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Memory { now_bytes: bytes("VmRSS:"), peak_bytes: bytes("VmHWM:") }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn wait_for(at: SocketAddr) {
    for _ in 0..START_MAX.as_millis() / START_POLL.as_millis() {
        if TcpStream::connect(at).is_ok() {
            return;
        }
        thread::sleep(START_POLL);
    }
    eprintln!("nobody listens on {at}");
}

fn start(program: &str, arguments: &[&str]) -> Option<Child> {
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

fn write_file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("a temporary file");
    path
}

fn finwait(dir: &Path, at: SocketAddr, admin: SocketAddr, app: SocketAddr, more: &[&str]) -> Option<Child> {
    let config = bootstrap(dir, at, admin, app);
    let arguments = [&["-c", config.to_str()?, "--concurrency", "1"], more].concat();
    start(env!("CARGO_BIN_EXE_finwait"), &arguments)
}

/// The binary named by ENVOY, or `envoy` on the path.
fn envoy(dir: &Path, at: SocketAddr, admin: SocketAddr, app: SocketAddr) -> Option<Child> {
    let config = bootstrap(dir, at, admin, app);
    let program = std::env::var("ENVOY").unwrap_or_else(|_| "envoy".into());
    start(&program, &["-c", config.to_str()?, "--concurrency", "1", "--disable-hot-restart", "-l", "off"])
}

/// One file for both. The breakers are wide because they are not what is measured.
fn bootstrap(dir: &Path, at: SocketAddr, admin: SocketAddr, app: SocketAddr) -> PathBuf {
    let manager =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let text = format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {at} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {manager}
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
    circuit_breakers:
      thresholds:
      - {{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {app} }} }} }}
"#,
        at = at.port(),
        admin = admin.port(),
        app = app.port(),
        log = dir.join("access.log").display(),
    );
    write_file(dir, "bootstrap.yaml", &text)
}

/// Without `keepalive` nginx has no pool, and without the larger number it ends each of its connections early.
fn nginx(dir: &Path, at: SocketAddr, app: SocketAddr) -> Option<Child> {
    let d = dir.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {d}/nginx.pid; error_log {d}/nginx.err;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log {d}/nginx.log; client_body_temp_path {d}; proxy_temp_path {d};\n\
         fastcgi_temp_path {d}; uwsgi_temp_path {d}; scgi_temp_path {d}; keepalive_requests 10000000;\n\
         upstream app {{ server {app}; keepalive 64; keepalive_requests 10000000; }}\n\
         server {{ listen {at}; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n"
    );
    start("nginx", &["-c", write_file(dir, "nginx.conf", &text).to_str()?])
}

fn haproxy(dir: &Path, at: SocketAddr, app: SocketAddr) -> Option<Child> {
    // HAProxy has no file log; a UNIX datagram socket is what it writes to elsewhere, too.
    let text = format!(
        "global\n nbthread 1\n log {}/haproxy.sock len 1024 local0\ndefaults\n mode http\n log global\n option httplog\n\
         timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend f\n bind {at}\n default_backend b\nbackend b\n server app {app}\n",
        dir.display()
    );
    start("haproxy", &["-db", "-f", write_file(dir, "haproxy.cfg", &text).to_str()?])
}
