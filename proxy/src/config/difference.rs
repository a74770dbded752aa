//! Where finwait departs from Envoy on purpose: each departure has a name, and can be switched off by it.

/// Every departure that can be switched, by its runtime key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Difference {
    /// An address that another process listens on is an error. Read at the start.
    ExclusivePort,
    /// An idle HTTP/1 client hears FIN as soon as its connection's drain is over: while the proxy waited for it to close
    /// first, which it has no reason to do, every request that it sent would be lost.
    FinWhenDrained,
    /// SIGTERM and SIGINT let what runs finish, within the drain time.
    GracefulStop,
    /// A malformed HTTP/2 message ends its stream (RFC 9113 8.1.1), not its connection. Read when a connection begins.
    Http2StreamErrors,
    /// The socket of an idle connection is checked for its end before a request is committed to it.
    LookBeforeReuse,
    /// A request of which nothing was written moves on to another connection, without counting as a retry.
    Redispatch,
    /// An idempotent request that was lost on a reused connection, before any byte of a response, is sent once more.
    Resend,
    /// A retry after a lost connection uses a connection that has carried nothing yet.
    RetryFresh,
    /// An unknown word in `retry_on` is an error. Read with the configuration.
    StrictRetryOn,
}

impl Difference {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 9] = [
        Self::ExclusivePort,
        Self::FinWhenDrained,
        Self::GracefulStop,
        Self::Http2StreamErrors,
        Self::LookBeforeReuse,
        Self::Redispatch,
        Self::Resend,
        Self::RetryFresh,
        Self::StrictRetryOn,
    ];

    /// Its runtime key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::ExclusivePort => "finwait.exclusive_port",
            Self::FinWhenDrained => "finwait.fin_when_drained",
            Self::GracefulStop => "finwait.graceful_stop",
            Self::Http2StreamErrors => "finwait.http2_stream_errors",
            Self::LookBeforeReuse => "finwait.look_before_reuse",
            Self::Redispatch => "finwait.redispatch",
            Self::Resend => "finwait.resend",
            Self::RetryFresh => "finwait.retry_fresh",
            Self::StrictRetryOn => "finwait.strict_retry_on",
        }
    }

    /// The one with this key.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|difference| difference.key() == key)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Those that are in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Differences(u16);

impl Differences {
    /// As finwait does it.
    pub const ALL: Self = Self(u16::MAX);
    /// As Envoy does it.
    pub const NONE: Self = Self(0);

    /// Is this one in force?
    #[must_use]
    pub fn has(self, difference: Difference) -> bool {
        self.0 & difference.bit() != 0
    }

    /// The same, with this one in force or not.
    #[must_use]
    pub fn with(self, difference: Difference, is_on: bool) -> Self {
        if is_on { Self(self.0 | difference.bit()) } else { Self(self.0 & !difference.bit()) }
    }

    /// As a number, for an atomic.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From [`Self::bits`].
    #[must_use]
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_key_and_a_switch_of_its_own() {
        for difference in Difference::ALL {
            assert_eq!(Difference::of_key(difference.key()), Some(difference));
            let without = Differences::ALL.with(difference, false);
            let on = Difference::ALL.into_iter().filter(|other| without.has(*other)).count();
            assert_eq!((on, without.has(difference)), (Difference::ALL.len() - 1, false));
            assert!(Differences::NONE.with(difference, true).has(difference));
        }
    }
}
