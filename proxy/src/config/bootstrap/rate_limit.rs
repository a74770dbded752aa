//! What limits of requests are made of, as written.

use serde::Deserialize;

use super::CidrRange;
use super::matchers::{HeaderMatcher, MetadataPathSegment};
use super::route_match::QueryParameterMatcher;
use crate::config::constraints::{HeaderName, NonEmpty};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.type.v3.TokenBucket`
#[derive(Debug, Deserialize)]
pub(crate) struct TokenBucket {
    pub(crate) fill_interval: At<Seconds>,
    #[serde(default)]
    pub(crate) max_tokens: u32,
    pub(crate) tokens_per_fill: Option<At<u32>>,
}

/// `envoy.config.route.v3.RateLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimit {
    pub(crate) actions: At<Vec<At<RateLimitAction>>>,
    #[serde(default)]
    pub(crate) apply_on_stream_done: bool,
    pub(crate) disable_key: Option<At<String>>,
    pub(crate) hits_addend: Option<At<RateLimitHitsAddend>>,
    pub(crate) limit: Option<At<RateLimitOverride>>,
    pub(crate) stage: Option<At<u32>>,
    pub(crate) x_ratelimit_option: Option<XRateLimitOption>,
}

/// `envoy.config.route.v3.RateLimit.HitsAddend`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitHitsAddend {
    #[serde(default)]
    pub(crate) format: String,
    #[serde(default)]
    pub(crate) is_negative_hits: bool,
    pub(crate) number: Option<At<u64>>,
}

/// `envoy.config.route.v3.RateLimit.Override`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitOverride {
    pub(crate) dynamic_metadata: Option<RateLimitOverrideMetadata>,
    pub(crate) rate_limit: Option<RateLimitOverrideLimit>,
}

/// `envoy.config.route.v3.RateLimit.Override.DynamicMetadata`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitOverrideMetadata {
    pub(crate) metadata_key: RateLimitMetadataKey,
}

/// `envoy.config.route.v3.RateLimit.Override.RateLimitOverride`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitOverrideLimit {
    #[serde(default)]
    pub(crate) requests_per_unit: u32,
    pub(crate) unit: Option<RateLimitUnit>,
}

/// `envoy.type.metadata.v3.MetadataKey`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitMetadataKey {
    pub(crate) key: NonEmpty,
    pub(crate) path: At<Vec<MetadataPathSegment>>,
}

/// `envoy.type.v3.RateLimitUnit`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum RateLimitUnit {
    #[serde(rename = "UNKNOWN")]
    Unknown,
    #[serde(rename = "SECOND")]
    Second,
    #[serde(rename = "MINUTE")]
    Minute,
    #[serde(rename = "HOUR")]
    Hour,
    #[serde(rename = "DAY")]
    Day,
    #[serde(rename = "MONTH")]
    Month,
    #[serde(rename = "YEAR")]
    Year,
    #[serde(rename = "WEEK")]
    Week,
}

/// `envoy.config.route.v3.RateLimit.XRateLimitOption`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum XRateLimitOption {
    #[serde(rename = "UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "OFF")]
    Off,
    #[serde(rename = "DRAFT_VERSION_03")]
    Draft03,
}

/// `envoy.config.route.v3.RateLimit.Action`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitAction {
    pub(crate) destination_cluster: Option<RateLimitDestinationCluster>,
    pub(crate) generic_key: Option<RateLimitGenericKey>,
    pub(crate) header_value_match: Option<RateLimitHeaderValueMatch>,
    pub(crate) masked_remote_address: Option<RateLimitMaskedRemoteAddress>,
    pub(crate) metadata: Option<RateLimitMetadata>,
    pub(crate) query_parameter_value_match: Option<RateLimitQueryParameterValueMatch>,
    pub(crate) query_parameters: Option<RateLimitQueryParameters>,
    pub(crate) remote_address: Option<RateLimitRemoteAddress>,
    pub(crate) remote_address_match: Option<RateLimitRemoteAddressMatch>,
    pub(crate) request_headers: Option<RateLimitRequestHeaders>,
    pub(crate) source_cluster: Option<RateLimitSourceCluster>,
}

/// `envoy.config.route.v3.RateLimit.Action.DestinationCluster`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitDestinationCluster {}

/// `envoy.config.route.v3.RateLimit.Action.GenericKey`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitGenericKey {
    #[serde(default)]
    pub(crate) descriptor_key: String,
    pub(crate) descriptor_value: At<NonEmpty>,
}

