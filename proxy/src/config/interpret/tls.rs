//! What a transport socket means.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::data_source;
use super::pattern::string_match;
use crate::config::bootstrap::tls::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SanType, SubjectAltNameMatcher,
    TlsCertificate, TlsParameters, TlsProtocol, TransportSocket, TransportSocketConfig, TrustChainVerification,
    UpstreamTlsContext,
};
use crate::config::problem::Problem;
use crate::config::string_match::Pattern;
use crate::config::tls::{
    Certificate, CertificateError, CipherSuites, ClientCertificates, ClientTls, CommonTls, PeerName, PeerRules,
    ServerTls, Versions, suite_by_name,
};
use crate::config::yaml::{At, Notes};

/// The application protocols that an upstream of HTTP is offered if the file names none.
pub(super) type DefaultAlpn = &'static [u8];

/// What a filter chain's connections are wrapped in; `None` is nothing.
pub(super) fn downstream(socket: &At<TransportSocket>, notes: &Notes) -> Result<Option<Arc<ServerTls>>, Problem> {
    let config = &socket.value.typed_config;
    match &config.value {
        TransportSocketConfig::RawBuffer(_) => Ok(None),
        TransportSocketConfig::Downstream(context) => server(context, config, notes).map(Arc::new).map(Some),
        TransportSocketConfig::Upstream(_) => {
            Err(config.invalid_but("an UpstreamTlsContext is for clusters", "write DownstreamTlsContext"))
        }
    }
}

/// What connections to a cluster are wrapped in; `None` is nothing.
pub(super) fn upstream(
    socket: &At<TransportSocket>,
    default_alpn: DefaultAlpn,
    notes: &Notes,
) -> Result<Option<Arc<ClientTls>>, Problem> {
    let config = &socket.value.typed_config;
    match &config.value {
        TransportSocketConfig::RawBuffer(_) => Ok(None),
        TransportSocketConfig::Upstream(context) => {
            client(context, config, default_alpn, notes).map(Arc::new).map(Some)
        }
        TransportSocketConfig::Downstream(_) => {
            Err(config.invalid_but("a DownstreamTlsContext is for filter chains", "write UpstreamTlsContext"))
        }
    }
}

fn server(context: &DownstreamTlsContext, at: &At<TransportSocketConfig>, notes: &Notes) -> Result<ServerTls, Problem> {
    let written = &context.common_tls_context;
    let common = common(written, Versions::Both, notes)?;
    if common.certificates.is_empty() {
        return Err(at.invalid_but(
            "server TLS needs a certificate",
            "write common_tls_context.tls_certificates with a certificate_chain and a private_key",
        ));
    }
    let is_required = context.require_client_certificate.unwrap_or(false);
    // As Envoy: without trusted_ca no client is asked for a certificate.
    let has_ca = written.validation_context.as_ref().is_some_and(|it| it.value.trusted_ca.is_some());
    let rules = rules(written.validation_context.as_ref())?;
    let clients = match (has_ca, is_required) {
        (false, _) => ClientCertificates::Ignored,
        (true, false) => ClientCertificates::Optional(rules),
        (true, true) => ClientCertificates::Required(rules),
    };
    ServerTls::new(common, clients).map_err(|error| at.invalid(error.to_string()))
}

fn client(
    context: &UpstreamTlsContext,
    at: &At<TransportSocketConfig>,
    default_alpn: DefaultAlpn,
    notes: &Notes,
) -> Result<ClientTls, Problem> {
    let written = &context.common_tls_context;
    // Envoy offers upstreams 1.2 at most, unless tls_params says otherwise.
    let mut common = common(written, Versions::Tls12, notes)?;
    if common.alpn.is_empty() {
        common.alpn = vec![default_alpn.to_vec()];
    }
    if let Some(second) = written.tls_certificates.get(1) {
        return Err(second.invalid("an upstream is shown one certificate; delete the others"));
    }
    let rules = rules(written.validation_context.as_ref())?;
    let sni = context.sni.as_ref().filter(|sni| !sni.value.is_empty()).map(server_name).transpose()?;
    ClientTls::new(common, rules, sni).map_err(|error| at.invalid(error.to_string()))
}

fn server_name(sni: &At<String>) -> Result<ServerName<'static>, Problem> {
    match ServerName::try_from(sni.value.clone()) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        Ok(_) | Err(_) => Err(sni.invalid(format!("{:?} is no DNS name (RFC 6066 3)", sni.value))),
    }
}

fn common(written: &CommonTlsContext, default: Versions, notes: &Notes) -> Result<CommonTls, Problem> {
    let alpn = written.alpn_protocols.iter().map(|protocol| match protocol.value.len() {
        1..=255 => Ok(protocol.value.clone().into_bytes()),
        _ => Err(protocol.invalid("the name of an application protocol has 1 to 255 bytes (RFC 7301 3.1)")),
    });
    Ok(CommonTls {
        alpn: alpn.collect::<Result<_, _>>()?,
        certificates: written.tls_certificates.iter().map(certificate).collect::<Result<_, _>>()?,
        suites: written.tls_params.as_ref().map_or(Ok(CipherSuites::All), |params| suites(params, notes))?,
        versions: written.tls_params.as_ref().map_or(Ok(default), |params| versions(params, default))?,
    })
}

