//! Shares of requests, in millionths.

/// `envoy.config.core.v3.RuntimeFractionalPercent`: a share of the requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fraction {
    /// So many of a million, while the key has no value. More than a million is all.
    pub millionths: u32,
    /// `runtime_key`
    pub key: Option<String>,
}

/// The denominator of all fractions.
pub const MILLION: u32 = 1_000_000;

/// Does a number that was drawn fall into so many millionths? All and none take no chance: nothing is drawn.
pub fn is_drawn(millionths: u32, draw: impl FnOnce() -> u64) -> bool {
    match millionths {
        0 => false,
        MILLION.. => true,
        part => draw() % u64::from(MILLION) < u64::from(part),
    }
}
