//! The application behind the three hops: a page, an echo of requests, an echo of WebSocket messages, and the
//! access log as it is written.
//!
//! It stands on the proxy's own HTTP/1 codec and speaks nothing else.

use std::cell::Cell;
use std::fmt::Write;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use super::faults::{Fault, IDLE_BROKEN, RESPONSE_BROKEN};
use super::feed::{Feed, Line};
use super::websocket::{self, FrameKind, GOING_AWAY, Message, Socket};
use crate::codec::http1::{Close, HeadError, Incoming, Methods, NameRules, ServerConnection, ServerOptions};
use crate::codec::{ExchangeError, Frame, Payload, RequestHead, ResponseHead};
use crate::config::header_names::TrailerRule;
use crate::drain::{Drain, Stage};
use crate::net::Conn;
use crate::net::accept::Acceptor;

const PAGE: &str = include_str!("page.html");
/// The page brings all it needs; whatever else a browser may be talked into loading is not from here.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:";
/// The first message on a WebSocket, so that one who cannot write frames by hand sees some come.
const GREETING: &str = "connected through front, ingress and sidecar; what you send comes back";

/// Connections at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 256;
const OPTIONS: ServerOptions = ServerOptions {
    head_bytes_max: 64 * 1024,
    headers_max: 128,
    accept_http_10: true,
    methods: Methods::Known,
    trailers: TrailerRule::Dropped,
    names: NameRules::PLAIN,
    write_buffer_bytes_max: 256 * 1024,
};
/// What an echo repeats of a request's body. Bytes.
const ECHO_BYTES_MAX: usize = 16 * 1024;
/// An idle connection is closed after this: later than the sidecar does, which closes after 4 s, so that no
/// request meets a connection that is going away.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// From the first byte of a request to its last, and how long its response may take to leave.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// What is to be broken when nothing is.
const NO_FAULT: &str = "none";
/// A silent WebSocket is kept from the hops' idle timeouts, the shortest of which is 300 s.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Serves until `stop` is reached; closes WebSockets with 1001 when `drain` begins.
pub(super) async fn serve(mut acceptor: Acceptor, app: App, stop: Drain) {
    let app = Rc::new(app);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The end first: the hops in front are gone by then.
            biased;
            () = stop.reached(Stage::Draining) => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            conn = acceptor.next(), if connections.len() < CONNECTIONS_MAX => {
                drop(connections.spawn_local(Rc::clone(&app).serve_connection(conn)));
            }
        }
    }
}

/// What its connections have in common.
pub(super) struct App {
    feed: Feed,
    drain: Drain,
    fault: Cell<Option<Fault>>,
    /// Who changes the ingress.
    operator: mpsc::Sender<Option<Fault>>,
}

/// May the connection be used again?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    Close,
    KeepAlive,
}

/// What a WebSocket is for.
enum Purpose {
    /// Messages come back.
    Echo,
    /// Access-log lines, as JSON.
    Log(Receiver<Line>),
}

impl App {
    pub(super) fn new(feed: Feed, drain: Drain, operator: mpsc::Sender<Option<Fault>>) -> Self {
        Self { feed, drain, fault: Cell::new(None), operator }
    }

