//! Proxies to measure side by side: finwait, and Envoy, nginx and HAProxy where they are installed. Each is a process
//! of its own with one worker and an access log, in front of the same application, as it comes apart from that.

#[path = "../../tests/support/bootstrap.rs"]
mod bootstrap;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bootstrap::Bootstrap;

/// How long a process may take until it listens.
const START_MAX: Duration = Duration::from_secs(5);
const START_POLL: Duration = Duration::from_millis(10);
/// Names of files in the process's directory.
const STDERR: &str = "stderr.log";
const ACCESS_LOG: &str = "access.log";

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Envoy,
    Finwait,
    /// Another binary of finwait, named by FINWAIT_BEFORE: an earlier build, to compare with in one run.
    FinwaitBefore,
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

/// What differs from run to run for finwait and Envoy.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options<'a> {
    /// More fields of the route's action, as in [`Bootstrap`].
    pub(crate) route: &'a str,
    /// More fields of the virtual host, a line each.
    pub(crate) host: &'a [&'a str],
    /// Routes before the one that is taken, a line each.
    pub(crate) routes: &'a [&'a str],
    /// More fields of the connection manager, a line each.
    pub(crate) manager: &'a [&'a str],
    /// HTTP filters before the router, a line each.
    pub(crate) filters: &'a [&'a str],
    /// More fields of the cluster, a line each.
    pub(crate) cluster: &'a [&'a str],
    /// Connections that a worker opens to the application at most; None for more than any benchmark needs.
    pub(crate) connections_max: Option<u32>,
    /// The access logger, as in the field `access_log`, where ACCESS_LOG stands for a file in the process's directory; None for
    /// the default format to that file.
    pub(crate) log: Option<&'a str>,
    /// The process may open so many descriptors (RLIMIT_NOFILE); None for as many as this one.
    pub(crate) descriptors_max: Option<u32>,
    /// The one processor that the process runs on; None for any.
    pub(crate) processor: Option<u32>,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Finwait, Self::FinwaitBefore, Self::FinwaitExact, Self::Envoy, Self::Nginx, Self::HaProxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy",
            Self::Finwait => "finwait",
            Self::FinwaitBefore => "finwait before",
            Self::FinwaitExact => "finwait --envoy-exact",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it in front of `app`, with its files in `dir`; `None` where it is not installed. It tells its stats at
    /// `admin`, but for nginx and HAProxy, which have no such place and take no options.
    pub(crate) fn start(
        self,
        dir: &Path,
        app: SocketAddr,
        admin: SocketAddr,
        options: &Options<'_>,
    ) -> Option<Running> {
        let at = free_port();
        let dir = dir.join(format!("{}", at.port()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        let child = match self {
            Self::Envoy => {
                let config = bootstrap(&dir, at, admin, app, options);
                let program = std::env::var("ENVOY").unwrap_or_else(|_| "envoy".into());
                let arguments = ["-c", config.to_str()?, "--concurrency", "1", "--disable-hot-restart", "-l", "warn"];
                start(&dir, &program, &arguments, options)
            }
            Self::Finwait => finwait(&built(), &dir, &[at, admin, app], options, &[]),
            Self::FinwaitBefore => {
                finwait(&std::env::var("FINWAIT_BEFORE").ok()?, &dir, &[at, admin, app], options, &[])
            }
            Self::FinwaitExact => finwait(&built(), &dir, &[at, admin, app], options, &["--envoy-exact"]),
            Self::HaProxy => haproxy(&dir, at, app),
            Self::Nginx => nginx(&dir, at, app),
        }?;
        if matches!(self, Self::Envoy | Self::Finwait | Self::FinwaitBefore | Self::FinwaitExact) {
            wait_until_live(admin); // it may come later than the listener
        }
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
    eprintln!("{at} does not accept within {START_MAX:?}");
}

/// Waits until `GET /ready` responds 200.
fn wait_until_live(admin: SocketAddr) {
    let is_live = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response.starts_with("HTTP/1.1 200"))
    };
    for _ in 0..START_MAX.as_millis() / START_POLL.as_millis() {
        if is_live().unwrap_or(false) {
            return;
        }
        thread::sleep(START_POLL);
    }
    eprintln!("{admin} does not say LIVE within {START_MAX:?}");
}

