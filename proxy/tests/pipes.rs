//! Unix domain sockets of the system: listeners, endpoints and the admin interface on paths and on abstract names.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/process.rs"]
mod process;

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::Finwait;

/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);

/// A folder of its own. Dropped, it is removed.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("finwait-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn start(&self, yaml: &str, workers: &str) -> Finwait {
        fs::write(self.0.join("envoy.yaml"), yaml).unwrap();
        Finwait::start(&self.0, &["-c", "envoy.yaml", "--concurrency", workers]).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0)); // the system empties its temporary folder
    }
}

fn listener(name: &str, pipe: &str, routes: &str) -> String {
    format!(
        r#"
  - name: {name}
    address: {{ pipe: {{ {pipe} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          use_remote_address: true
          append_x_forwarded_port: true
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {name}.log
              log_format: {{ text_format_source: {{ inline_string: "{LINE}\n" }} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{routes}          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#
    )
}

const LINE: &str = "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% from %DOWNSTREAM_REMOTE_ADDRESS% to %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% port (%DOWNSTREAM_LOCAL_PORT%) host %UPSTREAM_HOST% as %UPSTREAM_LOCAL_ADDRESS% at %UPSTREAM_REMOTE_ADDRESS% xff %REQ(X-FORWARDED-FOR)% %REQ(X-FORWARDED-PORT)%";

fn cluster(name: &str, path: &str) -> String {
    format!(
        r#"
  - name: {name}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ pipe: {{ path: "{path}" }} }} }} }}] }}]
"#
    )
}

fn ok() -> String {
    "              - { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: ok } } }\n".into()
}

fn to(prefix: &str, cluster: &str) -> String {
    format!("              - {{ match: {{ prefix: {prefix} }}, route: {{ cluster: {cluster} }} }}\n")
}

/// What comes back for a request, to the end of the connection.
fn get(mut conn: UnixStream, path: &str) -> String {
    conn.set_read_timeout(Some(STEP_MAX)).unwrap();
    write!(conn, "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    conn.read_to_string(&mut response).unwrap();
    response
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or(response)
}

fn at(folder: &Folder, path: &str) -> UnixStream {
    UnixStream::connect(folder.0.join(path)).unwrap()
}

fn mode(folder: &Folder, path: &str) -> u32 {
    fs::metadata(folder.0.join(path)).unwrap().permissions().mode() & 0o777
}

fn stop(finwait: Finwait) -> String {
    finwait.signal("INT").unwrap();
    let (status, said) = finwait.end(STEP_MAX).unwrap();
    assert!(status.success(), "{said}");
    said
}

#[test]
fn requests_go_over_paths_and_abstract_names_as_with_envoy() {
    let folder = Folder::new("pipes");
    let name = format!("finwait-test-{}", std::process::id());
    let abstract_path = format!("@{name}");
    let listeners = [
        listener(
            "front",
            "path: front.sock, mode: 384",
            &(to("/abstract", "abstract") + &to("/none", "none") + &to("/", "back")),
        ),
        listener("back", "path: back.sock", &ok()),
        listener("abstract", &format!("path: \"{abstract_path}\""), &ok()),
    ];
    let clusters = [cluster("back", "back.sock"), cluster("abstract", &abstract_path), cluster("none", "none.sock")];
    let yaml = format!(
        "admin: {{ address: {{ pipe: {{ path: admin.sock }} }} }}\nstatic_resources:\n  listeners:{}\n  clusters:{}",
        listeners.concat(),
        clusters.concat()
    );
    let mut finwait = folder.start(&yaml, "2");
    finwait.until("ready").unwrap();

    assert_eq!(mode(&folder, "front.sock"), 0o600);
    assert_eq!(
        [get(at(&folder, "front.sock"), "/"), get(at(&folder, "front.sock"), "/abstract")]
            .each_ref()
            .map(|r| status(r)),
        ["200"; 2]
    );
    let by_name = SocketAddr::from_abstract_name(&name).unwrap();
    assert_eq!(status(&get(UnixStream::connect_addr(&by_name).unwrap(), "/")), "200");
    let refused = get(at(&folder, "front.sock"), "/none");
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.ends_with("reset reason: remote connection failure"),
        "{refused}"
    );
    let listeners = get(at(&folder, "admin.sock"), "/listeners?format=json");
    assert!(
        listeners.contains(r#""path": "front.sock""#) || listeners.contains(r#""path":"front.sock""#),
        "{listeners}"
    );
    let stats = get(at(&folder, "admin.sock"), "/stats?filter=^listener.front.sock.downstream_cx_total");
    assert!(stats.contains("listener.front.sock.downstream_cx_total: 3"), "{stats}");
    assert!(get(at(&folder, "admin.sock"), "/clusters").contains("back::back.sock::rq_success::1"));

    stop(finwait);
    let log = read(&folder.0.join("front.log"));
    let end = "xff - -";
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            format!(
                "200 via_upstream from front.sock to front.sock port () host {abstract_path} as - at {abstract_path} {end}"
            ),
            format!("200 via_upstream from front.sock to front.sock port () host back.sock as - at back.sock {end}"),
            format!(
                "503 upstream_reset_before_response_started{{remote_connection_failure|immediate_connect_error:_No_such_file_or_directory|remote_address:none.sock}} from front.sock to front.sock port () host none.sock as - at - {end}"
            ),
        ]
    );
    for path in ["front.sock", "back.sock"] {
        assert!(!folder.0.join(path).exists(), "{path} is left behind");
    }
}

fn alone(path: &str) -> String {
    format!("static_resources:\n  listeners:{}", listener("alone", &format!("path: {path}"), &ok()))
}

#[test]
fn a_path_in_use_is_left_to_its_process() {
    let folder = Folder::new("pipes-taken");
    let path = |name: &str| folder.0.join(name);
    drop(UnixListener::bind(path("stale.sock")).unwrap());
    let mut finwait = folder.start(&alone("stale.sock"), "2");
    finwait.until("ready").unwrap();
    assert_eq!(status(&get(at(&folder, "stale.sock"), "/")), "200");
    stop(finwait);

    let used = UnixListener::bind(path("used.sock")).unwrap();
    fs::write(path("file"), "of another program").unwrap();
    for (name, workers) in [("used.sock", "1"), ("used.sock", "2"), ("file", "1"), ("file", "2")] {
        let (ended, said) = folder.start(&alone(name), workers).end(STEP_MAX).unwrap();
        assert!(
            !ended.success() && said.contains("cannot listen on") && said.contains("in use"),
            "{name} {workers}: {said}"
        );
    }
    drop(used);
    assert!(is_socket(&path("used.sock")));
    assert_eq!(read(&path("file")), "of another program");
}

#[expect(clippy::disallowed_methods, reason = "the test reads what another process has left")]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_socket()
}

#[test]
fn a_file_of_another_process_at_the_same_path_stays() {
    let folder = Folder::new("pipes-replaced");
    let path = folder.0.join("it.sock");
    let mut finwait = folder.start(&alone("it.sock"), "2");
    finwait.until("ready").unwrap();
    fs::remove_file(&path).unwrap();
    let next = UnixListener::bind(&path).unwrap();
    stop(finwait);
    assert!(is_socket(&path));
    drop(next);
}
