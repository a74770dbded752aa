//! HTTP/1 messages (RFC 9112) and what follows an upgrade.

use super::{Meaning, Message, Messages, excerpt, websocket};
use crate::words::size;

/// Names both directions of an HTTP/1 connection.
///
/// The responses are read first: they decide where HTTP ends and a tunnel begins, in both directions.
pub(super) fn read(from_client: &[u8], from_server: &[u8]) -> Messages {
    let mut server = Direction { stream: from_server, at: 0, messages: Vec::new() };
    let mut responses = 0;
    let upgraded_at = loop {
        let Some(head) = server.head() else { break None };
        match head.status() {
            Some(status @ 101) => {
                server.push(head, 0, Meaning::Response { stream: responses + 1, status, ends: false });
                break Some(responses);
            }
            Some(status @ 100..200) => {
                server.push(head, 0, Meaning::Informational { stream: responses + 1, status });
            }
            status => {
                let bodiless = matches!(status, Some(204 | 304));
                let body = if bodiless { Framing::Length(0) } else { head.framing(Framing::UntilClose) };
                responses += 1;
                let status = status.unwrap_or_default();
                server.push_framed(head, body, |ends| Meaning::Response { stream: responses, status, ends });
            }
        }
    };
    let mut client = Direction { stream: from_client, at: 0, messages: Vec::new() };
    let mut requests = 0;
    // After the request that got 101, everything is the tunnel's.
    while upgraded_at.is_none_or(|last| requests <= last)
        && let Some(head) = client.head()
    {
        let body = head.framing(Framing::Length(0));
        requests += 1;
        let (method, path) = head.request();
        client.push_framed(head, body, |ends| Meaning::Request { stream: requests, method, path, ends });
    }
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    if upgraded_at.is_some() {
        let (from_client, from_server) = (client.tunnel(requests), server.tunnel(requests));
        return Messages { from_client, from_server, requests: count(requests), responses: count(responses + 1) };
    }
    let requests = count(requests) + usize::from(!client.unread().is_empty());
    Messages { from_client: client.rest(), from_server: server.rest(), requests, responses: count(responses) }
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy)]
enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

struct Head {
    first_line: String,
    fields: Vec<(String, String)>,
    len: usize,
}

impl Head {
    fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// Method and path.
    fn request(&self) -> (String, String) {
        let mut words = self.first_line.split(' ').map(str::to_owned);
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    fn framing(&self, without: Framing) -> Framing {
        if self.field("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            return Framing::Chunked;
        }
        self.field("content-length").and_then(|length| length.parse().ok()).map_or(without, Framing::Length)
    }

    /// The first line and the fields that decide what happens next.
    fn line(&self) -> String {
        let mut line = self.first_line.clone();
        for name in ["upgrade", "connection", "transfer-encoding"] {
            if let Some(value) = self.field(name) {
                line = format!("{line}, {name}: {value}");
            }
        }
        line
    }
}

/// One direction, read from its start.
struct Direction<'a> {
    stream: &'a [u8],
    at: usize,
    messages: Vec<Message>,
}

impl Direction<'_> {
    fn unread(&self) -> &[u8] {
        self.stream.get(self.at..).unwrap_or_default()
    }

    /// The head that starts here, if it is whole and looks like HTTP.
    fn head(&self) -> Option<Head> {
        let unread = self.unread();
        let len = unread.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(unread.get(..len)?).ok()?;
        let mut lines = text.split("\r\n");
        let first_line = lines.next().filter(|line| line.contains("HTTP/1"))?.to_owned();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Head { first_line, fields, len })
    }

    fn push_framed(&mut self, head: Head, framing: Framing, meaning: impl FnOnce(bool) -> Meaning) {
        let body = self.unread().get(head.len..).unwrap_or_default();
        let (len, ends) = match framing {
            Framing::Length(length) => (length.min(body.len()), length <= body.len()),
            Framing::UntilClose => (body.len(), false),
            Framing::Chunked => {
                // The last chunk and an empty trailer section; a cut body ends with the stream.
                let last = body.windows(5).position(|five| five == b"0\r\n\r\n");
                (last.map_or(body.len(), |at| at + 5), last.is_some())
            }
        };
        self.push(head, len, meaning(ends));
    }

    fn push(&mut self, head: Head, body_len: usize, meaning: Meaning) {
        let body = self.unread().get(head.len..head.len + body_len).unwrap_or_default();
        let mut text = head.line();
        if !body.is_empty() {
            text = format!("{text}, {}", excerpt(body));
        }
        let end = self.at + head.len + body_len;
        let first_line = (String::new(), head.first_line);
        let fields = std::iter::once(first_line).chain(head.fields).collect();
        self.messages.push(Message { bytes: self.at..end, text, bulk: None, meaning, fields });
        self.at = end;
    }

    /// Everything not read yet is a WebSocket's.
    fn tunnel(mut self, exchange: u32) -> Vec<Message> {
        self.messages.extend(websocket::read(self.stream, self.at, exchange));
        self.messages
    }

    /// Everything not read yet has no name.
    fn rest(mut self) -> Vec<Message> {
        let unread = self.unread().len();
        if unread > 0 {
            let bytes = self.at..self.stream.len();
            let begins = self.unread().split(|byte| *byte == b' ').next().unwrap_or_default();
            let is_head = !begins.is_empty() && begins.iter().all(u8::is_ascii_uppercase);
            let what = if is_head { "of a head without an end" } else { "that are no HTTP/1" };
            self.messages.push(Message::new(bytes, format!("{} {what}", size(unread)), Meaning::Other));
        }
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_named() {
        let client = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\
            upgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x02yo";
        let server = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\
            HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n\x88\x00";
        let messages = read(client, server);
        let lines = |messages: &[Message]| messages.iter().map(|m| m.text.clone()).collect::<Vec<_>>();
        assert_eq!(
            lines(&messages.from_client),
            ["POST /a HTTP/1.1, \"hi\"", "GET /b HTTP/1.1, upgrade: websocket, connection: upgrade", "text \"yo\""]
        );
        assert_eq!(
            lines(&messages.from_server),
            [
                "HTTP/1.1 200 OK, transfer-encoding: chunked, 12 bytes",
                "HTTP/1.1 101 Switching Protocols, upgrade: websocket",
                "close"
            ]
        );
        assert_eq!(messages.from_client.last().map(|m| m.bytes.end), Some(client.len()));
    }
}
