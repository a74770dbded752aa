//! How clusters choose endpoints, as written.

use serde::Deserialize;

use super::Percent;
use super::policies::HashPolicy;
use crate::config::constraints::{AtLeastOne, NonEmpty, Positive};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Tree};

/// `envoy.config.cluster.v3.Cluster.LbPolicy`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum LbPolicy {
    #[serde(rename = "ROUND_ROBIN")]
    RoundRobin,
    #[serde(rename = "LEAST_REQUEST")]
    LeastRequest,
    #[serde(rename = "RANDOM")]
    Random,
    #[serde(rename = "RING_HASH")]
    RingHash,
    #[serde(rename = "MAGLEV")]
    Maglev,
    #[serde(rename = "CLUSTER_PROVIDED")]
    ClusterProvided,
    #[serde(rename = "LOAD_BALANCING_POLICY_CONFIG")]
    LoadBalancingPolicyConfig,
}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct CommonLbConfig {
    pub(crate) consistent_hashing_lb_config: Option<ConsistentHashingLbConfig>,
    pub(crate) healthy_panic_threshold: Option<Percent>,
    pub(crate) locality_weighted_lb_config: Option<At<LocalityWeightedLbConfig>>,
    pub(crate) update_merge_window: Option<Seconds>,
    pub(crate) zone_aware_lb_config: Option<At<ZoneAwareLbConfig>>,
}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct LocalityWeightedLbConfig {}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ZoneAwareLbConfig {
    #[serde(default)]
    pub(crate) fail_traffic_on_panic: bool,
    pub(crate) force_locality_direct_routing: Option<At<bool>>,
    pub(crate) min_cluster_size: Option<u64>,
    pub(crate) routing_enabled: Option<Percent>,
}

/// `envoy.config.cluster.v3.Cluster.LeastRequestLbConfig`, and the policy of this name
#[derive(Debug, Deserialize)]
pub(crate) struct LeastRequestLbConfig {
    pub(crate) active_request_bias: Option<RuntimeDouble>,
    pub(crate) choice_count: Option<At<u32>>,
    pub(crate) locality_lb_config: Option<At<LocalityLbConfig>>,
    pub(crate) selection_method: Option<SelectionMethod>,
    pub(crate) slow_start_config: Option<At<SlowStartConfig>>,
}

/// `envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest.SelectionMethod`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum SelectionMethod {
    #[serde(rename = "N_CHOICES")]
    NChoices,
    #[serde(rename = "FULL_SCAN")]
    FullScan,
}

/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ConsistentHashingLbConfig {
    pub(crate) hash_balance_factor: Option<At<u32>>,
    #[serde(default)]
    pub(crate) hash_policy: Vec<At<HashPolicy>>,
    #[serde(default)]
    pub(crate) use_hostname_for_hashing: bool,
}

/// `envoy.config.cluster.v3.Cluster.RingHashLbConfig`, and the policy of this name
#[derive(Debug, Deserialize)]
pub(crate) struct RingHashLbConfig {
    pub(crate) consistent_hashing_lb_config: Option<ConsistentHashingLbConfig>,
    pub(crate) hash_balance_factor: Option<At<u32>>,
    pub(crate) hash_function: Option<HashFunction>,
    pub(crate) locality_weighted_lb_config: Option<At<LocalityWeightedLbConfig>>,
    pub(crate) maximum_ring_size: Option<At<u32>>,
    pub(crate) minimum_ring_size: Option<At<u32>>,
    #[serde(default)]
    pub(crate) use_hostname_for_hashing: bool,
}

/// `envoy.config.cluster.v3.Cluster.RingHashLbConfig.HashFunction`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum HashFunction {
    #[serde(rename = "DEFAULT_HASH")]
    DefaultHash,
    #[serde(rename = "XX_HASH")]
    XxHash,
    #[serde(rename = "MURMUR_HASH_2")]
    MurmurHash2,
}

