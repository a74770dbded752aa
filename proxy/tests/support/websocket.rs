//! The two ends of a WebSocket that crosses the hops of `examples/`, and those files on ports of this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// No step takes longer, on however busy a machine.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(60);

/// A configuration that listens where there is room. The last address of it is that of its endpoint, if it has `next`.
pub(crate) fn on_free_ports(yaml: &str, next: Option<SocketAddr>) -> String {
    let count = yaml.matches("port_value: ").count();
    let mut bound = String::new();
    for (nth, part) in yaml.split("port_value: ").enumerate() {
        let port = next.filter(|_| nth == count).map_or(0, |next| next.port());
        match nth {
            0 => bound += part,
            _ => bound += &format!("port_value: {port} {}", part.split_once(' ').unwrap().1),
        }
    }
    bound
}

/// Requests a WebSocket; the connection once it is one.
pub(crate) fn handshake(at: SocketAddr) -> TcpStream {
    let mut conn = TcpStream::connect(at).unwrap();
    conn.set_read_timeout(Some(STEP_MAX)).unwrap();
    conn.write_all(
        b"GET /chat HTTP/1.1\r\nhost: chat.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .unwrap();
    let head = read_head(&mut conn);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    conn
}

fn read_head(conn: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        conn.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    String::from_utf8(head).unwrap()
}

/// An app that accepts one WebSocket and goes on with `serve`.
pub(crate) fn app(serve: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let task = thread::spawn(move || {
        let (mut conn, _) = listener.accept().unwrap();
        conn.set_read_timeout(Some(STEP_MAX)).unwrap();
        let head = read_head(&mut conn).to_ascii_lowercase();
        assert!(head.starts_with("get /chat http/1.1\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"), "{head}");
        conn.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .unwrap();
        serve(conn);
    });
    (at, task)
}
