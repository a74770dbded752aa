//! What becomes different when a feature of Envoy's is left out, by the feature.

use std::fmt;

use finwait::config::Name;

/// What becomes different without a feature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It may change which connections there are and what crosses them, in this way.
    May(&'static str),
    /// Connections and requests are the same without it.
    Nothing,
}

impl Effect {
    pub(super) const UNKNOWN: Self = Self::May("what it does is not known here");

    /// Whether a request may fare otherwise with it.
    pub(crate) fn may_decide(self) -> bool {
        matches!(self, Self::May(_))
    }

    /// The same of a whole of which it was the only content.
    pub(super) fn of_whole(self) -> Self {
        match self {
            Self::May(_) => self,
            Self::Nothing => Self::UNKNOWN,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::May(how) => write!(f, "may change what happens: {how}"),
            Self::Nothing => f.write_str("cannot change what happens to connections"),
        }
    }
}

const ANSWERS: &str = "it can respond by itself, so that a request never reaches the app";
const CODE: &str = "its program can respond by itself, change requests and responses, and take time";
const AUTHORISES: &str = "it can refuse a request, with 401 or 403";
const LIMITS: &str = "it can refuse a request, with 429 or 503";
const BODIES: &str = "it changes bodies, with their lengths and encodings";
const CHOOSES: &str = "it chooses the endpoint; here the cluster has only those that its file and the scenario give it";
const BALANCES: &str = "another endpoint may be chosen; with one endpoint it changes nothing";
const CHECKS: &str = "endpoints are not checked, and count as healthy";
const DELAYS: &str = "it delays or ends requests";
const FORMAT: &str = "what the listener or the cluster speaks is not there";
const HEADERS: &str = "it changes headers or the route";

/// Kinds of extensions that only report, or choose what is reported.
const REPORTS: [&str; 5] = ["access log filter", "access logger", "formatter", "stats sink", "tracer"];

/// Extensions by name, and fields by the last key of their path.
#[rustfmt::skip]
const NAMED: &[(&str, Effect)] = &[
    ("envoy.filters.http.adaptive_concurrency", Effect::May(LIMITS)),
    ("envoy.filters.http.admission_control", Effect::May(LIMITS)),
    ("envoy.filters.http.api_key_auth", Effect::May(AUTHORISES)),
    ("envoy.filters.http.bandwidth_limit", Effect::May(DELAYS)),
    ("envoy.filters.http.cache", Effect::May(ANSWERS)),
    ("envoy.filters.http.connect_grpc_bridge", Effect::May(BODIES)),
    ("envoy.filters.http.dynamic_modules", Effect::May(CODE)),
    ("envoy.filters.http.ext_proc", Effect::May(CODE)),
    ("envoy.filters.http.geoip", Effect::May(HEADERS)),
    ("envoy.filters.http.golang", Effect::May(CODE)),
    ("envoy.filters.http.grpc_http1_bridge", Effect::May(BODIES)),
    ("envoy.filters.http.grpc_http1_reverse_bridge", Effect::May(BODIES)),
    ("envoy.filters.http.grpc_json_transcoder", Effect::May(BODIES)),
    ("envoy.filters.http.json_to_metadata", Effect::May(HEADERS)),
    ("envoy.filters.http.oauth2", Effect::May(AUTHORISES)),
    ("envoy.filters.http.on_demand", Effect::Nothing),
    ("envoy.filters.http.tap", Effect::Nothing),
    ("envoy.filters.http.wasm", Effect::May(CODE)),
    ("envoy.filters.network.ext_authz", Effect::May("it can close a connection")),
    ("envoy.filters.network.ratelimit", Effect::May("it can close a connection")),
    ("crl", Effect::May("certificates that were withdrawn are accepted")),
    ("eds_cluster_config", Effect::May(CHOOSES)),
    ("rtds_layer", Effect::May("a runtime server could set its values while it runs")),
    ("sds_config", Effect::Nothing),
    ("tracing", Effect::Nothing),
];

/// What becomes different without `name`, which is left out at `path`.
pub(super) fn of(name: &Name, path: &str) -> Effect {
    let last = super::last_key(path);
    let known = |name: &str| NAMED.iter().find(|(has, _)| *has == name).map(|(_, effect)| *effect);
    match name {
        Name::Extension { kind, name } => known(name).unwrap_or(match *kind {
            kind if REPORTS.contains(&kind) => Effect::Nothing,
            "cluster type" => Effect::May(CHOOSES),
            "health checker" => Effect::May(CHECKS),
            "load balancing policy" => Effect::May(BALANCES),
            "network filter" | "transport socket" | "UDP filter" => Effect::May(FORMAT),
            "resource monitor" => Effect::May("an overloaded proxy would refuse requests"),
            _ => Effect::UNKNOWN,
        }),
        Name::Value(_) if last == "lb_policy" => Effect::May(BALANCES),
        Name::Value(_) if last == "type" => Effect::May(CHOOSES),
        Name::Field | Name::Type(_) | Name::Value(_) => match known(&last) {
            Some(effect) => effect,
            None if path.contains(".tracing") || path.contains(".access_log") => Effect::Nothing,
            None if path.starts_with("stats_") => Effect::Nothing,
            None => Effect::UNKNOWN,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_change_nothing_and_what_decides_may() {
        let effect = |kind, name| of(&Name::Extension { kind, name }, "a.b");
        assert_eq!(effect("tracer", "envoy.tracers.skywalking"), Effect::Nothing);
        assert_eq!(effect("HTTP filter", "envoy.filters.http.wasm"), Effect::May(CODE));
        assert_eq!(effect("HTTP filter", "envoy.filters.http.of_tomorrow"), Effect::UNKNOWN);
        assert_eq!(of(&Name::Field, "static_resources.listeners[0].sds_config"), Effect::Nothing);
    }

    #[test]
    fn each_name_has_one_effect() {
        for (nth, (name, _)) in NAMED.iter().enumerate() {
            assert_eq!(NAMED.iter().position(|(has, _)| has == name), Some(nth), "{name}");
        }
    }
}
