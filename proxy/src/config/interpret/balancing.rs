//! How a cluster chooses among its endpoints: what it means.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use super::localities::{self, AmongLocalities};
use super::{address, basis_points, hashing, subsets, upstream_socket};
use crate::config::balancing::{
    Balancing, CheckedAt, Compared, HashFunction, HashedName, HealthBy, LeastRequest, Localities, Locality, Maglev,
    Placement, Policy, ReportedHealth, RingHash, SlowStart,
};
use crate::config::bootstrap::balancing::{
    BalancerConfig, ConsistentHashingLbConfig, HashFunction as WrittenFunction, HealthStatus, LbPolicy, LbSubsetConfig,
    LeastRequestLbConfig, LoadBalancingPolicy, PolicyEntry, RingHashLbConfig, SelectionMethod, SlowStartConfig,
};
use crate::config::bootstrap::cluster::{Cluster as Written, DiscoveryType, LbEndpoint, LocalityLbEndpoints};
use crate::config::error::{Cause, Name};
use crate::config::hashing::HashPolicy;
use crate::config::problem::Problem;
use crate::config::subsets::Subsets;
use crate::config::yaml::{At, Notes};

/// `ClusterLoadAssignment.Policy.overprovisioning_factor`
const OVERPROVISIONING: u32 = 140;
/// The highest `priority`, as in Envoy.
const PRIORITY_MAX: u32 = 128;
/// `LeastRequestLbConfig.choice_count`
const CHOICES: u32 = 2;
/// `RingHashLbConfig.minimum_ring_size`
const RING_MIN: u32 = 1024;
/// `RingHashLbConfig.maximum_ring_size`, and the most that it may be
const RING_MAX: u32 = 8 * 1024 * 1024;
/// `MaglevLbConfig.table_size`
const MAGLEV_SIZE: u32 = 65_537;
/// The most that `table_size` may be
const MAGLEV_MAX: u32 = 5_000_011;
/// `SlowStartConfig.min_weight_percent`
const SLOW_START_LEAST: f64 = 10.0;

pub(super) fn balancing(cluster: &Written, notes: &Notes) -> Result<Balancing, Problem> {
    let (overprovisioning, health_by) = assigned(cluster);
    if let Some(written) = &cluster.load_balancing_policy {
        note_old_policy(cluster, notes);
        let (policy, (localities, panic, zones), subsets) = extension(&written.value, written)?;
        // A policy of its own has options of its own, and takes none of the cluster's, as in Envoy.
        return Ok(Balancing { zones, subsets, policy, localities, panic, overprovisioning, health_by });
    }
    let policy = old_policy(cluster)?;
    let common = cluster.common_lb_config.as_ref();
    let (localities, panic, zones) = localities::among(
        common.and_then(|common| common.locality_weighted_lb_config.as_ref()),
        common.and_then(|common| common.zone_aware_lb_config.as_ref()),
    )?;
    let written = common.and_then(|common| common.zone_aware_lb_config.as_ref());
    if let Some(at) = written.and_then(|zones| zones.value.force_locality_direct_routing.as_ref()) {
        return Err(at.invalid("is a field of the locality_lb_config of a load_balancing_policy alone"));
    }
    let subsets = cluster.lb_subset_config.as_ref();
    if let Some(at) = subsets.and_then(|at| at.value.subset_lb_policy.as_ref()) {
        return Err(at.invalid_but(
            "is a field of the load balancing policy subset alone",
            "write lb_policy, which chooses within subsets here",
        ));
    }
    if let Some(at) = subsets.filter(|at| at.value.locality_weight_aware && localities != Localities::Weighted) {
        return Err(at.invalid_but(
            "locality_weight_aware needs localities with weights",
            "write common_lb_config: {locality_weighted_lb_config: {}}",
        ));
    }
    Ok(Balancing {
        zones: zones.filter(|_| !policy.hashes()),
        subsets: subsets.map_or(Ok(None), |at| subsets::subsets(&at.value))?,
        policy,
        localities,
        panic,
        overprovisioning,
        health_by,
    })
}

