//! Certificates and what peers have to fulfil, from where the file has them: in place, in a static secret, or in a file of
//! secrets that is watched (SDS by `path_config_source`).

use std::collections::BTreeMap;

use super::pattern::string_match;
use super::secret_file::SecretFile;
use super::{data_source, system_roots, ticket_keys};
use crate::config::bootstrap::DataSource;
use crate::config::bootstrap::secret::Secret;
use crate::config::bootstrap::source::{SdsSecretConfig, WatchedDirectory};
use crate::config::bootstrap::tls::{
    CertificateValidationContext, CommonTlsContext, SanType, SubjectAltNameMatcher, SystemRootCerts, TlsCertificate,
    TlsSessionTicketKeys, TrustChainVerification,
};
use crate::config::error::{Cause, Place};
use crate::config::problem::Problem;
use crate::config::string_match::{Pattern, StringMatch};
use crate::config::surroundings::{Content, SecretKind};
use crate::config::tls::x509::ObjectId;
use crate::config::tls::{
    Certificate, CertificateError, Expiry, Origin, PeerName, PeerRules, Pins, Revocations, TicketKeys, hash_of_base64,
    hash_of_hex,
};
use crate::config::yaml::{At, Notes};

/// `static_resources.secrets`, by name; each kind has its own names.
#[derive(Default)]
pub(super) struct Secrets<'s> {
    certificates: BTreeMap<&'s str, &'s At<TlsCertificate>>,
    contexts: BTreeMap<&'s str, &'s At<CertificateValidationContext>>,
    ticket_keys: BTreeMap<&'s str, &'s At<TlsSessionTicketKeys>>,
}

/// What peers have to fulfil.
pub(super) struct Validation {
    /// There is a `trusted_ca`, or there are certificates or keys that are known in advance.
    pub(super) checks: bool,
    pub(super) rules: PeerRules,
}

/// When certificates are read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    /// With the configuration.
    Once,
    /// Whenever the files change.
    Watched,
}

impl From<&Option<WatchedDirectory>> for Reading {
    fn from(written: &Option<WatchedDirectory>) -> Self {
        if written.is_some() { Self::Watched } else { Self::Once }
    }
}

impl<'s> Secrets<'s> {
    /// # Errors
    /// A secret has no content, or two of a kind have the same name.
    pub(super) fn new(written: &'s [At<Secret>]) -> Result<Self, Problem> {
        let mut secrets = Self::default();
        for secret in written {
            let Secret { name, session_ticket_keys, tls_certificate, validation_context } = &secret.value;
            let is_known = match (tls_certificate, validation_context, session_ticket_keys) {
                (Some(certificate), None, None) => secrets.certificates.insert(name, certificate).is_some(),
                (None, Some(context), None) => secrets.contexts.insert(name, context).is_some(),
                (None, None, Some(keys)) => secrets.ticket_keys.insert(name, keys).is_some(),
                (None, None, None) => false, // of a kind that nothing here asks for
                (_, _, _) => {
                    let what = "a secret is one of tls_certificate, validation_context and session_ticket_keys";
                    return Err(secret.invalid(what));
                }
            };
            if is_known {
                return Err(secret.invalid(format!("duplicate static secret '{name}'")));
            }
        }
        Ok(secrets)
    }

    /// The certificates of a context.
    pub(super) fn certificates(&self, written: &CommonTlsContext, notes: &Notes) -> Result<Vec<Certificate>, Problem> {
        let CommonTlsContext { tls_certificates, tls_certificate_sds_secret_configs: named, .. } = written;
        if let (Some(first), false) = (named.first(), tls_certificates.is_empty()) {
            return Err(first.invalid_but(
                "SDS and non-SDS TLS certificates may not be mixed",
                "write all certificates in tls_certificates, or all in secrets",
            ));
        }
        let in_place = tls_certificates.iter().map(|it| certificate(it, Reading::Once, notes));
        in_place.chain(named.iter().map(|it| self.certificate_of(it, notes))).collect()
    }

