//! The secrets of connections in the file of `key_log`: those that the peer has for the same connection.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, KeyLog, StreamOwned};

use crate::support::{Client, Newest, Proxy, STEP_MAX, certificate, chain, folder, responds};
use crate::{app_with, cluster};

/// The secrets that a peer has.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<Vec<String>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
        };
        self.0.lock().unwrap().push(format!("{label} {} {}", hex(client_random), hex(secret)));
    }
}

impl Secrets {
    fn sorted(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.sort();
        lines
    }
}

fn lines(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < STEP_MAX, "it does not become so");
        thread::yield_now();
    }
}

/// One request over TLS; the client's secrets.
fn get(proxy: &Proxy, newest: Newest) -> Arc<Secrets> {
    let secrets = Arc::new(Secrets::default());
    let mut config = Client { newest, ..Client::default() }.config();
    config.key_log = Arc::<Secrets>::clone(&secrets);
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("server.test").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, proxy.connect());
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    assert!(response.ends_with(b"hello"));
    secrets
}

#[test]
fn secrets_of_clients_are_written_where_the_addresses_match() {
    let folder = folder("keys-of-clients");
    let range = |address: &str| format!("[{{ address_prefix: {address}, prefix_len: 8 }}]");
    for (name, ranges, newest, is_written) in [
        ("all", String::new(), Newest::Tls13, true),
        ("older", String::new(), Newest::Tls12, true),
        ("local", format!(", local_address_range: {}", range("127.0.0.0")), Newest::Tls13, true),
        ("elsewhere", format!(", local_address_range: {}", range("10.0.0.0")), Newest::Tls13, false),
        ("others", format!(", remote_address_range: {}", range("10.0.0.0")), Newest::Tls13, false),
    ] {
        let path = folder.join(name);
        let tls = format!(
            "common_tls_context: {{ tls_certificates: [{}], key_log: {{ path: {}{ranges} }} }}",
            certificate("server"),
            path.display()
        );
        let proxy = Proxy::start(name, &[chain(Some(&tls), &responds("hello"), "")], "", "");
        let mut expected = get(&proxy, newest).sorted();
        expected.extend(get(&proxy, newest).sorted());
        expected.sort();
        proxy.stop();
        assert!(!expected.is_empty());
        assert_eq!(lines(&path), if is_written { expected } else { Vec::new() }, "{name}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_was_moved_away_is_opened_again() {
    let folder = folder("keys-reopened");
    let (path, moved) = (folder.join("keys"), folder.join("moved"));
    let tls = format!(
        "common_tls_context: {{ tls_certificates: [{}], key_log: {{ path: {} }} }}",
        certificate("server"),
        path.display()
    );
    let proxy = Proxy::start("reopened", &[chain(Some(&tls), &responds("hello"), "")], "", "");
    let before = get(&proxy, Newest::Tls13).sorted();
    until(|| lines(&path) == before);
    fs::rename(&path, &moved).unwrap();
    proxy.finwait.as_ref().unwrap().signal("USR1").unwrap();
    until(|| path.exists());
    let after = get(&proxy, Newest::Tls13).sorted();
    proxy.stop();
    assert_eq!((lines(&moved), lines(&path)), (before, after));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn secrets_of_upstreams_are_written() {
    let folder = folder("keys-of-upstreams");
    let path = folder.join("keys");
    let secrets = Arc::new(Secrets::default());
    let port = app_with("server", Arc::<Secrets>::clone(&secrets));
    let key_log = format!("common_tls_context: {{ key_log: {{ path: {} }},", path.display());
    let cluster = cluster("app", port, "").replace("common_tls_context: {", &key_log);
    let proxy = Proxy::start("keys", &[chain(None, "route: { cluster: app }", "")], "", &cluster);
    assert!(proxy.get_plain().ends_with("app"));
    proxy.stop();
    let expected = secrets.sorted();
    assert!(expected.iter().any(|line| line.starts_with("CLIENT_RANDOM ")), "{expected:?}");
    assert_eq!(lines(&path), expected);
    fs::remove_dir_all(folder).unwrap();
}
