//! Where the secrets of connections are written, and of which.

use crate::config::address::Address;
use crate::config::trust::Cidr;

/// `key_log`: a file that lets captures of these connections be decrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyLogFile {
    /// Its path; it is appended to.
    pub path: String,
    /// The local addresses of the connections; empty: any.
    pub local: Vec<Cidr>,
    /// The addresses of their peers; empty: any.
    pub peers: Vec<Cidr>,
}

impl KeyLogFile {
    /// Are the secrets of a connection between these written?
    #[must_use]
    pub fn is_for(&self, local: &Address, peer: &Address) -> bool {
        is_within(&self.local, local) && is_within(&self.peers, peer)
    }
}

/// What is not an IP address is in no range.
fn is_within(ranges: &[Cidr], address: &Address) -> bool {
    ranges.is_empty() || address.socket().is_some_and(|it| ranges.iter().any(|range| range.contains(it.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_to_be_within_both_lists() {
        let socket = |text: &str| Address::Socket(text.parse().unwrap());
        let range = |text: &str, length| vec![Cidr::new(text.parse().unwrap(), length)];
        let (here, there, internal) =
            (socket("10.0.0.1:443"), socket("192.168.1.9:5000"), Address::Internal("one".into()));
        for (local, peers, of, expected) in [
            (vec![], vec![], (&here, &there), true),
            (vec![], vec![], (&internal, &internal), true),
            (range("10.0.0.0", 8), vec![], (&here, &there), true),
            (range("10.0.0.0", 8), range("192.168.0.0", 16), (&here, &there), true),
            (range("10.0.0.0", 8), range("192.168.2.0", 24), (&here, &there), false),
            (range("11.0.0.0", 8), vec![], (&here, &there), false),
            (range("10.0.0.0", 8), vec![], (&internal, &there), false),
            (vec![], range("::", 0), (&here, &there), false),
        ] {
            let log = KeyLogFile { path: "keys".into(), local, peers };
            assert_eq!(log.is_for(of.0, of.1), expected, "{log:?}");
        }
    }
}
