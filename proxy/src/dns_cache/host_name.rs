//! Hosts as requests name them.

use std::net::IpAddr;
use std::sync::Arc;

/// A host that a request names, and the port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HostName {
    /// As caches know it: the text of the request, with its port.
    pub(super) key: Arc<str>,
    /// What is resolved.
    pub(super) name: String,
    pub(super) port: u16,
    /// The address that it is, if it is no name.
    pub(super) literal: Option<IpAddr>,
}

impl HostName {
    /// That of `authority` (RFC 9110 7.2), which has this port if it names none. What cannot be a port is a part of the name, as in
    /// Envoy: no name server knows it.
    pub(super) fn parse(authority: &str, default_port: u16) -> Self {
        let (host, port) = match authority.rsplit_once(':') {
            // The colons within brackets are those of an address of IPv6.
            Some((host, port)) if !port.contains(']') => {
                port.parse().map_or((authority, None), |port: u16| (host, Some(port)))
            }
            Some(_) | None => (authority, None),
        };
        let key = match port {
            Some(_) => authority.into(),
            None => format!("{authority}:{default_port}").into(),
        };
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { key, name: name.to_owned(), port: port.unwrap_or(default_port), literal: name.parse().ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for (authority, key, name, port, is_literal) in [
            ("a.test", "a.test:80", "a.test", 80, false),
            ("a.test:8080", "a.test:8080", "a.test", 8080, false),
            ("A.Test:8080", "A.Test:8080", "A.Test", 8080, false),
            ("a.test:99999", "a.test:99999:80", "a.test:99999", 80, false),
            ("a.test:x", "a.test:x:80", "a.test:x", 80, false),
            ("10.0.0.1", "10.0.0.1:80", "10.0.0.1", 80, true),
            ("[::1]:8080", "[::1]:8080", "::1", 8080, true),
            ("[::1]", "[::1]:80", "::1", 80, true),
        ] {
            let host = HostName::parse(authority, 80);
            let found = (&*host.key, &*host.name, host.port, host.literal.is_some());
            assert_eq!(found, (key, name, port, is_literal), "{authority}");
        }
    }
}
