//! What hash policies mean.

use http::HeaderName;

use super::rewrite;
use crate::config::bootstrap::policies::{HashPolicy as Written, HashedCookie as WrittenCookie};
use crate::config::hashing::{GivenCookie, HashPolicy, Hashed, HashedCookie};
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes};

/// The hash policies of a route, in their order.
pub(super) fn policies(written: &[At<Written>], notes: &Notes) -> Result<Vec<HashPolicy>, Problem> {
    let policies = written.iter().filter_map(|at| policy(at, notes).transpose());
    policies.collect()
}

/// `None`: it never hashes anything.
fn policy(at: &At<Written>, notes: &Notes) -> Result<Option<HashPolicy>, Problem> {
    let Written { connection_properties, cookie, filter_state, header, query_parameter, terminal } = &at.value;
    let of = match (connection_properties, cookie, filter_state, header, query_parameter) {
        (Some(connection), None, None, None, None) if connection.source_ip => Hashed::SourceIp,
        (Some(_), None, None, None, None) => return Ok(None),
        (None, Some(written), None, None, None) => Hashed::Cookie(cookie_of(at, written)?),
        (None, None, Some(_), None, None) => {
            notes.note(&at.place, "no object of filter state that can be hashed exists here".to_owned());
            return Ok(None);
        }
        (None, None, None, Some(header), None) => Hashed::Header {
            name: HeaderName::try_from(&*header.header_name).map_err(|_| {
                at.invalid("a pseudo-header cannot be hashed; write query_parameter, or another header")
            })?,
            rewrite: header.regex_rewrite.as_ref().map(rewrite::regex).transpose()?,
        },
        (None, None, None, None, Some(parameter)) => Hashed::Query(parameter.name.to_string()),
        _ => {
            return Err(at.invalid(
                "takes exactly one of header, cookie, connection_properties, query_parameter and filter_state",
            ));
        }
    };
    Ok(Some(HashPolicy { of, ends: *terminal }))
}

fn cookie_of(at: &At<Written>, written: &WrittenCookie) -> Result<HashedCookie, Problem> {
    let WrittenCookie { attributes, name, path, ttl } = written;
    let mut rest = String::new();
    if let Some(path) = path.as_ref().filter(|path| !path.is_empty()) {
        rest.push_str(&format!("; Path={path}"));
    }
    for attribute in attributes {
        rest.push_str(&format!("; {}", &*attribute.name));
        if !attribute.value.is_empty() {
            rest.push_str(&format!("={}", attribute.value));
        }
    }
    rest.push_str("; HttpOnly");
    let is_visible = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_visible(&rest) || !is_visible(name) {
        return Err(at.invalid("name, path and attributes of a cookie are visible ASCII characters"));
    }
    let given = ttl.map(|ttl| GivenCookie { ttl: ttl.0, rest });
    Ok(HashedCookie { name: name.to_string(), given })
}
