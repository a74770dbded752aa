//! The filter `ext_authz`.

use super::{authorisation, last_words, one_segment, scope};
use crate::stats::{Counter, Registry};

scope! {
    /// `http.<stat_prefix>.ext_authz.`: the filter `envoy.filters.http.ext_authz`, where it is in a chain.
    AuthorisationStats {
        /// The service has denied a request.
        denied: Counter,
        /// The filter is off for a request.
        disabled: Counter,
        /// The service has not decided.
        error: Counter,
        /// A request goes on though the service has not decided.
        failure_mode_allowed: Counter,
        /// What the service wants changed cannot be in a message.
        invalid: Counter,
        /// The service has left metadata that is not wanted.
        ignored_dynamic_metadata: Counter,
        /// The service has allowed a request.
        ok: Counter,
        /// The service has denied a request that goes on all the same.
        shadow_denied: Counter,
        /// The service has not decided about a request that goes on all the same.
        shadow_error: Counter,
    }
}

/// What may become of a request that has to be authorised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthorisationEvent {
    /// The service has denied it.
    Denied,
    /// The filter is off for it.
    Disabled,
    /// The service has not decided.
    Error,
    /// It goes on all the same.
    FailureModeAllowed,
    /// What the service leaves as metadata is not wanted.
    IgnoredMetadata,
    /// What the service wants changed cannot be in a message.
    Invalid,
    /// The service has allowed it.
    Ok,
    /// The service has denied it, and it goes on.
    ShadowDenied,
    /// The service has not decided, and it goes on as it would have.
    ShadowError,
}

impl AuthorisationStats {
    /// The scope of a connection manager; `own` is the filter's prefix.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str, own: &str) -> Self {
        let prefix = format!("http.{}.{}", one_segment(stat_prefix), authorisation(own));
        // What these count is not there; dashboards expect the names.
        for last in [
            "filter_state_name_collision",
            "omitted_response_headers",
            "request_header_limits_reached",
            "response_header_limits_reached",
        ] {
            drop(Counter::named(registry, &prefix, last));
        }
        Self::under(registry, &prefix)
    }

    /// Counts an event.
    pub fn count(&self, event: AuthorisationEvent) {
        match event {
            AuthorisationEvent::Denied => self.denied.inc(),
            AuthorisationEvent::Disabled => self.disabled.inc(),
            AuthorisationEvent::Error => self.error.inc(),
            AuthorisationEvent::FailureModeAllowed => self.failure_mode_allowed.inc(),
            AuthorisationEvent::Invalid => self.invalid.inc(),
            AuthorisationEvent::IgnoredMetadata => self.ignored_dynamic_metadata.inc(),
            AuthorisationEvent::Ok => self.ok.inc(),
            AuthorisationEvent::ShadowDenied => self.shadow_denied.inc(),
            AuthorisationEvent::ShadowError => self.shadow_error.inc(),
        }
    }
}
