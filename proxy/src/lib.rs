//! finwait: an HTTP proxy that reads Envoy v3 configuration.
//!
//! # The life of a request
//!
//! The modules, in the order a request visits them:
//!
//! 1. [`listener`]: a connection is accepted, by one of the workers that share the address.
//! 2. [`connection_manager`]: its first bytes tell HTTP/1 from HTTP/2; each request becomes a stream.
//! 3. [`codec`]: bytes become a head and a body, and a head and a body become bytes.
//! 4. [`router`]: the head is matched against virtual hosts and routes.
//! 5. [`cluster`]: the route names a cluster, which lends a connection to one of its endpoints.
//! 6. [`upstream`]: the request is sent, again if the policy says so, until there is an answer; then payload
//!    is relayed both ways.
//! 7. [`tunnel`]: an accepted upgrade is such an exchange without an end; its handshake is translated here.
//! 8. [`access_log`] and [`stats`]: what happened, as a line and as numbers.
//!
//! Around them: [`config`] says what the user wrote, [`snapshot`] is one version of it as it is served, [`net`] is the only way
//! to the outside world, [`server`] builds the workers, gives each a thread and brings all to the next snapshot, [`drain`]
//! ends them, [`admin`] shows an operator what
//! they do, [`process_log`] says what happens to the process, [`demo`] runs three of them to look at, [`arguments`] is the command line.
//!
//! # Order
//!
//! A module names only modules that stand after it here:
//!
//! `main`, `signals`, `config_file`, `arguments`, `demo`, `server`, `admin`, `listener`, `connection_manager`, `upstream`,
//! `tunnel`, `router`, `snapshot`, `cluster`, `probe`, `process_log`, `access_log`, `codec`, `drain`, `permits`, `runtime`,
//! `alarm`, `net`, `stats`, `config`.

pub mod access_log;
pub mod admin;
mod alarm;
pub mod arguments;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod connection_manager;
pub mod demo;
pub mod drain;
pub mod listener;
pub mod net;
pub mod permits;
mod probe;
pub mod process_log;
pub mod router;
pub mod runtime;
pub mod server;
pub mod snapshot;
pub mod stats;
pub mod tunnel;
pub mod upstream;
