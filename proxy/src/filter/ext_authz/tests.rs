//! What services that speak gRPC get and decide, as Envoy 1.40 has it.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ::http::{HeaderName, HeaderValue, Version};
use prost::Message;
use tokio::time::Instant;

use super::attributes::check_request;
use super::message::{
    Allowed, CheckRequest, CheckResponse, Denied, Flag, HeaderOption, HttpResponse, HttpStatus, QueryParameter, Status,
};
use super::*;
use crate::access_log::Downstream;
use crate::config::ext_authz::{Body, CheckAttributes, HeaderForm};
use crate::config::fraction::{Fraction, MILLION};
use crate::config::service::{GrpcService, Service};
use crate::config::string_match::Pattern;
use crate::net::Address;
use crate::protobuf::{AddressKind, Header};

fn options() -> ExtAuthz {
    let to = Service { cluster: "authz".into(), timeout: Some(Duration::from_millis(1500)), retry: None };
    let service = GrpcService {
        to: Arc::new(to),
        authority: HeaderValue::from_static("authz"),
        edits: Default::default(),
        bytes_max: usize::MAX,
    };
    ExtAuthz {
        rules: None,
        keeps_metadata: true,
        is_shadow: false,
        clearing: Vec::new(),
        service: AuthorisationService::Grpc(Arc::new(service)),
        enabled: Fraction { millionths: MILLION, key: None },
        enabled_metadata: None,
        denied_at_disable: Fraction { millionths: 0, key: None },
        allowed: None,
        disallowed: Vec::new(),
        body: None,
        on_error: OnError::Deny,
        status_on_error: StatusCode::FORBIDDEN,
        denied_bytes_max: None::<NonZeroU32>,
        clears_route: false,
        charges_cluster: true,
        stat_prefix: String::new(),
        validates_mutations: false,
        attributes: Arc::default(),
    }
}

