//! What a service that allows a request changes in it, and in the response to it.

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method};

use crate::codec::head::is_joined_in_responses;
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::filter::AppendAction;
use crate::config::metadata::Struct;
use crate::config::mutation_rules::MutationRules;
use crate::config::rewrite::is_part_of_target;
use crate::filter::change::{Change, Existing, decide};
use crate::filter::header_mutation::is_named;

#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the request: these take the place of what is there. `host` is among them.
    pub(super) set: Headers,
    /// What else comes before the headers.
    pub(super) method: Option<Method>,
    pub(super) path: Option<HeaderValue>,
    pub(super) scheme: Option<Scheme>,
    /// In the request: these stand beside what is there.
    pub(super) added: Headers,
    /// In the request: these are joined to what is there, with a comma, and left out where nothing is.
    pub(super) joined: Headers,
    /// In the request.
    pub(super) removed: Vec<HeaderName>,
    pub(super) query: QueryChanges,
    pub(super) in_response: InResponse,
    pub(super) metadata: Struct,
}

/// What changes in the query of the request.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct QueryChanges {
    /// Names and values as they stand in a target.
    pub(super) set: Vec<(String, String)>,
    pub(super) removed: Vec<String>,
}

/// What changes in the response, in the order in which it is done.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct InResponse(Vec<(AppendAction, HeaderName, HeaderValue)>);

impl Changes {
    /// Does it change the request?
    pub(super) fn is_of_request(&self) -> bool {
        let headers = [&self.set, &self.added, &self.joined];
        let is_changed = self.method.is_some() || self.path.is_some() || self.scheme.is_some();
        is_changed
            || headers.iter().any(|headers| !headers.is_empty())
            || !self.removed.is_empty()
            || self.query != QueryChanges::default()
    }

    /// Leaves out what the rules do not permit. False if there was such.
    pub(super) fn obey(&mut self, rules: &MutationRules) -> bool {
        let mut obeys = true;
        let mut permits = |name: &str| {
            let is_permitted = rules.permit(name);
            obeys &= is_permitted;
            is_permitted
        };
        for headers in [&mut self.set, &mut self.added, &mut self.joined] {
            headers.retain(|name, _| permits(name.as_str()));
        }
        self.removed.retain(|name| permits(name.as_str()));
        self.method.take_if(|_| !permits(":method"));
        self.path.take_if(|_| !permits(":path"));
        self.scheme.take_if(|_| !permits(":scheme"));
        obeys
    }

    /// Does it change one of these headers, or the query?
    pub(super) fn is_of(&self, names: &[HeaderName]) -> bool {
        let is_set = |name| [&self.set, &self.added, &self.joined].iter().any(|headers| headers.contains(name));
        self.query != QueryChanges::default() || names.iter().any(|name| is_set(name) || self.removed.contains(name))
    }

    /// Changes the request. Returns what is to be changed in the response.
    pub(super) fn apply(self, request: &mut RequestHead) -> InResponse {
        for (name, value) in self.set.iter() {
            match *name {
                HOST => request.authority = Some(value.clone()),
                _ => request.headers.set(name.clone(), value.clone()),
            }
        }
        if let Some(method) = self.method {
            request.method = method;
        }
        if let Some(scheme) = self.scheme {
            request.scheme = HeaderValue::from_str(scheme.as_str()).ok();
        }
        request.path = self.path.or_else(|| request.path.take());
        self.added.iter().for_each(|(name, value)| request.headers.append(name.clone(), value.clone()));
        for (name, value) in self.joined.iter().filter(|(name, _)| request.headers.contains(name)).collect::<Vec<_>>() {
            request.headers.append_or_join(name, value.clone(), |_| true);
        }
        self.removed.iter().for_each(|name| request.headers.remove(name));
        if let Some(path) = &request.path {
            request.path = Some(self.query.applied(path).unwrap_or_else(|| path.clone()));
        }
        self.in_response
    }
}

