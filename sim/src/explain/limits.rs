//! The limits of a response head and of trailers, which a proxy has for every cluster: which of them a response was over.

use finwait::codec::{http1, http2};

use super::traffic::{Exchange, Protocol, Section};

/// A limit of a configuration that a message exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Limit {
    Bytes,
    Fields,
}

/// A response that was over one.
pub(super) struct OverLimit {
    pub(super) limit: Limit,
    /// What is too large, and how large it may be.
    pub(super) why: String,
}

impl Limit {
    /// What to do, since no setting changes it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Bytes => {
                "no setting: send less; the limit is Envoy's default of the cluster's max_response_headers_kb, which finwait \
                 takes in no configuration"
            }
            Self::Fields => {
                "no setting: send fewer fields; the limit is Envoy's default of the cluster's max_headers_count, which finwait \
                 takes in no configuration"
            }
        }
    }
}

impl OverLimit {
    /// The first section of a response that is over a limit.
    pub(super) fn of(upstream: &Exchange) -> Option<Self> {
        let (bytes_max, fields_max) = match upstream.protocol {
            Protocol::Http1 => (http1::RESPONSE_HEAD_BYTES_MAX, http1::RESPONSE_FIELDS_MAX),
            Protocol::Http2 => (http2::RESPONSE_LIMIT.bytes, http2::RESPONSE_LIMIT.fields),
        };
        let over = |(what, section): (&str, &Section)| {
            let Section { bytes, fields } = *section;
            let (limit, has, most) = if fields > fields_max {
                (Limit::Fields, format!("{fields} fields"), format!("{fields_max} (max_headers_count)"))
            } else if bytes > bytes_max {
                (Limit::Bytes, format!("{bytes} bytes"), format!("{bytes_max} (max_response_headers_kb)"))
            } else {
                return None;
            };
            Some(Self { limit, why: format!("{what} has {has}, and may have {most}") })
        };
        let final_response = upstream.response.as_ref()?;
        let sections = std::iter::once(("its head", &final_response.head))
            .chain(final_response.trailers.iter().map(|it| ("its trailer section", it)));
        sections.filter_map(over).next()
    }
}
