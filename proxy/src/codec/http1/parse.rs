//! Heads, from bytes. Pure; `httparse` finds the tokens, the rules about them are ours.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use httparse::{Error, Header, ParserConfig, Status};

use super::framing::{BodyFields, Chunk, Decoder, TransferCoding};
use super::options::{Methods, NameRules};
use super::refusal::Refusal;
use crate::codec::head::{self, tokens};
use crate::codec::spelling::Spelling;
use crate::codec::wire_bytes::FIELD_FRAMING_BYTES;
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::header_names::{NameCase, Underscores};

/// Fields that are parsed on the stack; a higher limit in the configuration costs an allocation per head.
const FIELDS_ON_STACK: usize = 128;
/// Names in one `connection` header. Envoy's limit: no legitimate message nominates so many.
const NOMINATED_HEADERS_MAX: usize = 9;

/// The methods that Envoy accepts; it refuses all others.
const METHODS: [&str; 35] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// What may come in a request head.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestRules {
    pub(super) accept_http_10: bool,
    pub(super) methods: Methods,
    pub(super) headers_max: usize,
    pub(super) names: NameRules,
}

/// A head with its length in bytes; `None` while it is incomplete.
pub(super) type Parsed<T> = Result<Option<(T, usize)>, Refusal>;

/// A head whose fields had so many bytes as they came, for logs.
pub(super) trait HasFields {
    fn field_bytes(&self) -> u64;
}

/// A request head, and how its body is framed.
#[derive(Debug)]
pub(super) struct FoundRequest {
    pub(super) head: RequestHead,
    pub(super) decoder: Decoder,
    /// Fields that were left out for their underscores.
    pub(super) dropped: u32,
    field_bytes: u64,
}

impl HasFields for FoundRequest {
    fn field_bytes(&self) -> u64 {
        self.field_bytes
    }
}

/// Looks for a request head at the front of `input`.
pub(super) fn request(input: &Bytes, rules: RequestRules) -> Parsed<FoundRequest> {
    let (mut stack, mut heap);
    let slots: &mut [MaybeUninit<Header<'_>>] = if rules.headers_max <= FIELDS_ON_STACK {
        stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        stack.get_mut(..rules.headers_max).unwrap_or_default()
    } else {
        heap = vec![MaybeUninit::uninit(); rules.headers_max];
        &mut heap
    };
    let mut found = httparse::Request::new(&mut []);
    let length = match found.parse_with_uninit_headers(input, slots) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(Error::Version) => return other_version(input),
        Err(error) => return Err(refusal(error, input)),
    };
    let (Some(method), Some(target), Some(minor_version)) = (found.method, found.path, found.version) else {
        return Err(Refusal::Codec);
    };
    let version = if minor_version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    if version == Version::HTTP_10 && !rules.accept_http_10 {
        return Err(Refusal::LowVersion);
    }
    let method = parse_method(method, rules.methods)?;
    let target = parse_target(input, &method, target);
    // As in Envoy, a CONNECT is looked at for a body before its target is read.
    let target = if method == Method::CONNECT { target } else { Ok(target?) };
    let field_bytes = field_bytes(found.headers);
    let Fields { host, framing, mut headers, dropped } = request_fields(input, found.headers, rules)?;
    headers.get(&CONNECTION).map_or(Ok(()), check_connection)?;
    let decoder = if method == Method::CONNECT {
        check_connect_body(framing)?;
        headers.remove(&CONTENT_LENGTH);
        // Whatever follows is the tunnel's, if there will be one; it is never another request.
        Decoder::UntilClose
    } else {
        request_body(framing, version)?
    };
    let target = target?;
    let head = RequestHead {
        method,
        scheme: target.scheme,
        authority: target.authority.or(host),
        path: target.path,
        protocol: None,
        version,
        headers,
    };
    Ok(Some((FoundRequest { head, decoder, dropped, field_bytes }, length)))
}

/// The fields of a request.
struct Fields {
    host: Option<HeaderValue>,
    framing: BodyFields,
    headers: Headers,
    /// How many were left out for their underscores.
    dropped: u32,
}

