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
use crate::scenario::{Certificate, Certificates};

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
        match content {
            Content::Authorities => {
                let name = self.certificates.issuer_of(path);
                Ok(pem("CERTIFICATE", &self.authorities.root(name).ok_or_else(unknown)?))
            }
            Content::CertificateChain => {
                let wanted = self.certificates.get(path).cloned().unwrap_or_default();
                let issued = self.authorities.issue(&self.host, &wanted).ok_or_else(unknown)?;
                self.made.borrow_mut().push(describe_certificate(path, &self.host, &wanted));
                Ok(pem("CERTIFICATE", &issued.certificate))
            }
            Content::Revocations => {
                Err(io::Error::other("no list of revoked certificates is made up; write inline_string"))
            }
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

/// A certificate as reports describe it: its names, issuer and validity.
pub(crate) fn describe_certificate(what: &str, host: &str, certificate: &Certificate) -> String {
    let names = if certificate.names.is_empty() { host.to_owned() } else { certificate.names.join(", ") };
    let [from, until] = [certificate.not_before, certificate.not_after].map(|step| der::date_and_time(instant(step)));
    format!("{what}: for {names}, signed by {}, valid from {from} to {until}", certificate.issuer)
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
}
