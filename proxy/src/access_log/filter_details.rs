//! How responses of filters came about: a part of `%RESPONSE_CODE_DETAILS%`.

use crate::texts::{Pieces, Text, text_enum};

text_enum! {
    /// What the filter `health_check` has responded.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum HealthCheck {
    /// A health check got the status that the upstream had for the last.
    Cached = "health_check_cached",
    /// A health check fails, as an operator wants.
    Failed = "health_check_failed",
    /// A health check fails because a cluster has no endpoints.
    ClusterEmpty = "health_check_failed_cluster_empty",
    /// A health check fails because too few endpoints of a cluster are healthy.
    ClusterUnhealthy = "health_check_failed_cluster_unhealthy",
    /// A health check fails because there is no such cluster.
    NoCluster = "health_check_failed_no_cluster_found",
    /// A health check succeeds.
    Ok = "health_check_ok",
    /// A health check succeeds, which is that enough endpoints of clusters are healthy.
    ClusterHealthy = "health_check_ok_cluster_healthy",
    }
}

/// The policy that denied a request, with `_` for blanks; `none` is that no policy has allowed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeniedBy(Box<str>);

impl DeniedBy {
    /// The policy of this name.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self(policy.replace(char::is_whitespace, "_").into())
    }
}

const ACCESS_DENIED: &str = "rbac_access_denied_matched_policy[";

impl Text for DeniedBy {
    fn pieces(&self) -> Pieces<'_> {
        [ACCESS_DENIED, &self.0, "]", ""]
    }

    fn read(text: &str) -> Option<Self> {
        let policy = text.strip_prefix(ACCESS_DENIED)?.strip_suffix(']')?;
        Some(Self(policy.into()))
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        vec![Self::new("a policy")]
    }
}

/// Why a host has no address, with `_` for blanks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unresolved(Box<str>);

impl Unresolved {
    /// From the resolver's words.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self(reason.replace(char::is_whitespace, "_").into())
    }
}

const RESOLUTION_FAILED: &str = "dns_resolution_failure{";

impl Text for Unresolved {
    fn pieces(&self) -> Pieces<'_> {
        [RESOLUTION_FAILED, &self.0, "}", ""]
    }

    fn read(text: &str) -> Option<Self> {
        let reason = text.strip_prefix(RESOLUTION_FAILED)?.strip_suffix('}')?;
        Some(Self(reason.into()))
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        vec![Self::new("Name or service not known")]
    }
}

/// `filter_removed_required_request_headers{invalid_header_name:_x_y}`: what about a request cannot be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsendable(String);

const UNSENDABLE: &str = "filter_removed_required_request_headers{";

impl From<String> for Unsendable {
    fn from(what: String) -> Self {
        Self(what.replace(' ', "_"))
    }
}

impl Text for Unsendable {
    fn pieces(&self) -> Pieces<'_> {
        [UNSENDABLE, &self.0, "}", ""]
    }

    fn read(text: &str) -> Option<Self> {
        Some(Self(text.strip_prefix(UNSENDABLE)?.strip_suffix('}')?.to_owned()))
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        vec![Self("invalid_header_name:_x_y".to_owned())]
    }
}