fn request_fields(input: &Bytes, found: &[Header<'_>], rules: RequestRules) -> Result<Fields, Refusal> {
    let (mut host, mut framing, mut dropped) = (None, BodyFields::default(), 0);
    let mut spelling = Spelling::default();
    let mut headers = head::Received::with_capacity(found.len(), head::is_joined_in_requests);
    for field in found {
        let (name, value) = parse_field(input, field)?;
        if rules.names.case == NameCase::AsReceived {
            spelling.note(field.name);
        }
        if rules.names.underscores != Underscores::Allowed && name.as_str().contains('_') {
            if rules.names.underscores == Underscores::Refused {
                return Err(Refusal::Underscore);
            }
            dropped += 1;
            continue;
        }
        if name == HOST {
            // Two hosts are two readings of one request (RFC 9112 3.2): the next hop may pick the other.
            if !is_authority(value.as_bytes()) || host.replace(value).is_some() {
                return Err(Refusal::InvalidAuthority);
            }
            continue;
        }
        note_framing(&mut framing, &name, &value)?;
        headers.add(name, value);
    }
    let mut headers = headers.finish();
    headers.spell(spelling);
    Ok(Fields { host, framing, headers, dropped })
}

/// Notes what a field sets of the body's framing; most set nothing.
fn note_framing(framing: &mut BodyFields, name: &HeaderName, value: &HeaderValue) -> Result<(), Refusal> {
    match *name {
        CONTENT_LENGTH => framing.note_content_length(value.as_bytes()),
        TRANSFER_ENCODING => framing.note_transfer_encoding(value.as_bytes()),
        _ => Ok(()),
    }
}

/// How a request's body is framed (RFC 9112 6.3).
fn request_body(framing: BodyFields, version: Version) -> Result<Decoder, Refusal> {
    match (framing.transfer_coding, framing.content_length) {
        // A request with both is how smuggling begins: the next hop may pick the other one.
        (TransferCoding::Chunked, Some(_)) => Err(Refusal::LengthAndChunked),
        // HTTP/1.0 has no transfer codings; RFC 9112 6.1 calls such a message faulty.
        (TransferCoding::Chunked, None) if version == Version::HTTP_10 => Err(Refusal::Codec),
        (TransferCoding::Chunked, None) => Ok(Decoder::Chunked(Chunk::Size)),
        (TransferCoding::Absent, length) => Ok(Decoder::length(length.unwrap_or(0))),
    }
}

/// CONNECT has no body (RFC 9110 9.3.6); what follows it is the tunnel's.
fn check_connect_body(framing: BodyFields) -> Result<(), Refusal> {
    match (framing.transfer_coding, framing.content_length) {
        (TransferCoding::Chunked, _) => Err(Refusal::TransferEncoding),
        (TransferCoding::Absent, Some(1..)) => Err(Refusal::BodyDisallowed),
        (TransferCoding::Absent, Some(0) | None) => Ok(()),
    }
}

/// A response head; how its body is framed depends on the request too.
#[derive(Debug)]
pub(super) struct FoundResponse {
    pub(super) head: ResponseHead,
    pub(super) framing: BodyFields,
    field_bytes: u64,
}

impl HasFields for FoundResponse {
    fn field_bytes(&self) -> u64 {
        self.field_bytes
    }
}

/// Looks for a response head at the front of `input`.
pub(super) fn response(input: &Bytes, headers_max: usize, case: NameCase) -> Parsed<FoundResponse> {
    let (mut stack, mut heap);
    let slots: &mut [MaybeUninit<Header<'_>>] = if headers_max <= FIELDS_ON_STACK {
        stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        stack.get_mut(..headers_max).unwrap_or_default()
    } else {
        heap = vec![MaybeUninit::uninit(); headers_max];
        &mut heap
    };
    // RFC 9112 2.2 lets a server skip empty lines before a request. Before a response they are the rest of another one.
    if input.first().is_some_and(|byte| b"\r\n".contains(byte)) {
        return Err(Refusal::Codec);
    }
    let mut found = httparse::Response::new(&mut []);
    let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut found, input, slots) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error, input)),
    };
    let (Some(code), Some(minor_version)) = (found.code, found.version) else { return Err(Refusal::Codec) };
    let status = StatusCode::from_u16(code).map_err(|_| Refusal::Codec)?;
    let version = if minor_version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut framing = BodyFields::default();
    let mut headers = head::Received::with_capacity(found.headers.len(), head::is_joined_in_responses);
    let mut spelling = Spelling::default();
    for field in found.headers.iter() {
        let (name, value) = parse_field(input, field)?;
        if case == NameCase::AsReceived {
            spelling.note(field.name);
        }
        note_framing(&mut framing, &name, &value)?;
        headers.add(name, value);
    }
    let mut headers = headers.finish();
    headers.spell(spelling);
    let head = ResponseHead { status, version, headers };
    Ok(Some((FoundResponse { head, framing, field_bytes: field_bytes(found.headers) }, length)))
}

