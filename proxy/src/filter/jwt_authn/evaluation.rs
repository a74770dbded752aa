//! What a request needs, held against the tokens that it carries.
//!
//! Pure: where keys are missing that have to be fetched, [`Evaluation::run`] says whose, and is run again from the beginning once
//! they are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::places::{self, Found, FoundAt};
use super::token::Token;
use crate::access_log::JwtFailure as Failure;
use crate::codec::RequestHead;
use crate::config::jwks::Keys;
use crate::config::jwt_authn::{Forgiven, KeySource, Provider, RemoteKeys, Requirement};
use crate::config::metadata::{Struct, Value};

/// What an application is told of a token that is not valid, where it goes on.
const VERIFIED: HeaderName = HeaderName::from_static("x-jwt-signature-verified");

/// What is known of keys that have to be fetched.
pub(super) enum Fetched {
    /// They could not be fetched.
    Failed,
    /// These are they.
    Keys(Arc<Keys>),
    /// They have not been fetched.
    NotYet,
}

/// Why an evaluation ends.
pub(super) enum Stop<'c> {
    Failed(Failure),
    /// These keys are needed.
    Fetch(&'c RemoteKeys),
}

/// What a request has shown.
pub(super) struct Evaluation<'c, 'k> {
    providers: &'c [Provider],
    /// A copy, changed as far as its tokens have been found valid: as in Envoy, a token that is taken out is not there for what
    /// comes after.
    pub(super) request: RequestHead,
    /// This second, since 1970.
    now: u64,
    keys: &'k dyn Fn(&RemoteKeys) -> Fetched,
    pub(super) metadata: Struct,
    pub(super) clears_route: bool,
    /// Tokens that were looked up among those that were verified before: none is kept.
    pub(super) misses: u64,
}

impl<'c, 'k> Evaluation<'c, 'k> {
    pub(super) fn new(
        providers: &'c [Provider],
        request: RequestHead,
        now: u64,
        keys: &'k dyn Fn(&RemoteKeys) -> Fetched,
    ) -> Self {
        Self { providers, request, now, keys, metadata: Struct::new(), clears_route: false, misses: 0 }
    }

    /// Does the request have what it needs?
    pub(super) fn run(&mut self, requirement: &'c Requirement) -> Result<(), Stop<'c>> {
        match requirement {
            Requirement::All(all) => all.iter().try_for_each(|one| self.run(one)),
            Requirement::Any(any, forgiven) => match (self.any(any), forgiven) {
                (Err(Stop::Failed(_)), Forgiven::MissingOrFailed) => Ok(()),
                (Err(Stop::Failed(Failure::Missing)), Forgiven::Missing) => Ok(()),
                (result, Forgiven::Missing | Forgiven::MissingOrFailed | Forgiven::Nothing) => result,
            },
            Requirement::Marked => match self.lenient(Stop::is_of_missing) {
                Err(Stop::Failed(_)) => {
                    self.request.headers.set(VERIFIED, HeaderValue::from_static("false"));
                    Ok(())
                }
                other => other,
            },
            Requirement::Missing => self.lenient(Stop::is_of_missing),
            Requirement::MissingOrFailed => match self.lenient(|_| true) {
                Err(Stop::Failed(_)) | Ok(()) => Ok(()),
                fetch @ Err(Stop::Fetch(_)) => fetch,
            },
            Requirement::Nothing => Ok(()),
            Requirement::Provider(index, audiences) => self.provider(*index, audiences.as_deref()),
        }
    }

    /// One is enough. The failure that tells most is reported.
    fn any(&mut self, any: &'c [Requirement]) -> Result<(), Stop<'c>> {
        let mut failure = None;
        for one in any {
            match self.run(one) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(why)) => {
                    let told = failure.map_or(0, told_by);
                    if told_by(why) >= told {
                        failure = Some(why);
                    }
                }
                fetch @ Err(Stop::Fetch(_)) => return fetch,
            }
        }
        failure.map_or(Ok(()), |why| Err(Stop::Failed(why)))
    }

