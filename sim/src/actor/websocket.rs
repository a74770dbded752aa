//! A client's end of a WebSocket (RFC 6455), over bare bytes.
//!
//! tokio-tungstenite serves the app's end. It cannot serve this one: it draws keys and masks from the system's
//! randomness, and a run must be a function of its seed.

use std::io;

use bytes::{Buf, BytesMut};
use finwait::net::{Conn, Random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::{WebSocketMessage, by_hand, http1};
use crate::scenario::{Rate, WebSocketFrame};

/// The bit of a frame that ends its message.
const FIN: u8 = 0x80;
/// What a frame is, in the same byte.
const OPCODE: u8 = 0x0f;

/// One read's worth; also the step in which a slow reader reads.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A fresh `sec-websocket-key`: 16 random bytes in base64 (RFC 6455 section 4.1).
pub(super) fn key(random: &dyn Random) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
    // 21 characters of six bits, one of the two bits that are left, and padding.
    let sixes = (0..21).map(|nth| (bits >> (122 - 6 * nth)) & 0x3f).chain([(bits & 0x3) << 4]);
    let text = sixes.filter_map(|six| ALPHABET.get(usize::try_from(six).ok()?)).map(|byte| char::from(*byte));
    text.chain("==".chars()).collect()
}

/// What came from the peer.
pub(super) enum Incoming {
    /// It wants to close.
    Close,
    /// It closed or aborted the connection.
    End(io::Result<()>),
    /// A whole message, of one frame or of several.
    Message(WebSocketMessage),
}

pub(super) struct WebSocket {
    pub(super) conn: Conn,
    unread: BytesMut,
}

impl WebSocket {
    /// `unread` came after the response to the handshake.
    pub(super) fn new(conn: Conn, unread: &[u8]) -> Self {
        Self { conn, unread: BytesMut::from(unread) }
    }

    /// Sends one message as one frame, no faster than `rate`.
    pub(super) async fn send_message(
        &mut self,
        message: &WebSocketMessage,
        rate: Option<Rate>,
        random: &dyn Random,
    ) -> io::Result<()> {
        let opcode = match message {
            WebSocketMessage::Text(_) => 1,
            WebSocketMessage::Binary(_) => 2,
        };
        let frame = masked(FIN | opcode, message.bytes(), random)?;
        by_hand::send(&mut self.conn, &frame, rate).await
    }

    /// Sends a close frame with status 1000, normal closure.
    pub(super) async fn send_close(&mut self, random: &dyn Random) -> io::Result<()> {
        self.conn.write_all(&masked(FIN | 8, &1000_u16.to_be_bytes(), random)?).await
    }

    /// Sends a frame as given.
    pub(super) async fn send_frame(&mut self, frame: &WebSocketFrame, random: &dyn Random) -> io::Result<()> {
        let first = if frame.fields.fin.unwrap_or(true) { FIN } else { 0 } | frame.opcode.number();
        self.conn.write_all(&masked(first, &frame.fields.payload().unwrap_or_default(), random)?).await
    }

    /// Waits for the next frame, whatever it is, and compares.
    pub(super) async fn receive_frame(&mut self, expected: &WebSocketFrame) -> io::Result<()> {
        let (first, payload) = loop {
            if let Some(frame) = take_frame(&mut self.unread)? {
                break frame;
            }
            if !http1::more(&mut self.conn, &mut self.unread).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let (opcode, is_final) = (first & OPCODE, first & FIN != 0);
        match expected.fields.payload() {
            _ if opcode != expected.opcode.number() => Err(io::Error::other(format!("a frame of opcode {opcode}"))),
            _ if expected.fields.fin.is_some_and(|fin| fin != is_final) => {
                Err(io::Error::other(format!("a frame whose fin is {is_final}")))
            }
            Some(wanted) if wanted != payload => Err(io::Error::other(format!("other {} bytes", payload.len()))),
            Some(_) | None => Ok(()),
        }
    }

    /// Waits for the next message, reading no faster than `rate`.
    pub(super) async fn receive(&mut self, rate: Option<Rate>) -> io::Result<Incoming> {
        loop {
            if let Some((first, payload)) = take_frame(&mut self.unread)? {
                match first & OPCODE {
                    1 => {
                        let text = String::from_utf8(payload).map_err(|_| malformed("text that is no UTF-8"))?;
                        return Ok(Incoming::Message(WebSocketMessage::Text(text)));
                    }
                    2 => return Ok(Incoming::Message(WebSocketMessage::Binary(payload))),
                    8 => return Ok(Incoming::Close),
                    9 | 10 => {} // neither pings nor pongs are requested or replied to
                    _ => return Err(malformed("a frame that is no whole message")),
                }
                continue;
            }
            let mut space = [0; READ_BYTES_MAX];
            let read = match self.conn.read(&mut space).await {
                Ok(0) => return Ok(Incoming::End(Ok(()))),
                Ok(read) => read,
                Err(error) => return Ok(Incoming::End(Err(error))),
            };
            self.unread.extend_from_slice(space.get(..read).unwrap_or_default());
            if let Some(rate) = rate {
                sleep(rate.time_for(read)).await;
            }
        }
    }
}

/// A client's frame, which is masked (RFC 6455 section 5.3).
fn masked(first: u8, payload: &[u8], random: &dyn Random) -> io::Result<Vec<u8>> {
    const MASKED: u8 = 0x80;
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..126), _) => frame.push(MASKED | len),
        (_, Ok(len)) => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend_from_slice(&u64::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes());
        }
    }
    let [m0, m1, m2, m3, ..] = random.next_u64().to_be_bytes();
    let mask = [m0, m1, m2, m3];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(frame)
}

/// The first byte and the payload of the first frame, removed from `unread`, if it is whole. A server's frames are not masked.
fn take_frame(unread: &mut BytesMut) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut rest: &[u8] = unread;
    let Some((&[first, second], after)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    rest = after;
    let len = match second {
        ..126 => u64::from(second),
        126 if rest.len() >= 2 => u64::from(rest.get_u16()),
        127 if rest.len() >= 8 => rest.get_u64(),
        126 | 127 => return Ok(None),
        128.. => return Err(malformed("a masked frame from a server")),
    };
    let len = usize::try_from(len).map_err(|_| malformed("a frame of impossible length"))?;
    let Some(payload) = rest.get(..len).map(<[u8]>::to_vec) else { return Ok(None) };
    let taken = unread.len() - rest.len() + len;
    unread.advance(taken);
    Ok(Some((first, payload)))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Random for Ones {
        fn next_u64(&self) -> u64 {
            u64::MAX
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert_eq!(key(&Ones), "/////////////////////w==");
    }

    #[test]
    fn frames_are_taken_whole() {
        let mut unread = BytesMut::from(&b"\x81\x02hi\x82\x7e\x00\x01x\x81\x05hel"[..]);
        assert_eq!(take_frame(&mut unread).unwrap(), Some((0x81, b"hi".to_vec())));
        assert_eq!(take_frame(&mut unread).unwrap(), Some((0x82, b"x".to_vec())));
        assert_eq!(take_frame(&mut unread).unwrap(), None);
        assert_eq!(&unread[..], b"\x81\x05hel");
        assert!(take_frame(&mut BytesMut::from(&b"\x81\x82"[..])).is_err());
    }
}
