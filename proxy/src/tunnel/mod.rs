//! The stream stops being HTTP.
//!
//! An upgrade is an ordinary exchange whose payloads have no length: the request's is withheld until the
//! upstream has accepted, and from then on [`relay`](crate::stream) moves bytes both ways as it does
//! for any other exchange. What is special about a tunnel is here: how it is requested on each kind of wire,
//! and whether it may be.

pub mod connect_udp;
pub mod handshake;

use crate::config::route::{Upgrade, Upgrades};

/// May a request of this type be upgraded? The route's entry overrides the connection manager's; the filter
/// chain is the manager's either way. `None` is a refusal.
#[must_use]
pub fn allowed<'a>(protocol: &str, manager: &'a Upgrades, route: &'a Upgrades) -> Option<&'a Upgrade> {
    let (by_manager, by_route) = (manager.find(protocol), route.find(protocol));
    let decides = by_route.or(by_manager)?;
    decides.enabled.then_some(by_manager.unwrap_or(decides))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_settings_take_precedence() {
        // manager, route, allowed: the table of Envoy's documentation.
        let cases = [
            (None, None, false),
            (None, Some(true), true),
            (None, Some(false), false),
            (Some(true), None, true),
            (Some(true), Some(true), true),
            (Some(true), Some(false), false),
            (Some(false), None, false),
            (Some(false), Some(true), true),
            (Some(false), Some(false), false),
        ];
        for (manager, route, expected) in cases {
            assert_eq!(
                allowed("WebSocket", &entry(manager), &entry(route)).is_some(),
                expected,
                "{manager:?} {route:?}"
            );
        }
        assert!(allowed("foo", &entry(Some(true)), &entry(None)).is_none());
    }

    fn entry(enabled: Option<bool>) -> Upgrades {
        let entry = |enabled| Upgrade { protocol: "websocket".into(), enabled, termination: None };
        Upgrades(enabled.map(entry).into_iter().collect())
    }
}
