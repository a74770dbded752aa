//! What shares of requests mean.

use crate::config::bootstrap::ext_authz::RuntimeFeatureFlag;
use crate::config::bootstrap::{DenominatorType, RuntimeFractionalPercent};
use crate::config::fraction::{Fraction, MILLION};
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

/// A flag is a share of none or all; `default` where there is none.
pub(super) fn flag(written: Option<&RuntimeFeatureFlag>, default: u32, notes: &Notes) -> Fraction {
    let Some(RuntimeFeatureFlag { default_value, runtime_key }) = written else {
        return Fraction { millionths: default, key: None };
    };
    let key = Some(runtime_key.clone()).filter(|key| !key.is_empty());
    key.iter().for_each(|key| notes.reads(key));
    Fraction { millionths: if *default_value { MILLION } else { 0 }, key }
}
