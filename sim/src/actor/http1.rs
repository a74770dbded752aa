//! HTTP/1 messages over bare bytes, for actors that must not do more than is ordered: hyper notices a FIN by itself,
//! and closes what it does not like.

use std::io;

use bytes::{Buf, BytesMut};
use finwait::net::Conn;
use tokio::io::AsyncReadExt;

/// One read's worth.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A head longer than this is none.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// The head of a request or a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) first_line: String,
    /// Names in small letters, in the order received.
    pub(super) fields: Vec<(String, String)>,
}

/// What follows a head (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

impl Head {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    /// The second word of a response's first line.
    pub(super) fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// Method and path of a request.
    pub(super) fn method_and_path(&self) -> String {
        self.first_line
            .rsplit_once(' ')
            .map_or(self.first_line.as_str(), |(method_and_path, _)| method_and_path)
            .to_owned()
    }

    fn framing(&self, without: Framing) -> Framing {
        if self.field("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            return Framing::Chunked;
        }
        self.field("content-length").and_then(|length| length.parse().ok()).map_or(without, Framing::Length)
    }

    /// How the body of a request ends.
    pub(super) fn request_framing(&self) -> Framing {
        self.framing(Framing::Length(0))
    }

    /// How the body of the response to a request with `method` ends.
    pub(super) fn response_framing(&self, method: &str) -> Framing {
        let bodiless = method == "HEAD" || matches!(self.status(), Some(100..200 | 204 | 304));
        if bodiless { Framing::Length(0) } else { self.framing(Framing::UntilClose) }
    }
}

/// Reads more; false at the end.
pub(super) async fn more(conn: &mut Conn, unread: &mut BytesMut) -> io::Result<bool> {
    let mut space = [0; READ_BYTES_MAX];
    let read = conn.read(&mut space).await?;
    unread.extend_from_slice(space.get(..read).unwrap_or_default());
    Ok(read > 0)
}

/// Reads a head.
///
/// # Errors
/// The connection ends before, or what comes is none.
pub(super) async fn head(conn: &mut Conn, unread: &mut BytesMut) -> io::Result<Head> {
    loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&unread.split_to(end)).into_owned();
            unread.advance(4);
            let mut lines = text.split("\r\n");
            let first_line = lines.next().unwrap_or_default().to_owned();
            let fields = lines.filter_map(|line| line.split_once(':'));
            let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
            return Ok(Head { first_line, fields });
        }
        if unread.len() > HEAD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a head without end"));
        }
        if !more(conn, unread).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads a body, with the framing it came in.
///
/// # Errors
/// The connection ends before the body does.
pub(super) async fn body(conn: &mut Conn, unread: &mut BytesMut, framing: Framing) -> io::Result<Vec<u8>> {
    loop {
        let end = match framing {
            Framing::Length(length) => (unread.len() >= length).then_some(length),
            Framing::Chunked => chunked_end(unread),
            Framing::UntilClose => None,
        };
        if let Some(end) = end {
            return Ok(unread.split_to(end).to_vec());
        }
        if !more(conn, unread).await? {
            return match framing {
                Framing::UntilClose => Ok(unread.split().to_vec()),
                Framing::Chunked | Framing::Length(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// Where a chunked body ends (RFC 9112 section 7.1), if all of it is there. Trailers are not understood.
fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let digits = rest.get(..line)?.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()?;
        at = at.checked_add(line + 2)?.checked_add(size)?.checked_add(2)?;
        if size == 0 {
            return (at <= bytes.len()).then_some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_chunked_bodies() {
        assert_eq!(chunked_end(b"2\r\nok\r\n0\r\n\r\nrest"), Some(12));
        assert_eq!(chunked_end(b"2;x=y\r\nok\r\n0\r\n\r\n"), Some(16));
        assert_eq!(chunked_end(b"2\r\nok\r\n0\r\n"), None);
        assert_eq!(chunked_end(b"zz\r\n"), None);
    }

    #[test]
    fn framings() {
        let head = |line: &str, name: &str, value: &str| Head {
            first_line: line.into(),
            fields: vec![(name.into(), value.into())],
        };
        assert_eq!(head("GET / HTTP/1.1", "host", "x").request_framing(), Framing::Length(0));
        assert_eq!(head("HTTP/1.1 200 OK", "server", "x").response_framing("GET"), Framing::UntilClose);
        assert_eq!(head("HTTP/1.1 200 OK", "content-length", "5").response_framing("HEAD"), Framing::Length(0));
        assert_eq!(head("HTTP/1.1 200 OK", "transfer-encoding", "chunked").response_framing("GET"), Framing::Chunked);
        assert_eq!(head("POST /a HTTP/1.1", "host", "x").method_and_path(), "POST /a");
    }
}
