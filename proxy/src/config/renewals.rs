//! Certificates and runtime values that a configuration has anew, for listeners and clusters that serve on.

use std::sync::Arc;

use super::cluster::ClusterName;
use super::tls::{ClientTls, MadeOf, SecretSource, ServerTls};
use super::{Cluster, Listener};

/// Certificates to be put in the place of others, once the configuration they came with is in force.
#[derive(Debug, Default)]
pub struct Renewals {
    servers: Vec<(Arc<ServerTls>, Arc<ServerTls>)>,
    clients: Vec<(Arc<ClientTls>, Arc<ClientTls>)>,
    /// Whose they are.
    owners: Vec<String>,
    /// The listeners among them whose certificates come from files of secrets.
    updated_listeners: Vec<String>,
    /// The clusters.
    updated_clusters: Vec<ClusterName>,
}

impl Renewals {
    /// What a listener that serves as `served` has to take over from `read`, which is the same but for certificates.
    pub fn of_listener(&mut self, served: &Listener, read: &Listener) {
        let pairs = served.filter_chains.encryptions().zip(read.filter_chains.encryptions());
        let differing = pairs.filter(|(served, read)| served.differs(read));
        let before = self.servers.len();
        self.servers.extend(differing.map(|(served, read)| (Arc::clone(served), Arc::clone(read))));
        if self.servers.len() > before {
            self.owners.push(format!("listener {}", read.name));
            if self.servers.iter().skip(before).any(|(_, read)| read.current().secrets() == SecretSource::Files) {
                self.updated_listeners.push(read.name.clone());
            }
        }
    }

    /// The same for a cluster.
    pub fn of_cluster(&mut self, served: &Cluster, read: &Cluster) {
        let pairs = served.sockets().zip(read.sockets());
        let pairs = pairs.filter_map(|(served, read)| served.tls.as_ref().zip(read.tls.as_ref()));
        let before = self.clients.len();
        let differing = pairs.filter(|(served, read)| served.differs(read));
        self.clients.extend(differing.map(|(served, read)| (Arc::clone(served), Arc::clone(read))));
        if self.clients.len() > before {
            self.owners.push(format!("cluster {}", read.name));
            if self.clients.iter().skip(before).any(|(_, read)| read.current().secrets() == SecretSource::Files) {
                self.updated_clusters.push(read.name.clone());
            }
        }
    }

    /// Values of a disk layer are others.
    pub fn note_runtime(&mut self) {
        self.owners.push("the runtime".to_owned());
    }

    /// Is there nothing to be replaced?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Puts them in place: connections that begin from now on have them.
    pub fn apply(&self) {
        self.servers.iter().for_each(|(served, read)| served.renew(read));
        self.clients.iter().for_each(|(served, read)| served.renew(read));
    }

    /// The listeners that have certificates anew which come from files of secrets.
    #[must_use]
    pub fn updated_listeners(&self) -> &[String] {
        &self.updated_listeners
    }

    /// The clusters that do.
    #[must_use]
    pub fn updated_clusters(&self) -> &[ClusterName] {
        &self.updated_clusters
    }

    /// Whose certificates they are.
    #[must_use]
    pub fn owners(&self) -> &[String] {
        &self.owners
    }
}
