//! What domains, paths and other parts of a request are matched by, typed.

use std::ops::Range;

use super::fraction::Fraction;
use super::string_match::StringMatch;

/// A domain pattern. Lower case; compared ignoring case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Domain {
    /// `*`
    Any,
    /// `example.com`
    Exact(String),
    /// `example.*`: holds `example.`
    Prefix(String),
    /// `*.example.com`: holds `.example.com`
    Suffix(String),
}

/// The path part of a route match. Compared with the path without its query.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Plain CONNECT requests, and nothing else.
    Connect,
    /// The whole path.
    Exact {
        /// Compared with the whole path, without the query.
        path: String,
        /// Compare letters exactly.
        case_sensitive: bool,
    },
    /// The beginning of the path.
    Prefix {
        /// Compared with the beginning of the path.
        prefix: String,
        /// Compare letters exactly.
        case_sensitive: bool,
    },
    /// The whole path.
    Regex(regex::Regex),
    /// The whole path, or its beginning up to a slash.
    SeparatedPrefix {
        /// The path, which ends in no slash.
        prefix: String,
        /// Compare letters exactly.
        case_sensitive: bool,
    },
}

/// What a request must be like besides its path.
#[derive(Clone, Debug)]
pub enum Condition {
    /// `grpc`: a gRPC request.
    Grpc,
    /// One of `headers`.
    Header(HeaderMatch),
    /// One of `query_parameters`.
    Query(QueryMatch),
    /// One of `cookies`.
    Cookie(CookieMatch),
    /// `tls_context`: what the client has shown of itself.
    ClientCertificate(CertificateMatch),
    /// `runtime_fraction`: the request is among so many.
    Fraction(Fraction),
    /// What no request is: `dynamic_metadata` and `filter_state` that must be there, since the filters that could set any come behind the route.
    Never,
}

/// `envoy.config.route.v3.RouteMatch.TlsContextMatchOptions`. What is `None` may be either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CertificateMatch {
    /// The client has presented a certificate.
    pub presented: Option<bool>,
    /// It was found valid.
    pub validated: Option<bool>,
}

/// `envoy.config.route.v3.HeaderMatcher`. `:authority`, `:method`, `:path` and `:scheme` are headers here.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// In lower case.
    pub name: String,
    /// What one of its values must be.
    pub value: HeaderTest,
    /// `invert_match`: it must not.
    pub sense: Sense,
    /// `treat_missing_header_as_empty`, or not: then a test of a value fails, inverted or not, where there is none.
    pub missing: Missing,
}

impl HeaderMatch {
    /// That there is a header of this name, which is in lower case.
    #[must_use]
    pub fn present(name: String) -> Self {
        Self { name, value: HeaderTest::Present, sense: Sense::Direct, missing: Missing::Absent }
    }
}

/// What a [`HeaderMatch`] asks of a header.
#[derive(Clone, Debug)]
pub enum HeaderTest {
    /// `present_match: false`
    Absent,
    /// `present_match`, or nothing.
    Present,
    /// `range_match`: a decimal number in this range.
    Range(Range<i64>),
    /// `string_match` and its older forms.
    Text(StringMatch),
}

/// Whether a test must succeed or fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sense {
    /// It must succeed.
    Direct,
    /// It must fail.
    Inverted,
}

/// What a header is that is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// The header or parameter is absent.
    Absent,
    /// There, and empty.
    Empty,
}

/// `envoy.config.route.v3.CookieMatcher`. Of several cookies of the name the first counts, without quotes around its value.
#[derive(Clone, Debug)]
pub struct CookieMatch {
    /// Compared byte for byte.
    pub name: String,
    /// What the value must be.
    pub value: StringMatch,
    /// `invert_match`: it must not be there and be like this.
    pub sense: Sense,
}

/// `envoy.config.route.v3.QueryParameterMatcher`. Of several parameters of the name the first counts; escapes stay as they are.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Compared byte for byte.
    pub name: String,
    /// What it must be.
    pub value: QueryTest,
}

/// What a [`QueryMatch`] asks of a parameter.
#[derive(Clone, Debug)]
pub enum QueryTest {
    /// `present_match: false`
    Absent,
    /// `present_match`, or nothing.
    Present,
    /// `string_match`
    Text(StringMatch),
}
