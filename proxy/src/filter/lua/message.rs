//! The headers of a message as scripts see them: names and values, those before the first field (RFC 9113 8.3) among them.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::codec::head::{is_joined_in_requests, is_joined_in_responses};
use crate::codec::{Headers, RequestHead, ResponseHead};

/// What a script sees the headers of.
pub(super) enum Message<'m> {
    Request(&'m mut RequestHead),
    Response(&'m mut ResponseHead),
    Trailers(&'m mut Headers),
}

/// A header that cannot be in a message.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Unsendable {
    Name(String),
    Value(String),
}

impl Unsendable {
    /// Envoy's words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("invalid header name: {name}"),
            Self::Value(name) => format!("invalid header value for: {name}"),
        }
    }
}

/// What becomes of values that are there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Existing {
    Kept,
    Replaced,
}

impl Message<'_> {
    fn fields(&mut self) -> &mut Headers {
        match self {
            Self::Request(head) => &mut head.headers,
            Self::Response(head) => &mut head.headers,
            Self::Trailers(fields) => fields,
        }
    }

    /// The values of a name, in their order.
    pub(super) fn values(&mut self, name: &[u8]) -> Vec<Vec<u8>> {
        let name = name.to_ascii_lowercase();
        if let Some(value) = self.pseudo(&name) {
            return vec![value];
        }
        let Ok(name) = HeaderName::from_bytes(&name) else { return Vec::new() };
        self.fields().get_all(&name).map(|value| value.as_bytes().to_vec()).collect()
    }

    /// All names and values.
    pub(super) fn all(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let names: &[&[u8]] = match self {
            Self::Request(_) => &[b":authority", b":path", b":method", b":scheme", b":protocol"],
            Self::Response(_) => &[b":status"],
            Self::Trailers(_) => &[],
        };
        let pseudo = names.iter().filter_map(|name| Some((name.to_vec(), self.pseudo(name)?)));
        let mut all: Vec<_> = pseudo.collect();
        let fields = self.fields().iter();
        all.extend(fields.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())));
        all
    }

    /// As in Envoy, `host` is a name of `:authority`.
    fn pseudo(&self, name: &[u8]) -> Option<Vec<u8>> {
        let of = |value: &Option<HeaderValue>| value.as_ref().map(|value| value.as_bytes().to_vec());
        match (self, name) {
            (Self::Request(head), b":authority" | b"host") => of(&head.authority),
            (Self::Request(head), b":method") => Some(head.method.as_str().as_bytes().to_vec()),
            (Self::Request(head), b":path") => of(&head.path),
            (Self::Request(head), b":protocol") => of(&head.protocol),
            (Self::Request(head), b":scheme") => of(&head.scheme),
            (Self::Response(head), b":status") => Some(head.status.as_str().as_bytes().to_vec()),
            _ => None,
        }
    }

    /// Sets a value, or adds one.
    ///
    /// # Errors
    /// No message can have it.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8], existing: Existing) -> Result<(), Unsendable> {
        let name = name.to_ascii_lowercase();
        let text = || String::from_utf8_lossy(&name).into_owned();
        let parsed = HeaderValue::from_bytes(value).map_err(|_| Unsendable::Value(text()))?;
        if name.starts_with(b":") || (name == b"host" && matches!(self, Self::Request(_))) {
            return self.set_pseudo(&name, parsed).ok_or_else(|| Unsendable::Value(text()));
        }
        let name = HeaderName::from_bytes(&name).map_err(|_| Unsendable::Name(text()))?;
        let is_joined = match self {
            Self::Request(_) => is_joined_in_requests,
            Self::Response(_) | Self::Trailers(_) => is_joined_in_responses,
        };
        match existing {
            Existing::Kept => self.fields().append_or_join(&name, parsed, is_joined),
            Existing::Replaced => self.fields().set(name, parsed),
        }
        Ok(())
    }

    /// `None` if the value cannot stand there.
    fn set_pseudo(&mut self, name: &[u8], value: HeaderValue) -> Option<()> {
        match (self, name) {
            (Self::Request(head), b":authority" | b"host") => head.authority = Some(value),
            (Self::Request(head), b":method") => head.method = Method::from_bytes(value.as_bytes()).ok()?,
            (Self::Request(head), b":path") => {
                PathAndQuery::try_from(value.as_bytes()).ok()?;
                head.path = Some(value);
            }
            (Self::Request(head), b":protocol") => head.protocol = Some(value),
            (Self::Request(head), b":scheme") => head.scheme = Some(value),
            (Self::Response(head), b":status") => {
                // A response with a status below 200 is none that a filter could make of a final one.
                head.status = StatusCode::from_bytes(value.as_bytes()).ok().filter(|status| status.as_u16() >= 200)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// Takes all values of a name off. A request keeps its method, and a response its status: there is none without.
    pub(super) fn remove(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        match (&mut *self, name.as_slice()) {
            (Self::Request(head), b":authority" | b"host") => head.authority = None,
            (Self::Request(head), b":path") => head.path = None,
            (Self::Request(head), b":protocol") => head.protocol = None,
            (Self::Request(head), b":scheme") => head.scheme = None,
            _ => {
                if let Ok(name) = HeaderName::from_bytes(&name) {
                    self.fields().remove(&name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_pseudo_headers_among_its_fields() {
        let mut head = RequestHead { headers: Headers::of(&[("a", "1"), ("a", "2")]), ..RequestHead::default() };
        head.path = Some(HeaderValue::from_static("/p"));
        let mut message = Message::Request(&mut head);
        assert_eq!(message.values(b"A"), [b"1".to_vec(), b"2".to_vec()]);
        assert_eq!(message.values(b":path"), [b"/p".to_vec()]);
        assert_eq!(message.values(b":authority"), Vec::<Vec<u8>>::new());
        assert_eq!(message.set(b"Host", b"h", Existing::Replaced), Ok(()));
        assert_eq!(message.values(b":authority"), [b"h".to_vec()]);
        let names: Vec<_> = message.all().into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect();
        assert_eq!(names, [":authority", ":path", ":method", "a", "a"]);
        message.remove(b"a");
        message.remove(b":method");
        assert_eq!((message.values(b"a").len(), message.values(b":method").len()), (0, 1));
    }

    #[test]
    fn what_would_end_a_line_is_in_no_message() {
        let mut head = RequestHead::default();
        let mut message = Message::Request(&mut head);
        let value = |name: &str| Err(Unsendable::Value(name.to_owned()));
        for (name, text, expected) in [
            ("x", "a\r\nb: c", value("x")),
            ("x y", "a", Err(Unsendable::Name("x y".to_owned()))),
            (":path", "/a b", value(":path")),
            (":method", "G T", value(":method")),
            (":status", "200", value(":status")),
            (":path", "/a?b", Ok(())),
        ] {
            assert_eq!(message.set(name.as_bytes(), text.as_bytes(), Existing::Kept), expected, "{name}");
        }
        let mut head = ResponseHead::new(StatusCode::OK);
        let mut message = Message::Response(&mut head);
        assert_eq!(message.set(b":status", b"101", Existing::Replaced), value(":status"));
        assert_eq!(message.set(b":status", b"503", Existing::Replaced), Ok(()));
        assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