fn request(path: &'static str, fields: &[(&'static str, &'static str)]) -> RequestHead {
    let mut request = RequestHead {
        authority: Some(HeaderValue::from_static("a.test")),
        path: Some(HeaderValue::from_static(path)),
        version: Version::HTTP_11,
        ..RequestHead::default()
    };
    for (name, value) in fields {
        request.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request
}

fn option(key: &str, value: &str) -> HeaderOption {
    let header = Header { key: key.to_owned(), value: value.to_owned(), ..Header::default() };
    HeaderOption { header: Some(header), ..HeaderOption::default() }
}

fn appended(key: &str, value: &str, append: bool) -> HeaderOption {
    HeaderOption { append: Some(Flag { value: append }), ..option(key, value) }
}

fn acting(key: &str, value: &str, append_action: i32) -> HeaderOption {
    HeaderOption { append_action, ..option(key, value) }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

fn end(status: u16, body: &[u8], trailers: Option<&[(&'static str, &'static str)]>) -> CallEnd {
    CallEnd::Response {
        head: ResponseHead::new(StatusCode::from_u16(status).unwrap()),
        body: Bytes::copy_from_slice(body),
        trailers: trailers.map(Headers::of),
    }
}

fn verdict(options: &ExtAuthz, code: i32, http: Option<HttpResponse>) -> Verdict {
    let response = CheckResponse { status: Some(Status { code }), http, dynamic_metadata: None };
    grpc::verdict(options, end(200, &framed(&response), Some(&[("grpc-status", "0")])))
}

fn lines(headers: &Headers) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    lines.collect::<Vec<_>>().join(", ")
}

/// What a service that allows a request with these fields makes of it, and of a response with those.
fn changed(allowed: Allowed, request: &mut RequestHead, response: &mut ResponseHead) -> bool {
    match verdict(&options(), 0, Some(HttpResponse::Ok(allowed))) {
        Verdict::Allowed(changes) => {
            changes.apply(request).apply(response);
            true
        }
        Verdict::Invalid => false,
        Verdict::Denied(_) | Verdict::Error(_) => panic!("neither allowed nor invalid"),
    }
}

#[test]
fn only_a_whole_message_with_status_0_in_the_trailers_is_a_decision() {
    let ok = framed(&CheckResponse::default());
    let zero = Some(&[("grpc-status", "0")][..]);
    for (what, call, is_decided) in [
        ("whole", end(200, &ok, zero), true),
        ("two messages", end(200, &[ok.clone(), ok.clone()].concat(), zero), true),
        ("an empty message that is said to be compressed", end(200, &[1, 0, 0, 0, 0], zero), true),
        ("a compressed message", end(200, &[1, 0, 0, 0, 2, 8, 0], zero), false),
        ("another status of HTTP", end(503, &ok, zero), false),
        ("no trailers", end(200, &ok, None), false),
        ("trailers without a status", end(200, &ok, Some(&[("x", "y")])), false),
        ("another status of gRPC", end(200, &ok, Some(&[("grpc-status", "7")])), false),
        ("a status that is none", end(200, &ok, Some(&[("grpc-status", "x")])), false),
        ("no message", end(200, b"", zero), false),
        ("a message that is cut", end(200, &[0, 0, 0, 0, 5, 1], zero), false),
        ("a prefix that is cut", end(200, &[0, 0], zero), false),
        ("no protobuf", end(200, &[0, 0, 0, 0, 3, 0xff, 0xff, 0xff], zero), false),
        (
            "no response",
            CallEnd::Failed(crate::filter::Unanswered { status: StatusCode::SERVICE_UNAVAILABLE, body: Bytes::new() }),
            false,
        ),
    ] {
        assert_eq!(matches!(grpc::verdict(&options(), call), Verdict::Allowed(_)), is_decided, "{what}");
    }
}

#[test]
fn the_status_decides_and_a_response_for_the_client_goes_with_it() {
    let described = |code, http| match verdict(&options(), code, http) {
        Verdict::Allowed(_) => "allowed".to_owned(),
        Verdict::Denied(it) => {
            format!("denied {:?} [{}] {:?}", it.status.map(|it| it.as_u16()), lines(&it.headers), it.body)
        }
        Verdict::Error(Some(it)) => {
            format!("error {:?} [{}] {:?}", it.status.map(|it| it.as_u16()), lines(&it.headers), it.body)
        }
        Verdict::Error(None) => "error".to_owned(),
        Verdict::Invalid => "invalid".to_owned(),
    };
    let with = |status: i32, headers: Vec<HeaderOption>| Denied {
        status: Some(HttpStatus { code: status }),
        headers,
        body: "go".to_owned(),
    };
    let headers = vec![
        option("x-a", "1"),
        acting("X-A", "2", 1),
        appended("x-b", "1", true),
        appended("x-c", "1", false),
        acting("x-d", "1", 3),
        option("content-length", "7"),
    ];
    for (code, http, expected) in [
        (7, None, r#"denied None [] b"""#),
        (16, Some(HttpResponse::Ok(Allowed::default())), r#"denied None [] b"""#),
        (
            7,
            Some(HttpResponse::Denied(with(401, headers.clone()))),
            r#"denied Some(401) [x-a: 1, x-a: 2, x-c: 1, x-d: 1] b"go""#,
        ),
        (7, Some(HttpResponse::Denied(with(700, Vec::new()))), r#"denied Some(700) [] b"go""#),
        (7, Some(HttpResponse::Denied(with(0, Vec::new()))), r#"denied None [] b"go""#),
        (7, Some(HttpResponse::Denied(with(99, Vec::new()))), "invalid"),
        (7, Some(HttpResponse::Denied(with(401, vec![option("a b", "1")]))), "invalid"),
        (7, Some(HttpResponse::Denied(with(401, vec![option("x-a", "1\r\nb: c")]))), "invalid"),
        (7, Some(HttpResponse::Error(with(503, headers))), r#"error Some(503) [x-a: 1, x-a: 2, x-c: 1, x-d: 1] b"go""#),
        (13, Some(HttpResponse::Error(Denied::default())), r#"error None [] b"""#),
        (0, None, "allowed"),
        (0, Some(HttpResponse::Denied(with(401, Vec::new()))), "allowed"),
        (0, Some(HttpResponse::Error(with(503, Vec::new()))), "allowed"),
    ] {
        assert_eq!(described(code, http), expected, "{code}");
    }
}

#[test]
fn headers_of_the_request_are_replaced_and_with_append_joined() {
    let present = [("x-a", "0"), ("x-b", "0"), ("x-c", "0"), ("x-e", "0"), ("x-gone", "1"), ("x-set-gone", "1")];
    let mut head = request("/", &present);
    let headers = vec![
        option("x-a", "1"),
        acting("x-a", "2", 0),
        appended("x-b", "1", false),
        appended("x-c", "1", true),
        appended("x-c", "2", true),
        appended("x-d", "1", true),
        acting("x-e", "1", 1),
        acting("x-f", "1", 3),
        appended("x-n", "1", true),
        option("x-n", "2"),
        option("x-set-gone", "2"),
        option("transfer-encoding", "chunked"),
    ];
    let headers_to_remove = ["X-Gone", "x-set-gone", "host", ":path", "a b", "connection"].map(str::to_owned).into();
    let allowed = Allowed { headers, headers_to_remove, ..Allowed::default() };
    assert!(changed(allowed, &mut head, &mut ResponseHead::new(StatusCode::OK)));
    assert_eq!(lines(&head.headers), "x-a: 2, x-b: 1, x-c: 0,1,2, x-e: 1, x-f: 1, x-n: 2,1");
    assert_eq!(head.authority.unwrap(), "a.test");
}

#[test]
fn what_comes_before_the_headers_can_be_replaced_by_what_is_valid() {
    let described = |options: Vec<HeaderOption>| {
        let mut head = request("/a?b=1", &[]);
        let allowed = Allowed { headers: options, ..Allowed::default() };
        let is_valid = changed(allowed, &mut head, &mut ResponseHead::new(StatusCode::OK));
        let text = |value: &Option<HeaderValue>| value.as_ref().map(|value| value.to_str().unwrap().to_owned());
        is_valid.then(|| {
            (head.method.to_string(), text(&head.authority).unwrap(), text(&head.path).unwrap(), text(&head.scheme))
        })
    };
    let all =
        vec![option(":method", "PUT"), option(":path", "/x?y"), option("Host", "b.test"), option(":scheme", "https")];
    let expected = ("PUT".to_owned(), "b.test".to_owned(), "/x?y".to_owned(), Some("https".to_owned()));
    assert_eq!(described(all), Some(expected));
    for invalid in [
        option(":path", "/a b"),
        option(":path", ""),
        option(":path", "/a#b"),
        appended(":path", "/a", true),
        option(":authority", "a b"),
        option("host", ""),
        option(":method", "A B"),
        option(":scheme", "ftp"),
        option(":status", "200"),
        option("a b", "1"),
        option("", "1"),
        option("x-a", "1\n"),
        HeaderOption::default(),
    ] {
        assert_eq!(described(vec![invalid.clone()]), None, "{invalid:?}");
    }
}

#[test]
fn headers_of_the_response_follow_their_actions() {
    let options = |name: &str| {
        let named = |kind: &str| format!("{name}-{kind}");
        vec![
            acting(&named("overwritten-if-there"), "1", 3),
            option(&named("added"), "1"),
            option(&named("added"), "2"),
            appended(&named("set"), "1", false),
            appended(&named("appended"), "1", true),
            acting(&named("if-absent"), "1", 1),
            acting(&named("if-absent"), "2", 1),
            acting(&named("overwritten"), "1", 2),
            option("connection", "close"),
        ]
    };
    let mut response = ResponseHead::new(StatusCode::OK);
    for kind in ["added", "set", "appended", "if-absent", "overwritten", "overwritten-if-there"] {
        let name = HeaderName::try_from(format!("y-{kind}")).unwrap();
        response.headers.append(name, HeaderValue::from_static("app"));
    }
    let allowed = Allowed { response_headers_to_add: [options("y"), options("z")].concat(), ..Allowed::default() };
    assert!(changed(allowed, &mut request("/", &[]), &mut response));
    assert_eq!(
        lines(&response.headers),
        "y-added: app, y-appended: app, y-if-absent: app, y-added: 1, y-added: 2, y-appended: 1, z-added: 1, z-added: 2, \
         z-appended: 1, y-set: 1, y-overwritten: 1, z-set: 1, z-overwritten: 1, z-if-absent: 1, y-overwritten-if-there: 1"
    );
}

#[test]
fn parameters_are_set_as_they_are_unless_mutations_are_validated() {
    let strict = ExtAuthz { validates_mutations: true, ..options() };
    for (key, value, as_they_are, validated) in [
        ("a", "b", true, true),
        ("a", "", true, true),
        ("", "x", true, true),
        ("a", "a/b", true, false),
        ("a", "a@b", true, false),
        ("a", "%41", true, false),
        ("a", "a+b", true, false),
        ("a", "x=y", true, false),
        ("a=b", "x", false, false),
        ("a", "1&2", false, false),
        ("a", "9 9", false, false),
        ("a", "\u{fc}", false, false),
    ] {
        for (options, expected) in [(&options(), as_they_are), (&strict, validated)] {
            let query_parameters_to_set = vec![QueryParameter { key: key.to_owned(), value: value.to_owned() }];
            let allowed = Allowed { query_parameters_to_set, ..Allowed::default() };
            let verdict = verdict(options, 0, Some(HttpResponse::Ok(allowed)));
            assert_eq!(matches!(verdict, Verdict::Allowed(_)), expected, "{key} {value}");
        }
    }
}

fn info() -> StreamInfo {
    let address = |text: &str| Address::Socket(text.parse().unwrap());
    let downstream = Downstream::new(1, address("10.0.0.2:80"), address("10.0.0.1:4711"));
    let started = UNIX_EPOCH + Duration::new(7, 8_000);
    StreamInfo { bytes_received: 22, ..StreamInfo::new(Instant::now(), started, Rc::new(downstream)) }
}

fn sent(options: &ExtAuthz, head: &RequestHead, body: CheckBody) -> CheckRequest {
    let AuthorisationService::Grpc(service) = &options.service else { panic!("the service speaks gRPC") };
    let call = grpc::check(options, service, head, body, &info(), 9);
    let expected = "te: trailers, content-type: application/grpc, grpc-timeout: 1500m";
    assert_eq!(lines(&call.head.headers), expected);
    assert_eq!(call.head.path.unwrap(), "/envoy.service.auth.v3.Authorization/Check");
    CheckRequest::decode(&call.body[5..]).unwrap()
}

#[test]
fn a_service_gets_the_request_with_its_addresses_and_all_headers() {
    let head = request(
        "/a?b",
        &[("cookie", "a=1"), ("x-a", "1"), ("x-a", "2"), ("cookie", "b=2"), ("x-envoy-auth-partial-body", "no")],
    );
    let body = CheckBody { bytes: Bytes::from_static(b"he\xff\xfe"), is_cut: Some(true) };
    let attributes = sent(&options(), &head, body).attributes.unwrap();
    let port = |peer: &message::Peer| match peer.address.clone().unwrap().kind.unwrap() {
        AddressKind::Socket(at) => (at.address, at.port),
        AddressKind::Internal(_) | AddressKind::Pipe(_) => panic!("a socket"),
    };
    assert_eq!(port(&attributes.source.unwrap()), ("10.0.0.1".to_owned(), 4711));
    assert_eq!(port(&attributes.destination.unwrap()), ("10.0.0.2".to_owned(), 80));
    let request = attributes.request.unwrap();
    assert_eq!(request.time.map(|time| (time.seconds, time.nanos)), Some((7, 8_000)));
    let http = request.http.unwrap();
    let texts = [&http.id, &http.method, &http.path, &http.host, &http.scheme, &http.protocol, &http.body];
    assert_eq!(texts.map(String::as_str), ["9", "GET", "/a?b", "a.test", "http", "HTTP/1.1", "he!!"]);
    assert_eq!(http.size, 22);
    let headers: Vec<String> = http.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        headers.join(" "),
        ":authority=a.test :method=GET :path=/a?b :scheme=http cookie=a=1,b=2 x-a=1,2 x-envoy-auth-partial-body=true"
    );
    assert!(attributes.metadata_context.is_some() && attributes.route_metadata_context.is_some());
    assert_eq!(attributes.tls_session, None);
}

#[test]
fn lists_of_headers_and_their_form_are_the_filters() {
    let exact = |name: &str| StringMatch { pattern: Pattern::Exact(name.to_owned()), ignore_case: true };
    let attributes = CheckAttributes {
        body: Body::Bytes,
        headers: HeaderForm::Raw,
        extensions: [("a".to_owned(), "1".to_owned())].into(),
        metadata_namespaces: vec!["here".to_owned(), "nowhere".to_owned()],
        ..CheckAttributes::default()
    };
    let options = ExtAuthz {
        allowed: Some(vec![exact("x-a"), exact(":path"), exact("x-b")]),
        disallowed: vec![exact("x-b")],
        attributes: Arc::new(attributes),
        ..options()
    };
    let head = request("/a", &[("x-a", "1"), ("x-a", "2"), ("x-b", "1"), ("authorization", "x")]);
    let mut info = info();
    let here = [("n".to_owned(), Value::List(vec![Value::Number(1.5), Value::Null]))].into();
    info.metadata = Some(Box::new(crate::config::metadata::Metadata(
        [("here".to_owned(), here), ("other".to_owned(), Struct::new())].into(),
    )));
    let body = CheckBody { bytes: Bytes::from_static(b"\xff"), is_cut: None };
    let attributes = check_request(&options, &head, body, &info, 9).attributes.unwrap();
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((http.body.as_str(), &http.raw_body[..]), ("", &b"\xff"[..]));
    let raw: Vec<(String, Bytes)> =
        http.header_map.unwrap().headers.into_iter().map(|it| (it.key, it.raw_value)).collect();
    let expected = [(":path", "/a"), ("x-a", "1"), ("x-a", "2")];
    assert_eq!(raw, expected.map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes()))));
    assert!(http.headers.is_empty());
    assert_eq!(attributes.context_extensions, [("a".to_owned(), "1".to_owned())].into());
    let metadata = attributes.metadata_context.unwrap().filter_metadata;
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["here"]);
}
