//! What CORS policies mean, and how those of several levels become one.

use std::sync::Arc;

use super::fraction;
use super::pattern::string_match;
use crate::config::bootstrap::RuntimeFractionalPercent;
use crate::config::bootstrap::filter::CorsPolicy;
use crate::config::constraints::HeaderText;
use crate::config::cors::{Allowed, Cors, Origins, UnmatchedPreflights};
use crate::config::fraction::{Fraction, MILLION};
use crate::config::problem::Problem;
use crate::config::string_match::StringMatch;
use crate::config::yaml::Notes;

/// The policy of one level. What is `None` or empty is left to the level above.
pub(super) struct Policy {
    origins: Vec<StringMatch>,
    methods: Option<Allowed>,
    headers: Option<Allowed>,
    exposed: Option<http::HeaderValue>,
    max_age: Option<http::HeaderValue>,
    credentials: Option<bool>,
    private_network: Option<bool>,
    forwards_unmatched: Option<bool>,
    enforced: Fraction,
    counted: Fraction,
}

impl Policy {
    pub(super) fn new(written: &CorsPolicy, notes: &Notes) -> Result<Self, Problem> {
        let text = |text: &Option<HeaderText>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
        let allowed = |written: &Option<HeaderText>| {
            text(written).map(|text| if text == "*" { Allowed::Any } else { Allowed::List(text) })
        };
        let fraction = |written: &Option<RuntimeFractionalPercent>, otherwise: u32| match written {
            Some(written) => fraction::fraction(written, notes),
            None => Fraction { millionths: otherwise, key: None },
        };
        Ok(Self {
            origins: written.allow_origin_string_match.iter().map(string_match).collect::<Result<_, _>>()?,
            methods: allowed(&written.allow_methods),
            headers: allowed(&written.allow_headers),
            exposed: text(&written.expose_headers),
            max_age: text(&written.max_age),
            credentials: written.allow_credentials,
            private_network: written.allow_private_network_access,
            forwards_unmatched: written.forward_not_matching_preflights,
            enforced: fraction(&written.filter_enabled, MILLION),
            counted: fraction(&written.shadow_enabled, 0),
        })
    }
}

/// The policies of a route and of the levels above it, the most specific first, as one. That one decides alone whether the
/// policy is in force; of everything else the first level that says something of it. `None` if no level has a policy.
pub(super) fn merged(levels: &[Arc<Policy>]) -> Option<Cors> {
    let most_specific = levels.first()?;
    let origins = levels.iter().map(|level| &level.origins).find(|origins| !origins.is_empty()).cloned();
    let origins = origins.unwrap_or_default();
    // As in Envoy, an origin is allowed by whatever would take the text `*`.
    let any = origins.iter().any(|wanted| wanted.takes(b"*"));
    let flag = |of: fn(&Policy) -> Option<bool>| levels.iter().find_map(|level| of(level));
    Some(Cors {
        origins: if any { Origins::Any } else { Origins::Matching(origins) },
        methods: levels.iter().find_map(|level| level.methods.clone()),
        headers: levels.iter().find_map(|level| level.headers.clone()),
        exposed: levels.iter().find_map(|level| level.exposed.clone()),
        max_age: levels.iter().find_map(|level| level.max_age.clone()),
        credentials: flag(|level| level.credentials).unwrap_or(false),
        private_network: flag(|level| level.private_network).unwrap_or(false),
        unmatched_preflights: match flag(|level| level.forwards_unmatched) {
            None | Some(true) => UnmatchedPreflights::Forwarded,
            Some(false) => UnmatchedPreflights::Refused,
        },
        enforced: most_specific.enforced.clone(),
        counted: most_specific.counted.clone(),
    })
}
