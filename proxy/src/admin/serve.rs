//! The admin interface on the wire: plain HTTP/1, on one worker.
//!
//! Probes come first: what other clients do costs them neither a place nor much time. Connections that do nothing make
//! room ([`super::seats`]), large responses are made one at a time with pauses for other work, and every step of a
//! client has a time limit.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::seats::{Doing, Seat, Seats};
use super::traffic::Traffic;
use super::{AdminResponse, AdminState, Then, is_large, respond};
use crate::codec::http1::{Close, HeadError, Incoming, Methods, NameRules, ServerConnection, ServerOptions};
use crate::codec::{ExchangeError, Frame, Payload, RequestHead, Writer};
use crate::config::header_names::TrailerRule;
use crate::drain::{Drain, DrainControl, Stage};
use crate::net::accept::Acceptor;
use crate::net::{Conn, Logs};
use crate::stats::ServerState;

/// Largest request head. Bytes.
const HEAD_BYTES_MAX: usize = 60 * 1024; // Envoy's default of max_request_headers_kb
/// Most header fields.
const HEADERS_MAX: usize = 100;
/// Largest form, which is kept. Bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Largest body; it is read and dropped unless it is a form. Bytes.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a request may take to arrive, head and body.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request. Scrapers come every minute or more often.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// A response is written in pieces of this size. Bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take for one piece, so that a stalled one is told from a slow one.
const PIECE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a client may take for a response.
const RESPONSE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long what a client sends is read and dropped after the last response.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
/// Histograms show what happened since the last look, or since the one before if that was sooner than this.
const INTERVAL_MIN: Duration = Duration::from_secs(5); // Envoy's stats_flush_interval

/// Serves operators until the server has stopped.
pub async fn serve(
    mut acceptor: Acceptor,
    state: AdminState,
    control: Arc<DrainControl>,
    logs: Rc<dyn Logs>,
    drain: Drain,
) {
    let admin = Rc::new(Admin {
        traffic: Rc::new(Traffic::new(&state.registry)),
        state,
        interval: Cell::new(Instant::now()),
        control,
        logs,
        rendering: Arc::new(Semaphore::new(1)),
        seats: Rc::default(),
    });
    let mut connections = JoinSet::new();
    loop {
        // A probe is a connection too, and has to get in when clients of the listeners have taken all descriptors. After each
        // connection that has ended, before a listener takes what it gave back.
        acceptor.keep_spare();
        let mut relieve = || admin.seats.make_room();
        tokio::select! {
            // The end first: no worker is left to report on.
            biased;
            () = drain.reached(Stage::Stopped) => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            conn = acceptor.next_with(&mut relieve) => {
                admin.admit(conn, &mut connections);
                // A connection with a request is served before more connections are taken in.
                tokio::task::yield_now().await;
            }
        }
    }
}

struct Admin {
    state: AdminState,
    traffic: Rc<Traffic>,
    /// When the current interval of the histograms began.
    interval: Cell<Instant>,
    control: Arc<DrainControl>,
    logs: Rc<dyn Logs>,
    /// Held while a large response is made, and for as long again.
    rendering: Arc<Semaphore>,
    seats: Rc<Seats>,
}

/// A request that is to get a response.
struct AdminRequest {
    method: Method,
    /// Path and query; the parameters of a form stand in the query.
    target: String,
    closes: bool,
}

/// Why there is no request.
#[derive(Debug)]
enum NoRequest {
    /// The client is gone.
    Gone,
    /// It sent something else, or too much, or too slowly.
    Refused(StatusCode, &'static str),
}

impl From<ExchangeError> for NoRequest {
    fn from(_: ExchangeError) -> Self {
        Self::Gone
    }
}

impl From<HeadError> for NoRequest {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Lost(_) => Self::Gone,
            HeadError::Refused(why) => Self::Refused(why.status(), why.body()),
        }
    }
}

impl Admin {
    fn admit(self: &Rc<Self>, conn: Conn, connections: &mut JoinSet<()>) {
        let seat = self.seats.take(conn.peer.ip());
        let number = seat.number();
        let task = connections.spawn_local(Rc::clone(self).serve_connection(conn, seat));
        self.seats.serves(number, task);
    }

