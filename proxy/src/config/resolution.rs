//! How names are resolved: which of their addresses count, and how often they are looked for.

use std::net::IpAddr;
use std::time::Duration;

/// How often the names of a cluster are resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refresh {
    /// `dns_refresh_rate`
    pub interval: Duration,
    /// `dns_jitter`: a random part of this is added each time.
    pub jitter: Duration,
    /// `dns_failure_refresh_rate`: the pauses while the name server fails; without it they are `interval`.
    pub after_failure: Option<FailureRefresh>,
}

/// Pauses while the name server fails: a random part of an interval that doubles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FailureRefresh {
    /// The first interval.
    pub base: Duration,
    /// The longest interval; doubling stops there.
    pub max: Duration,
}

impl FailureRefresh {
    /// The interval after so many failures in a row.
    #[must_use]
    pub fn window(self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(doubled).min(self.max)
    }
}

/// Which of a name's addresses become endpoints: Envoy's `dns_lookup_family`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LookupFamily {
    /// All addresses of the name.
    All,
    /// Those of IPv6; if there are none, those of IPv4.
    #[default]
    Auto,
    /// Those of IPv4.
    V4Only,
    /// Those of IPv4; if there are none, those of IPv6.
    V4Preferred,
    /// Those of IPv6.
    V6Only,
}

impl LookupFamily {
    /// Those of `found` that count, in their order.
    #[must_use]
    pub fn select(self, found: &[IpAddr]) -> Vec<IpAddr> {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().partition(|address| address.is_ipv4());
        match self {
            Self::All => found.to_vec(),
            Self::Auto if v6.is_empty() => v4,
            Self::Auto | Self::V6Only => v6,
            Self::V4Preferred if v4.is_empty() => v6,
            Self::V4Only | Self::V4Preferred => v4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_family_selects_addresses() {
        let (four, six) = ("10.0.0.1", "fd00::1");
        for (family, both, only_four, only_six) in [
            (LookupFamily::All, vec![four, six], vec![four], vec![six]),
            (LookupFamily::Auto, vec![six], vec![four], vec![six]),
            (LookupFamily::V4Only, vec![four], vec![four], vec![]),
            (LookupFamily::V4Preferred, vec![four], vec![four], vec![six]),
            (LookupFamily::V6Only, vec![six], vec![], vec![six]),
        ] {
            assert_eq!(select(family, &[four, six]), both, "{family:?}");
            assert_eq!(select(family, &[four]), only_four, "{family:?}");
            assert_eq!(select(family, &[six]), only_six, "{family:?}");
        }
    }

    fn select(family: LookupFamily, found: &[&str]) -> Vec<String> {
        let found: Vec<IpAddr> = found.iter().map(|address| address.parse().unwrap()).collect();
        family.select(&found).iter().map(ToString::to_string).collect()
    }
}