fn certificate(written: &At<TlsCertificate>) -> Result<Certificate, Problem> {
    let TlsCertificate { certificate_chain, private_key } = &written.value;
    let (Some(chain), Some(key)) = (certificate_chain, private_key) else {
        return Err(written.invalid("a certificate has a certificate_chain and a private_key"));
    };
    let (chain, key) = (data_source::bytes(chain)?, data_source::bytes(key)?);
    Certificate::new(&chain.value, &key.value).map_err(|error| match error {
        CertificateError::NoCertificate | CertificateError::NotX509 => chain.invalid(error.to_string()),
        CertificateError::NoKey | CertificateError::KeyMismatch => key.invalid(error.to_string()),
    })
}

/// From names as OpenSSL writes them; `[A|B]` stands for suites that are equally good, of which rustls takes the client's.
fn suites(params: &TlsParameters, notes: &Notes) -> Result<CipherSuites, Problem> {
    let Some(first) = params.cipher_suites.first() else { return Ok(CipherSuites::All) };
    let mut known = Vec::new();
    for written in &params.cipher_suites {
        for name in written.value.trim_matches(['[', ']']).split('|') {
            match suite_by_name(name) {
                Some(suite) => known.push(suite),
                None => notes.note(
                    &written.place,
                    format!(
                        "{name} is left out: there are only suites with forward secrecy and authenticated encryption"
                    ),
                ),
            }
        }
    }
    if known.is_empty() {
        return Err(first.invalid_but(
            "none of these cipher suites is there",
            "name one of ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-GCM-SHA256 and the like, or delete the list",
        ));
    }
    Ok(CipherSuites::Listed(known))
}

fn versions(params: &TlsParameters, default: Versions) -> Result<Versions, Problem> {
    let given = |written: &Option<At<TlsProtocol>>| {
        written.as_ref().map(|at| at.value).filter(|version| *version != TlsProtocol::Auto)
    };
    let oldest = given(&params.tls_minimum_protocol_version).unwrap_or(TlsProtocol::Tls12);
    let newest = given(&params.tls_maximum_protocol_version).unwrap_or(match default {
        Versions::Tls12 => TlsProtocol::Tls12,
        Versions::Both | Versions::Tls13 => TlsProtocol::Tls13,
    });
    match (oldest, newest) {
        (TlsProtocol::Tls13, TlsProtocol::Tls12) => {
            let place = [&params.tls_minimum_protocol_version, &params.tls_maximum_protocol_version];
            let what = "no version is left between the minimum TLSv1_3 and the maximum TLSv1_2";
            let at = place.into_iter().flatten().next();
            Err(at.map_or_else(
                || Problem::from(invalid(what)),
                |at| at.invalid_but(what, "write tls_maximum_protocol_version: TLSv1_3 as well"),
            ))
        }
        (TlsProtocol::Tls13, _) => Ok(Versions::Tls13),
        (_, TlsProtocol::Tls12) => Ok(Versions::Tls12),
        (_, _) => Ok(Versions::Both),
    }
}

fn invalid(what: &str) -> crate::config::error::Cause {
    crate::config::error::Cause::Invalid { what: what.to_owned(), remedy: None }
}

fn rules(written: Option<&At<CertificateValidationContext>>) -> Result<PeerRules, Problem> {
    let Some(context) = written else { return Ok(PeerRules::default()) };
    let CertificateValidationContext { match_typed_subject_alt_names, trust_chain_verification, trusted_ca } =
        &context.value;
    let trusts_all = *trust_chain_verification == Some(TrustChainVerification::AcceptUntrusted);
    let names = match_typed_subject_alt_names.iter().map(peer_name).collect::<Result<Vec<_>, _>>()?;
    if !names.is_empty() && trusted_ca.is_none() {
        return Err(context.invalid_but(
            "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
            "write trusted_ca",
        ));
    }
    let trusted = trusted_ca.as_ref().filter(|_| !trusts_all).map(data_source::bytes).transpose()?;
    let rules = PeerRules::new(trusted.as_ref().map(|pem| &pem.value[..]), names);
    rules.map_err(|error| {
        trusted.as_ref().map_or_else(|| context.invalid(error.to_string()), |it| it.invalid(error.to_string()))
    })
}

fn peer_name(written: &At<SubjectAltNameMatcher>) -> Result<PeerName, Problem> {
    let matcher = &written.value.matcher;
    let wanted = string_match(matcher)?;
    match written.value.san_type {
        SanType::Dns => Ok(PeerName::Dns(wanted)),
        SanType::Uri => Ok(PeerName::Uri(wanted)),
        SanType::IpAddress => match &wanted.pattern {
            Pattern::Exact(text) => {
                let address = text.parse().map_err(|_| matcher.invalid(format!("{text:?} is no IP address")))?;
                Ok(PeerName::Ip(address))
            }
            Pattern::Contains(_) | Pattern::Prefix(_) | Pattern::Regex(_) | Pattern::Suffix(_) => {
                Err(matcher.invalid_but("an IP address is compared as a whole", "write exact"))
            }
        },
    }
}
