//! Every operator and both forms, in three streams.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::*;
use crate::access_log::details::ConnectFailure;
use crate::access_log::{
    ConnectionTermination, Details, Downstream, ResetCause, ResponseFlag, ResponseStart, UpstreamReset,
};
use crate::codec::Headers;
use crate::config::cluster::ClusterNames;
use crate::config::filter_state::{Object, ObjectKind};
use crate::config::log_format::Json;
use crate::net::{Address, ConnInfo};

struct Ones;

impl Random for Ones {
    fn next_u64(&self) -> u64 {
        u64::MAX
    }
}

fn at(text: &str) -> Address {
    Address::Socket(text.parse().unwrap())
}

/// A stream of which nothing is known but that it began.
fn blank() -> StreamInfo {
    let downstream = Downstream::new(7, at("[::1]:80"), at("127.0.0.1:5000"));
    let started = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_237_736_710);
    StreamInfo::new(Instant::now(), started, Rc::new(downstream))
}

/// A stream that went through.
fn served() -> StreamInfo {
    let mut info = blank();
    info.protocol = Some(Version::HTTP_11);
    info.request = Some(RequestHead {
        method: Method::GET,
        scheme: None,
        authority: Some(HeaderValue::from_static("lab.test")),
        path: Some(HeaderValue::from_static("/a/b?c")),
        protocol: None,
        version: Version::HTTP_11,
        headers: Headers::of(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-two", "1"),
            ("x-request-id", "id"),
            ("x-two", "2"),
        ]),
    });
    let mut response = ResponseHead::new(StatusCode::OK);
    response.headers = Headers::of(&[("x-envoy-upstream-service-time", "0")]);
    info.response = Some(response);
    info.response_code = Some(200);
    info.detail(Details::ViaUpstream);
    info.bytes_received = 3;
    info.bytes_sent = 2;
    info.route_name = Some("r".into());
    info.upstream_cluster = Some(Rc::new(ClusterNames { own: "up".into(), shown: "alt".into() }));
    info.upstream_host = Some(at("127.0.0.1:26010"));
    info.upstream_name = Some(HeaderValue::from_static("app.test:80"));
    info.upstream_connection =
        Some(ConnInfo { local: at("127.0.0.1:40000"), peer: at("127.0.0.1:1"), number: 7, state: None, tls: None });
    info.virtual_cluster = Some("other".into());
    info.upstream_protocol = Some(Version::HTTP_2);
    info.attempts = 1;
    info.trailers = Some(Headers::of(&[("x-t", "t")]));
    info.times.pool_wait = Some(Duration::from_millis(2));
    info.times.upstream_ready = Some(info.times.begin + Duration::from_micros(700));
    info.times.request_end = Some(info.times.begin + Duration::from_micros(500));
    info.times.upstream_response_begin = Some(info.times.begin + Duration::from_micros(1000));
    info.finish(info.times.begin + Duration::from_micros(1999));
    info
}

/// A stream whose connect failed and whose client then left.
fn failed() -> StreamInfo {
    let mut info = served();
    info.request = None;
    info.upstream_name = None;
    info.upstream_connection =
        Some(ConnInfo { local: at("127.0.0.1:40000"), peer: at("127.0.0.1:1"), number: 0, state: None, tls: None });
    info.virtual_cluster = None;
    info.trailers = None;
    info.response = None;
    info.response_code = None;
    info.client = Some(Address::Internal("inner".into()));
    for flag in [ResponseFlag::UF, ResponseFlag::URX, ResponseFlag::UF, ResponseFlag::DC] {
        info.flag(flag);
    }
    info.detail(Details::UpstreamReset(UpstreamReset {
        response: ResponseStart::Before,
        cause: ResetCause::Connect(ConnectFailure::new("delayed connect error: Connection refused")),
    }));
    info.connection_termination = Some(ConnectionTermination::SlowHandshake);
    info.transport_failure = Some("delayed connect error: Connection refused".into());
    info.route_name = Some("".into());
    info
}

