//! What a configuration takes from the machine that loads it, besides its text.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::secret_read::SecretRead;
use super::tls::Crypto;

/// Whence certificates come, and what TLS is done with. That of the system by default.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// What TLS computes with.
    pub crypto: Crypto,
    /// The files of certificates, keys, secrets and endpoints; `None` reads those of the system.
    pub files: Option<Rc<dyn NamedFiles>>,
    /// Secrets that are in use, and stay in use if their files are of no use now.
    pub secrets: Vec<SecretRead>,
    /// Paths of fields and items that are not read, as errors spell them. A proxy reads all; a simulation may leave out
    /// what only Envoy has.
    pub left_out: Vec<String>,
}

/// Files that a configuration names, by their paths.
pub trait NamedFiles {
    /// The content of a file.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn read(&self, path: &str, content: Content) -> io::Result<Vec<u8>>;

    /// The secret `name` in Envoy's form, from the file at `path`, or from a server if there is no path.
    ///
    /// # Errors
    /// There is no such secret, or it cannot be read.
    fn secret(&self, path: Option<&str>, name: &str, kind: SecretKind) -> io::Result<Vec<u8>>;

    /// The content of the file of endpoints at `path`.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn endpoints(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// What kind of secret is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretKind {
    /// `tls_certificate`
    Certificate,
    /// `validation_context`
    Context,
    /// `session_ticket_keys`
    TicketKeys,
}

/// What a configuration expects of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// `trusted_ca`, in PEM.
    Authorities,
    /// `certificate_chain`, in PEM.
    CertificateChain,
    /// `password` of a private key.
    Password,
    /// `private_key`, in PEM.
    PrivateKey,
    /// `crl`, in PEM.
    Revocations,
    /// `ocsp_staple`, in DER.
    Staple,
    /// One of `session_ticket_keys`.
    TicketKey,
}

impl Surroundings {
    /// The content of the file, if it is not one of the system.
    pub(super) fn read(&self, path: &str, content: Content) -> Option<io::Result<Vec<u8>>> {
        self.files.as_ref().map(|files| files.read(path, content))
    }

    /// The secret, if its file is not one of the system.
    pub(super) fn secret(&self, path: Option<&str>, name: &str, kind: SecretKind) -> Option<io::Result<Vec<u8>>> {
        self.files.as_ref().map(|files| files.secret(path, name, kind))
    }

    /// The endpoints, if their file is not one of the system.
    pub(super) fn endpoints(&self, path: &str) -> Option<io::Result<Vec<u8>>> {
        self.files.as_ref().map(|files| files.endpoints(path))
    }

    /// Whether the field or item at `path` is left out.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        self.left_out.iter().any(|left_out| left_out == path)
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}
