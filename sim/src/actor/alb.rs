//! A load balancer in front of the proxy, as Amazon's ALB is: it takes requests from clients, passes each on over a
//! connection of its pool, and responds 502 when that connection is lost before the response came.
//!
//! Idle connections are not read, so that nothing is noticed that a balancer would not notice; with `check` it looks once,
//! before it sends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use finwait::net::{Address, Conn, ListenOptions, Outside};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Body;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::select;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::dialling::Dialling;
use super::io::HyperIo;
use super::line::headers;
use super::{Notebook, Orders, http1};
use crate::scenario::{self, Reuse};
use crate::tls::{AppEnd, ClientEnd};

/// The load balancer.
pub(crate) struct Alb {
    shared: Rc<AlbShared>,
}

/// How TLS is used on its two sides; clear text where it is absent.
pub(crate) struct AlbTls {
    /// Towards clients.
    pub(crate) listener: Option<AppEnd>,
    /// Towards the proxy.
    pub(crate) target: Option<ClientEnd>,
}

struct AlbShared {
    outside: Outside,
    manner: scenario::Alb,
    listener_tls: Option<AppEnd>,
    dialling: Dialling,
    notebook: Notebook,
    /// Idle connections to the proxy, the most recently used last.
    idle: RefCell<VecDeque<Idle>>,
    changed: Notify,
}

struct Idle {
    conn: Conn,
    until: Instant,
}

/// Fields that belong to one connection and are not passed on (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"];

impl Alb {
    pub(crate) fn new(outside: Outside, manner: scenario::Alb, tls: AlbTls, notebook: Notebook) -> Self {
        let (idle, changed) = Default::default();
        let AlbTls { listener: listener_tls, target } = tls;
        let dialling = Dialling::of_balancer(&manner.connect, target);
        Self { shared: Rc::new(AlbShared { outside, manner, listener_tls, dialling, notebook, idle, changed }) }
    }

    /// Serves until it is sent home, then closes everything.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub(crate) async fn run(self, mut orders: Orders) -> io::Result<()> {
        let any = std::net::Ipv4Addr::UNSPECIFIED;
        let at = Address::Socket((any, self.shared.manner.port).into());
        let mut listener = self.shared.outside.net.listen(&at, &ListenOptions::default())?;
        let mut clients = JoinSet::new();
        loop {
            // The end of the script comes first. A request that is there comes before the time that has passed.
            select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => order.finish(Err("a load balancer follows no script".into())),
                    None => return Ok(()),
                },
                conn = listener.accept() => {
                    clients.spawn_local(serve(conn?, Rc::clone(&self.shared)));
                }
                () = self.shared.changed.notified() => {}
                () = self.shared.first_idle() => self.shared.close_idle(),
            }
        }
    }
}

async fn serve(conn: Conn, shared: Rc<AlbShared>) {
    let conn = match &shared.listener_tls {
        None => conn,
        Some(tls) => match tls.accept(conn).await {
            Ok(conn) => conn,
            Err(error) => return shared.notebook.note(format!("the TLS handshake fails: {error}")),
        },
    };
    let io = HyperIo::new(conn);
    let service = service_fn(|request| {
        let shared = Rc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.pass_on(request).await) }
    });
    // A connection that fails has shown it on the wire.
    drop(server::Builder::new().auto_date_header(false).serve_connection(io, service).await);
}

impl AlbShared {
    /// When the first idle connection has been idle for too long.
    async fn first_idle(&self) {
        let until = self.idle.borrow().iter().map(|idle| idle.until).min();
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    }

    fn close_idle(&self) {
        let now = Instant::now();
        let before = self.idle.borrow().len();
        self.idle.borrow_mut().retain(|idle| idle.until > now);
        for _ in self.idle.borrow().len()..before {
            self.notebook.note("closes a connection that was idle for too long");
        }
    }

    async fn pass_on(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let mut message = format!("{} {} HTTP/1.1\r\n", head.method, head.uri);
        for (name, value) in headers(&head.headers).iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str())) {
            message = format!("{message}{name}: {value}\r\n");
        }
        let Ok(body) = body.collect().await else { return bad("the client closed") };
        let body = body.to_bytes();
        if !body.is_empty() || head.method == http::Method::POST {
            message = format!("{message}content-length: {}\r\n", body.len());
        }
        let message = [format!("{message}\r\n").as_bytes(), &body].concat();
        match self.send_request(&message, head.method.as_str()).await {
            Ok(response) => response,
            Err(error) => {
                self.notebook.note(format!("responds 502: {error}"));
                bad("502 Bad Gateway")
            }
        }
    }

    async fn send_request(&self, message: &[u8], method: &str) -> io::Result<Response<Full<Bytes>>> {
        let mut conn = match self.take() {
            Some(conn) => conn,
            None => self.dialling.dial(&self.outside).await?,
        };
        conn.write_all(message).await?;
        let mut unread = BytesMut::new();
        let head = loop {
            let head = http1::head(&mut conn, &mut unread).await?;
            if !matches!(head.status(), Some(100..200)) {
                break head;
            }
        };
        let framing = head.response_framing(method);
        let body = http1::body(&mut conn, &mut unread, framing).await?;
        let stays = head.field("connection") != Some("close") && framing != http1::Framing::UntilClose;
        if stays {
            let until = Instant::now() + self.manner.idle_timeout.0;
            self.idle.borrow_mut().push_back(Idle { conn, until });
            self.changed.notify_one();
        }
        let body = if framing == http1::Framing::Chunked { unchunked(&body) } else { body };
        let status = StatusCode::from_u16(head.status().unwrap_or(502)).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = Response::builder().status(status);
        for (name, value) in head.fields.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str())) {
            response = response.header(name, value);
        }
        response.body(Full::from(body)).map_err(io::Error::other)
    }

    /// An idle connection; with `check` one that the proxy has not closed, as far as can be seen.
    fn take(&self) -> Option<Conn> {
        loop {
            let mut idle = self.idle.borrow_mut();
            let taken = match self.manner.reuse {
                Reuse::Fifo => idle.pop_front(),
                Reuse::Lifo => idle.pop_back(),
            };
            let Idle { mut conn, .. } = taken?;
            if !self.manner.check || is_silent(&mut conn) {
                return Some(conn);
            }
        }
    }
}

/// Whether there is nothing to read, not even the end.
fn is_silent(conn: &mut Conn) -> bool {
    let mut space = [0];
    let mut buffer = ReadBuf::new(&mut space);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    Pin::new(conn).poll_read(&mut context, &mut buffer).is_pending()
}

fn unchunked(body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut rest = body;
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let digits = rest.get(..line).and_then(|line| line.split(|byte| *byte == b';').next()).unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
        let Some(size @ 1..) = size else { break };
        let Some(chunk) = rest.get(line + 2..).and_then(|rest| rest.get(..size)) else { break };
        content.extend_from_slice(chunk);
        rest = rest.get(line + 2 + size + 2..).unwrap_or_default();
    }
    content
}

fn bad(text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        assert_eq!(unchunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), b"hello");
        assert_eq!(unchunked(b"0\r\n\r\n"), b"");
    }
}
