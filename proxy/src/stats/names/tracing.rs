//! Distributed tracing.

use super::{last_words, one_segment, scope};
use crate::stats::{Counter, Registry};

scope! {
    /// `http.<stat_prefix>.tracing.`: why requests are traced, or are not.
    TracingStats {
        /// The client wants it (`x-client-trace-id`).
        client_enabled: Counter,
        /// It was not chosen, or its id cannot say so.
        not_traceable: Counter,
        /// It was drawn.
        random_sampling: Counter,
        /// A service wants it (`x-envoy-force-trace`).
        service_forced: Counter,
    }
}

scope! {
    /// `tracing.zipkin.`: what became of spans.
    ZipkinStats {
        /// The collector did not accept a report, or there was no room for it.
        reports_dropped: Counter,
        /// A report was accepted.
        reports_sent: Counter,
        /// There was no cluster of the collector's name.
        reports_skipped_no_cluster: Counter,
        /// A span was put into a report.
        spans_sent: Counter,
        /// It was time to send spans, however few they were.
        timer_flushed: Counter,
    }
}

impl TracingStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("http.{}.tracing", one_segment(stat_prefix)))
    }
}

scope! {
    /// `tracing.opentelemetry.`: what became of spans.
    OpenTelemetryStats {
        /// There was no room for the report of a span.
        spans_dropped: Counter,
        /// A span was put into a report.
        spans_sent: Counter,
        /// It was time to send spans, however few they were.
        timer_flushed: Counter,
    }
}

/// What became of the spans for one collector.
#[derive(Clone, Debug)]
pub enum SpanStats {
    /// Of OpenTelemetry.
    OpenTelemetry(OpenTelemetryStats),
    /// Of Zipkin.
    Zipkin(ZipkinStats),
}

impl SpanStats {
    /// The scope of the process for this tracer.
    #[must_use]
    pub fn new(registry: &Registry, tracer: &str) -> Self {
        let prefix = format!("tracing.{tracer}");
        if tracer == "zipkin" {
            // A response that is lost is one that was not accepted.
            drop(Counter::named(registry, &prefix, "reports_failed"));
            return Self::Zipkin(ZipkinStats::under(registry, &prefix));
        }
        Self::OpenTelemetry(OpenTelemetryStats::under(registry, &prefix))
    }

    /// A report was accepted.
    pub(crate) fn sent(&self) {
        if let Self::Zipkin(stats) = self {
            stats.reports_sent.inc();
        }
    }

    /// A report was not accepted.
    pub(crate) fn dropped(&self) {
        if let Self::Zipkin(stats) = self {
            stats.reports_dropped.inc();
        }
    }

    /// There was no room for a report of so many spans.
    pub(crate) fn overflowed(&self, spans: u64) {
        match self {
            Self::OpenTelemetry(stats) => stats.spans_dropped.add(spans),
            Self::Zipkin(stats) => stats.reports_dropped.inc(),
        }
    }

    /// There was no cluster of the collector's name.
    pub(crate) fn skipped(&self) {
        if let Self::Zipkin(stats) = self {
            stats.reports_skipped_no_cluster.inc();
        }
    }

    /// So many were put into a report.
    pub(crate) fn spans_sent(&self, spans: u64) {
        match self {
            Self::OpenTelemetry(stats) => stats.spans_sent.add(spans),
            Self::Zipkin(stats) => stats.spans_sent.add(spans),
        }
    }

    /// It was time to send spans, however few they were.
    pub(crate) fn timer_flushed(&self) {
        match self {
            Self::OpenTelemetry(stats) => stats.timer_flushed.inc(),
            Self::Zipkin(stats) => stats.timer_flushed.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_without_room_are_counted() {
        let registry = Registry::new();
        ["opentelemetry", "zipkin"].into_iter().for_each(|tracer| SpanStats::new(&registry, tracer).overflowed(5));
        let moved = registry.snapshot().numbers.into_iter().filter(|number| number.value > 0);
        let moved: Vec<_> = moved.map(|number| (number.name, number.value)).collect();
        let expected = [("tracing.opentelemetry.spans_dropped", 5), ("tracing.zipkin.reports_dropped", 1)];
        assert_eq!(moved, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
