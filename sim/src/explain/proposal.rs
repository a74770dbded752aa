//! What a setting is to become, so that a change can be tried and not only be named: the place that names a change knows what
//! it is for.

use std::borrow::Cow;
use std::time::Duration;

/// Where the file of endpoints is named, of a cluster that has one.
pub(super) const FILE_OF_ENDPOINTS: &str = "eds_cluster_config.eds_config";

/// What a setting is to become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Proposal {
    /// The words of the change are all: no setting is about it.
    Advice,
    /// Another app of the scenario in place of the endpoint.
    AnotherApp,
    /// The first cluster of the configuration, as where the request is led.
    FirstCluster,
    /// A longer time: more than this, or several times what it is.
    Longer(Option<Duration>),
    /// One more item of a list, as YAML.
    Push(Cow<'static, str>),
    /// The setting goes away.
    Remove,
    /// Keys of the runtime and their values, over those that are there.
    Runtime(Vec<(String, u32)>),
    /// This value, as YAML.
    Set(Cow<'static, str>),
    /// A time below this one.
    Shorter(Duration),
    /// All thresholds of a circuit breaker, beyond reach.
    Unlimited,
    /// The upgrade that a request asks for, which the place that names the change fills in.
    Upgrade,
    /// It cannot be tried, for this reason.
    Untried(&'static str),
    /// An HTTP filter goes away, by the end of its type's name.
    WithoutFilter(&'static str),
    /// One more word in a list with commas.
    Word(&'static str),
}

/// The value that YAML on one line stands for.
pub(super) const fn set(yaml: &'static str) -> Proposal {
    Proposal::Set(Cow::Borrowed(yaml))
}
