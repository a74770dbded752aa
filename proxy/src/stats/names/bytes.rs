//! The bytes of connections.

use std::task::Poll;

use crate::stats::{Counter, Gauge, Held, Registry};

/// What a connection manager and a cluster count of the bytes of their connections: everything that passes a socket, heads
/// and frames among it.
#[derive(Clone, Debug)]
pub struct ByteStats {
    /// What the last read of each open connection has brought. As in Envoy it stays until the next read, also where all of
    /// it has been understood.
    rx_bytes_buffered: Gauge,
    /// Bytes read.
    rx_bytes_total: Counter,
    /// Bytes that were to be written last, and that the socket did not take.
    tx_bytes_buffered: Gauge,
    /// Bytes written.
    tx_bytes_total: Counter,
}

impl ByteStats {
    /// As part of another scope; `last` is what its names begin with.
    pub(super) fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        let name = |name: &str| format!("{last}_{name}");
        Self {
            rx_bytes_buffered: Gauge::named(registry, prefix, &name("rx_bytes_buffered")),
            rx_bytes_total: Counter::named(registry, prefix, &name("rx_bytes_total")),
            tx_bytes_buffered: Gauge::named(registry, prefix, &name("tx_bytes_buffered")),
            tx_bytes_total: Counter::named(registry, prefix, &name("tx_bytes_total")),
        }
    }

    /// Counts one connection.
    pub(crate) fn meter(&self) -> Meter {
        Meter {
            rx_buffered: self.rx_bytes_buffered.hold(0),
            rx_total: self.rx_bytes_total.clone(),
            tx_buffered: self.tx_bytes_buffered.hold(0),
            tx_total: self.tx_bytes_total.clone(),
        }
    }
}

/// Counts the bytes of one connection.
#[derive(Debug)]
pub(crate) struct Meter {
    rx_buffered: Held,
    rx_total: Counter,
    tx_buffered: Held,
    tx_total: Counter,
}

impl Meter {
    /// A read has brought so many bytes.
    pub(crate) fn note_read(&mut self, bytes: usize) {
        self.rx_total.add(count(bytes));
        self.rx_buffered.resize(count(bytes));
    }

    /// `bytes` were to be written, and this is what became of it.
    pub(crate) fn note_write<E>(&mut self, bytes: usize, written: &Poll<Result<usize, E>>) {
        let left = match written {
            Poll::Ready(Ok(written)) => {
                self.tx_total.add(count(*written));
                bytes.saturating_sub(*written)
            }
            Poll::Ready(Err(_)) => 0, // they will never leave
            Poll::Pending => bytes,
        };
        self.tx_buffered.resize(count(left));
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
