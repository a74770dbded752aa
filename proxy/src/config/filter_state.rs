//! Filter state, typed: objects under keys that filters leave for other filters, for logs, and for connections to upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::log_format::LineFormat;

/// What an object is, which says what its text means and who reads it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// `envoy.string`
    Text,
    /// `envoy.hashable_string`: connections to upstreams are not shared between different texts.
    HashableText,
    /// `envoy.tcp_proxy.cluster`: where a TCP proxy sends a connection.
    TcpCluster,
    /// `envoy.tcp_proxy.disable_tunneling`: a TCP proxy makes no use of its `tunneling_config`.
    DisableTunneling,
    /// `envoy.tcp_proxy.per_connection_idle_timeout_ms`: the `idle_timeout` of one connection, in milliseconds.
    IdleTimeout,
    /// `envoy.network.upstream_server_name`: the SNI towards upstreams.
    ServerName,
    /// `envoy.network.upstream_subject_alt_names`: the certificate of an upstream has to be for one of these names.
    SubjectAltNames,
    /// Fields of a head, or of trailers, as JSON (`propagate_response_headers`). No factory makes such.
    Fields,
    /// The values of TLVs that rules name (`tlv_location: FILTER_STATE`), as a JSON object. No factory makes such.
    TlvValues,
    /// `envoy.network.application_protocols`: what is offered to upstreams by ALPN.
    ApplicationProtocols,
    /// How many messages of gRPC a stream had, the requests' and the responses', with a comma between. No factory makes such.
    GrpcMessages,
    /// `envoy.ratelimit.hits_addend`: how much a stream counts for at a rate limit service.
    RateLimitHits,
}

/// How fields of messages are named in JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldNames {
    /// As in lines of JSON: `request_message_count`.
    AsDeclared,
    /// As in lines of text: `requestMessageCount`.
    CamelCase,
}

impl ObjectKind {
    /// All of them, in the order of names.
    pub const ALL: [(&str, Self); 9] = [
        ("envoy.hashable_string", Self::HashableText),
        ("envoy.network.application_protocols", Self::ApplicationProtocols),
        ("envoy.network.upstream_server_name", Self::ServerName),
        ("envoy.network.upstream_subject_alt_names", Self::SubjectAltNames),
        ("envoy.ratelimit.hits_addend", Self::RateLimitHits),
        ("envoy.string", Self::Text),
        ("envoy.tcp_proxy.cluster", Self::TcpCluster),
        ("envoy.tcp_proxy.disable_tunneling", Self::DisableTunneling),
        ("envoy.tcp_proxy.per_connection_idle_timeout_ms", Self::IdleTimeout),
    ];

    /// The kind that a `factory_key` names.
    #[must_use]
    pub fn of_factory(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }
}

/// How far an object goes with connections to upstreams (`shared_with_upstream`).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sharing {
    /// It stays.
    #[default]
    None,
    /// `ONCE`: to the next internal listener.
    Once,
    /// `TRANSITIVE`: to every further one as well.
    Transitive,
}

/// An object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// What it says.
    pub text: Arc<[u8]>,
    /// How far it goes with connections to upstreams.
    pub sharing: Sharing,
}

impl Object {
    /// An object that stays where it is; `None` if `text` is none of this kind.
    #[must_use]
    pub fn parse(kind: ObjectKind, text: &[u8]) -> Option<Self> {
        let is_one = match kind {
            ObjectKind::IdleTimeout => milliseconds(text).is_some(),
            ObjectKind::RateLimitHits => hits(text).is_some(),
            ObjectKind::ApplicationProtocols
            | ObjectKind::DisableTunneling
            | ObjectKind::Fields
            | ObjectKind::GrpcMessages
            | ObjectKind::HashableText
            | ObjectKind::ServerName
            | ObjectKind::SubjectAltNames
            | ObjectKind::TcpCluster
            | ObjectKind::Text
            | ObjectKind::TlvValues => true,
        };
        // Whatever is not true is false.
        let text = if kind == ObjectKind::DisableTunneling && text != b"true" { b"false" } else { text };
        is_one.then(|| Self { kind, text: text.into(), sharing: Sharing::None })
    }

