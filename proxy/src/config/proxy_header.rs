//! What the PROXY header says that connections to a cluster begin with, and which TLVs a listener keeps of the ones it reads.

use bytes::Bytes;

use super::address::ProxyVersion;

/// `upstream_proxy_protocol`: connections to a cluster begin with a header that says whose they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderToUpstream {
    /// Its version.
    pub version: ProxyVersion,
    /// `added_tlvs`: what version 2 says besides, of every client.
    pub added: Vec<Tlv>,
    /// `pass_through_tlvs`: which of those that the client's header had.
    pub passed: TlvSelection,
}

/// What a header of version 2 has behind its addresses.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Tlv {
    /// Which.
    pub kind: u8,
    /// Any bytes.
    pub value: Bytes,
}

/// `pass_through_tlvs`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum TlvSelection {
    /// `INCLUDE_ALL`
    All,
    /// `INCLUDE`
    Kinds(Vec<u8>),
    /// There is none.
    #[default]
    None,
}

impl TlvSelection {
    /// Is a TLV of this kind among them?
    #[must_use]
    pub fn takes(&self, kind: u8) -> bool {
        match self {
            Self::All => true,
            Self::Kinds(kinds) => kinds.contains(&kind),
            Self::None => false,
        }
    }
}

/// `rules`: what a TLV says becomes metadata of the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlvRule {
    /// Which TLV.
    pub kind: u8,
    /// `on_tlv_present.key`
    pub key: String,
    /// `on_tlv_present.metadata_namespace`
    pub namespace: String,
}
