//! Messages of protobuf that several services know: values, addresses, times and headers, with what they are here.
//!
//! Field numbers are those of Envoy 1.40. Maps are in order, so that the same content is the same bytes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::{Message, Oneof};

use crate::config::metadata;
use crate::net;

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(oneof = "ValueKind", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ValueKind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Flag(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Address {
    #[prost(oneof = "AddressKind", tags = "1, 2, 3")]
    pub(crate) kind: Option<AddressKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AddressKind {
    #[prost(message, tag = "1")]
    Socket(SocketAddress),
    #[prost(message, tag = "2")]
    Pipe(PipeAddress),
    #[prost(message, tag = "3")]
    Internal(InternalAddress),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SocketAddress {
    #[prost(string, tag = "2")]
    pub(crate) address: String,
    #[prost(uint32, tag = "3")]
    pub(crate) port: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PipeAddress {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InternalAddress {
    #[prost(string, tag = "1")]
    pub(crate) listener: String,
    #[prost(string, tag = "2")]
    pub(crate) endpoint: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `google.protobuf.Duration`, which is not negative here.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `google.protobuf.UInt64Value`, `google.protobuf.UInt32Value` and `google.protobuf.BoolValue`, which are the same bytes
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Number {
    #[prost(uint64, tag = "1")]
    pub(crate) value: u64,
}

/// `google.protobuf.StringValue`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Words {
    #[prost(string, tag = "1")]
    pub(crate) value: String,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// `HeaderValue`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) raw_value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) filter_metadata: BTreeMap<String, Struct>,
}

impl Timestamp {
    /// 0 before 1970.
    pub(crate) fn of(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        }
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self {
            seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
        }
    }
}

impl Any {
    /// This message of `google.protobuf`, or another of this name.
    pub(crate) fn of(name: &str, message: &impl Message) -> Self {
        Self { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec().into() }
    }
}

/// A text of protobuf is UTF-8: in place of each other byte is an exclamation mark, as in Envoy.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push('!'));
    }
    text
}

impl From<&net::Address> for Address {
    fn from(address: &net::Address) -> Self {
        let kind = match address {
            net::Address::Internal(internal) => AddressKind::Internal(InternalAddress {
                listener: internal.name.clone(),
                endpoint: internal.endpoint_id.clone(),
            }),
            net::Address::Pipe(pipe) => AddressKind::Pipe(PipeAddress { path: pipe.path.clone() }),
            net::Address::Socket(at) => {
                AddressKind::Socket(SocketAddress { address: at.ip().to_string(), port: at.port().into() })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl From<&metadata::Struct> for Struct {
    fn from(known: &metadata::Struct) -> Self {
        Self { fields: known.iter().map(|(key, value)| (key.clone(), value.into())).collect() }
    }
}

impl From<&metadata::Value> for Value {
    fn from(known: &metadata::Value) -> Self {
        let kind = match known {
            metadata::Value::Flag(flag) => ValueKind::Flag(*flag),
            metadata::Value::List(values) => ValueKind::List(List { values: values.iter().map(Self::from).collect() }),
            metadata::Value::Null => ValueKind::Null(0),
            metadata::Value::Number(number) => ValueKind::Number(*number),
            metadata::Value::Struct(members) => ValueKind::Struct(members.into()),
            metadata::Value::Text(text) => ValueKind::Text(text.clone()),
        };
        Self { kind: Some(kind) }
    }
}

impl From<Struct> for metadata::Struct {
    fn from(written: Struct) -> Self {
        written.fields.into_iter().map(|(key, value)| (key, value.into())).collect()
    }
}

/// The value that these bytes of a `google.protobuf.Value` are.
pub(crate) fn value(bytes: &[u8]) -> Option<metadata::Value> {
    Value::decode(bytes).ok().map(Into::into)
}

impl From<Value> for metadata::Value {
    fn from(written: Value) -> Self {
        match written.kind {
            None | Some(ValueKind::Null(_)) => Self::Null,
            Some(ValueKind::Flag(flag)) => Self::Flag(flag),
            Some(ValueKind::List(list)) => Self::List(list.values.into_iter().map(Self::from).collect()),
            // Without one that is no number: such have no text in JSON.
            Some(ValueKind::Number(number)) if number.is_finite() => Self::Number(number),
            Some(ValueKind::Number(_)) => Self::Null,
            Some(ValueKind::Struct(members)) => Self::Struct(members.into()),
            Some(ValueKind::Text(text)) => Self::Text(text),
        }
    }
}
