//! Bodies are compressed: responses for clients that accept it, and requests where the file says so.

use std::rc::Rc;

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY};

use super::choice::{Choice, Offer, choose};
use super::encode::Encoder;
use super::recoder::Recoder;
use super::status::{self, Hindrance};
use super::{Recoders, forbids_transform, is_long, media_type, takes, tokens};
use crate::codec::{Headers, Payload, RequestHead, ResponseHead};
use crate::config::compression::{AcceptEncoding, Compressor, Etag, StatusHeader};
use crate::config::filter::{Chain, Filter};
use crate::filter::FilterContext;
use crate::stats::{CompressorStats, RecodingStats};

/// The compressors of a chain, and what they have agreed upon for its response.
pub(in crate::filter) struct Encodings<'c> {
    offers: Vec<&'c Compressor>,
    choice: Option<Choice>,
}

impl<'c> Encodings<'c> {
    /// `None` if the chain has none.
    pub(in crate::filter) fn of(chain: &'c Chain) -> Option<Box<Self>> {
        let of = |filter: &'c Filter| if let Filter::Compressor(options) = filter { Some(&**options) } else { None };
        let offers: Vec<_> = chain.filters.iter().filter_map(of).collect();
        (!offers.is_empty()).then(|| Box::new(Self { offers, choice: None }))
    }

    /// The first compressor that has to know decides for all of them.
    fn choice(&mut self, accepted: &str, media_type: Option<&str>) -> Choice {
        let offers = &self.offers;
        *self.choice.get_or_insert_with(|| {
            let takes = |options: &&&Compressor| media_type.is_none_or(|it| options.response.types.contains(it));
            let offer =
                |options: &&Compressor| Offer { coding: options.method.coding(), preference: options.preference };
            choose(accepted, &offers.iter().filter(takes).map(offer).collect::<Vec<_>>())
        })
    }
}

pub(in crate::filter) struct Compression<'c> {
    options: &'c Compressor,
    stats: Option<Rc<CompressorStats>>,
    /// `accept-encoding` of the request.
    accepted: Option<String>,
    pub(in crate::filter) bodies: Recoders,
}

impl<'c> Compression<'c> {
    pub(in crate::filter) fn new(options: &'c Compressor) -> Self {
        Self { options, stats: None, accepted: None, bodies: Recoders::default() }
    }

    pub(in crate::filter) fn on_request(
        &mut self,
        request: &mut RequestHead,
        payload: Payload,
        context: &FilterContext,
    ) {
        let Some(stats) = context.stats.compressor(&self.options.stats) else { return };
        self.stats = Some(Rc::clone(&stats));
        let said: Vec<&str> = tokens(&request.headers, &ACCEPT_ENCODING).collect();
        self.accepted = request.headers.contains(&ACCEPT_ENCODING).then(|| said.join(","));
        if self.options.accept_encoding == AcceptEncoding::Removed && context.is_on(&self.options.response.enabled) {
            request.headers.remove(&ACCEPT_ENCODING);
        }
        let is_compressed = payload != Payload::None
            && request.upgrade().is_none()
            && !request.headers.contains(&CONTENT_ENCODING)
            && self.options.request.as_ref().is_some_and(|options| {
                context.is_on(&options.enabled)
                    && is_long(options, &request.headers, &stats.request)
                    && takes(options, media_type(&request.headers).as_deref())
            });
        self.bodies.request = self.begin(is_compressed, &mut request.headers, &stats.request);
    }

    pub(in crate::filter) fn on_response(
        &mut self,
        response: &mut ResponseHead,
        payload: Payload,
        encodings: Option<&mut Encodings<'_>>,
        context: &FilterContext,
    ) {
        // It has not seen the request that another filter has answered before it.
        let stats = self.stats.take().or_else(|| context.stats.compressor(&self.options.stats));
        let Some(stats) = stats else { return };
        let options = self.options;
        if options.status_header == StatusHeader::On {
            return self.tell_status(response, payload, encodings, &stats, context);
        }
        let headers = &mut response.headers;
        let is_wanted =
            context.is_on(&options.response.enabled) && is_long(&options.response, headers, &stats.response);
        let media_type = media_type(headers);
        let is_compressible = is_wanted
            && headers.upgrade().is_none()
            && takes(&options.response, media_type.as_deref())
            && !forbids_transform(headers)
            && self.permits_etag(headers, &stats)
            && !options.except.contains(&response.status)
            && !headers.contains(&CONTENT_ENCODING);
        // As in Envoy, what the client accepts counts, whether the response can be compressed or not.
        let is_chosen = payload != Payload::None
            && is_wanted
            && encodings.is_some_and(|encodings| self.is_chosen(encodings, media_type.as_deref(), &stats));
        if is_chosen && is_compressible {
            mend_etag(options.etag, headers);
        }
        self.bodies.response = self.begin(is_chosen && is_compressible, headers, &stats.response);
        if is_compressible {
            name_in_vary(headers);
        }
    }

