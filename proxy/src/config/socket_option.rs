//! Options of sockets: those that Linux has and that can be set here, by their numbers.

use std::time::Duration;

/// An option that a socket gets, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketOption {
    /// What is set.
    pub setting: Setting,
    /// When.
    pub when: SocketState,
}

/// When an option is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SocketState {
    /// Before the socket is bound or connected.
    Prebind,
    /// After it was bound.
    Bound,
    /// After it listens.
    Listening,
}

/// What is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// Yes or no.
    Flag(Flag, bool),
    /// A number.
    Number(Number, u32),
    /// Bytes.
    Text(Text, Vec<u8>),
    /// `SO_LINGER`: how long a close waits for what was not sent; `None` does not wait.
    Linger(Option<Duration>),
}

/// Declares options with their names, levels and numbers, as Linux has them on all its platforms but MIPS, PA-RISC and SPARC.
macro_rules! options {
    ($(#[$about:meta])* $kind:ident { $($(#[$when:meta])* $name:ident = $spelled:literal $level:literal / $number:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $kind {
            $($(#[$when])* $name,)*
        }

        impl $kind {
            /// Each with its level and number.
            pub const ALL: &[(Self, i64, i64)] = &[$((Self::$name, $level, $number),)*];

            /// The system's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $spelled,)*
                }
            }
        }
    };
}

options! {
    /// Options that are on or off.
    Flag {
        /// Binds to an address that the host does not have (yet).
        FreebindV4 = "IP_FREEBIND" 0 / 15,
        /// The same over IPv6.
        FreebindV6 = "IPV6_FREEBIND" 41 / 78,
        /// Takes and sends what is for or from other addresses.
        TransparentV4 = "IP_TRANSPARENT" 0 / 19,
        /// The same over IPv6.
        TransparentV6 = "IPV6_TRANSPARENT" 41 / 75,
        /// No connections over IPv4.
        OnlyV6 = "IPV6_V6ONLY" 41 / 26,
        /// Probes a silent peer.
        Keepalive = "SO_KEEPALIVE" 1 / 9,
        /// Urgent data among the other.
        OutOfBandInline = "SO_OOBINLINE" 1 / 10,
        /// Binds where connections are that wait for late segments.
        ReuseAddress = "SO_REUSEADDR" 1 / 2,
        /// Binds where others do.
        ReusePort = "SO_REUSEPORT" 1 / 15,
        /// Sends full segments only.
        Cork = "TCP_CORK" 6 / 3,
        /// Sends small segments at once.
        NoDelay = "TCP_NODELAY" 6 / 1,
        /// Acknowledges at once.
        QuickAck = "TCP_QUICKACK" 6 / 12,
        /// Does not double the waits of thin streams.
        ThinLinearTimeouts = "TCP_THIN_LINEAR_TIMEOUTS" 6 / 16,
    }
}

options! {
    /// Options that are numbers.
    Number {
        /// Type of service.
        Tos = "IP_TOS" 0 / 1,
        /// Hops that a packet may make.
        Ttl = "IP_TTL" 0 / 2,
        /// Traffic class.
        TrafficClass = "IPV6_TCLASS" 41 / 67,
        /// Hops that a packet may make.
        UnicastHops = "IPV6_UNICAST_HOPS" 41 / 16,
        /// Microseconds for which a read looks at the device.
        BusyPoll = "SO_BUSY_POLL" 1 / 46,
        /// The processor that it belongs to.
        IncomingCpu = "SO_INCOMING_CPU" 1 / 49,
        /// For rules of the network filter.
        Mark = "SO_MARK" 1 / 36,
        /// Of its packets in the device's queue.
        Priority = "SO_PRIORITY" 1 / 12,
        /// Bytes.
        ReceiveBuffer = "SO_RCVBUF" 1 / 8,
        /// Bytes.
        SendBuffer = "SO_SNDBUF" 1 / 7,
        /// Probes without a response that end a connection.
        KeepaliveCount = "TCP_KEEPCNT" 6 / 6,
        /// Seconds before the first probe.
        KeepaliveIdle = "TCP_KEEPIDLE" 6 / 4,
        /// Seconds between probes.
        KeepaliveInterval = "TCP_KEEPINTVL" 6 / 5,
        /// Bytes of the largest segment.
        MaximumSegment = "TCP_MAXSEG" 6 / 2,
        /// Bytes that wait unsent before more are taken.
        UnsentLow = "TCP_NOTSENT_LOWAT" 6 / 25,
        /// Milliseconds that sent data may be unacknowledged.
        UserTimeout = "TCP_USER_TIMEOUT" 6 / 18,
    }
}

