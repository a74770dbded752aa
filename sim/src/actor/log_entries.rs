//! What an access log service gets: messages of gRPC with entries in them, in words.
//!
//! The names and numbers of the fields are those of Envoy's own files, and not the proxy's code: what is shown is what another service
//! would read.

use std::fmt::Write;
use std::net::IpAddr;

/// The messages of one call, as they come.
#[derive(Debug, Default)]
pub(super) struct LogReader {
    unread: Vec<u8>,
    messages: usize,
}

/// What a field is.
enum Kind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// One of these, by their numbers.
    One(&'static [&'static str]),
    /// A message.
    Of(&'static [Field]),
    /// A message whose only field is a number.
    Wrapped,
    /// A duration, or a time.
    Span,
    /// An address.
    Address,
    /// Pairs of texts.
    Pairs,
    /// Bytes, as hexadecimal digits.
    Hex,
    /// What is in it is not shown.
    Opaque,
}

type Field = (u64, &'static str, Kind);

const LOGS: &[Field] = &[
    (1, "identifier", Kind::Of(IDENTIFIER)),
    (2, "requests", Kind::Of(&[(1, "request", Kind::Of(HTTP))])),
    (3, "connections", Kind::Of(&[(1, "connection", Kind::Of(TCP))])),
];

const IDENTIFIER: &[Field] = &[(1, "node", Kind::Of(NODE)), (2, "log_name", Kind::Text)];

const NODE: &[Field] = &[
    (1, "id", Kind::Text),
    (2, "cluster", Kind::Text),
    (3, "metadata", Kind::Opaque),
    (4, "locality", Kind::Of(&[(1, "region", Kind::Text), (2, "zone", Kind::Text), (3, "sub_zone", Kind::Text)])),
    (6, "user_agent_name", Kind::Text),
    (7, "user_agent_version", Kind::Opaque), // grows with each release
];

const HTTP: &[Field] = &[
    (1, "", Kind::Of(COMMON)),
    (2, "protocol_version", Kind::One(&["", "HTTP10", "HTTP11", "HTTP2", "HTTP3"])),
    (3, "", Kind::Of(REQUEST)),
    (4, "", Kind::Of(RESPONSE)),
];

const TCP: &[Field] = &[
    (1, "", Kind::Of(COMMON)),
    (2, "", Kind::Of(&[(1, "received_bytes", Kind::Number), (2, "sent_bytes", Kind::Number)])),
];

const COMMON: &[Field] = &[
    (2, "downstream_remote_address", Kind::Address),
    (3, "downstream_local_address", Kind::Address),
    (4, "tls_properties", Kind::Of(TLS)),
    (5, "start_time", Kind::Span),
    (6, "time_to_last_rx_byte", Kind::Span),
    (7, "time_to_first_upstream_tx_byte", Kind::Span),
    (8, "time_to_last_upstream_tx_byte", Kind::Span),
    (9, "time_to_first_upstream_rx_byte", Kind::Span),
    (10, "time_to_last_upstream_rx_byte", Kind::Span),
    (11, "time_to_first_downstream_tx_byte", Kind::Span),
    (12, "time_to_last_downstream_tx_byte", Kind::Span),
    (13, "upstream_remote_address", Kind::Address),
    (14, "upstream_local_address", Kind::Address),
    (15, "upstream_cluster", Kind::Text),
    (16, "response_flags", Kind::Of(FLAGS)),
    (17, "metadata", Kind::Opaque),
    (18, "upstream_transport_failure_reason", Kind::Text),
    (19, "route_name", Kind::Text),
    (20, "downstream_direct_remote_address", Kind::Address),
    (21, "filter_state_object", Kind::Of(&[(1, "key", Kind::Text), (2, "", Kind::Of(ANY))])),
    (22, "tag", Kind::Pairs),
    (23, "duration", Kind::Span),
    (24, "upstream_request_attempt_count", Kind::Number),
    (25, "connection_termination_details", Kind::Text),
    (26, "stream_id", Kind::Text),
    (27, "intermediate_log_entry", Kind::Number),
    (28, "downstream_transport_failure_reason", Kind::Text),
    (29, "downstream_wire_bytes_sent", Kind::Number),
    (30, "downstream_wire_bytes_received", Kind::Number),
    (31, "upstream_wire_bytes_sent", Kind::Number),
    (32, "upstream_wire_bytes_received", Kind::Number),
    (33, "access_log_type", Kind::One(LOG_TYPES)),
];

const ANY: &[Field] = &[(1, "type", Kind::Text), (2, "value", Kind::Hex)];

const LOG_TYPES: &[&str] = &[
    "NotSet",
    "TcpUpstreamConnected",
    "TcpPeriodic",
    "TcpConnectionEnd",
    "DownstreamStart",
    "DownstreamPeriodic",
    "DownstreamEnd",
    "UpstreamPoolReady",
    "UpstreamPeriodic",
    "UpstreamEnd",
    "DownstreamTunnelSuccessfullyEstablished",
    "UdpTunnelUpstreamConnected",
    "UdpPeriodic",
    "UdpSessionEnd",
    "TcpConnectionStart",
];

const TLS: &[Field] = &[
    (1, "tls_version", Kind::One(&["", "TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"])),
    (2, "tls_cipher_suite", Kind::Wrapped),
    (3, "tls_sni_hostname", Kind::Text),
    (4, "local_certificate", Kind::Of(CERTIFICATE)),
    (5, "peer_certificate", Kind::Of(CERTIFICATE)),
    (7, "ja3_fingerprint", Kind::Text),
];

const CERTIFICATE: &[Field] = &[
    (1, "subject_alt_name", Kind::Of(&[(1, "uri", Kind::Text), (2, "dns", Kind::Text)])),
    (2, "subject", Kind::Text),
    (3, "issuer", Kind::Text),
];

const FLAGS: &[Field] = &[
    (1, "failed_local_healthcheck", Kind::Number),
    (2, "no_healthy_upstream", Kind::Number),
    (3, "upstream_request_timeout", Kind::Number),
    (4, "local_reset", Kind::Number),
    (5, "upstream_remote_reset", Kind::Number),
    (6, "upstream_connection_failure", Kind::Number),
    (7, "upstream_connection_termination", Kind::Number),
    (8, "upstream_overflow", Kind::Number),
    (9, "no_route_found", Kind::Number),
    (10, "delay_injected", Kind::Number),
    (11, "fault_injected", Kind::Number),
    (12, "rate_limited", Kind::Number),
    (13, "unauthorized_details", Kind::Of(&[(1, "reason", Kind::Number)])),
    (14, "rate_limit_service_error", Kind::Number),
    (15, "downstream_connection_termination", Kind::Number),
    (16, "upstream_retry_limit_exceeded", Kind::Number),
    (17, "stream_idle_timeout", Kind::Number),
    (18, "invalid_envoy_request_headers", Kind::Number),
    (19, "downstream_protocol_error", Kind::Number),
    (20, "upstream_max_stream_duration_reached", Kind::Number),
    (21, "response_from_cache_filter", Kind::Number),
    (22, "no_filter_config_found", Kind::Number),
    (23, "duration_timeout", Kind::Number),
    (24, "upstream_protocol_error", Kind::Number),
    (25, "no_cluster_found", Kind::Number),
    (26, "overload_manager", Kind::Number),
    (27, "dns_resolution_failure", Kind::Number),
    (28, "downstream_remote_reset", Kind::Number),
];

const REQUEST: &[Field] = &[
    (
        1,
        "request_method",
        Kind::One(&["", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]),
    ),
    (2, "scheme", Kind::Text),
    (3, "authority", Kind::Text),
    (5, "path", Kind::Text),
    (6, "user_agent", Kind::Text),
    (7, "referer", Kind::Text),
    (8, "forwarded_for", Kind::Text),
    (9, "request_id", Kind::Text),
    (10, "original_path", Kind::Text),
    (11, "request_headers_bytes", Kind::Number),
    (12, "request_body_bytes", Kind::Number),
    (13, "request_header", Kind::Pairs),
    (14, "upstream_header_bytes_sent", Kind::Number),
    (15, "downstream_header_bytes_received", Kind::Number),
];

const RESPONSE: &[Field] = &[
    (1, "response_code", Kind::Wrapped),
    (2, "response_headers_bytes", Kind::Number),
    (3, "response_body_bytes", Kind::Number),
    (4, "response_header", Kind::Pairs),
    (5, "response_trailer", Kind::Pairs),
    (6, "response_code_details", Kind::Text),
    (7, "upstream_header_bytes_received", Kind::Number),
    (8, "downstream_header_bytes_sent", Kind::Number),
];

impl LogReader {
    /// What has come whole with these bytes: one text for the identifier, and one for each entry.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        self.unread.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some((&[_, a, b, c, d], rest)) = self.unread.split_first_chunk::<5>() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { break };
            self.unread.drain(..5 + length);
            self.messages += 1;
            said.extend(parts(&message));
        }
        said
    }

    /// How many messages have come.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }
}

