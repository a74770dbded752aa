//! Upgrade (RFC 9110 7.8) and extended CONNECT (RFC 8441): one translation, both ways.
//!
//! Inside the proxy an upgrade always has its HTTP/1 form: a request with `upgrade` and `connection: upgrade`,
//! responded with 101. Routes, filters and logs see `GET`; only the HTTP/2 wire sees CONNECT and 200.

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderValue, Method, StatusCode};

use crate::codec::{RequestHead, ResponseHead};

const UPGRADE_TOKEN: HeaderValue = HeaderValue::from_static("upgrade");

/// Extended CONNECT as it came over HTTP/2 -> upgrade. Anything else stays as it is.
pub fn request_from_http2(head: &mut RequestHead) {
    let Some(protocol) = head.protocol.take() else { return };
    head.method = Method::GET;
    head.headers.set(UPGRADE, protocol);
    head.headers.set(CONNECTION, UPGRADE_TOKEN);
}

/// Upgrade -> extended CONNECT for an HTTP/2 upstream. The method is lost: RFC 8441 has no place for it.
pub fn request_to_http2(head: &mut RequestHead) {
    let Some(protocol) = head.upgrade().cloned() else { return };
    head.method = Method::CONNECT;
    head.protocol = Some(protocol);
    head.headers.remove(&UPGRADE);
    head.headers.remove(&CONNECTION);
    // A length of zero would mean that the tunnel is empty (RFC 9113 8.1.1).
    if head.headers.get(&CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0") {
        head.headers.remove(&CONTENT_LENGTH);
    }
}

/// The response of an HTTP/2 upstream to an upgrade to `protocol`: 200 accepts it.
pub fn response_from_http2(head: &mut ResponseHead, protocol: &HeaderValue) {
    if head.status != StatusCode::OK {
        return;
    }
    head.status = StatusCode::SWITCHING_PROTOCOLS;
    head.headers.set(UPGRADE, protocol.clone());
    head.headers.set(CONNECTION, UPGRADE_TOKEN);
}

/// The response to an upgrade as an HTTP/2 client must see it: 101 does not exist there (RFC 9113 8.6).
pub fn response_to_http2(head: &mut ResponseHead) {
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    head.status = StatusCode::OK;
    head.headers.remove(&UPGRADE);
    head.headers.remove(&CONNECTION);
    // Envoy drops it too: a length on a tunnel is meaningless and breaks clients that believe it.
    head.headers.remove(&CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::codec::Headers;

    fn upgrade(method: Method, fields: &[(http::HeaderName, &'static str)]) -> RequestHead {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        RequestHead {
            method,
            scheme: None,
            authority: None,
            path: Some(HeaderValue::from_static("/chat")),
            protocol: None,
            version: Version::HTTP_11,
            headers,
        }
    }

    #[test]
    fn a_post_upgrade_becomes_connect_and_comes_out_as_get() {
        let fields = [(CONNECTION, "keep-alive, Upgrade"), (UPGRADE, "WebSocket"), (CONTENT_LENGTH, "0")];
        let mut head = upgrade(Method::POST, &fields);
        request_to_http2(&mut head);
        assert_eq!(
            (head.method.as_str(), head.protocol.as_ref()),
            ("CONNECT", Some(&HeaderValue::from_static("WebSocket")))
        );
        assert!(head.headers.is_empty());
        request_from_http2(&mut head);
        assert_eq!(head.method, Method::GET);
        assert_eq!(head.upgrade(), Some(&HeaderValue::from_static("WebSocket")));
    }

    #[test]
    fn a_request_without_an_upgrade_is_unchanged() {
        let mut head = upgrade(Method::GET, &[(UPGRADE, "websocket")]);
        request_to_http2(&mut head);
        assert_eq!((head.method.as_str(), head.protocol.is_none()), ("GET", true));
    }

    #[test]
    fn only_200_accepts() {
        for (status, expected) in [(200, 101), (201, 201), (403, 403)] {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
            response_from_http2(&mut head, &HeaderValue::from_static("websocket"));
            assert_eq!(head.status.as_u16(), expected);
            assert_eq!(head.headers.upgrade().is_some(), expected == 101);
            response_to_http2(&mut head);
            assert_eq!(head.status.as_u16(), status);
        }
    }
}
