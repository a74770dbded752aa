//! The server's side of a WebSocket (RFC 6455): its handshake and its frames.
//!
//! The proxy needs none of this, since to it a tunnel is bytes; the application behind it does. Extensions and
//! subprotocols are not offered, so no client uses them.

use std::future::poll_fn;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use sha1::{Digest, Sha1};

use crate::codec::http1::{Incoming, Outgoing};
use crate::codec::{ExchangeError, Frame, RequestHead, ResponseHead};

/// Largest message, however many frames it comes in. Bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Largest payload of a control frame (RFC 6455 5.5). Bytes.
const CONTROL_BYTES_MAX: usize = 125;
/// How long a peer may take to make room for a message.
const SEND_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a peer may take to reply to a close frame.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(1);
/// What `sec-websocket-accept` is made of besides the key (RFC 6455 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The close code of a server that goes away (RFC 6455 7.4.1).
pub(super) const GOING_AWAY: u16 = 1001;

/// Does this request open a WebSocket?
pub(super) fn is_requested(head: &RequestHead) -> bool {
    head.upgrade().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The response to the handshake: 101, or an error (RFC 6455 4.2.2).
pub(super) fn handshake(head: &RequestHead) -> ResponseHead {
    if head.headers.get(&SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        let mut refusal = ResponseHead::new(StatusCode::UPGRADE_REQUIRED);
        refusal.headers.append(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return refusal;
    }
    let Some(key) = head.headers.get_str("sec-websocket-key").filter(|_| head.method == Method::GET) else {
        return ResponseHead::new(StatusCode::BAD_REQUEST);
    };
    if is_from_another_site(head) {
        return ResponseHead::new(StatusCode::FORBIDDEN);
    }
    let mut accepted = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS);
    accepted.headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
    accepted.headers.append(UPGRADE, HeaderValue::from_static("websocket"));
    let Ok(accept) = HeaderValue::from_str(&accept(key.as_bytes())) else {
        return ResponseHead::new(StatusCode::BAD_REQUEST);
    };
    accepted.headers.append(SEC_WEBSOCKET_ACCEPT, accept);
    accepted
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

/// A browser lets every page open a WebSocket to everywhere and leaves the decision to the server (RFC 6455
/// 10.2). What this machine does is no business of another site's page. Clients that are no browsers send no `origin`.
fn is_from_another_site(head: &RequestHead) -> bool {
    let Some(origin) = head.headers.get(&ORIGIN) else { return false };
    let host = head.authority.as_ref().or_else(|| head.headers.get(&HOST));
    let origin_host = origin.as_bytes().strip_prefix(b"http://");
    origin_host.is_none() || origin_host != host.map(HeaderValue::as_bytes)
}

/// What a frame is for (RFC 6455 5.2). A continuation is part of the message before it, and never one of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FrameKind {
    Binary,
    Close,
    Ping,
    Pong,
    Text,
}

impl FrameKind {
    fn opcode(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    fn is_control(self) -> bool {
        self.opcode() >= 0x8
    }
}

/// A whole message, or a control frame.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) kind: FrameKind,
    pub(super) payload: Bytes,
}

/// What a peer must not do. The connection ends with its close code (RFC 6455 7.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Violation {
    /// Text that is not UTF-8.
    NotText,
    /// Not a frame, or not here.
    Protocol,
    /// More than [`MESSAGE_BYTES_MAX`].
    TooLarge,
}

impl Violation {
    pub(super) fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// An open WebSocket.
pub(super) struct Socket {
    incoming: Incoming,
    outgoing: Outgoing,
    decoder: Decoder,
}

impl Socket {
    /// The two halves of an exchange whose response was 101.
    pub(super) fn new(mut incoming: Incoming, outgoing: Outgoing) -> Self {
        incoming.switch_to_raw();
        Self { incoming, outgoing, decoder: Decoder::default() }
    }

