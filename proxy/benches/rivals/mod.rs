//! Proxies to measure side by side: finwait, and Envoy, nginx and HAProxy where they are installed. Each is a process
//! of its own with one worker and an access log, in front of the same application, as it comes apart from that.

#[path = "../../tests/support/bootstrap.rs"]
mod bootstrap;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bootstrap::Bootstrap;

/// How long a process may take until it listens.
const START_MAX: Duration = Duration::from_secs(5);
const START_POLL: Duration = Duration::from_millis(10);

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

/// A process under measurement. Dropped, it is killed.
pub(crate) struct Running {
    /// Where it serves.
    pub(crate) at: SocketAddr,
    child: Child,
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

    /// Starts it in front of `app`, with its files in `dir`; `None` where it is not installed. It tells its stats at
    /// `admin`, but for nginx and HAProxy, which have no such place.
    pub(crate) fn start(self, dir: &Path, app: SocketAddr, admin: SocketAddr) -> Option<Running> {
        let at = free_port();
        let dir = dir.join(format!("{}", at.port()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        let child = match self {
            Self::Envoy => envoy(&dir, at, admin, app),
            Self::Finwait => finwait(&dir, at, admin, app, &[]),
            Self::FinwaitExact => finwait(&dir, at, admin, app, &["--envoy-exact"]),
            Self::HaProxy => haproxy(&dir, at, app),
            Self::Nginx => nginx(&dir, at, app),
        }?;
        Some(Running::new(child, at))
    }
}

impl Running {
    /// Waits until `child` serves `at`.
    pub(crate) fn new(child: Child, at: SocketAddr) -> Self {
        wait_for(at);
        Self { at, child }
    }

    /// The process that does the work: nginx has it done by a child.
    pub(crate) fn worker(&self) -> u32 {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(pid)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn free_port() -> SocketAddr {
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
    let log = dir.join("access.log");
    let to_file = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let typed = format!("{{ \"@type\": {to_file}, path: {} }}", log.display());
    let logs = format!("access_log: [{{ name: envoy.access_loggers.file, typed_config: {typed} }}]");
    let most = "{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }";
    let breakers = format!("circuit_breakers: {{ thresholds: [{most}] }}");
    let proxy = Bootstrap { port: at.port(), app: app.port(), manager: &[&logs], cluster: &[&breakers] };
    let admin = format!("address: 127.0.0.1, port_value: {}", admin.port());
    let text = format!("admin: {{ address: {{ socket_address: {{ {admin} }} }} }}\n{}", proxy.yaml());
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
