//! Which network filter chain of a listener takes a connection.
//!
//! The criteria are looked at one after the other, each among the chains that the one before has left: a chain that names
//! what the connection has comes before one that names nothing, and a longer prefix before a shorter one. There is no way
//! back: a connection to a port that some chain names is never taken by a chain that names no port, even if the named one
//! requests another source. That is how Envoy chooses.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use super::trust::Cidr;

/// The network filter chains of a listener. `T` is what is known of a chain's end: its options, or what serves its
/// connections.
#[derive(Clone, Debug)]
pub struct FilterChains<T> {
    /// `filter_chains`, in the order of the file. No connection fits two of them equally well.
    pub chains: Vec<FilterChain<T>>,
    /// `default_filter_chain`: takes what no other takes.
    pub default: Option<T>,
}

/// One of the filter chains that have a match.
#[derive(Clone, Debug)]
pub struct FilterChain<T> {
    /// Which connections it takes.
    pub matches: FilterChainMatch,
    /// The filter at its end.
    pub terminal: T,
}

/// `filter_chain_match`. An empty list is a criterion that every connection meets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FilterChainMatch {
    /// `destination_port`: of our end.
    pub destination_port: Option<NonZeroU16>,
    /// `prefix_ranges`: of our end.
    pub destination: Vec<Cidr>,
    /// `transport_protocol`
    pub transport: TransportProtocol,
    /// `direct_source_prefix_ranges`: of the peer of the connection.
    pub direct_source: Vec<Cidr>,
    /// `source_type`
    pub source_type: SourceType,
    /// `source_prefix_ranges`: of the client, which is the peer as long as nothing in front of it says otherwise.
    pub source: Vec<Cidr>,
    /// `source_ports`: of the client.
    pub source_ports: Vec<NonZeroU16>,
}

/// What a connection carries, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TransportProtocol {
    /// The match names none, so every connection fits.
    #[default]
    Any,
    /// `raw_buffer`: not TLS. That is every connection here.
    RawBuffer,
}

/// Whether a connection comes from this machine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SourceType {
    /// Any source address.
    #[default]
    Any,
    /// It does: both ends have the same address, or the peer a loopback address.
    SameIpOrLoopback,
    /// It does not.
    External,
}

/// Which of the chains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chosen {
    /// One of `chains`, by its position.
    Listed(usize),
    /// `default_filter_chain`.
    Default,
}

/// Both ends of a connection. `None`: it is not a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The address to which the client connected.
    pub local: Option<SocketAddr>,
    /// The client's.
    pub peer: Option<SocketAddr>,
}

impl<T> FilterChains<T> {
    /// The chain that takes a connection; `None` if no chain does, and the connection is to be closed.
    #[must_use]
    pub fn choose(&self, ends: Ends) -> Option<Chosen> {
        let default = || self.default.as_ref().map(|_| Chosen::Default);
        if let [only] = &self.chains[..]
            && only.matches.takes_all()
        {
            return Some(Chosen::Listed(0));
        }
        let mut left: Vec<usize> = (0..self.chains.len()).collect();
        for criterion in CRITERIA {
            let fits = |&nth: &usize| self.chains.get(nth).and_then(|chain| criterion(&chain.matches, ends));
            let Some(best) = left.iter().filter_map(fits).max() else { return default() };
            left.retain(|nth| fits(nth) == Some(best));
        }
        left.first().map(|nth| Chosen::Listed(*nth)).or_else(default)
    }

    /// The end of a chain.
    #[must_use]
    pub fn terminal(&self, chosen: Chosen) -> Option<&T> {
        match chosen {
            Chosen::Listed(nth) => self.chains.get(nth).map(|chain| &chain.terminal),
            Chosen::Default => self.default.as_ref(),
        }
    }

    /// The ends of all chains, the default's last.
    pub fn terminals(&self) -> impl Iterator<Item = &T> {
        self.chains.iter().map(|chain| &chain.terminal).chain(&self.default)
    }

