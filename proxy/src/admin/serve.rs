//! The admin interface on the wire: plain HTTP/1, on one worker.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{AdminResponse, AdminState, TEXT, Then, respond};
use crate::codec::http1::{Close, HeadError, Methods, ServerConnection, ServerOptions};
use crate::codec::{Broken, Payload, Writer};
use crate::drain::{Drain, DrainControl, Stage};
use crate::net::Conn;
use crate::net::accept::Acceptor;
use crate::stats::ServerState;

/// Operators ask one at a time; more connections than this wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// Largest request head. Bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header fields.
const HEADERS_MAX: usize = 100;
/// Histograms show what happened since the last look, or since the one before if that was sooner than this.
const INTERVAL_MIN: Duration = Duration::from_secs(5); // Envoy's stats_flush_interval
/// A response waits in memory in any case; this only bounds what is queued beyond it. Bytes.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// Answers operators until the server has stopped.
pub async fn serve(mut acceptor: Acceptor, state: AdminState, control: Arc<DrainControl>, drain: Drain) {
    let admin = Rc::new(Admin { state, interval: Cell::new(Instant::now()), control });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The end first: nobody is left to ask about.
            biased;
            () = drain.reached(Stage::Stopped) => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            conn = acceptor.next(), if connections.len() < CONNECTIONS_MAX => {
                drop(connections.spawn_local(Rc::clone(&admin).serve_connection(conn)));
            }
        }
    }
}

struct Admin {
    state: AdminState,
    /// When the current interval of the histograms began.
    interval: Cell<Instant>,
    control: Arc<DrainControl>,
}

impl Admin {
    async fn serve_connection(self: Rc<Self>, conn: Conn) {
        let options = ServerOptions {
            head_bytes_max: HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            accept_http_10: true,
            methods: Methods::Known,
            write_buffer_bytes_max: WRITE_BUFFER_BYTES_MAX,
        };
        let mut connection = ServerConnection::new(conn, BytesMut::new(), options);
        while let Ok(true) = connection.wait().await {
            let (method, closes, reply) = match connection.read_head().await {
                Ok((head, _body)) => {
                    let closes = head.headers.has_token(&CONNECTION, "close") || head.version < Version::HTTP_11;
                    let path = head.path.as_ref().map_or("/", |path| path.to_str().unwrap_or("/"));
                    let reply = respond(&head.method, path, &self.state);
                    self.end_interval();
                    (head.method, closes, reply)
                }
                Err(HeadError::Refused(why)) => (Method::GET, true, refusal(why.status(), why.body())),
                Err(HeadError::Broken(_)) => return,
            };
            if send(&mut connection, &method, &reply).await.is_err() {
                return;
            }
            self.act(reply.then);
            if closes || !connection.is_reusable() {
                break;
            }
        }
        connection.close(Close::Flush).await;
    }

    /// Ends the histograms' interval if it is old enough. Envoy does so on a timer; here it is enough to do it
    /// after somebody has looked, and an idle process has no timer that wakes it.
    fn end_interval(&self) {
        if self.interval.get().elapsed() >= INTERVAL_MIN {
            self.interval.set(Instant::now());
            self.state.registry.end_interval();
        }
    }

    fn act(&self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::CloseListeners { scope, gracefully } => self.control.close_listeners(scope, gracefully),
            Then::Health { is_unwell } => {
                self.control.set_unwell(is_unwell);
                // A process that drains anyway goes on draining.
                if self.control.is_running() {
                    self.state.server.enter(if is_unwell { ServerState::Draining } else { ServerState::Live });
                }
            }
            Then::Quit => self.control.enter(Stage::Draining),
        }
    }
}

fn refusal(status: StatusCode, body: &str) -> AdminResponse {
    AdminResponse { status, content_type: TEXT, body: body.to_owned(), then: Then::Nothing }
}

async fn send(connection: &mut ServerConnection, method: &Method, reply: &AdminResponse) -> Result<(), Broken> {
    let mut head = reply.head();
    head.headers.append(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    let mut writer = Writer::Http1(connection.respond(&head, Payload::Some, method));
    if *method != Method::HEAD {
        writer.write(Bytes::copy_from_slice(reply.body.as_bytes()));
    }
    writer.finish(None);
    std::future::poll_fn(|cx| writer.poll_flush(cx)).await
}
