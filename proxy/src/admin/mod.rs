//! The operator's view: what the process is, has and counts, at the moment of asking.
//!
//! Rendering only: [`respond`] turns a request line and the [`AdminState`] into a response, and says in
//! [`Then`] what is to be done once it has been sent. Paths, texts and shapes are those of Envoy's admin
//! interface, since scripts and dashboards read them.

mod buckets;
mod certificates;
mod clusters;
mod config_dump;
mod logging;
mod mask;
mod numbers;
mod process;
mod query;
mod redaction;
mod runtime;
mod seats;
mod serve;
#[cfg(test)]
mod tests;
mod traffic;

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use crate::codec::ResponseHead;
use crate::drain::Scope;
use crate::net::{Clock, Memory};
use crate::process_log::ProcessLog;
use crate::runtime::Runtime;
use crate::snapshot::InForce;
use crate::stats::{Registry, ServerStats};
pub use process::{COMMIT, VERSION};
use query::Query;
pub use serve::serve;

/// What the admin interface looks at.
#[derive(Clone)]
pub struct AdminState {
    /// All numbers that have a name.
    pub registry: Arc<Registry>,
    /// Those of the process.
    pub server: ServerStats,
    /// The configuration in force, at the moment of the call.
    pub in_force: Rc<dyn Fn() -> InForce>,
    /// What operators may change.
    pub runtime: Arc<Runtime>,
    /// What the command line says.
    pub command_line: CommandLine,
    /// How much the process logs.
    pub process_log: Arc<ProcessLog>,
    /// How much memory the process has, at the moment of the call.
    pub memory: fn() -> Memory,
    /// The time, for what expires.
    pub clock: Rc<dyn Clock>,
    /// When the process started.
    pub started: Instant,
}

/// The options of the command line under the names that Envoy's `/server_info` has for them.
#[derive(Clone, Debug, Default)]
pub struct CommandLine(pub serde_json::Map<String, serde_json::Value>);

impl CommandLine {
    /// No option but a configuration file.
    #[must_use]
    pub fn of_file(path: &str) -> Self {
        Self([("config_path".to_owned(), path.into())].into_iter().collect())
    }
}

/// A response and what follows from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminResponse {
    /// 200, or the status of an error.
    pub status: StatusCode,
    /// The `content-type`.
    pub content_type: &'static str,
    /// Text or JSON, by `content_type`.
    pub body: String,
    /// To be done once it has been sent.
    pub then: Then,
}

/// What an operator requested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// Listeners are to stop.
    CloseListeners {
        /// The listeners that drain.
        scope: Scope,
        /// After the drain time, and not now.
        gracefully: bool,
    },
    /// Clients are to be sent elsewhere, or no longer.
    Health {
        /// Do health checks fail from now on?
        is_unwell: bool,
    },
    /// The response is all.
    Nothing,
    /// The process ends, as for SIGINT.
    Quit,
    /// Access logs and the process log are to be opened again by their paths.
    ReopenLogs,
}

const TEXT: &str = "text/plain; charset=UTF-8";
const HTML: &str = "text/html; charset=UTF-8";
const JSON: &str = "application/json";

