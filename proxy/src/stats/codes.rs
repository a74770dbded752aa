//! The stats that carry a status code in their name.
//!
//! Which codes an upstream responds with is known only when it does, so these names appear on first use. A
//! worker remembers the handles it has used: from then on a response costs a look through a short list.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::names::{PartCounters, cluster_prefix};
use super::{Counter, Histogram, Registry};

/// `upstream_rq_<code>`, `upstream_rq_<class>xx`, `upstream_rq_completed` and `upstream_rq_time` of a
/// cluster, for one worker.
#[derive(Debug)]
pub struct CodeStats {
    all: Branches,
    retry: Tree,
    /// The zone of this node, if it has one.
    own_zone: Option<Rc<str>>,
    /// By the names that requests give, which is why their number is bounded.
    named: RefCell<Vec<(Box<str>, Rc<Branches>)>>,
}

/// Names that requests may give to stats of a cluster, on each worker; more are not kept apart.
const NAMES_MAX: usize = 32;

/// What a response is counted under, besides its cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charged<'o> {
    /// The cluster itself counts it without its status (`suppress_grpc_request_failure_code_stats`).
    pub is_codeless: bool,
    /// The request came from inside (`x-envoy-internal: true`).
    pub is_internal: bool,
    /// The endpoint is a canary, by its metadata or by its own word.
    pub is_canary: bool,
    /// What the request wants its stats to be called besides (`x-envoy-upstream-alt-stat-name`).
    pub named: Option<&'o str>,
    /// The zone of the endpoint, where zones are counted.
    pub zone: Option<&'o str>,
}

impl CodeStats {
    /// No names yet. With a zone of this node, responses are counted by the zones of endpoints, too.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, cluster: &str, own_zone: Option<&str>) -> Self {
        let prefix = cluster_prefix(cluster);
        let own_zone = own_zone.map(Rc::from);
        Self {
            retry: Tree::new(registry, format!("{prefix}.retry")),
            all: Branches::new(registry, prefix, own_zone.clone()),
            own_zone,
            named: RefCell::default(),
        }
    }

    /// Are responses counted by zones?
    #[must_use]
    pub fn has_zones(&self) -> bool {
        self.own_zone.is_some()
    }

    /// Counts the response to a request: the upstream's, or ours in its place.
    pub fn charge(&self, status: StatusCode, charged: Charged<'_>) {
        self.each(charged, |branches| branches.charge(status, charged));
    }

    /// Counts a response that is not passed on, since the request is tried again.
    pub fn charge_retried(&self, status: StatusCode) {
        self.retry.charge(status);
    }

    /// How long an upstream took, from the end of the request to the end of the response.
    pub fn record_time(&self, took: Duration, charged: Charged<'_>) {
        self.each(charged, |branches| branches.each(charged, |tree| tree.time().record_ms(took)));
    }

    fn each(&self, charged: Charged<'_>, work: impl Fn(&Branches)) {
        work(&self.all);
        if let Some(branches) = charged.named.and_then(|name| self.named(name)) {
            work(&branches);
        }
    }

    fn named(&self, name: &str) -> Option<Rc<Branches>> {
        let mut known = self.named.borrow_mut();
        if let Some((_, branches)) = known.iter().find(|(of, _)| **of == *name) {
            return Some(Rc::clone(branches));
        }
        if known.len() == NAMES_MAX {
            return None;
        }
        let Tree { registry, prefix, .. } = &self.all.all;
        let branches = Rc::new(Branches::new(registry, format!("{prefix}.{name}"), self.own_zone.clone()));
        known.push((name.into(), Rc::clone(&branches)));
        Some(branches)
    }
}

/// All of these names with one prefix.
#[derive(Debug)]
struct Branches {
    all: Tree,
    canary: Tree,
    external: Tree,
    internal: Tree,
    own_zone: Option<Rc<str>>,
    /// By the zones of endpoints, which the configuration names.
    zones: RefCell<Vec<(Box<str>, Rc<Tree>)>>,
}

