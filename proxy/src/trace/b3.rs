//! B3 (github.com/openzipkin/b3-propagation): the ids of a span in one header, or in one header each.

use http::{HeaderName, HeaderValue};

use super::Context;
use crate::codec::Headers;

static B3: HeaderName = HeaderName::from_static("b3");
static PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
static TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");

/// In how many headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// One for each id.
    Several,
    /// One for all.
    Single,
}

/// What came with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Came {
    /// In which form.
    pub form: Form,
    /// Whether it is sampled, if that is said.
    pub is_sampled: Option<bool>,
    /// The ids of the client's span.
    pub ids: Option<Ids>,
}

/// The ids of a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ids {
    /// Both halves of the trace's id; `None` if it has 64 bits.
    pub trace_high: Option<u64>,
    /// Its lower half.
    pub trace: u64,
    /// The span's own.
    pub id: u64,
    /// That of the span within which it is.
    pub parent: Option<u64>,
}

/// They are malformed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

/// What came with a request. As in Envoy, `b3` has precedence.
///
/// # Errors
/// It cannot be read.
pub fn extract(headers: &Headers) -> Result<Came, Malformed> {
    if let Some(b3) = headers.get(&B3) {
        return single(b3.as_bytes());
    }
    let sampled = headers.get(&SAMPLED).map(|value| matches!(value.as_bytes(), b"1" | b"true"));
    let (Some(trace), Some(span)) = (headers.get(&TRACE_ID), headers.get(&SPAN_ID)) else {
        return Ok(Came { form: Form::Several, is_sampled: sampled, ids: None });
    };
    let parent = headers.get(&PARENT_ID).map(HeaderValue::as_bytes).filter(|parent| !parent.is_empty());
    let (trace_high, trace) = trace_id(trace.as_bytes())?;
    let ids = Ids { trace_high, trace, id: number(span.as_bytes())?, parent: parent.map(number).transpose()? };
    Ok(Came { form: Form::Several, is_sampled: sampled, ids: Some(ids) })
}

fn single(text: &[u8]) -> Result<Came, Malformed> {
    let flag = |flag: &[u8]| match flag {
        b"0" => Ok(false),
        b"1" | b"d" => Ok(true),
        _ => Err(Malformed),
    };
    let mut parts = text.split(|byte| *byte == b'-');
    let first = parts.next().ok_or(Malformed)?;
    let form = Form::Single;
    let Some(span) = parts.next() else {
        return Ok(Came { form, is_sampled: Some(flag(first)?), ids: None });
    };
    if !matches!(first.len(), 16 | 32) || span.len() != 16 {
        return Err(Malformed);
    }
    let (trace_high, trace) = trace_id(first)?;
    let is_sampled = parts.next().map(flag).transpose()?;
    let parent = parts.next();
    if parent.is_some_and(|parent| parent.len() != 16) || parts.next().is_some() {
        return Err(Malformed);
    }
    let ids = Ids { trace_high, trace, id: number(span)?, parent: parent.map(number).transpose()? };
    Ok(Came { form, is_sampled, ids: Some(ids) })
}

fn trace_id(text: &[u8]) -> Result<(Option<u64>, u64), Malformed> {
    match text.split_at_checked(16) {
        Some((high, low)) if low.len() == 16 => Ok((Some(number(high)?), number(low)?)),
        Some(_) | None => Ok((None, number(text)?)),
    }
}

fn number(text: &[u8]) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed)
}

