//! Virtual time: where it begins, and how it is written.

use std::fmt;
use std::time::Duration;

/// When every run begins: 2024-01-01T00:00:00Z.
pub const EPOCH: Duration = Duration::from_secs(1_704_067_200);

/// A time in milliseconds, to the microsecond.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        f.pad(&format!("{}.{:03}", micros / 1_000, micros % 1_000))
    }
}
