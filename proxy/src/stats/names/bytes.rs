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
    /// Bytes read from the socket.
    rx_bytes_total: Counter,
    /// Bytes that waited when the socket took no more: those that were written last, and on HTTP/2 what follows them within
    /// the windows of the peer, a head by the memory that it takes.
    tx_bytes_buffered: Gauge,
    /// Bytes written to the socket.
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

    /// The socket took no more, and besides what was written last so many bytes wait.
    pub(crate) fn note_waiting(&mut self, bytes: usize) {
        self.tx_buffered.grow(count(bytes));
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Rows as Envoy 1.40 shows them for one connection: rx_total, rx_buffered, tx_total, tx_buffered.
    #[test]
    fn what_is_buffered_is_of_the_last_read_and_write_and_goes_with_the_connection() {
        let stats = ByteStats::named(&Registry::new(), "http.p", "downstream_cx");
        let shown = || {
            let ByteStats { rx_bytes_buffered, rx_bytes_total, tx_bytes_buffered, tx_bytes_total } = &stats;
            [rx_bytes_total.value(), rx_bytes_buffered.value(), tx_bytes_total.value(), tx_bytes_buffered.value()]
        };
        let mut meter = stats.meter();
        meter.note_read(27);
        assert_eq!(shown(), [27, 27, 0, 0]);
        meter.note_write(129, &Poll::Ready(io::Result::Ok(29)));
        assert_eq!(shown(), [27, 27, 29, 100]);
        meter.note_write(100, &Poll::Pending::<io::Result<usize>>);
        assert_eq!(shown(), [27, 27, 29, 100]);
        meter.note_waiting(50);
        assert_eq!(shown(), [27, 27, 29, 150]);
        meter.note_write(100, &Poll::Ready(io::Result::Ok(100)));
        meter.note_read(2);
        assert_eq!(shown(), [29, 2, 129, 0]);
        meter.note_write(7, &Poll::Pending::<io::Result<usize>>);
        drop(meter);
        assert_eq!(shown(), [29, 0, 129, 0]);
    }
}
