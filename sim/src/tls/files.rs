//! The files of certificates that a proxy's configuration names, made up: nothing is read from the machine that simulates.

use std::cell::RefCell;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use finwait::config::{CertificateFiles, Content};

use super::authority::{Authorities, instant};
use super::der;
use crate::scenario::{Certificate, Certificates};

/// What one proxy finds where its configuration looks.
pub(crate) struct Files {
    pub(crate) authorities: Authorities,
    /// Whose they are.
    pub(crate) host: String,
    /// What the scenario says of them.
    pub(crate) certificates: Certificates,
    /// Told of what has been made up.
    pub(crate) made: RefCell<Vec<String>>,
}

impl CertificateFiles for Files {
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
                self.made.borrow_mut().push(told(path, &self.host, &wanted));
                Ok(pem("CERTIFICATE", &issued.certificate))
            }
            Content::PrivateKey => Ok(pem("PRIVATE KEY", &self.authorities.key_of(&self.host))),
            Content::Secrets => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "files of secrets are not simulated; write tls_certificates in place by a patch",
            )),
        }
    }
}

/// A certificate in words.
pub(crate) fn told(what: &str, host: &str, certificate: &Certificate) -> String {
    let names = if certificate.names.is_empty() { host.to_owned() } else { certificate.names.join(", ") };
    let [from, until] = [certificate.not_before, certificate.not_after].map(|step| der::date_and_time(instant(step)));
    format!("{what}: for {names}, signed by {}, valid from {from} to {until}", certificate.issuer)
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
}
