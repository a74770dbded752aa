//! What requests are told apart by where limits have descriptors: pairs of keys and values, made by the policies of routes.

use std::net::IpAddr;

use http::HeaderValue;

use super::FilterContext;
use crate::access_log::StreamInfo;
use crate::codec::RequestHead;
use crate::codec::matching::header;
use crate::codec::route_matching::{condition_of_head_holds, query_parameter};
use crate::config::matching::Sense;
use crate::config::rate_limit::{Absent, Action, Policy};

/// Keys and values, in their order.
pub(super) type Entries = Vec<(String, String)>;

/// The descriptors of a request.
pub(super) fn descriptors(
    policies: &[Policy],
    request: &RequestHead,
    info: &StreamInfo,
    context: &FilterContext,
) -> Vec<Entries> {
    let of = |policy: &Policy| {
        let parts = policy.actions.iter().map(|action| part(action, request, info, context));
        // One that cannot be made ends the descriptor; one that is skipped does not.
        let made = parts.filter_map(|part| match part {
            None => Some(None),
            Some(None) => None,
            Some(made) => Some(made),
        });
        made.collect::<Option<Entries>>()
    };
    policies.iter().filter_map(of).filter(|entries| !entries.is_empty()).collect()
}

/// A part of a descriptor: `Some(None)` is skipped, `None` is one that there is not.
fn part(
    action: &Action,
    request: &RequestHead,
    info: &StreamInfo,
    context: &FilterContext,
) -> Option<Option<(String, String)>> {
    let part = |key: &str, value: String| Some(Some((key.to_owned(), value)));
    let optional = |key: &str, value: Option<String>, absent: Absent| match (value, absent) {
        (Some(value), _) => Some(Some((key.to_owned(), value))),
        (None, Absent::Ends) => None,
        (None, Absent::Skipped) => Some(None),
    };
    match action {
        Action::DestinationCluster => part("destination_cluster", info.upstream_cluster.as_deref()?.to_owned()),
        Action::Fixed { key, value, conditions: None } => part(key, value.clone()),
        Action::Fixed { key, value, conditions: Some((conditions, sense)) } => {
            let all = conditions.iter().all(|condition| condition_of_head_holds(condition, request));
            if all == (*sense == Sense::Direct) { part(key, value.clone()) } else { None }
        }
        Action::MaskedRemoteAddress { v4, v6 } => part("masked_remote_address", masked(address(info)?, *v4, *v6)),
        Action::Query { name, key, absent } => {
            let value = query_parameter(request, name).map(|value| String::from_utf8_lossy(value).into_owned());
            optional(key, value, *absent)
        }
        Action::RemoteAddress => part("remote_address", address(info)?.to_string()),
        Action::RequestHeader { name, key, absent } => {
            let value = header(request, name).map(|value| String::from_utf8_lossy(value).into_owned());
            optional(key, value, *absent)
        }
        Action::SourceCluster => {
            part("source_cluster", HeaderValue::to_str(&context.health.own_cluster).unwrap_or_default().to_owned())
        }
    }
}

/// The client's.
fn address(info: &StreamInfo) -> Option<IpAddr> {
    info.client.as_ref().unwrap_or(&info.downstream.peer).ip()
}

/// The range that the address is in.
fn masked(address: IpAddr, v4: u32, v6: u32) -> String {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - v4).unwrap_or(0);
            format!("{}/{v4}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - v6).unwrap_or(0);
            format!("{}/{v6}", std::net::Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_behind_a_mask_are_0() {
        for (address, v4, v6, expected) in [
            ("10.1.2.3", 32, 128, "10.1.2.3/32"),
            ("10.1.2.3", 24, 128, "10.1.2.0/24"),
            ("10.1.2.3", 0, 128, "0.0.0.0/0"),
            ("2001:db8::1", 32, 64, "2001:db8::/64"),
            ("2001:db8::1", 32, 0, "::/0"),
        ] {
            assert_eq!(masked(address.parse().unwrap(), v4, v6), expected);
        }
    }
}
