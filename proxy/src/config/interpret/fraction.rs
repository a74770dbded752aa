//! What shares of requests mean.

use crate::config::bootstrap::{DenominatorType, RuntimeFractionalPercent};
use crate::config::fraction::Fraction;
use crate::config::yaml::Notes;

/// A share of the requests.
pub(super) fn fraction(written: &RuntimeFractionalPercent, notes: &Notes) -> Fraction {
    let parts = unit(written.default_value.denominator);
    let key = Some(written.runtime_key.clone()).filter(|key| !key.is_empty());
    if let Some(key) = &key {
        notes.reads(key);
    }
    Fraction { millionths: written.default_value.numerator.saturating_mul(parts), key }
}

/// How many millionths one of the numerator is.
pub(super) fn unit(denominator: Option<DenominatorType>) -> u32 {
    match denominator {
        None | Some(DenominatorType::Hundred) => 10_000,
        Some(DenominatorType::TenThousand) => 100,
        Some(DenominatorType::Million) => 1,
    }
}