    fn certificate_of(&self, named: &At<SdsSecretConfig>, notes: &Notes) -> Result<Certificate, Problem> {
        let name = &named.value.name;
        let Some(file) = SecretFile::of(named, SecretKind::Certificate, notes)? else {
            let secret = self.certificates.get(&*name.value);
            let secret = secret.ok_or_else(|| unknown(name, "static secret", self.certificates.keys()))?;
            return Ok(certificate(secret, Reading::Once, notes)?.of_secret(&name.value));
        };
        let read = |secret: &At<Secret>, notes: &Notes| match &secret.value.tls_certificate {
            Some(it) => Ok(certificate(it, Reading::Watched, notes)?.of_secret(&name.value)),
            None => Err(secret.problem(Cause::Missing { field: "tls_certificate" })),
        };
        file.read(read, notes)
    }

    /// The keys of session tickets in a secret.
    pub(super) fn ticket_keys(&self, named: &At<SdsSecretConfig>, notes: &Notes) -> Result<TicketKeys, Problem> {
        let name = &named.value.name;
        let Some(file) = SecretFile::of(named, SecretKind::TicketKeys, notes)? else {
            let keys = self.ticket_keys.get(&*name.value);
            let keys = keys.ok_or_else(|| unknown(name, "tls session ticket keys", self.ticket_keys.keys()))?;
            return ticket_keys::read(keys, notes);
        };
        let read = |secret: &At<Secret>, notes: &Notes| match &secret.value.session_ticket_keys {
            Some(keys) => {
                keys.value.keys.iter().for_each(|source| watch(source, notes));
                ticket_keys::read(keys, notes)
            }
            None => Err(secret.problem(Cause::Missing { field: "session_ticket_keys" })),
        };
        file.read(read, notes)
    }

    /// What a context wants of peers.
    pub(super) fn validation(&self, written: &CommonTlsContext, notes: &Notes) -> Result<Validation, Problem> {
        let CommonTlsContext {
            validation_context: in_place,
            validation_context_sds_secret_config: named,
            combined_validation_context: combined,
            ..
        } = written;
        match (in_place, named, combined) {
            (None, None, None) => Ok(Validation { checks: false, rules: PeerRules::default() }),
            (Some(it), None, None) => Context::new(it, Reading::Once, notes)?.validation(),
            (None, Some(named), None) => self.context_of(named, notes)?.validation(),
            (None, None, Some(combined)) => {
                let default = Context::new(&combined.value.default_validation_context, Reading::Once, notes)?;
                default
                    .under(self.context_of(&combined.value.validation_context_sds_secret_config, notes)?)
                    .validation()
            }
            _ => {
                let what = "takes one of validation_context, validation_context_sds_secret_config and \
                            combined_validation_context";
                let places = [in_place.as_ref().map(|it| &it.place), named.as_ref().map(|it| &it.place)];
                let place = places.into_iter().flatten().next();
                Err(place.map_or_else(
                    || Cause::Invalid { what: what.into(), remedy: None }.into(),
                    |place| Problem::invalid(place, what),
                ))
            }
        }
    }

    fn context_of(&self, named: &At<SdsSecretConfig>, notes: &Notes) -> Result<Context, Problem> {
        let name = &named.value.name;
        let Some(file) = SecretFile::of(named, SecretKind::Context, notes)? else {
            let context = self.contexts.get(&*name.value);
            let what = "static certificate validation context";
            let context = context.ok_or_else(|| unknown(name, what, self.contexts.keys()))?;
            return Ok(Context::new(context, Reading::Once, notes)?.of_secret(&name.value));
        };
        let read = |secret: &At<Secret>, notes: &Notes| match &secret.value.validation_context {
            Some(it) => Ok(Context::new(it, Reading::Watched, notes)?.of_secret(&name.value)),
            None => Err(secret.problem(Cause::Missing { field: "validation_context" })),
        };
        file.read(read, notes)
    }
}

