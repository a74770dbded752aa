//! What is said of PROXY headers means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::access_log::line_format;
use crate::config::address::ProxyVersion;
use crate::config::bootstrap::listener::{ListenerFilter, ListenerFilterConfig};
use crate::config::bootstrap::proxy_protocol::{
    PassThroughTlvs, PassTlvsMatchType, ProxyProtocolConfig, ProxyProtocolVersion, Rule, TlvEntry,
    TlvLocation as WrittenLocation,
};
use crate::config::listener_filter::{ProxyProtocol, WithoutHeader};
use crate::config::problem::Problem;
use crate::config::proxy_header::{AddedTlvs, ComputedTlv, HeaderToUpstream, Tlv, TlvLocation, TlvRule, TlvSelection};
use crate::config::yaml::At;

/// Where TLVs are put that a rule names no namespace for.
const NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

/// The filter of PROXY headers. It reads what comes first, and takes it off, so it is the first.
pub(super) fn listener_filter(written: &[At<ListenerFilter>]) -> Result<Option<ProxyProtocol>, Problem> {
    let mut found = None;
    for (nth, filter) in written.iter().enumerate() {
        let ListenerFilterConfig::ProxyProtocol(options) = &filter.value.typed_config.value else { continue };
        if nth > 0 {
            return Err(filter.invalid_but(
                "a PROXY header is the first that a connection carries, so its filter is the first as well",
                "write it once, in front of the other listener_filters",
            ));
        }
        found = Some(ProxyProtocol {
            without: match options.allow_requests_without_proxy_protocol {
                Some(true) => WithoutHeader::Allowed,
                Some(false) | None => WithoutHeader::Refused,
            },
            disallowed: options.disallowed_versions.iter().copied().map(version).collect(),
            stat_prefix: options.stat_prefix.clone().filter(|prefix| !prefix.is_empty()),
            rules: options.rules.iter().filter_map(|written| rule(written).transpose()).collect::<Result<_, _>>()?,
            location: match options.tlv_location {
                Some(WrittenLocation::FilterState) => TlvLocation::FilterState,
                Some(WrittenLocation::DynamicMetadata) | None => TlvLocation::Metadata,
            },
            passed: selection(options.pass_through_tlvs.as_ref())?,
        });
    }
    Ok(found)
}

/// What connections to a cluster begin with.
pub(super) fn to_upstream(written: Option<&At<ProxyProtocolConfig>>) -> Result<HeaderToUpstream, Problem> {
    let config = written.map(|written| &written.value);
    Ok(HeaderToUpstream {
        version: config.and_then(|config| config.version).map_or(ProxyVersion::V1, version),
        added: added(config.map_or(&[], |config| &config.added_tlvs))?,
        passed: selection(config.and_then(|config| config.pass_through_tlvs.as_ref()))?,
    })
}

/// The version of the header in front of a tunnel's payload, which has the addresses of the client alone.
pub(super) fn before_tunnel(written: &At<ProxyProtocolConfig>) -> Result<ProxyVersion, Problem> {
    let ProxyProtocolConfig { added_tlvs, pass_through_tlvs, version: written_version } = &written.value;
    let tlvs = added_tlvs.first().map(|tlv| &tlv.place).or(pass_through_tlvs.as_ref().map(|tlvs| &tlvs.place));
    match tlvs {
        Some(place) => {
            Err(Problem::invalid(place, "the header of a tunnel has no TLVs, in Envoy neither; delete this"))
        }
        None => Ok(written_version.map_or(ProxyVersion::V1, version)),
    }
}

pub(super) fn version(written: ProxyProtocolVersion) -> ProxyVersion {
    match written {
        ProxyProtocolVersion::V1 => ProxyVersion::V1,
        ProxyProtocolVersion::V2 => ProxyVersion::V2,
    }
}

fn selection(written: Option<&At<PassThroughTlvs>>) -> Result<TlvSelection, Problem> {
    let Some(written) = written else { return Ok(TlvSelection::None) };
    match written.value.match_type {
        Some(PassTlvsMatchType::IncludeAll) | None => Ok(TlvSelection::All),
        Some(PassTlvsMatchType::Include) => {
            let kinds = written.value.tlv_type.iter().map(|at| kind(at.value).ok_or_else(|| at.invalid(KIND)));
            kinds.collect::<Result<_, _>>().map(TlvSelection::Kinds)
        }
    }
}

const KIND: &str = "the type of a TLV is a number from 0 to 255";

fn kind(written: u32) -> Option<u8> {
    u8::try_from(written).ok()
}

/// A rule without `on_tlv_present` says nothing.
fn rule(written: &At<Rule>) -> Result<Option<TlvRule>, Problem> {
    let Rule { on_tlv_present, tlv_type } = &written.value;
    let kind = kind(*tlv_type).ok_or_else(|| written.invalid(KIND))?;
    Ok(on_tlv_present.as_ref().map(|present| TlvRule {
        kind,
        key: present.key.to_string(),
        namespace: match &*present.metadata_namespace {
            "" => NAMESPACE.to_owned(),
            namespace => namespace.to_owned(),
        },
    }))
}

/// TLVs that are added to headers.
pub(super) fn added(written: &[At<TlvEntry>]) -> Result<AddedTlvs, Problem> {
    let mut added = AddedTlvs::default();
    for entry in written {
        let TlvEntry { format_string, kind: written_kind, value } = &entry.value;
        let kind = kind(*written_kind).ok_or_else(|| entry.invalid(KIND))?;
        match (value.as_str(), format_string) {
            ("", Some(format)) => added.computed.push(ComputedTlv { kind, format: line_format(format)? }),
            ("", None) => return Err(entry.invalid("an added TLV needs a value, in base64, or a format_string")),
            (_, Some(format)) => return Err(format.invalid("an added TLV has only one of value and format_string")),
            (value, None) => match STANDARD.decode(value) {
                Ok(value) => added.fixed.push(Tlv { kind, value: value.into() }),
                Err(error) => {
                    return Err(entry.invalid(format!("the value of a TLV is written in base64: {error}")));
                }
            },
        }
    }
    Ok(added)
}
