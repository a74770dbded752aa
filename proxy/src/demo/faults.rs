//! What a visitor can break in the demonstration, and why requests fail then. The explanation is the simulator's, which plays
//! the same fault with the same three files: it stands among the golden files that the tests compare.

use std::time::Duration;

use super::INGRESS;

/// Something that is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The app closes a connection that was idle, while the sidecar still uses it.
    AppClosesIdleConnections,
    /// The app takes longer for a response than the hops wait.
    AppIsSlow,
    /// The ingress does not permit extended CONNECT.
    IngressForgetsAllowConnect,
}

/// After so long without a request the app closes a connection when it is broken: earlier than the sidecar, which waits 4 s.
pub(super) const IDLE_BROKEN: Duration = Duration::from_secs(2);
/// What the app takes for a response when it is broken: more than the route timeout of each hop, 15 s.
pub(super) const RESPONSE_BROKEN: Duration = Duration::from_secs(20);

/// Where the explanation of a story begins and ends.
const BEGIN: &str = "\nWHY\n";
const END: &str = "\nWHAT THE PROXIES LOGGED\n";

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 3] =
        [Self::IngressForgetsAllowConnect, Self::AppClosesIdleConnections, Self::AppIsSlow];

    /// Its name: that of its scenario.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AppClosesIdleConnections => "the-app-closes-idle-connections-after-two-seconds",
            Self::AppIsSlow => "the-app-is-slow",
            Self::IngressForgetsAllowConnect => "the-ingress-forgets-allow-connect",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// What the simulator prints about it.
    fn story(self) -> &'static str {
        match self {
            Self::AppClosesIdleConnections => {
                include_str!("../../../golden/demonstration/the-app-closes-idle-connections-after-two-seconds.snap")
            }
            Self::AppIsSlow => include_str!("../../../golden/demonstration/the-app-is-slow.snap"),
            Self::IngressForgetsAllowConnect => {
                include_str!("../../../golden/demonstration/the-ingress-forgets-allow-connect.snap")
            }
        }
    }

    /// Why a request fails, and how to see all of it.
    pub(super) fn explanation(self) -> String {
        let why = self.story().split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map_or("", |(why, _)| why);
        let name = self.name();
        format!("{why}\nThe whole run, packet by packet: finwait-sim run scenarios/demonstration/{name}.yaml\n")
    }

    /// The ingress's file with the fault in it, or as it is.
    pub(super) fn ingress(fault: Option<Self>) -> String {
        match fault {
            Some(Self::IngressForgetsAllowConnect) => INGRESS.yaml.replace(ALLOWED, NOT_ALLOWED),
            Some(Self::AppClosesIdleConnections | Self::AppIsSlow) | None => INGRESS.yaml.to_owned(),
        }
    }
}

const ALLOWED: &str = "allow_connect: true\n";
const NOT_ALLOWED: &str = "allow_connect: false\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_explanation() {
        for (fault, cause) in [
            (Fault::IngressForgetsAllowConnect, "its connection manager has no"),
            (Fault::AppClosesIdleConnections, "because of app's idle_timeout, 2s"),
            (Fault::AppIsSlow, "because of sidecar's route.timeout, 15s"),
        ] {
            let explanation = fault.explanation();
            assert!(explanation.contains(cause) && explanation.contains("to change it"), "{explanation}");
            assert_eq!(Fault::of_name(fault.name()), Some(fault));
        }
    }

    #[test]
    fn only_one_fault_changes_a_file() {
        assert_eq!(INGRESS.yaml.matches(ALLOWED).count(), 1);
        assert!(Fault::ingress(Some(Fault::IngressForgetsAllowConnect)).contains(NOT_ALLOWED));
        assert_eq!(Fault::ingress(Some(Fault::AppIsSlow)), INGRESS.yaml);
    }
}