fn unknown<'n>(
    name: &At<impl std::ops::Deref<Target = str>>,
    what: &str,
    known: impl Iterator<Item = &'n &'n str>,
) -> Problem {
    let known: Vec<&str> = known.copied().collect();
    name.invalid_but(
        format!("unknown {what} '{}'; those of this kind: {}", &*name.value, super::shown(&known)),
        "write it under static_resources.secrets, or name a file of secrets in sds_config.path_config_source",
    )
}

fn certificate(written: &At<TlsCertificate>, reading: Reading, notes: &Notes) -> Result<Certificate, Problem> {
    let TlsCertificate { certificate_chain, ocsp_staple, password, private_key, watched_directory } = &written.value;
    let (Some(chain), Some(key)) = (certificate_chain, private_key) else {
        return Err(written.invalid("a certificate has a certificate_chain and a private_key"));
    };
    if [reading, watched_directory.into()].contains(&Reading::Watched) {
        [chain, key].into_iter().chain(password).chain(ocsp_staple).for_each(|source| watch(source, notes));
    }
    let origin = origin(chain);
    let chain = data_source::certificates(chain, Content::CertificateChain, notes)?;
    let key = data_source::certificates(key, Content::PrivateKey, notes)?;
    let password = match password {
        Some(source) => Some(data_source::certificates(source, Content::Password, notes)?),
        None => None,
    };
    let with_password = (&key.value[..], password.as_ref().map(|it| &it.value[..]));
    let read = Certificate::new(&chain.value, with_password, &notes.surroundings().crypto);
    let read = read.map(|it| it.found_at(origin)).map_err(|error| match error {
        CertificateError::NoCertificate | CertificateError::NotX509 => chain.invalid(error.to_string()),
        CertificateError::KeyEncryption
        | CertificateError::KeyMismatch
        | CertificateError::NoKey
        | CertificateError::NoPassword => key.invalid(error.to_string()),
        CertificateError::WrongPassword => password.as_ref().unwrap_or(&key).invalid(error.to_string()),
    })?;
    match ocsp_staple {
        Some(source) => stapled(read, source, notes),
        None => Ok(read),
    }
}

/// The same with its response of OCSP. As in Envoy, an empty one is none.
fn stapled(certificate: Certificate, source: &At<DataSource>, notes: &Notes) -> Result<Certificate, Problem> {
    if let Some(text) = &source.value.inline_string {
        return Err(
            text.invalid_but("OCSP staple cannot be provided via inline_string", "write filename or inline_bytes")
        );
    }
    let response = data_source::certificates(source, Content::Staple, notes)?;
    if response.value.is_empty() {
        return Ok(certificate);
    }
    certificate.with_staple(&response.value).map_err(|error| response.invalid(error.to_string()))
}

fn origin(source: &At<DataSource>) -> Origin {
    Origin { path: source.value.filename.as_ref().map(|path| (*path.value).to_owned()), secret: None }
}

fn watch(source: &At<DataSource>, notes: &Notes) {
    if let Some(path) = &source.value.filename {
        notes.watch(&path.value);
    }
}

/// A validation context, read.
struct Context {
    place: Place,
    names: Vec<PeerName>,
    /// `match_subject_alt_names`, which is in effect where `match_typed_subject_alt_names` is empty.
    names_of_any_kind: Vec<StringMatch>,
    pins: Pins,
    /// `allow_expired_certificate`
    permits_expired: bool,
    depth_max: Option<u32>,
    trusted: Option<(At<Vec<u8>>, Origin)>,
    /// `system_root_certs`, which is in effect where there is no `trusted_ca`.
    system: Option<(At<Vec<u8>>, Origin)>,
    /// Lists of revoked certificates.
    revocations: Option<At<Vec<u8>>>,
    /// They are for the certificates of peers alone.
    only_ends: Option<bool>,
    verification: Option<TrustChainVerification>,
}

