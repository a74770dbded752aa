//! What the filters of a connection manager use besides messages, on one worker: stats, chance and the runtime.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::fetched_keys::FetchedKeys;
use super::health_sources::{CheckStats, HealthSources, KeptStatuses};
use super::limits::Limits;
use super::scripts::Scripts;
use crate::config::compression::{Coding, CompressorName, Decompressor};
use crate::config::filter::{Kind, RbacPrefixes};
use crate::config::fraction::{Fraction, is_drawn};
use crate::config::listener::ConnectionManager;
use crate::config::network_filter::RuntimeFlag;
use crate::config::rate_limit::RateLimit;
use crate::net::{Clock, Random};
use crate::runtime::{Runtime, Watched};
use crate::stats::{
    AuthorisationStats, BasicAuthStats, CompressorStats, CorsStats, CsrfStats, DecompressorStats, FaultStats,
    HealthCheckStats, LuaStats, OriginFaults, PolicyStats, RbacStats, Registry, SetMetadataStats, TokenStats,
};

use crate::token_bucket::Buckets;

/// The stats of those filters that have some; `None` if no chain has the filter.
#[derive(Default)]
pub(crate) struct FilterStats {
    /// By their names.
    compressors: Vec<(CompressorName, Rc<CompressorStats>)>,
    pub(super) basic_auth: Option<BasicAuthStats>,
    pub(super) cors: Option<CorsStats>,
    pub(super) csrf: Option<CsrfStats>,
    /// By the names of their libraries.
    decompressors: Vec<(String, Coding, DecompressorStats)>,
    /// By their prefixes.
    authorisations: Vec<(String, AuthorisationStats)>,
    /// By their prefixes.
    tokens: Vec<(String, TokenStats)>,
    pub(super) fault: Option<FaultCounts>,
    pub(super) health_check: Option<CheckStats>,
    /// By their prefixes.
    lua: Vec<(String, LuaStats)>,
    /// By their prefixes.
    rbac: Vec<(RbacPrefixes, RuleCounts)>,
    pub(super) set_metadata: Option<MetadataStats>,
}

/// Those of the filter `envoy.filters.http.fault`.
pub(super) struct FaultCounts {
    pub(super) own: FaultStats,
    pub(super) origins: OriginFaults,
}

/// Those of the filter `envoy.filters.http.rbac`.
pub(super) struct RuleCounts {
    pub(super) all: RbacStats,
    pub(super) by_policy: PolicyStats,
}

/// Those of the filter `envoy.filters.http.set_metadata`.
pub(super) struct MetadataStats {
    pub(super) own: SetMetadataStats,
    pub(super) of_routes: SetMetadataStats,
}

impl FilterStats {
    /// Those of a connection manager with these options.
    pub(crate) fn new(options: &ConnectionManager, registry: &Arc<Registry>) -> Self {
        let rbac = |kind: &Kind| {
            let Kind::Rbac(prefixes) = kind else { return None };
            let counts = RuleCounts {
                all: RbacStats::of_requests(registry, &options.stat_prefix, prefixes),
                by_policy: PolicyStats::new(registry, &options.stat_prefix, prefixes),
            };
            Some((prefixes.clone(), counts))
        };
        let authorisation = |kind: &Kind| {
            let Kind::ExtAuthz(prefix) = kind else { return None };
            Some((prefix.clone(), AuthorisationStats::new(registry, &options.stat_prefix, prefix)))
        };
        let tokens = |kind: &Kind| {
            let Kind::JwtAuthn(prefix) = kind else { return None };
            Some((prefix.clone(), TokenStats::new(registry, &options.stat_prefix, prefix)))
        };
        let lua = |kind: &Kind| {
            let Kind::Lua(prefix) = kind else { return None };
            Some((prefix.clone(), LuaStats::new(registry, &options.stat_prefix, prefix)))
        };
        let compressor = |kind: &Kind| {
            let Kind::Compressor(name) = kind else { return None };
            Some((name.clone(), Rc::new(CompressorStats::new(registry, &options.stat_prefix, name))))
        };
        let decompressor = |kind: &Kind| {
            let Kind::Decompressor(library, coding) = kind else { return None };
            let stats = DecompressorStats::new(registry, &options.stat_prefix, library, *coding);
            Some((library.clone(), *coding, stats))
        };
        Self {
            compressors: options.counted.iter().filter_map(compressor).collect(),
            decompressors: options.counted.iter().filter_map(decompressor).collect(),
            tokens: options.counted.iter().filter_map(tokens).collect(),
            authorisations: options.counted.iter().filter_map(authorisation).collect(),
            basic_auth: options
                .counted
                .contains(&Kind::BasicAuth)
                .then(|| BasicAuthStats::new(registry, &options.stat_prefix)),
            cors: options.counted.contains(&Kind::Cors).then(|| CorsStats::new(registry, &options.stat_prefix)),
            csrf: options.counted.contains(&Kind::Csrf).then(|| CsrfStats::new(registry, &options.stat_prefix)),
            fault: options.counted.contains(&Kind::Fault).then(|| FaultCounts {
                own: FaultStats::new(registry, &options.stat_prefix),
                origins: OriginFaults::new(registry, &options.stat_prefix),
            }),
            health_check: options.counted.contains(&Kind::HealthCheck).then(|| CheckStats {
                own: HealthCheckStats::new(registry, &options.stat_prefix),
                checks: HealthCheckStats::checks(registry, &options.stat_prefix),
            }),
            lua: options.counted.iter().filter_map(lua).collect(),
            rbac: options.counted.iter().filter_map(rbac).collect(),
            set_metadata: options.counted.contains(&Kind::SetMetadata).then(|| MetadataStats {
                own: SetMetadataStats::new(registry, &options.stat_prefix),
                of_routes: SetMetadataStats::of_routes(registry),
            }),
        }
    }
}