impl QueryChanges {
    /// `path` with the changes, if there are any. Parameters that are not named stay as they came.
    fn applied(&self, path: &HeaderValue) -> Option<HeaderValue> {
        if *self == Self::default() {
            return None;
        }
        let bytes = path.as_bytes();
        let end = bytes.iter().position(|byte| *byte == b'?').unwrap_or(bytes.len());
        let (base, query) = (bytes.get(..end)?, bytes.get(end + 1..).unwrap_or_default());
        let is_replaced = |parameter: &&[u8]| {
            self.set.iter().any(|(name, _)| is_named(parameter, name))
                || self.removed.iter().any(|name| is_named(parameter, name))
        };
        let kept =
            query.split(|byte| *byte == b'&').filter(|parameter| !parameter.is_empty() && !is_replaced(parameter));
        // Of those with one name the last counts; one that is removed as well is removed.
        let last = self.set.iter().enumerate().filter(|(nth, (name, _))| {
            self.set.iter().skip(nth + 1).all(|(other, _)| other != name) && !self.removed.contains(name)
        });
        let set = last.map(|(_, (name, value))| [name.as_bytes(), b"=", value.as_bytes()].concat());
        let mut changed = base.to_vec();
        for (nth, parameter) in kept.map(<[u8]>::to_vec).chain(set).enumerate() {
            changed.push(if nth == 0 { b'?' } else { b'&' });
            changed.extend(parameter);
        }
        HeaderValue::from_bytes(&changed).ok()
    }
}

/// Can this be the name or the value of a parameter, as it stands?
pub(super) fn is_part_of_query(text: &str) -> bool {
    is_part_of_target(text.as_bytes()) && !text.contains('&')
}

impl InResponse {
    /// In Envoy's order: what is added, what replaces, then what depends on what is there.
    pub(super) fn new(mut changes: Vec<(AppendAction, HeaderName, HeaderValue)>) -> Self {
        changes.sort_by_key(|(action, ..)| match action {
            AppendAction::AppendIfExistsOrAdd => 0,
            AppendAction::OverwriteIfExistsOrAdd => 1,
            AppendAction::AddIfAbsent => 2,
            AppendAction::OverwriteIfExists => 3,
        });
        Self(changes)
    }

    /// The same of headers that are all added.
    pub(super) fn added(headers: &Headers) -> Self {
        let added =
            headers.iter().map(|(name, value)| (AppendAction::AppendIfExistsOrAdd, name.clone(), value.clone()));
        Self(added.collect())
    }

    pub(super) fn apply(&self, response: &mut ResponseHead) {
        for (action, name, value) in &self.0 {
            let change = match decide(*action, response.headers.contains(name)) {
                None => continue,
                Some(Existing::Kept) => Change::Append(name, value.clone()),
                Some(Existing::Replaced) => Change::Replace(name, value.clone()),
            };
            change.apply(&mut response.headers, is_joined_in_responses);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_set_and_removed_and_others_stay_as_they_came() {
        let query = QueryChanges {
            set: [("b", "%41"), ("new", "x"), ("new", "y"), ("gone", "1")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            removed: vec!["c".to_owned(), "gone".to_owned()],
        };
        for (path, expected) in
            [("/a?c=1&b=2&z=&y&b=%20", "/a?z=&y&b=%41&new=y"), ("/a", "/a?b=%41&new=y"), ("/a?", "/a?b=%41&new=y")]
        {
            assert_eq!(query.applied(&HeaderValue::from_static(path)).unwrap(), expected, "{path}");
        }
        let removed = QueryChanges { removed: vec!["c".to_owned()], ..QueryChanges::default() };
        assert_eq!(removed.applied(&HeaderValue::from_static("/a?c=1&c")).unwrap(), "/a");
        assert_eq!(QueryChanges::default().applied(&HeaderValue::from_static("/a")), None);
    }
}
