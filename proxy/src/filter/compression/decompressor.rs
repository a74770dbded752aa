//! Bodies are decompressed: of responses, so that filters and clients see them plain, and of requests, so that upstreams do.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderName, HeaderValue};

use super::decode::Decoder;
use super::recoder::Recoder;
use super::{Recoders, forbids_transform, tokens};
use crate::codec::{Headers, Payload, RequestHead, ResponseHead};
use crate::config::compression::{Advertising, Decompressed, Decompressor, NoTransform};
use crate::filter::FilterContext;
use crate::stats::{Counter, RecodingStats};

pub(in crate::filter) struct Decompression<'c> {
    options: &'c Decompressor,
    /// Counts bodies that are not of the coding.
    broken: Option<Counter>,
    pub(in crate::filter) bodies: Recoders,
}

impl<'c> Decompression<'c> {
    pub(in crate::filter) fn new(options: &'c Decompressor) -> Self {
        Self { options, broken: None, bodies: Recoders::default() }
    }

    pub(in crate::filter) fn on_request(
        &mut self,
        request: &mut RequestHead,
        payload: Payload,
        context: &FilterContext,
    ) {
        if self.options.advertising == Advertising::On && context.is_on(&self.options.response.enabled) {
            advertise(self.options.coding.token(), &mut request.headers);
        }
        if let Some(stats) = context.stats.decompressor(self.options) {
            self.broken = Some(stats.broken.clone());
            if payload != Payload::None {
                self.bodies.request = self.begin(&self.options.request, &mut request.headers, &stats.request, context);
            }
        }
    }

    pub(in crate::filter) fn on_response(
        &mut self,
        response: &mut ResponseHead,
        payload: Payload,
        context: &FilterContext,
    ) {
        if let Some(stats) = context.stats.decompressor(self.options)
            && payload != Payload::None
        {
            self.bodies.response = self.begin(&self.options.response, &mut response.headers, &stats.response, context);
        }
    }

    /// A body was not of the coding.
    pub(in crate::filter) fn count_broken(&self) {
        self.broken.iter().for_each(Counter::inc);
    }

    /// A body begins, with these headers.
    fn begin(
        &self,
        options: &Decompressed,
        headers: &mut Headers,
        stats: &RecodingStats,
        context: &FilterContext,
    ) -> Option<Box<Recoder>> {
        let may = options.no_transform == NoTransform::Ignored || !forbids_transform(headers);
        let has_coding = |headers: &Headers| {
            tokens(headers, &CONTENT_ENCODING)
                .next()
                .is_some_and(|first| first.eq_ignore_ascii_case(self.options.coding.token()))
        };
        let is_decompressed = context.is_on(&options.enabled) && may && has_coding(headers);
        let decoder = if is_decompressed { Decoder::new(self.options.coding) } else { None };
        let Some(decoder) = decoder else {
            stats.untouched.inc();
            return None;
        };
        stats.recoded.inc();
        headers.remove(&CONTENT_LENGTH);
        remove_first(headers);
        let told = self.trailer("compressed-bytes").zip(self.trailer("uncompressed-bytes"));
        Some(Box::new(Recoder::decoding(decoder, self.options.ratio_max, told, stats.bytes.clone())))
    }

    /// `None` where the name of the library cannot be part of one.
    fn trailer(&self, what: &str) -> Option<HeaderName> {
        let name = format!("x-envoy-decompressor-{}-{what}", self.options.library);
        HeaderName::from_bytes(name.as_bytes()).ok()
    }
}

/// As in Envoy, the first coding that is named is taken off.
fn remove_first(headers: &mut Headers) {
    let rest: Vec<&str> = tokens(headers, &CONTENT_ENCODING).skip(1).collect();
    let rest = HeaderValue::from_str(&rest.join(", ")).ok().filter(|rest| !rest.is_empty());
    match rest {
        None => headers.remove(&CONTENT_ENCODING),
        Some(rest) => headers.set(CONTENT_ENCODING, rest),
    }
}

/// The coding comes last, and without a quality: it is as good as any.
fn advertise(coding: &str, headers: &mut Headers) {
    let name = |token: &str| token.split(';').next().unwrap_or_default().trim().to_owned();
    let header = ACCEPT_ENCODING;
    let others = tokens(headers, &header).filter(|token| !token.is_empty() && name(token) != coding);
    let all: Vec<&str> = others.chain([coding]).collect();
    if let Ok(all) = HeaderValue::from_str(&all.join(",")) {
        headers.set(ACCEPT_ENCODING, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> Headers {
        let mut headers = Headers::default();
        headers.set(name, HeaderValue::from_static(value));
        headers
    }

    /// As Envoy 1.40 has it.
    #[test]
    fn a_coding_is_advertised_once_and_without_a_quality() {
        for (before, after) in [
            ("", "gzip"),
            ("br;q=1, identity", "br;q=1,identity,gzip"),
            ("gzip;q=0.3, br", "br,gzip"),
            ("GZIP", "GZIP,gzip"),
        ] {
            let mut headers = with(ACCEPT_ENCODING, before);
            advertise("gzip", &mut headers);
            assert_eq!(headers.get(&ACCEPT_ENCODING).unwrap(), after, "{before}");
        }
    }

    #[test]
    fn the_first_coding_is_taken_off() {
        for (before, after) in [("gzip", None), ("gzip, br", Some("br")), ("gzip,br , zstd", Some("br, zstd"))] {
            let mut headers = with(CONTENT_ENCODING, before);
            remove_first(&mut headers);
            assert_eq!(headers.get(&CONTENT_ENCODING).map(|it| it.to_str().unwrap()), after, "{before}");
        }
    }
}