/// What `policy` of the assignment says.
pub(super) fn assigned(cluster: &Written) -> (u32, HealthBy) {
    let policy = cluster.load_assignment.as_ref().and_then(|assignment| assignment.value.policy);
    let factor = policy.and_then(|policy| policy.overprovisioning_factor);
    let health_by = match policy.is_some_and(|policy| policy.weighted_priority_health) {
        true => HealthBy::Weights,
        false => HealthBy::Endpoints,
    };
    (factor.map_or(OVERPROVISIONING, |factor| factor.0.get()), health_by)
}

/// `hash_policy` of a policy that hashes: it takes the place of the route's.
pub(super) fn hash_policies(cluster: &Written, notes: &Notes) -> Result<Vec<HashPolicy>, Problem> {
    let common = cluster.common_lb_config.as_ref().and_then(|common| common.consistent_hashing_lb_config.as_ref());
    let first = cluster.load_balancing_policy.as_ref().map(|written| written.value.policies.first());
    let hashing = match first {
        None => common,
        Some(first) => first.and_then(|first| extension_hashing(&first.value)),
    };
    hashing.map_or(Ok(Vec::new()), |hashing| hashing::policies(&hashing.hash_policy, notes))
}

fn extension_hashing(written: &PolicyEntry) -> Option<&ConsistentHashingLbConfig> {
    match &written.typed_extension_config.typed_config.value {
        BalancerConfig::LeastRequest(_) | BalancerConfig::Random(_) | BalancerConfig::RoundRobin(_) => None,
        BalancerConfig::Maglev(written) => written.consistent_hashing_lb_config.as_ref(),
        BalancerConfig::RingHash(written) => written.consistent_hashing_lb_config.as_ref(),
        BalancerConfig::Subset(written) => {
            extension_hashing(&written.subset_lb_policy.as_ref()?.value.policies.first()?.value)
        }
    }
}

/// `lb_policy` with the options beside it.
fn old_policy(cluster: &Written) -> Result<Policy, Problem> {
    let common = cluster.common_lb_config.as_ref();
    let by_hostname = common.and_then(|common| common.consistent_hashing_lb_config.as_ref());
    if by_hostname.is_some_and(|hashing| hashing.use_hostname_for_hashing)
        && !matches!(cluster.r#type, Some(DiscoveryType::StrictDns))
    {
        return Err(cluster.name.invalid_but(
            "use_hostname_for_hashing is for clusters of type STRICT_DNS",
            "delete it, or write hash_key in the metadata envoy.lb of each endpoint",
        ));
    }
    let hashing = hashing(common.and_then(|common| common.consistent_hashing_lb_config.as_ref()))?;
    let policy = match cluster.lb_policy.as_ref().map(|at| at.value) {
        None | Some(LbPolicy::RoundRobin) => {
            let written = cluster.round_robin_lb_config.as_ref();
            let slow_start = written.and_then(|at| at.value.slow_start_config.as_ref()).map(slow_start).transpose()?;
            Policy::RoundRobin(slow_start)
        }
        Some(LbPolicy::LeastRequest) => {
            Policy::LeastRequest(least_request(cluster.least_request_lb_config.as_ref().map(|at| &at.value))?)
        }
        Some(LbPolicy::Maglev) => {
            let written = cluster.maglev_lb_config.as_ref().map(|at| &at.value);
            Policy::Maglev(maglev(written.and_then(|config| config.table_size.as_ref()), hashing)?)
        }
        Some(LbPolicy::ClusterProvided) if cluster.cluster_type.is_some() => Policy::RoundRobin(None),
        // A cluster that chooses by itself has one endpoint for each choice.
        Some(LbPolicy::ClusterProvided) => match cluster.r#type {
            Some(DiscoveryType::OriginalDst) => Policy::RoundRobin(None),
            None
            | Some(DiscoveryType::Eds | DiscoveryType::LogicalDns | DiscoveryType::Static | DiscoveryType::StrictDns) =>
            {
                return Err(policy_of_others(cluster));
            }
        },
        Some(LbPolicy::Random) => Policy::Random,
        Some(LbPolicy::RingHash) => {
            Policy::RingHash(ring_hash(cluster.ring_hash_lb_config.as_ref().map(|at| &at.value), hashing)?)
        }
        Some(LbPolicy::LoadBalancingPolicyConfig) => {
            return Err(cluster.name.invalid_but(
                "lb_policy: LOAD_BALANCING_POLICY_CONFIG needs load_balancing_policy",
                "write load_balancing_policy: {policies: [...]}",
            ));
        }
    };
    Ok(policy)
}