impl AdminResponse {
    fn new(content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into(), then: Then::Nothing }
    }

    fn refused(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, ..Self::new(TEXT, body) }
    }

    fn ok(then: Then) -> Self {
        Self { then, ..Self::new(TEXT, "OK\n") }
    }

    /// In Envoy's manner: one blank for each level.
    fn json(value: &impl Serialize) -> Self {
        let mut bytes = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
        match value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, format)) {
            Ok(()) => Self::new(JSON, String::from_utf8_lossy(&bytes) + "\n"),
            Err(error) => Self::refused(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// Status and headers, without those that framing adds.
    #[must_use]
    pub fn head(&self) -> ResponseHead {
        let mut head = ResponseHead::new(self.status);
        let headers = [
            (CONTENT_TYPE, self.content_type),
            (CACHE_CONTROL, "no-cache, max-age=0"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        for (name, value) in headers {
            head.headers.append(name, HeaderValue::from_static(value));
        }
        head
    }
}

/// A path of the admin interface.
struct Endpoint {
    path: &'static str,
    /// Does it change something? Then only POST will do, so that no crawler or prefetch can.
    method: Only,
    about: &'static str,
    /// Query parameters, with what they mean.
    parameters: &'static [(&'static str, &'static str)],
    respond: fn(&Query, &AdminState) -> AdminResponse,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Only {
    Any,
    Post,
    /// With parameters it changes something, without it shows.
    PostToChange,
}

const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/",
        method: Only::Any,
        about: "this list, with links",
        parameters: &[],
        respond: |_, _| AdminResponse::new(HTML, help_page()),
    },
    Endpoint {
        path: "/certs",
        method: Only::Any,
        about: "TLS certificates in use, and when they expire",
        parameters: &[],
        respond: certificates::certs,
    },
    Endpoint {
        path: "/clusters",
        method: Only::Any,
        about: "clusters, their limits and their endpoints",
        parameters: &[("format", "text (default) or json")],
        respond: clusters::clusters,
    },
    Endpoint {
        path: "/config_dump",
        method: Only::Any,
        about: "the configuration in use",
        parameters: &[
            ("mask", "the fields to show, separated by commas: bootstrap.admin, or cluster.name of one list"),
            ("name_regex", "a regular expression that the whole name of a listener, cluster or route table must match"),
            ("resource", "one list alone: static_clusters, static_listeners or static_route_configs"),
        ],
        respond: config_dump::config_dump,
    },
    Endpoint {
        path: "/drain_listeners",
        method: Only::Post,
        about: "have listeners accept no more connections",
        parameters: &[
            (
                "graceful",
                "after the drain time; until then responses have connection: close, and HTTP/2 clients get GOAWAY",
            ),
            ("inboundonly", "only listeners whose traffic_direction is INBOUND"),
        ],
        respond: |query, _| {
            let scope = if query.has("inboundonly") { Scope::Inbound } else { Scope::All };
            AdminResponse::ok(Then::CloseListeners { scope, gracefully: query.has("graceful") })
        },
    },
    Endpoint {
        path: "/healthcheck/fail",
        method: Only::Post,
        about: "fail health checks: /ready responds 503, and clients get connection: close or GOAWAY",
        parameters: &[],
        respond: |_, _| AdminResponse::ok(Then::Health { is_unwell: true }),
    },
    Endpoint {
        path: "/healthcheck/ok",
        method: Only::Post,
        about: "pass health checks again",
        parameters: &[],
        respond: |_, _| AdminResponse::ok(Then::Health { is_unwell: false }),
    },
    Endpoint {
        path: "/help",
        method: Only::Any,
        about: "this list",
        parameters: &[],
        respond: |_, _| AdminResponse::new(TEXT, format!("admin commands are:\n{}", help())),
    },
    Endpoint {
        path: "/hot_restart_version",
        method: Only::Any,
        about: "disabled: there is no hot restart",
        parameters: &[],
        respond: |_, _| AdminResponse::new(TEXT, "disabled"),
    },
    Endpoint {
        path: "/init_dump",
        method: Only::Any,
        about: "what start-up waits for: nothing, once this page is there",
        parameters: &[],
        respond: |_, _| AdminResponse::json(&serde_json::json!({})),
    },
    Endpoint {
        path: "/listeners",
        method: Only::Any,
        about: "listeners and their addresses",
        parameters: &[("format", "text (default) or json")],
        respond: process::listeners,
    },
    Endpoint {
        path: "/logging",
        method: Only::PostToChange,
        about: "the levels of the process log; POST to change them",
        parameters: &[
            ("level", "the level of all loggers: trace, debug, info, warning, error, critical or off"),
            ("paths", "levels of some loggers: NAME:LEVEL,NAME:LEVEL"),
            ("NAME", "the level of one logger"),
        ],
        respond: logging::logging,
    },
    Endpoint {
        path: "/memory",
        method: Only::Any,
        about: "memory of the process, as the system counts it",
        parameters: &[],
        respond: process::memory,
    },
    Endpoint {
        path: "/quitquitquit",
        method: Only::Post,
        about: "exit",
        parameters: &[],
        respond: |_, _| AdminResponse::ok(Then::Quit),
    },
    Endpoint {
        path: "/ready",
        method: Only::Any,
        about: "the state; 200 if LIVE, else 503",
        parameters: &[],
        respond: process::ready,
    },
    Endpoint {
        path: "/reopen_logs",
        method: Only::Post,
        about: "open all log files again by their paths, after a rotation",
        parameters: &[],
        respond: |_, _| AdminResponse::ok(Then::ReopenLogs),
    },
    Endpoint {
        path: "/reset_counters",
        method: Only::Post,
        about: "set all counters to 0",
        parameters: &[],
        respond: |_, state| {
            state.registry.reset_counters();
            AdminResponse::ok(Then::Nothing)
        },
    },
    Endpoint {
        path: "/runtime",
        method: Only::Any,
        about: "values that may be changed while the server runs, by layer",
        parameters: &[],
        respond: runtime::show,
    },
    Endpoint {
        path: "/runtime_modify",
        method: Only::Post,
        about: "change such values",
        parameters: &[("KEY", "its new value; nothing takes the change back")],
        respond: runtime::modify,
    },
    Endpoint {
        path: "/server_info",
        method: Only::Any,
        about: "version, state, uptime and command line",
        parameters: &[("left", "adds what connection managers have open, for which a drain waits")],
        respond: process::server_info,
    },
    Endpoint {
        path: "/stats",
        method: Only::Any,
        about: "all numbers",
        parameters: &[
            ("filter", "a regular expression that a part of the name must match"),
            ("format", "text (default), json or prometheus"),
            ("invert_filter", "what the filter does not match"),
            ("type", "All (default), Counters, Gauges, Histograms or TextReadouts"),
            ("usedonly", "only what was ever written"),
        ],
        respond: numbers::stats,
    },
    Endpoint {
        path: "/stats/prometheus",
        method: Only::Any,
        about: "all numbers, for Prometheus",
        parameters: &[
            ("filter", "a regular expression that a part of the name must match"),
            ("invert_filter", "what the filter does not match"),
            ("usedonly", "only what was ever written"),
        ],
        respond: numbers::prometheus,
    },
];

/// Serves one request. `path_and_query` is what the request line says, an absolute URI included.
#[must_use]
pub fn respond(method: &Method, path_and_query: &str, state: &AdminState) -> AdminResponse {
    // As Envoy's: neither absolute URIs nor `*`.
    if !path_and_query.starts_with('/') {
        return AdminResponse::refused(StatusCode::NOT_FOUND, "");
    }
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) else {
        return AdminResponse::refused(StatusCode::NOT_FOUND, format!("invalid path. admin commands are:\n{}", help()));
    };
    let changes = match endpoint.method {
        Only::Any => false,
        Only::Post => true,
        Only::PostToChange => !query.is_empty(),
    };
    if changes && method != Method::POST {
        return AdminResponse::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Method {method} not allowed, POST required."),
        );
    }
    (endpoint.respond)(&Query::parse(query), state)
}

