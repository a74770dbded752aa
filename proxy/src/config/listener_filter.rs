//! What is read from a connection before its filter chain is chosen.

use std::time::Duration;

use super::address::ProxyVersion;
use super::proxy_header::{TlvRule, TlvSelection};

/// The listener filters of a listener, but for `tls_inspector`, of which its filter chains know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerFilters {
    /// `proxy_protocol`, the first of them.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `listener_filters_timeout`: so long may a client take to send what they read; `None` is for ever.
    pub timeout: Option<Duration>,
    /// What happens then.
    pub on_timeout: OnTimeout,
}

/// What becomes of a client that is too slow for the listener filters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnTimeout {
    /// Its connection is closed.
    #[default]
    Close,
    /// `continue_on_listener_filters_timeout`: it goes on with what is known of it.
    Continue,
}

/// `envoy.filters.listener.proxy_protocol`: connections begin with a header that says whose they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyProtocol {
    /// What becomes of a connection without one.
    pub without: WithoutHeader,
    /// `disallowed_versions`: those that end a connection.
    pub disallowed: Vec<ProxyVersion>,
    /// `stat_prefix`: a part of the names of its stats.
    pub stat_prefix: Option<String>,
    /// `rules`: which TLVs become metadata.
    pub rules: Vec<TlvRule>,
    /// `pass_through_tlvs`: which TLVs headers to upstreams may repeat.
    pub passed: TlvSelection,
}

/// What becomes of a connection that begins without a PROXY header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WithoutHeader {
    /// It is closed.
    #[default]
    Refused,
    /// `allow_requests_without_proxy_protocol`: it is served as it is.
    Allowed,
}

impl ListenerFilters {
    /// Envoy's, `listener_filters_timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(15);
}

impl Default for ListenerFilters {
    fn default() -> Self {
        Self { proxy_protocol: None, timeout: Some(Self::TIMEOUT), on_timeout: OnTimeout::Close }
    }
}

impl ProxyProtocol {
    /// May a header of this version come?
    #[must_use]
    pub fn takes(&self, version: ProxyVersion) -> bool {
        !self.disallowed.contains(&version)
    }
}
