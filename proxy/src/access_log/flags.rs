//! Response flags: why a stream went wrong, in a word that operators grep for.

use std::fmt;
use std::str::FromStr;

use crate::texts::UnknownText;

/// Why a stream did not go as it should. The names are those of the access log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseFlag {
    /// The client went away.
    DC,
    /// DNS did not resolve the upstream.
    DF,
    /// The fault filter delayed the request.
    DI,
    /// Load was shed as the control plane requested.
    DO,
    /// What the client sent is not HTTP.
    DPE,
    /// The client reset the stream (HTTP/2).
    DR,
    /// The downstream connection reached its longest life.
    DT,
    /// The fault filter responded.
    FI,
    /// An `x-envoy-` request header is invalid.
    IH,
    /// We fail our own health check.
    LH,
    /// We reset the stream.
    LR,
    /// The route's cluster does not exist.
    NC,
    /// A filter's configuration has not arrived.
    NFCF,
    /// No route, or no filter chain.
    NR,
    /// The overload manager ended the stream.
    OM,
    /// The cache responded.
    RFCF,
    /// The rate limit was reached.
    RL,
    /// The rate limit service failed.
    RLSE,
    /// The stream made no progress for too long.
    SI,
    /// Authorization was refused.
    UAEX,
    /// The upstream connection ended with the request open.
    UC,
    /// All load was shed as the control plane requested.
    UDO,
    /// The connect to the upstream failed.
    UF,
    /// No endpoint could be chosen.
    UH,
    /// The request reached its longest life.
    UMSDR,
    /// A circuit breaker refused.
    UO,
    /// What the upstream sent is not HTTP.
    UPE,
    /// The upstream reset the stream.
    UR,
    /// A retry was wanted, but none was left.
    URX,
    /// The upstream took too long.
    UT,
}

/// How many there are.
const COUNT: usize = 30;

impl ResponseFlag {
    /// Every flag, in the order of their short names.
    pub const ALL: [Self; COUNT] = [
        Self::DC,
        Self::DF,
        Self::DI,
        Self::DO,
        Self::DPE,
        Self::DR,
        Self::DT,
        Self::FI,
        Self::IH,
        Self::LH,
        Self::LR,
        Self::NC,
        Self::NFCF,
        Self::NR,
        Self::OM,
        Self::RFCF,
        Self::RL,
        Self::RLSE,
        Self::SI,
        Self::UAEX,
        Self::UC,
        Self::UDO,
        Self::UF,
        Self::UH,
        Self::UMSDR,
        Self::UO,
        Self::UPE,
        Self::UR,
        Self::URX,
        Self::UT,
    ];

    /// The word in `%RESPONSE_FLAGS%`.
    #[must_use]
    pub fn short(self) -> &'static str {
        self.names().0
    }

    /// The word in `%RESPONSE_FLAGS_LONG%`.
    #[must_use]
    pub fn long(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::DC => ("DC", "DownstreamConnectionTermination"),
            Self::DF => ("DF", "DnsResolutionFailed"),
            Self::DI => ("DI", "DelayInjected"),
            Self::DO => ("DO", "DropOverload"),
            Self::DPE => ("DPE", "DownstreamProtocolError"),
            Self::DR => ("DR", "DownstreamRemoteReset"),
            Self::DT => ("DT", "DurationTimeout"),
            Self::FI => ("FI", "FaultInjected"),
            Self::IH => ("IH", "InvalidEnvoyRequestHeaders"),
            Self::LH => ("LH", "FailedLocalHealthCheck"),
            Self::LR => ("LR", "LocalReset"),
            Self::NC => ("NC", "NoClusterFound"),
            Self::NFCF => ("NFCF", "NoFilterConfigFound"),
            Self::NR => ("NR", "NoRouteFound"),
            Self::OM => ("OM", "OverloadManagerTerminated"),
            Self::RFCF => ("RFCF", "ResponseFromCacheFilter"),
            Self::RL => ("RL", "RateLimited"),
            Self::RLSE => ("RLSE", "RateLimitServiceError"),
            Self::SI => ("SI", "StreamIdleTimeout"),
            Self::UAEX => ("UAEX", "UnauthorizedExternalService"),
            Self::UC => ("UC", "UpstreamConnectionTermination"),
            Self::UDO => ("UDO", "UnconditionalDropOverload"),
            Self::UF => ("UF", "UpstreamConnectionFailure"),
            Self::UH => ("UH", "NoHealthyUpstream"),
            Self::UMSDR => ("UMSDR", "UpstreamMaxStreamDurationReached"),
            Self::UO => ("UO", "UpstreamOverflow"),
            Self::UPE => ("UPE", "UpstreamProtocolError"),
            Self::UR => ("UR", "UpstreamRemoteReset"),
            Self::URX => ("URX", "UpstreamRetryLimitExceeded"),
            Self::UT => ("UT", "UpstreamRequestTimeout"),
        }
    }
}

impl FromStr for ResponseFlag {
    type Err = UnknownText;

    /// From its word in `%RESPONSE_FLAGS%`.
    fn from_str(short: &str) -> Result<Self, UnknownText> {
        let flag = Self::ALL.into_iter().find(|flag| flag.short() == short);
        flag.ok_or_else(|| UnknownText(short.to_owned()))
    }
}

/// A set of flags that keeps the order in which they were set.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ResponseFlags([Option<ResponseFlag>; COUNT]);

impl Default for ResponseFlags {
    fn default() -> Self {
        Self([None; COUNT])
    }
}

impl ResponseFlags {
    /// Adds a flag; one that is there keeps its place.
    pub fn insert(&mut self, flag: ResponseFlag) {
        // There is a place for every flag, so the search always ends in one.
        let place = self.0.iter_mut().find(|place| place.is_none_or(|known| known == flag));
        if let Some(place) = place {
            *place = Some(flag);
        }
    }

    /// Is it set?
    #[must_use]
    pub fn contains(&self, flag: ResponseFlag) -> bool {
        self.iter().any(|known| known == flag)
    }

    /// Is no flag set?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// In the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = ResponseFlag> {
        self.0.iter().map_while(|place| *place)
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseFlag::{self, *};
    use super::*;

    #[test]
    fn flags_keep_their_order_and_come_once() {
        let mut flags = ResponseFlags::default();
        assert!(flags.is_empty());
        for flag in [UF, URX, UF, DC] {
            flags.insert(flag);
        }
        assert_eq!(flags.iter().collect::<Vec<_>>(), [UF, URX, DC]);
        assert!(flags.contains(URX) && !flags.contains(UC));
    }

    #[test]
    fn there_is_a_place_for_every_flag() {
        let mut flags = ResponseFlags::default();
        ResponseFlag::ALL.into_iter().for_each(|flag| flags.insert(flag));
        assert_eq!(flags.iter().collect::<Vec<_>>(), ResponseFlag::ALL);
    }

    #[test]
    fn the_short_word_is_the_name() {
        assert!(ResponseFlag::ALL.iter().all(|flag| flag.short() == format!("{flag:?}")));
        assert_eq!(UMSDR.long(), "UpstreamMaxStreamDurationReached");
        assert_eq!(ResponseFlag::ALL.map(ResponseFlag::short), crate::config::log_filter::FLAGS);
    }
}
