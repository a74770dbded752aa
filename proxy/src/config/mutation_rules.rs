//! `HeaderMutationRules`, typed: which headers a service may change.

use regex::Regex;

/// Which headers of a request a service may change.
#[derive(Clone, Debug)]
pub struct MutationRules {
    /// `disallow_expression`, for whole names: not these, whatever else is said.
    pub denied: Option<Regex>,
    /// `allow_expression`, for whole names: these, whatever is said below.
    pub allowed: Option<Regex>,
    /// `disallow_all`: no other.
    pub denies_others: bool,
    /// `disallow_system`: none whose name begins with a colon.
    pub denies_system: bool,
    /// `allow_all_routing`: `host` and what of the request line chooses a route.
    pub allows_routing: bool,
    /// `allow_envoy`: those that begin with `x-envoy-`.
    pub allows_envoy: bool,
    /// `disallow_is_error`: a change that is not permitted makes the response of the service invalid; otherwise it is left out.
    pub is_error: bool,
}

/// Chooses a route.
const ROUTING: [&str; 4] = [":authority", ":method", ":scheme", "host"];

impl MutationRules {
    /// May the service change this header?
    #[must_use]
    pub fn permit(&self, name: &str) -> bool {
        let takes = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(name));
        if takes(&self.denied) {
            return false;
        }
        takes(&self.allowed)
            || !(self.denies_others
                || (self.denies_system && name.starts_with(':'))
                || (!self.allows_routing && ROUTING.contains(&name))
                || (!self.allows_envoy && name.starts_with("x-envoy-")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: MutationRules = MutationRules {
        denied: None,
        allowed: None,
        denies_others: false,
        denies_system: false,
        allows_routing: false,
        allows_envoy: false,
        is_error: false,
    };

    #[test]
    fn the_first_rule_that_is_about_a_header_decides() {
        let regex = |text: &str| Some(Regex::new(&format!(r"\A(?:{text})\z")).unwrap());
        for (rules, permitted, denied) in [
            (NONE, ["x-a", ":path"], ["host", "x-envoy-a"]),
            (MutationRules { allows_routing: true, ..NONE }, ["host", ":method"], ["x-envoy-a", "x-envoy-"]),
            (MutationRules { allows_envoy: true, ..NONE }, ["x-envoy-a", "x-a"], ["host", ":scheme"]),
            (MutationRules { denies_system: true, ..NONE }, ["x-a", "x-b"], [":path", "host"]),
            (
                MutationRules { denies_others: true, allowed: regex("x-a|host"), ..NONE },
                ["x-a", "host"],
                ["x-b", "x-ab"],
            ),
            (
                MutationRules { denied: regex("x-a"), allowed: regex("x-.*"), ..NONE },
                ["x-envoy-a", "x-b"],
                ["x-a", "host"],
            ),
        ] {
            permitted.into_iter().for_each(|name| assert!(rules.permit(name), "{rules:?} {name}"));
            denied.into_iter().for_each(|name| assert!(!rules.permit(name), "{rules:?} {name}"));
        }
    }
}
