//! SIGHUP on real sockets, with two workers that share each port: what changes, what stays, and that no request fails.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/client.rs"]
mod client;
#[path = "support/process.rs"]
mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[expect(clippy::disallowed_types, reason = "another process, which does not go through the seam")]
type TcpListener = std::net::TcpListener;

use bootstrap::Bootstrap;
use client::{Client, Load, answering};
use process::Finwait;

const CLIENTS: usize = 4;
/// Requests that end after a reload until the next.
const REQUESTS: usize = 200;
/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);
const SECOND: &str = "  - name: second";

/// A configuration file in a folder of its own. Dropped, the folder is removed.
struct File(PathBuf);

impl File {
    fn new(name: &str, yaml: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("finwait-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = Self(folder);
        file.write(yaml);
        file
    }

    fn write(&self, yaml: &str) {
        std::fs::write(self.0.join("envoy.yaml"), yaml).unwrap();
    }

    fn start(&self) -> (Finwait, SocketAddr) {
        let mut finwait = Finwait::start(&self.0, &["-c", "envoy.yaml", "--concurrency", "2"]).unwrap();
        let at = finwait.until("listening on ").unwrap().parse().unwrap();
        finwait.until("ready").unwrap();
        (finwait, at)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0)); // the system empties its temporary folder
    }
}

/// The configuration with a second listener that responds by itself, and a second cluster.
fn with_second(base: &str) -> String {
    let listener = base.split_once("  listeners:\n").unwrap().1.split_once("  clusters:").unwrap().0;
    let listener = listener.replacen("  - name: web", SECOND, 1).replace("stat_prefix: web", "stat_prefix: second");
    let cluster = base.split_once("  clusters:\n").unwrap().1.replace("app", "more");
    format!("{}{cluster}", base.replace("  clusters:\n", &format!("{listener}  clusters:\n")))
}

#[test]
fn reloads_fail_no_request_and_an_invalid_file_changes_nothing() {
    let base = answering(&Bootstrap::default().yaml());
    let file = File::new("reload", &base);
    let (mut finwait, at) = file.start();
    let load = Load::start(at, CLIENTS, "/");
    let reload = |finwait: &mut Finwait, yaml: &str, says: &str| {
        load.wait_for(REQUESTS);
        file.write(yaml);
        finwait.signal("HUP").unwrap();
        let rest = finwait.until(says).unwrap();
        load.wait_for(REQUESTS);
        assert_eq!(load.failures(), Vec::<String>::new(), "{says}");
        rest
    };
    reload(
        &mut finwait,
        &base.replace("prefix: /", "path: /"),
        "version 2 is in force: listeners: web has other routes",
    );
    let second: SocketAddr = reload(&mut finwait, &with_second(&base), "listening on ").parse().unwrap();
    finwait.until("version 3 is in force: ").unwrap();
    Client::new(second).get("/").unwrap();
    reload(
        &mut finwait,
        &base.replace("cluster: app", "cluster: nothing").replace("direct_response", "redirect"),
        "is refused",
    );
    Client::new(second).get("/").unwrap();
    let gone = reload(&mut finwait, &base, "version 4 is in force: ");
    assert_eq!(gone, "listeners: second removed; clusters: more removed");
    assert!(Client::new(second).get("/").is_err());
    reload(
        &mut finwait,
        &base.replace("stat_prefix: web", "stat_prefix: renamed"),
        "version 5 is in force: listeners: web has other options",
    );
    reload(
        &mut finwait,
        &base.replace("stat_prefix: web", "stat_prefix: renamed"),
        "the configuration is the one in force",
    );
    load.stop();
    finwait.signal("INT").unwrap();
    let (status, said) = finwait.end(STEP_MAX).unwrap();
    assert!(status.success(), "{status}\n{said}");
}

#[test]
fn a_listener_whose_address_another_process_has_is_refused_with_everything_else() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let base = answering(&Bootstrap::default().yaml());
    let file = File::new("reload-taken", &base);
    let (mut finwait, at) = file.start();
    let (before, after) = with_second(&base).split_once(SECOND).map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let taken_port = after.replacen("port_value: 0", &format!("port_value: {port}"), 1);
    file.write(&format!("{before}{SECOND}{taken_port}"));
    finwait.signal("HUP").unwrap();
    let why = finwait.until("is refused, and the one before it stays in force: ").unwrap();
    assert!(why.starts_with(&format!("listener 'second' cannot listen on 127.0.0.1:{port}")), "{why}");
    Client::new(at).get("/").unwrap();
}

#[test]
fn a_file_that_has_changed_is_read_again_with_watch() {
    let base = answering(&Bootstrap::default().yaml());
    let file = File::new("reload-watch", &base);
    let mut finwait = Finwait::start(Path::new(&file.0), &["-c", "envoy.yaml", "--watch"]).unwrap();
    finwait.until("ready").unwrap();
    file.write(&with_second(&base));
    finwait.until("--watch: reading the configuration again").unwrap();
    finwait.until("version 2 is in force: listeners: second added; clusters: more added").unwrap();
}

#[test]
fn a_directory_of_runtime_values_that_another_replaces_is_read_again() {
    const LAYERS: &str =
        "layered_runtime: { layers: [{ name: disk, disk_layer: { symlink_root: current, subdirectory: values } }] }\n";
    let of_key =
        "match: { prefix: /, runtime_fraction: { default_value: { numerator: 0 }, runtime_key: routes.second } }";
    let route = format!("{of_key}\n                direct_response: {{ status: 503 }}");
    let base = answering(&Bootstrap { routes: &[&route], ..Bootstrap::default() }.yaml());
    let file = File::new("reload-runtime", &format!("{base}{LAYERS}"));
    for (version, share) in [("first", "0"), ("second", "100")] {
        let folder = file.0.join(version).join("values").join("routes");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("second"), share).unwrap();
    }
    let link = |version: &str| {
        std::os::unix::fs::symlink(version, file.0.join("next")).unwrap();
        std::fs::rename(file.0.join("next"), file.0.join("current")).unwrap();
    };
    link("first");
    let (mut finwait, at) = file.start();
    Client::new(at).get("/").unwrap();
    link("second");
    finwait.until("files were read again and are in use: the runtime").unwrap();
    assert!(Client::new(at).get("/").unwrap_err().to_string().starts_with("HTTP/1.1 503 "));
}
