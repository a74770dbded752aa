//! What `envoy.filters.http.basic_auth` means.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::data_source;
use crate::config::basic_auth::{BasicAuth, User, Users};
use crate::config::bootstrap::DataSource;
use crate::config::bootstrap::filter::{BasicAuth as Written, BasicAuthPerRoute};
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// How long SHA-1 is in base64.
const HASH_BYTES: usize = 28;

/// The filter that is called `name`.
pub(super) fn filter(written: &Written, name: &str) -> Result<BasicAuth, Problem> {
    Ok(BasicAuth {
        users: users(&written.users)?,
        header: header(written.authentication_header.as_ref())?.unwrap_or(AUTHORIZATION),
        username_header: header(written.forward_username_header.as_ref())?,
        allows_missing: written.allow_missing,
        metadata_namespace: written.emit_dynamic_metadata.then(|| name.to_owned()),
    })
}

/// The filter where a route has these users.
pub(super) fn below(own: &Arc<BasicAuth>, users: Option<&Arc<Users>>) -> Arc<BasicAuth> {
    match users {
        None => Arc::clone(own),
        Some(users) => Arc::new(BasicAuth { users: Arc::clone(users), ..(**own).clone() }),
    }
}

/// The users of a route.
pub(super) fn of_route(written: &BasicAuthPerRoute) -> Result<Arc<Users>, Problem> {
    users(&written.users)
}

fn header(written: Option<&At<String>>) -> Result<Option<HeaderName>, Problem> {
    let written = written.filter(|at| !at.value.is_empty());
    let name = |at: &At<String>| at.value.parse().map_err(|_| at.invalid("is not the name of a header"));
    written.map(name).transpose()
}

/// The lines of a file of `htpasswd`, as Envoy reads them: what is wrong is said in its words.
fn users(written: &At<DataSource>) -> Result<Arc<Users>, Problem> {
    let text = data_source::text(written)?;
    let mut users = BTreeMap::new();
    for line in text.value.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let wrong = |what: &str| text.invalid(format!("basic auth: {what}"));
        let (name, hash) =
            line.split_once(':').ok_or_else(|| wrong("invalid htpasswd format, username:password is expected"))?;
        if name.is_empty() || hash.is_empty() {
            return Err(wrong("empty user name or password"));
        }
        let hash = hash.strip_prefix("{SHA}").ok_or_else(|| {
            text.invalid_but(
                "basic auth: unsupported htpasswd format: please use {SHA}",
                "htpasswd -s -n NAME makes such a line",
            )
        })?;
        if hash.len() != HASH_BYTES {
            return Err(wrong("invalid htpasswd format, invalid SHA hash length"));
        }
        let header = HeaderValue::from_bytes(name.as_bytes());
        let header = header.map_err(|_| wrong("a user name holds control characters"))?;
        if users.insert(name.as_bytes().to_vec(), User { name: header, hash: hash.to_owned() }).is_some() {
            return Err(wrong("duplicate users"));
        }
    }
    Ok(Arc::new(Users(users)))
}
