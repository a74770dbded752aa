//! `envoy.filters.http.header_mutation`: headers and query parameters are set and taken off.
//!
//! The mutations are applied level by level (the filter's own first), each in the order of the file: to a request's headers,
//! then to its query parameters; to a response's headers.

use std::borrow::Cow;

use http::HeaderValue;

use super::change::{Change, Existing, decide};
use crate::access_log::StreamInfo;
use crate::access_log::format::{Heads, header_value};
use crate::codec::head::{is_joined_in_requests, is_joined_in_responses};
use crate::codec::{RequestHead, ResponseHead};
use crate::config::filter::{self, Mutation};
use crate::config::log_format::Format;

pub(super) struct HeaderMutation<'c> {
    options: &'c filter::HeaderMutation,
}

impl<'c> HeaderMutation<'c> {
    pub(super) fn new(options: &'c filter::HeaderMutation) -> Self {
        Self { options }
    }

    pub(super) fn on_request(&self, request: &mut RequestHead, info: &StreamInfo) {
        for level in &self.options.levels {
            for mutation in &level.request {
                let value = |format: &Format| header_value(format, Heads::of_request(request), info);
                if let Some(change) = Change::of(mutation, &request.headers, value) {
                    change.apply(&mut request.headers, is_joined_in_requests);
                }
            }
            if !level.query.is_empty()
                && let Some(path) = &request.path
            {
                let value = |format: &Format| header_value(format, Heads::of_request(request), info);
                request.path = Some(with_query(path, &level.query, value));
            }
        }
    }

    pub(super) fn on_response(&self, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        for mutation in self.options.levels.iter().flat_map(|level| &level.response) {
            let value = |format: &Format| {
                header_value(format, Heads { request: Some(request), response: Some(response) }, info)
            };
            if let Some(change) = Change::of(mutation, &response.headers, value) {
                change.apply(&mut response.headers, is_joined_in_responses);
            }
        }
    }
}

/// `path` after these mutations of its query parameters. Parameters that no mutation names stay as they came, byte for
/// byte: an escape that were decoded on the way could end the request line (RFC 9112 3).
pub(super) fn with_query(
    path: &HeaderValue,
    mutations: &[Mutation<String>],
    value: impl Fn(&Format) -> Vec<u8>,
) -> HeaderValue {
    let bytes = path.as_bytes();
    let (base, query) = match bytes.iter().position(|byte| *byte == b'?') {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    };
    let query = query.filter(|query| !query.is_empty());
    let mut parameters: Vec<Cow<'_, [u8]>> =
        query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&')).map(Cow::Borrowed).collect();
    let mut changed = false;
    for mutation in mutations {
        let (name, added) = match mutation {
            Mutation::Remove(name) => (name, None),
            Mutation::Append { name, value: format, action, .. } => {
                let Some(existing) = decide(*action, parameters.iter().any(|has| is_named(has, name))) else {
                    continue;
                };
                (name, Some((existing, [escaped(name.as_bytes()), b"=".to_vec(), escaped(&value(format))].concat())))
            }
        };
        let before = parameters.len();
        if !matches!(added, Some((Existing::Kept, _))) {
            parameters.retain(|has| !is_named(has, name));
        }
        changed |= added.is_some() || parameters.len() != before;
        parameters.extend(added.map(|(_, parameter)| Cow::Owned(parameter)));
    }
    if !changed {
        return path.clone();
    }
    let mut out = base.to_vec();
    for (nth, parameter) in parameters.iter().enumerate() {
        out.push(if nth == 0 { b'?' } else { b'&' });
        out.extend_from_slice(parameter);
    }
    // Parts of a path and escaped text are a path.
    HeaderValue::from_bytes(&out).unwrap_or_else(|_| path.clone())
}

/// Has the parameter this name, once its escapes are decoded?
pub(super) fn is_named(parameter: &[u8], name: &str) -> bool {
    decoded(parameter.split(|byte| *byte == b'=').next().unwrap_or_default()) == name.as_bytes()
}

/// A part of a query string with its escapes decoded; what is none stays as it is.
pub(super) fn decoded(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                (None, _) | (_, None) => (first, after),
            },
            _ => (first, after),
        };
        out.push(byte);
        rest = after;
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `bytes` as a part of a query string. What Envoy leaves as it is.
pub(super) fn escaped(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.*".contains(byte) {
            out.push(*byte);
        } else {
            let [high, low] = [byte >> 4, byte & 0xf].map(|digit| DIGITS.get(usize::from(digit)).copied());
            out.extend([b'%', high.unwrap_or(b'0'), low.unwrap_or(b'0')]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::filter::AppendAction;
    use crate::filter::testing::literal;

    fn append(name: &str, value: &str, action: AppendAction) -> Mutation<String> {
        let value = Format::parse_header_value(value).unwrap();
        Mutation::Append { name: name.into(), value, action, keeps_empty: true }
    }

    #[test]
    fn parameters_that_no_mutation_names_stay_as_they_came() {
        let remove = || Mutation::Remove("zz".to_owned());
        let (add, overwrite) = (AppendAction::AppendIfExistsOrAdd, AppendAction::OverwriteIfExistsOrAdd);
        for (path, mutation, expected) in [
            ("/a?b=%20x&&a=1+2&c", remove(), "/a?b=%20x&&a=1+2&c"),
            ("/a?", remove(), "/a?"),
            ("/a", remove(), "/a"),
            ("/a?zz=1", remove(), "/a"),
            ("/a?zz", remove(), "/a"),
            ("/a?b=1&zz=2&a=3&z%7a", remove(), "/a?b=1&a=3"),
            ("/a?zz%3d=1&Zz=2&zz%=1&zz%4=", remove(), "/a?zz%3d=1&Zz=2&zz%=1&zz%4="),
            ("/a", append("k", "a b&=~*", add), "/a?k=a%20b%26%3D%7E*"),
            ("/a?", append("k", "", add), "/a?k="),
            ("/a?k=1", append("k", "2", add), "/a?k=1&k=2"),
            ("/a?k=1&b&k=2", append("k", "3", overwrite), "/a?b&k=3"),
            ("/a?b", append("k", "3", AppendAction::OverwriteIfExists), "/a?b"),
            ("/a?k", append("k", "3", AppendAction::AddIfAbsent), "/a?k"),
            ("/a?b", append("k&\r", "3", AppendAction::AddIfAbsent), "/a?b&k%26%0D=3"),
        ] {
            let mutated = with_query(&HeaderValue::from_static(path), &[mutation], literal);
            assert_eq!(mutated, expected, "{path}");
        }
    }
}
