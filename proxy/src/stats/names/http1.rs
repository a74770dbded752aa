//! HTTP/1 connections of clients.

use super::{last_words, scope};
use crate::stats::{Counter, Registry};

scope! {
    /// `http1.` for all clients together.
    Http1Stats {
        /// A field was left out of a request because its name has an underscore.
        dropped_headers_with_underscores: Counter,
        /// A request was refused because a name in it has an underscore.
        requests_rejected_with_underscores_in_headers: Counter,
    }
}

impl Http1Stats {
    /// The scope of all clients with HTTP/1.
    #[must_use]
    pub fn downstream(registry: &Registry) -> Self {
        Self::under(registry, "http1")
    }
}
