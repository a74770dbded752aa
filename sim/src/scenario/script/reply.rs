//! HTTP responses of apps.

use serde::Deserialize;

use super::field_lines::FieldLines;
use super::payload::Payload;
use crate::scenario::units::{Rate, Size, Time};

/// An HTTP response.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Sent with its content-length.
    pub body: Payload,
    /// Sent as they stand here.
    pub headers: FieldLines,
    /// Sent after the body; HTTP/2 only.
    pub trailers: FieldLines,
    /// How long the app thinks first.
    pub after: Time,
    /// How fast the body is sent; as fast as it goes if absent.
    pub send_rate: Option<Rate>,
}

/// A response as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default = "Fields::default_status")]
    status: u16,
    body: Option<String>,
    body_bytes: Option<Size>,
    #[serde(default)]
    headers: FieldLines,
    #[serde(default)]
    trailers: FieldLines,
    #[serde(default)]
    after: Time,
    send_rate: Option<Rate>,
}

impl Fields {
    fn default_status() -> u16 {
        200
    }
}

impl TryFrom<Fields> for Reply {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { status, body, body_bytes, headers, after, send_rate, trailers } = fields;
        let body = match (body, body_bytes) {
            (Some(_), Some(_)) => return Err("a reply has `body` or `body_bytes`, not both"),
            (body, None) => Payload::Text(body.unwrap_or_default()),
            (None, Some(size)) => Payload::Binary(size),
        };
        if !(100..=999).contains(&status) {
            return Err("`status` is a number from 100 to 999");
        }
        Ok(Self { status, body, headers, after, send_rate, trailers })
    }
}

impl Default for Reply {
    fn default() -> Self {
        let (headers, after, trailers) = Default::default();
        let (status, body) = (Fields::default_status(), Payload::Text("ok".into()));
        Self { status, body, headers, after, send_rate: None, trailers }
    }
}
