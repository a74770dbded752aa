//! Scalars that only take part of what their kind can say, as Envoy's protos constrain them.
//!
//! A field of [`bootstrap`](super::bootstrap) whose type stands here cannot hold a value that Envoy refuses: what is
//! wrong is found while the file is read, with the place of the value.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Deref;
use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Deserializer, de};

use super::units::Seconds;

/// A text of at least one character.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct NonEmpty(String);

/// A text without line breaks and NUL: what can stand in one line of a message head. It may be empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct OneLine(String);

/// A text that can be the value of a header. It may be empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HeaderText(pub(super) HeaderValue);

/// The name of a header, in lower case; a pseudo-header's begins with a colon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HeaderName(String);

/// A duration that is longer than `NANOS` nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LongerThan<const NANOS: u64>(pub(super) Duration);

/// A duration that is not zero.
pub(super) type Positive = LongerThan<0>;

/// A whole number of percent, from 0 to 100.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct WholePercent(pub(super) u32);

/// A port that a connection can have, from 1 to 65535.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Port(pub(super) NonZeroU16);

/// A number that is not 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct AtLeastOne(pub(super) NonZeroU32);

/// A part of a hundred, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PercentValue(pub(super) f64);

/// Is it the name of a header, or of a pseudo-header?
pub(super) fn is_header_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    // RFC 9110 5.6.2: a token.
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

impl HeaderName {
    /// The name that `text` is, or what is wrong with it.
    fn parse(text: &str) -> Result<Self, String> {
        if !is_header_name(text) {
            return Err(format!("{text:?} is not a header name; write a token such as x-name"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

#[cfg(test)]
impl From<&str> for NonEmpty {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for NonEmpty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(de::Error::custom("must not be empty"));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for OneLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains(['\0', '\r', '\n']) {
            return Err(de::Error::custom(format!("{text:?} must not contain line breaks or NUL")));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HeaderValue::from_bytes(text.as_bytes()).map(Self).map_err(|_| {
            de::Error::custom(format!(
                "{text:?} cannot be the value of a header; write it without line breaks and other control characters"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl<'de, const NANOS: u64> Deserialize<'de> for LongerThan<NANOS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Seconds(duration) = Seconds::deserialize(deserializer)?;
        if duration <= Duration::from_nanos(NANOS) {
            let least = Duration::from_nanos(NANOS).as_secs_f64();
            return Err(de::Error::custom(format!("must be greater than {least}s")));
        }
        Ok(Self(duration))
    }
}

impl<'de> Deserialize<'de> for WholePercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = u32::deserialize(deserializer)?;
        if percent > 100 {
            return Err(de::Error::custom(out_of_percent(percent)));
        }
        Ok(Self(percent))
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let port = u32::deserialize(deserializer)?;
        let within = u16::try_from(port).ok().and_then(NonZeroU16::new);
        within.map(Self).ok_or_else(|| de::Error::custom(format!("{port} is not within 1 to 65535")))
    }
}

impl<'de> Deserialize<'de> for AtLeastOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NonZeroU32::new(u32::deserialize(deserializer)?)
            .map(Self)
            .ok_or_else(|| de::Error::custom("must be at least 1"))
    }
}

impl<'de> Deserialize<'de> for PercentValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(de::Error::custom(out_of_percent(percent)));
        }
        Ok(Self(percent))
    }
}

impl Default for PercentValue {
    /// What a percentage without a value is.
    fn default() -> Self {
        Self(0.0)
    }
}

fn out_of_percent(percent: impl fmt::Display) -> String {
    format!("{percent} is not within 0 to 100")
}

impl Deref for NonEmpty {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for OneLine {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for HeaderName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_name_is_a_token_in_lower_case() {
        for (text, name) in [
            ("X-Again", Some("x-again")),
            (":path", Some(":path")),
            ("", None),
            (":", None),
            ("a b", None),
            ("a\r\nx: y", None),
            ("a:b", None),
            ("é", None),
        ] {
            assert_eq!(HeaderName::parse(text).ok().as_deref(), name, "{text:?}");
        }
    }
}