/// CLUSTER_PROVIDED, of a cluster whose type leaves the choice to a policy.
fn policy_of_others(cluster: &Written) -> Problem {
    let place = cluster.lb_policy.as_ref().map_or(&cluster.name.place, |policy| &policy.place);
    let reason = "of the types of clusters ORIGINAL_DST and aggregate alone choose endpoints by themselves; write ROUND_ROBIN, LEAST_REQUEST or RANDOM";
    Problem::at(place, Cause::Unsupported { name: Name::Value("CLUSTER_PROVIDED".into()), reason })
}

/// What stands beside `load_balancing_policy` and has no effect.
fn note_old_policy(cluster: &Written, notes: &Notes) {
    let places = [
        cluster.lb_policy.as_ref().filter(|at| at.value != LbPolicy::LoadBalancingPolicyConfig).map(|at| &at.place),
        cluster.lb_subset_config.as_ref().map(|at| &at.place),
        cluster.least_request_lb_config.as_ref().map(|at| &at.place),
        cluster.maglev_lb_config.as_ref().map(|at| &at.place),
        cluster.ring_hash_lb_config.as_ref().map(|at| &at.place),
        cluster.round_robin_lb_config.as_ref().map(|at| &at.place),
    ];
    for place in places.into_iter().flatten() {
        notes.note(place, "has no effect beside load_balancing_policy".to_owned());
    }
}

/// A policy, what localities mean to it, and the subsets that it chooses within.
type Extension = (Policy, AmongLocalities, Option<Subsets>);

/// The first of the policies, all of which are known here.
fn extension<T>(written: &LoadBalancingPolicy, at: &At<T>) -> Result<Extension, Problem> {
    let Some(first) = written.policies.first() else {
        return Err(at.invalid_but("names no policy", "write one under policies, or lb_policy in place of this"));
    };
    let config = &first.value.typed_extension_config.typed_config;
    let (policy, among) = match &config.value {
        BalancerConfig::LeastRequest(written) => (
            Policy::LeastRequest(least_request(Some(written))?),
            localities::of_policy(written.locality_lb_config.as_ref())?,
        ),
        BalancerConfig::Maglev(written) => {
            let hashing = hashing(written.consistent_hashing_lb_config.as_ref())?;
            let policy = Policy::Maglev(maglev(written.table_size.as_ref(), hashing)?);
            (policy, localities::among(written.locality_weighted_lb_config.as_ref(), None)?)
        }
        BalancerConfig::RingHash(written) => {
            let hashing = match &written.consistent_hashing_lb_config {
                Some(hashing) => self::hashing(Some(hashing))?,
                None => hashed(written.use_hostname_for_hashing, written.hash_balance_factor.as_ref())?,
            };
            let policy = Policy::RingHash(ring_hash(Some(written), hashing)?);
            (policy, localities::among(written.locality_weighted_lb_config.as_ref(), None)?)
        }
        BalancerConfig::Random(written) => {
            (Policy::Random, localities::of_policy(written.locality_lb_config.as_ref())?)
        }
        BalancerConfig::RoundRobin(written) => {
            let slow_start = written.slow_start_config.as_ref().map(slow_start).transpose()?;
            (Policy::RoundRobin(slow_start), localities::of_policy(written.locality_lb_config.as_ref())?)
        }
        BalancerConfig::Subset(written) => return within_subsets(written, config),
    };
    Ok((policy, among, None))
}

/// A policy that chooses within subsets.
fn within_subsets<T>(written: &LbSubsetConfig, at: &At<T>) -> Result<Extension, Problem> {
    let Some(inner) = &written.subset_lb_policy else {
        return Err(
            at.invalid_but("names no policy within subsets", "write one under subset_lb_policy: {policies: [...]}")
        );
    };
    let (policy, among, nested) = extension(&inner.value, inner)?;
    if nested.is_some() {
        return Err(inner.invalid("there are no subsets within subsets"));
    }
    Ok((policy, among, subsets::subsets(written)?))
}