impl FilterStats {
    /// Those of the filter `envoy.filters.http.ext_authz` with this prefix.
    pub(super) fn authorisations(&self, prefix: &str) -> Option<&AuthorisationStats> {
        self.authorisations.iter().find(|(known, _)| known == prefix).map(|(_, stats)| stats)
    }

    /// Those of the filter `envoy.filters.http.compressor` with this name.
    pub(super) fn compressor(&self, name: &CompressorName) -> Option<Rc<CompressorStats>> {
        self.compressors.iter().find(|(known, _)| known == name).map(|(_, stats)| Rc::clone(stats))
    }

    /// Those of this filter `envoy.filters.http.decompressor`.
    pub(super) fn decompressor(&self, options: &Decompressor) -> Option<&DecompressorStats> {
        let is_its = |library: &str, coding: Coding| library == options.library && coding == options.coding;
        self.decompressors.iter().find(|(library, coding, _)| is_its(library, *coding)).map(|(.., stats)| stats)
    }

    /// Those of the filter `envoy.filters.http.jwt_authn` with this prefix.
    pub(super) fn tokens(&self, prefix: &str) -> Option<&TokenStats> {
        self.tokens.iter().find(|(known, _)| known == prefix).map(|(_, stats)| stats)
    }

    /// Those of the filter `envoy.filters.http.lua` with this prefix.
    pub(super) fn lua(&self, prefix: &str) -> Option<&LuaStats> {
        self.lua.iter().find(|(known, _)| known == prefix).map(|(_, stats)| stats)
    }

    /// Those of the filter `envoy.filters.http.rbac` with these prefixes.
    pub(super) fn rbac(&self, prefixes: &RbacPrefixes) -> Option<&RuleCounts> {
        self.rbac.iter().find(|(known, _)| known == prefixes).map(|(_, stats)| stats)
    }
}

/// Made once for a connection manager and worker.
pub(crate) struct FilterContext {
    pub(super) stats: FilterStats,
    /// `per_connection_buffer_limit_bytes`
    pub(super) buffer_bytes_max: usize,
    random: Rc<dyn Random>,
    pub(super) clock: Rc<dyn Clock>,
    pub(super) fetched_keys: FetchedKeys,
    runtime: Arc<Runtime>,
    /// As many as routes name keys, in all configurations that were served.
    fractions: RefCell<BTreeMap<String, Watched>>,
    /// The same of keys that are flags.
    flags: RefCell<BTreeMap<String, Watched>>,
    pub(super) limits: Limits,
    pub(super) health: HealthSources,
    pub(super) kept_statuses: KeptStatuses,
    pub(super) scripts: Scripts,
}

impl FilterContext {
    pub(crate) fn new(
        stats: FilterStats,
        buffer_bytes_max: usize,
        (random, clock): (Rc<dyn Random>, Rc<dyn Clock>),
        runtime: Arc<Runtime>,
        (registry, buckets): (&Arc<Registry>, &Arc<Buckets>),
        health: HealthSources,
    ) -> Self {
        Self {
            stats,
            buffer_bytes_max,
            random,
            clock,
            fetched_keys: FetchedKeys::default(),
            runtime,
            fractions: RefCell::default(),
            flags: RefCell::default(),
            limits: Limits::new(registry, buckets),
            health,
            kept_statuses: KeptStatuses::default(),
            scripts: Scripts::default(),
        }
    }

