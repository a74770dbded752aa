//! The demonstration, over real sockets: what enters at the front arrives at the application and leaves a line at each
//! of the three hops.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use finwait::demo::{Demo, Ground, Ports};
use finwait::drain::{DrainControl, Stage, drain};
use finwait::net::tokio::{LogFiles, outside};
use finwait::net::{Address, Conn, ConnectOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_request_is_logged_at_each_hop() {
    let stand = Stand::start();
    let mut log = stand.websocket("/log").await;
    let answer =
        stand.ask("POST /hello HTTP/1.1\r\nhost: here\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\nPOST /hello HTTP/1.1\nhost: here\n"), "{answer}");
    assert!(answer.contains("\nx-request-id: ") && answer.ends_with("\n\nabc\n"), "{answer}");
    let lines = log.lines_about("/hello").await;
    assert!(lines["front"].contains(r#""POST /hello HTTP/1.1" 200 - 3 "#), "{lines:?}");
    assert!(lines["ingress"].contains(r#""POST /hello HTTP/2" 200 - 3 "#), "{lines:?}");
    assert!(lines["sidecar"].contains(r#""POST /hello HTTP/2" 200 - 3 "#), "{lines:?}");
}

#[tokio::test]
async fn messages_are_echoed_through_the_tunnel_and_its_end_is_logged_at_each_hop() {
    let stand = Stand::start();
    let mut log = stand.websocket("/log").await;
    let mut echo = stand.websocket("/echo").await;
    let (kind, greeting) = echo.receive().await;
    assert!(kind == TEXT && greeting.starts_with(b"connected through front, ingress and sidecar"));
    for (kind, payload) in [(TEXT, "hello".into()), (BINARY, vec![7; 60_000]), (TEXT, Vec::new())] {
        echo.send(kind, &payload).await;
        assert_eq!(echo.receive().await, (kind, payload));
    }
    drop(echo);
    let lines = log.lines_about("/echo").await;
    assert!(lines["front"].contains(r#""GET /echo HTTP/1.1" 101 DC "#), "{lines:?}");
    assert!(lines["ingress"].contains(r#""GET /echo HTTP/2" 101 DR "#), "{lines:?}");
    assert!(lines["sidecar"].contains(r#""GET /echo HTTP/2" 101 DR "#), "{lines:?}");
}

#[tokio::test]
async fn the_last_message_of_the_application_arrives_before_the_tunnel_ends() {
    let stand = Stand::start();
    let mut log = stand.websocket("/log").await;
    let mut echo = stand.websocket("/echo").await;
    echo.receive().await;
    let normal = 1000_u16.to_be_bytes().to_vec();
    echo.send(CLOSE, &normal).await;
    assert_eq!(echo.receive().await, (CLOSE, normal));
    // The application closed first (RFC 6455 7.1.1); each hop says so as Envoy does.
    let lines = log.lines_about("/echo").await;
    assert!(lines["front"].contains(r#""GET /echo HTTP/1.1" 101 UR "#), "{lines:?}");
    assert!(lines["ingress"].contains(r#""GET /echo HTTP/2" 101 UR "#), "{lines:?}");
    assert!(lines["sidecar"].contains(r#""GET /echo HTTP/2" 101 UC "#), "{lines:?}");
}

#[tokio::test]
async fn a_drain_closes_websockets_politely_and_ends_the_demonstration() {
    let mut stand = Stand::start();
    let mut echo = stand.websocket("/echo").await;
    echo.receive().await;
    stand.control.enter(Stage::Closed);
    let going_away = 1001_u16.to_be_bytes().to_vec();
    assert_eq!(echo.receive().await, (CLOSE, going_away.clone()));
    echo.send(CLOSE, &going_away).await;
    let demo = stand.demo.take().expect("the demonstration runs");
    within(joined(demo)).await;
}

#[tokio::test]
async fn the_page_is_whole_and_handshakes_are_checked() {
    let stand = Stand::start();
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
    let upgrade = "host: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    // request, status, what the answer holds
    let cases = [
        ("GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n".to_owned(), "200", "</html>"),
        (format!("GET /echo HTTP/1.1\r\n{upgrade}{key}origin: http://there\r\n\r\n"), "403", "server: "),
        (format!("GET /echo HTTP/1.1\r\n{upgrade}\r\n"), "426", "sec-websocket-version: 13"),
        (format!("GET /echo HTTP/1.1\r\n{upgrade}sec-websocket-version: 13\r\n\r\n"), "400", "server: "),
    ];
    for (request, status, part) in cases {
        let answer = stand.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{request}\n{answer}");
    }
}

#[tokio::test]
async fn a_visitor_breaks_the_ingress_and_mends_it() {
    let stand = Stand::start();
    let mut log = stand.websocket("/log").await;
    let put = |name: &str| {
        let length = name.len();
        format!("PUT /fault HTTP/1.1\r\nhost: here\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}")
    };
    let answer = stand.ask(&put("everything")).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("the-app-is-slow"), "{answer}");

    let answer = stand.ask(&put("the-ingress-forgets-allow-connect")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("its connection manager has no") && answer.contains("to change it"), "{answer}");
    // The change takes a moment.
    let handshake = "GET /echo HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    let status = async || {
        let mut conn = stand.connect().await;
        conn.write_all(handshake.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        within(conn.read_exact(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let until = async |wanted: &str| {
        while status().await != wanted {
            tokio::task::yield_now().await;
        }
    };
    within(until("HTTP/1.1 503")).await;
    let lines = log.line_of("front", "503 UC").await;
    assert!(lines.contains("GET /echo HTTP/1.1"), "{lines}");

    assert!(stand.ask(&put("none")).await.contains("everything is as it was"));
    within(until("HTTP/1.1 101")).await;
}

/// A demonstration and what ends it.
struct Stand {
    demo: Option<Demo>,
    front: SocketAddr,
    control: Arc<DrainControl>,
    logs: Arc<LogFiles>,
}

impl Stand {
    fn start() -> Self {
        let logs = LogFiles::new();
        let (control, drain) = drain();
        let control = Arc::new(control);
        let ground = Ground { logs: &logs, control: &control, drain: &drain };
        let demo = Demo::start(Ports::Free, 1, &ground).unwrap();
        assert!(demo.welcome().contains(&format!("curl -i http://{}/hello", demo.front)), "{}", demo.welcome());
        Self { front: demo.front, demo: Some(demo), control, logs }
    }

    async fn connect(&self) -> Conn {
        let net = outside(&self.logs).net;
        within(net.connect(&Address::Socket(self.front), &ConnectOptions::default())).await.unwrap()
    }

    /// Sends `request` on a connection of its own and reads until that ends.
    async fn ask(&self, request: &str) -> String {
        let mut conn = self.connect().await;
        conn.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(conn.read_to_string(&mut answer)).await.unwrap();
        answer
    }

    /// Opens a WebSocket.
    async fn websocket(&self, path: &str) -> WebSocket {
        let mut conn = self.connect().await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: here\r\norigin: http://here\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        conn.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(conn.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}"); // RFC 6455 1.3
        WebSocket(conn)
    }
}

/// The client's end of a WebSocket.
struct WebSocket(Conn);

impl WebSocket {
    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length @ ..126) => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        within(self.0.write_all(&frame)).await.unwrap();
    }

    /// The next frame: its first byte and its payload.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        within(async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => self.0.read_u16().await.unwrap().into(),
                length => length.into(),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (first, payload)
        })
        .await
    }

    /// The line of each hop about requests for `path`, from a WebSocket to the log.
    async fn lines_about(&mut self, path: &str) -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        while lines.len() < 3 {
            let (kind, payload) = self.receive().await;
            assert_eq!(kind, TEXT);
            let told: BTreeMap<String, String> = serde_json::from_slice(&payload).unwrap();
            if told["line"].contains(path) {
                lines.insert(told["hop"].clone(), told["line"].clone());
            }
        }
        lines
    }

    /// The next line of this hop with these words.
    async fn line_of(&mut self, hop: &str, words: &str) -> String {
        loop {
            let (kind, payload) = self.receive().await;
            assert_eq!(kind, TEXT);
            let told: BTreeMap<String, String> = serde_json::from_slice(&payload).unwrap();
            if told["hop"] == hop && told["line"].contains(words) {
                return told["line"].clone();
            }
        }
    }
}

/// Waits for a demonstration on a thread, so that a test notices when it does not end.
async fn joined(demo: Demo) {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        demo.join();
        ended.send(()).unwrap();
    });
    end.await.unwrap();
}

async fn within<T>(step: impl Future<Output = T>) -> T {
    tokio::time::timeout(STEP_MAX, step).await.expect("every step ends")
}