    /// The same, to be changed.
    pub fn terminals_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chains.iter_mut().map(|chain| &mut chain.terminal).chain(&mut self.default)
    }

    /// The same chains, with what `make` makes of the end of each.
    ///
    /// # Errors
    /// The first of `make`.
    pub fn try_map<U, E>(&self, mut make: impl FnMut(&T) -> Result<U, E>) -> Result<FilterChains<U>, E> {
        let mut chains = Vec::with_capacity(self.chains.len());
        for FilterChain { matches, terminal } in &self.chains {
            chains.push(FilterChain { matches: matches.clone(), terminal: make(terminal)? });
        }
        Ok(FilterChains { chains, default: self.default.as_ref().map(make).transpose()? })
    }
}

/// How closely a connection meets a criterion of a match: 0 where the match does not ask; `None` if it fails.
type Criterion = fn(&FilterChainMatch, Ends) -> Option<u32>;

/// In the order in which they decide.
const CRITERIA: [Criterion; 7] = [
    |wanted, ends| named(wanted.destination_port.as_slice(), ends.local),
    |wanted, ends| within(&wanted.destination, ends.local),
    |wanted, _| Some(u32::from(wanted.transport == TransportProtocol::RawBuffer)),
    |wanted, ends| within(&wanted.direct_source, ends.peer),
    |wanted, ends| wanted.source_type.fits(ends),
    |wanted, ends| within(&wanted.source, ends.peer),
    |wanted, ends| named(&wanted.source_ports, ends.peer),
];

/// How closely an address meets a list of ranges: the longer the prefix, the more.
fn within(ranges: &[Cidr], address: Option<SocketAddr>) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    let address = address?.ip();
    ranges.iter().filter(|range| range.contains(address)).map(|range| 1 + range.length()).max()
}

/// How closely a port meets a list of ports.
fn named(ports: &[NonZeroU16], address: Option<SocketAddr>) -> Option<u32> {
    if ports.is_empty() {
        return Some(0);
    }
    let port = address?.port();
    ports.iter().any(|named| named.get() == port).then_some(1)
}

impl SourceType {
    fn fits(self, ends: Ends) -> Option<u32> {
        let is_local = match (ends.local, ends.peer) {
            (local, Some(peer)) => peer.ip().is_loopback() || local.is_some_and(|local| local.ip() == peer.ip()),
            (_, None) => true,
        };
        match (self, is_local) {
            (Self::Any, _) => Some(0),
            (Self::SameIpOrLoopback, true) | (Self::External, false) => Some(1),
            (Self::SameIpOrLoopback, false) | (Self::External, true) => None,
        }
    }
}

impl FilterChainMatch {
    /// Is there a connection that fits both equally well?
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let ranges = [
            (&self.destination, &other.destination),
            (&self.direct_source, &other.direct_source),
            (&self.source, &other.source),
        ];
        self.destination_port == other.destination_port
            && self.transport == other.transport
            && self.source_type == other.source_type
            && ranges.into_iter().all(|(one, other)| share(one, other, Cidr::is_same_range))
            && share(&self.source_ports, &other.source_ports, NonZeroU16::eq)
    }
}

impl FilterChainMatch {
    /// Does it take every connection?
    #[must_use]
    pub fn takes_all(&self) -> bool {
        let plaintext = Self { transport: TransportProtocol::RawBuffer, ..Self::default() };
        *self == Self::default() || *self == plaintext
    }

    /// Does a list of it have the same element twice?
    #[must_use]
    pub fn repeats(&self) -> bool {
        let ranges = [&self.destination, &self.direct_source, &self.source];
        ranges.into_iter().any(|ranges| is_repeated(ranges, Cidr::is_same_range))
            || is_repeated(&self.source_ports, NonZeroU16::eq)
    }
}

fn is_repeated<V>(values: &[V], same: impl Fn(&V, &V) -> bool) -> bool {
    values.iter().enumerate().any(|(nth, one)| values.iter().take(nth).any(|other| same(one, other)))
}

