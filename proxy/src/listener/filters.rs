//! What is read from a connection before its filter chain is chosen: a PROXY header, the ClientHello, a first line of HTTP.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::config::address::ProxyVersion;
use crate::config::filter_state::{Object, ObjectKind};
use crate::config::listener_filter::{ProxyProtocol, WithoutHeader};
use crate::config::metadata::{Metadata, Value};
use crate::config::proxy_header::{Tlv, TlvLocation};
use crate::net::proxy_protocol::{self, Found};
use crate::net::tls::FirstBytes;
use crate::net::{Address, Conn};
use crate::stats::{Counter, HttpInspectorStats, ListenerStats, ProxyProtocolStats, Registry, TlsInspectorStats};

/// Reads PROXY headers.
pub struct ProxyProtocolFilter {
    options: ProxyProtocol,
    stats: ProxyProtocolStats,
    /// `downstream_cx_proxy_proto_error`, of all listeners.
    errors: Counter,
}

/// The stats of the filters that look at first bytes; `None` where one is not configured.
pub struct Inspectors {
    /// `tls_inspector.`
    pub tls: Option<TlsInspectorStats>,
    /// `http_inspector.`
    pub http: Option<HttpInspectorStats>,
}

/// Why a connection is closed before it has a filter chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It broke.
    Broken,
    /// The client closed it.
    Closed,
    /// What has come is not what has to come.
    Malformed,
    /// What has to come took too long.
    Slow,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Broken }
    }
}

impl Refusal {
    /// Counts it.
    pub(super) fn count(self, stats: &ListenerStats) {
        match self {
            Self::Broken => &stats.downstream_listener_filter_error,
            Self::Closed => &stats.downstream_listener_filter_remote_close,
            Self::Malformed => return, // its filter has counted it
            Self::Slow => &stats.downstream_pre_cx_timeout,
        }
        .inc();
    }
}

impl ProxyProtocolFilter {
    /// With these options.
    #[must_use]
    pub fn new(registry: &Registry, options: &ProxyProtocol) -> Self {
        Self {
            stats: ProxyProtocolStats::new(registry, options.stat_prefix.as_deref()),
            errors: ProxyProtocolStats::errors(registry),
            options: options.clone(),
        }
    }

    /// Takes the header off a connection, which then has the ends that the header names. What is read behind it stays in `unread`.
    ///
    /// # Cancellation
    /// Dropped, it has read nothing that is not in `unread`.
    pub(super) async fn read(&self, conn: &mut Conn, unread: &mut BytesMut) -> Result<(), Refusal> {
        loop {
            let takes = |version| self.options.takes(version);
            let allows_none = self.options.without == WithoutHeader::Allowed;
            if allows_none && !proxy_protocol::may_begin(unread, takes) {
                self.stats.not_found_allowed.inc();
                return Ok(());
            }
            match proxy_protocol::parse(unread) {
                Found::Part => {
                    if conn.read_buf(unread).await? == 0 {
                        return Err(Refusal::Closed);
                    }
                }
                Found::Absent => return self.refuse(&self.stats.not_found_disallowed),
                Found::Malformed(version) => return self.refuse(self.of(version).error),
                Found::Header { version, .. } if !takes(version) => return self.refuse(self.of(version).disallowed),
                Found::Header { version, ends, tlvs_at, length } => {
                    self.of(version).found.inc();
                    self.keep_tlvs(unread.get(tlvs_at..length).unwrap_or_default(), conn);
                    unread.advance(length);
                    if let Some(ends) = ends {
                        conn.stands_for(Address::Socket(ends.client), Address::Socket(ends.server));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Keeps what is to be kept of the TLVs of a header.
    fn keep_tlvs(&self, tlvs: &[u8], conn: &mut Conn) {
        let ProxyProtocol { rules, passed, location, .. } = &self.options;
        let mut kept = Vec::new();
        let (mut metadata, mut fields) = (Metadata::default(), BTreeMap::new());
        for (kind, value) in proxy_protocol::tlvs(tlvs) {
            if passed.takes(kind) {
                kept.push(Tlv { kind, value: Bytes::copy_from_slice(value) });
            }
            // The last rule for a TLV counts, as in Envoy.
            let Some(rule) = rules.iter().rfind(|rule| rule.kind == kind) else { continue };
            match location {
                // Of several values the last stays in the object, and the first in metadata, as in Envoy.
                TlvLocation::FilterState => drop(fields.insert(rule.key.clone(), as_text(value))),
                TlvLocation::Metadata => {
                    let namespace = metadata.0.entry(rule.namespace.clone()).or_default();
                    namespace.entry(rule.key.clone()).or_insert_with(|| Value::Text(as_text(value)));
                }
            }
        }
        let passed = Arc::make_mut(conn.passed.get_or_insert_default());
        passed.tlvs = Some(kept);
        passed.metadata.0.append(&mut metadata.0);
        if !fields.is_empty() {
            let text = serde_json::Value::from_iter(fields).to_string();
            if let Some(object) = Object::parse(ObjectKind::TlvValues, text.as_bytes()) {
                let state = passed.state.get_or_insert_default();
                Arc::make_mut(state).set(TlvLocation::OBJECT.into(), object);
            }
        }
    }

    fn refuse(&self, counter: &Counter) -> Result<(), Refusal> {
        counter.inc();
        self.errors.inc();
        Err(Refusal::Malformed)
    }

    fn of(&self, version: ProxyVersion) -> OfVersion<'_> {
        let stats = &self.stats;
        match version {
            ProxyVersion::V1 => {
                OfVersion { found: &stats.v1_found, disallowed: &stats.v1_disallowed, error: &stats.v1_error }
            }
            ProxyVersion::V2 => {
                OfVersion { found: &stats.v2_found, disallowed: &stats.v2_disallowed, error: &stats.v2_error }
            }
        }
    }
}

/// The bytes of a TLV as a text: each that is no UTF-8 becomes `!`, as in Envoy.
fn as_text(value: &[u8]) -> String {
    let chunks = value.utf8_chunks();
    chunks.flat_map(|chunk| [chunk.valid().to_owned(), "!".repeat(chunk.invalid().len())]).collect()
}

/// The stats of a version.
struct OfVersion<'s> {
    found: &'s Counter,
    disallowed: &'s Counter,
    error: &'s Counter,
}

/// Counts what a connection began with.
pub(super) fn count_first_bytes(stats: &TlsInspectorStats, first: &FirstBytes) {
    match first {
        FirstBytes::Unknown => {}
        FirstBytes::Plaintext => stats.tls_not_found.inc(),
        FirstBytes::Tls(hello) => {
            stats.tls_found.inc();
            if hello.alpn.is_empty() { &stats.alpn_not_found } else { &stats.alpn_found }.inc();
            if hello.server_name.is_none() { &stats.sni_not_found } else { &stats.sni_found }.inc();
        }
    }
}
