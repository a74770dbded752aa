//! `http_inspector`: which version of HTTP a connection in clear text begins with.
//!
//! It goes by the first line alone, with the rules of Envoy's parser: any white space and control characters up to the space
//! divide a line, methods are tokens, and a target is a path, `*`, a URL, or anything that may be a host after CONNECT.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::filters::Refusal;
use crate::config::listener_filter::HttpVersion;
use crate::net::Conn;
use crate::stats::HttpInspectorStats;

/// With this a client of HTTP/2 begins (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The line is not longer, as in Envoy. Bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What the first bytes tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// Not enough yet.
    Part,
    /// HTTP.
    Http(HttpVersion),
    /// Something else.
    Other,
}

/// Waits for the first line. What is read is in `bytes` then, behind what was read before.
///
/// # Errors
/// The connection closed or broke, or the line is too long.
///
/// # Cancellation
/// Dropped, it has read nothing that is not in `bytes`.
pub(super) async fn read(
    conn: &mut Conn,
    bytes: &mut BytesMut,
    stats: &HttpInspectorStats,
) -> Result<Option<HttpVersion>, Refusal> {
    let mut seen = 0;
    loop {
        match look(bytes, seen) {
            Found::Part if bytes.len() >= LINE_BYTES_MAX => {
                stats.read_error.inc();
                return Err(Refusal::Malformed);
            }
            Found::Part => {
                seen = bytes.len();
                if conn.read_buf(bytes).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            Found::Http(version) => {
                match version {
                    HttpVersion::Http10 => &stats.http10_found,
                    HttpVersion::Http11 => &stats.http11_found,
                    HttpVersion::Http2 => &stats.http2_found,
                }
                .inc();
                return Ok(Some(version));
            }
            Found::Other => {
                stats.http_not_found.inc();
                return Ok(None);
            }
        }
    }
}

/// The version of HTTP with which a connection in clear text begins, as far as these bytes of it tell.
#[must_use]
pub fn http_version(first_bytes: &[u8]) -> Option<HttpVersion> {
    match look(first_bytes, 0) {
        Found::Http(version) => Some(version),
        Found::Other | Found::Part => None,
    }
}

/// What these bytes tell, of which the first `seen` hold no end of a line.
fn look(bytes: &[u8], seen: usize) -> Found {
    if bytes.starts_with(PREFACE) {
        return Found::Http(HttpVersion::Http2);
    }
    if PREFACE.starts_with(bytes) {
        return Found::Part;
    }
    let end = bytes.iter().skip(seen).position(|byte| *byte == b'\n').and_then(|at| bytes.get(..seen + at));
    match end {
        Some(line) => version_of(line).map_or(Found::Other, Found::Http),
        None if begins_with_method(bytes) => Found::Part,
        None => Found::Other,
    }
}

/// The version of a request line; `None` if it is none.
fn version_of(line: &[u8]) -> Option<HttpVersion> {
    if !begins_with_method(line) {
        return None;
    }
    let (method, rest) = word(line);
    let (target, rest) = word(rest);
    if !is_target(target, method.eq_ignore_ascii_case(b"CONNECT")) {
        return None;
    }
    match trim(rest) {
        [] => Some(HttpVersion::Http10), // of HTTP/0.9
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] => Some(HttpVersion::Http11),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Some(HttpVersion::Http10)
        }
        _ => None,
    }
}

/// Is all before the first white space, which is a word, made of what a method is made of (RFC 9110 5.6.2)?
fn begins_with_method(bytes: &[u8]) -> bool {
    let is_space = |byte: &u8| matches!(byte, b'\t' | 0x0b | 0x0c | b'\r' | b' ');
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = bytes.split(is_space).next().unwrap_or_default();
    !method.is_empty() && method.iter().all(is_of_token)
}

fn is_target(target: &[u8], is_connect: bool) -> bool {
    let is_visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
    if let [b'/' | b'*', rest @ ..] = target {
        return is_visible(rest);
    }
    let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let behind_scheme = || {
        let (scheme, rest) = target.split_at(target.iter().position(|byte| !is_of_scheme(byte))?);
        scheme.first().filter(|first| first.is_ascii_alphabetic())?;
        rest.strip_prefix(b"://")
    };
    let Some(rest) = (if is_connect { (!target.is_empty()).then_some(target) } else { behind_scheme() }) else {
        return false;
    };
    let (host, path) = rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len()));
    let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=@[]_~".contains(byte);
    host.iter().all(is_of_host) && !host.windows(2).any(|two| two == b"@@") && is_visible(path)
}

/// The first word, and what follows it.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let begun = bytes.iter().position(|byte| *byte > b' ').and_then(|at| bytes.get(at..)).unwrap_or_default();
    begun.split_at(begun.iter().position(|byte| *byte <= b' ').unwrap_or(begun.len()))
}

