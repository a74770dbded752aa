//! `envoy.filters.http.header_to_metadata`, typed: which headers become metadata, and how.

use http::HeaderName;

use super::rewrite::RegexRewrite;

/// The rules for requests and for responses.
#[derive(Clone, Debug, Default)]
pub struct HeaderToMetadata {
    /// `request_rules`
    pub request: Vec<MetadataRule>,
    /// `response_rules`
    pub response: Vec<MetadataRule>,
}

/// What becomes of one value.
#[derive(Clone, Debug)]
pub struct MetadataRule {
    /// Where it is.
    pub source: MetadataSource,
    /// What is left if it is there.
    pub present: Option<MetadataValue>,
    /// What is left if it is not.
    pub missing: Option<MetadataValue>,
}

/// Where a value comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MetadataSource {
    /// The cookie of this name.
    Cookie(String),
    /// The header; with `remove` it goes.
    Header {
        /// Its name.
        name: HeaderName,
        /// Whether it goes.
        is_removed: bool,
    },
    /// `:authority`, which `host` is as well.
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// A pseudo-header that there never is.
    Nothing,
}

/// A value for metadata.
#[derive(Clone, Debug)]
pub struct MetadataValue {
    /// Under which it is left.
    pub namespace: String,
    /// Under which it is left there.
    pub key: String,
    /// What it is made from.
    pub text: MetadataText,
    /// `encode: BASE64`
    pub coding: ValueCoding,
    /// `type`
    pub kind: ValueKind,
}

/// What a value is made from.
#[derive(Clone, Debug)]
pub enum MetadataText {
    /// What was found.
    Found,
    /// `regex_value_rewrite`: that, with every match replaced.
    Rewritten(RegexRewrite),
    /// `value`
    Fixed(String),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ValueCoding {
    /// In base64, with or without padding.
    Base64,
    /// As it is.
    #[default]
    None,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ValueKind {
    /// A number.
    Number,
    /// The bytes of a `google.protobuf.Value`.
    Protobuf,
    /// A text.
    #[default]
    Text,
}