/// What is hashed of an endpoint, and how many percent of its part it may have.
type Hashing = (HashedName, Option<u32>);

fn hashing(written: Option<&ConsistentHashingLbConfig>) -> Result<Hashing, Problem> {
    match written {
        Some(config) => hashed(config.use_hostname_for_hashing, config.hash_balance_factor.as_ref()),
        None => Ok((HashedName::Address, None)),
    }
}

fn hashed(by_hostname: bool, factor: Option<&At<u32>>) -> Result<Hashing, Problem> {
    match factor {
        Some(at) if at.value < 100 => return Err(at.invalid("must be at least 100")),
        Some(_) | None => {}
    }
    let name = if by_hostname { HashedName::Hostname } else { HashedName::Address };
    Ok((name, factor.map(|at| at.value)))
}

fn ring_hash(written: Option<&RingHashLbConfig>, (name, load_max): Hashing) -> Result<RingHash, Problem> {
    let size = |at: Option<&At<u32>>, default| match at {
        Some(at) if at.value > RING_MAX => Err(at.invalid(format!("must be at most {RING_MAX}"))),
        Some(at) => Ok(at.value),
        None => Ok(default),
    };
    let minimum = written.and_then(|config| config.minimum_ring_size.as_ref());
    let size_min = size(minimum, RING_MIN)?;
    let size_max = size(written.and_then(|config| config.maximum_ring_size.as_ref()), RING_MAX)?;
    if size_min > size_max {
        let what = format!("ring hash: minimum_ring_size ({size_min}) > maximum_ring_size ({size_max})");
        let maximum = written.and_then(|config| config.maximum_ring_size.as_ref());
        // The default of one is not beyond the bound of the other, so that one of them is written.
        if let Some(at) = minimum.or(maximum) {
            return Err(at.invalid(what));
        }
    }
    let function = match written.and_then(|config| config.hash_function) {
        None | Some(WrittenFunction::DefaultHash | WrittenFunction::XxHash) => HashFunction::Xx,
        Some(WrittenFunction::MurmurHash2) => HashFunction::Murmur2,
    };
    Ok(RingHash { size_min, size_max, function, name, load_max })
}

fn maglev(size: Option<&At<u32>>, (name, load_max): Hashing) -> Result<Maglev, Problem> {
    let size = match size {
        Some(at) if at.value > MAGLEV_MAX => return Err(at.invalid(format!("must be at most {MAGLEV_MAX}"))),
        Some(at) if !is_prime(at.value) => return Err(at.invalid("the table size of maglev must be a prime number")),
        Some(at) => at.value,
        None => MAGLEV_SIZE,
    };
    Ok(Maglev { size, name, load_max })
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}

fn least_request(written: Option<&LeastRequestLbConfig>) -> Result<LeastRequest, Problem> {
    let choices = match written.and_then(|config| config.choice_count.as_ref()) {
        Some(count) if count.value < 2 => return Err(count.invalid("must be at least 2")),
        Some(count) => count.value,
        None => CHOICES,
    };
    let bias = written.and_then(|config| config.active_request_bias.as_ref()).map_or(1.0, |bias| bias.default_value);
    Ok(LeastRequest {
        compared: match written.and_then(|config| config.selection_method) {
            Some(SelectionMethod::FullScan) => Compared::All,
            Some(SelectionMethod::NChoices) | None => Compared::Random(choices),
        },
        bias: if bias >= 0.0 { bias } else { 1.0 }, // as in Envoy
        slow_start: written.and_then(|config| config.slow_start_config.as_ref()).map(slow_start).transpose()?,
    })
}

fn slow_start(written: &At<SlowStartConfig>) -> Result<SlowStart, Problem> {
    let SlowStartConfig { aggression, min_weight_percent, slow_start_window } = &written.value;
    let Some(window) = slow_start_window else { return Err(written.invalid("slow_start_window is missing")) };
    let aggression = aggression.as_ref().map_or(1.0, |aggression| aggression.default_value);
    let least = min_weight_percent.map_or(SLOW_START_LEAST, |percent| percent.value.0);
    Ok(SlowStart {
        window: window.0.max(Duration::from_millis(1)),
        aggression: if aggression > 0.0 { aggression } else { 1.0 }, // as in Envoy
        least: least / 100.0,
    })
}

