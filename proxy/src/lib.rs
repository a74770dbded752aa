//! finwait: an HTTP and TCP proxy that reads Envoy v3 configuration.
//!
//! # The life of a request
//!
//! The modules, in the order a request visits them:
//!
//! 1. [`listener`]: a connection is accepted, by one of the workers that share the address.
//! 2. [`connection_manager`]: its first bytes tell HTTP/1 from HTTP/2; each request becomes a stream.
//! 3. [`codec`]: bytes become a head and a body, and a head and a body become bytes.
//! 4. `stream`: one request from its head to its line in the access log; payload is relayed here both ways.
//! 5. [`router`]: the head is matched against virtual hosts and routes.
//! 6. [`cluster`]: the route names a cluster, which lends a connection to one of its endpoints.
//! 7. `filter`: the filters of its chain see it, change it, let it wait for its body, or respond themselves.
//! 8. [`upstream`]: the request is sent, again if the policy says so, until there is a response.
//! 9. `exchange`: meanwhile the request's body is read and kept for another try, and the stream's timers run.
//! 10. [`tunnel`]: an accepted upgrade is such an exchange without an end; its handshake is translated here.
//! 11. [`access_log`] and [`stats`]: what happened, as a line and as numbers.
//!
//! A connection that is not HTTP goes from 1 to [`tcp_proxy`], which copies its bytes to one of an endpoint.
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
//! `main`, `signals`, `config_file`, `arguments`, `demo`, `server`, `admin`, `listener`, `tcp_proxy`, `connection_manager`, `stream`,
//! `upstream`, `tunnel`, `router`, `snapshot`, `cluster`, `probe`, `process_log`, `exchange`, `filter`, `dns_cache`, `access_log`, `trace`, `codec`, `drain`,
//! `gate`, `permits`, `token_bucket`, `runtime`, `protobuf`, `net`, `stats`, `config`, `texts`.

pub mod access_log;
pub mod admin;
pub mod arguments;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod connection_manager;
pub mod demo;
pub mod dns_cache;
pub mod drain;
mod exchange;
mod filter;
pub mod gate;
pub mod listener;
pub mod net;
pub mod permits;
mod probe;
pub mod process_log;
mod protobuf;
pub mod router;
pub mod runtime;
pub mod server;
pub mod snapshot;
pub mod stats;
mod stream;
pub mod tcp_proxy;
mod texts;
pub mod token_bucket;
pub mod trace;
pub mod tunnel;
pub mod upstream;
