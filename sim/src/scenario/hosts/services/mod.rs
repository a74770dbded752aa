//! What an app can be to a proxy besides an app: a service that authorises requests, a server of keys, the health service of
//! gRPC, a rate limit service, an access log service.
//!
//! Each is a way to write [`Reply`]s: a scenario names the decision, the keys or the health, and the app sends what means that.

mod access_log;
mod authorisation;
mod grpc;
mod health;
mod keys;
mod rate_limit;

pub use access_log::{LogCall, LogService};
pub use authorisation::{Authorisation, Decision, Verdict};
pub use health::{Health, HealthService, Serving};
pub use keys::{Key, KeyServer, KeySet};
pub use rate_limit::{LimitCount, LimitLeft, LimitService, LimitUnit};

use super::{App, PeerProtocol};
use crate::scenario::script::Reply;

/// The replies of a service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The path of the requests that are for it; `None` is any.
    pub path: Option<&'static str>,
    /// Its replies to the first of them, one each, before it comes to `reply`.
    pub first: Vec<Reply>,
    /// Its reply to the others.
    pub reply: Reply,
    /// It gets messages as long as a call goes on.
    pub log: Option<LogService>,
}

impl App {
    /// The service that it is, if it is one.
    #[must_use]
    pub fn service(&self) -> Option<Service> {
        let over = |decision: &Decision| match self.protocol {
            PeerProtocol::Http2 => decision.over_grpc(),
            PeerProtocol::Bytes | PeerProtocol::Http1 | PeerProtocol::Http10 => decision.over_http(),
        };
        if let Some(Authorisation { first, reply }) = &self.ext_authz {
            return Some(Service {
                path: None,
                first: first.iter().map(over).collect(),
                reply: over(reply),
                log: None,
            });
        }
        if let Some(KeyServer { first, reply }) = &self.jwks {
            let first = first.iter().map(KeySet::reply).collect();
            return Some(Service { path: None, first, reply: reply.reply(), log: None });
        }
        if let Some(LimitService { first, reply }) = &self.rate_limit {
            return Some(Service {
                path: None,
                first: first.iter().map(LimitCount::reply).collect(),
                reply: reply.reply(),
                log: None,
            });
        }
        if let Some(log) = &self.access_log_service {
            let reply = log.reply.reply();
            return Some(Service { path: Some(access_log::METHOD), first: Vec::new(), reply, log: Some(log.clone()) });
        }
        let HealthService { first, reply } = self.grpc_health.as_ref()?;
        let first = first.iter().map(Health::reply).collect();
        Some(Service { path: Some("/grpc.health.v1.Health/Check"), first, reply: reply.reply(), log: None })
    }
}