/// Without the white space at both ends.
fn trim(bytes: &[u8]) -> &[u8] {
    let is_word = |byte: &u8| *byte > b' ';
    let begun = bytes.iter().position(is_word).and_then(|at| bytes.get(at..)).unwrap_or_default();
    begun.get(..begun.iter().rposition(is_word).map_or(0, |last| last + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::ReadBuf;

    use super::*;
    use crate::net::Address;
    use crate::net::testing::{Reads, TakesAll};
    use crate::stats::Registry;

    /// A client that sends one letter without end.
    struct Letters;

    impl Reads for Letters {
        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            buf.put_slice(&b"A".repeat(buf.remaining()));
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_line_without_an_end_closes_its_connection() {
        let end = || Address::Socket("127.0.0.1:80".parse().unwrap());
        let mut conn = Conn::new(Box::new(TakesAll(Letters)), end(), end());
        let (mut bytes, stats) = (BytesMut::new(), HttpInspectorStats::new(&Registry::new()));
        let read = pin!(read(&mut conn, &mut bytes, &stats)).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(read, Poll::Ready(Err(Refusal::Malformed)));
        assert_eq!(stats.read_error.value(), 1);
        assert!(bytes.len() < 2 * LINE_BYTES_MAX, "{} bytes were read", bytes.len());
    }

    /// What Envoy 1.40 finds.
    #[test]
    fn first_lines_tell_what_they_tell_envoy() {
        let (http10, http11) = (Found::Http(HttpVersion::Http10), Found::Http(HttpVersion::Http11));
        for (bytes, found) in [
            (&b""[..], Found::Part),
            (b"G", Found::Part),
            (b"hello", Found::Part),
            (b"a\tb", Found::Part),
            (b"1", Found::Part),
            (b"GET / HTTP/1.1", Found::Part),
            (b"GET / HTTP/1.1\r", Found::Part),
            (b"GET /\x01\xff", Found::Part),
            (b"GET / HTTP/1.1\r\n", http11),
            (b"GET / HTTP/1.1\n", http11),
            (b"get / HTTP/1.1\r\n", http11),
            (b"FOO / HTTP/1.1\r\n", http11),
            (b"GET  / HTTP/1.1\r\n", http11),
            (b"GET / HTTP/1.1 \r\n", http11),
            (b"GET /\x01 HTTP/1.1\r\n", http11),
            (b"GET / \x00HTTP/1.1\x0b\r\n", http11),
            (b"GET\x0c/ HTTP/1.1\r\n", http11),
            (b"GET * HTTP/1.1\r\n", http11),
            (b"GET *a HTTP/1.1\r\n", http11),
            (b"GET http://a/ HTTP/1.1\r\n", http11),
            (b"GET http://a:b:c HTTP/1.1\r\n", http11),
            (b"GET ftp://a HTTP/1.1\r\n", http11),
            (b"GET http:// HTTP/1.1\r\n", http11),
            (b"CONNECT a HTTP/1.1\r\n", http11),
            (b"CONNECT a:1 HTTP/1.1\r\n", http11),
            (b"CONNECT a/b HTTP/1.1\r\n", http11),
            (b"PRI * HTTP/1.1\r\n", http11),
            (b"GET / HTTP/1.0\r\n", http10),
            (b"GET / HTTP/0.9\r\n", http10),
            (b"GET / HTTP/1.2\r\n", http10),
            (b"GET / HTTP/2.0\r\n", http10),
            (b"PRI * HTTP/2.0\r\n\r\nXX", http10),
            (b"GET /\r\n", http10),
            (b"GET /\n", http10),
            (b"GET / \r\n", http10),
            (b"GET / http/1.1\r\n", Found::Other),
            (b"GET / HTTP/1.1 x\r\n", Found::Other),
            (b"GET / HTTP/1.12\r\n", Found::Other),
            (b"GET / HTTP/11\r\n", Found::Other),
            (b"GET / HTTP/\r\n", Found::Other),
            (b"GET /a b HTTP/1.1\r\n", Found::Other),
            (b"GET /\xff HTTP/1.1\r\n", Found::Other),
            (b"GET /\x7f HTTP/1.1\r\n", Found::Other),
            (b"GET a HTTP/1.1\r\n", Found::Other),
            (b"GET x:y HTTP/1.1\r\n", Found::Other),
            (b"GET 1://a HTTP/1.1\r\n", Found::Other),
            (b"GET http:/a HTTP/1.1\r\n", Found::Other),
            (b"GET\r\n", Found::Other),
            (b"GET \r\n", Found::Other),
            (b"GET\x01/ HTTP/1.1\r\n", Found::Other),
            (b"hello\r\n", Found::Other),
            (b"/ GET HTTP/1.1\r\n", Found::Other),
            (b"\r\nGET / HTTP/1.1\r\n", Found::Other),
            (b" GET / HTTP/1.1\r\n", Found::Other),
            (b"\x16", Found::Other),
            (b"\x80", Found::Other),
            (b"G\xc3", Found::Other),
            (b"a\nb", Found::Other),
        ] {
            assert_eq!(look(bytes, 0), found, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_preface_of_http2_is_waited_for() {
        for length in 0..PREFACE.len() {
            assert_eq!(look(PREFACE.get(..length).unwrap(), 0), Found::Part, "{length} bytes");
        }
        assert_eq!(look(&[PREFACE, b"\0\0"].concat(), 0), Found::Http(HttpVersion::Http2));
    }

    #[test]
    fn a_line_tells_the_same_in_pieces() {
        let line = b"GET /some/path HTTP/1.1\r\n";
        for seen in 0..line.len() - 1 {
            assert_eq!(look(line.get(..seen).unwrap(), 0), Found::Part, "{seen} bytes");
            assert_eq!(look(line, seen), Found::Http(HttpVersion::Http11), "after {seen} bytes");
        }
    }
}
