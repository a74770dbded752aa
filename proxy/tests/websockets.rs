//! WebSockets through the three hops of `examples/` on real sockets: HTTP/1 to the front, HTTP/2 to the ingress and the sidecar,
//! HTTP/1 to the app. What libraries of their own send arrives as it was sent, and so does what no library would send.
//!
//! PYTHON names a Python with the library websockets, `python3` if it is not set. Without that library the test says so and passes.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]
#![expect(clippy::disallowed_types, reason = "clients and apps are not the proxy")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/websocket.rs"]
mod websocket;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use proxy::Proxy;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, WebSocket};
use websocket::{app, handshake, on_free_ports};

const LARGEST: usize = 16 * 1024 * 1024;

/// The three hops in front of an app.
struct Hops {
    front: Proxy,
    ingress: Proxy,
    sidecar: Proxy,
}

impl Hops {
    fn start(app: SocketAddr) -> Self {
        let sidecar = hop(include_str!("../examples/sidecar.yaml"), app);
        let ingress = hop(include_str!("../examples/ingress.yaml"), sidecar.at);
        let front = hop(include_str!("../examples/front.yaml"), ingress.at);
        Self { front, ingress, sidecar }
    }

    fn stop(self) {
        for hop in [self.front, self.ingress, self.sidecar] {
            hop.stop();
        }
    }
}

/// A hop that leads to `next`.
fn hop(yaml: &str, next: SocketAddr) -> Proxy {
    Proxy::start(&on_free_ports(yaml, Some(next)))
}

#[test]
fn messages_pings_and_close_codes_of_a_library_arrive_through_three_hops() {
    let config = WebSocketConfig::default().max_message_size(Some(2 * LARGEST)).max_frame_size(Some(2 * LARGEST));
    let (at, task) = app(move |conn| {
        let mut socket = WebSocket::from_raw_socket(conn, Role::Server, Some(config));
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).unwrap(),
                Ok(_) => {} // pings and closes are answered by the library
                Err(_closed) => return,
            }
        }
    });
    let hops = Hops::start(at);
    let mut socket = WebSocket::from_raw_socket(handshake(hops.front.at), Role::Client, Some(config));
    for message in ["", "hello", "κόσμε \u{10ffff}"] {
        socket.send(Message::text(message)).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(message));
    }
    for length in [1, 125, 126, 65_535, 65_536, LARGEST] {
        let message = Message::binary((0..=250).cycle().take(length).collect::<Vec<u8>>());
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "{length} bytes came back otherwise");
    }
    socket.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    let close = CloseFrame { code: CloseCode::Library(4321), reason: "bye".into() };
    socket.close(Some(close.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
    while socket.read().is_ok() {}
    task.join().unwrap();
    hops.stop();
}

#[test]
fn messages_of_a_client_and_an_app_in_python_arrive_through_three_hops() {
    let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/peers.py");
    let started = Command::new(&python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut peers) = started else {
        eprintln!("skipped: there is no {}", python.display());
        return;
    };
    let mut first = String::new();
    BufReader::new(peers.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let Ok(port) = first.trim().parse::<u16>() else {
        assert_eq!(first, "no websockets\n", "{} ends otherwise", python.display());
        eprintln!("skipped: {} has no library websockets", python.display());
        assert!(peers.wait().unwrap().success());
        return;
    };
    let hops = Hops::start(([127, 0, 0, 1], port).into());
    writeln!(peers.stdin.take().unwrap(), "{}", hops.front.at.port()).unwrap();
    assert!(peers.wait().unwrap().success(), "something arrived otherwise than it was sent");
    hops.stop();
}

#[test]
fn frames_that_no_library_sends_arrive_unchanged_through_three_hops() {
    // Masked with zeros, so that the payload can be read: a text in fragments with a ping between them, invalid UTF-8, an opcode that is
    // reserved, reserved bits, a ping with too long a payload, close codes that none may send, and bytes behind the close.
    let frames: Vec<&[u8]> = vec![
        b"\x01\x83\0\0\0\0hel",
        b"\x89\x82\0\0\0\0hm",
        b"\x00\x81\0\0\0\0l",
        b"\x80\x81\0\0\0\0o",
        b"\x81\x82\0\0\0\0\xc3\x28",
        b"\x8b\x80\0\0\0\0",
        b"\xf1\x80\0\0\0\0",
        b"\x89\xfe\x00\x7e\0\0\0\0",
        &[b'p'; 126],
        b"\x88\x82\0\0\0\0\x03\xed",
        b"\x88\x81\0\0\0\0\x03",
        b"behind the close",
    ];
    let sent = frames.concat();
    let count = sent.len();
    let (at, task) = app(move |mut conn| {
        let mut received = vec![0; count];
        conn.read_exact(&mut received).unwrap();
        conn.write_all(&received).unwrap();
        let _ended = conn.read(&mut [0; 1]);
    });
    let hops = Hops::start(at);
    let mut conn = handshake(hops.front.at);
    for frame in frames {
        conn.write_all(frame).unwrap();
    }
    let mut received = vec![0; count];
    conn.read_exact(&mut received).unwrap();
    assert_eq!(received, sent);
    drop(conn);
    task.join().unwrap();
    hops.stop();
}
