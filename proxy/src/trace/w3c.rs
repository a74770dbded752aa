//! Trace Context of the W3C: `traceparent` and `tracestate`.

use http::{HeaderName, HeaderValue};

use super::Context;
use super::b3::{Ids, Malformed};
use crate::codec::Headers;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What came with a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Came {
    /// It is sampled.
    pub is_sampled: bool,
    /// The ids of the client's span.
    pub ids: Ids,
    /// `tracestate`, as it came.
    pub state: HeaderValue,
}

/// What came with a request; `None` is nothing.
///
/// # Errors
/// It cannot be read.
pub fn extract(headers: &Headers) -> Result<Option<Came>, Malformed> {
    let Some(parent) = headers.get(&TRACEPARENT) else { return Ok(None) };
    let parts: Vec<&[u8]> = parent.as_bytes().split(|byte| *byte == b'-').collect();
    let [version, trace, span, flags] = parts[..] else { return Err(Malformed) };
    if [version.len(), trace.len(), span.len(), flags.len()] != [2, 32, 16, 2] {
        return Err(Malformed);
    }
    number(version)?;
    let (high, low) = trace.split_at(16);
    let ids = Ids { trace_high: Some(number(high)?), trace: number(low)?, id: number(span)?, parent: None };
    if ids.id == 0 || (ids.trace == 0 && ids.trace_high == Some(0)) {
        return Err(Malformed);
    }
    let state = headers.get(&TRACESTATE).cloned().unwrap_or_else(empty);
    Ok(Some(Came { is_sampled: number(flags)? & 1 == 1, ids, state }))
}

fn number(text: &[u8]) -> Result<u64, Malformed> {
    if !text.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed)
}

/// No state.
#[must_use]
pub fn empty() -> HeaderValue {
    HeaderValue::from_static("")
}

/// Writes the ids of a span into a request, in place of those that came. As in Envoy, a state that is empty is written, too.
pub fn inject(context: &Context, state: &HeaderValue, headers: &mut Headers) {
    let parent = format!("00-{}-{:016x}-{:02x}", context.trace_id(), context.id, u8::from(context.is_sampled));
    // Hexadecimal digits and dashes make a value.
    if let Ok(parent) = HeaderValue::try_from(parent) {
        headers.set(TRACEPARENT.clone(), parent);
    }
    headers.set(TRACESTATE.clone(), state.clone());
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    /// As Envoy 1.40 read them.
    #[test]
    fn a_traceparent_is_read_or_refused() {
        let ids = Ids {
            trace_high: Some(0x0af7_6519_16cd_43dd),
            trace: 0x8448_eb21_1c80_319c,
            id: 0xb7ad_6b71_6920_3331,
            parent: None,
        };
        let came = |is_sampled| Ok(Some(Came { is_sampled, ids, state: "a=b,c=d".parse().unwrap() }));
        for (parent, expected) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", came(true)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02", came(false)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", Err(Malformed)),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", Err(Malformed)),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", Err(Malformed)),
            ("00-xaf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Err(Malformed)),
            ("", Err(Malformed)),
        ] {
            assert_eq!(extract(&headers(&[(&TRACEPARENT, parent), (&TRACESTATE, "a=b,c=d")])), expected, "{parent}");
        }
        assert_eq!(extract(&headers(&[(&TRACESTATE, "a=b")])), Ok(None));
    }

    #[test]
    fn what_is_written_takes_the_place_of_what_came() {
        let context = Context { trace_high: Some(1), trace: 2, id: 3, parent: Some(4), is_sampled: true };
        let mut written = headers(&[(&TRACEPARENT, "x")]);
        inject(&context, &empty(), &mut written);
        let expected = [(&TRACEPARENT, "00-00000000000000010000000000000002-0000000000000003-01"), (&TRACESTATE, "")];
        assert_eq!(written, headers(&expected));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(value in "[0-9a-f-]{0,60}|[ -~]{0,60}") {
            let _read = extract(&headers(&[(&TRACEPARENT, &value)]));
        }
    }
}
