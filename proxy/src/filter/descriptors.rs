//! What requests are told apart by where limits have descriptors: pairs of keys and values, made by the policies of routes.

use std::net::IpAddr;

use http::HeaderValue;

use super::FilterContext;
use crate::access_log::StreamInfo;
use crate::access_log::format::{Heads, header_value};
use crate::codec::RequestHead;
use crate::codec::matching::header;
use crate::codec::route_matching::{condition_of_head_holds, query_parameter};
use crate::config::fraction::MILLION;
use crate::config::matching::Sense;
use crate::config::metadata::{Found, Struct, Value};
use crate::config::rate_limit::{
    Absent, Action, BucketHeaders, HitCount, HitSign, Hits, LimitOverride, MetadataSource, Moment, Policy, UNITS,
};

/// Keys and values, in their order.
pub(super) type Entries = Vec<(String, String)>;

/// What a request, or a stream that is over, is told apart by.
pub(super) struct Descriptor {
    pub(super) entries: Entries,
    /// How much it counts for; `None` is once.
    pub(super) hits: Option<(u64, HitSign)>,
    /// What a rate limit service takes for the limit: so many requests in a unit, by its number.
    pub(super) limit: Option<(u32, i32)>,
    /// Whether responses have headers about it; `None` is as the filter says.
    pub(super) headers: Option<BucketHeaders>,
}

/// The descriptors that are made at this moment.
pub(super) fn descriptors(
    policies: &[Policy],
    moment: Moment,
    heads: Heads<'_>,
    info: &StreamInfo,
    context: &FilterContext,
) -> Vec<Descriptor> {
    let is_wanted = |policy: &&Policy| {
        policy.at == moment && policy.share_key.as_deref().is_none_or(|key| context.draw_share(Some(key), MILLION))
    };
    policies.iter().filter(is_wanted).filter_map(|policy| descriptor(policy, heads, info, context)).collect()
}

fn descriptor(policy: &Policy, heads: Heads<'_>, info: &StreamInfo, context: &FilterContext) -> Option<Descriptor> {
    let request = heads.request?;
    let parts = policy.actions.iter().map(|action| part(action, request, info, context));
    // One that cannot be made ends the descriptor; one that is skipped does not.
    let made = parts.filter_map(|part| match part {
        None => Some(None),
        Some(None) => None,
        Some(made) => Some(made),
    });
    let entries = made.collect::<Option<Entries>>().filter(|entries| !entries.is_empty())?;
    let hits = match &policy.hits {
        None => None,
        Some(Hits { count: HitCount::Fixed(count), sign }) => Some((*count, *sign)),
        Some(Hits { count: HitCount::Made(format), sign }) => {
            Some((counted(&header_value(format, heads, info))?, *sign))
        }
    };
    let limit = policy.limit.as_ref().and_then(|limit| match limit {
        LimitOverride::Fixed { requests, unit } => Some((*requests, *unit)),
        LimitOverride::Metadata(path) => match info.metadata.as_ref()?.get(path)? {
            Found::Struct(members) => limit_of(members),
            Found::Value(_) => None,
        },
    });
    Some(Descriptor { entries, hits, limit, headers: policy.headers })
}

/// The whole part of a number from 0 to a thousand million.
fn counted(text: &[u8]) -> Option<u64> {
    const MAX: f64 = 1e9;
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (0.0..=MAX).contains(&number).then(|| whole(number))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the whole part of what has none is 0")]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

/// `requests_per_unit` and `unit`.
fn limit_of(members: &Struct) -> Option<(u32, i32)> {
    let (Some(Value::Number(requests)), Some(Value::Text(unit))) =
        (members.get("requests_per_unit"), members.get("unit"))
    else {
        return None;
    };
    let unit = UNITS.iter().position(|known| known == unit)?;
    Some((u32::try_from(whole(*requests)).ok()?, i32::try_from(unit).ok()?))
}

/// The text that stands there.
fn text(found: Option<Found<'_>>) -> Option<String> {
    match found? {
        Found::Value(Value::Text(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        Found::Struct(_) | Found::Value(_) => None,
    }
}

/// The text that a source has.
fn of_source(source: &MetadataSource, info: &StreamInfo) -> Option<String> {
    let upstream = info.upstream_metadata.as_ref();
    match source {
        MetadataSource::Cluster(path) => text(upstream?.all.of_cluster.get(path)),
        MetadataSource::Known(text) => text.clone().filter(|text| !text.is_empty()),
        MetadataSource::Locality(path) => text(upstream?.all.of_localities.get(upstream?.endpoint?)?.get(path)),
        // There is none but on a route, where it is known.
        MetadataSource::Route(_) => None,
        MetadataSource::Stream(path) => text(info.metadata.as_ref()?.get(path)),
    }
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
        Action::AddressMatch { key, value, default, ranges, sense } => {
            let address = address(info)?;
            if ranges.iter().any(|range| range.contains(address)) != (*sense == Sense::Direct) {
                return None;
            }
            let made = header_value(value, Heads::of_request(request), info);
            let made = if made.is_empty() { default.clone() } else { String::from_utf8_lossy(&made).into_owned() };
            if made.is_empty() { None } else { part(key, made) }
        }
        Action::DestinationCluster => part("destination_cluster", info.upstream_cluster.as_ref()?.own.to_string()),
        Action::Fixed { key, value, conditions: None } => part(key, value.clone()),
        Action::Fixed { key, value, conditions: Some((conditions, sense)) } => {
            let all = conditions.iter().all(|condition| condition_of_head_holds(condition, request));
            if all == (*sense == Sense::Direct) { part(key, value.clone()) } else { None }
        }
        Action::MaskedRemoteAddress { v4, v6 } => part("masked_remote_address", masked(address(info)?, *v4, *v6)),
        Action::Metadata { key, source, default, absent } => {
            optional(key, of_source(source, info).or_else(|| default.clone()), *absent)
        }
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
