//! A proxy with one worker on a thread of the test's own process.

use std::net::SocketAddr;
use std::sync::Arc;

use finwait::config::Config;
use finwait::drain::{DrainControl, Stage, drain};
use finwait::net::Address;
use finwait::net::tokio::{LogFiles, outside};
use finwait::server::process::{MakeOutside, Process};
use finwait::server::{Admin, ServerShared};
use finwait::stats::Snapshot;

/// A proxy that serves until it is stopped.
pub(crate) struct Proxy {
    pub(crate) at: SocketAddr,
    control: Arc<DrainControl>,
    process: Process,
    shared: Arc<ServerShared>,
}

impl Proxy {
    pub(crate) fn start(yaml: &str) -> Self {
        let logs = LogFiles::new();
        let (control, drained) = drain();
        let control = Arc::new(control);
        let config = Config::from_yaml(yaml, "test.yaml").expect("the configuration is right").config;
        let admin = Admin::new(Arc::clone(&control), "test.yaml");
        let world: MakeOutside = Arc::new(move || outside(&logs));
        let shared = ServerShared::new(config, std::time::SystemTime::UNIX_EPOCH, 1);
        let process = Process::start(&shared, 1, &world, &drained, admin).expect("the proxy starts");
        let addresses = process.addresses();
        let Some(Address::Socket(at)) = addresses.first() else {
            unreachable!("the configuration has one listener, on a socket");
        };
        Self { at: *at, control, process, shared }
    }

    /// Ends it; what it has counted.
    pub(crate) fn stop(self) -> Snapshot {
        self.control.enter(Stage::Stopped);
        self.process.join();
        self.shared.registry.snapshot()
    }
}
