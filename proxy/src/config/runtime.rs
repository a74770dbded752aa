//! The runtime as configured: values by key, in layers of which the later override the earlier.

use std::collections::BTreeMap;
use std::fmt;

use super::Difference;
use super::cluster::Priority;

/// What every key that is ours begins with.
const OURS: &str = "finwait.";

/// One layer of `layered_runtime`; a later layer overrides an earlier one.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub enum LayerValues {
    /// The admin interface, at any time.
    Admin,
    /// `static_layer` and `disk_layer`: values of the configuration, and of the files that it names as they were when it was read.
    Static(BTreeMap<String, RuntimeValue>),
}

/// The value of a runtime key.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeValue {
    /// `true` or `false`.
    Flag(bool),
    /// `{ numerator, denominator }`; the denominator is 100, 10,000 or 1,000,000.
    Fraction {
        /// How many of `denominator` are meant.
        numerator: u32,
        /// The whole.
        denominator: u32,
    },
    /// A number, or a text that is one.
    Number(f64),
    /// Any other text.
    Text(String),
}

/// A value that its key does not take.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuntimeError {
    /// The key is none of ours.
    #[error("there is no {key}; known are {known}", known = known())]
    UnknownKey {
        /// As it stands in the configuration.
        key: String,
    },
    /// Envoy behaves otherwise with it, and finwait does not.
    #[error("{key} is not supported: {reason}")]
    Unsupported {
        /// As it stands in the configuration.
        key: String,
        /// What stands in its place.
        reason: &'static str,
    },
    /// A limit is a count.
    #[error("{key} is a whole number from 0, not {value}")]
    NoCount {
        /// The runtime key in question.
        key: String,
        /// As it stands in the configuration.
        value: String,
    },
    /// A share is a percentage.
    #[error("{key} is a percentage from 0 to 100, not {value}")]
    NoPercentage {
        /// The runtime key in question.
        key: String,
        /// As it stands in the configuration.
        value: String,
    },
    /// A difference is on or off.
    #[error("{key} is true or false, not {value}")]
    NoFlag {
        /// The runtime key in question.
        key: String,
        /// As it stands in the configuration.
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

    /// As a count: numbers from 0, of which the part after the point is dropped as in Envoy, and texts of one. What is
    /// larger than any count is the largest.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..=u32::MAX, by the line before")]
    pub fn as_count(&self) -> Option<u32> {
        let number = self.as_number().filter(|number| *number >= 0.0)?;
        Some(number.min(f64::from(u32::MAX)) as u32)
    }

    /// As a percentage from 0 to 100, in hundredths of a percent.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..=10000, by the line before")]
    pub fn as_basis_points(&self) -> Option<u32> {
        let percent = self.as_number().filter(|percent| (0.0..=100.0).contains(percent))?;
        Some((percent * 100.0) as u32)
    }

    /// As a share of the requests, in millionths: a fraction, or a whole number of percent, as in Envoy. What is more than all
    /// is all.
    #[must_use]
    pub fn as_millionths(&self) -> Option<u32> {
        const ALL: u64 = 1_000_000;
        let millionths = match self {
            Self::Fraction { numerator, denominator } => u64::from(*numerator) * ALL / u64::from(*denominator).max(1),
            Self::Flag(_) | Self::Number(_) | Self::Text(_) => u64::from(self.as_count()?) * (ALL / 100),
        };
        u32::try_from(millionths.min(ALL)).ok()
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
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
        let (key_of, value_of) = (|| key.to_owned(), || self.to_string());
        match limit(key) {
            Some(Takes::Count) if self.as_count().is_none() => {
                return Err(RuntimeError::NoCount { key: key_of(), value: value_of() });
            }
            Some(Takes::Percentage) if self.as_basis_points().is_none() => {
                return Err(RuntimeError::NoPercentage { key: key_of(), value: value_of() });
            }
            Some(Takes::Count | Takes::Percentage) => return Ok(()),
            None => {}
        }
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

/// What the key of a limit takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Takes {
    Count,
    Percentage,
}

/// What `key` takes, if it is that of a limit.
fn limit(key: &str) -> Option<Takes> {
    if key == PANIC_THRESHOLD {
        return Some(Takes::Percentage);
    }
    if key == BASE_RETRY_BACKOFF || key == USE_RETRY || key.starts_with(MAINTENANCE) {
        return Some(Takes::Count);
    }
    let of_listener = key.strip_prefix(LISTENER).is_some_and(|rest| rest.ends_with(CONNECTION_LIMIT));
    if of_listener || key == GLOBAL_CONNECTION_LIMIT {
        return Some(Takes::Count);
    }
    let rest = key.strip_prefix(BREAKERS)?;
    let of = |limit: &&BreakerLimit| {
        let ends = |priority: Priority| rest.ends_with(&format!(".{}.{}", priority.key(), limit.key()));
        ends(Priority::Default) || ends(Priority::High)
    };
    BreakerLimit::ALL.iter().find(of).map(|limit| limit.takes())
}

/// Whose limit a key sets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Limited<'k> {
    /// That of the cluster of this name.
    Cluster(&'k str),
    /// That of the listener of this name.
    Listener(&'k str),
}

/// The cluster or listener whose limit `key` sets; `None` if it is no key of a limit.
pub(super) fn limited(key: &str) -> Option<Limited<'_>> {
    if let Some(cluster) = key.strip_prefix(MAINTENANCE) {
        return Some(Limited::Cluster(cluster));
    }
    if let Some(rest) = key.strip_prefix(LISTENER) {
        return rest.strip_suffix(CONNECTION_LIMIT).map(Limited::Listener);
    }
    let rest = key.strip_prefix(BREAKERS)?;
    let names = BreakerLimit::ALL.iter().flat_map(|limit| {
        [Priority::Default, Priority::High].map(|priority| format!(".{}.{}", priority.key(), limit.key()))
    });
    names.into_iter().find_map(|end| rest.strip_suffix(end.as_str())).map(Limited::Cluster)
}

/// Does a value of this key change what finwait does?
#[must_use]
pub(super) fn acts(key: &str) -> bool {
    key.starts_with(OURS) || key.starts_with(FAULT) || READ.contains(&key) || limit(key).is_some()
}

/// What the keys of the filter `envoy.filters.http.fault` begin with; those of single clusters have names that requests give.
const FAULT: &str = "fault.http.";

/// Envoy's keys that have a meaning here besides limits.
const READ: [&str; 2] =
    ["overload.premature_reset_min_stream_lifetime_seconds", "overload.premature_reset_total_stream_count"];

/// The first interval of retries whose policy names none, in milliseconds.
pub const BASE_RETRY_BACKOFF: &str = "upstream.base_retry_backoff_ms";
/// If a smaller share of a cluster's endpoints is healthy, health does not count, in percent.
pub const PANIC_THRESHOLD: &str = "upstream.healthy_panic_threshold";
/// The share of retries that are made, in percent.
pub const USE_RETRY: &str = "upstream.use_retry";
const MAINTENANCE: &str = "upstream.maintenance_mode.";

/// The key for the share of the requests that a cluster refuses, in percent.
#[must_use]
pub fn maintenance_mode(cluster: &str) -> String {
    format!("{MAINTENANCE}{cluster}")
}

const BREAKERS: &str = "circuit_breakers.";
const LISTENER: &str = "envoy.resource_limits.listener.";
const CONNECTION_LIMIT: &str = ".connection_limit";

/// Connections of all listeners together.
pub const GLOBAL_CONNECTION_LIMIT: &str = "overload.global_downstream_max_connections";

/// The key for the connections of the listener of this name.
#[must_use]
pub fn connection_limit(listener: &str) -> String {
    format!("{LISTENER}{listener}{CONNECTION_LIMIT}")
}

/// A limit of a cluster, which a key may change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerLimit {
    /// `max_connections`.
    Connections,
    /// Requests waiting for a connection.
    Pending,
    /// Endpoints that have connections.
    Pools,
    /// Requests under way.
    Requests,
    /// Retries under way, where there is no budget.
    Retries,
    /// The budget of retries: their share of the requests.
    BudgetPercent,
    /// The budget of retries: as many may be under way in any case.
    BudgetRetriesMin,
}