/// `envoy.config.route.v3.RateLimit.Action.HeaderValueMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitHeaderValueMatch {
    #[serde(default)]
    pub(crate) descriptor_key: String,
    pub(crate) descriptor_value: At<NonEmpty>,
    pub(crate) expect_match: Option<bool>,
    pub(crate) headers: Vec<At<HeaderMatcher>>,
}

/// `envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitMaskedRemoteAddress {
    pub(crate) v4_prefix_mask_len: Option<At<u32>>,
    pub(crate) v6_prefix_mask_len: Option<At<u32>>,
}

/// `envoy.config.route.v3.RateLimit.Action.MetaData`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitMetadata {
    #[serde(default)]
    pub(crate) default_value: String,
    pub(crate) descriptor_key: NonEmpty,
    pub(crate) metadata_key: RateLimitMetadataKey,
    #[serde(default)]
    pub(crate) skip_if_absent: bool,
    pub(crate) source: Option<RateLimitMetadataSource>,
}

/// `envoy.config.route.v3.RateLimit.Action.MetaData.Source`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum RateLimitMetadataSource {
    #[serde(rename = "DYNAMIC")]
    Dynamic,
    #[serde(rename = "ROUTE_ENTRY")]
    RouteEntry,
    #[serde(rename = "CLUSTER_ENTRY")]
    ClusterEntry,
    #[serde(rename = "CLUSTER_LOCALITY_ENTRY")]
    ClusterLocalityEntry,
}

/// `envoy.config.route.v3.RateLimit.Action.RemoteAddressMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitRemoteAddressMatch {
    pub(crate) address_matcher: AddressMatcher,
    #[serde(default)]
    pub(crate) default_value: String,
    #[serde(default)]
    pub(crate) descriptor_key: String,
    pub(crate) descriptor_value: At<NonEmpty>,
}

/// `envoy.type.matcher.v3.AddressMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct AddressMatcher {
    #[serde(default)]
    pub(crate) invert_match: bool,
    #[serde(default)]
    pub(crate) ranges: Vec<At<CidrRange>>,
}

/// `envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitQueryParameterValueMatch {
    #[serde(default)]
    pub(crate) descriptor_key: String,
    pub(crate) descriptor_value: At<NonEmpty>,
    pub(crate) expect_match: Option<bool>,
    pub(crate) query_parameters: Vec<At<QueryParameterMatcher>>,
}

/// `envoy.config.route.v3.RateLimit.Action.QueryParameters`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitQueryParameters {
    pub(crate) descriptor_key: NonEmpty,
    pub(crate) query_parameter_name: NonEmpty,
    #[serde(default)]
    pub(crate) skip_if_absent: bool,
}

/// `envoy.config.route.v3.RateLimit.Action.RemoteAddress`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitRemoteAddress {}

/// `envoy.config.route.v3.RateLimit.Action.RequestHeaders`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitRequestHeaders {
    pub(crate) descriptor_key: NonEmpty,
    pub(crate) header_name: HeaderName,
    #[serde(default)]
    pub(crate) skip_if_absent: bool,
}

/// `envoy.config.route.v3.RateLimit.Action.SourceCluster`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitSourceCluster {}

/// `envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor`
#[derive(Debug, Deserialize)]
pub(crate) struct LocalRateLimitDescriptor {
    pub(crate) entries: At<Vec<At<RateLimitEntry>>>,
    #[serde(default)]
    pub(crate) shadow_mode: bool,
    pub(crate) token_bucket: At<TokenBucket>,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitEntry {
    pub(crate) key: NonEmpty,
    pub(crate) value: Option<String>,
}

/// `envoy.extensions.common.ratelimit.v3.VhRateLimitsOptions`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum VhRateLimitsOptions {
    #[serde(rename = "OVERRIDE")]
    Override,
    #[serde(rename = "INCLUDE")]
    Include,
    #[serde(rename = "IGNORE")]
    Ignore,
}

/// `envoy.extensions.common.ratelimit.v3.XRateLimitHeadersRFCVersion`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum XRateLimitHeadersRfcVersion {
    #[serde(rename = "OFF")]
    Off,
    #[serde(rename = "DRAFT_VERSION_03")]
    Draft03,
}

/// `envoy.type.v3.HttpStatus`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct HttpStatus {
    pub(crate) code: StatusCode,
}