    /// The same where the response says what becomes of it. As in Envoy, what the client accepts counts only where the response
    /// can be compressed, and a body that is too short counts twice.
    fn tell_status(
        &mut self,
        response: &mut ResponseHead,
        payload: Payload,
        encodings: Option<&mut Encodings<'_>>,
        stats: &CompressorStats,
        context: &FilterContext,
    ) {
        let headers = &response.headers;
        let media_type = media_type(headers);
        let may = context.is_on(&self.options.response.enabled)
            && headers.upgrade().is_none()
            && !forbids_transform(headers)
            && !headers.contains(&CONTENT_ENCODING);
        let hindrance = if may { Hindrance::of(self.options, response, media_type.as_deref(), stats) } else { None };
        let (is_compressible, has_body) = (may && hindrance.is_none(), payload != Payload::None);
        let headers = &mut response.headers;
        if has_body && let Some(hindrance) = hindrance {
            hindrance.count(stats);
            status::tell(self.options.method.coding(), hindrance.words(), headers);
        }
        let is_chosen = has_body
            && is_compressible
            && encodings.is_some_and(|encodings| self.is_chosen(encodings, media_type.as_deref(), stats));
        if is_compressible {
            name_in_vary(headers);
        }
        if is_chosen {
            mend_etag(self.options.etag, headers);
        }
        let length = headers.get(&CONTENT_LENGTH).cloned();
        self.bodies.response = self.begin(is_chosen, headers, &stats.response);
        if self.bodies.response.is_some() {
            status::tell_compressed(self.options.method.coding(), length.as_ref(), headers);
        }
    }

    /// A body begins: with these headers, if it is to be compressed.
    fn begin(&self, is_compressed: bool, headers: &mut Headers, stats: &RecodingStats) -> Option<Box<Recoder>> {
        let encoder = if is_compressed { Encoder::new(self.options.method).ok() } else { None };
        let Some(encoder) = encoder else {
            stats.untouched.inc();
            return None;
        };
        stats.recoded.inc();
        headers.remove(&CONTENT_LENGTH);
        headers.set(CONTENT_ENCODING, HeaderValue::from_static(self.options.method.coding().token()));
        Some(Box::new(Recoder::encoding(encoder, stats.bytes.clone())))
    }

    fn permits_etag(&self, headers: &Headers, stats: &CompressorStats) -> bool {
        let prevents = self.options.etag == Etag::Prevents && headers.contains(&ETAG);
        if prevents {
            stats.not_compressed_etag.inc();
        }
        !prevents
    }

    /// Does the client get the coding of this compressor?
    fn is_chosen(&self, encodings: &mut Encodings<'_>, media_type: Option<&str>, stats: &CompressorStats) -> bool {
        let Some(accepted) = &self.accepted else {
            stats.no_accept_header.inc();
            return false;
        };
        let choice = encodings.choice(accepted, media_type);
        let is_chosen = choice.coding() == Some(self.options.method.coding());
        match choice {
            Choice::Coding(_) if is_chosen => stats.header_compressor_used.inc(),
            Choice::Coding(_) => stats.header_compressor_overshadowed.inc(),
            Choice::Identity => stats.header_identity.inc(),
            Choice::Invalid => stats.header_not_valid.inc(),
            Choice::Wildcard(_) => stats.header_wildcard.inc(),
        }
        is_chosen
    }
}

/// A strong entity tag is for the bytes as they were (RFC 9110 8.8.1).
fn mend_etag(policy: Etag, headers: &mut Headers) {
    let Some(etag) = headers.get(&ETAG) else { return };
    let is_weak = etag.as_bytes().get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case(b"w/"));
    if is_weak || etag.as_bytes().len() < 2 {
        return;
    }
    match policy {
        Etag::Prevents => {}
        Etag::Removed => headers.remove(&ETAG),
        Etag::Weakened => {
            if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()) {
                headers.set(ETAG, weak);
            }
        }
    }
}

/// Caches have to know that it depends on the client, also where this one gets no coding.
fn name_in_vary(headers: &mut Headers) {
    if !tokens(headers, &VARY).any(|name| name == "Accept-Encoding") {
        add_vary(headers);
    }
}

fn add_vary(headers: &mut Headers) {
    let before = headers.get(&VARY).and_then(|vary| vary.to_str().ok());
    let vary = before.map_or_else(|| "Accept-Encoding".to_owned(), |before| format!("{before}, Accept-Encoding"));
    if let Ok(vary) = HeaderValue::from_str(&vary) {
        headers.set(VARY, vary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strong_etag_is_removed_or_weakened_and_a_weak_one_stays() {
        for (policy, before, after) in [
            (Etag::Removed, "\"abc\"", None),
            (Etag::Removed, "W/\"abc\"", Some("W/\"abc\"")),
            (Etag::Removed, "w/\"abc\"", Some("w/\"abc\"")),
            (Etag::Weakened, "\"abc\"", Some("W/\"abc\"")),
            (Etag::Weakened, "W/\"abc\"", Some("W/\"abc\"")),
        ] {
            let mut headers = Headers::default();
            headers.set(ETAG, HeaderValue::from_static(before));
            mend_etag(policy, &mut headers);
            assert_eq!(headers.get(&ETAG).map(|etag| etag.to_str().unwrap()), after, "{policy:?} {before}");
        }
    }

    #[test]
    fn vary_is_added_to_what_is_there() {
        for (before, after) in [(None, "Accept-Encoding"), (Some("Cookie"), "Cookie, Accept-Encoding")] {
            let mut headers = Headers::default();
            if let Some(before) = before {
                headers.set(VARY, HeaderValue::from_static(before));
            }
            add_vary(&mut headers);
            assert_eq!(headers.get(&VARY).unwrap(), after);
        }
    }
}