/// `healthy_panic_threshold`, in hundredths of a percent.
pub(super) fn panic_threshold(cluster: &Written) -> u32 {
    let written = cluster.common_lb_config.as_ref().and_then(|common| common.healthy_panic_threshold);
    basis_points(written.map_or(50.0, |percent| percent.value.0))
}

/// The places of the endpoints, in their order.
pub(super) fn placements(cluster: &Written) -> Result<Vec<Placement>, Problem> {
    let groups = cluster.load_assignment.as_ref().map_or(&[][..], |assignment| &assignment.value.endpoints);
    // The last weight that is written of a locality of one priority counts for all of it, as in Envoy.
    let mut weights = BTreeMap::new();
    let mut sums: BTreeMap<_, u32> = BTreeMap::new();
    let mut placements = Vec::new();
    for group in groups {
        let priority = priority(group)?;
        let locality = localities::locality(group.locality.as_ref());
        if let Some(weight) = group.load_balancing_weight {
            weights.insert((priority, locality.clone()), weight.0.get());
        }
        for endpoint in &group.lb_endpoints {
            let mut placement = placement(endpoint, priority, locality.clone())?;
            placement.socket = upstream_socket::matched(cluster, endpoint.metadata.as_ref())?;
            let sum = sums.entry((priority, locality.clone())).or_default();
            let Some(more) = sum.checked_add(placement.weight) else {
                return Err(cluster.name.invalid(format!(
                    "the sum of weights of all endpoints in a locality must not exceed {}",
                    u32::MAX
                )));
            };
            *sum = more;
            placements.push(placement);
        }
    }
    let usual = Placement { weight: 1, ..Placement::default() };
    if weights.is_empty() && placements.iter().all(|placement| *placement == usual) {
        return Ok(Vec::new());
    }
    for placement in &mut placements {
        let key = (placement.priority, placement.locality.clone());
        placement.locality_weight = weights.get(&key).copied().unwrap_or(0);
    }
    Ok(placements)
}

fn priority(group: &LocalityLbEndpoints) -> Result<u32, Problem> {
    match &group.priority {
        Some(at) if at.value > PRIORITY_MAX => Err(at.invalid(format!("must be at most {PRIORITY_MAX}"))),
        Some(at) => Ok(at.value),
        None => Ok(0),
    }
}

fn checked_at(endpoint: &LbEndpoint) -> Result<CheckedAt, Problem> {
    let Some(written) = &endpoint.endpoint.health_check_config else { return Ok(CheckedAt::default()) };
    let port = written.port_value.as_ref().map(|at| {
        let port = u16::try_from(at.value).map_err(|_| at.invalid(format!("{} is not a port", at.value)));
        port.map(NonZeroU16::new)
    });
    let hostname = written.hostname.as_ref().filter(|at| !at.value.is_empty());
    if let Some(at) = hostname.filter(|at| !at.value.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(at.invalid("must be visible ASCII characters"));
    }
    Ok(CheckedAt {
        address: written.address.as_ref().map(address::endpoint).transpose()?,
        port: port.transpose()?.flatten(),
        hostname: hostname.map(|at| at.value.clone()),
        is_off: written.disable_active_health_check,
    })
}

fn placement(endpoint: &LbEndpoint, priority: u32, locality: Locality) -> Result<Placement, Problem> {
    Ok(Placement {
        check: checked_at(endpoint)?,
        priority,
        locality,
        locality_weight: 0,
        socket: None,
        is_leaving: false,
        weight: endpoint.load_balancing_weight.map_or(1, |weight| weight.0.get()),
        health: match endpoint.health_status {
            None | Some(HealthStatus::Healthy | HealthStatus::Unknown) => ReportedHealth::Healthy,
            Some(HealthStatus::Degraded) => ReportedHealth::Degraded,
            Some(HealthStatus::Draining) => ReportedHealth::Draining,
            Some(HealthStatus::Timeout | HealthStatus::Unhealthy) => ReportedHealth::Unhealthy,
        },
    })
}