    /// The next message; `None` when the peer has gone without a word.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(Some(message));
            }
            match poll_fn(|cx| self.incoming.poll_frame(cx)).await {
                Some(Ok(Frame::Data(data))) => self.decoder.input.extend_from_slice(&data),
                Some(Ok(Frame::Trailers(_))) => {} // a tunnel has none
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The peer is gone, or takes nothing for [`SEND_WAIT_MAX`].
    pub(super) async fn send(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), ExchangeError> {
        self.outgoing.write(encode(kind, payload));
        self.flush().await
    }

    /// Lets out what is queued: the response to the handshake, if no message follows it.
    pub(super) async fn flush(&mut self) -> Result<(), ExchangeError> {
        let flushed = tokio::time::timeout(SEND_WAIT_MAX, poll_fn(|cx| self.outgoing.poll_flush(cx))).await;
        flushed.unwrap_or(Err(ExchangeError::Closed))
    }

    /// The peer closes: it is sent its own code, and the connection ends (RFC 6455 5.5.1).
    pub(super) async fn reply_to_close(mut self, payload: &[u8]) {
        if self.send(FrameKind::Close, payload.get(..2).unwrap_or_default()).await.is_err() {
            tracing::debug!("a peer closed without waiting for the response");
        }
    }

    /// Sends a close frame with `code`, and waits for the peer's.
    pub(super) async fn close(mut self, code: u16) {
        if self.send(FrameKind::Close, &code.to_be_bytes()).await.is_err() {
            return;
        }
        let replied = async {
            while let Ok(Some(message)) = self.next().await {
                if message.kind == FrameKind::Close {
                    return;
                }
            }
        };
        // Without a response the connection closes all the same.
        drop(tokio::time::timeout(CLOSE_WAIT_MAX, replied).await);
    }
}

/// One unfragmented frame. A server does not mask (RFC 6455 5.1).
fn encode(kind: FrameKind, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len().saturating_add(10));
    frame.put_u8(0x80 | kind.opcode());
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => frame.put_u8(length),
        (_, Ok(length)) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        (_, Err(_)) => {
            frame.put_u8(127);
            frame.put_u64(payload.len() as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// Bytes become messages. Holds at most one frame that is not whole, and one message that is not.
#[derive(Debug, Default)]
struct Decoder {
    input: BytesMut,
    /// A message whose last fragment has not come.
    unfinished: Option<(FrameKind, BytesMut)>,
}

/// The head of a frame from a client.
struct FrameHead {
    is_last: bool,
    /// `None` continues the message before.
    kind: Option<FrameKind>,
    mask: [u8; 4],
    payload_bytes: usize,
}

impl Decoder {
    /// The next message, if it has come whole.
    fn next(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            let mut rest = self.input.as_ref();
            let Some(head) = read_frame_head(&mut rest)? else { return Ok(None) };
            let head_bytes = self.input.len() - rest.len();
            if rest.len() < head.payload_bytes {
                return Ok(None);
            }
            self.input.advance(head_bytes);
            let mut payload = self.input.split_to(head.payload_bytes);
            for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= mask;
            }
            if let Some(message) = self.take(&head, payload)? {
                return Ok(Some(message));
            }
        }
    }

    /// Adds a frame to its message; the message, if that was the last of it.
    fn take(&mut self, head: &FrameHead, payload: BytesMut) -> Result<Option<Message>, Violation> {
        let (kind, whole) = match (head.kind, self.unfinished.take()) {
            (Some(kind), unfinished) if kind.is_control() => {
                self.unfinished = unfinished; // control frames may come between fragments (RFC 6455 5.4)
                return Ok(Some(Message { kind, payload: payload.freeze() }));
            }
            (Some(kind), None) => (kind, payload),
            (None, Some((kind, mut so_far))) => {
                if so_far.len().saturating_add(payload.len()) > MESSAGE_BYTES_MAX {
                    return Err(Violation::TooLarge);
                }
                so_far.extend_from_slice(&payload);
                (kind, so_far)
            }
            (Some(_), Some(_)) | (None, None) => return Err(Violation::Protocol),
        };
        if !head.is_last {
            self.unfinished = Some((kind, whole));
            return Ok(None);
        }
        if kind == FrameKind::Text && std::str::from_utf8(&whole).is_err() {
            return Err(Violation::NotText);
        }
        Ok(Some(Message { kind, payload: whole.freeze() }))
    }
}

/// Reads a frame's head off the front of `input`; `None` if it is not all there (RFC 6455 5.2).
fn read_frame_head(input: &mut &[u8]) -> Result<Option<FrameHead>, Violation> {
    let Some((&[first, second], mut rest)) = input.split_first_chunk() else { return Ok(None) };
    let kind = match first & 0x0F {
        0x0 => None,
        0x1 => Some(FrameKind::Text),
        0x2 => Some(FrameKind::Binary),
        0x8 => Some(FrameKind::Close),
        0x9 => Some(FrameKind::Ping),
        0xA => Some(FrameKind::Pong),
        _ => return Err(Violation::Protocol),
    };
    let (is_last, is_reserved, is_masked) = (first & 0x80 != 0, first & 0x70 != 0, second & 0x80 != 0);
    if is_reserved || !is_masked {
        return Err(Violation::Protocol); // no extension was agreed on; a client has to mask
    }
    let payload_bytes = match second & 0x7F {
        126 => {
            let Some((length, after)) = rest.split_first_chunk() else { return Ok(None) };
            rest = after;
            u16::from_be_bytes(*length).into()
        }
        127 => {
            let Some((length, after)) = rest.split_first_chunk() else { return Ok(None) };
            rest = after;
            usize::try_from(u64::from_be_bytes(*length)).map_err(|_| Violation::TooLarge)?
        }
        length => length.into(),
    };
    if kind.is_some_and(FrameKind::is_control) && (payload_bytes > CONTROL_BYTES_MAX || !is_last) {
        return Err(Violation::Protocol);
    }
    if payload_bytes > MESSAGE_BYTES_MAX {
        return Err(Violation::TooLarge);
    }
    let Some((mask, after)) = rest.split_first_chunk() else { return Ok(None) };
    *input = after;
    Ok(Some(FrameHead { is_last, kind, mask: *mask, payload_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455 1.3
    }

    #[test]
    fn frames_become_messages() {
        let text = |text: &str| Ok(Message { kind: FrameKind::Text, payload: Bytes::copy_from_slice(text.as_bytes()) });
        let control = |kind| Ok(Message { kind, payload: Bytes::new() });
        let large = vec![b'x'; MESSAGE_BYTES_MAX];
        let cases = [
            ("one frame", frame(0x81, b"hello"), vec![text("hello")]),
            ("empty", frame(0x81, b""), vec![text("")]),
            ("two messages", [frame(0x81, b"a"), frame(0x81, b"b")].concat(), vec![text("a"), text("b")]),
            ("fragments", [frame(0x01, b"a"), frame(0x00, b"b"), frame(0x80, b"c")].concat(), vec![text("abc")]),
            (
                "ping between fragments",
                [frame(0x01, b"a"), frame(0x89, b""), frame(0x80, b"b")].concat(),
                vec![control(FrameKind::Ping), text("ab")],
            ),
            ("a character cut in two", [frame(0x01, b"\xC3"), frame(0x80, b"\xA9")].concat(), vec![text("\u{e9}")]),
            (
                "the largest",
                frame(0x82, &large),
                vec![Ok(Message { kind: FrameKind::Binary, payload: large.clone().into() })],
            ),
            ("not UTF-8", frame(0x81, b"\xFF"), vec![Err(Violation::NotText)]),
            ("too large", frame(0x82, &[&large[..], b"x"].concat()), vec![Err(Violation::TooLarge)]),
            ("too large in parts", [frame(0x02, &large), frame(0x80, b"x")].concat(), vec![Err(Violation::TooLarge)]),
            (
                "of absurd length",
                vec![0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255],
                vec![Err(Violation::TooLarge)],
            ),
            ("not masked", vec![0x81, 0x01, b'a'], vec![Err(Violation::Protocol)]),
            ("reserved bit", frame(0xC1, b"a"), vec![Err(Violation::Protocol)]),
            ("unknown opcode", frame(0x83, b"a"), vec![Err(Violation::Protocol)]),
            ("nothing to continue", frame(0x80, b"a"), vec![Err(Violation::Protocol)]),
            (
                "message within a message",
                [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
                vec![Err(Violation::Protocol)],
            ),
            ("ping in fragments", frame(0x09, b""), vec![Err(Violation::Protocol)]),
            ("large ping", frame(0x89, &large[..126]), vec![Err(Violation::Protocol)]),
            ("not whole", frame(0x81, b"hello")[..8].to_vec(), vec![]),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(decode(&[&bytes]), expected, "{name}");
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode(&bytewise), expected, "{name}, byte by byte");
        }
    }

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = encode(FrameKind::Text, &vec![b'x'; length]);
            assert_eq!((&frame[..head.len()], frame.len()), (head, head.len() + length));
        }
    }

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut frame = vec![first];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// What comes of bytes that arrive in these pieces, up to the first violation.
    fn decode(pieces: &[&[u8]]) -> Vec<Result<Message, Violation>> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for piece in pieces {
            decoder.input.extend_from_slice(piece);
            loop {
                match decoder.next() {
                    Ok(None) => break,
                    Ok(Some(message)) => found.push(Ok(message)),
                    Err(violation) => {
                        found.push(Err(violation));
                        return found;
                    }
                }
            }
        }
        found
    }
}