    async fn serve_connection(self: Rc<Self>, mut conn: Conn, seat: Seat) {
        let connected = self.traffic.connect(&mut conn);
        let options = ServerOptions {
            head_bytes_max: HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            accept_http_10: true,
            methods: Methods::Known,
            trailers: TrailerRule::Dropped,
            names: NameRules::PLAIN,
            write_buffer_bytes_max: PIECE_BYTES_MAX,
        };
        let mut connection = ServerConnection::new(conn, BytesMut::new(), options);
        while let Ok(Ok(true)) = timeout(IDLE_TIME_MAX, connection.wait()).await {
            seat.does(Doing::Reading);
            let requested = self.traffic.begin();
            let too_slow = NoRequest::Refused(StatusCode::REQUEST_TIMEOUT, "Request Timeout");
            let read = timeout(REQUEST_TIME_MAX, read_request(&mut connection)).await;
            let handled = match read.unwrap_or(Err(too_slow)) {
                Ok(admin_request) => self.respond(&mut connection, &seat, admin_request).await,
                Err(NoRequest::Gone) => return,
                Err(NoRequest::Refused(status, body)) => {
                    let mut response = AdminResponse::refused(status, body);
                    let sent = send(&mut connection, &seat, &Method::GET, true, &mut response).await;
                    sent.map(|()| (status, true))
                }
            };
            if let Ok((status, _)) = &handled {
                self.traffic.end(&requested, *status);
            }
            drop(requested);
            match handled {
                Ok((_, false)) if connection.is_reusable() => seat.does(Doing::Idle),
                Ok(_) => break,
                Err(_) => return,
            }
            tokio::task::yield_now().await; // other clients come before the next request of this one
        }
        seat.does(Doing::Idle);
        connected.is_closed_here();
        drop(timeout(DISCARD_TIME_MAX, connection.close(Close::FinThenDiscard)).await); // closed in either case
    }

    /// Serves one request: with this status, and does the connection close with it?
    async fn respond(
        &self,
        connection: &mut ServerConnection,
        seat: &Seat,
        admin_request: AdminRequest,
    ) -> Result<(StatusCode, bool), ExchangeError> {
        seat.does(Doing::Rendering);
        let mut response = self.render(&admin_request).await;
        let status = response.head().status;
        send(connection, seat, &admin_request.method, admin_request.closes, &mut response).await?;
        self.act(response.then);
        Ok((status, admin_request.closes))
    }

    /// Large responses are made one at a time, and after each as long a pause is made: half of the worker's time is left
    /// for requests and probes, however many clients ask.
    async fn render(&self, admin_request: &AdminRequest) -> AdminResponse {
        if !is_large(&admin_request.target) {
            return respond(&admin_request.method, &admin_request.target, &self.state);
        }
        let turn = Arc::clone(&self.rendering).acquire_owned().await.ok(); // the semaphore is never closed
        let begun = Instant::now();
        let response = respond(&admin_request.method, &admin_request.target, &self.state);
        self.end_interval();
        let took = begun.elapsed();
        if !took.is_zero() {
            drop(tokio::task::spawn_local(async move {
                tokio::time::sleep(took).await;
                drop(turn);
            }));
        }
        response
    }

    /// Ends the histograms' interval if it is old enough. Envoy does so on a timer; here it is enough to do it
    /// after a request, and an idle process has no timer that wakes it.
    fn end_interval(&self) {
        if self.interval.get().elapsed() >= INTERVAL_MIN {
            self.interval.set(Instant::now());
            self.state.registry.end_interval();
        }
    }

    fn act(&self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::CloseListeners { scope, gracefully } => {
                tracing::info!(?scope, gracefully, "an operator has listeners drained");
                self.control.close_listeners(scope, gracefully);
            }
            Then::Health { is_unwell } => {
                tracing::info!(fails = is_unwell, "an operator sets the health of this process");
                self.control.set_unwell(is_unwell);
                // A process that drains anyway goes on draining.
                if self.control.is_running() {
                    self.state.server.enter(if is_unwell { ServerState::Draining } else { ServerState::Live });
                }
            }
            Then::Quit => self.control.enter(Stage::Draining),
            Then::ReopenLogs => self.logs.reopen(),
        }
    }
}

