//! A service that authorises requests: over gRPC `envoy.service.auth.v3.Authorization`, over HTTP a status.

use serde::Deserialize;

use super::grpc::{self, Message};
use crate::scenario::script::{Payload, Reply};
use crate::scenario::units::Time;
use crate::scenario::{FieldLines, Ordered};

/// The settings of the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorisation {
    /// Its first decisions, one for each request, before it comes to `reply`.
    pub first: Vec<Decision>,
    /// Its decision about the others.
    pub reply: Decision,
}

/// What it decides; without `deny` and `error` it allows the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Decision {
    /// What becomes of the request.
    pub verdict: Verdict,
    /// Set in the request that is allowed, or in the response to one that is denied.
    pub headers: Ordered<String>,
    /// Added to the response to a request that is allowed.
    pub response_headers: Ordered<String>,
    /// Taken off the request that is allowed.
    pub remove: Vec<String>,
    /// Left as metadata of the request.
    pub metadata: Ordered<String>,
    /// The body of the response to a request that is denied.
    pub body: String,
    /// How long it takes.
    pub after: Time,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Verdict {
    /// It goes on.
    #[default]
    Allowed,
    /// It gets a response with this status.
    Denied(u16),
    /// The service fails, with this status of gRPC or of HTTP.
    Failed(u16),
}

/// A decision as written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Fields {
    deny: Option<u16>,
    error: Option<u16>,
    headers: Ordered<String>,
    response_headers: Ordered<String>,
    remove: Vec<String>,
    metadata: Ordered<String>,
    body: String,
    after: Time,
}

impl TryFrom<Fields> for Decision {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { deny, error, headers, response_headers, remove, metadata, body, after } = fields;
        let verdict = match (deny, error) {
            (None, None) => Verdict::Allowed,
            (Some(status @ 100..=999), None) => Verdict::Denied(status),
            (Some(_), None) => return Err("`deny` is the status of the response, a number from 100 to 999"),
            (None, Some(status)) => Verdict::Failed(status),
            (Some(_), Some(_)) => return Err("a decision has `deny` or `error`, not both"),
        };
        Ok(Self { verdict, headers, response_headers, remove, metadata, body, after })
    }
}

/// `PERMISSION_DENIED` of gRPC.
const PERMISSION_DENIED: u64 = 7;

impl Decision {
    /// As a `CheckResponse`.
    pub(super) fn over_grpc(&self) -> Reply {
        let headers = |field: u64, message: Message, headers: &Ordered<String>| {
            headers.iter().fold(message, |message, (name, value)| message.message(field, &option(name, value)))
        };
        let response = match self.verdict {
            Verdict::Failed(status) => return grpc::failed(status, self.after),
            Verdict::Allowed => {
                let ok = headers(2, Message::default(), &self.headers);
                let ok = self.remove.iter().fold(ok, |ok, name| ok.bytes(5, name.as_bytes()));
                Message::default().message(1, &Message::default()).message(3, &headers(6, ok, &self.response_headers))
            }
            Verdict::Denied(status) => {
                let denied = Message::default().message(1, &Message::default().number(1, status.into()));
                let denied = headers(2, denied, &self.headers).bytes(3, self.body.as_bytes());
                let status = Message::default().number(1, PERMISSION_DENIED);
                Message::default().message(1, &status).message(2, &denied)
            }
        };
        let has_metadata = !self.metadata.0.is_empty();
        (if has_metadata { response.message(4, &grpc::texts(&self.metadata)) } else { response }).reply(self.after)
    }

    /// As a response of HTTP: all that it says are headers of it, of which the filter has to name those that count.
    pub(super) fn over_http(&self) -> Reply {
        let all = [&self.headers, &self.response_headers, &self.metadata];
        let mut headers: Vec<_> = all.into_iter().flat_map(|headers| headers.0.iter().cloned()).collect();
        if !self.remove.is_empty() {
            headers.push(("x-envoy-auth-headers-to-remove".to_owned(), self.remove.join(",")));
        }
        let status = match self.verdict {
            Verdict::Allowed => 200,
            Verdict::Denied(status) | Verdict::Failed(status) => status,
        };
        let body = Payload::Text(self.body.clone());
        Reply { status, body, headers: FieldLines(headers), after: self.after, ..Reply::default() }
    }
}

/// A `HeaderValueOption`.
fn option(name: &str, value: &str) -> Message {
    Message::default().message(1, &Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes()))
}