/// Is the response to this request perhaps large, and work to make? Those of probes and of commands are not.
fn is_large(path_and_query: &str) -> bool {
    const LARGE: &[&str] =
        &["/clusters", "/config_dump", "/listeners", "/runtime", "/server_info", "/stats", "/stats/prometheus"];
    let path = path_and_query.split_once('?').map_or(path_and_query, |(path, _)| path);
    LARGE.contains(&path)
}

fn help() -> String {
    let mut out = String::new();
    for endpoint in ENDPOINTS {
        let post = if endpoint.method == Only::Post { " (POST)" } else { "" };
        put(&mut out, format_args!("  {}{post}: {}\n", endpoint.path, endpoint.about));
        for (name, about) in endpoint.parameters {
            put(&mut out, format_args!("      {name}: {about}\n"));
        }
    }
    out
}

fn help_page() -> String {
    let mut out = "<!DOCTYPE html>\n<title>finwait admin</title>\n<table>\n".to_owned();
    for Endpoint { path, method, about, .. } in ENDPOINTS {
        let name = match method {
            Only::Any | Only::PostToChange => format!("<a href=\"{path}\">{path}</a>"),
            Only::Post => format!("<form method=\"post\" action=\"{path}\"><button>{path}</button></form>"),
        };
        put(&mut out, format_args!("<tr><td>{name}<td>{about}\n"));
    }
    out + "</table>\n"
}

/// Appends to a text.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}