impl Context {
    fn new(written: &At<CertificateValidationContext>, reading: Reading, notes: &Notes) -> Result<Self, Problem> {
        let CertificateValidationContext {
            allow_expired_certificate,
            crl,
            match_subject_alt_names,
            match_typed_subject_alt_names,
            max_verify_depth,
            only_verify_leaf_cert_crl,
            system_root_certs,
            trust_chain_verification,
            trusted_ca,
            verify_certificate_hash,
            verify_certificate_spki,
            watched_directory,
        } = &written.value;
        if [reading, watched_directory.into()].contains(&Reading::Watched) {
            trusted_ca.iter().chain(crl).for_each(|source| watch(source, notes));
        }
        let revocations = match crl {
            Some(source) => Some(data_source::certificates(source, Content::Revocations, notes)?),
            None => None,
        };
        let trusted = match trusted_ca {
            Some(source) => Some((data_source::certificates(source, Content::Authorities, notes)?, origin(source))),
            None => None,
        };
        let system = match system_root_certs {
            Some(wanted) if trusted.is_none() => Some(roots_of_system(wanted, reading, notes)?),
            Some(_) | None => None,
        };
        Ok(Self {
            place: written.place.clone(),
            names: match_typed_subject_alt_names.iter().map(peer_name).collect::<Result<_, _>>()?,
            names_of_any_kind: match_subject_alt_names.iter().map(string_match).collect::<Result<_, _>>()?,
            pins: pins(verify_certificate_hash, verify_certificate_spki)?,
            permits_expired: *allow_expired_certificate,
            depth_max: max_verify_depth.as_ref().map(depth).transpose()?,
            trusted,
            system,
            revocations: revocations.filter(|lists| !lists.value.is_empty()),
            only_ends: *only_verify_leaf_cert_crl,
            verification: *trust_chain_verification,
        })
    }

    /// It is that of a secret of this name.
    fn of_secret(self, name: &str) -> Self {
        let named = |(pem, origin)| (pem, Origin { secret: Some(name.to_owned()), ..origin });
        Self { trusted: self.trusted.map(named), system: self.system.map(named), ..self }
    }

    /// The two as one, as protobuf merges messages: lists are appended, anything else is replaced.
    fn under(self, over: Self) -> Self {
        Self {
            place: self.place,
            names: self.names.into_iter().chain(over.names).collect(),
            names_of_any_kind: self.names_of_any_kind.into_iter().chain(over.names_of_any_kind).collect(),
            pins: Pins {
                certificates: self.pins.certificates.into_iter().chain(over.pins.certificates).collect(),
                keys: self.pins.keys.into_iter().chain(over.pins.keys).collect(),
            },
            permits_expired: self.permits_expired || over.permits_expired,
            depth_max: over.depth_max.or(self.depth_max),
            trusted: over.trusted.or(self.trusted),
            system: over.system.or(self.system),
            revocations: over.revocations.or(self.revocations),
            only_ends: over.only_ends.or(self.only_ends),
            verification: over.verification.or(self.verification),
        }
    }

    fn validation(self) -> Result<Validation, Problem> {
        let trusted = self.trusted.or(self.system);
        let has_ca = trusted.is_some();
        let revocations = lists(self.revocations.as_ref(), has_ca, self.only_ends == Some(true))?;
        let place = self.place;
        let names = if self.names.is_empty() { of_any_kind(&self.names_of_any_kind) } else { self.names };
        let without_ca = |what: &str| {
            let cause = Cause::Invalid { what: what.into(), remedy: Some("write trusted_ca".into()) };
            Err(Problem::at(&place, cause))
        };
        if !names.is_empty() && !has_ca {
            return without_ca(
                "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
            );
        }
        if self.permits_expired && !has_ca {
            return without_ca("Certificate validity period is always ignored without trusted CA");
        }
        let checks_chain = self.verification != Some(TrustChainVerification::AcceptUntrusted);
        let authorities = trusted.as_ref().map(|(pem, origin)| (&pem.value[..], origin.clone()));
        let (checked, known) = if checks_chain { (authorities, None) } else { (None, authorities) };
        let rules = PeerRules::new(checked, names).and_then(|rules| rules.with_known(known)).map_err(|error| {
            let place = trusted.as_ref().map_or(&place, |(pem, _)| &pem.place);
            Problem::invalid(place, error.to_string())
        })?;
        let expiry = if self.permits_expired { Expiry::Ignored } else { Expiry::Checked };
        let has_pins = !self.pins.is_empty();
        let rules = rules.with_limits(self.pins, expiry, self.depth_max).with_revocations(revocations);
        Ok(Validation { checks: has_ca || has_pins, rules })
    }
}

