//! The health service of gRPC, which a proxy's health checks call.

use serde::Deserialize;

use super::grpc::{self, Message};
use crate::scenario::script::Reply;
use crate::scenario::units::Time;

/// The settings of the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthService {
    /// What it responds to the first checks, one each, before it comes to `reply`.
    pub first: Vec<Health>,
    /// What it responds to the others.
    pub reply: Health,
}

/// A response to a check.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// What it says.
    pub status: Serving,
    /// The status of gRPC of a check that fails.
    pub error: Option<u16>,
    /// How long it takes.
    pub after: Time,
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Serving {
    /// Nothing is known.
    Unknown,
    /// The app serves.
    #[default]
    Serving,
    /// It does not.
    NotServing,
    /// There is no such service.
    ServiceUnknown,
}

impl Health {
    pub(super) fn reply(&self) -> Reply {
        if let Some(status) = self.error {
            return grpc::failed(status, self.after);
        }
        let status = match self.status {
            Serving::Unknown => return Message::default().reply(self.after),
            Serving::Serving => 1,
            Serving::NotServing => 2,
            Serving::ServiceUnknown => 3,
        };
        Message::default().number(1, status).reply(self.after)
    }
}