    async fn serve_connection(self: Rc<Self>, conn: Conn) {
        let mut connection = ServerConnection::new(conn, BytesMut::new(), OPTIONS);
        let mut idle_since: Option<Instant> = None;
        while let Ok(Ok(true)) = timeout(IDLE_MAX, connection.wait()).await {
            // An app whose timer has gone off closes what it has not read: the request is lost.
            let is_idle = idle_since.is_some_and(|since| since.elapsed() >= IDLE_BROKEN);
            if is_idle && self.fault.get() == Some(Fault::AppClosesIdleConnections) {
                return;
            }
            let (head, incoming) = match timeout(REQUEST_MAX, connection.read_head()).await {
                Ok(Ok(request)) => request,
                Ok(Err(HeadError::Refused(why))) => {
                    let reply = Reply::text(why.status(), why.body().to_owned());
                    if send(&mut connection, &Method::GET, reply).await.is_err() {
                        return;
                    }
                    break;
                }
                Ok(Err(HeadError::Lost(_))) | Err(_) => return,
            };
            if websocket::is_requested(&head) {
                self.serve_websocket(&mut connection, &head, incoming).await;
                break;
            }
            let responded = timeout(REQUEST_MAX, self.respond(&mut connection, &head, incoming)).await;
            idle_since = Some(Instant::now());
            match responded {
                Ok(Ok(After::KeepAlive)) if connection.is_reusable() => {}
                Ok(Ok(After::KeepAlive | After::Close)) => break,
                Ok(Err(_)) | Err(_) => return,
            }
        }
        drop(timeout(REQUEST_MAX, connection.close(Close::Flush)).await); // dropped, it is cut
    }

    async fn respond(
        &self,
        connection: &mut ServerConnection,
        head: &RequestHead,
        mut incoming: Incoming,
    ) -> Result<After, ExchangeError> {
        if head.headers.has_token(&EXPECT, "100-continue") {
            connection.send_continue();
        }
        let body = read_body(&mut incoming).await?;
        let reply = match (head.path_only(), &head.method) {
            (b"/", &Method::GET | &Method::HEAD) => Reply::page(),
            (b"/fault", &Method::PUT) => self.change(&body),
            _ => {
                if self.fault.get() == Some(Fault::AppIsSlow) {
                    sleep(RESPONSE_BROKEN).await;
                }
                Reply::text(StatusCode::OK, echo(head, &body))
            }
        };
        send(connection, &head.method, reply).await?;
        let is_last = head.headers.has_token(&CONNECTION, "close") || head.version < Version::HTTP_11;
        Ok(if is_last { After::Close } else { After::KeepAlive })
    }

    /// Breaks what the body names, or mends everything.
    fn change(&self, body: &EchoedBody) -> Reply {
        let name = String::from_utf8_lossy(&body.start);
        let fault = Fault::of_name(&name);
        if fault.is_none() && name != NO_FAULT {
            let names = Fault::ALL.map(Fault::name).join(", ");
            return Reply::text(StatusCode::BAD_REQUEST, format!("no such fault: write {NO_FAULT}, {names}\n"));
        }
        if self.operator.try_send(fault).is_err() {
            return Reply::text(StatusCode::SERVICE_UNAVAILABLE, "the last change is still under way\n".into());
        }
        self.fault.set(fault);
        Reply::text(StatusCode::OK, fault.map_or_else(|| "everything is as it was\n".into(), Fault::explanation))
    }

    async fn serve_websocket(&self, connection: &mut ServerConnection, head: &RequestHead, incoming: Incoming) {
        let purpose = match head.path_only() {
            b"/log" => Purpose::Log(self.feed.watch()),
            _ => Purpose::Echo,
        };
        let response = websocket::handshake(head);
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            drop(connection.respond(&response, Payload::None, &head.method));
            return;
        }
        let outgoing = connection.respond(&response, Payload::Raw, &head.method);
        self.converse(Socket::new(incoming, outgoing), purpose).await;
    }

    /// Serves a WebSocket to its end.
    async fn converse(&self, mut socket: Socket, mut purpose: Purpose) {
        let drain = self.drain.clone();
        let mut pings = interval(PING_INTERVAL);
        pings.reset(); // the first is due after the interval, not at once
        let mut sent = match purpose {
            Purpose::Echo => socket.send(FrameKind::Text, GREETING.as_bytes()).await,
            Purpose::Log(_) => socket.flush().await,
        };
        while sent.is_ok() {
            sent = tokio::select! {
                // The peer first: a close frame that has come is replied to before anything else is sent.
                biased;
                received = socket.next() => match received {
                    Ok(Some(Message { kind: FrameKind::Close, payload })) => return socket.reply_to_close(&payload).await,
                    Ok(Some(message)) => react(&mut socket, &purpose, message).await,
                    Ok(None) => return,
                    Err(violation) => return socket.close(violation.code()).await,
                },
                () = drain.reached(Stage::Draining) => return socket.close(GOING_AWAY).await,
                line = next_line(&mut purpose) => socket.send(FrameKind::Text, line.as_bytes()).await,
                _ = pings.tick() => socket.send(FrameKind::Ping, b"").await,
            };
        }
    }
}

