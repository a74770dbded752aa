//! The filter `envoy.filters.http.header_to_metadata`.

use http::HeaderName;

use super::rewrite;
use crate::config::bootstrap::header_to_metadata::{
    HeaderToMetadata as Written, HeaderToMetadataRule, MetadataKeyValue, ValueEncode, ValueType,
};
use crate::config::error::Place;
use crate::config::header_to_metadata::{
    HeaderToMetadata, MetadataRule, MetadataSource, MetadataText, MetadataValue, ValueCoding, ValueKind,
};
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// Where values are left whose rule names no namespace.
const NAMESPACE: &str = "envoy.filters.http.header_to_metadata";

pub(super) fn filter(written: &Written) -> Result<HeaderToMetadata, Problem> {
    Ok(HeaderToMetadata {
        request: written.request_rules.iter().map(rule).collect::<Result<_, _>>()?,
        response: written.response_rules.iter().map(rule).collect::<Result<_, _>>()?,
    })
}

/// What a level says.
pub(super) fn of_route(written: &Written, place: &Place) -> Result<HeaderToMetadata, Problem> {
    if written.request_rules.is_empty() && written.response_rules.is_empty() {
        return Err(Problem::invalid(place, "needs request_rules or response_rules"));
    }
    filter(written)
}

fn rule(at: &At<HeaderToMetadataRule>) -> Result<MetadataRule, Problem> {
    let HeaderToMetadataRule { cookie, header, on_header_missing, on_header_present, remove } = &at.value;
    let cookie = cookie.as_ref().filter(|cookie| !cookie.is_empty());
    let source = match (cookie, header) {
        (None, None) => return Err(at.invalid("a rule needs header or cookie")),
        (Some(_), Some(_)) => return Err(at.invalid("a rule takes only one of header and cookie")),
        (Some(_), None) if *remove => return Err(at.invalid("a cookie cannot be removed; leave remove out")),
        (Some(cookie), None) => MetadataSource::Cookie(cookie.clone()),
        (None, Some(name)) => match &*name.value {
            ":authority" | "host" => MetadataSource::Authority,
            ":method" => MetadataSource::Method,
            ":path" => MetadataSource::Path,
            ":scheme" => MetadataSource::Scheme,
            ":status" => MetadataSource::Status,
            other if other.starts_with(':') => MetadataSource::Nothing,
            other => {
                let name =
                    HeaderName::from_bytes(other.as_bytes()).map_err(|_| name.invalid("is not a header name"))?;
                MetadataSource::Header { name, is_removed: *remove }
            }
        },
    };
    let is_kept = matches!(source, MetadataSource::Header { .. } | MetadataSource::Cookie(_));
    if *remove && !is_kept {
        return Err(at.invalid("only a header can be removed; leave remove out"));
    }
    if on_header_present.is_none() && on_header_missing.is_none() {
        return Err(at.invalid("a rule needs on_header_present or on_header_missing"));
    }
    if let Some(missing) = on_header_missing.as_ref().filter(|missing| missing.value.value.is_empty()) {
        return Err(missing.invalid("needs a value"));
    }
    Ok(MetadataRule {
        source,
        present: on_header_present.as_ref().map(value).transpose()?,
        missing: on_header_missing.as_ref().map(value).transpose()?,
    })
}

fn value(at: &At<MetadataKeyValue>) -> Result<MetadataValue, Problem> {
    let MetadataKeyValue { encode, key, metadata_namespace: namespace, regex_value_rewrite, kind, value } = &at.value;
    let text = match (value.is_empty(), regex_value_rewrite) {
        (true, None) => MetadataText::Found,
        (true, Some(written)) => MetadataText::Rewritten(rewrite::regex(written)?),
        (false, None) => MetadataText::Fixed(value.clone()),
        (false, Some(_)) => return Err(at.invalid("takes only one of value and regex_value_rewrite")),
    };
    Ok(MetadataValue {
        namespace: if namespace.is_empty() { NAMESPACE.to_owned() } else { namespace.clone() },
        key: key.to_string(),
        text,
        coding: match encode {
            Some(ValueEncode::Base64) => ValueCoding::Base64,
            None | Some(ValueEncode::None) => ValueCoding::None,
        },
        kind: match kind {
            None | Some(ValueType::String) => ValueKind::Text,
            Some(ValueType::Number) => ValueKind::Number,
            Some(ValueType::ProtobufValue) => ValueKind::Protobuf,
        },
    })
}
