//! `envoy.filters.http.header_to_metadata`: headers and cookies are left as metadata, for logs, headers, routes and filters behind it.
//!
//! The rules of a message are applied in order; what they leave under one namespace is laid over what is there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use http::header::COOKIE;

use super::fields;
use crate::access_log::StreamInfo;
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::header_to_metadata::{
    HeaderToMetadata, MetadataRule, MetadataSource, MetadataText, MetadataValue, ValueCoding, ValueKind,
};
use crate::config::metadata::{Metadata, Struct, Value, merge};
use crate::protobuf;

/// The largest value that is left. Bytes.
const VALUE_BYTES_MAX: usize = 8 * 1024 - 1;

/// Padding is optional, as in Envoy.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn on_request(rules: &HeaderToMetadata, request: &mut RequestHead, info: &mut StreamInfo) {
    apply(&rules.request, info, |source| {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        match source {
            MetadataSource::Cookie(name) => cookie(&request.headers, name),
            MetadataSource::Header { name, is_removed } => {
                let value = joined(&request.headers, name);
                if *is_removed {
                    request.headers.remove(name);
                }
                value
            }
            MetadataSource::Authority => request.authority.as_ref().map(text),
            MetadataSource::Method => Some(request.method.to_string()),
            MetadataSource::Path => request.path.as_ref().map(text),
            MetadataSource::Scheme => fields::scheme(request).map(text),
            MetadataSource::Nothing | MetadataSource::Status => None,
        }
    });
}

pub(super) fn on_response(rules: &HeaderToMetadata, response: &mut ResponseHead, info: &mut StreamInfo) {
    apply(&rules.response, info, |source| match source {
        MetadataSource::Cookie(name) => cookie(&response.headers, name),
        MetadataSource::Header { name, is_removed } => {
            let value = joined(&response.headers, name);
            if *is_removed {
                response.headers.remove(name);
            }
            value
        }
        MetadataSource::Status => Some(response.status.as_str().to_owned()),
        MetadataSource::Authority
        | MetadataSource::Method
        | MetadataSource::Nothing
        | MetadataSource::Path
        | MetadataSource::Scheme => None,
    });
}

fn apply(rules: &[MetadataRule], info: &mut StreamInfo, mut find: impl FnMut(&MetadataSource) -> Option<String>) {
    let mut found: BTreeMap<&str, Struct> = BTreeMap::new();
    for rule in rules {
        let text = find(&rule.source);
        let wanted = if text.is_some() { &rule.present } else { &rule.missing };
        if let Some(wanted) = wanted
            && let Some(value) = value(wanted, &text.unwrap_or_default())
        {
            found.entry(&wanted.namespace).or_default().insert(wanted.key.clone(), value);
        }
    }
    for (namespace, values) in found {
        let Metadata(all) = &mut **info.metadata.get_or_insert_default();
        merge(all.entry(namespace.to_owned()).or_default(), &values);
    }
}

/// What is left for a text that was found; `None` if that is nothing, or not what it should be.
fn value(wanted: &MetadataValue, found: &str) -> Option<Value> {
    let text = match &wanted.text {
        MetadataText::Found => Cow::Borrowed(found),
        MetadataText::Rewritten(rewrite) => rewrite.replace_all(found),
        MetadataText::Fixed(text) => Cow::Borrowed(text.as_str()),
    };
    if text.is_empty() || text.len() > VALUE_BYTES_MAX {
        return None;
    }
    let bytes = match wanted.coding {
        ValueCoding::None => Cow::Borrowed(text.as_bytes()),
        ValueCoding::Base64 => Cow::Owned(BASE64.decode(&*text).ok().filter(|bytes| !bytes.is_empty())?),
    };
    match wanted.kind {
        ValueKind::Text => Some(Value::Text(String::from_utf8_lossy(&bytes).into_owned())),
        ValueKind::Number => {
            let number: f64 = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
            number.is_finite().then_some(Value::Number(number))
        }
        ValueKind::Protobuf => protobuf::value(&bytes),
    }
}

/// The values of one name behind one another.
fn joined(headers: &Headers, name: &http::HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| fields::joined(&values))
}

/// The first cookie of a name, without quotation marks around it; one that is empty is none.
fn cookie(headers: &Headers, name: &str) -> Option<String> {
    let lines = headers.get_all(&COOKIE).map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = String::from_utf8_lossy(values.next()?).into_owned();
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).map(str::to_owned);
    Some(bare.unwrap_or(value)).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row as Envoy 1.40 does it, except for numbers that JSON has not: Envoy takes `0x10` and `inf`.
    #[test]
    fn values_are_what_their_rules_say() {
        let wanted = |text, coding, kind| MetadataValue { namespace: "n".into(), key: "k".into(), text, coding, kind };
        let found = || MetadataText::Found;
        let (plain, base64) = (ValueCoding::None, ValueCoding::Base64);
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        for (rule, input, expected) in [
            (wanted(found(), plain, ValueKind::Text), "1,2", text("1,2")),
            (wanted(found(), plain, ValueKind::Text), "", None),
            (wanted(MetadataText::Fixed("x".into()), plain, ValueKind::Text), "", text("x")),
            (wanted(MetadataText::Fixed("7".into()), plain, ValueKind::Number), "a", Some(Value::Number(7.0))),
            (wanted(found(), plain, ValueKind::Number), " 12.5 ", Some(Value::Number(12.5))),
            (wanted(found(), plain, ValueKind::Number), "1e3", Some(Value::Number(1000.0))),
            (wanted(found(), plain, ValueKind::Number), "+5", Some(Value::Number(5.0))),
            (wanted(found(), plain, ValueKind::Number), "abc", None),
            (wanted(found(), plain, ValueKind::Number), "7,8", None),
            (wanted(found(), plain, ValueKind::Number), "inf", None),
            (wanted(found(), base64, ValueKind::Text), "aGVsbG8=", text("hello")),
            (wanted(found(), base64, ValueKind::Text), "aGVsbG8", text("hello")),
            (wanted(found(), base64, ValueKind::Text), "!!", None),
            (wanted(found(), base64, ValueKind::Protobuf), "GgV3b3JsZA==", text("world")),
            (wanted(found(), base64, ValueKind::Protobuf), "aGVsbG8", None),
        ] {
            assert_eq!(value(&rule, input), expected, "{input}");
        }
        let rule = wanted(found(), plain, ValueKind::Text);
        assert!(value(&rule, &"a".repeat(8191)).is_some() && value(&rule, &"a".repeat(8192)).is_none());
    }

    #[test]
    fn cookies_lose_their_quotation_marks_and_empty_ones_are_none() {
        for (line, expected) in
            [("c=yes; d=1", Some("yes")), ("d=1; c=\"q\"", Some("q")), ("c=", None), ("d=1", None), ("cc=1", None)]
        {
            assert_eq!(cookie(&Headers::of(&[("cookie", line)]), "c").as_deref(), expected, "{line}");
        }
    }
}
