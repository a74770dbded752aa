//! What an authorisation service that speaks gRPC gets to know of a request.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, Version};

use super::message::{self, Attributes, CheckRequest, HttpRequest, Peer, RawHeaders, Request};
use super::{CheckBody, PARTIAL_BODY, listed};
use crate::access_log::StreamInfo;
use crate::codec::RequestHead;
use crate::config::ext_authz::{Body, ExtAuthz, HeaderForm};
use crate::config::tls::x509::{NameKind, alt_names};
use crate::filter::fields;
use crate::net::{TlsSession, tls};
use crate::protobuf::{Header, Metadata, Timestamp, text};

/// `id`: a number that no other request has.
pub(super) fn check_request(
    options: &ExtAuthz,
    request: &RequestHead,
    body: CheckBody,
    info: &StreamInfo,
    id: u64,
) -> CheckRequest {
    let attributes = &options.attributes;
    let session = info.downstream.tls.as_deref();
    let certificate = session.filter(|_| attributes.has_certificate).and_then(|session| session.peer.as_ref());
    let service = request.headers.get_str("x-envoy-downstream-service-cluster").map(|name| text(name.as_bytes()));
    let source = Peer {
        address: Some(info.client.as_ref().unwrap_or(&info.downstream.peer).into()),
        service: service.unwrap_or_default(),
        principal: session.map(principal_of_peer).unwrap_or_default(),
        certificate: certificate.map(tls::PeerCertificate::url_encoded).unwrap_or_default(),
    };
    let destination = Peer {
        address: Some((&info.downstream.local).into()),
        principal: session.map(principal_of_own).unwrap_or_default(),
        ..Peer::default()
    };
    let known = info.metadata.as_ref();
    let namespaces = attributes.metadata_namespaces.iter().filter_map(|name| {
        let held = known.and_then(|metadata| metadata.0.get(name))?;
        Some((name.clone(), held.into()))
    });
    let of_route = attributes.route_namespaces.iter().filter_map(|name| {
        let held = info.route_metadata.as_ref().and_then(|metadata| metadata.0.get(name))?;
        Some((name.clone(), held.into()))
    });
    let sni = session.filter(|_| attributes.has_tls_session).map(|session| session.server_name.clone());
    CheckRequest {
        attributes: Some(Attributes {
            source: Some(source),
            destination: Some(destination),
            request: Some(Request {
                time: Some(Timestamp::of(info.started)),
                http: Some(http(options, request, body, info, id)),
            }),
            context_extensions: attributes.extensions.clone(),
            metadata_context: Some(Metadata { filter_metadata: namespaces.collect() }),
            tls_session: sni.map(|sni| message::TlsSession { sni: sni.unwrap_or_default() }),
            route_metadata_context: Some(Metadata { filter_metadata: of_route.collect() }),
        }),
    }
}

fn http(options: &ExtAuthz, request: &RequestHead, body: CheckBody, info: &StreamInfo, id: u64) -> HttpRequest {
    let value = |value: &Option<HeaderValue>| value.as_ref().map(|value| text(value.as_bytes())).unwrap_or_default();
    let (headers, header_map) = match options.attributes.headers {
        HeaderForm::Joined => (joined(fields(options, request, body.is_cut)), None),
        HeaderForm::Raw => {
            let header =
                |(key, raw_value): (&str, Bytes)| Header { key: key.to_owned(), value: String::new(), raw_value };
            let headers = fields(options, request, body.is_cut).map(header).collect();
            (BTreeMap::new(), Some(RawHeaders { headers }))
        }
    };
    let (body, raw_body) = match options.attributes.body {
        Body::Bytes => (String::new(), body.bytes),
        Body::Text => (text(&body.bytes), Bytes::new()),
    };
    HttpRequest {
        id: id.to_string(),
        method: request.method.to_string(),
        headers,
        path: value(&request.path),
        host: value(&request.authority),
        scheme: text(scheme(request)),
        size: i64::try_from(info.bytes_received).unwrap_or(i64::MAX),
        protocol: protocol(info.protocol.unwrap_or(request.version)).to_owned(),
        body,
        raw_body,
        header_map,
    }
}

/// The fields that the service may see, with those that HTTP/2 has as pseudo-headers.
fn fields<'r>(
    options: &'r ExtAuthz,
    request: &'r RequestHead,
    is_cut: Option<bool>,
) -> impl Iterator<Item = (&'r str, Bytes)> {
    let bytes = |value: &HeaderValue| Bytes::copy_from_slice(value.as_bytes());
    let pseudo = [
        request.authority.as_ref().map(|value| (":authority", bytes(value))),
        request.path.as_ref().map(|value| (":path", bytes(value))),
        Some((":method", Bytes::copy_from_slice(request.method.as_str().as_bytes()))),
        Some((":scheme", Bytes::copy_from_slice(scheme(request)))),
    ];
    let others = request.headers.iter().filter(|(name, _)| name.as_str() != PARTIAL_BODY);
    let others = others.map(move |(name, value)| (name.as_str(), bytes(value)));
    let is_seen = |name: &str| {
        options.allowed.as_ref().is_none_or(|allowed| listed(allowed, name)) && !listed(&options.disallowed, name)
    };
    let partial = is_cut.map(|is_cut| (PARTIAL_BODY, Bytes::from_static(if is_cut { b"true" } else { b"false" })));
    pseudo.into_iter().flatten().chain(others).filter(move |(name, _)| is_seen(name)).chain(partial)
}

/// The fields by their names, with all values of each.
fn joined<'n>(all: impl Iterator<Item = (&'n str, Bytes)>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in all {
        values.entry(name.to_owned()).or_default().push(text(&value));
    }
    values.into_iter().map(|(name, values)| (name, fields::joined(&values))).collect()
}

fn scheme(request: &RequestHead) -> &[u8] {
    fields::scheme(request).map_or(b"http", HeaderValue::as_bytes)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Who the client is by its certificate: a URI, else a DNS name, else its subject.
fn principal_of_peer(session: &TlsSession) -> String {
    let Some(peer) = &session.peer else { return String::new() };
    peer.uris.first().or(peer.dns_names.first()).unwrap_or(&peer.subject).clone()
}

/// The same of our own certificate.
fn principal_of_own(session: &TlsSession) -> String {
    let Some(own) = session.own.as_ref().and_then(|own| own.chain().first()) else { return String::new() };
    let first = |kind| alt_names(own, kind).into_iter().next();
    first(NameKind::Uri).or_else(|| first(NameKind::Dns)).or_else(|| tls::subject(own)).unwrap_or_default()
}
