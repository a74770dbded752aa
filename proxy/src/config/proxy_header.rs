//! What the PROXY header says that connections to a cluster begin with, and which TLVs a listener keeps of the ones it reads.

use bytes::Bytes;

use super::address::ProxyVersion;
use super::log_format::{LineFormat, Operator};

/// `upstream_proxy_protocol`: connections to a cluster begin with a header that says whose they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderToUpstream {
    /// Its version.
    pub version: ProxyVersion,
    /// `added_tlvs`: what version 2 says besides, of every connection.
    pub added: AddedTlvs,
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

/// TLVs that the configuration adds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AddedTlvs {
    /// `value`: these are the same in every header.
    pub fixed: Vec<Tlv>,
    /// `format_string`: these are of a connection. They come behind the fixed ones, as in Envoy.
    pub computed: Vec<ComputedTlv>,
}

/// A TLV whose value is a line about a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ComputedTlv {
    /// Which.
    pub kind: u8,
    /// `format_string`
    pub format: LineFormat,
}

impl AddedTlvs {
    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.computed.is_empty()
    }

    /// Writes the texts that `said` has for operators into every format.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        self.computed.iter_mut().for_each(|tlv| tlv.format.resolve(said));
    }
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

/// `tlv_location`: where the values of TLVs are put that rules name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlvLocation {
    /// `FILTER_STATE`: into one object, [`Self::OBJECT`].
    FilterState,
    /// `DYNAMIC_METADATA`
    #[default]
    Metadata,
}

impl TlvLocation {
    /// The key of the object.
    pub const OBJECT: &str = "envoy.network.proxy_protocol.tlv";
}

/// `rules`: what a TLV says becomes metadata of the connection, or a field of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlvRule {
    /// Which TLV.
    pub kind: u8,
    /// `on_tlv_present.key`
    pub key: String,
    /// `on_tlv_present.metadata_namespace`; an object has none.
    pub namespace: String,
}
