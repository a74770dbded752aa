//! `stats_config`: which stats are shown, and how.

use super::string_match::StringMatch;

/// Which stats are shown, and how.
#[derive(Clone, Debug)]
pub struct StatsOptions {
    /// The stats that the admin interface shows.
    pub shown: ShownStats,
    /// The parts of names that are labels for Prometheus.
    pub tags: Tags,
    /// Upper bounds of the buckets of histograms: those of the first entry that takes the name hold, else
    /// [`DEFAULT_BUCKETS`].
    pub buckets: Vec<(StringMatch, Vec<f64>)>,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self { shown: ShownStats::All, tags: Tags::default(), buckets: Vec::new() }
    }
}

impl StatsOptions {
    /// The upper bounds of the buckets of a histogram.
    #[must_use]
    pub fn buckets(&self, histogram: &str) -> &[f64] {
        let own = self.buckets.iter().find(|(names, _)| names.takes(histogram.as_bytes()));
        own.map_or(DEFAULT_BUCKETS, |(_, buckets)| buckets)
    }
}

/// Upper bounds of the buckets, Envoy's choice. In the histogram's unit.
pub const DEFAULT_BUCKETS: &[f64] = &[
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// `stats_matcher`: which stats are shown. The others are counted all the same.
#[derive(Clone, Debug)]
pub enum ShownStats {
    /// Every stat is printed.
    All,
    /// `exclusion_list`: every one that none of these takes.
    AllBut(Vec<StringMatch>),
    /// `reject_all`
    None,
    /// `inclusion_list`: those that one of these takes.
    Only(Vec<StringMatch>),
}

impl ShownStats {
    /// Is the stat of this name shown?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let is_taken = |patterns: &[StringMatch]| patterns.iter().any(|pattern| pattern.takes(name.as_bytes()));
        match self {
            Self::All => true,
            Self::AllBut(patterns) => !is_taken(patterns),
            Self::None => false,
            Self::Only(patterns) => is_taken(patterns),
        }
    }
}

/// The parts of names that are labels for Prometheus.
#[derive(Clone, Debug)]
pub struct Tags {
    /// Those that Envoy takes out of every name: without `use_all_default_tags: false` all of [`DefaultTag::ALL`].
    pub default: Vec<DefaultTag>,
    /// `stats_tags`: others.
    pub own: Vec<OwnTag>,
}

impl Default for Tags {
    fn default() -> Self {
        Self { default: DefaultTag::ALL.to_vec(), own: Vec::new() }
    }
}

/// A tag that is not one of Envoy's.
#[derive(Clone, Debug)]
pub struct OwnTag {
    /// The name of the tag, as configured.
    pub name: String,
    /// What it says.
    pub value: TagValue,
}

/// What a tag says.
#[derive(Clone, Debug)]
pub enum TagValue {
    /// This, of every stat.
    Fixed(String),
    /// What the second group of this takes of a name, or else the first, which is taken out of the name.
    Taken(regex::Regex),
}

/// A part of a name that Envoy makes a label of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DefaultTag {
    /// `envoy.cluster_name`
    Cluster,
    /// `envoy.http_conn_manager_prefix`
    ConnectionManager,
    /// `envoy.endpoint_address`
    Endpoint,
    /// `envoy.listener_address`
    Listener,
    /// `envoy.rbac_http_prefix`
    RbacHttpPrefix,
    /// `envoy.rbac_policy_name`
    RbacPolicy,
    /// `envoy.rbac_prefix`
    RbacPrefix,
    /// `envoy.response_code`
    ResponseCode,
    /// `envoy.response_code_class`
    ResponseCodeClass,
}

impl DefaultTag {
    /// Each of them that an operator may leave out.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::ConnectionManager,
        Self::Listener,
        Self::RbacHttpPrefix,
        Self::RbacPolicy,
        Self::RbacPrefix,
        Self::ResponseCode,
        Self::ResponseCodeClass,
    ];

    /// Envoy's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "envoy.cluster_name",
            Self::ConnectionManager => "envoy.http_conn_manager_prefix",
            Self::Endpoint => "envoy.endpoint_address",
            Self::Listener => "envoy.listener_address",
            Self::RbacHttpPrefix => "envoy.rbac_http_prefix",
            Self::RbacPolicy => "envoy.rbac_policy_name",
            Self::RbacPrefix => "envoy.rbac_prefix",
            Self::ResponseCode => "envoy.response_code",
            Self::ResponseCodeClass => "envoy.response_code_class",
        }
    }
}

/// Tags of Envoy's for which no stat here has a name: they say nothing, with or without them.
pub(super) const SILENT_TAGS: &[&str] = &[
    "envoy.clientssl_prefix",
    "envoy.dns_filter_prefix",
    "envoy.dns_resolver_prefix",
    "envoy.fault_downstream_cluster",
    "envoy.grpc_bridge_method",
    "envoy.grpc_bridge_service",
    "envoy.http_user_agent",
    "envoy.mongo_callsite",
    "envoy.mongo_cmd",
    "envoy.mongo_collection",
    "envoy.mongo_prefix",
    "envoy.ratelimit_prefix",
    "envoy.rds_route_config",
    "envoy.redis_prefix",
    "envoy.route",
    "envoy.scoped_rds_config",
    "envoy.ssl_cipher",
    "envoy.ssl_cipher_suite",
    "envoy.tcp_prefix",
    "envoy.thrift_prefix",
    "envoy.udp_prefix",
    "envoy.virtual_cluster",
    "envoy.virtual_host",
    "envoy.worker_id",
];