options! {
    /// Options that are bytes.
    Text {
        /// The device that it belongs to.
        BindToDevice = "SO_BINDTODEVICE" 1 / 25,
        /// The algorithm against congestion.
        Congestion = "TCP_CONGESTION" 6 / 13,
    }
}

/// `SO_LINGER`
pub const LINGER: (i64, i64) = (1, 13);

impl Setting {
    /// The system's name for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flag(flag, _) => flag.name(),
            Self::Linger(_) => "SO_LINGER",
            Self::Number(number, _) => number.name(),
            Self::Text(text, _) => text.name(),
        }
    }
}

/// Every option that can be set, for messages.
#[must_use]
pub fn known() -> String {
    let flags = Flag::ALL.iter().map(|(one, level, name)| (one.name(), *level, *name));
    let numbers = Number::ALL.iter().map(|(one, level, name)| (one.name(), *level, *name));
    let texts = Text::ALL.iter().map(|(one, level, name)| (one.name(), *level, *name));
    let mut all: Vec<_> = flags.chain(numbers).chain(texts).chain([("SO_LINGER", LINGER.0, LINGER.1)]).collect();
    all.sort_by_key(|(_, level, name)| (*level, *name));
    let words = all.into_iter().map(|(word, level, name)| format!("{word} {level}/{name}"));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_system() {
        let number = |all: &[(&str, i64, i64)], name: &str| {
            all.iter().find(|(known, _, _)| *known == name).map(|(_, level, number)| (*level, *number))
        };
        let flags: Vec<_> = Flag::ALL.iter().map(|(one, level, name)| (one.name(), *level, *name)).collect();
        let numbers: Vec<_> = Number::ALL.iter().map(|(one, level, name)| (one.name(), *level, *name)).collect();
        let pair = |level: libc::c_int, name: libc::c_int| Some((i64::from(level), i64::from(name)));
        for (all, name, expected) in [
            (&flags, "IP_FREEBIND", pair(libc::IPPROTO_IP, libc::IP_FREEBIND)),
            (&flags, "IPV6_FREEBIND", pair(libc::IPPROTO_IPV6, libc::IPV6_FREEBIND)),
            (&flags, "IP_TRANSPARENT", pair(libc::IPPROTO_IP, libc::IP_TRANSPARENT)),
            (&flags, "IPV6_TRANSPARENT", pair(libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)),
            (&flags, "IPV6_V6ONLY", pair(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)),
            (&flags, "SO_KEEPALIVE", pair(libc::SOL_SOCKET, libc::SO_KEEPALIVE)),
            (&flags, "SO_REUSEPORT", pair(libc::SOL_SOCKET, libc::SO_REUSEPORT)),
            (&flags, "TCP_QUICKACK", pair(libc::IPPROTO_TCP, libc::TCP_QUICKACK)),
            (&numbers, "IPV6_TCLASS", pair(libc::IPPROTO_IPV6, libc::IPV6_TCLASS)),
            (&numbers, "SO_MARK", pair(libc::SOL_SOCKET, libc::SO_MARK)),
            (&numbers, "SO_RCVBUF", pair(libc::SOL_SOCKET, libc::SO_RCVBUF)),
            (&numbers, "TCP_KEEPIDLE", pair(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE)),
            (&numbers, "TCP_USER_TIMEOUT", pair(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT)),
            (&numbers, "TCP_NOTSENT_LOWAT", pair(libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT)),
        ] {
            assert_eq!(number(all, name), expected, "{name}");
        }
        assert!(known().starts_with("IP_TOS 0/1, IP_TTL 0/2, IP_FREEBIND 0/15"), "{}", known());
    }
}