    /// As text, where it can be written so.
    #[must_use]
    pub fn plain(&self) -> Option<&[u8]> {
        match self.kind {
            ObjectKind::ApplicationProtocols | ObjectKind::Fields => None,
            ObjectKind::DisableTunneling
            | ObjectKind::GrpcMessages
            | ObjectKind::HashableText
            | ObjectKind::IdleTimeout
            | ObjectKind::RateLimitHits
            | ObjectKind::ServerName
            | ObjectKind::SubjectAltNames
            | ObjectKind::TcpCluster
            | ObjectKind::Text
            | ObjectKind::TlvValues => Some(&self.text),
        }
    }

    /// As JSON, where Envoy has a message for it.
    #[must_use]
    pub fn json(&self, names: FieldNames) -> Option<String> {
        let text = String::from_utf8_lossy(&self.text);
        match self.kind {
            ObjectKind::GrpcMessages => Some(grpc_messages(&text, names)),
            ObjectKind::DisableTunneling | ObjectKind::Fields | ObjectKind::TlvValues => Some(text.into_owned()),
            ObjectKind::HashableText | ObjectKind::IdleTimeout | ObjectKind::RateLimitHits | ObjectKind::Text => {
                Some(serde_json::Value::from(text).to_string())
            }
            ObjectKind::ApplicationProtocols
            | ObjectKind::ServerName
            | ObjectKind::SubjectAltNames
            | ObjectKind::TcpCluster => None,
        }
    }

    /// The value of one of its fields, where it has such.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        if self.kind != ObjectKind::TlvValues {
            return None;
        }
        serde_json::from_slice::<BTreeMap<String, String>>(&self.text).ok()?.remove(name)
    }

    /// Its text, where it is UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        str::from_utf8(&self.text).ok()
    }

    /// The parts of its text between commas.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b',').filter(|part| !part.is_empty())
    }

    /// As a number of hits.
    #[must_use]
    pub fn hits(&self) -> Option<u32> {
        hits(&self.text)
    }

    /// As a duration.
    #[must_use]
    pub fn milliseconds(&self) -> Option<Duration> {
        milliseconds(&self.text)
    }
}

/// As the JSON of `envoy.extensions.filters.http.grpc_stats.v3.FilterObject`, which leaves zeros out.
fn grpc_messages(text: &str, names: FieldNames) -> String {
    let names = match names {
        FieldNames::AsDeclared => ["request_message_count", "response_message_count"],
        FieldNames::CamelCase => ["requestMessageCount", "responseMessageCount"],
    };
    let counts = names.iter().zip(text.split(',')).filter(|(_, count)| *count != "0");
    let members: Vec<String> = counts.map(|(name, count)| format!("\"{name}\":\"{count}\"")).collect();
    format!("{{{}}}", members.join(","))
}

fn hits(text: &[u8]) -> Option<u32> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn milliseconds(text: &[u8]) -> Option<Duration> {
    str::from_utf8(text).ok()?.trim_ascii().parse().ok().map(Duration::from_millis)
}

/// Objects by their keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FilterState(BTreeMap<Arc<str>, Object>);

impl FilterState {
    /// The object under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.0.get(key)
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts an object under `key`, in the place of what is there.
    pub fn set(&mut self, key: Arc<str>, object: Object) {
        self.0.insert(key, object);
    }

    /// Adds what goes with a connection to an upstream to `shared`, as the other end of it has it.
    pub fn share(&self, shared: &mut Self) {
        for (key, object) in &self.0 {
            let sharing = match object.sharing {
                Sharing::None => continue,
                Sharing::Once => Sharing::None,
                Sharing::Transitive => Sharing::Transitive,
            };
            shared.0.insert(Arc::clone(key), Object { sharing, ..object.clone() });
        }
    }

    /// What keeps connections apart: the objects that are hashable.
    pub fn hashable(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let is_hashable = |(_, object): &(&Arc<str>, &Object)| object.kind == ObjectKind::HashableText;
        self.0.iter().filter(is_hashable).map(|(key, object)| (&**key, &*object.text))
    }
}

/// One entry of a `set_filter_state`.
#[derive(Clone, Debug)]
pub struct StateEntry {
    /// `object_key`
    pub key: Arc<str>,
    /// `factory_key`
    pub kind: ObjectKind,
    /// `format_string`
    pub format: LineFormat,
    /// `shared_with_upstream`
    pub sharing: Sharing,
    /// `skip_if_empty`
    pub when_empty: WhenEmpty,
}

/// What happens where the text of an entry is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenEmpty {
    /// The object is set all the same.
    Set,
    /// It is not.
    Skip,
}