    /// All tokens of one provider have to be valid: an application might use any of them.
    fn provider(&mut self, index: usize, audiences: Option<&[String]>) -> Result<(), Stop<'c>> {
        let Some(provider) = self.providers.get(index) else { return Err(Stop::Failed(Failure::Issuer)) };
        self.reserve(provider);
        let mut tokens = places::find(&self.request, &[provider]);
        if tokens.is_empty() {
            return Err(self.failed(Failure::Missing, None));
        }
        while let Some(found) = tokens.pop() {
            self.misses += 1;
            self.verify(&found, Some(provider), audiences, &mut Some(provider))?;
        }
        Ok(())
    }

    /// The last token that is looked at decides, as in Envoy.
    fn lenient(&mut self, forgives: fn(&Stop<'c>) -> bool) -> Result<(), Stop<'c>> {
        let providers: Vec<&'c Provider> = self.providers.iter().collect();
        providers.iter().for_each(|provider| self.reserve(provider));
        let mut tokens = places::find(&self.request, &providers);
        let mut last = if tokens.is_empty() { Err(self.failed(Failure::Missing, None)) } else { Ok(()) };
        let mut of = None;
        while let Some(found) = tokens.pop() {
            last = self.verify(&found, None, None, &mut of);
            if let Err(Stop::Fetch(_)) = last {
                return last;
            }
        }
        match last {
            Err(stop) if forgives(&stop) => Ok(()),
            other => other,
        }
    }

    /// A token is not valid, which is told in the metadata as its provider wants: as in Envoy, the provider of the token before it
    /// if it has none of its own, or else the only one.
    fn failed(&mut self, why: Failure, of: Option<&Provider>) -> Stop<'c> {
        let only = if let [only] = self.providers { Some(only) } else { None };
        if let Some(name) = of.or(only).and_then(|provider| provider.failure_in_metadata.as_ref()) {
            let told = [
                ("code".to_owned(), Value::Number(why.code().into())),
                ("message".to_owned(), Value::Text(why.words())),
            ];
            self.metadata.insert(name.clone(), Value::Struct(told.into()));
        }
        Stop::Failed(why)
    }

    /// `of` becomes the provider whose token it is.
    fn verify(
        &mut self,
        found: &Found<'c>,
        provider: Option<&'c Provider>,
        audiences: Option<&[String]>,
        of: &mut Option<&'c Provider>,
    ) -> Result<(), Stop<'c>> {
        match self.check(found, provider, audiences, of) {
            Err(Stop::Failed(why)) => Err(self.failed(why, *of)),
            other => other,
        }
    }

    fn check(
        &mut self,
        found: &Found<'c>,
        provider: Option<&'c Provider>,
        audiences: Option<&[String]>,
        of: &mut Option<&'c Provider>,
    ) -> Result<(), Stop<'c>> {
        let token = Token::parse(&found.text).map_err(Stop::Failed)?;
        if !found.may_be_of(&token.issuer) {
            return Err(Stop::Failed(Failure::Issuer));
        }
        let provider = provider.or_else(|| {
            let of = |issuer: &str| self.providers.iter().find(|provider| provider.issuer == issuer);
            of(&token.issuer).or_else(|| of(""))
        });
        *of = provider;
        let Some(provider) = provider else { return Err(Stop::Failed(Failure::Issuer)) };
        self.check_claims(&token, provider, audiences).map_err(Stop::Failed)?;
        match &provider.keys {
            KeySource::Local(keys) => token.check_signature(keys),
            KeySource::Remote(remote) => match (self.keys)(remote) {
                Fetched::Failed => Err(Failure::FetchFailed),
                Fetched::Keys(keys) => token.check_signature(&keys),
                Fetched::NotYet => return Err(Stop::Fetch(remote)),
            },
        }
        .map_err(Stop::Failed)?;
        self.accept(&token, provider, found.place);
        Ok(())
    }

    fn check_claims(
        &self,
        token: &Token<'_>,
        provider: &Provider,
        audiences: Option<&[String]>,
    ) -> Result<(), Failure> {
        if provider.subjects.as_ref().is_some_and(|subjects| !subjects.takes(token.subject.as_bytes())) {
            return Err(Failure::Verification);
        }
        token.check_time(self.now, provider.clock_skew)?;
        if provider.requires_expiration || provider.lifetime_max.is_some() {
            let latest = provider.lifetime_max.map_or(u64::MAX, |limit| self.now.saturating_add(limit.as_secs()));
            if token.expires().is_none_or(|expires| expires > latest) {
                return Err(Failure::Verification);
            }
        }
        if !token.is_for(audiences.unwrap_or(&provider.audiences)) {
            return Err(Failure::Audience);
        }
        Ok(())
    }

    /// What clients send under the names of the filter's own headers is removed.
    fn reserve(&mut self, provider: &Provider) {
        let names = provider.payload_header.iter().map(|(name, _)| name);
        for name in names.chain(provider.claims.iter().map(|(name, _)| name)) {
            self.request.headers.remove(name);
        }
    }

    /// A token of this provider is valid.
    fn accept(&mut self, token: &Token<'_>, provider: &Provider, place: FoundAt<'_>) {
        if let Some((name, is_padded)) = &provider.payload_header {
            let length = token.payload_text.len();
            let missing = if *is_padded { length.next_multiple_of(4) - length } else { 0 };
            self.add(name, &format!("{}{}", token.payload_text, "=".repeat(missing)));
        }
        for (name, path) in &provider.claims {
            if let Some(text) = token.claim(path).and_then(header_text) {
                self.add(name, &text);
            }
        }
        let adds = !provider.claims.is_empty() || provider.payload_header.is_some();
        self.clears_route |= provider.clears_route && adds;
        if !provider.forwards {
            places::remove(place, &mut self.request);
        }
        if let Some(name) = &provider.header_in_metadata {
            self.metadata.insert(name.clone(), Value::Struct(members(&token.header, &[])));
        }
        if let Some(name) = &provider.payload_in_metadata {
            let payload = members(&token.payload, &provider.delimited_claims);
            self.metadata.insert(name.clone(), Value::Struct(payload));
        }
    }

    /// A text that is no header value is left out.
    fn add(&mut self, name: &HeaderName, text: &str) {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.request.headers.append(name.clone(), value);
        }
    }
}