/// The bytes of fields, as they are counted.
pub(super) fn field_bytes(fields: &[Header<'_>]) -> u64 {
    let bytes = |field: &Header<'_>| (field.name.len() + field.value.len()) as u64 + FIELD_FRAMING_BYTES;
    fields.iter().map(bytes).sum()
}

/// A field, its value without copying.
fn parse_field(input: &Bytes, field: &Header<'_>) -> Result<(HeaderName, HeaderValue), Refusal> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::Codec)?;
    let value = HeaderValue::from_maybe_shared(input.slice_ref(field.value)).map_err(|_| Refusal::InvalidCharacters)?;
    Ok((name, value))
}

fn parse_method(method: &str, allowed: Methods) -> Result<Method, Refusal> {
    match method {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        _ if allowed == Methods::Tokens || METHODS.binary_search(&method).is_ok() => {
            Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Codec)
        }
        _ => Err(Refusal::Codec),
    }
}

/// A request target, taken apart.
#[derive(Default)]
struct Target {
    scheme: Option<HeaderValue>,
    authority: Option<HeaderValue>,
    path: Option<HeaderValue>,
}

/// The four forms of RFC 9112 3.2, and no fifth.
fn parse_target(input: &Bytes, method: &Method, target: &str) -> Result<Target, Refusal> {
    if !target.is_ascii() {
        return Err(Refusal::Codec);
    }
    let shared = |part: &str| {
        HeaderValue::from_maybe_shared(input.slice_ref(part.as_bytes())).map_err(|_| Refusal::InvalidCharacters)
    };
    if *method == Method::CONNECT {
        let has_port = target.rfind(':') > target.rfind(']');
        if !has_port || !is_url_authority(target) {
            return Err(bad_authority(target));
        }
        return Ok(Target { authority: Some(shared(target)?), ..Target::default() });
    }
    // What begins with `*` is for the server as a whole, and gets its response before routes are matched.
    if target.starts_with('/') || (target.starts_with('*') && *method == Method::OPTIONS) {
        return Ok(Target { path: Some(shared(target)?), ..Target::default() });
    }
    if target.starts_with('*') {
        return Err(Refusal::InvalidUrl);
    }
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::Codec)?;
    let scheme = parse_scheme(scheme)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !is_url_authority(authority) {
        return Err(bad_authority(authority));
    }
    // A query without a path stays one, as in Envoy: the caller finds that it is no path.
    let path = match path {
        "" => HeaderValue::from_static("/"),
        _ if path.starts_with('#') => return Err(Refusal::Codec),
        _ => shared(path)?,
    };
    Ok(Target { scheme: Some(scheme), authority: Some(shared(authority)?), path: Some(path) })
}

fn parse_scheme(scheme: &str) -> Result<HeaderValue, Refusal> {
    if scheme.eq_ignore_ascii_case("http") {
        return Ok(HeaderValue::from_static("http"));
    }
    if scheme.eq_ignore_ascii_case("https") {
        return Ok(HeaderValue::from_static("https"));
    }
    // Something else that could be a scheme (RFC 3986 3.1) is refused as one, the rest as garbage.
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    Err(if is_scheme { Refusal::InvalidScheme } else { Refusal::Codec })
}

/// `uri-host [ ":" port ]` by its characters (RFC 3986 3.2.2), or nothing. No userinfo: RFC 9110 4.2.4 calls it
/// a way to deceive.
fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

/// `host [ ":" port ]` of a URL as Envoy takes it: letters, digits, dots and hyphens, or hexadecimal digits, colons and
/// dots in brackets; a port is a number of 16 bits. The `host` field may have more characters ([`is_authority`]).
fn is_url_authority(value: &str) -> bool {
    let (host, port) = match value.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            let is_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
            let port = after.strip_prefix(':');
            if !address.bytes().all(is_address) || (port.is_none() && !after.is_empty()) {
                return false;
            }
            (address, port)
        }
        None => {
            let (name, port) = value.split_once(':').map_or((value, None), |(name, port)| (name, Some(port)));
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
                return false;
            }
            (name, port)
        }
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    !host.is_empty() && port.is_none_or(is_port)
}