impl BreakerLimit {
    const ALL: [Self; 7] = [
        Self::Connections,
        Self::Pending,
        Self::Pools,
        Self::Requests,
        Self::Retries,
        Self::BudgetPercent,
        Self::BudgetRetriesMin,
    ];

    /// The key of this limit of a cluster, for requests of one priority.
    #[must_use]
    pub fn of(self, cluster: &str, priority: Priority) -> String {
        format!("{BREAKERS}{cluster}.{}.{}", priority.key(), self.key())
    }

    /// As `circuit_breakers.thresholds` has it.
    fn key(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Pending => "max_pending_requests",
            Self::Pools => "max_connection_pools",
            Self::Requests => "max_requests",
            Self::Retries => "max_retries",
            Self::BudgetPercent => "retry_budget.budget_percent",
            Self::BudgetRetriesMin => "retry_budget.min_retry_concurrency",
        }
    }

    fn takes(self) -> Takes {
        match self {
            Self::BudgetPercent => Takes::Percentage,
            Self::Connections
            | Self::Pending
            | Self::Pools
            | Self::Requests
            | Self::Retries
            | Self::BudgetRetriesMin => Takes::Count,
        }
    }
}

/// How a key of Envoy's begins and ends, the value with which it changes nothing, and what to do instead.
const UNSUPPORTED: &[(&str, &str, Option<u32>, &str)] = &[
    (
        "circuit_breakers.",
        "",
        None,
        "after circuit_breakers.CLUSTER.default. or .high. comes max_connections, max_connection_pools, max_pending_requests, max_requests, \
         max_retries, retry_budget.budget_percent or retry_budget.min_retry_concurrency",
    ),
    ("envoy.reloadable_features.", "", None, "finwait does what Envoy 1.40 does by default; delete the line"),
    ("envoy.restart_features.", "", None, "finwait does what Envoy 1.40 does by default; delete the line"),
    ("health_check.max_interval", "", None, "write the interval in health_checks of the cluster"),
    ("health_check.min_interval", "", Some(0), "write the interval in health_checks of the cluster"),
    ("http_connection_manager.normalize_path", "", Some(0), "paths are passed on as they came"),
    ("outlier_detection.", "", None, "write the value in outlier_detection of the cluster"),
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
            ("1.5", None, Some(1), "1.5"),
            ("5000000000", Some(true), Some(u32::MAX), "5000000000"),
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
            "circuit_breakers.app.default.max_request",
            "circuit_breakers.app.max_requests",
            "envoy.reloadable_features.strict_chunk_parsing",
            "outlier_detection.consecutive_5xx",
        ] {
            let error = RuntimeValue::Number(7.0).check(key).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key} is not supported: ")), "{error}");
        }
    }

    #[test]
    fn keys_of_limits_take_numbers() {
        let counts = [
            BreakerLimit::Requests.of("app.of.ours", Priority::High),
            connection_limit("a.b"),
            GLOBAL_CONNECTION_LIMIT.to_owned(),
        ];
        for key in counts {
            assert!(acts(&key), "{key}");
            assert_eq!(RuntimeValue::Number(7.0).check(&key), Ok(()));
            let error = RuntimeValue::parse("-1").check(&key).unwrap_err().to_string();
            assert_eq!(error, format!("{key} is a whole number from 0, not -1"));
        }
        let share = BreakerLimit::BudgetPercent.of("app", Priority::Default);
        assert_eq!(share, "circuit_breakers.app.default.retry_budget.budget_percent");
        assert_eq!(RuntimeValue::parse("12.5").check(&share), Ok(()));
        let error = RuntimeValue::parse("101").check(&share).unwrap_err().to_string();
        assert_eq!(error, format!("{share} is a percentage from 0 to 100, not 101"));
    }

    #[test]
    fn the_key_of_a_limit_names_whose_it_is() {
        for (key, expected) in [
            ("circuit_breakers.app.of.ours.high.max_requests", Some(Limited::Cluster("app.of.ours"))),
            ("circuit_breakers.a.default.retry_budget.budget_percent", Some(Limited::Cluster("a"))),
            ("circuit_breakers.a.max_requests", None),
            ("envoy.resource_limits.listener.a.b.connection_limit", Some(Limited::Listener("a.b"))),
            (GLOBAL_CONNECTION_LIMIT, None),
            ("finwait.resend", None),
        ] {
            assert_eq!(limited(key), expected, "{key}");
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
