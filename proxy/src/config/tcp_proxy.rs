//! The TCP proxy, typed.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;

use super::access_log::AccessLog;
use super::cluster::ClusterName;
use super::log_format::{Format, Operator};
use super::network_filter::Gate;
use super::proxy_header::AddedTlvs;
use super::route::Edits;
use super::subsets::MetadataMatch;

/// Options of the TCP proxy.
#[derive(Clone, Debug)]
pub struct TcpProxy {
    /// The network filters in front of it.
    pub gates: Vec<Gate>,
    /// `tcp.<stat_prefix>.`
    pub stat_prefix: String,
    /// Where connections go.
    pub clusters: TcpClusters,
    /// A connection that carries no byte in either direction is ended after this; `None` is off.
    pub idle_timeout: Option<Duration>,
    /// `max_downstream_connection_duration`: a connection is ended after this, whatever it does.
    pub duration_max: Option<DurationMax>,
    /// What chooses the endpoint of a connection, where the cluster's load balancer reads hashes.
    pub hash: TcpHash,
    /// `metadata_match`: what the endpoint of a connection has to have.
    pub metadata_match: Option<MetadataMatch>,
    /// `tunneling_config`: bytes are sent inside HTTP.
    pub tunneling: Option<Tunneling>,
    /// `proxy_protocol_tlvs`: what the PROXY headers of its connections may say besides.
    pub tlvs: AddedTlvs,
    /// `proxy_protocol_tlv_merge_policy`: what becomes of them where the client has sent a PROXY header.
    pub tlv_merge: TlvMerge,
    /// `max_connect_attempts`
    pub connect_attempts_max: NonZeroU32,
    /// One line per connection goes to each.
    pub access_logs: Vec<AccessLog>,
    /// When there are lines besides that of a connection's end.
    pub early_logs: TcpEarlyLogs,
}

impl TcpProxy {
    /// Writes the texts that `said` has for operators into every format of lines.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        self.access_logs.iter_mut().for_each(|log| log.resolve(said));
        self.tlvs.resolve(said);
    }
}

/// What becomes of the TLVs of a TCP proxy where the client has sent a PROXY header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlvMerge {
    /// `ADD_IF_ABSENT`: only those of the client count.
    #[default]
    AddIfAbsent,
    /// `APPEND_IF_EXISTS_OR_ADD`: they come behind those of the client.
    Append,
    /// `OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD`: they come first, and those of the client that have one of their types are left out.
    Overwrite,
}

/// `hash_policy`: what chooses the endpoint of a connection, where hashes do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TcpHash {
    /// Chance.
    None,
    /// The address of the client, without its port.
    SourceIp,
}

/// `tunneling_config`
#[derive(Clone, Debug)]
pub struct Tunneling {
    /// What the tunnel leads to.
    pub hostname: Format,
    /// `use_post`: the path of a POST that takes the place of CONNECT.
    pub post_path: Option<HeaderValue>,
    /// `headers_to_add`
    pub headers: Edits,
    /// `propagate_response_headers`: the head of the response is left as filter state.
    pub keeps_headers: bool,
    /// `propagate_response_trailers`: so are its trailers.
    pub keeps_trailers: bool,
}

/// The clusters that a connection may go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TcpClusters {
    /// `cluster`
    One(ClusterName),
    /// `weighted_clusters`: each connection goes to one of these, drawn by weight. Not empty, and no weight is 0.
    Weighted(Vec<(ClusterName, NonZeroU32)>),
}

impl TcpClusters {
    /// The cluster of a connection that has drawn `chance`.
    #[must_use]
    pub fn drawn(&self, chance: u64) -> Option<&ClusterName> {
        let weighted = match self {
            Self::One(name) => return Some(name),
            Self::Weighted(weighted) => weighted,
        };
        let sum: u64 = weighted.iter().map(|(_, weight)| u64::from(weight.get())).sum();
        let mut left = chance.checked_rem(sum)?;
        let drawn = weighted.iter().find(|(_, weight)| {
            let weight = u64::from(weight.get());
            let is_drawn = left < weight;
            left = left.saturating_sub(weight);
            is_drawn
        });
        drawn.map(|(name, _)| name)
    }
}

/// How long a connection may last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DurationMax {
    /// The shortest duration that may be drawn.
    pub least: Duration,
    /// `max_downstream_connection_duration_jitter_percentage`: up to this part of `least` is added by chance. Percent.
    pub jitter_percent: f64,
}

impl DurationMax {
    /// How long a connection that has drawn `chance` may last.
    #[must_use]
    pub fn drawn(self, chance: u64) -> Duration {
        const STEPS: u32 = 1 << 20; // fine enough for hours in milliseconds
        let part = f64::from(u32::try_from(chance % u64::from(STEPS)).unwrap_or(0)) / f64::from(STEPS);
        // A percentage is at most 100, so the product is a duration.
        self.least.saturating_add(self.least.mul_f64(self.jitter_percent / 100.0 * part))
    }
}

/// `access_log_options`: on which occasions a line is written before the end of a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpEarlyLogs {
    /// It has been accepted.
    pub at_start: bool,
    /// There is a connection to an endpoint.
    pub at_connected: bool,
    /// Each time that this has passed since.
    pub every: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_drawn_in_proportion_to_their_weights() {
        let weight = |weight| NonZeroU32::new(weight).unwrap();
        let clusters = TcpClusters::Weighted(vec![("a".into(), weight(1)), ("b".into(), weight(3))]);
        let drawn: Vec<String> = (0..8).map(|chance| clusters.drawn(chance).unwrap().to_string()).collect();
        assert_eq!(drawn, ["a", "b", "b", "b", "a", "b", "b", "b"]);
        assert_eq!(TcpClusters::One("c".into()).drawn(7).map(ToString::to_string).as_deref(), Some("c"));
        assert_eq!(TcpClusters::Weighted(Vec::new()).drawn(7), None);
    }

    #[test]
    fn jitter_adds_at_most_its_part() {
        let max = DurationMax { least: Duration::from_secs(100), jitter_percent: 20.0 };
        assert_eq!(max.drawn(0), Duration::from_secs(100));
        assert!((Duration::from_secs(119)..Duration::from_secs(120)).contains(&max.drawn(u64::MAX)));
        assert_eq!(DurationMax { jitter_percent: 0.0, ..max }.drawn(u64::MAX), Duration::from_secs(100));
    }
}