fn line(format: &str, info: &StreamInfo) -> String {
    let mut out = b"kept ".to_vec();
    render(Format::parse(format).unwrap().into(), info, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("kept ").unwrap().to_owned()
}

fn render(format: LineFormat, info: &StreamInfo, out: &mut Vec<u8>) {
    let heads = Heads { request: info.request.as_ref(), response: info.response.as_ref() };
    let source = Source { heads, info, body: b"", log_type: LogType::DownstreamEnd, random: Some(&Ones) };
    Renderer::new(format).render(&source, out);
}

const UUID: &str = "ffffffff-ffff-4fff-bfff-ffffffffffff";

#[test]
fn every_operator_in_three_streams() {
    // Format, nothing known, served, failed.
    let cases = [
        ("%BYTES_RECEIVED%/%BYTES_SENT%", "0/0", "3/2", "3/2"),
        ("%CONNECTION_ID%", "7", "7", "7"),
        ("%CONNECTION_TERMINATION_DETAILS%", "-", "-", "transport socket timeout was reached"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1:5000"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", "[::1]:80", "[::1]:80", "[::1]:80"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "::1", "::1", "::1"),
        ("%DOWNSTREAM_LOCAL_PORT%", "80", "80", "80"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "127.0.0.1:5000", "127.0.0.1:5000", "envoy://inner/"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1", "127.0.0.1", "envoy://inner/"),
        ("%DURATION%", "0", "1", "1"),
        ("%PROTOCOL%", "-", "HTTP/1.1", "HTTP/1.1"),
        ("%REQ(:METHOD)% %REQ(:PATH)%", "- -", "GET /a/b?c", "- -"),
        ("%REQ(HOST)% %REQ(:SCHEME)%", "- -", "lab.test http", "- -"),
        ("%REQ(X-TWO)%", "-", "1", "-"),
        ("%REQ(X-NONE?:PATH)%", "-", "/a/b?c", "-"),
        ("%REQ(:PATH?X-NONE)%", "-", "/a/b?c", "-"),
        ("%REQ(:PATH):3% %REQ(X-NONE):3% %REQ(:PATH):99%", "- - -", "/a/ - /a/b?c", "- - -"),
        ("%RESP(:STATUS)% %RESP(X-NONE?X-ENVOY-UPSTREAM-SERVICE-TIME)%", "- -", "200 0", "- -"),
        ("%REQUEST_DURATION%", "-", "0", "0"),
        ("%RESPONSE_CODE%", "0", "200", "0"),
        (
            "%RESPONSE_CODE_DETAILS%",
            "-",
            "via_upstream",
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
        ),
        ("%RESPONSE_DURATION%", "-", "1", "1"),
        ("%RESPONSE_FLAGS%", "-", "-", "UF,URX,DC"),
        (
            "%RESPONSE_FLAGS_LONG%",
            "-",
            "-",
            "UpstreamConnectionFailure,UpstreamRetryLimitExceeded,DownstreamConnectionTermination",
        ),
        ("%RESPONSE_TX_DURATION%", "-", "0", "0"),
        ("%ROUTE_NAME%", "-", "r", "-"),
        ("%START_TIME%", "2026-11-21T05:08:56.710Z", "2026-11-21T05:08:56.710Z", "2026-11-21T05:08:56.710Z"),
        (
            "%START_TIME(%s.%3f %d/%b/%Y)%",
            "1795237736.710 21/Nov/2026",
            "1795237736.710 21/Nov/2026",
            "1795237736.710 21/Nov/2026",
        ),
        ("%UPSTREAM_CLUSTER%", "-", "alt", "alt"),
        ("%UPSTREAM_CLUSTER_RAW%", "-", "up", "up"),
        ("%UPSTREAM_HOST%", "-", "127.0.0.1:26010", "127.0.0.1:26010"),
        ("%UPSTREAM_CONNECTION_ID%", "0", "7", "0"),
        ("%UPSTREAM_HOST_NAME%", "-", "app.test:80", "127.0.0.1:26010"),
        ("%UPSTREAM_HOST_NAME_WITHOUT_PORT%", "-", "app.test", "127.0.0.1"),
        ("%VIRTUAL_CLUSTER_NAME%", "-", "other", "-"),
        ("%UPSTREAM_LOCAL_ADDRESS%", "-", "127.0.0.1:40000", "127.0.0.1:40000"),
        ("%UPSTREAM_PROTOCOL%", "-", "HTTP/2", "HTTP/2"),
        ("%UPSTREAM_REMOTE_ADDRESS%", "-", "127.0.0.1:26010", "127.0.0.1:26010"),
        ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "0", "1", "1"),
        ("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "-", "-", "delayed_connect_error:_Connection_refused"),
        ("%ACCESS_LOG_TYPE%", "DownstreamEnd", "DownstreamEnd", "DownstreamEnd"),
        ("%COMMON_DURATION(DS_RX_BEG:US_TX_END:us)%", "-", "700", "700"),
        ("%COMMON_DURATION(US_RX_BEG:DS_TX_END:us)%", "-", "999", "999"),
        ("%COMMON_DURATION(US_RX_BEG:DS_RX_BEG:us)%", "-", "-", "-"),
        ("%CUSTOM_FLAGS%%LOCAL_REPLY_BODY%", "", "", ""),
        ("%DOWNSTREAM_REMOTE_PORT%", "5000", "5000", "-"),
        ("%DYNAMIC_METADATA(a:b)%", "-", "-", "-"),
        ("%EMIT_TIME%", "2026-11-21T05:08:56.710Z", "2026-11-21T05:08:56.711Z", "2026-11-21T05:08:56.711Z"),
        ("%GRPC_STATUS%", "-", "-", "-"),
        ("%PACKETS_RETRANSMITTED%", "0", "0", "0"),
        ("%PATH%|%PATH(NQ)%|%PATH(WQ:ORIG)%|%QUERY_PARAMS%", "-|-|-|-", "/a/b?c|/a/b|-|c", "-|-|-|-"),
        ("%QUERY_PARAM(c)%|%QUERY_PARAM(d)%", "-|-", "|-", "-|-"),
        ("%REQUEST_HEADERS_BYTES%", "0", "99", "0"),
        ("%RESPONSE_HEADERS_BYTES%", "0", "40", "0"),
        ("%REQUEST_TX_DURATION%", "-", "0", "0"),
        ("%STREAM_ID%", "-", "id", "-"),
        ("%TRAILER(x-t)% %RESPONSE_TRAILERS_BYTES%", "- 0", "t 4", "- 0"),
        ("%UNIQUE_ID%", UUID, UUID, UUID),
        ("%UPSTREAM_LOCAL_PORT%", "-", "40000", "40000"),
        ("%UPSTREAM_CONNECTION_POOL_READY_DURATION%", "-", "2", "2"),
        ("100%% of \"it\"", "100% of \"it\"", "100% of \"it\"", "100% of \"it\""),
    ];
    let [blank, served, failed] = [blank(), served(), failed()];
    for (format, nothing_known, went_through, went_wrong) in cases {
        assert_eq!(line(format, &blank), nothing_known, "{format}, nothing known");
        assert_eq!(line(format, &served), went_through, "{format}, served");
        assert_eq!(line(format, &failed), went_wrong, "{format}, failed");
    }
}

#[test]
fn the_default_line_is_envoys() {
    let mut out = Vec::new();
    render(Format::default_line().into(), &served(), &mut out);
    // As Envoy 1.40 wrote it for such a request.
    let want = "[2026-11-21T05:08:56.710Z] \"GET /a/b?c HTTP/1.1\" 200 - 3 2 1 0 \"10.0.0.1\" \"-\" \"id\" \
                \"lab.test\" \"127.0.0.1:26010\"\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);
}

/// As Envoy 1.40 wrote them for such formats.
#[test]
fn json_keeps_types_and_omits_empty_values_where_configured() {
    let value = |text: &str| Json::parse(text).unwrap();
    let member = |key: &str, value: Json| (key.to_owned(), value);
    let none = || value("%REQ(x-none)%");
    let object = Json::object(vec![
        member("z\"", value("a\\b\n")),
        member("code", value("%RESPONSE_CODE%")),
        member("mixed", value("a%REQ(x-none)%b")),
        member("flags", value("%RESPONSE_FLAGS%")),
        member("list", Json::List(vec![none(), Json::Null, value("%REQ(:PATH):2%"), Json::Map(Vec::new())])),
        member("map", Json::object(vec![member("m", none())])),
        member("none", none()),
        member("text", value("")),
        member("two", value("%RESPONSE_CODE%%BYTES_SENT%")),
    ]);
    let lines = [MissingValue::Marked, MissingValue::Omitted].map(|missing| {
        let mut out = Vec::new();
        render(LineFormat { form: LineForm::Json(object.clone()), missing }, &served(), &mut out);
        String::from_utf8(out).unwrap()
    });
    let marked = r#"{"code":200,"flags":"-","list":[null,null,"/a",{}],"map":{"m":null},"mixed":"a-b","none":null,"text":"","two":"2002","z\"":"a\\b\n"}"#;
    let omitted = r#"{"code":200,"flags":"-","list":["/a"],"mixed":"ab","text":"","two":"2002","z\"":"a\\b\n"}"#;
    assert_eq!(lines, [marked, omitted].map(|line| format!("{line}\n")));
}

#[test]
fn filter_state_is_written_as_text_and_as_json() {
    let object = |kind, text: &str| Object::parse(kind, text.as_bytes()).unwrap();
    let mut info = served();
    info.set_state("text".into(), object(ObjectKind::Text, "q\"é"));
    info.set_state("flag".into(), object(ObjectKind::DisableTunneling, "yes"));
    info.set_state("count".into(), object(ObjectKind::IdleTimeout, "12"));
    info.set_state("name".into(), object(ObjectKind::ServerName, "a.test"));
    info.set_state("protocols".into(), object(ObjectKind::ApplicationProtocols, "h2"));
    info.set_state("messages".into(), object(ObjectKind::GrpcMessages, "3,0"));
    info.set_state("fields".into(), object(ObjectKind::Fields, r#"{"headers":[]}"#));
    info.set_state("tlvs".into(), object(ObjectKind::TlvValues, r#"{"a":"x\"","b":""}"#));
    for (name, value) in [("a", "x\""), ("b", ""), ("c", "-")] {
        assert_eq!(line(&format!("%FILTER_STATE(tlvs:FIELD:{name})%"), &info), value);
    }
    for (key, plain, typed) in [
        ("text", "q\"é", r#""q\"é""#),
        ("flag", "false", "false"),
        ("count", "12", r#""12""#),
        ("name", "a.test", "-"),
        ("protocols", "-", "-"),
        ("fields", "-", r#"{"headers":[]}"#),
        ("messages", "3,0", r#"{"requestMessageCount":"3"}"#),
        ("tlvs", r#"{"a":"x\"","b":""}"#, r#"{"a":"x\"","b":""}"#),
        ("none", "-", "-"),
    ] {
        assert_eq!(line(&format!("%FILTER_STATE({key}:PLAIN)%"), &info), plain);
        assert_eq!(line(&format!("%FILTER_STATE({key})%"), &info), typed);
        assert_eq!(line(&format!("%UPSTREAM_FILTER_STATE({key}:PLAIN)%"), &info), "-");
        let object = Json::object(vec![(key.to_owned(), Json::parse(&format!("%FILTER_STATE({key}):2%")).unwrap())]);
        let mut out = Vec::new();
        render(LineFormat { form: LineForm::Json(object), missing: MissingValue::Marked }, &info, &mut out);
        let typed = typed.replace("requestMessageCount", "request_message_count");
        let typed = if typed == "-" { "null" } else { &typed };
        assert_eq!(String::from_utf8(out).unwrap(), format!("{{\"{key}\":{typed}}}\n"));
    }
    assert_eq!(Object::parse(ObjectKind::IdleTimeout, b"1x"), None);
}

#[test]
fn json_escapes_what_is_no_text_byte_by_byte() {
    let mut info = served();
    let mut request = info.request.take().unwrap();
    request.headers.append(HeaderName::from_static("x-in"), HeaderValue::from_bytes(b"q\"\\\xff\xc3\xa9\t/<").unwrap());
    request.headers.append(HeaderName::from_static("x-ok"), HeaderValue::from_bytes("q\"é\t".as_bytes()).unwrap());
    info.request = Some(request);
    let object = Json::object(vec![
        ("in".to_owned(), Json::parse("%REQ(x-in)%").unwrap()),
        ("ok".to_owned(), Json::parse("%REQ(x-ok)%").unwrap()),
    ]);
    let mut out = Vec::new();
    render(LineFormat { form: LineForm::Json(object), missing: MissingValue::Marked }, &info, &mut out);
    let line = r#"{"in":"q\u0022\u005c\u00ff\u00c3\u00a9\u0009/<","ok":"q\"é\t"}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n"));
}

#[test]
fn a_text_may_omit_what_is_missing_but_not_its_flags() {
    let mut out = Vec::new();
    let form = LineForm::Text(Format::parse("[%REQ(x-none)%] [%RESPONSE_FLAGS%]").unwrap());
    render(LineFormat { form, missing: MissingValue::Omitted }, &served(), &mut out);
    assert_eq!(out, b"[] [-]");
}

#[test]
fn a_query_parameter_is_decoded_but_for_control_characters() {
    let mut info = served();
    if let Some(request) = &mut info.request {
        request.path = Some(HeaderValue::from_static("/x?q=a%20b+c%0a%&q=2&%71x=%e4"));
    }
    let mut out = Vec::new();
    render(Format::parse("%QUERY_PARAM(q)% %QUERY_PARAM(qx)%").unwrap().into(), &info, &mut out);
    assert_eq!(out, b"a b+c%0a% \xe4");
}

#[test]
fn a_grpc_status_comes_from_trailers_or_from_the_http_status() {
    let mut info = served();
    if let Some(request) = &mut info.request {
        request.headers.append(HeaderName::from_static("content-type"), HeaderValue::from_static("application/grpc"));
    }
    for (trailers, code, wanted) in [
        (&[("grpc-status", "5")][..], 200, "NotFound NOT_FOUND 5 5"),
        (&[("grpc-status", "99")], 200, "99 99 99 99"),
        (&[("grpc-status", "abc")], 200, "-1 -1 -1 -1"),
        (&[], 503, "Unavailable UNAVAILABLE 14 14"),
        (&[], 200, "Unknown UNKNOWN 2 2"),
    ] {
        info.trailers = Some(Headers::of(trailers));
        info.response_code = Some(code);
        let format = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%";
        assert_eq!(line(format, &info), wanted);
    }
}