async fn react(socket: &mut Socket, purpose: &Purpose, message: Message) -> Result<(), ExchangeError> {
    match (message.kind, purpose) {
        (FrameKind::Ping, _) => socket.send(FrameKind::Pong, &message.payload).await,
        (kind @ (FrameKind::Binary | FrameKind::Text), Purpose::Echo) => socket.send(kind, &message.payload).await,
        // The log does not listen.
        (FrameKind::Binary | FrameKind::Text, Purpose::Log(_)) | (FrameKind::Close | FrameKind::Pong, _) => Ok(()),
    }
}

/// The next line for a watcher of the log.
///
/// # Cancellation
/// Safe to drop: a line that was not returned comes again.
async fn next_line(purpose: &mut Purpose) -> String {
    let Purpose::Log(lines) = purpose else { return pending().await };
    match lines.recv().await {
        Ok(line) => serde_json::json!(line).to_string(),
        Err(RecvError::Lagged(count)) => serde_json::json!({ "missed": count }).to_string(),
        Err(RecvError::Closed) => pending().await, // the feed lives as long as the app
    }
}

/// A request's body as far as an echo repeats it.
struct EchoedBody {
    start: BytesMut,
    bytes: u64,
}

async fn read_body(incoming: &mut Incoming) -> Result<EchoedBody, ExchangeError> {
    let mut body = EchoedBody { start: BytesMut::new(), bytes: 0 };
    while let Some(frame) = poll_fn(|cx| incoming.poll_frame(cx)).await {
        let Frame::Data(data) = frame? else { continue };
        let room = ECHO_BYTES_MAX.saturating_sub(body.start.len()).min(data.len());
        body.start.extend_from_slice(data.get(..room).unwrap_or_default());
        body.bytes = body.bytes.saturating_add(data.len() as u64);
    }
    Ok(body)
}

/// A request as the application saw it, as text.
fn echo(head: &RequestHead, body: &EchoedBody) -> String {
    let text = |value: Option<&HeaderValue>| {
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    };
    let mut out = format!("{} {} {:?}\n", head.method, text(head.path.as_ref()), head.version);
    let mut line = |name: &str, value: String| {
        writeln!(out, "{name}: {value}").expect("a String grows as needed");
    };
    line("host", text(head.authority.as_ref()));
    for (name, value) in head.headers.iter() {
        line(name.as_str(), text(Some(value)));
    }
    if body.bytes > 0 {
        out.push('\n');
        out.push_str(&String::from_utf8_lossy(&body.start));
        out.push('\n');
    }
    if body.bytes > body.start.len() as u64 {
        writeln!(out, "({} bytes in all)", body.bytes).expect("a String grows as needed");
    }
    out
}

/// A response with a body.
struct Reply {
    head: ResponseHead,
    body: Bytes,
}

impl Reply {
    fn page() -> Self {
        let mut reply = Self::new(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()));
        reply.head.headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        reply
    }

    fn text(status: StatusCode, text: String) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    fn new(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        let mut head = ResponseHead::new(status);
        head.headers.append(CONTENT_TYPE, HeaderValue::from_static(content_type));
        head.headers.append(CONTENT_LENGTH, HeaderValue::from(body.len()));
        head.headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { head, body }
    }
}

async fn send(connection: &mut ServerConnection, method: &Method, reply: Reply) -> Result<(), ExchangeError> {
    let mut outgoing = connection.respond(&reply.head, Payload::Some, method);
    outgoing.write(reply.body); // dropped for HEAD
    outgoing.finish(None);
    poll_fn(|cx| outgoing.poll_flush(cx)).await
}