/// The identifier and the entries of a message.
fn parts(message: &[u8]) -> Vec<String> {
    let mut said = Vec::new();
    for (number, value) in fields(message) {
        let Some((_, name, Kind::Of(within))) = LOGS.iter().find(|(known, _, _)| *known == number) else { continue };
        let Value::Bytes(bytes) = value else { continue };
        if *name == "identifier" {
            said.push(format!("a log begins: {}", text(bytes, within).join(", ")));
            continue;
        }
        for (_, entry) in fields(bytes) {
            if let (Some((_, what, Kind::Of(of_entry))), Value::Bytes(entry)) = (within.first(), entry) {
                said.push(format!("an entry of a {what}: {}", text(entry, of_entry).join(", ")));
            }
        }
    }
    said
}

/// A value as it is on the wire.
#[derive(Clone, Copy)]
enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// The fields of a message, up to where it is none (protobuf, Encoding).
fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut all = Vec::new();
    while let Some((key, rest)) = number(message) {
        let (value, behind) = match key & 7 {
            0 => match number(rest) {
                Some((value, behind)) => (Value::Number(value), behind),
                None => break,
            },
            2 => {
                let Some((length, behind)) = number(rest) else { break };
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let Some((bytes, behind)) = behind.split_at_checked(length) else { break };
                (Value::Bytes(bytes), behind)
            }
            _ => break,
        };
        all.push((key >> 3, value));
        message = behind;
    }
    all
}