/// An authority that is none: of characters that a URL may have, or not even that.
fn bad_authority(value: &str) -> Refusal {
    let in_url = |byte: u8| is_authority(&[byte]) || b"/?@".contains(&byte);
    if value.bytes().all(in_url) { Refusal::InvalidUrl } else { Refusal::Codec }
}

/// A client may have its own hop-by-hop headers removed, but not those that identify it. `value` joins all lines of the
/// field, which are one list.
fn check_connection(value: &HeaderValue) -> Result<(), Refusal> {
    let forbidden = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    let nominates_forbidden = tokens(value).any(|token| {
        token.starts_with(b":") || forbidden.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes()))
    });
    if nominates_forbidden || tokens(value).count() > NOMINATED_HEADERS_MAX {
        return Err(Refusal::ConnectionHeader);
    }
    Ok(())
}

/// `httparse` accepts two versions and refuses the rest at sight. `HTTP/0.9` or `HTTP/2.0` in full is a version
/// we do not support; anything else is no version.
fn other_version<T>(input: &[u8]) -> Parsed<T> {
    let line = first_line(input);
    let version = line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    let matches = version.iter().zip(b"HTTP/0.0").all(|(byte, expected)| match expected {
        b'0' => byte.is_ascii_digit(),
        _ => byte == expected,
    });
    match version.len() {
        8.. if matches => Err(Refusal::LowVersion),
        // The line was cut here, so that it may still become one.
        ..8 if matches && !after_empty_lines(input).contains(&b'\n') => Ok(None),
        _ => Err(Refusal::Codec),
    }
}

/// The first line that is not empty, as far as it is there.
fn first_line(input: &[u8]) -> &[u8] {
    after_empty_lines(input).split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Only line ends are skipped (RFC 9112 2.2): a blank at the front is an error by itself.
fn after_empty_lines(input: &[u8]) -> &[u8] {
    let empty = input.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    input.get(empty..).unwrap_or_default()
}

fn refusal(error: Error, input: &[u8]) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal::TooManyHeaders,
        Error::HeaderValue => Refusal::InvalidCharacters,
        Error::Token => bad_token(first_line(input)),
        Error::HeaderName | Error::NewLine | Error::Status | Error::Version => Refusal::Codec,
    }
}

/// A method or target that is none: the first byte that is wrong decides, wherever the line was cut.
fn bad_token(line: &[u8]) -> Refusal {
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    // A blank at the front is the first byte that is wrong; so is the control character that TLS begins with, or version 2 of a
    // PROXY header behind its empty lines.
    if method.first().is_none_or(|first| *first < b' ') {
        return Refusal::Codec;
    }
    let target = line.get(method.len() + 1..).unwrap_or_default();
    let in_method = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let in_target = |byte: &u8| byte.is_ascii_graphic() || !byte.is_ascii();
    let wrong = method.iter().find(|byte| !in_method(byte)).or_else(|| target.iter().find(|byte| !in_target(byte)));
    match wrong {
        Some(byte) if byte.is_ascii_control() && !b"\t\r\n".contains(byte) => Refusal::InvalidCharacters,
        Some(_) | None => Refusal::Codec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_in_the_table_is_found() {
        for method in METHODS {
            assert_eq!(parse_method(method, Methods::Known).as_ref().map(Method::as_str), Ok(method));
        }
        assert_eq!(parse_method("M-SEARCH", Methods::Known), Err(Refusal::Codec));
    }

    #[test]
    fn heads_keep_order_case_and_values() {
        let rules =
            RequestRules { accept_http_10: false, methods: Methods::Known, headers_max: 10, names: NameRules::PLAIN };
        let input = Bytes::from_static(b"GET / HTTP/1.1\r\nX-B: 1\r\nHost: a\r\nx-a:2\r\nX-B:  3 \r\nx-c:\r\n\r\nrest");
        let (found, length) = request(&input, rules).unwrap().unwrap();
        let fields: Vec<_> = found.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 4] = [("x-b", b"1"), ("x-a", b"2"), ("x-b", b"3"), ("x-c", b"")];
        assert_eq!(fields, expected);
        assert_eq!(input.slice(length..), "rest");
    }
}
