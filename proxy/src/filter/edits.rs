//! `request_headers_to_add` and its like: what routes, and what is above them, change in heads.
//!
//! Levels are applied one after the other. On one level all values are made, and all conditions tested, once the removals
//! are done and before anything is added; then values replace others, then values are added. Envoy's order.

use std::sync::Arc;

use http::HeaderName;

use super::change::Change;
use crate::access_log::StreamInfo;
use crate::access_log::format::{Heads, header_value};
use crate::codec::head::{is_joined_in_requests, is_joined_in_responses};
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::filter::Mutation;
use crate::config::log_format::Format;
use crate::config::route::{Edits, HeaderEdits};

/// Changes a request that is about to be forwarded.
pub(crate) fn edit_request(levels: &[Arc<HeaderEdits>], request: &mut RequestHead, info: &StreamInfo) {
    levels.iter().for_each(|level| add_to_request(&level.request, request, info));
}

/// The same with one list of edits.
pub(super) fn add_to_request(edits: &Edits, request: &mut RequestHead, info: &StreamInfo) {
    remove(&edits.remove, &mut request.headers);
    let value = |format: &Format| header_value(format, Heads::of_request(request), info);
    let changes = changes(edits, &request.headers, value);
    apply(changes, &mut request.headers, is_joined_in_requests);
}

/// Changes a request of the proxy's own, which comes of no other.
pub(crate) fn add_to_own(edits: &Edits, request: &mut RequestHead, info: &StreamInfo) {
    remove(&edits.remove, &mut request.headers);
    let value = |format: &Format| header_value(format, Heads { request: None, response: None }, info);
    let changes = changes(edits, &request.headers, value);
    apply(changes, &mut request.headers, is_joined_in_requests);
}

/// Adds to what a service is asked about `request`.
pub(super) fn add_to_check(edits: &Edits, check: &mut Headers, request: &RequestHead, info: &StreamInfo) {
    let value = |format: &Format| header_value(format, Heads::of_request(request), info);
    let changes = changes(edits, check, value);
    apply(changes, check, is_joined_in_requests);
}

/// Adds to the head of a tunnel that the proxy asks for itself.
pub(crate) fn edit_tunnel(edits: &Edits, request: &mut RequestHead, info: &StreamInfo) {
    let value = |format: &Format| header_value(format, Heads { request: None, response: None }, info);
    let changes = changes(edits, &request.headers, value);
    apply(changes, &mut request.headers, is_joined_in_requests);
}

/// Changes a response, whether an upstream's or one of the proxy's own.
pub(crate) fn edit_response(
    levels: &[Arc<HeaderEdits>],
    response: &mut ResponseHead,
    request: &RequestHead,
    info: &StreamInfo,
) {
    levels.iter().for_each(|level| add_to_response(&level.response, response, request, info));
}

/// The same with one list of edits.
pub(crate) fn add_to_response(edits: &Edits, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
    remove(&edits.remove, &mut response.headers);
    let value =
        |format: &Format| header_value(format, Heads { request: Some(request), response: Some(response) }, info);
    let changes = changes(edits, &response.headers, value);
    apply(changes, &mut response.headers, is_joined_in_responses);
}

/// Changes the copy of a request: one mutation after the other.
pub(crate) fn edit_copy(edits: &[Mutation<HeaderName>], copy: &mut RequestHead, info: &StreamInfo) {
    for mutation in edits {
        let value = |format: &Format| header_value(format, Heads::of_request(copy), info);
        if let Some(change) = Change::of(mutation, &copy.headers, value) {
            change.apply(&mut copy.headers, is_joined_in_requests);
        }
    }
}

fn remove(names: &[HeaderName], headers: &mut Headers) {
    if !names.is_empty() {
        headers.retain(|name, _| !names.contains(name));
    }
}

fn changes<'e>(edits: &'e Edits, headers: &Headers, value: impl Fn(&Format) -> Vec<u8>) -> Vec<Change<'e>> {
    edits.add.iter().filter_map(|mutation| Change::of(mutation, headers, &value)).collect()
}

fn apply(changes: Vec<Change<'_>>, headers: &mut Headers, is_joined: fn(&str) -> bool) {
    let (added, others): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| matches!(change, Change::Append(..)));
    others.into_iter().chain(added).for_each(|change| change.apply(headers, is_joined));
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::SystemTime;

    use http::HeaderValue;
    use tokio::time::Instant;

    use super::*;
    use crate::access_log::Downstream;
    use crate::config::filter::AppendAction;
    use crate::net::Address;

    fn add(name: &'static str, value: &str, action: AppendAction) -> Mutation<HeaderName> {
        let value = Format::parse_header_value(value).unwrap();
        Mutation::Append { name: HeaderName::from_static(name), value, action, keeps_empty: false }
    }

    fn level(remove: &[&'static str], add: Vec<Mutation<HeaderName>>) -> Arc<HeaderEdits> {
        let remove = remove.iter().map(|name| HeaderName::from_static(name)).collect();
        Arc::new(HeaderEdits { request: Edits { remove, add }, response: Edits::default() })
    }

    fn edited(levels: &[Arc<HeaderEdits>], fields: &[(&'static str, &'static str)]) -> String {
        let mut request = RequestHead::default();
        for (name, value) in fields {
            request.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let here = Address::Socket("127.0.0.1:80".parse().unwrap());
        let downstream = Downstream::new(1, here.clone(), here);
        let info = StreamInfo::new(Instant::now(), SystemTime::UNIX_EPOCH, Rc::new(downstream));
        edit_request(levels, &mut request, &info);
        let lines = request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        lines.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn values_of_a_level_are_made_after_its_removals_and_before_its_additions() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd as Append, OverwriteIfExistsOrAdd as Overwrite};
        let gone = level(&["x"], vec![add("y", "<%REQ(x)%>", Append), add("x", "2", AddIfAbsent)]);
        assert_eq!(edited(&[gone], &[("x", "1")]), "y: <>, x: 2");
        let unseen = level(&[], vec![add("a", "1", Append), add("b", "<%REQ(a)%>", Append)]);
        assert_eq!(edited(&[unseen], &[]), "a: 1, b: <>");
        let twice = level(&[], vec![add("a", "1", AddIfAbsent), add("a", "2", AddIfAbsent)]);
        assert_eq!(edited(&[twice], &[]), "a: 1, a: 2");
        let replaced_first = level(&[], vec![add("a", "1", Append), add("a", "2", Overwrite)]);
        assert_eq!(edited(&[replaced_first], &[("a", "0")]), "a: 2, a: 1");
    }

    #[test]
    fn a_level_sees_what_the_one_before_has_done() {
        let append = AppendAction::AppendIfExistsOrAdd;
        let levels = [level(&[], vec![add("a", "1", append)]), level(&["a"], vec![add("b", "<%REQ(a)%>", append)])];
        assert_eq!(edited(&levels, &[]), "b: <>");
        let levels = [level(&[], vec![add("a", "1", append)]), level(&[], vec![add("b", "<%REQ(a)%>", append)])];
        assert_eq!(edited(&levels, &[]), "a: 1, b: <1>");
    }
}
