//! TLS as configured: what rustls needs to accept and to open connections.
//!
//! The keys and chains are read and checked with the configuration, so a certificate that does not fit its key is an error
//! of the file and not of the first client. [`certificates`] chooses among several certificates, [`verify`] judges those of peers.

mod certificate_error;
mod certificates;
mod crypto;
mod general_name;
mod inventory;
mod key_log;
mod ocsp;
mod pins;
mod private_key;
mod renewable;
mod revocations;
mod server_context;
mod stapling;
mod suites;
mod tickets;
mod verify;
pub mod x509;

use std::fmt;
use std::sync::Arc;

use super::upstream_name::RequestedNames;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SupportedProtocolVersion};

pub use certificate_error::CertificateError;
pub use certificates::Certificate;
pub use crypto::Crypto;
pub use inventory::{InUse, Inventory, Origin, Use};
pub use key_log::KeyLogFile;
pub use ocsp::{OcspError, OcspResponse, OcspValidity};
pub use pins::{NotPinned, Pins, hash_of_base64, hash_of_hex};
pub use renewable::{MadeOf, Material, Renewable, SecretSource};
pub use revocations::{NoRevocations, Revocations};
pub use server_context::{ClientCertificates, Resumption, ServerContext, ServerOptions};
pub use stapling::{Staple, StapleOutcome, StaplePolicy};
pub use suites::{CipherSuites, suite_by_name};
pub use tickets::{TicketKeys, WrongLength};
pub use verify::{Expiry, OtherNames, PeerName, PeerRules, Presence};

/// TLS towards clients.
pub type ServerTls = Renewable<ServerContext>;

/// TLS towards upstreams.
pub type ClientTls = Renewable<ClientContext>;

/// TLS towards upstreams, with the certificates that there are now.
pub struct ClientContext {
    /// What is offered and demanded, where an SNI is sent.
    naming: Arc<ClientConfig>,
    /// The same, where none is sent.
    nameless: Arc<ClientConfig>,
    /// `alpn_protocols`: what is offered where nothing is known of what the connection is for.
    own_alpn: Vec<Vec<u8>>,
    /// Where the secrets of connections are written.
    pub key_log: Option<KeyLogFile>,
    names: UpstreamNames,
    verifiers: verify::UpstreamVerifiers,
    material: Material,
    inventory: Inventory,
    secrets: SecretSource,
}

/// What a connection to an upstream is for, which decides what ALPN offers where `alpn_protocols` is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carries {
    /// Requests: the protocols of HTTP that its cluster speaks.
    Http(HttpAlpn),
    /// Bytes of a client, or health checks: nothing, as in Envoy.
    Other,
}

impl Carries {
    /// What ALPN offers, unless it is configured.
    fn alpn(self) -> HttpAlpn {
        match self {
            Self::Http(alpn) => alpn,
            Self::Other => &[],
        }
    }
}

/// The application protocols of HTTP that a cluster speaks, in order of preference.
pub type HttpAlpn = &'static [&'static [u8]];

/// The names of upstreams in the configuration.
#[derive(Clone, Debug, Default)]
pub struct UpstreamNames {
    /// `sni`
    pub sni: Option<ServerName<'static>>,
    /// `auto_host_sni`: where an endpoint has a hostname, that comes first.
    pub own: OwnName,
    /// `auto_sni_san_validation`: the certificate has to be for the name that was sent as the SNI.
    pub check: NameCheck,
}

/// Whether the hostname of an endpoint is sent to it as the SNI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OwnName {
    /// It is.
    Requested,
    /// It is not.
    #[default]
    Ignored,
}

/// Whether a certificate has to be for the name that was sent as the SNI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NameCheck {
    /// It need not.
    #[default]
    None,
    /// It has to.
    Requested,
}

/// What both sides of TLS have in common.
#[derive(Clone, Debug)]
pub struct CommonTls {
    /// `alpn_protocols`, in order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// The certificates that this side may present, with their keys.
    pub certificates: Vec<Certificate>,
    /// What is computed with.
    pub crypto: Crypto,
    /// Where the secrets of connections are written.
    pub key_log: Option<KeyLogFile>,
    /// `cipher_suites` of TLS 1.2.
    pub suites: CipherSuites,
    /// The oldest and the newest version.
    pub versions: Versions,
    /// Where secrets come from.
    pub secrets: SecretSource,
}

/// The versions of TLS that are permitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Both => rustls::ALL_VERSIONS,
            Self::Tls12 => TLS12,
            Self::Tls13 => TLS13,
        }
    }
}

/// `max_session_keys`: so many sessions are kept to be resumed; `None` is rustls' own choice.
pub type SessionsMax = Option<usize>;

impl MadeOf for ClientContext {
    fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    fn material(&self) -> &Material {
        &self.material
    }

    fn secrets(&self) -> SecretSource {
        self.secrets
    }
}