/// `envoy.config.cluster.v3.Cluster.MaglevLbConfig`, and the policy of this name
#[derive(Debug, Deserialize)]
pub(crate) struct MaglevLbConfig {
    pub(crate) consistent_hashing_lb_config: Option<ConsistentHashingLbConfig>,
    pub(crate) locality_weighted_lb_config: Option<At<LocalityWeightedLbConfig>>,
    pub(crate) table_size: Option<At<u32>>,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig`, and the policy subset
#[derive(Debug, Deserialize)]
pub(crate) struct LbSubsetConfig {
    #[serde(default)]
    pub(crate) allow_redundant_keys: bool,
    pub(crate) default_subset: Option<At<Tree>>,
    pub(crate) fallback_policy: Option<FallbackPolicy>,
    #[serde(default)]
    pub(crate) list_as_any: bool,
    #[serde(default)]
    pub(crate) locality_weight_aware: bool,
    pub(crate) metadata_fallback_policy: Option<MetadataFallbackPolicy>,
    #[serde(default)]
    pub(crate) panic_mode_any: bool,
    #[serde(default)]
    pub(crate) scale_locality_weight: bool,
    #[serde(default)]
    pub(crate) subset_selectors: Vec<At<SubsetSelector>>,
    pub(crate) subset_lb_policy: Option<At<LoadBalancingPolicy>>,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetFallbackPolicy`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum FallbackPolicy {
    #[serde(rename = "NO_FALLBACK")]
    NoFallback,
    #[serde(rename = "ANY_ENDPOINT")]
    AnyEndpoint,
    #[serde(rename = "DEFAULT_SUBSET")]
    DefaultSubset,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetMetadataFallbackPolicy`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum MetadataFallbackPolicy {
    #[serde(rename = "METADATA_NO_FALLBACK")]
    MetadataNoFallback,
    #[serde(rename = "FALLBACK_LIST")]
    FallbackList,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector`
#[derive(Debug, Deserialize)]
pub(crate) struct SubsetSelector {
    #[serde(default)]
    pub(crate) fallback_keys_subset: Vec<String>,
    pub(crate) fallback_policy: Option<SelectorFallbackPolicy>,
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    #[serde(default)]
    pub(crate) single_host_per_subset: bool,
}

/// `envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector.LbSubsetSelectorFallbackPolicy`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum SelectorFallbackPolicy {
    #[serde(rename = "NOT_DEFINED")]
    NotDefined,
    #[serde(rename = "NO_FALLBACK")]
    NoFallback,
    #[serde(rename = "ANY_ENDPOINT")]
    AnyEndpoint,
    #[serde(rename = "DEFAULT_SUBSET")]
    DefaultSubset,
    #[serde(rename = "KEYS_SUBSET")]
    KeysSubset,
}

/// `envoy.config.core.v3.RuntimeDouble`
#[derive(Debug, Deserialize)]
pub(crate) struct RuntimeDouble {
    #[serde(default)]
    pub(crate) default_value: f64,
    #[expect(dead_code, reason = "Envoy refuses a value without its key; runtime layers hold whole numbers here")]
    pub(crate) runtime_key: NonEmpty,
}

/// `envoy.config.cluster.v3.Cluster.RoundRobinLbConfig`, and the policy of this name
#[derive(Debug, Deserialize)]
pub(crate) struct RoundRobinLbConfig {
    pub(crate) locality_lb_config: Option<At<LocalityLbConfig>>,
    pub(crate) slow_start_config: Option<At<SlowStartConfig>>,
}

/// `envoy.extensions.load_balancing_policies.random.v3.Random`
#[derive(Debug, Deserialize)]
pub(crate) struct RandomLbConfig {
    pub(crate) locality_lb_config: Option<At<LocalityLbConfig>>,
}

/// `envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct LocalityLbConfig {
    pub(crate) locality_weighted_lb_config: Option<At<LocalityWeightedLbConfig>>,
    pub(crate) zone_aware_lb_config: Option<At<ZoneAwareLbConfig>>,
}

/// `envoy.config.cluster.v3.Cluster.SlowStartConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct SlowStartConfig {
    pub(crate) aggression: Option<RuntimeDouble>,
    pub(crate) min_weight_percent: Option<Percent>,
    pub(crate) slow_start_window: Option<Positive>,
}

/// `envoy.config.cluster.v3.LoadBalancingPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct LoadBalancingPolicy {
    #[serde(default)]
    pub(crate) policies: Vec<At<PolicyEntry>>,
}

/// `envoy.config.cluster.v3.LoadBalancingPolicy.Policy`
#[derive(Debug, Deserialize)]
pub(crate) struct PolicyEntry {
    pub(crate) typed_extension_config: BalancerExtension,
}

/// `envoy.config.core.v3.TypedExtensionConfig`, of a load balancer
#[derive(Debug, Deserialize)]
pub(crate) struct BalancerExtension {
    #[expect(dead_code, reason = "the type says what it is; Envoy refuses an extension without a name")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: At<BalancerConfig>,
}

/// The load balancers there are.
#[derive(Debug, Deserialize)]
pub(crate) enum BalancerConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest")]
    LeastRequest(LeastRequestLbConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev")]
    Maglev(MaglevLbConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random")]
    Random(RandomLbConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash")]
    RingHash(RingHashLbConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin")]
    RoundRobin(RoundRobinLbConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.load_balancing_policies.subset.v3.Subset")]
    Subset(Box<LbSubsetConfig>),
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct AssignmentPolicy {
    pub(crate) overprovisioning_factor: Option<AtLeastOne>,
    #[serde(default)]
    pub(crate) weighted_priority_health: bool,
}

/// `envoy.config.core.v3.Locality`
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Locality {
    #[serde(default)]
    pub(crate) region: String,
    #[serde(default)]
    pub(crate) sub_zone: String,
    #[serde(default)]
    pub(crate) zone: String,
}

/// `envoy.config.core.v3.HealthStatus`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum HealthStatus {
    #[serde(rename = "UNKNOWN")]
    Unknown,
    #[serde(rename = "HEALTHY")]
    Healthy,
    #[serde(rename = "UNHEALTHY")]
    Unhealthy,
    #[serde(rename = "DRAINING")]
    Draining,
    #[serde(rename = "TIMEOUT")]
    Timeout,
    #[serde(rename = "DEGRADED")]
    Degraded,
}
