//! The samples of Envoy's documentation for internal listeners, on real sockets: `examples/` as it is, but for the ports.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]
#![expect(clippy::disallowed_types, reason = "clients and apps are not the proxy")]

#[path = "support/proxy.rs"]
mod proxy;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use finwait::stats::Snapshot;
use proxy::Proxy;

/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);

/// Runs a sample whose listeners get any free port, and whose endpoint is at `endpoint`.
fn start(yaml: &str, endpoint: Option<(u16, SocketAddr)>) -> Proxy {
    let mut yaml = yaml.to_owned();
    if let Some((port, at)) = endpoint {
        yaml = yaml.replace(&format!("port_value: {port} "), &format!("port_value: {} ", at.port()));
    }
    let bound = ["9902", "9903", "9904", "9999", "10000", "10001"];
    let any = bound.iter().fold(yaml, |yaml, port| yaml.replace(&format!("port_value: {port} "), "port_value: 0 "));
    Proxy::start(&any)
}

fn count(stats: &Snapshot, name: &str) -> u64 {
    stats.numbers.iter().find(|number| number.name == name).unwrap().value
}

fn connect(at: SocketAddr) -> TcpStream {
    let conn = TcpStream::connect(at).unwrap();
    conn.set_read_timeout(Some(STEP_MAX)).unwrap();
    conn
}

fn get(at: SocketAddr) -> String {
    let mut conn = connect(at);
    write!(conn, "GET / HTTP/1.1\r\nhost: {at}\r\nuser-agent: curl/8\r\naccept: */*\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    conn.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn two_samples_together_answer_a_request_through_a_tunnel() {
    let terminates = start(include_str!("../examples/terminate_http_in_http2_connect.yaml"), None);
    let encapsulates =
        start(include_str!("../examples/encapsulate_http_in_http2_connect.yaml"), Some((10001, terminates.at)));
    for _ in 0..3 {
        let response = get(encapsulates.at);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nHello, world!\n"), "{response}");
    }
    let (near, far) = (encapsulates.stop(), terminates.stop());
    assert_eq!(count(&near, "cluster.cluster_0.upstream_cx_total"), 1, "tunnels share a connection");
    assert_eq!(count(&far, "http.decap.downstream_rq_total"), 3);
}

#[test]
fn chained_tcp_proxies_pass_bytes_and_fin_through_an_internal_listener() {
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = app.local_addr().unwrap();
    let proxy = start(include_str!("../examples/internal_listener_proxy.yaml"), Some((10000, at)));
    let sent: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let expected = sent.clone();
    let echoes = thread::spawn(move || {
        let (mut conn, _) = app.accept().unwrap();
        conn.set_read_timeout(Some(STEP_MAX)).unwrap();
        let mut received = Vec::new();
        conn.read_to_end(&mut received).unwrap();
        conn.write_all(&received).unwrap();
    });
    let mut client = connect(proxy.at);
    let mut writer = client.try_clone().unwrap();
    let writes = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writes.join().unwrap();
    echoes.join().unwrap();
    assert!(received == expected, "{} bytes came back", received.len());
    let stats = proxy.stop();
    assert_eq!(count(&stats, "tcp.encap.downstream_cx_total"), 1);
}
