//! An app's WebSocket, through tokio-tungstenite.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use finwait::net::Conn;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::select;
use tokio::time::{Sleep, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;
use tokio_tungstenite::tungstenite::protocol::frame::{Frame as TungsteniteFrame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::super::by_hand::{self, cannot_send};
use super::super::{Order, Orders, WebSocketMessage, WebSocketRecord};
use super::AppShared;
use crate::scenario::{Action, Greeting, Rate};

/// Holds a WebSocket until a side ends it.
pub(super) async fn serve(conn: Conn, unread: &[u8], shared: &AppShared, delivery: usize, mut orders: Orders) {
    let paced = Paced { conn, rate: shared.manner.read_rate, pause: None };
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES_MAX).write_buffer_size(0);
    let mut socket = WebSocketStream::from_partially_read(paced, unread.to_vec(), Role::Server, Some(config)).await;
    loop {
        // The script comes first, as above. It orders the newest WebSocket alone: the others follow only their peers.
        let incoming = select! {
            biased;
            Some(order) = orders.recv() => match obey(order, socket, shared, delivery).await {
                Some(open) => {
                    socket = open;
                    continue;
                }
                None => return,
            },
            incoming = socket.next() => incoming,
        };
        // Neither an error nor the end leaves anything to send; dropping the socket closes it.
        let Some(Ok(message)) = incoming else { return };
        let Some(payload) = WebSocketMessage::from_message(&message) else { continue };
        shared.record(delivery, |record| record.received.push(payload.clone()));
        if let Greeting::Echo = shared.manner.websocket {
            if socket.send(message).await.is_err() {
                return;
            }
            shared.record(delivery, |record| record.sent.push(payload));
        }
    }
}

impl AppShared {
    fn record(&self, delivery: usize, change: impl FnOnce(&mut WebSocketRecord)) {
        self.notebook.delivery(delivery, |delivery| change(delivery.tunnel.get_or_insert_default()));
    }
}

/// Carries out an order; gives the socket back unless the order ended it.
async fn obey(
    order: Order,
    mut socket: WebSocketStream<Paced>,
    shared: &AppShared,
    delivery: usize,
) -> Option<WebSocketStream<Paced>> {
    let done = match &order.action {
        Action::Fin => {
            drop(socket);
            order.finish(Ok(()));
            return None;
        }
        Action::Rst => {
            socket.into_inner().conn.abort();
            order.finish(Ok(()));
            return None;
        }
        Action::HalfClose => socket.get_mut().conn.shutdown().await.map_err(|error| error.to_string()),
        Action::SendWebSocketFrame(frame) => {
            let header = FrameHeader {
                is_final: frame.fields.fin.unwrap_or(true),
                opcode: OpCode::from(frame.opcode.number()),
                ..FrameHeader::default()
            };
            let payload = frame.fields.payload().unwrap_or_default();
            let message = Message::Frame(TungsteniteFrame::from_payload(header, payload.into()));
            socket.send(message).await.map_err(|error| error.to_string())
        }
        Action::Send { message, rate } => {
            let payload = WebSocketMessage::from(message);
            let sent = match rate {
                None => socket.send(payload.to_message()).await.map_err(|error| error.to_string()),
                Some(_) => {
                    by_hand::send(&mut socket.get_mut().conn, &payload.to_frame(), *rate).await.map_err(cannot_send)
                }
            };
            shared.record(delivery, |record| record.sent.push(payload));
            sent
        }
        Action::Close
        | Action::Closed(_)
        | Action::Connect
        | Action::Pause
        | Action::Receive { .. }
        | Action::ReceiveFrame(_)
        | Action::ReceiveRequest(_)
        | Action::ReceiveWebSocketFrame(_)
        | Action::Reply(_)
        | Action::Request(_)
        | Action::Resume
        | Action::SendFrame { .. }
        | Action::Wait(_) => Err("an app's WebSocket has no such step".into()),
    };
    order.finish(done);
    Some(socket)
}

/// One read's worth; also the step in which a slow reader reads.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A connection that is read no faster than its rate.
struct Paced {
    conn: Conn,
    rate: Option<Rate>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Paced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.conn).poll_read(cx, into))?;
        if let Some(rate) = this.rate {
            this.pause = Some(Box::pin(sleep(rate.time_for(into.filled().len() - before))));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().conn).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_shutdown(cx)
    }
}

impl WebSocketMessage {
    fn from_message(message: &Message) -> Option<Self> {
        match message {
            Message::Binary(bytes) => Some(Self::Binary(bytes.to_vec())),
            Message::Text(text) => Some(Self::Text(text.as_str().to_owned())),
            Message::Close(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => None,
        }
    }

    /// The message as one frame of a server's, which is not masked (RFC 6455 section 5.2).
    fn to_frame(&self) -> Vec<u8> {
        let opcode = if let Self::Text(_) = self { OpCode::from(1) } else { OpCode::from(2) };
        let header = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
        let mut frame = Vec::new();
        // A frame with a length can always be encoded; writing to memory does not fail.
        let _written = header.format(self.len() as u64, &mut frame);
        frame.extend_from_slice(self.bytes());
        frame
    }

    fn to_message(&self) -> Message {
        match self {
            Self::Binary(bytes) => Message::binary(bytes.clone()),
            Self::Text(text) => Message::text(text.as_str()),
        }
    }
}
