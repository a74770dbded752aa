//! Where an endpoint is: one address, or all addresses of a name.

use std::sync::Arc;

use crate::net::Address;

/// What tells the endpoints of a cluster apart.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct EndpointKey {
    /// Where it is.
    pub address: Address,
    /// The host that it is, where requests name hosts: several may be at one address.
    pub host: Option<Arc<str>>,
}

impl From<Address> for EndpointKey {
    fn from(address: Address) -> Self {
        Self { address, host: None }
    }
}

/// Where an endpoint is, and how it is connected to. One that comes to have other addresses is another endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The address that it is known by, and the first that a connection is tried to.
    pub address: Address,
    /// Those that are tried after it, in this order.
    pub others: Vec<Address>,
    /// Which of the cluster's `transport_socket_matches` says how it is connected to.
    pub socket: Option<usize>,
    /// The host that it is, where requests name hosts.
    pub host: Option<Arc<str>>,
}

impl Location {
    /// One endpoint with all addresses of a DNS response, if there is one. The family of the first and the other family take
    /// turns, so that a network without one of them costs one try (RFC 8305 4).
    #[must_use]
    pub fn of_all(addresses: impl IntoIterator<Item = Address>) -> Option<Self> {
        let mut addresses = addresses.into_iter();
        let address = addresses.next()?;
        let is_like_first = |other: &Address| is_v4(other) == is_v4(&address);
        let (like, unlike): (Vec<_>, Vec<_>) = addresses.partition(is_like_first);
        let (mut like, mut unlike) = (like.into_iter(), unlike.into_iter());
        let mut others = Vec::new();
        loop {
            let pair = [unlike.next(), like.next()];
            if pair.iter().all(Option::is_none) {
                return Some(Self { address, others, socket: None, host: None });
            }
            others.extend(pair.into_iter().flatten());
        }
    }

    /// What tells it from other endpoints of its cluster.
    #[must_use]
    pub fn key(&self) -> EndpointKey {
        EndpointKey { address: self.address.clone(), host: self.host.clone() }
    }

    /// All addresses, in the order in which they are tried.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.address).chain(&self.others)
    }
}

impl From<Address> for Location {
    fn from(address: Address) -> Self {
        Self { address, others: Vec::new(), socket: None, host: None }
    }
}

fn is_v4(address: &Address) -> bool {
    address.ip().is_some_and(|ip| ip.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_begin_with_the_first() {
        for (addresses, expected) in [
            ("::1 ::2 10.0.0.1 10.0.0.2", "::1 10.0.0.1 ::2 10.0.0.2"),
            ("10.0.0.1 10.0.0.2 10.0.0.3 ::1", "10.0.0.1 ::1 10.0.0.2 10.0.0.3"),
            ("10.0.0.2 10.0.0.1", "10.0.0.2 10.0.0.1"),
            ("::1", "::1"),
        ] {
            let addresses =
                addresses.split(' ').map(|ip| Address::Socket((ip.parse::<std::net::IpAddr>().unwrap(), 80).into()));
            let location = Location::of_all(addresses).unwrap();
            let tried: Vec<_> = location.addresses().filter_map(Address::ip).map(|ip| ip.to_string()).collect();
            assert_eq!(tried.join(" "), expected);
        }
        assert_eq!(Location::of_all([]), None);
    }
}