/// Reads a request to its end. Of its body only a form is kept.
async fn read_request(connection: &mut ServerConnection) -> Result<AdminRequest, NoRequest> {
    let (head, mut body) = connection.read_head().await?;
    let Some(target) = head.path.as_ref().and_then(|path| path.to_str().ok()) else {
        return Err(NoRequest::Refused(StatusCode::BAD_REQUEST, "Bad Request"));
    };
    if !body.is_complete() && head.headers.has_token(&EXPECT, "100-continue") {
        connection.send_continue();
    }
    let form = read_body(&mut body, is_form(&head)).await?;
    let has_query = target.contains('?');
    let query = if form.is_empty() || has_query { String::new() } else { format!("?{form}") };
    // The codec has taken an absolute URI (RFC 9112 3.2.2) apart; this is what stood in the request line.
    let part = |value: &Option<HeaderValue>| {
        value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    };
    let origin = match &head.scheme {
        Some(_) => format!("{}://{}", part(&head.scheme), part(&head.authority)),
        None => String::new(),
    };
    let target = format!("{origin}{target}{query}");
    let closes = head.headers.has_token(&CONNECTION, "close") || head.version < Version::HTTP_11;
    Ok(AdminRequest { method: head.method, target, closes })
}

/// What the page's buttons send, and `curl --data`.
fn is_form(head: &RequestHead) -> bool {
    let content_type = head.headers.get(&CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

async fn read_body(body: &mut Incoming, is_form: bool) -> Result<String, NoRequest> {
    let too_large = || NoRequest::Refused(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large");
    let mut form = Vec::new();
    let mut read = 0;
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        let Frame::Data(data) = frame.map_err(|broken| match broken {
            ExchangeError::Malformed(_) | ExchangeError::OverLimit(_) => {
                NoRequest::Refused(StatusCode::BAD_REQUEST, "Bad Request")
            }
            ExchangeError::Closed | ExchangeError::ConnectionReset | ExchangeError::StreamReset(_) => NoRequest::Gone,
        })?
        else {
            continue;
        };
        read += data.len();
        if is_form {
            form.extend_from_slice(&data);
        }
        if read > BODY_BYTES_MAX || form.len() > FORM_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(String::from_utf8_lossy(&form).into_owned())
}

/// Sends a response, piece by piece.
async fn send(
    connection: &mut ServerConnection,
    seat: &Seat,
    to: &Method,
    closes: bool,
    response: &mut AdminResponse,
) -> Result<(), ExchangeError> {
    let mut head = response.head();
    head.headers.append(CONTENT_LENGTH, HeaderValue::from(response.body.len()));
    if closes {
        head.headers.append(CONNECTION, HeaderValue::from_static("close"));
    }
    let body = std::mem::take(&mut response.body);
    seat.does(Doing::Writing);
    seat.holds(body.capacity());
    let mut body = if *to == Method::HEAD { Bytes::new() } else { Bytes::from(body) };
    let mut writer = Writer::Http1(connection.respond(&head, Payload::Some, to));
    let pieces = async {
        while body.len() > PIECE_BYTES_MAX {
            writer.write(body.split_to(PIECE_BYTES_MAX));
            in_time(PIECE_TIME_MAX, poll_fn(|cx| writer.poll_flush(cx))).await?;
            seat.does(Doing::Writing); // it has got further
        }
        writer.write(body);
        writer.finish(None);
        in_time(PIECE_TIME_MAX, poll_fn(|cx| writer.poll_flush(cx))).await
    };
    in_time(RESPONSE_TIME_MAX, pieces).await?;
    seat.holds(0);
    Ok(())
}

/// A client that takes nothing for too long is taken for gone.
async fn in_time(limit: Duration, sent: impl Future<Output = Result<(), ExchangeError>>) -> Result<(), ExchangeError> {
    timeout(limit, sent).await.unwrap_or(Err(ExchangeError::Closed))
}
