//! Which network filter chain of a listener takes a connection.
//!
//! The criteria are looked at one after the other, each among the chains that the one before has left: a chain that names
//! what the connection has comes before one that names nothing, and a longer prefix before a shorter one. There is no way
//! back: a connection to a port that some chain names is never taken by a chain that names no port, even if the named one
//! requests another source. That is how Envoy chooses.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::listener_filter::{HttpVersion, Inspection};
use super::tls::ServerTls;
use super::trust::Cidr;

/// The network filter chains of a listener. `T` is what is known of a chain's end: its options, or what serves its
/// connections.
#[derive(Clone, Debug)]
pub struct FilterChains<T> {
    /// `filter_chains`, in the order of the file. No connection fits two of them equally well.
    pub chains: Vec<FilterChain<T>>,
    /// `default_filter_chain`: takes what no other takes.
    pub default: Option<T>,
    /// `name` of the default.
    pub default_name: Arc<str>,
    /// `transport_socket` of the default: its connections are encrypted.
    pub default_tls: Option<Arc<ServerTls>>,
    /// `transport_socket_connect_timeout` of the default.
    pub default_handshake_timeout: Option<Duration>,
    /// How a connection's first bytes are looked at before a chain is chosen.
    pub inspection: Inspection,
}

/// One of the filter chains that have a match.
#[derive(Clone, Debug)]
pub struct FilterChain<T> {
    /// `name`; empty if it has none.
    pub name: Arc<str>,
    /// Which connections it takes.
    pub matches: FilterChainMatch,
    /// `transport_socket`: its connections are encrypted.
    pub tls: Option<Arc<ServerTls>>,
    /// `transport_socket_connect_timeout`: so long may the handshake of a connection take.
    pub handshake_timeout: Option<Duration>,
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
    /// `server_names`, in lower case: of the ClientHello.
    pub server_names: Vec<String>,
    /// `transport_protocol`
    pub transport: TransportProtocol,
    /// `application_protocols`: of the ClientHello, or what `http_inspector` found.
    pub application_protocols: Vec<Vec<u8>>,
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
    /// `raw_buffer`: not TLS.
    RawBuffer,
    /// `tls`
    Tls,
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
    /// The other end of the socket, which is another than the client's where a PROXY header says so.
    pub direct_peer: Option<SocketAddr>,
}

/// What a chain is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'h> {
    /// Both ends of the connection.
    pub ends: Ends,
    /// What the client asks for, if its first bytes were looked at and are TLS.
    pub hello: Option<ClientOffer<'h>>,
    /// What `http_inspector` found.
    pub http: Option<HttpVersion>,
}

/// What the ClientHello of a connection asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientOffer<'h> {
    /// The application protocols (ALPN) that its ClientHello offers.
    pub alpn: &'h [Vec<u8>],
    /// In lower case.
    pub server_name: Option<&'h str>,
}

impl<T> FilterChains<T> {
    /// The chain that takes a connection; `None` if no chain does, and the connection is to be closed.
    #[must_use]
    pub fn choose(&self, arrival: Arrival<'_>) -> Option<Chosen> {
        let default = || self.default.as_ref().map(|_| Chosen::Default);
        if let [only] = &self.chains[..]
            && only.matches.takes_all()
        {
            return Some(Chosen::Listed(0));
        }
        let mut left: Vec<usize> = (0..self.chains.len()).collect();
        for criterion in CRITERIA {
            let fits = |&nth: &usize| self.chains.get(nth).and_then(|chain| criterion(&chain.matches, arrival));
            let Some(best) = left.iter().filter_map(fits).max() else { return default() };
            left.retain(|nth| fits(nth) == Some(best));
        }
        left.first().map(|nth| Chosen::Listed(*nth)).or_else(default)
    }

    /// Does something come before the protocol of the chains: a look at the first bytes, or TLS?
    #[must_use]
    pub fn reads_first(&self) -> bool {
        self.inspection != Inspection::default() || self.encrypts()
    }

    /// Does a chain encrypt its connections?
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.default_tls.is_some() || self.chains.iter().any(|chain| chain.tls.is_some())
    }

    /// What the connections of the chains are encrypted with, the default's last.
    pub fn encryptions(&self) -> impl Iterator<Item = &Arc<ServerTls>> {
        self.chains.iter().filter_map(|chain| chain.tls.as_ref()).chain(&self.default_tls)
    }

    /// Has its connections encrypted as those of `other` are, which differs in nothing that concerns TLS.
    pub fn encrypt_as(&mut self, other: &Self) {
        for (chain, other) in self.chains.iter_mut().zip(&other.chains) {
            chain.tls.clone_from(&other.tls);
        }
        self.default_tls.clone_from(&other.default_tls);
    }

    /// So long may the handshake of a connection of a chain take.
    #[must_use]
    pub fn handshake_timeout(&self, chosen: Chosen) -> Option<Duration> {
        match chosen {
            Chosen::Listed(nth) => self.chains.get(nth)?.handshake_timeout,
            Chosen::Default => self.default_handshake_timeout,
        }
    }

    /// What the connections of a chain are encrypted with.
    #[must_use]
    pub fn tls(&self, chosen: Chosen) -> Option<&Arc<ServerTls>> {
        match chosen {
            Chosen::Listed(nth) => self.chains.get(nth)?.tls.as_ref(),
            Chosen::Default => self.default_tls.as_ref(),
        }
    }

    /// The name of a chain; `None` if it has none.
    #[must_use]
    pub fn name(&self, chosen: Chosen) -> Option<&Arc<str>> {
        let name = match chosen {
            Chosen::Listed(nth) => &self.chains.get(nth)?.name,
            Chosen::Default => &self.default_name,
        };
        (!name.is_empty()).then_some(name)
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
        for FilterChain { name, matches, tls, handshake_timeout, terminal } in &self.chains {
            let name = Arc::clone(name);
            let (matches, tls, handshake_timeout) = (matches.clone(), tls.clone(), *handshake_timeout);
            chains.push(FilterChain { name, matches, tls, handshake_timeout, terminal: make(terminal)? });
        }
        let default = self.default.as_ref().map(make).transpose()?;
        Ok(FilterChains {
            chains,
            default,
            default_name: Arc::clone(&self.default_name),
            default_tls: self.default_tls.clone(),
            default_handshake_timeout: self.default_handshake_timeout,
            inspection: self.inspection,
        })
    }
}