    /// These limits are in force.
    pub(crate) fn set_rate_limits<'l>(&self, limits: impl Iterator<Item = &'l Arc<RateLimit>>) {
        self.limits.set(limits);
    }

    /// Does a request belong to this fraction?
    pub(super) fn draw(&self, fraction: &Fraction) -> bool {
        self.draw_share(fraction.key.as_deref(), fraction.millionths)
    }

    /// The same for so many millionths, while the key has no value.
    pub(super) fn draw_share(&self, key: Option<&str>, millionths: u32) -> bool {
        let of_runtime = key.and_then(|key| self.fraction(key));
        is_drawn(of_runtime.unwrap_or(millionths), || self.random.next_u64())
    }

    /// Is a flag, which is a share of all or none, set?
    pub(super) fn is_on(&self, flag: &Fraction) -> bool {
        let of_runtime = flag.key.as_deref().and_then(|key| {
            let mut known = self.flags.borrow_mut();
            let watched = || self.runtime.watch_flag(&RuntimeFlag { key: Some(key.to_owned()), is_on: false });
            match known.get(key) {
                Some(watched) => watched.of_layers(),
                None => known.entry(key.to_owned()).or_insert_with(watched).of_layers(),
            }
        });
        of_runtime.unwrap_or(flag.millionths) > 0
    }

    /// A number that no other request has, unless by chance.
    pub(super) fn next_number(&self) -> u64 {
        self.random.next_u64()
    }

    /// The count that a key has in the runtime. Takes a lock, so it is for what few requests meet.
    pub(super) fn count(&self, key: &str) -> Option<u32> {
        self.runtime.count(key)
    }

    /// The same for the millionths of a share.
    pub(super) fn share(&self, key: &str) -> Option<u32> {
        self.runtime.share(key)
    }

    fn fraction(&self, key: &str) -> Option<u32> {
        let mut known = self.fractions.borrow_mut();
        if let Some(watched) = known.get(key) {
            return watched.of_layers();
        }
        let watched = self.runtime.watch_share(key.to_owned(), 0);
        known.entry(key.to_owned()).or_insert(watched).of_layers()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::Differences;
    use crate::config::fraction::MILLION;
    use crate::config::runtime::{LayerValues, RuntimeLayer};

    /// A source of chance whose numbers count upwards.
    struct Counting(Cell<u64>);

    impl Random for Counting {
        fn next_u64(&self) -> u64 {
            self.0.replace(self.0.get() + 1)
        }
    }

    struct Epoch;

    impl Clock for Epoch {
        fn wall(&self) -> std::time::SystemTime {
            std::time::SystemTime::UNIX_EPOCH
        }
    }

    #[test]
    fn a_fraction_is_the_runtimes_and_only_a_part_takes_a_chance() {
        let layer = RuntimeLayer { name: "operators".to_owned(), values: LayerValues::Admin };
        let runtime = Arc::new(Runtime::new(vec![layer], Differences::ALL));
        let random = Rc::new(Counting(Cell::new(0)));
        let context = FilterContext::new(
            FilterStats::default(),
            0,
            (Rc::clone(&random) as Rc<dyn Random>, Rc::new(Epoch)),
            Arc::clone(&runtime),
            (&Arc::default(), &Arc::default()),
            HealthSources {
                own_cluster: http::HeaderValue::from_static(""),
                drain: crate::drain::drain().1.on_worker().listener(crate::drain::Direction::Other),
                membership: Box::new(|_| None),
            },
        );
        let fraction = |millionths| Fraction { millionths, key: Some("cors.on".to_owned()) };
        for (set, default, drawn, taken) in [
            ("", 0, false, 0),
            ("", MILLION, true, 0),
            ("", 1, true, 1),
            ("", 1, false, 1),
            ("100", 0, true, 0),
            ("0", MILLION, false, 0),
            ("1", 0, true, 1),
            ("some", MILLION, true, 0),
        ] {
            runtime.modify([("cors.on", set)].into_iter()).unwrap();
            let before = random.0.get();
            assert_eq!(context.draw(&fraction(default)), drawn, "{set:?} {default}");
            assert_eq!(random.0.get() - before, taken, "{set:?} {default}");
        }
    }
}
