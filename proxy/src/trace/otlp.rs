//! Spans as collectors of OpenTelemetry take them: `ExportTraceServiceRequest`, as protobuf has it, with the fields that are sent.

use std::time::SystemTime;

use prost::{Message, Oneof};

use super::span::{Kind, Span};

/// What the collector is told of the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// As Envoy calls itself.
const NAME: &str = "envoy";

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SentSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct SentSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyKind", tags = "1")]
    kind: Option<AnyKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum AnyKind {
    #[prost(string, tag = "1")]
    Text(String),
}

/// The body of a report.
#[must_use]
pub fn report(spans: &[Span], service: &str) -> Vec<u8> {
    let attributes = vec![
        attribute("service.name", service),
        attribute("telemetry.sdk.language", "rust"),
        attribute("telemetry.sdk.name", NAME),
        attribute("telemetry.sdk.version", VERSION),
    ];
    let scope = Scope { name: NAME.to_owned(), version: VERSION.to_owned() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.iter().map(sent).collect() };
    let resource_spans = ResourceSpans { resource: Some(Resource { attributes }), scope_spans: vec![scope_spans] };
    Request { resource_spans: vec![resource_spans] }.encode_to_vec()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { kind: Some(AnyKind::Text(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

fn sent(span: &Span) -> SentSpan {
    const IS_SAMPLED: u32 = 1;
    const IS_KNOWN: u32 = 0x100; // whether the parent is of another process
    const IS_REMOTE: u32 = 0x200;
    const ERROR: i32 = 2;
    let context = &span.context;
    let remote = context.parent.map_or(0, |_| IS_REMOTE);
    let (kind, fault_from) = match span.kind {
        Kind::Client => (3, 400),
        Kind::Server => (2, 500),
    };
    SentSpan {
        trace_id: [context.trace_high.unwrap_or(0).to_be_bytes(), context.trace.to_be_bytes()].concat(),
        span_id: context.id.to_be_bytes().to_vec(),
        trace_state: span.state.clone(),
        parent_span_id: context.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.clone(),
        kind,
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.ended),
        attributes: span.tags.iter().map(|(name, value)| attribute(name, value)).collect(),
        status: (span.status >= fault_from).then_some(Status { code: ERROR }),
        flags: IS_SAMPLED | IS_KNOWN | remote,
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trace::Context;
    use crate::trace::span::{Endpoint, Tags};

    #[test]
    fn a_report_has_the_spans_of_one_service() {
        let mut tags = Tags::default();
        tags.set("http.method", "GET");
        let span = Span {
            context: Context { trace_high: Some(1), trace: 2, id: 3, parent: Some(4), is_sampled: true },
            kind: Kind::Server,
            is_shared: false,
            name: "ingress".to_owned(),
            began: SystemTime::UNIX_EPOCH + Duration::from_nanos(5),
            took: Duration::ZERO,
            ended: SystemTime::UNIX_EPOCH + Duration::from_nanos(6),
            tags,
            annotations: Vec::new(),
            status: 503,
            state: "a=b".to_owned(),
            at: Endpoint::default(),
        };
        let read = Request::decode(&*report(&[span], "svc")).unwrap();
        let [of_resource] = &read.resource_spans[..] else { panic!("{read:?}") };
        assert_eq!(of_resource.resource.as_ref().unwrap().attributes[0], attribute("service.name", "svc"));
        let [of_scope] = &of_resource.scope_spans[..] else { panic!("{read:?}") };
        let [span] = &of_scope.spans[..] else { panic!("{read:?}") };
        assert_eq!(span.trace_id, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!((&span.span_id[7], &span.parent_span_id[7], span.kind, span.flags), (&3, &4, 2, 0x301));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5, 6));
        assert_eq!(span.status, Some(Status { code: 2 }));
        assert_eq!(span.attributes, [attribute("http.method", "GET")]);
    }
}