/// `envoy.type.v3.StatusCode`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum StatusCode {
    #[serde(rename = "Continue")]
    Continue = 100,
    #[serde(rename = "OK")]
    Ok = 200,
    #[serde(rename = "Created")]
    Created = 201,
    #[serde(rename = "Accepted")]
    Accepted = 202,
    #[serde(rename = "NonAuthoritativeInformation")]
    NonAuthoritativeInformation = 203,
    #[serde(rename = "NoContent")]
    NoContent = 204,
    #[serde(rename = "ResetContent")]
    ResetContent = 205,
    #[serde(rename = "PartialContent")]
    PartialContent = 206,
    #[serde(rename = "MultiStatus")]
    MultiStatus = 207,
    #[serde(rename = "AlreadyReported")]
    AlreadyReported = 208,
    #[serde(rename = "IMUsed")]
    ImUsed = 226,
    #[serde(rename = "MultipleChoices")]
    MultipleChoices = 300,
    #[serde(rename = "MovedPermanently")]
    MovedPermanently = 301,
    #[serde(rename = "Found")]
    Found = 302,
    #[serde(rename = "SeeOther")]
    SeeOther = 303,
    #[serde(rename = "NotModified")]
    NotModified = 304,
    #[serde(rename = "UseProxy")]
    UseProxy = 305,
    #[serde(rename = "TemporaryRedirect")]
    TemporaryRedirect = 307,
    #[serde(rename = "PermanentRedirect")]
    PermanentRedirect = 308,
    #[serde(rename = "BadRequest")]
    BadRequest = 400,
    #[serde(rename = "Unauthorized")]
    Unauthorized = 401,
    #[serde(rename = "PaymentRequired")]
    PaymentRequired = 402,
    #[serde(rename = "Forbidden")]
    Forbidden = 403,
    #[serde(rename = "NotFound")]
    NotFound = 404,
    #[serde(rename = "MethodNotAllowed")]
    MethodNotAllowed = 405,
    #[serde(rename = "NotAcceptable")]
    NotAcceptable = 406,
    #[serde(rename = "ProxyAuthenticationRequired")]
    ProxyAuthenticationRequired = 407,
    #[serde(rename = "RequestTimeout")]
    RequestTimeout = 408,
    #[serde(rename = "Conflict")]
    Conflict = 409,
    #[serde(rename = "Gone")]
    Gone = 410,
    #[serde(rename = "LengthRequired")]
    LengthRequired = 411,
    #[serde(rename = "PreconditionFailed")]
    PreconditionFailed = 412,
    #[serde(rename = "PayloadTooLarge")]
    PayloadTooLarge = 413,
    #[serde(rename = "URITooLong")]
    UriTooLong = 414,
    #[serde(rename = "UnsupportedMediaType")]
    UnsupportedMediaType = 415,
    #[serde(rename = "RangeNotSatisfiable")]
    RangeNotSatisfiable = 416,
    #[serde(rename = "ExpectationFailed")]
    ExpectationFailed = 417,
    #[serde(rename = "MisdirectedRequest")]
    MisdirectedRequest = 421,
    #[serde(rename = "UnprocessableEntity")]
    UnprocessableEntity = 422,
    #[serde(rename = "Locked")]
    Locked = 423,
    #[serde(rename = "FailedDependency")]
    FailedDependency = 424,
    #[serde(rename = "UpgradeRequired")]
    UpgradeRequired = 426,
    #[serde(rename = "PreconditionRequired")]
    PreconditionRequired = 428,
    #[serde(rename = "TooManyRequests")]
    TooManyRequests = 429,
    #[serde(rename = "RequestHeaderFieldsTooLarge")]
    RequestHeaderFieldsTooLarge = 431,
    #[serde(rename = "InternalServerError")]
    InternalServerError = 500,
    #[serde(rename = "NotImplemented")]
    NotImplemented = 501,
    #[serde(rename = "BadGateway")]
    BadGateway = 502,
    #[serde(rename = "ServiceUnavailable")]
    ServiceUnavailable = 503,
    #[serde(rename = "GatewayTimeout")]
    GatewayTimeout = 504,
    #[serde(rename = "HTTPVersionNotSupported")]
    HttpVersionNotSupported = 505,
    #[serde(rename = "VariantAlsoNegotiates")]
    VariantAlsoNegotiates = 506,
    #[serde(rename = "InsufficientStorage")]
    InsufficientStorage = 507,
    #[serde(rename = "LoopDetected")]
    LoopDetected = 508,
    #[serde(rename = "NotExtended")]
    NotExtended = 510,
    #[serde(rename = "NetworkAuthenticationRequired")]
    NetworkAuthenticationRequired = 511,
}
