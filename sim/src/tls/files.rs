//! The files of certificates that a proxy's configuration names, made up: nothing is read from the machine that simulates.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use finwait::config::{Content, NamedFiles, SecretKind};
use serde_json::json;

use super::authority::{Authorities, instant};
use super::der;
use crate::scenario::{Certificate, CertificateFile, Certificates, RevocationList};

/// A key of session tickets is so long. Bytes.
const TICKET_KEY_LEN: usize = 80;

/// What one proxy finds where its configuration looks.
pub(crate) struct Files {
    pub(crate) authorities: Authorities,
    /// The host of the proxy.
    pub(crate) host: String,
    /// Those that the scenario describes.
    pub(crate) certificates: Certificates,
    /// The other files that the scenario describes, by their paths.
    pub(crate) files: BTreeMap<String, String>,
    /// The certificates that have been made up, described.
    pub(crate) made: RefCell<Vec<String>>,
}

impl NamedFiles for Files {
    fn read(&self, path: &str, content: Content) -> io::Result<Vec<u8>> {
        let unknown = || io::Error::other("the certificate cannot be made up");
        let wanted = match self.certificates.get(path) {
            Some(CertificateFile::Certificate(wanted)) => wanted.clone(),
            Some(CertificateFile::Revocations(list)) => return self.list(path, list).ok_or_else(unknown),
            Some(CertificateFile::Text(text)) => return Ok(text.clone().into_bytes()),
            None => Certificate::default(),
        };
        match content {
            Content::Authorities => Ok(pem("CERTIFICATE", &self.authorities.root(&wanted.issuer).ok_or_else(unknown)?)),
            Content::CertificateChain => {
                let issued = self.authorities.issue(&self.host, &wanted).ok_or_else(unknown)?;
                self.made.borrow_mut().push(describe_certificate(path, &self.host, &wanted));
                Ok(pem("CERTIFICATE", &issued.certificate))
            }
            Content::Revocations => {
                let Certificate { issuer, not_before: this_update, not_after: next_update, .. } = wanted;
                let (revoked, certificates) = Default::default();
                let empty = RevocationList { issuer, this_update, next_update, revoked, certificates };
                self.list(path, &empty).ok_or_else(unknown)
            }
            Content::Password => Ok(Vec::new()), // keys that are made up have none
            Content::Staple => Err(io::Error::other("a response of OCSP cannot be made up")),
            // Proxies that name the same file share what is in it.
            Content::TicketKey => Ok(path.bytes().cycle().take(TICKET_KEY_LEN).collect()),
            Content::PrivateKey => Ok(pem("PRIVATE KEY", &self.authorities.key_of(&self.host))),
        }
    }

    fn endpoints(&self, path: &str) -> io::Result<Vec<u8>> {
        let held = self.files.get(path).map(|text| text.clone().into_bytes());
        held.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file; write it in `files` of the host"))
    }

    fn secret(&self, path: Option<&str>, name: &str, kind: SecretKind) -> io::Result<Vec<u8>> {
        // A secret is described in the scenario under its path, or else under its name.
        let file = path.filter(|path| self.certificates.get(path).is_some()).unwrap_or(name);
        if let Some(CertificateFile::Text(text)) = self.certificates.get(file) {
            return Ok(text.clone().into_bytes());
        }
        let in_place =
            |content| self.read(file, content).map(|pem| json!({ "inline_string": String::from_utf8_lossy(&pem) }));
        let (field, value) = match kind {
            SecretKind::Certificate => {
                let chain = in_place(Content::CertificateChain)?;
                (
                    "tls_certificate",
                    json!({ "certificate_chain": chain, "private_key": in_place(Content::PrivateKey)? }),
                )
            }
            SecretKind::TicketKeys => {
                let key = STANDARD.encode(self.read(file, Content::TicketKey)?);
                ("session_ticket_keys", json!({ "keys": [{ "inline_bytes": key }] }))
            }
            SecretKind::Context => ("validation_context", json!({ "trusted_ca": in_place(Content::Authorities)? })),
        };
        let resource = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": name,
            (field): value,
        });
        Ok(json!({ "resources": [resource] }).to_string().into_bytes())
    }
}

impl Files {
    fn list(&self, path: &str, list: &RevocationList) -> Option<Vec<u8>> {
        self.made.borrow_mut().push(describe_list(path, list));
        Some(pem("X509 CRL", &self.authorities.list(list)?))
    }
}

/// A file as reports describe it.
pub(crate) fn describe_file(what: &str, host: &str, file: &CertificateFile) -> String {
    match file {
        CertificateFile::Certificate(certificate) => describe_certificate(what, host, certificate),
        CertificateFile::Revocations(list) => describe_list(what, list),
        CertificateFile::Text(text) => format!("{what}: {text:?}"),
    }
}

fn describe_list(what: &str, list: &RevocationList) -> String {
    let RevocationList { issuer, this_update, next_update, revoked, .. } = list;
    let [from, until] = [*this_update, *next_update].map(|step| der::date_and_time(instant(step)));
    let revoked = if revoked.is_empty() {
        "no certificate".to_owned()
    } else {
        format!("the certificates of {}", revoked.join(", "))
    };
    format!("{what}: a list of {issuer} that revokes {revoked}, valid from {from} to {until}")
}

/// A certificate as reports describe it: its names, issuer and validity.
pub(crate) fn describe_certificate(what: &str, host: &str, certificate: &Certificate) -> String {
    let names = if certificate.names.is_empty() { host.to_owned() } else { certificate.names.join(", ") };
    let [from, until] = [certificate.not_before, certificate.not_after].map(|step| der::date_and_time(instant(step)));
    format!("{what}: for {names}, signed by {}, valid from {from} to {until}", certificate.issuer)
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
}