/// What these differ in from others.
fn material(common: &CommonTls, rules: Option<&PeerRules>, presence: Presence) -> Material {
    let trusted = rules.into_iter().flat_map(PeerRules::certificates);
    let revocations = rules.and_then(PeerRules::revocations);
    let depth = revocations.map(|lists| format!(" {:?}", lists.depth())).unwrap_or_default();
    let key_log = common.key_log.as_ref().map(|file| format!(" {file:?}")).unwrap_or_default();
    Material {
        certificates: common.certificates.iter().flat_map(Certificate::chain).chain(trusted).cloned().collect(),
        revocations: revocations.map(Revocations::read),
        ticket_keys: Vec::new(),
        staples: common.certificates.iter().map(|it| it.staple().cloned()).collect(),
        demands: format!("{presence:?} {}{depth}{key_log}", rules.map_or_else(|| "[]".to_owned(), PeerRules::demands)),
    }
}

/// What these have in use.
fn inventory(common: &CommonTls, rules: Option<&PeerRules>) -> Inventory {
    Inventory {
        own: common.certificates.iter().filter_map(Certificate::in_use).collect(),
        trusted: rules.and_then(PeerRules::in_use),
    }
}

impl ClientContext {
    /// # Errors
    /// The versions have no cipher suite left.
    pub fn new(
        common: CommonTls,
        http: HttpAlpn,
        upstreams: PeerRules,
        names: UpstreamNames,
        sessions_max: SessionsMax,
    ) -> Result<ClientTls, rustls::Error> {
        let mut material = material(&common, Some(&upstreams), Presence::Required);
        let inventory = inventory(&common, Some(&upstreams));
        if let Some(max) = sessions_max {
            material.demands = format!("{} {max} sessions", material.demands);
        }
        let Crypto { key_log, provider, time, .. } = common.crypto;
        let provider = Arc::new(common.suites.within(&provider));
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time);
        let builder = builder.with_protocol_versions(common.versions.list())?;
        let verifiers = verify::UpstreamVerifiers::new(upstreams, &provider);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifiers.of(&[]));
        let mut config = match common.certificates.into_iter().next() {
            Some(certificate) => builder.with_client_cert_resolver(certificates::of_client(certificate)),
            None => builder.with_no_client_auth(),
        };
        let own_alpn = common.alpn;
        config.alpn_protocols = match own_alpn.is_empty() {
            true => http.iter().map(|protocol| protocol.to_vec()).collect(),
            false => own_alpn.clone(),
        };
        config.key_log = key_log;
        match sessions_max {
            None => {}
            Some(0) => config.resumption = rustls::client::Resumption::disabled(),
            Some(max) => config.resumption = rustls::client::Resumption::in_memory_sessions(max),
        }
        let naming = Arc::new(config.clone());
        config.enable_sni = false;
        Ok(Renewable::new(Self {
            naming,
            nameless: Arc::new(config),
            own_alpn,
            key_log: common.key_log,
            names,
            verifiers,
            material,
            inventory,
            secrets: common.secrets,
        }))
    }

    /// Is the hostname of an endpoint sent to it as the SNI?
    #[must_use]
    pub fn own_name(&self) -> OwnName {
        self.names.own
    }

    /// `sni`: the SNI of connections for which neither a request nor an endpoint names another.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.names.sni.as_ref().map(|name| name.to_str().into_owned())
    }

    /// What a connection offers and demands, and its SNI.
    #[must_use]
    pub fn of_connection(
        &self,
        requested: &RequestedNames,
        carries: Carries,
    ) -> (Arc<ClientConfig>, ServerName<'static>) {
        let server_name = requested.server_name.as_deref().and_then(dns_name).or_else(|| self.names.sni.clone());
        let sni = server_name.as_ref().filter(|_| self.names.check == NameCheck::Requested).map(ServerName::to_str);
        let of_sni: Option<[Box<str>; 1]> = sni.map(|sni| [Box::from(&*sni)]);
        let certified = match &*requested.certified {
            [] => of_sni.as_ref().map_or(&[][..], |sni| &sni[..]),
            certified => certified,
        };
        let mut config = Arc::clone(if server_name.is_some() { &self.naming } else { &self.nameless });
        if !certified.is_empty() {
            // Sessions of one demand are not resumed for another: rustls compares the verifiers.
            let own = Arc::make_mut(&mut config);
            own.dangerous().set_certificate_verifier(self.verifiers.of(certified));
        }
        if !requested.protocols.is_empty() {
            let protocols = requested.protocols.iter().map(|protocol| protocol.to_vec());
            Arc::make_mut(&mut config).alpn_protocols = protocols.collect();
        } else if self.own_alpn.is_empty() && config.alpn_protocols != carries.alpn() {
            Arc::make_mut(&mut config).alpn_protocols =
                carries.alpn().iter().map(|protocol| protocol.to_vec()).collect();
        }
        (config, server_name.unwrap_or_else(unnamed))
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { naming, names, material, .. } = self;
        let UpstreamNames { sni, own, check } = names;
        let name = sni.clone().unwrap_or_else(unnamed);
        write!(f, "ClientTls({name:?} {own:?} {check:?} {}{})", alpn(&naming.alpn_protocols), material.demands)
    }
}

/// rustls has to have a name also where it sends none.
fn unnamed() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// RFC 6066 3: an SNI is no address.
fn dns_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok().filter(|name| matches!(name, ServerName::DnsName(_)))
}

fn alpn(protocols: &[Vec<u8>]) -> String {
    protocols.iter().map(|protocol| format!("{} ", String::from_utf8_lossy(protocol))).collect()
}
