//! Spans as Zipkin takes them: JSON of its version 2.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::Context;
use super::span::{Endpoint, Kind, Span};

/// The body of a report.
#[must_use]
pub fn report(spans: &[Span]) -> String {
    Value::Array(spans.iter().map(Span::to_json).collect()).to_string()
}

impl Span {
    fn to_json(&self) -> Value {
        let Context { id, parent, .. } = self.context;
        let mut span = Map::new();
        let mut set = |name: &str, value: Value| drop(span.insert(name.to_owned(), value));
        set("traceId", self.context.trace_id().into());
        set("id", format!("{id:016x}").into());
        if let Some(parent) = parent {
            set("parentId", format!("{parent:016x}").into());
        }
        match self.kind {
            Kind::Client => set("kind", "CLIENT".into()),
            Kind::Server => set("kind", "SERVER".into()),
        }
        if self.is_shared && self.kind == Kind::Server {
            set("shared", true.into());
        }
        if !self.name.is_empty() {
            set("name", self.name.as_str().into());
        }
        set("timestamp", micros(self.began).into());
        set("duration", u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX).into());
        set("localEndpoint", self.at.to_json());
        // As in Envoy, nothing that is empty is said.
        let said = self.tags.iter().filter(|(_, value)| !value.is_empty());
        let tags: Map<String, Value> = said.map(|(name, value)| (name.to_owned(), value.into())).collect();
        if !tags.is_empty() {
            set("tags", tags.into());
        }
        let annotation = |(at, what): &(SystemTime, &str)| json!({ "timestamp": micros(*at), "value": what });
        set("annotations", self.annotations.iter().map(annotation).collect());
        Value::Object(span)
    }
}

impl Endpoint {
    fn to_json(&self) -> Value {
        let mut endpoint = Map::new();
        let mut set = |name: &str, value: Value| drop(endpoint.insert(name.to_owned(), value));
        if let Some(ip) = self.ip {
            set(if ip.is_ipv4() { "ipv4" } else { "ipv6" }, ip.to_string().into());
            set("port", 0.into());
        }
        if !self.service.is_empty() {
            set("serviceName", self.service.as_str().into());
        }
        Value::Object(endpoint)
    }
}

fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trace::span::Tags;

    #[test]
    fn a_span_is_an_object_of_zipkins() {
        let mut tags = Tags::default();
        tags.set("http.method", "GET");
        tags.set("empty", "");
        let span = Span {
            context: Context { trace_high: None, trace: 5, id: 6, parent: Some(7), is_sampled: true },
            kind: Kind::Server,
            is_shared: true,
            name: "theop".to_owned(),
            began: SystemTime::UNIX_EPOCH + Duration::from_micros(1_796_074_311_736_535),
            took: Duration::from_micros(16_750),
            ended: SystemTime::UNIX_EPOCH,
            tags,
            status: 200,
            state: String::new(),
            annotations: vec![(SystemTime::UNIX_EPOCH + Duration::from_micros(1_796_074_311_753_440), "ss")],
            at: Endpoint { ip: Some([192, 0, 2, 2].into()), service: "ncluster".to_owned() },
        };
        let expected = r#"[{"annotations":[{"timestamp":1796074311753440,"value":"ss"}],"duration":16750,"id":"0000000000000006","kind":"SERVER","localEndpoint":{"ipv4":"192.0.2.2","port":0,"serviceName":"ncluster"},"name":"theop","parentId":"0000000000000007","shared":true,"tags":{"http.method":"GET"},"timestamp":1796074311736535,"traceId":"0000000000000005"}]"#;
        assert_eq!(report(std::slice::from_ref(&span)), expected);
    }
}
