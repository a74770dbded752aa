//! The runtime as configured: values by key, in layers of which the later override the earlier.

use std::collections::BTreeMap;
use std::fmt;

use super::Difference;

/// What every key that is ours begins with.
const OURS: &str = "finwait.";

/// A layer.
#[derive(Clone, Debug)]
pub struct RuntimeLayer {
    /// Its name, which no other has.
    pub name: String,
    /// What it holds.
    pub values: LayerValues,
}

impl RuntimeLayer {
    /// What the configuration itself says of a key here.
    pub(super) fn fixed(&self, key: &str) -> Option<&RuntimeValue> {
        match &self.values {
            LayerValues::Admin => None,
            LayerValues::Static(values) => values.get(key),
        }
    }
}

/// Where a layer's values come from.
#[derive(Clone, Debug)]
pub enum LayerValues {
    /// The admin interface, at any time.
    Admin,
    /// The configuration.
    Static(BTreeMap<String, RuntimeValue>),
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeValue {
    /// `true` or `false`.
    Flag(bool),
    /// `{ numerator, denominator }`; the denominator is 100, 10,000 or 1,000,000.
    Fraction {
        /// So many
        numerator: u32,
        /// of so many.
        denominator: u32,
    },
    /// A number.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// A value that its key does not take.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuntimeError {
    /// The key is none of ours.
    #[error("there is no {key}; known are {known}", known = known())]
    UnknownKey {
        /// As written.
        key: String,
    },
    /// A difference is on or off.
    #[error("{key} is true or false, not {value}")]
    NoFlag {
        /// The key.
        key: String,
        /// As written.
        value: String,
    },
}

fn known() -> String {
    Difference::ALL.map(Difference::key).join(", ")
}

impl RuntimeValue {
    /// What an operator typed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match (text, text.parse::<f64>()) {
            ("true", _) => Self::Flag(true),
            ("false", _) => Self::Flag(false),
            (_, Ok(number)) if number.is_finite() => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// As something that is on or off: nothing and everything of a fraction count, a part of it does not.
    #[must_use]
    pub fn as_flag(&self) -> Option<bool> {
        match self {
            Self::Flag(is_on) => Some(*is_on),
            Self::Fraction { numerator: 0, .. } => Some(false),
            Self::Fraction { numerator, denominator } => (numerator >= denominator).then_some(true),
            Self::Number(percent) if *percent == 0.0 => Some(false),
            Self::Number(percent) => (*percent >= 100.0).then_some(true),
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// As a count: whole numbers, and texts of one.
    #[must_use]
    pub fn as_count(&self) -> Option<u32> {
        match self {
            Self::Number(number) => number.to_string().parse().ok(),
            Self::Text(text) => text.parse().ok(),
            Self::Flag(_) | Self::Fraction { .. } => None,
        }
    }

    /// Does this key take this value? What is not ours may be anything, as in Envoy.
    ///
    /// # Errors
    /// It does not, or is one of ours that does not exist.
    pub fn check(&self, key: &str) -> Result<(), RuntimeError> {
        if !key.starts_with(OURS) {
            return Ok(());
        }
        if Difference::of_key(key).is_none() {
            return Err(RuntimeError::UnknownKey { key: key.to_owned() });
        }
        match self.as_flag() {
            Some(_) => Ok(()),
            None => Err(RuntimeError::NoFlag { key: key.to_owned(), value: self.to_string() }),
        }
    }
}

impl fmt::Display for RuntimeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(is_on) => is_on.fmt(f),
            Self::Fraction { numerator, denominator } => write!(f, "{numerator}/{denominator}"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_what_they_are_for() {
        let cases = [
            ("true", Some(true), None, "true"),
            ("false", Some(false), None, "false"),
            ("0", Some(false), Some(0), "0"),
            ("100", Some(true), Some(100), "100"),
            ("50", None, Some(50), "50"),
            ("1.5", None, None, "1.5"),
            ("-1", None, None, "-1"),
            ("some", None, None, "some"),
        ];
        for (text, flag, count, printed) in cases {
            let value = RuntimeValue::parse(text);
            assert_eq!(
                (value.as_flag(), value.as_count(), value.to_string().as_str()),
                (flag, count, printed),
                "{text}"
            );
        }
        assert_eq!(RuntimeValue::Fraction { numerator: 10_000, denominator: 10_000 }.as_flag(), Some(true));
        assert_eq!(RuntimeValue::Fraction { numerator: 1, denominator: 100 }.as_flag(), None);
    }

    #[test]
    fn keys_of_our_own_are_checked() {
        let flag = RuntimeValue::Flag(false);
        assert_eq!(flag.check("finwait.resend"), Ok(()));
        assert_eq!(flag.check("upstream.use_retry"), Ok(()));
        let unknown = flag.check("finwait.resent").unwrap_err().to_string();
        assert!(unknown.starts_with("there is no finwait.resent; known are finwait.exclusive_port,"), "{unknown}");
        let half = RuntimeValue::Number(50.0).check("finwait.resend").unwrap_err();
        assert_eq!(half.to_string(), "finwait.resend is true or false, not 50");
    }
}