/// The authorities that the system trusts.
fn roots_of_system(
    wanted: &At<SystemRootCerts>,
    reading: Reading,
    notes: &Notes,
) -> Result<(At<Vec<u8>>, Origin), Problem> {
    let (pem, path) = system_roots::read(wanted, notes)?;
    if reading == Reading::Watched {
        notes.watch(path);
    }
    Ok((pem, Origin { path: Some(path.to_owned()), secret: None }))
}

/// A name is compared with those of all kinds.
fn of_any_kind(wanted: &[StringMatch]) -> Vec<PeerName> {
    let kinds = [PeerName::Dns, PeerName::Email, PeerName::Uri, PeerName::IpText];
    kinds.iter().flat_map(|kind| wanted.iter().cloned().map(kind)).collect()
}

/// Certificates and keys that are known in advance.
fn pins(certificates: &[At<String>], keys: &[At<String>]) -> Result<Pins, Problem> {
    let certificate = |written: &At<String>| {
        hash_of_hex(&written.value).ok_or_else(|| {
            let what = format!("Invalid hex-encoded SHA-256 {}", written.value);
            written.invalid_but(what, "write what `openssl x509 -outform DER | openssl dgst -sha256` prints")
        })
    };
    let key = |written: &At<String>| {
        hash_of_base64(&written.value).ok_or_else(|| {
            let what = format!("Invalid base64-encoded SHA-256 {}", written.value);
            let remedy = "write what `openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst \
                          -sha256 -binary | openssl enc -base64` prints";
            written.invalid_but(what, remedy)
        })
    };
    Ok(Pins {
        certificates: certificates.iter().map(certificate).collect::<Result<_, _>>()?,
        keys: keys.iter().map(key).collect::<Result<_, _>>()?,
    })
}

fn depth(written: &At<u32>) -> Result<u32, Problem> {
    const DEPTH_MAX: u32 = 100; // as in Envoy
    if written.value > DEPTH_MAX {
        return Err(written.invalid(format!("max_verify_depth must be less than or equal to {DEPTH_MAX}")));
    }
    Ok(written.value)
}

/// Lists of revoked certificates, which authorities sign that are trusted.
fn lists(read: Option<&At<Vec<u8>>>, has_ca: bool, only_ends: bool) -> Result<Option<Revocations>, Problem> {
    let Some(read) = read else { return Ok(None) };
    if !has_ca {
        return Err(read.invalid_but("Failed to load CRL without trusted CA", "write trusted_ca"));
    }
    Revocations::new(&read.value, only_ends).map(Some).map_err(|error| read.invalid(error.to_string()))
}

pub(super) fn peer_name(written: &At<SubjectAltNameMatcher>) -> Result<PeerName, Problem> {
    let matcher = &written.value.matcher;
    let wanted = string_match(matcher)?;
    match written.value.san_type {
        SanType::Dns => Ok(PeerName::Dns(wanted)),
        SanType::Email => Ok(PeerName::Email(wanted)),
        SanType::Uri => Ok(PeerName::Uri(wanted)),
        SanType::OtherName => match written.value.oid.as_ref().and_then(|oid| ObjectId::parse(&oid.value)) {
            Some(id) => Ok(PeerName::Other(id, wanted)),
            None => {
                let oid = written.value.oid.as_ref().map_or("", |oid| &*oid.value);
                let what = format!("Failed to create SAN matcher for OTHER_NAME with OID: {oid:?}");
                Err(written.invalid_but(what, "write oid with the type of the otherName, e.g. 1.3.6.1.4.1.311.20.2.3"))
            }
        },
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
