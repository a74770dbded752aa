//! A connection by hand: the script names what is sent and what must come. Nothing is read that the script does not name, so that a
//! peer that reads late, or never, is one.

use std::io;

use bytes::{Buf, BytesMut};
use finwait::net::Conn;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::{Notebook, http1};
use crate::scenario::{Action, Ending, Payload, Rate, Reply, Size};

/// The step in which a slow writer writes.
const WRITE_BYTES_MAX: usize = 1024;

/// A connection and what was read from it.
pub(super) struct ByHand {
    conn: Option<Conn>,
    unread: BytesMut,
}

impl ByHand {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn: Some(conn), unread: BytesMut::new() }
    }

    /// Whether our end has been closed.
    pub(super) fn is_over(&self) -> bool {
        self.conn.is_none()
    }

    /// Does what can be done with bytes.
    ///
    /// # Errors
    /// It could not be done, or what came is not what was expected.
    pub(super) async fn carry_out(&mut self, action: &Action, notebook: &Notebook) -> Result<(), String> {
        match action {
            Action::Closed(expected) => {
                let ending = self.closed().await?;
                self.conn = None;
                expect_ending(*expected, ending)
            }
            Action::Fin => {
                self.conn = None;
                Ok(())
            }
            Action::HalfClose => self.conn()?.shutdown().await.map_err(cannot_send),
            Action::Receive { message, rate } => self.receive(message, *rate).await,
            Action::ReceiveRequest(start) => self.receive_request(start.as_deref(), notebook).await,
            Action::Reply(reply) => self.reply(reply).await,
            Action::Rst => {
                if let Some(conn) = self.conn.take() {
                    conn.abort();
                }
                Ok(())
            }
            Action::Send { message, rate } => send(self.conn()?, &message.to_bytes(), *rate).await.map_err(cannot_send),
            Action::Wait(time) => {
                sleep(time.0).await;
                Ok(())
            }
            Action::Connect => Err("the connection is open already".into()),
            Action::Close
            | Action::Pause
            | Action::ReceiveFrame(_)
            | Action::ReceiveWebSocketFrame(_)
            | Action::Request(_)
            | Action::Resume
            | Action::SendFrame { .. }
            | Action::SendWebSocketFrame(_) => Err(format!("a connection of bytes cannot: {action}")),
        }
    }

    fn conn(&mut self) -> Result<&mut Conn, String> {
        self.conn.as_mut().ok_or_else(|| "the connection is closed".into())
    }

    /// Reads until it has all of `wanted`: a text may stand anywhere in what comes, the rest must come as it is.
    async fn receive(&mut self, wanted: &Payload, rate: Option<Rate>) -> Result<(), String> {
        let bytes = wanted.to_bytes();
        loop {
            match wanted {
                Payload::Text(_) => {
                    if let Some(at) = self.unread.windows(bytes.len().max(1)).position(|some| some == bytes) {
                        self.unread.advance(at + bytes.len());
                        return Ok(());
                    }
                }
                Payload::Binary(Size(size)) => {
                    if self.unread.len() >= *size {
                        self.unread.advance(*size);
                        return Ok(());
                    }
                }
                Payload::Hex(_) => {
                    if let Some(got) = self.unread.get(..bytes.len()) {
                        let fits = got == bytes;
                        let text = format!("expected {wanted}, got {}", excerpt(got));
                        self.unread.advance(bytes.len());
                        return if fits { Ok(()) } else { Err(text) };
                    }
                }
            }
            let before = self.unread.len();
            let Self { conn, unread } = self;
            let conn = conn.as_mut().ok_or("the connection is closed")?;
            match http1::more(conn, unread).await {
                Ok(true) => {}
                Ok(false) => return Err(format!("expected {wanted}, got FIN after {}", excerpt(unread))),
                Err(error) => return Err(format!("expected {wanted}, got after {}: {error}", excerpt(unread))),
            }
            if let Some(rate) = rate {
                sleep(rate.time_for(self.unread.len() - before)).await;
            }
        }
    }

    async fn receive_request(&mut self, start: Option<&str>, notebook: &Notebook) -> Result<(), String> {
        let Self { conn, unread } = self;
        let conn = conn.as_mut().ok_or("the connection is closed")?;
        let expected = |error: io::Error| format!("expected {}, got: {error}", start.unwrap_or("a request"));
        let head = http1::head(conn, unread).await.map_err(expected)?;
        let delivery = notebook.begin_delivery(head.method_and_path(), head.fields.clone());
        let body = http1::body(conn, unread, head.request_framing()).await.map_err(expected)?;
        notebook.delivery(delivery, |delivery| delivery.body = body);
        match start {
            Some(start) if !head.first_line.starts_with(start) => {
                Err(format!("expected {start}, got {}", head.first_line))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn reply(&mut self, reply: &Reply) -> Result<(), String> {
        sleep_for(reply).await;
        let reason = http::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\r\n", reply.status, reason.unwrap_or("Other"));
        for (name, value) in reply.headers.iter() {
            text = format!("{text}{name}: {value}\r\n");
        }
        let body = reply.body.to_bytes();
        if !matches!(reply.status, 100..200 | 204 | 304) {
            text = format!("{text}content-length: {}\r\n", body.len());
        }
        let mut message = format!("{text}\r\n").into_bytes();
        if reply.send_rate.is_none() {
            message.extend_from_slice(&body);
            return send(self.conn()?, &message, None).await.map_err(cannot_send);
        }
        send(self.conn()?, &message, None).await.map_err(cannot_send)?;
        send(self.conn()?, &body, reply.send_rate).await.map_err(cannot_send)
    }

    /// Reads to the end.
    async fn closed(&mut self) -> Result<Ending, String> {
        let Self { conn, unread } = self;
        let conn = conn.as_mut().ok_or("the connection is closed")?;
        loop {
            match http1::more(conn, unread).await {
                Ok(true) => {}
                Ok(false) => return Ok(Ending::Fin),
                Err(_) => return Ok(Ending::Rst),
            }
        }
    }
}

/// The time an app thinks before it replies. Even no time at all lasts until the next whole millisecond.
pub(super) async fn sleep_for(reply: &Reply) {
    if !reply.after.0.is_zero() {
        sleep(reply.after.0).await;
    }
}

/// Writes, no faster than `rate`.
///
/// # Errors
/// The connection does not take it.
pub(super) async fn send(conn: &mut Conn, bytes: &[u8], rate: Option<Rate>) -> io::Result<()> {
    let Some(rate) = rate else { return conn.write_all(bytes).await };
    for piece in bytes.chunks(WRITE_BYTES_MAX) {
        conn.write_all(piece).await?;
        sleep(rate.time_for(piece.len())).await;
    }
    Ok(())
}

/// Complains of an ending that is not the expected one.
pub(super) fn expect_ending(expected: Option<Ending>, got: Ending) -> Result<(), String> {
    match expected {
        Some(expected) if expected != got => Err(format!("expected {expected} from the peer, got {got}")),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn cannot_send(error: io::Error) -> String {
    format!("cannot send: {error}")
}

fn excerpt(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 200; // enough to see a head's first lines
    let text = String::from_utf8_lossy(bytes);
    let cut: String = text.chars().take(CHARS_MAX).collect();
    if bytes.is_empty() { "nothing".into() } else { format!("{cut:?}") }
}
