//! Breaks and mends the ingress while it runs, as an operator does who gives it another file.
//!
//! A connection keeps the options that it began with, and the front's connection to the ingress may live for hours. So the
//! front gets another file too, with a cluster that differs: its next request takes a new connection, and WebSockets that
//! are open stay where they are.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::faults::Fault;
use super::{Hop, INGRESS, move_to};
use crate::config::{Config, ConfigError};
use crate::net::tokio::wall_time;
use crate::server::reload::{ReloadError, Reloader};

/// Changes that may wait for the operator.
pub(super) const CHANGES_MAX: usize = 8;

/// By so much the front's connect timeout differs after a change.
const DIFFERENCE: Duration = Duration::from_millis(1);

/// A hop whose configuration can be changed.
pub(super) struct Changeable {
    pub(super) hop: &'static Hop,
    pub(super) reloader: Reloader,
    /// The port that it was given, unless it is that of the file.
    pub(super) port: Option<u16>,
    /// Where the hop behind it listens.
    pub(super) behind: SocketAddr,
}

/// The one who changes hops.
pub(super) struct Operator {
    pub(super) hops: Vec<Changeable>,
}

impl Operator {
    /// Carries out what comes, on a thread of its own, until no more can come.
    pub(super) fn start(self, changes: mpsc::Receiver<Option<Fault>>) -> std::io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("operator".into()).spawn(move || runtime.block_on(self.run(changes)))
    }

    async fn run(self, mut changes: mpsc::Receiver<Option<Fault>>) {
        let mut broken = false;
        while let Some(fault) = changes.recv().await {
            let breaks = fault == Some(Fault::IngressForgetsAllowConnect);
            if std::mem::replace(&mut broken, breaks) == breaks {
                continue;
            }
            if let Err(error) = self.change(fault).await {
                tracing::error!(%error, "the ingress of the demonstration cannot be changed");
            }
        }
    }

    /// Gives the ingress its file, and then the front, whose requests come to it.
    async fn change(&self, fault: Option<Fault>) -> Result<(), ChangeError> {
        for changeable in &self.hops {
            let is_ingress = changeable.hop.name == INGRESS.name;
            let yaml = if is_ingress { Fault::ingress(fault) } else { changeable.hop.yaml.to_owned() };
            let mut config = Config::from_yaml(&yaml, changeable.hop.file)?.config;
            if let Some(port) = changeable.port {
                move_to(port, &mut config, changeable.behind);
            }
            if !is_ingress && fault.is_some() {
                config.clusters.iter_mut().for_each(|cluster| cluster.connect_timeout += DIFFERENCE);
            }
            changeable.reloader.apply(config, wall_time()).await?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Reload(#[from] ReloadError),
}
