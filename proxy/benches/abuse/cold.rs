//! What it costs on this machine to use memory again that has been idle. A virtual machine may have lent it to others
//! meanwhile: then each page takes longer than a request does, and thousands of connections that end together touch
//! thousands of pages. A proxy cannot help that, so it is told beside the proxy's figures.

use std::hint::black_box;
use std::time::{Duration, Instant};

const PAGES: usize = 10_000;
const PAGE_BYTES: usize = 4096;
/// A page that is there takes a fifth of a microsecond; from here on it is worth telling.
pub(crate) const SLOW: Duration = Duration::from_micros(2);

/// Memory that is idle from now on.
pub(crate) struct Cold(Vec<u8>);

impl Cold {
    pub(crate) fn new() -> Self {
        Self(vec![1; PAGES * PAGE_BYTES])
    }

    /// How long one of its pages takes to be read, on average.
    pub(crate) fn touch(&self) -> Duration {
        let begun = Instant::now();
        let sum: u64 = self.0.iter().step_by(PAGE_BYTES).copied().map(u64::from).sum();
        black_box(sum);
        begun.elapsed() / u32::try_from(PAGES).expect("a small number")
    }
}
