//! How a cluster chooses among its endpoints, typed.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::subsets::Subsets;

/// How a cluster chooses among its endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancing {
    /// Which of a group of endpoints.
    pub policy: Policy,
    /// What localities mean.
    pub localities: Localities,
    /// What happens while too few endpoints are healthy.
    pub panic: Panic,
    /// `overprovisioning_factor`, in percent: with 140, a priority takes all requests until fewer than 100/140 of its endpoints
    /// are healthy.
    pub overprovisioning: u32,
    /// What the health of a priority is counted by.
    pub health_by: HealthBy,
    /// Endpoints are grouped by their metadata, and chosen among those of a group.
    pub subsets: Option<Subsets>,
    /// Requests stay in the zone of this proxy as far as its endpoints suffice: there is a local cluster.
    pub zones: Option<ZoneRouting>,
}

/// Which endpoint of a group is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// One with few active requests.
    LeastRequest(LeastRequest),
    /// By the hash of the request, in a Maglev table.
    Maglev(Maglev),
    /// A random one, whatever the weights.
    Random,
    /// By the hash of the request, on a ring.
    RingHash(RingHash),
    /// One after the other.
    RoundRobin(Option<SlowStart>),
}

/// `least_request_lb_config`
#[derive(Clone, Debug, PartialEq)]
pub struct LeastRequest {
    /// How many endpoints are compared where weights are equal.
    pub compared: Compared,
    /// `active_request_bias`: the power of the active requests by which a weight is divided where weights differ.
    pub bias: f64,
    /// How weights of endpoints grow that have become healthy.
    pub slow_start: Option<SlowStart>,
}

impl Policy {
    /// Does the hash of a request choose?
    #[must_use]
    pub fn hashes(&self) -> bool {
        matches!(self, Self::Maglev(_) | Self::RingHash(_))
    }

    /// What the slots of its endpoints are named by, if the hash of a request chooses.
    #[must_use]
    pub fn hashed_name(&self) -> Option<HashedName> {
        match self {
            Self::Maglev(Maglev { name, .. }) | Self::RingHash(RingHash { name, .. }) => Some(*name),
            Self::LeastRequest(_) | Self::Random | Self::RoundRobin(_) => None,
        }
    }
}

/// `ring_hash_lb_config`: endpoints have slots on a ring of hashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RingHash {
    /// At least so many slots, if each endpoint may have a whole number of them.
    pub size_min: u32,
    /// At most so many.
    pub size_max: u32,
    /// What places the slots.
    pub function: HashFunction,
    /// What is hashed of an endpoint.
    pub name: HashedName,
    /// `hash_balance_factor`: an endpoint has at most so many percent of its part of the active requests.
    pub load_max: Option<u32>,
}

/// `maglev_lb_config`: endpoints have slots in a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Maglev {
    /// So many slots; a prime.
    pub size: u32,
    /// What is hashed of an endpoint.
    pub name: HashedName,
    /// `hash_balance_factor`: an endpoint has at most so many percent of its part of the active requests.
    pub load_max: Option<u32>,
}

/// What places the slots of a ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HashFunction {
    /// MurmurHash2 with 64 bits.
    Murmur2,
    /// XXH64.
    Xx,
}

/// What is hashed of an endpoint that has no `hash_key` in its metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HashedName {
    /// Its address.
    Address,
    /// Its hostname.
    Hostname,
}

/// How many endpoints are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compared {
    /// All.
    All,
    /// So many random ones.
    Random(u32),
}

/// `slow_start_config`: an endpoint that has become healthy gets its share of the requests little by little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// Its weight is whole after this.
    pub window: Duration,
    /// `aggression`: the weight grows as time to the power of 1 by this.
    pub aggression: f64,
    /// The least part of its weight.
    pub least: f64,
}

/// What localities mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Localities {
    /// Nothing: a priority is one group.
    Merged,
    /// First a locality is chosen by its weight, then one of its endpoints.
    Weighted,
}

/// `zone_aware_lb_config`, beside the local cluster of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneRouting {
    /// `local_cluster_name`: it has the proxies that share the endpoints, this one among them.
    pub local: Arc<str>,
    /// Where this proxy is; `None`: the file says nothing of it.
    pub here: Option<Locality>,
    /// `routing_enabled`: so many of a hundred requests.
    pub percent: u32,
    /// `min_cluster_size`: with fewer healthy endpoints, zones do not count.
    pub size_min: u64,
    /// `force_locality_direct_routing`: all requests stay in the zone while it has an endpoint.
    pub force_direct: bool,
}

/// What happens while fewer endpoints of a priority are healthy than `healthy_panic_threshold` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Panic {
    /// Health does not count: all endpoints are used.
    All,
    /// `fail_traffic_on_panic`: none is.
    None,
}

/// What the health of a priority is counted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HealthBy {
    /// Endpoints.
    Endpoints,
    /// Their weights: `weighted_priority_health`.
    Weights,
}

/// What the configuration says of the place of an endpoint among those of its cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Placement {
    /// 0 is the first.
    pub priority: u32,
    /// Where it is.
    pub locality: Locality,
    /// `load_balancing_weight` of its locality; 0 if it has none.
    pub locality_weight: u32,
    /// Its share among the others.
    pub weight: u32,
    /// What the file says of its health.
    pub health: ReportedHealth,
    /// `health_check_config`: how it is checked.
    pub check: CheckedAt,
    /// Which of `transport_socket_matches` is the first to match it.
    pub socket: Option<usize>,
    /// The file of endpoints does not have it any more: it is there while checks find it healthy.
    pub is_leaving: bool,
}

impl Placement {
    /// Of an endpoint of which nothing is said.
    pub const USUAL: Self = Self {
        priority: 0,
        locality: Locality { region: String::new(), zone: String::new(), sub_zone: String::new() },
        locality_weight: 0,
        weight: 1,
        health: ReportedHealth::Healthy,
        check: CheckedAt { address: None, port: None, hostname: None, is_off: false },
        socket: None,
        is_leaving: false,
    };
}

/// How checks of one endpoint differ from those of the cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckedAt {
    /// Another address than its own.
    pub address: Option<Address>,
    /// Another port than that of this address.
    pub port: Option<NonZeroU16>,
    /// The host of requests.
    pub hostname: Option<String>,
    /// It is not checked, and taken for healthy.
    pub is_off: bool,
}

/// `envoy.config.core.v3.Locality`
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone within.
    pub zone: String,
    /// The zone within that.
    pub sub_zone: String,
}

/// `health_status` of an endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReportedHealth {
    /// `DEGRADED`: it is used where healthy ones do not suffice.
    Degraded,
    /// `DRAINING`: it gets no requests, and does not count.
    Draining,
    /// `HEALTHY`, or nothing is said.
    #[default]
    Healthy,
    /// `UNHEALTHY`, `TIMEOUT`
    Unhealthy,
}
