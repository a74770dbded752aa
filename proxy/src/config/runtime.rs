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
    /// Envoy behaves otherwise with it, and finwait does not.
    #[error("{key} is not supported: {reason}")]
    Unsupported {
        /// As written.
        key: String,
        /// What stands in its place.
        reason: &'static str,
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
            return self.check_of_envoy(key);
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

impl RuntimeValue {
    /// Of the keys that change Envoy's behaviour, those that change nothing here take the value that says what finwait does.
    fn check_of_envoy(&self, key: &str) -> Result<(), RuntimeError> {
        let unsupported = UNSUPPORTED
            .iter()
            .find(|(beginning, end, ..)| key.strip_prefix(beginning).is_some_and(|rest| rest.ends_with(end)));
        match unsupported {
            Some((.., neutral, reason)) if neutral.is_none_or(|neutral| self.as_count() != Some(neutral)) => {
                Err(RuntimeError::Unsupported { key: key.to_owned(), reason })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// How a key of Envoy's begins and ends, the value with which it changes nothing, and what to do instead.
const UNSUPPORTED: &[(&str, &str, Option<u32>, &str)] = &[
    ("circuit_breakers.", "", None, "write the limit in circuit_breakers.thresholds of the cluster"),
    ("envoy.reloadable_features.", "", None, "finwait does what Envoy 1.40 does by default; delete the line"),
    ("envoy.resource_limits.listener.", ".connection_limit", None, "the connections of a listener are not limited"),
    ("envoy.restart_features.", "", None, "finwait does what Envoy 1.40 does by default; delete the line"),
    ("health_check.max_interval", "", None, "write the interval in health_checks of the cluster"),
    ("health_check.min_interval", "", Some(0), "write the interval in health_checks of the cluster"),
    ("http_connection_manager.normalize_path", "", Some(0), "paths are passed on as they came"),
    ("outlier_detection.", "", None, "write the value in outlier_detection of the cluster"),
    ("overload.global_downstream_max_connections", "", None, "the connections of the process are not limited"),
    ("upstream.base_retry_backoff_ms", "", Some(25), "write retry_back_off in the retry policy"),
    ("upstream.healthy_panic_threshold", "", None, "write common_lb_config.healthy_panic_threshold in the cluster"),
    ("upstream.maintenance_mode.", "", Some(0), "answer with a direct_response route"),
    ("upstream.use_retry", "", Some(100), "a policy retries always or, with num_retries: 0, never"),
];

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
    fn keys_that_change_what_envoy_does_are_refused_by_name() {
        for key in [
            "circuit_breakers.app.default.max_requests",
            "envoy.reloadable_features.strict_chunk_parsing",
            "envoy.resource_limits.listener.web.connection_limit",
            "outlier_detection.consecutive_5xx",
            "overload.global_downstream_max_connections",
            "upstream.maintenance_mode.app",
            "upstream.use_retry",
        ] {
            let error = RuntimeValue::Number(7.0).check(key).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key} is not supported: ")), "{error}");
        }
    }

    #[test]
    fn keys_of_our_own_are_checked() {
        let flag = RuntimeValue::Flag(false);
        assert_eq!(flag.check("finwait.resend"), Ok(()));
        assert_eq!(flag.check("some.key"), Ok(()));
        assert_eq!(RuntimeValue::Number(100.0).check("upstream.use_retry"), Ok(()));
        let unknown = flag.check("finwait.resent").unwrap_err().to_string();
        assert!(unknown.starts_with("there is no finwait.resent; known are finwait.exclusive_port,"), "{unknown}");
        let half = RuntimeValue::Number(50.0).check("finwait.resend").unwrap_err();
        assert_eq!(half.to_string(), "finwait.resend is true or false, not 50");
    }
}