/// How much a failure tells, beside others of other providers.
fn told_by(why: Failure) -> u8 {
    if why == Failure::Missing {
        1
    } else if why == Failure::Issuer {
        2
    } else {
        3
    }
}

impl Stop<'_> {
    fn is_of_missing(&self) -> bool {
        matches!(self, Self::Failed(Failure::Missing))
    }
}

/// A claim as the value of a header: lists and messages as base64 of JSON, as in Envoy. An empty text is none.
fn header_text(claim: &Json) -> Option<String> {
    let text = match claim {
        Json::Array(_) | Json::Object(_) => STANDARD.encode(value(claim).to_json().to_string()),
        Json::Bool(flag) => flag.to_string(),
        Json::Null => return None,
        Json::Number(number) => match number.as_f64() {
            Some(number) if number.fract() == 0.0 && number >= 0.0 => format!("{number:.0}"),
            Some(number) => format!("{number:.6}"),
            None => return None,
        },
        Json::String(text) => text.clone(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The members of an object; those in `delimited` are lists if they are texts with blanks between their words.
fn members(object: &serde_json::Map<String, Json>, delimited: &[String]) -> Struct {
    let member = |(key, json): (&String, &Json)| {
        let words = json.as_str().filter(|_| delimited.contains(key));
        let list = words.map(|words| words.split_ascii_whitespace().map(|word| Value::Text(word.to_owned())).collect());
        (key.clone(), list.map_or_else(|| value(json), Value::List))
    };
    object.iter().map(member).collect::<BTreeMap<_, _>>()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Null => Value::Null,
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Json::Object(object) => Value::Struct(members(object, &[])),
        Json::String(text) => Value::Text(text.clone()),
    }
}