impl Branches {
    fn new(registry: &Arc<Registry>, prefix: String, own_zone: Option<Rc<str>>) -> Self {
        let tree = |branch: &str| Tree::new(registry, format!("{prefix}.{branch}"));
        Self {
            canary: tree("canary"),
            external: tree("external"),
            internal: tree("internal"),
            all: Tree::new(registry, prefix),
            own_zone,
            zones: RefCell::default(),
        }
    }

    fn charge(&self, status: StatusCode, charged: Charged<'_>) {
        if charged.is_codeless {
            self.all.complete();
        } else {
            self.all.charge(status);
        }
        self.each_branch(charged, |tree| tree.charge(status));
    }

    fn each(&self, charged: Charged<'_>, work: impl Fn(&Tree)) {
        work(&self.all);
        self.each_branch(charged, work);
    }

    fn each_branch(&self, charged: Charged<'_>, work: impl Fn(&Tree)) {
        work(if charged.is_internal { &self.internal } else { &self.external });
        if charged.is_canary {
            work(&self.canary);
        }
        if let (Some(own), Some(zone)) = (&self.own_zone, charged.zone) {
            work(&self.zone(own, zone));
        }
    }

    fn zone(&self, own: &str, zone: &str) -> Rc<Tree> {
        let mut known = self.zones.borrow_mut();
        if let Some((_, tree)) = known.iter().find(|(of, _)| **of == *zone) {
            return Rc::clone(tree);
        }
        let tree = Rc::new(Tree::new(&self.all.registry, format!("{}.zone.{own}.{zone}", self.all.prefix)));
        known.push((zone.into(), Rc::clone(&tree)));
        tree
    }
}

/// The stats of a part of the requests, for one worker: of a virtual cluster, or of a route with a `stat_prefix`.
#[derive(Debug)]
pub struct PartStats {
    /// What moves besides codes.
    pub(crate) counters: PartCounters,
    codes: Tree,
}

impl PartStats {
    /// Those with this prefix.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, prefix: &str) -> Self {
        Self { counters: PartCounters::new(registry, prefix), codes: Tree::new(registry, prefix.replace(':', "_")) }
    }

    /// Counts the response to a request.
    pub fn charge(&self, status: StatusCode) {
        self.codes.charge(status);
    }

    /// How long an upstream took, from the end of the request to the end of the response.
    pub fn record_time(&self, took: Duration) {
        self.codes.time().record_ms(took);
    }
}

/// One set of these names.
#[derive(Debug)]
struct Tree {
    registry: Arc<Registry>,
    prefix: String,
    completed: OnceCell<Counter>,
    time: OnceCell<Histogram>,
    /// By first digit. Bounded: there are 9.
    classes: RefCell<Vec<(u16, Counter)>>,
    /// By code. Bounded: there are 900, and few upstreams use more than ten.
    codes: RefCell<Vec<(u16, Counter)>>,
}

impl Tree {
    fn new(registry: &Arc<Registry>, prefix: String) -> Self {
        Self {
            registry: Arc::clone(registry),
            prefix,
            completed: OnceCell::new(),
            time: OnceCell::new(),
            classes: RefCell::default(),
            codes: RefCell::default(),
        }
    }

    fn charge(&self, status: StatusCode) {
        let code = status.as_u16();
        let class = code / 100;
        self.complete();
        if class <= 5 {
            add(&self.classes, class, || self.counter(&format!("{class}xx")));
        }
        add(&self.codes, code, || self.counter(&code.to_string()));
    }

    fn complete(&self) {
        self.completed.get_or_init(|| self.counter("completed")).inc();
    }

    fn time(&self) -> &Histogram {
        self.time.get_or_init(|| self.registry.histogram(&format!("{}.upstream_rq_time", self.prefix)))
    }

    fn counter(&self, last: &str) -> Counter {
        self.registry.counter(&format!("{}.upstream_rq_{last}", self.prefix))
    }
}

