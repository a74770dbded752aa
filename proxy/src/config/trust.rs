//! Whom a connection manager believes what about the sender of a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is believed of what a request says of its sender.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trust {
    /// `use_remote_address`: the client is the peer of the connection (true) or the one in x-forwarded-for (false).
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`: proxies in front whose entries in x-forwarded-for are believed.
    pub trusted_hops: u32,
    /// `skip_xff_append`: with `use_remote_address`, x-forwarded-for stays as it came.
    pub skip_append: bool,
    /// `internal_address_config`: the addresses of internal clients, whose x-envoy- headers count. Empty: none, as in Envoy since 1.33.
    pub internal: Vec<Cidr>,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cidr {
    address: IpAddr,
    /// Bits, at most those of `address`.
    length: u32,
}

impl Trust {
    /// Is the peer of a connection not believed in anything?
    #[must_use]
    pub fn is_edge(&self) -> bool {
        self.use_remote_address && self.trusted_hops == 0
    }
}

impl Cidr {
    /// What Envoy took for internal before 1.33, and still does where `internal_address_config` names no range.
    pub const PRIVATE: [Self; 6] = [
        Self { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), length: 8 },
        Self { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), length: 12 },
        Self { address: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), length: 16 },
        Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), length: 32 },
        Self { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), length: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), length: 128 },
    ];

    /// Those that share the first `length` bits with `address`, or as many as it has.
    #[must_use]
    pub fn new(address: IpAddr, length: u32) -> Self {
        Self { address, length: length.min(bits(address)) }
    }

    /// Bits that its addresses share.
    #[must_use]
    pub fn length(self) -> u32 {
        self.length
    }

    /// Has `other` the same addresses, however its bits beyond the prefix are written?
    #[must_use]
    pub fn is_same_range(&self, other: &Self) -> bool {
        self.length == other.length && self.contains(other.address)
    }

    /// Is `address` one of them? The two versions of IP have nothing in common.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => u128::from(ours.to_bits() ^ other.to_bits()),
            (IpAddr::V6(ours), IpAddr::V6(other)) => ours.to_bits() ^ other.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        // A prefix of no bits at all shifts everything out.
        differs.checked_shr(bits(address) - self.length).unwrap_or(0) == 0
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_with_its_bits() {
        for (prefix, length, address, expected) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("10.1.2.3", 8, "10.9.9.9", true),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "::1", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("fd00::", 8, "fdff::1", true),
            ("fd00::", 8, "fe00::1", false),
            ("::", 0, "2001:db8::1", true),
            ("::1", 128, "::1", true),
        ] {
            let range = Cidr::new(prefix.parse().unwrap(), length);
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{address} in {prefix}/{length}");
        }
        assert_eq!(Cidr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 33).length(), 32);
    }

    #[test]
    fn private_ranges_are_those_that_envoy_had() {
        for (address, expected) in [
            ("10.0.0.7", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("8.8.8.8", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Cidr::PRIVATE.iter().any(|range| range.contains(address)), expected, "{address}");
        }
    }
}
