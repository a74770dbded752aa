//! Where a request carries tokens, and how they are taken out of it.

use http::HeaderValue;
use http::header::COOKIE;

use crate::codec::RequestHead;
use crate::config::filter::Mutation;
use crate::config::jwt_authn::Provider;
use crate::filter::header_mutation::{decoded, with_query};

/// A token, and where it was found.
pub(super) struct Found<'p> {
    pub(super) text: String,
    pub(super) place: FoundAt<'p>,
    /// The providers that have it looked for there.
    pub(super) providers: Vec<&'p Provider>,
}

/// Where a token was found.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum FoundAt<'p> {
    Header(&'p str, &'p str),
    Parameter(&'p str),
    Cookie(&'p str),
}

impl Found<'_> {
    /// May a token of this issuer stand there?
    pub(super) fn may_be_of(&self, issuer: &str) -> bool {
        self.providers.iter().any(|provider| provider.issuer.is_empty() || provider.issuer == issuer)
    }
}

/// The tokens of a request, in Envoy's order: headers, parameters, cookies, each by name.
pub(super) fn find<'p>(request: &RequestHead, providers: &[&'p Provider]) -> Vec<Found<'p>> {
    let mut places: Vec<(FoundAt<'p>, Vec<&'p Provider>)> = Vec::new();
    for provider in providers {
        let headers = provider.headers.iter().map(|(name, prefix)| FoundAt::Header(name.as_str(), prefix));
        let parameters = provider.parameters.iter().map(|name| FoundAt::Parameter(name));
        let cookies = provider.cookies.iter().map(|name| FoundAt::Cookie(name));
        for place in headers.chain(parameters).chain(cookies) {
            match places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, all)) => all.push(provider),
                None => places.push((place, vec![provider])),
            }
        }
    }
    places.sort_by_key(|(place, _)| *place);
    let mut found = Vec::new();
    for (place, providers) in places {
        for text in at(request, place) {
            found.push(Found { text, place, providers: providers.clone() });
        }
    }
    found
}

/// The texts that stand there.
fn at(request: &RequestHead, place: FoundAt<'_>) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match place {
        FoundAt::Header(name, prefix) => {
            let lines = request.headers.iter().filter(|(known, _)| known.as_str() == name);
            lines.filter_map(|(_, value)| behind(&text(value.as_bytes()), prefix)).collect()
        }
        FoundAt::Parameter(name) => {
            let path = request.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
            let query = path.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
            let mut parameters = query.split(|byte| *byte == b'&').map(|parameter| {
                let mut parts = parameter.splitn(2, |byte| *byte == b'=');
                (decoded(parts.next().unwrap_or_default()), decoded(parts.next().unwrap_or_default()))
            });
            let value = parameters.find(|(known, _)| known == name.as_bytes()).map(|(_, value)| text(&value));
            value.into_iter().collect()
        }
        FoundAt::Cookie(name) => {
            let pairs = request.headers.get_all(&COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
            let value = pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
                let (known, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
                (known == name.as_bytes()).then(|| text(value.get(1..).unwrap_or_default()))
            });
            value.map(|value| value.trim_matches('"').to_owned()).into_iter().collect()
        }
    }
}

/// What stands behind the prefix, from the first character on that a token can have. As in Envoy, the prefix may stand anywhere.
fn behind(value: &str, prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return Some(value.to_owned());
    }
    let (_, rest) = value.split_once(prefix)?;
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    Some(rest.find(is_of_token).and_then(|from| rest.get(from..)).unwrap_or(value).to_owned())
}

/// Takes the token out of the request. A cookie stays, as in Envoy.
pub(super) fn remove(place: FoundAt<'_>, request: &mut RequestHead) {
    match place {
        FoundAt::Header(name, _) => request.headers.retain(|known, _| known.as_str() != name),
        FoundAt::Parameter(name) => {
            if let Some(path) = &request.path {
                request.path = Some(with_query(path, &[Mutation::Remove(name.to_owned())], |_| Vec::new()));
            }
        }
        FoundAt::Cookie(_) => {}
    }
}