fn add(known: &RefCell<Vec<(u16, Counter)>>, number: u16, make: impl FnOnce() -> Counter) {
    let mut known = known.borrow_mut();
    if let Some((_, counter)) = known.iter().find(|(n, _)| *n == number) {
        return counter.inc();
    }
    let counter = make();
    counter.inc();
    known.push((number, counter));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(registry: &Registry) -> Vec<String> {
        registry.snapshot().numbers.iter().map(|number| format!("{}: {}", number.name, number.value)).collect()
    }

    #[test]
    fn a_request_may_name_stats_of_its_own() {
        let registry = Arc::new(Registry::new());
        let codes = CodeStats::new(&registry, "up", Some("here"));
        let internal = Charged { is_internal: true, ..Charged::default() };
        for is_canary in [false, true] {
            codes.charge(StatusCode::OK, Charged { named: Some("alt"), is_canary, zone: Some("there"), ..internal });
        }
        let is_code = |name: &String| name.starts_with("cluster.up.alt.") && name.contains("_200");
        let named: Vec<_> = names(&registry).into_iter().filter(is_code).collect();
        let expected = [
            "canary.upstream_rq_200: 1",
            "internal.upstream_rq_200: 2",
            "upstream_rq_200: 2",
            "zone.here.there.upstream_rq_200: 2",
        ];
        assert_eq!(named, expected.map(|last| format!("cluster.up.alt.{last}")));
        for number in 0..2 * NAMES_MAX {
            codes.charge(StatusCode::OK, Charged { named: Some(&format!("name{number}")), ..internal });
        }
        let is_kept = |name: &&String| name.contains(".name") && name.contains(".internal.upstream_rq_200");
        assert_eq!(names(&registry).iter().filter(is_kept).count(), NAMES_MAX - 1);
    }

    #[test]
    fn a_response_without_its_status_is_completed_and_counts_for_the_origin() {
        let registry = Arc::new(Registry::new());
        let codes = CodeStats::new(&registry, "up", None);
        codes.charge(StatusCode::OK, Charged { is_codeless: true, ..Charged::default() });
        let expected = [
            "external.upstream_rq_200",
            "external.upstream_rq_2xx",
            "external.upstream_rq_completed",
            "upstream_rq_completed",
        ];
        assert_eq!(names(&registry), expected.map(|last| format!("cluster.up.{last}: 1")));
    }

    #[test]
    fn a_response_counts_for_the_cluster_and_the_origin_of_the_request() {
        let registry = Arc::new(Registry::new());
        let codes = CodeStats::new(&registry, "up", None);
        assert!(names(&registry).is_empty(), "names appear on first use");
        codes.charge(StatusCode::OK, Charged { zone: Some("not counted"), ..Charged::default() });
        codes.charge(StatusCode::SERVICE_UNAVAILABLE, Charged { is_internal: true, ..Charged::default() });
        codes.charge(StatusCode::OK, Charged::default());
        codes.charge_retried(StatusCode::BAD_GATEWAY);
        assert_eq!(
            names(&registry),
            [
                "cluster.up.external.upstream_rq_200: 2",
                "cluster.up.external.upstream_rq_2xx: 2",
                "cluster.up.external.upstream_rq_completed: 2",
                "cluster.up.internal.upstream_rq_503: 1",
                "cluster.up.internal.upstream_rq_5xx: 1",
                "cluster.up.internal.upstream_rq_completed: 1",
                "cluster.up.retry.upstream_rq_502: 1",
                "cluster.up.retry.upstream_rq_5xx: 1",
                "cluster.up.retry.upstream_rq_completed: 1",
                "cluster.up.upstream_rq_200: 2",
                "cluster.up.upstream_rq_2xx: 2",
                "cluster.up.upstream_rq_503: 1",
                "cluster.up.upstream_rq_5xx: 1",
                "cluster.up.upstream_rq_completed: 3",
            ]
        );
    }

    #[test]
    fn a_code_of_no_class_is_counted_by_itself() {
        let registry = Arc::new(Registry::new());
        CodeStats::new(&registry, "up", None).charge_retried(StatusCode::from_u16(799).unwrap());
        assert_eq!(
            names(&registry),
            ["cluster.up.retry.upstream_rq_799: 1", "cluster.up.retry.upstream_rq_completed: 1"]
        );
    }

    #[test]
    fn two_workers_share_the_numbers() {
        let registry = Arc::new(Registry::new());
        for _ in 0..2 {
            CodeStats::new(&registry, "up", None).charge(StatusCode::OK, Charged::default());
        }
        assert!(names(&registry).contains(&"cluster.up.upstream_rq_200: 2".to_owned()));
    }
}
