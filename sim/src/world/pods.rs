//! Programs that share the addresses of a machine: the containers of a pod, each with ports of its own.
//!
//! Every container is a host with a kernel. The machine that they are on owns the addresses; what comes to a port of a
//! container, on one of them or on the loopback, is handed to that container.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::HostId;
use crate::segment::Segment;

/// Who shares whose addresses.
#[derive(Default)]
pub(super) struct Pods {
    /// The machine that each container is on.
    machines: BTreeMap<HostId, HostId>,
    /// The container at a port of a machine.
    ports: BTreeMap<(HostId, u16), HostId>,
    /// Who opened a connection within a machine: the ports of its containers overlap.
    opened: BTreeMap<(SocketAddr, SocketAddr), HostId>,
}

impl Pods {
    /// From now on `container` shares the addresses of `machine`, with these ports.
    pub(super) fn add(&mut self, container: HostId, machine: HostId, ports: &[u16]) {
        self.machines.insert(container, machine);
        self.ports.extend(ports.iter().map(|port| ((machine, *port), container)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// The machine that a host is on: itself, if it is no container.
    pub(super) fn machine(&self, host: HostId) -> HostId {
        self.machines.get(&host).copied().unwrap_or(host)
    }

    /// Who gets a segment that `from` sends to an address of `machine`.
    pub(super) fn receiver(&mut self, from: HostId, machine: HostId, segment: &Segment) -> HostId {
        if self.is_empty() {
            return machine;
        }
        if self.machine(from) == machine && segment.flags.syn && !segment.flags.ack {
            self.opened.insert((segment.from, segment.to), from);
        }
        let opener = self.opened.get(&(segment.to, segment.from));
        let container = || self.ports.get(&(machine, segment.to.port()));
        opener.or_else(container).copied().unwrap_or(machine)
    }
}
