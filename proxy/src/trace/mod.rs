//! The trace that a request belongs to: the ids of its span, and the span itself once it is over.

pub mod b3;
pub mod otlp;
mod reason;
pub mod span;
pub mod w3c;
pub mod zipkin;

use std::fmt::Write;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

pub use reason::Reason;

use crate::codec::RequestHead;
use crate::config::tracing::RouteTracing;

/// What is known of the trace of one request.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The ids of the request's span; `None` if those that came are malformed: then nothing is traced, and what came passes on.
    pub context: Option<Context>,
    /// Why it is traced, or that it is not.
    pub reason: Reason,
    /// How the upstream is told.
    pub propagation: Propagation,
    /// What the span is called.
    pub name: Vec<u8>,
    /// What the client is told of that.
    pub decoration: Option<HeaderValue>,
    /// What its route says.
    pub route: Option<Arc<RouteTracing>>,
    /// When the span began.
    pub began: Instant,
}

/// How an upstream is told of the span that its request belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Propagation {
    /// In headers of B3.
    B3(b3::Form),
    /// In those of the W3C.
    W3c {
        /// `tracestate`
        state: HeaderValue,
    },
}

/// The ids of a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Context {
    /// The upper half of the trace's id, if that has 128 bits.
    pub trace_high: Option<u64>,
    /// Its lower half.
    pub trace: u64,
    /// The span's own.
    pub id: u64,
    /// That of the span within which it is.
    pub parent: Option<u64>,
    /// The span is reported.
    pub is_sampled: bool,
}

impl Trace {
    /// Tells the upstream.
    pub fn inject(&self, head: &mut RequestHead) {
        if let Some(context) = &self.context {
            match &self.propagation {
                Propagation::B3(form) => b3::inject(*form, context, &mut head.headers),
                Propagation::W3c { state } => w3c::inject(context, state, &mut head.headers),
            }
        }
    }
}

impl Context {
    /// `%SPAN_ID%`, which Envoy has for OpenTelemetry alone.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.id)
    }

    /// `%TRACE_ID%`
    #[must_use]
    pub fn trace_id(&self) -> String {
        let mut text = String::new();
        if let Some(high) = self.trace_high {
            write!(text, "{high:016x}").expect("writing to a String does not fail");
        }
        write!(text, "{:016x}", self.trace).expect("writing to a String does not fail");
        text
    }
}

#[cfg(test)]
mod testing {
    use http::HeaderName;

    use crate::codec::Headers;

    pub(super) fn headers(lines: &[(&HeaderName, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.append((*name).clone(), value.parse().unwrap());
        }
        headers
    }
}
