//! `envoy.filters.http.rbac`: requests are let through, or not, by rules about their heads and their connections.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{HeaderValue, StatusCode};

use super::context::FilterContext;
use super::fields::joined;
use super::reply::EndedReply;
use super::{FilterReply, Flow};
use crate::access_log::{DeniedBy, Details, StreamInfo};
use crate::codec::RequestHead;
use crate::codec::matching::{self, header_holds};
use crate::config::filter::Rbac;
use crate::config::filter_state::Object;
use crate::config::judge::Judge;
use crate::config::metadata::{Found, Metadata, MetadataPath, Value};
use crate::config::rbac::{Certified, Judgement, MetadataSource, NO_POLICY, Outcome, Request, Subject};
use crate::config::route::HeaderMatch;
use crate::config::string_match::StringMatch;
use crate::config::tls::PeerName;
use crate::stats::RuleKind;

/// Where its findings stand for logs and for filters behind it.
const NAMESPACE: &str = "envoy.filters.http.rbac";
/// Where a rule with the action LOG leaves its finding.
const COMMON: &str = "envoy.common";

/// A request's head has come.
pub(super) fn on_request(
    options: &Rbac,
    request: &RequestHead,
    info: &mut StreamInfo,
    context: &FilterContext,
) -> Flow<FilterReply> {
    let shadow = options.shadow_rules.as_ref().map(|rules| judge(rules, request, info));
    let enforced = options.rules.as_ref().map(|rules| judge(rules, request, info));
    if let Some(logs) = enforced.and_then(|it| it.hint) {
        leave(info, COMMON, "access_log_hint".to_owned(), Value::Flag(logs));
    }
    if let Some(stats) = context.stats.rbac(&options.of_filter) {
        for (found, kind) in [(shadow, RuleKind::Shadow), (enforced, RuleKind::Enforced)] {
            let Some(found) = found else { continue };
            stats.all.count(kind, found.outcome);
            if let Some(policy) = found.policy.filter(|_| options.counts_policies) {
                stats.by_policy.count(kind, found.outcome, policy);
            }
        }
    }
    for (found, prefix, kind) in
        [(shadow, &options.prefixes.shadow_rules, "shadow"), (enforced, &options.prefixes.rules, "enforced")]
    {
        let Some(Judgement { outcome, policy, .. }) = found else { continue };
        let result = match outcome {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
        };
        leave(info, NAMESPACE, format!("{prefix}{kind}_engine_result"), Value::Text(result.to_owned()));
        if let Some(policy) = policy {
            leave(info, NAMESPACE, format!("{prefix}{kind}_effective_policy_id"), Value::Text(policy.to_owned()));
        }
    }
    match enforced {
        Some(Judgement { outcome: Outcome::Denied, policy, .. }) => {
            let details = Details::RbacAccessDenied(DeniedBy::new(policy.unwrap_or(NO_POLICY)));
            EndedReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", details).end()
        }
        Some(Judgement { outcome: Outcome::Allowed, .. }) | None => Flow::Continue,
    }
}

fn leave(info: &mut StreamInfo, namespace: &str, key: String, value: Value) {
    let Metadata(all) = &mut **info.metadata.get_or_insert_default();
    all.entry(namespace.to_owned()).or_default().insert(key, value);
}

fn judge<'r>(rules: &'r Judge, request: &RequestHead, info: &StreamInfo) -> Judgement<'r> {
    let ends = info.downstream.ends();
    let request = Judged { request, info };
    let server_name = info.downstream.requested_server_name.as_deref();
    rules.judge(&Subject { ends, server_name, request: Some(&request) })
}

/// A request as rules see it.
struct Judged<'a> {
    request: &'a RequestHead,
    info: &'a StreamInfo,
}

impl Request for Judged<'_> {
    fn client(&self) -> Option<SocketAddr> {
        self.info.client.as_ref()?.socket()
    }

    fn certified(&self, part: Certified) -> Option<String> {
        let peer = self.info.downstream.tls.as_ref()?.peer.as_ref()?;
        let said = match part {
            Certified::DnsNames => joined(&peer.dns_names),
            Certified::Subject => peer.subject.clone(),
            Certified::Uris => joined(&peer.uris),
        };
        Some(said).filter(|said| !said.is_empty())
    }

    fn joined<'s>(&'s self, name: &'s str) -> Option<Cow<'s, [u8]>> {
        matching::joined(self.request, name)
    }

    fn has(&self, header: &HeaderMatch) -> bool {
        header_holds(header, self.request)
    }

    fn is_authenticated_as(&self, name: Option<&StringMatch>) -> bool {
        let Some(session) = &self.info.downstream.tls else { return false };
        let Some(name) = name else { return true };
        let Some(peer) = &session.peer else { return name.takes(b"") };
        let mut names = peer.uris.iter().chain(&peer.dns_names);
        names.any(|known| name.takes(known.as_bytes())) || name.takes(peer.subject.as_bytes())
    }

    fn is_mutually_authenticated_as(&self, name: Option<&PeerName>) -> bool {
        let session = self.info.downstream.tls.as_ref().filter(|session| session.is_validated);
        let Some(peer) = session.and_then(|session| session.peer.as_ref()) else { return false };
        name.is_none_or(|name| peer.has_name(name))
    }

    fn has_route(&self) -> bool {
        self.info.has_route
    }

    fn metadata(&self, source: MetadataSource, path: &MetadataPath) -> Option<Found<'_>> {
        match source {
            MetadataSource::Filters => self.info.metadata.as_deref(),
            MetadataSource::Route => self.info.route_metadata.as_deref(),
        }?
        .get(path)
    }

    fn path(&self) -> &[u8] {
        let path = self.request.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let end = path.iter().position(|byte| b"?#".contains(byte)).unwrap_or(path.len());
        path.get(..end).unwrap_or_default()
    }

    fn state(&self, key: &str) -> Option<&[u8]> {
        self.info.state(key).and_then(Object::plain)
    }
}