/// Starts a program whose standard error goes to a file.
fn start(dir: &Path, program: &str, arguments: &[&str], options: &Options<'_>) -> Option<Child> {
    let mut whole = vec![program.to_owned()];
    if let Some(processor) = options.processor {
        whole = [vec!["taskset".into(), "-c".into(), processor.to_string()], whole].concat();
    }
    if let Some(most) = options.descriptors_max {
        let limited = vec!["sh".into(), "-c".into(), "ulimit -n \"$0\"; exec \"$@\"".into(), most.to_string()];
        whole = [limited, whole].concat();
    }
    let mut command = Command::new(whole.first()?);
    command.args(whole.iter().skip(1));
    let stderr = File::create(dir.join(STDERR)).expect("a temporary file");
    // The child's handle keeps the pipe of standard output open, and reads none of it.
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().ok()
}

fn write_file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("a temporary file");
    path
}

/// The binary that was built with this benchmark, or the one that FINWAIT names in its place.
fn built() -> String {
    std::env::var("FINWAIT").unwrap_or_else(|_| env!("CARGO_BIN_EXE_finwait").into())
}

fn finwait(
    program: &str,
    dir: &Path,
    [at, admin, app]: &[SocketAddr; 3],
    options: &Options<'_>,
    more: &[&str],
) -> Option<Child> {
    let config = bootstrap(dir, *at, *admin, *app, options);
    let arguments = [&["-c", config.to_str()?, "--concurrency", "1"], more].concat();
    start(dir, program, &arguments, options)
}

/// One file for both. The breakers are wide because they are not what is measured.
fn bootstrap(dir: &Path, at: SocketAddr, admin: SocketAddr, app: SocketAddr, options: &Options<'_>) -> PathBuf {
    let path = dir.join(ACCESS_LOG);
    let to_file = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let typed = format!("{{ \"@type\": {to_file}, path: {} }}", path.display());
    let file = format!("{{ name: envoy.access_loggers.file, typed_config: {typed} }}");
    let log = options.log.map_or(file, |log| log.replace("ACCESS_LOG", &path.display().to_string()));
    let logs = format!("access_log: [{log}]");
    let connections_max = options.connections_max.unwrap_or(100_000);
    let most = format!("max_connections: {connections_max}, max_pending_requests: 100000, max_requests: 100000");
    let breakers = format!("circuit_breakers: {{ thresholds: [{{ {most} }}] }}");
    let manager = [&[logs.as_str()], options.manager].concat();
    let cluster = [&[breakers.as_str()], options.cluster].concat();
    let Options { host, routes, route, .. } = *options;
    let proxy =
        Bootstrap { port: at.port(), app: app.port(), manager: &manager, host, routes, route, cluster: &cluster };
    let admin = format!("address: 127.0.0.1, port_value: {}", admin.port());
    let text = format!("admin: {{ address: {{ socket_address: {{ {admin} }} }} }}\n{}", proxy.yaml());
    let filters: String = options.filters.iter().map(|filter| format!("          - {filter}\n")).collect();
    let text = text.replace("http_filters:\n", &format!("http_filters:\n{filters}"));
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
    start(dir, "nginx", &["-c", write_file(dir, "nginx.conf", &text).to_str()?], &Options::default())
}

fn haproxy(dir: &Path, at: SocketAddr, app: SocketAddr) -> Option<Child> {
    // HAProxy has no file log; a UNIX datagram socket is what it writes to elsewhere, too.
    let text = format!(
        "global\n nbthread 1\n log {}/haproxy.sock len 1024 local0\ndefaults\n mode http\n log global\n option httplog\n\
         timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend f\n bind {at}\n default_backend b\nbackend b\n server app {app}\n",
        dir.display()
    );
    start(dir, "haproxy", &["-db", "-f", write_file(dir, "haproxy.cfg", &text).to_str()?], &Options::default())
}