/// A number in groups of seven bits, the lowest first, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// Each field as a name and a value. One that is not known is shown by its number.
fn text(message: &[u8], known: &[Field]) -> Vec<String> {
    let mut said = Vec::new();
    for (number, value) in fields(message) {
        let Some((_, name, kind)) = known.iter().find(|(known, _, _)| *known == number) else {
            said.push(format!("field {number}, which is not known"));
            continue;
        };
        match (kind, value) {
            (Kind::Opaque, _) => {}
            (Kind::Of(within), Value::Bytes(bytes)) if name.is_empty() => said.extend(text(bytes, within)),
            (Kind::Of(within), Value::Bytes(bytes)) => {
                said.push(format!("{name} {{{}}}", text(bytes, within).join(", ")))
            }
            (kind, value) => said.push(format!("{name} {}", shown(kind, value))),
        }
    }
    said
}

fn shown(kind: &Kind, value: Value<'_>) -> String {
    match (kind, value) {
        (Kind::One(names), Value::Number(number)) => {
            let name = usize::try_from(number).ok().and_then(|number| names.get(number));
            name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
        }
        (_, Value::Number(number)) => number.to_string(),
        (Kind::Text, Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        (Kind::Wrapped, Value::Bytes(bytes)) => within(bytes, 1).to_string(),
        (Kind::Span, Value::Bytes(bytes)) => format!("{}.{:06}s", within(bytes, 1), within(bytes, 2) / 1000),
        (Kind::Address, Value::Bytes(bytes)) => address(bytes),
        (Kind::Pairs, Value::Bytes(bytes)) => {
            let texts: Vec<_> = fields(bytes).into_iter().map(|(_, value)| shown(&Kind::Text, value)).collect();
            texts.join(": ")
        }
        (Kind::Hex | Kind::Number | Kind::One(_) | Kind::Of(_) | Kind::Opaque, Value::Bytes(bytes)) => {
            bytes.iter().fold(String::new(), |mut hex, byte| {
                let Ok(()) = write!(hex, "{byte:02x}") else { return hex };
                hex
            })
        }
    }
}

/// The number in a field, 0 if it is not there.
fn within(message: &[u8], wanted: u64) -> u64 {
    let found = fields(message).into_iter().find(|(number, _)| *number == wanted);
    match found {
        Some((_, Value::Number(number))) => number,
        Some((_, Value::Bytes(_))) | None => 0,
    }
}

/// `envoy.config.core.v3.Address`: a socket's, a path, or the name of an internal listener.
fn address(message: &[u8]) -> String {
    let Some((kind, Value::Bytes(within_it))) = fields(message).into_iter().next() else { return "none".to_owned() };
    let texts: Vec<_> = fields(within_it)
        .into_iter()
        .map(|(_, value)| match value {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Number(number) => number.to_string(),
        })
        .collect();
    let is_ipv6 = kind == 1 && texts.first().is_some_and(|ip| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()));
    match (&texts[..], is_ipv6) {
        ([ip, port], true) => format!("[{ip}]:{port}"),
        _ => texts.join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let field = |(number, value): &(u8, &[u8])| {
            let key = u16::from(*number) << 3 | 2;
            let [low, high] = [u8::try_from(key & 127).unwrap(), u8::try_from(key >> 7).unwrap()];
            let key = if high == 0 { vec![low] } else { vec![low | 128, high] };
            [&key[..], &[u8::try_from(value.len()).unwrap()], value].concat()
        };
        fields.iter().flat_map(field).collect()
    }

    #[test]
    fn messages_are_read_as_they_come_whole() {
        let node = message(&[(1, b"me"), (2, b"us")]);
        let identifier = message(&[(1, &node), (2, b"edge")]);
        let socket = [&message(&[(2, b"10.0.0.1")])[..], &[0x18, 80]].concat();
        let common =
            [&message(&[(2, &message(&[(1, &socket)])), (22, &message(&[(1, b"a"), (2, b"b")]))])[..]].concat();
        let entry = message(&[(1, &common), (4, &message(&[(1, &[8, 200, 1])]))]);
        let whole = message(&[(1, &identifier), (2, &message(&[(1, &entry)]))]);
        let framed = [&[0, 0, 0, 0, u8::try_from(whole.len()).unwrap()], &whole[..]].concat();
        let (begin, end) = framed.split_at(20);
        let mut reader = LogReader::default();
        assert!(reader.read(begin).is_empty());
        assert_eq!(
            reader.read(end),
            [
                "a log begins: node {id me, cluster us}, log_name edge",
                "an entry of a request: downstream_remote_address 10.0.0.1:80, tag a: b, response_code 200",
            ]
        );
        assert_eq!((reader.messages(), parts(&[0xff, 0xff]).len()), (1, 0));
    }
}
