//! What a transport socket means.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::address::cidr;
use super::secret::{Secrets, Validation};
use super::ticket_keys;
use crate::config::bootstrap::tls::{
    CommonTlsContext, DownstreamTlsContext, OcspStaplePolicy, TlsKeyLog, TlsParameters, TlsProtocol, TransportSocket,
    TransportSocketConfig, UpstreamTlsContext,
};
use crate::config::problem::Problem;
use crate::config::tls::{
    Certificate, CipherSuites, ClientCertificates, ClientContext, ClientTls, CommonTls, HttpAlpn, KeyLogFile,
    NameCheck, OwnName, Resumption, SecretSource, ServerContext, ServerOptions, ServerTls, StaplePolicy, TicketKeys,
    UpstreamNames, Versions, suite_by_name,
};
use crate::config::yaml::{At, Notes};

/// What a filter chain's connections are wrapped in; `None` is nothing.
pub(super) fn downstream(
    socket: &At<TransportSocket>,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Option<Arc<ServerTls>>, Problem> {
    let config = &socket.value.typed_config;
    match &config.value {
        TransportSocketConfig::RawBuffer(_) => Ok(None),
        TransportSocketConfig::Downstream(context) => server(context, config, secrets, notes).map(Arc::new).map(Some),
        TransportSocketConfig::InternalUpstream(_) => Err(config.invalid("internal_upstream is for clusters")),
        TransportSocketConfig::ProxyProtocol(_) => Err(config.invalid("upstream_proxy_protocol is for clusters")),
        TransportSocketConfig::Upstream(_) => {
            Err(config.invalid_but("an UpstreamTlsContext is for clusters", "write DownstreamTlsContext"))
        }
    }
}

/// What connections to a cluster are wrapped in; `None` is nothing.
pub(super) fn upstream(
    socket: &At<TransportSocket>,
    http: HttpAlpn,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Option<Arc<ClientTls>>, Problem> {
    let config = &socket.value.typed_config;
    match &config.value {
        TransportSocketConfig::RawBuffer(_) => Ok(None),
        TransportSocketConfig::Upstream(context) => {
            client(context, config, http, secrets, notes).map(Arc::new).map(Some)
        }
        TransportSocketConfig::Downstream(_) => {
            Err(config.invalid_but("a DownstreamTlsContext is for filter chains", "write UpstreamTlsContext"))
        }
        // These have others within them.
        TransportSocketConfig::InternalUpstream(_) | TransportSocketConfig::ProxyProtocol(_) => Ok(None),
    }
}

fn server(
    context: &DownstreamTlsContext,
    at: &At<TransportSocketConfig>,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<ServerTls, Problem> {
    let written = &context.common_tls_context;
    let mut common = common(written, Versions::Both, secrets, notes)?;
    if common.certificates.is_empty() {
        return Err(at.invalid_but(
            "server TLS needs a certificate",
            "write common_tls_context.tls_certificates with a certificate_chain and a private_key",
        ));
    }
    let is_required = context.require_client_certificate.unwrap_or(false);
    // As Envoy: without anything to check it by, no client has to show a certificate.
    let Validation { checks, rules } = secrets.validation(written, notes)?;
    let clients = match (checks, is_required) {
        (false, _) => ClientCertificates::Ignored,
        (true, false) => ClientCertificates::Optional(rules),
        (true, true) => ClientCertificates::Required(rules),
    };
    let resumption = match (context.disable_stateless_session_resumption, context.disable_stateful_session_resumption) {
        (false, false) => Resumption::Any,
        (true, false) => Resumption::Sessions,
        (false, true) => Resumption::Tickets,
        (true, true) => Resumption::None,
    };
    let staples = match context.ocsp_staple_policy {
        OcspStaplePolicy::LenientStapling => StaplePolicy::Lenient,
        OcspStaplePolicy::MustStaple => StaplePolicy::Must,
        OcspStaplePolicy::StrictStapling => StaplePolicy::Strict,
    };
    check_staples(&common, staples)
        .map_err(|what| at.invalid_but(what, "write ocsp_staple beside certificate_chain"))?;
    let ticket_keys = ticket_keys(context, secrets, notes)?;
    if context.session_ticket_keys_sds_secret_config.as_ref().is_some_and(|named| named.value.sds_config.is_some()) {
        common.secrets = SecretSource::Files;
    }
    let options = ServerOptions { clients, resumption, staples, ticket_keys };
    ServerContext::new(common, options).map_err(|error| at.invalid(error.to_string()))
}

/// What the session tickets of a context are sealed with; `None` if it has no keys of its own.
fn ticket_keys(
    context: &DownstreamTlsContext,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Option<TicketKeys>, Problem> {
    let DownstreamTlsContext { session_ticket_keys: in_place, session_ticket_keys_sds_secret_config: named, .. } =
        context;
    let place = in_place.as_ref().map(|it| &it.place).or(named.as_ref().map(|it| &it.place));
    let are_several = in_place.is_some() && named.is_some() || context.disable_stateless_session_resumption;
    if let Some(place) = place.filter(|_| are_several) {
        let what = "takes one of session_ticket_keys, session_ticket_keys_sds_secret_config and \
                    disable_stateless_session_resumption";
        return Err(Problem::invalid(place, what));
    }
    match (in_place, named) {
        (Some(keys), _) => ticket_keys::read(keys, notes).map(Some),
        (None, Some(named)) => secrets.ticket_keys(named, notes).map(Some),
        (None, None) => Ok(None),
    }
}

/// A response of OCSP that has to be there is. The words are Envoy's.
fn check_staples(common: &CommonTls, policy: StaplePolicy) -> Result<(), &'static str> {
    let bare = || common.certificates.iter().filter(|it| it.staple().is_none());
    if bare().any(Certificate::must_be_stapled) {
        return Err("OCSP response is required for must-staple certificate");
    }
    if policy == StaplePolicy::Must && bare().next().is_some() {
        return Err("Required OCSP response is missing from TLS context");
    }
    Ok(())
}

fn client(
    context: &UpstreamTlsContext,
    at: &At<TransportSocketConfig>,
    http: HttpAlpn,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<ClientTls, Problem> {
    let written = &context.common_tls_context;
    // Envoy offers upstreams 1.2 at most, unless tls_params says otherwise.
    let common = common(written, Versions::Tls12, secrets, notes)?;
    let second = written.tls_certificates.get(1).map(|it| &it.place);
    if let Some(second) = second.or(written.tls_certificate_sds_secret_configs.get(1).map(|it| &it.place)) {
        return Err(Problem::invalid(second, "an upstream is shown one certificate; delete the others"));
    }
    let Validation { rules, .. } = secrets.validation(written, notes)?;
    let sni = context.sni.as_ref().filter(|sni| !sni.value.is_empty()).map(server_name).transpose()?;
    let names = UpstreamNames {
        sni,
        own: if context.auto_host_sni { OwnName::Requested } else { OwnName::Ignored },
        check: if context.auto_sni_san_validation { NameCheck::Requested } else { NameCheck::None },
    };
    let sessions_max = context.max_session_keys.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    ClientContext::new(common, http, rules, names, sessions_max).map_err(|error| at.invalid(error.to_string()))
}

fn server_name(sni: &At<String>) -> Result<ServerName<'static>, Problem> {
    match ServerName::try_from(sni.value.clone()) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        Ok(_) | Err(_) => Err(sni.invalid(format!("{:?} is no DNS name (RFC 6066 3)", sni.value))),
    }
}

fn common(
    written: &CommonTlsContext,
    default: Versions,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<CommonTls, Problem> {
    // As Envoy: an entry may name several, with commas between them; empty ones do not count.
    let alpn = written.alpn_protocols.iter().flat_map(|entry| entry.value.split(',').map(move |name| (entry, name)));
    let alpn = alpn.filter(|(_, name)| !name.is_empty()).map(|(entry, name)| protocol(entry, name));
    Ok(CommonTls {
        alpn: alpn.collect::<Result<_, _>>()?,
        certificates: secrets.certificates(written, notes)?,
        crypto: notes.surroundings().crypto.clone(),
        key_log: written.key_log.as_ref().map(|log| key_log(log, notes)).transpose()?,
        suites: written.tls_params.as_ref().map_or(Ok(CipherSuites::All), |params| suites(params, notes))?,
        versions: written.tls_params.as_ref().map_or(Ok(default), |params| versions(params, default))?,
        secrets: secret_source(written),
    })
}

/// Where the secrets of connections are written.
fn key_log(written: &At<TlsKeyLog>, notes: &Notes) -> Result<KeyLogFile, Problem> {
    let TlsKeyLog { local_address_range, path, remote_address_range } = &written.value;
    let to = (*path.value).to_owned();
    notes.needs_log("key log", At { place: path.place.clone(), value: to.clone() });
    Ok(KeyLogFile {
        path: to,
        local: local_address_range.iter().map(cidr).collect::<Result<_, _>>()?,
        peers: remote_address_range.iter().map(cidr).collect::<Result<_, _>>()?,
    })
}

/// Static secrets are part of the configuration.
fn secret_source(written: &CommonTlsContext) -> SecretSource {
    let combined = written.combined_validation_context.as_ref();
    let contexts = written.validation_context_sds_secret_config.iter();
    let contexts = contexts.chain(combined.map(|it| &it.value.validation_context_sds_secret_config));
    let mut all = written.tls_certificate_sds_secret_configs.iter().chain(contexts);
    if all.any(|named| named.value.sds_config.is_some()) { SecretSource::Files } else { SecretSource::Configuration }
}

/// `name`, which stands at `entry`, as an application protocol.
pub(super) fn protocol(entry: &At<String>, name: &str) -> Result<Vec<u8>, Problem> {
    match name.len() {
        1..=255 => Ok(name.as_bytes().to_vec()),
        _ => Err(entry.invalid("the name of an application protocol has 1 to 255 bytes (RFC 7301 3.1)")),
    }
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
