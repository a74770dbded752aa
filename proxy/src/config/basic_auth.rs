//! `envoy.filters.http.basic_auth`, typed.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

/// `envoy.filters.http.basic_auth`: who may send requests, by name and password (RFC 7617).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BasicAuth {
    /// Who may.
    pub users: Arc<Users>,
    /// `authentication_header`: where the credentials are.
    pub header: HeaderName,
    /// `forward_username_header`: gets the name of the user.
    pub username_header: Option<HeaderName>,
    /// `allow_missing`: requests without such credentials pass.
    pub allows_missing: bool,
    /// `emit_dynamic_metadata`: the name of the user is left under this namespace.
    pub metadata_namespace: Option<String>,
}

/// The users of a file of `htpasswd`, by their names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Users(pub(super) BTreeMap<Vec<u8>, User>);

/// A user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The name, as a header has it.
    pub name: HeaderValue,
    /// SHA-1 of the password, in base64.
    pub hash: String,
}

impl Users {
    /// The user of this name.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<&User> {
        self.0.get(name)
    }
}
