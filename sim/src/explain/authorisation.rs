//! Why a filter that authorises or counts requests did not let one through: `basic_auth`, `ext_authz`, `jwt_authn` and `ratelimit`.

use finwait::access_log::{Details, JwtFailure};

use super::proposal::{Proposal, set};
use super::reason::{At, Reason, reason};

/// The jwt_authn filter, and that it goes away: whatever the token is, the request passes then.
const TOKENS: Option<(At, &str, Proposal)> =
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("jwt_authn.v3.JwtAuthentication")));

/// The reason of the ext_authz filter.
pub(super) fn of_service(details: &Details) -> Reason {
    if *details == Details::ExtAuthzDenied {
        DENIED
    } else if *details == Details::ExtAuthzError {
        NO_VERDICT
    } else {
        INVALID
    }
}

/// The same of the ext_authz filter.
const AUTHORISES: Option<(At, &str, Proposal)> =
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("ext_authz.v3.ExtAuthz")));

/// The same of the basic_auth filter.
const PASSWORDS: Option<(At, &str, Proposal)> =
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("basic_auth.v3.BasicAuth")));

const MISSING_PASSWORD: Reason = reason(
    "because the request has no name and password, and the basic_auth filter requires them",
    "no setting: the client has to send them; allow_missing: true lets requests without them through, disabled: true leaves a route out",
    PASSWORDS,
);
const NO_PASSWORD: Reason = reason(
    "because what the request has for the basic_auth filter is no name and password in base64 behind the word Basic",
    "no setting: the client has to send them as RFC 7617 has them",
    PASSWORDS,
);
const WRONG_PASSWORD: Reason = reason(
    "because no user of the basic_auth filter has this name and password; a route may have users of its own",
    "add the user to users of the filter or of the route, or have the client send another password",
    PASSWORDS,
);

/// Of the credentials of a request.
pub(super) fn of_password(details: &Details) -> Reason {
    if *details == Details::BasicAuthNoCredential {
        MISSING_PASSWORD
    } else if *details == Details::BasicAuthInvalidCredential {
        WRONG_PASSWORD
    } else {
        NO_PASSWORD
    }
}

const DENIED: Reason = reason(
    "because the service of the ext_authz filter denied the request",
    "no setting: the service has to allow such requests; ExtAuthzPerRoute with disabled: true leaves a route out",
    AUTHORISES,
);
const NO_VERDICT: Reason = reason(
    "because the ext_authz filter has no verdict: its service did not respond in time or failed, or the filter is off and denies",
    "mend the service, give it a longer timeout, or let such requests through by failure_mode_allow: true",
    Some((At::Filter("ext_authz.v3.ExtAuthz"), "failure_mode_allow", set("true"))),
);
const INVALID: Reason = reason(
    "because the service of the ext_authz filter responded with changes that no message can have: a name, a value or a target is malformed",
    "no setting: the service has to send names, values and targets as HTTP has them",
    AUTHORISES,
);

pub(super) const OVER_LIMIT: Reason = reason(
    "because the service of the ratelimit filter said that a limit is reached",
    "no setting: the client has to come back later, or the service needs a higher limit; filter_enforced of 0 percent has such requests only counted",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("ratelimit.v3.RateLimit"))),
);
pub(super) const NOT_COUNTED: Reason = reason(
    "because the service of the ratelimit filter did not respond in time or failed, and failure_mode_deny refuses requests then",
    "mend the service, give it a longer timeout, or let such requests through without failure_mode_deny",
    Some((At::Filter("ratelimit.v3.RateLimit"), "failure_mode_deny", set("false"))),
);

const AUDIENCE: Reason = reason(
    "because the token is for another audience than those of its provider in the jwt_authn filter",
    "add the audience to the provider's audiences, or have the issuer name one of them",
    TOKENS,
);
const EXPIRED: Reason = reason(
    "because the token's time is over (exp), and the jwt_authn filter requires a valid one",
    "no setting: the client has to renew its token; clock_skew_seconds of the provider is for clocks that differ",
    TOKENS,
);
const MALFORMED: Reason = reason(
    "because the jwt_authn filter cannot read the token: the log says which part of it is wrong",
    "no setting: the client has to send a token of three parts in Base64url, with the claims of RFC 7519",
    TOKENS,
);
const MISSING: Reason = reason(
    "because the request has no token, and the jwt_authn filter requires one",
    "no setting: the client has to send a token; a rule without requires leaves a path out",
    TOKENS,
);
const NO_KEY: Reason = reason(
    "because none of the keys that the jwt_authn filter has is for the token: its kid or alg is another",
    "wait until cache_duration of remote_jwks is over, or shorten it, if the issuer has changed its keys; else add the key",
    TOKENS,
);
const NO_KEYS: Reason = reason(
    "because the keys of the token's issuer could not be fetched (remote_jwks of the jwt_authn filter)",
    "mend the server of the keys, give http_uri a longer timeout, or set retry_policy; keys in local_jwks need no fetch",
    TOKENS,
);
const NOT_YET: Reason = reason(
    "because the token's time has not come (nbf), and the jwt_authn filter requires a valid one",
    "no setting: the clocks of the issuer and of this proxy differ, or the client is early; clock_skew_seconds is for the former",
    TOKENS,
);
const UNKNOWN_ISSUER: Reason = reason(
    "because no provider of the jwt_authn filter that the rule names is for the token's issuer",
    "add a provider for the issuer, and name it in the rule",
    TOKENS,
);
const WRONG_SIGNATURE: Reason = reason(
    "because none of the keys of the token's issuer verifies its signature (jwt_authn filter)",
    "no setting: the token was changed on its way, or signed with another key",
    TOKENS,
);

/// Why a token did not let its request through.
pub(super) const fn of_token(failure: JwtFailure) -> Reason {
    use JwtFailure as Failure;
    match failure {
        Failure::Audience => AUDIENCE,
        Failure::Expired => EXPIRED,
        Failure::FetchFailed => NO_KEYS,
        Failure::Issuer => UNKNOWN_ISSUER,
        Failure::Missing => MISSING,
        Failure::NoKey => NO_KEY,
        Failure::NotYet => NOT_YET,
        Failure::Verification => WRONG_SIGNATURE,
        Failure::AlgorithmMissing
        | Failure::AlgorithmUnknown
        | Failure::AudNotText
        | Failure::ExpNotInteger
        | Failure::ExpNotPositive
        | Failure::Form
        | Failure::HeaderBase64
        | Failure::HeaderJson
        | Failure::IatNotInteger
        | Failure::IatNotPositive
        | Failure::IssNotText
        | Failure::JtiNotText
        | Failure::KidNotText
        | Failure::NbfNotInteger
        | Failure::NbfNotPositive
        | Failure::PayloadBase64
        | Failure::PayloadJson
        | Failure::SignatureBase64
        | Failure::SubNotText => MALFORMED,
    }
}