/// Are both lists empty, or has one an element of the other?
fn share<V>(one: &[V], other: &[V], same: impl Fn(&V, &V) -> bool) -> bool {
    (one.is_empty() && other.is_empty()) || one.iter().any(|one| other.iter().any(|other| same(one, other)))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn range(text: &str) -> Cidr {
        let (address, length) = text.split_once('/').unwrap();
        Cidr::new(address.parse::<IpAddr>().unwrap(), length.parse().unwrap())
    }

    fn port(port: u16) -> NonZeroU16 {
        NonZeroU16::new(port).unwrap()
    }

    fn chains(matches: impl IntoIterator<Item = FilterChainMatch>, default: Option<()>) -> FilterChains<()> {
        let chains = matches.into_iter().map(|matches| FilterChain { matches, terminal: () }).collect();
        FilterChains { chains, default }
    }

    fn ends(peer: &str, local: &str) -> Ends {
        Ends { local: Some(local.parse().unwrap()), peer: Some(peer.parse().unwrap()) }
    }

    #[test]
    fn the_closest_chain_takes_a_connection_and_the_default_what_is_left() {
        let any = FilterChainMatch::default;
        let chains = chains(
            [
                FilterChainMatch { destination_port: Some(port(443)), source: vec![range("10.0.0.0/8")], ..any() },
                FilterChainMatch { destination: vec![range("192.0.2.0/24")], ..any() },
                FilterChainMatch { destination: vec![range("192.0.2.7/32")], source_ports: vec![port(9)], ..any() },
                FilterChainMatch { source_type: SourceType::SameIpOrLoopback, ..any() },
                FilterChainMatch { source_type: SourceType::External, direct_source: vec![range("fd00::/8")], ..any() },
                FilterChainMatch { source: vec![range("203.0.113.0/24")], ..any() },
                FilterChainMatch { source: vec![range("203.0.113.128/25")], ..any() },
            ],
            Some(()),
        );
        let (listed, default) = (|nth| Some(Chosen::Listed(nth)), Some(Chosen::Default));
        for (peer, local, expected) in [
            ("10.1.1.1:5", "198.51.100.1:443", listed(0)),
            // The port is named: chains that name none are not looked at again.
            ("11.1.1.1:5", "192.0.2.1:443", default),
            ("11.1.1.1:5", "192.0.2.1:80", listed(1)),
            ("11.1.1.1:9", "192.0.2.7:80", listed(2)),
            ("11.1.1.1:5", "192.0.2.7:80", default),
            ("127.0.0.1:5", "127.0.0.1:80", listed(3)),
            ("198.51.100.1:5", "198.51.100.1:80", listed(3)),
            ("[fd00::1]:5", "[fd00::2]:80", listed(4)),
            ("203.0.113.1:5", "198.51.100.1:80", listed(5)),
            ("203.0.113.129:5", "198.51.100.1:80", listed(6)),
            ("8.8.8.8:5", "198.51.100.1:80", default),
        ] {
            assert_eq!(chains.choose(ends(peer, local)), expected, "{peer} to {local}");
        }
    }

    #[test]
    fn without_a_default_nothing_takes_what_does_not_match() {
        let of_port = FilterChainMatch { destination_port: Some(port(443)), ..FilterChainMatch::default() };
        let chains = chains([of_port], None);
        assert_eq!(chains.choose(ends("10.0.0.1:5", "10.0.0.2:80")), None);
        assert_eq!(chains.choose(Ends { local: None, peer: None }), None);
    }

    #[test]
    fn matches_overlap_if_a_connection_fits_both_equally() {
        let any = FilterChainMatch::default;
        let to = |ranges: &[&str]| FilterChainMatch {
            destination: ranges.iter().map(|text| range(text)).collect(),
            ..FilterChainMatch::default()
        };
        for (one, other, expected) in [
            (any(), any(), true),
            (to(&["10.0.0.0/8"]), any(), false),
            (to(&["10.0.0.0/8", "192.0.2.0/24"]), to(&["192.0.2.9/24"]), true),
            (to(&["10.0.0.0/8"]), to(&["10.0.0.0/9"]), false),
            (any(), FilterChainMatch { source_type: SourceType::External, ..any() }, false),
            (any(), FilterChainMatch { source_ports: vec![port(1)], ..any() }, false),
            (any(), FilterChainMatch { transport: TransportProtocol::RawBuffer, ..any() }, false),
        ] {
            assert_eq!(one.overlaps(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), expected, "{other:?} {one:?}");
        }
        assert!(to(&["10.0.0.0/8", "10.9.0.0/8"]).repeats());
        assert!(!to(&["10.0.0.0/8", "10.0.0.0/9"]).repeats());
    }
}