/// Writes the ids of a span into a request, in place of those that came.
pub fn inject(form: Form, context: &Context, headers: &mut Headers) {
    let Context { id, parent, is_sampled, .. } = *context;
    let sampled = u8::from(is_sampled);
    let mut set = |name: &HeaderName, text: String| {
        headers.remove(name);
        // Hexadecimal digits and dashes make a value.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(name.clone(), value);
        }
    };
    match form {
        Form::Several => {
            set(&TRACE_ID, context.trace_id());
            set(&SPAN_ID, format!("{id:016x}"));
            if let Some(parent) = parent {
                set(&PARENT_ID, format!("{parent:016x}"));
            }
            set(&SAMPLED, sampled.to_string());
        }
        Form::Single => {
            let parent = parent.map_or_else(String::new, |parent| format!("-{parent:016x}"));
            set(&B3, format!("{}-{id:016x}-{sampled}{parent}", context.trace_id()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    /// As Envoy 1.40 read them.
    #[test]
    fn both_forms_are_read() {
        let long = Some(0x463a_c35c_9f64_13ad);
        let ids =
            |trace_high, parent| Ids { trace_high, trace: 0x4848_5a39_53bb_6124, id: 0xa2fb_4a1d_1a96_d312, parent };
        let several = |is_sampled, ids| Ok(Came { form: Form::Several, is_sampled, ids });
        let single = |is_sampled, ids| Ok(Came { form: Form::Single, is_sampled, ids });
        let (trace, span, parent) = ("463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312", "0020000000000001");
        let short = "48485a3953bb6124";
        let one = |b3: &str| headers(&[(&B3, b3)]);
        for (headers, expected) in [
            (headers(&[]), several(None, None)),
            (headers(&[(&SAMPLED, "0")]), several(Some(false), None)),
            (headers(&[(&SAMPLED, "true")]), several(Some(true), None)),
            (headers(&[(&TRACE_ID, trace), (&SPAN_ID, span)]), several(None, Some(ids(long, None)))),
            (headers(&[(&TRACE_ID, short), (&SPAN_ID, span), (&PARENT_ID, "")]), several(None, Some(ids(None, None)))),
            (
                headers(&[(&TRACE_ID, trace), (&SPAN_ID, span), (&PARENT_ID, parent), (&SAMPLED, "1")]),
                several(Some(true), Some(ids(long, Some(0x20_0000_0000_0001)))),
            ),
            (headers(&[(&TRACE_ID, "zz"), (&SPAN_ID, span)]), Err(Malformed)),
            (one("0"), single(Some(false), None)),
            (one("d"), single(Some(true), None)),
            (one("xyz"), Err(Malformed)),
            (one(""), Err(Malformed)),
            (one(&format!("{short}-{span}")), single(None, Some(ids(None, None)))),
            (
                one(&format!("{trace}-{span}-1-{parent}")),
                single(Some(true), Some(ids(long, Some(0x20_0000_0000_0001)))),
            ),
            (one(&format!("{trace}-{span}-1-{parent}-")), Err(Malformed)),
            (one(&format!("{trace}-{span}-x")), Err(Malformed)),
        ] {
            assert_eq!(extract(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_is_written_takes_the_place_of_what_came() {
        let context = Context { trace_high: Some(1), trace: 2, id: 3, parent: Some(4), is_sampled: true };
        let mut several = headers(&[(&SPAN_ID, "a"), (&B3, "x")]);
        inject(Form::Several, &context, &mut several);
        let expected = headers(&[
            (&B3, "x"),
            (&TRACE_ID, "00000000000000010000000000000002"),
            (&SPAN_ID, "0000000000000003"),
            (&PARENT_ID, "0000000000000004"),
            (&SAMPLED, "1"),
        ]);
        assert_eq!(several, expected);
        let mut single = headers(&[(&B3, "x")]);
        inject(Form::Single, &Context { trace_high: None, parent: None, is_sampled: false, ..context }, &mut single);
        assert_eq!(single, headers(&[(&B3, "0000000000000002-0000000000000003-0")]));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(value in "[0-9a-f-]{0,80}|[ -~]{0,40}") {
            let _read = extract(&headers(&[(&B3, &value)]));
            let _read = extract(&headers(&[(&TRACE_ID, &value), (&SPAN_ID, &value)]));
        }
    }
}
