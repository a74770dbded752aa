//! Everything that is counted, in Envoy's spelling: one table for each scope.
//!
//! A table is a struct whose fields are the handles; a field is called what the stat is called, the comment
//! on it says when it moves. Building a scope looks every name up once, so it is done once per worker and
//! scope, not per connection.
//!
//! Each stat has a line in `sim/tests/stats/moved_by.txt` that names what moves it: one that nothing moves would show a 0 that
//! looks like a measurement.

mod authorisations;
mod bytes;
mod cluster;
mod codecs;
mod compression;
mod dns_cache;
mod downstream;
mod fault;
mod gates;
mod http1;
mod http2;
mod log;
mod managers;
mod part;
mod secret;
mod server;
mod tcp;
mod tls;
mod tracing;
mod tracked;

use super::{Counter, Gauge, Histogram, Registry, State};

pub use authorisations::{AuthorisationEvent, AuthorisationStats};
pub use bytes::ByteStats;
pub(crate) use bytes::Meter;
pub use cluster::{AssignmentStats, BreakerStats, ClusterStats, FlowStats, TableStats};
pub use codecs::CodecStats;
pub use compression::{CompressorStats, DecompressorStats, RecodedBytes, RecodingStats};
pub use dns_cache::DnsCacheStats;
pub use downstream::{
    BasicAuthStats, CorsStats, CsrfStats, HealthCheckStats, HttpStats, ListenerStats, LuaStats, RateLimitStats,
    ResponseStats, SetMetadataStats, TokenStats,
};
pub use fault::{FaultStats, Origin, OriginFaults};
pub(super) use gates::of_requests;
pub use gates::{ConnectionLimitStats, ConnectionRateStats, RbacStats, RuleKind};
pub use http1::Http1Stats;
pub use http2::Http2Stats;
pub use log::{EntryStats, LogStats};
pub use managers::{ClusterManagerStats, ListenerManagerStats, ManagerStats, RuntimeStats};
pub use part::PartCounters;
pub use secret::SecretStats;
pub use server::{ServerState, ServerStats};
pub use tcp::TcpStats;
pub use tls::{
    Handshake, HandshakeFailure, HandshakeStats, HttpInspectorStats, ProxyProtocolStats, TlsInspectorStats, TlsStats,
};
pub use tracing::{OpenTelemetryStats, SpanStats, TracingStats, ZipkinStats};
pub use tracked::{BudgetStats, SizeStats, TrackedStats};

/// Makes a table of `name: kind` into a struct of handles with a constructor. Where the stat's name holds a
/// dot, it stands behind the kind.
macro_rules! scope {
    ($(#[$about:meta])* $scope:ident { $($(#[$when:meta])* $name:ident: $kind:ident $(= $dotted:literal)?,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        pub struct $scope {
            $($(#[$when])* pub(crate) $name: $kind,)*
        }

        impl $scope {
            fn under(registry: &Registry, prefix: &str) -> Self {
                Self { $($name: $kind::named(registry, prefix, last_words!($name $($dotted)?)),)* }
            }
        }
    };
}

macro_rules! last_words {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $dotted:literal) => {
        $dotted
    };
}

use {last_words, scope};

/// `cluster.<name>`
pub(super) fn cluster_prefix(cluster: &str) -> String {
    format!("cluster.{}", one_segment(cluster))
}

/// `ext_authz`, and the prefix of a filter of this name.
pub(super) fn authorisation(own: &str) -> String {
    if own.is_empty() { "ext_authz".to_owned() } else { format!("ext_authz.{}", one_segment(own)) }
}

/// A name from the configuration as part of a stat's name. `:` separates name and value in the text form.
pub(super) fn one_segment(name: &str) -> String {
    name.replace(':', "_")
}

impl Counter {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.counter(&format!("{prefix}.{last}"))
    }
}

impl Gauge {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.gauge(&format!("{prefix}.{last}"))
    }
}

impl State {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.state(&format!("{prefix}.{last}"))
    }
}

impl Histogram {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.histogram(&format!("{prefix}.{last}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::StatusCode;

    use super::*;
    use crate::config::cluster::Priority;
    use crate::stats::Derived;

    fn value(registry: &Registry, name: &str) -> Option<u64> {
        registry.snapshot().numbers.iter().find(|number| number.name == name).map(|number| number.value)
    }

    #[test]
    fn a_scope_puts_its_prefix_before_every_name() {
        let registry = Registry::new();
        let stats = ClusterStats::new(&registry, "a:b.c");
        stats.upstream_cx_total.inc();
        let limit = Arc::new(());
        BreakerStats::new(&registry, "a:b.c", Priority::Default)
            .derive("cx_open", &limit, |()| Derived { value: 1, used: true });
        Http2Stats::upstream(&registry, "a:b.c").rx_reset.inc();
        ResponseStats::of_listener(&registry, "[::1]:80", "in").charge(StatusCode::OK);
        for name in [
            "cluster.a_b.c.upstream_cx_total",
            "cluster.a_b.c.circuit_breakers.default.cx_open",
            "cluster.a_b.c.http2.rx_reset",
            "listener.[__1]_80.http.in.downstream_rq_2xx",
        ] {
            assert_eq!(value(&registry, name), Some(1), "{name}");
        }
        assert_eq!(value(&registry, "cluster.a_b.c.upstream_rq_total"), Some(0), "names exist before they move");
    }

    #[test]
    fn a_response_is_charged_to_its_class() {
        let cases = [(101, "1xx"), (204, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx")];
        for (status, class) in cases {
            let registry = Registry::new();
            HttpStats::new(&registry, "p").responses.charge(StatusCode::from_u16(status).unwrap());
            assert_eq!(value(&registry, &format!("http.p.downstream_rq_{class}")), Some(1), "{status}");
            assert_eq!(value(&registry, "http.p.downstream_rq_completed"), Some(1), "{status}");
        }
    }
}