/// How closely a connection meets a criterion of a match: 0 where the match does not ask; `None` if it fails.
type Criterion = fn(&FilterChainMatch, Arrival<'_>) -> Option<u32>;

/// In the order in which they decide.
const CRITERIA: [Criterion; 9] = [
    |wanted, Arrival { ends, .. }| named(wanted.destination_port.as_slice(), ends.local),
    |wanted, Arrival { ends, .. }| within(&wanted.destination, ends.local),
    |wanted, Arrival { hello, .. }| serves(&wanted.server_names, hello.and_then(|hello| hello.server_name)),
    |wanted, Arrival { hello, .. }| wanted.transport.fits(hello.is_some()),
    |wanted, Arrival { hello, http, .. }| offered(&wanted.application_protocols, hello, http),
    |wanted, Arrival { ends, .. }| within(&wanted.direct_source, ends.direct_peer),
    |wanted, Arrival { ends, .. }| wanted.source_type.fits(ends),
    |wanted, Arrival { ends, .. }| within(&wanted.source, ends.peer),
    |wanted, Arrival { ends, .. }| named(&wanted.source_ports, ends.peer),
];

/// How closely a server's name meets a list of names: itself before `*.` and the domains that it lies in, the longer first.
fn serves(names: &[String], name: Option<&str>) -> Option<u32> {
    if names.is_empty() {
        return Some(0);
    }
    let name = name?;
    let fits = |wanted: &String| match wanted.strip_prefix('*') {
        Some(domain) if name.len() > domain.len() && name.ends_with(domain) => u32::try_from(domain.len()).ok(),
        Some(_) => None,
        None => (wanted == name).then_some(u32::MAX),
    };
    names.iter().filter_map(fits).max()
}

/// Does a client offer one of the protocols, or use it?
fn offered(protocols: &[Vec<u8>], hello: Option<ClientOffer<'_>>, http: Option<HttpVersion>) -> Option<u32> {
    if protocols.is_empty() {
        return Some(0);
    }
    let offer = hello.map_or(&[][..], |hello| hello.alpn);
    let used = http.map(|version| version.application_protocol().as_bytes());
    protocols.iter().any(|protocol| offer.contains(protocol) || used == Some(protocol)).then_some(1)
}

impl TransportProtocol {
    fn fits(self, is_tls: bool) -> Option<u32> {
        match (self, is_tls) {
            (Self::Any, _) => Some(0),
            (Self::RawBuffer, false) | (Self::Tls, true) => Some(1),
            (Self::RawBuffer, true) | (Self::Tls, false) => None,
        }
    }
}

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
            && share(&self.server_names, &other.server_names, String::eq)
            && share(&self.application_protocols, &other.application_protocols, Vec::eq)
            && share(&self.source_ports, &other.source_ports, NonZeroU16::eq)
    }
}

impl FilterChainMatch {
    /// Does it take every connection?
    #[must_use]
    pub fn takes_all(&self) -> bool {
        *self == Self::default()
    }

    /// Does it need what none of the configured inspectors finds out?
    #[must_use]
    pub fn is_out_of_reach(&self, inspection: Inspection) -> bool {
        let Self { server_names, transport, application_protocols, .. } = self;
        let needs_tls = !server_names.is_empty() || *transport == TransportProtocol::Tls;
        (needs_tls && !inspection.tls)
            || (!application_protocols.is_empty() && !inspection.tls && inspection.http.is_none())
    }

    /// Does a list of it have the same element twice?
    #[must_use]
    pub fn repeats(&self) -> bool {
        let ranges = [&self.destination, &self.direct_source, &self.source];
        ranges.into_iter().any(|ranges| is_repeated(ranges, Cidr::is_same_range))
            || is_repeated(&self.source_ports, NonZeroU16::eq)
            || is_repeated(&self.server_names, String::eq)
            || is_repeated(&self.application_protocols, Vec::eq)
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
        let chains = matches
            .into_iter()
            .map(|matches| FilterChain { name: "".into(), matches, tls: None, handshake_timeout: None, terminal: () })
            .collect();
        FilterChains {
            chains,
            default,
            default_name: "".into(),
            default_tls: None,
            default_handshake_timeout: None,
            inspection: Inspection::default(),
        }
    }

    fn ends(peer: &str, local: &str) -> Arrival<'static> {
        let peer = Some(peer.parse().unwrap());
        let ends = Ends { local: Some(local.parse().unwrap()), peer, direct_peer: peer };
        Arrival { ends, hello: None, http: None }
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
        assert_eq!(
            chains.choose(Arrival {
                ends: Ends { local: None, peer: None, direct_peer: None },
                hello: None,
                http: None
            }),
            None
        );
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
