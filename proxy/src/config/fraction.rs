//! Shares of requests, in millionths.

/// `envoy.config.core.v3.RuntimeFractionalPercent`: a share of the requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fraction {
    /// So many of a million, while the key has no value. More than a million is all.
    pub millionths: u32,
    /// `runtime_key`
    pub key: Option<String>,
}

/// The whole.
pub const MILLION: u32 = 1_000_000;
