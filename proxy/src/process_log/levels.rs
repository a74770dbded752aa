//! Which parts of the process log how much: loggers by Envoy's names, each with a level.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// From which severity on a logger writes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Level {
    /// Everything, frames of HTTP/2 among it.
    Trace,
    /// One line for each request that is refused or answered here, and for each connect that fails.
    Debug,
    /// What operators act on.
    #[default]
    Info,
    /// What is wrong but does not stop the process.
    Warning,
    /// What stops a part of the process.
    Error,
    /// Nothing: there is no such severity here.
    Critical,
    /// Nothing is logged.
    Off,
}

impl Level {
    /// All, from most to least.
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical, Self::Off];

    /// The level of this name, in Envoy's spelling.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Envoy's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::Critical | Self::Off => LevelFilter::OFF,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name of Envoy's and the modules that log under it. Where a module has several, the longest path decides.
struct Logger {
    name: &'static str,
    modules: &'static [&'static str],
}

const fn logger(name: &'static str, modules: &'static [&'static str]) -> Logger {
    Logger { name, modules }
}

/// The loggers of Envoy 1.40, in its order. Those without modules can be set, so that a command line of Envoy's works,
/// and write nothing.
const LOGGERS: &[Logger] = &[
    logger("a2a", &[]),
    logger("admin", &["finwait::admin"]),
    logger("ai_protocol_manager", &[]),
    logger("alternate_protocols_cache", &[]),
    logger("aws", &[]),
    logger("assert", &[]),
    logger("backtrace", &[]),
    logger("basic_auth", &[]),
    logger("cache_filter", &[]),
    logger("client", &[]),
    logger("config", &["finwait::config"]),
    logger("connection", &["finwait::net"]),
    logger("conn_handler", &["finwait::listener"]),
    logger("compression", &[]),
    logger("credential_injector", &[]),
    logger("decompression", &[]),
    logger("dns", &["finwait::cluster::discovery"]),
    logger("dubbo", &[]),
    logger("envoy_bug", &[]),
    logger("ext_authz", &[]),
    logger("ext_proc", &[]),
    logger("rocketmq", &[]),
    logger("file", &["finwait::access_log"]),
    logger("filter", &[]),
    logger("forward_proxy", &[]),
    logger("geolocation", &[]),
    logger("grpc", &[]),
    logger("happy_eyeballs", &[]),
    logger("hc", &["finwait::cluster::health"]),
    logger("health_checker", &[]),
    logger("http", &["finwait::codec", "finwait::connection_manager", "finwait::stream"]),
    logger("http2", &["finwait::codec::http2"]),
    logger("hystrix", &[]),
    logger("init", &[]),
    logger("io", &[]),
    logger("jwt", &[]),
    logger("json_rpc", &[]),
    logger("kafka", &[]),
    logger("key_value_store", &[]),
    logger("lua", &["finwait::filter::lua"]),
    logger("local_rate_limit", &[]),
    logger("main", &["finwait"]),
    logger("matcher", &[]),
    logger("mcp", &[]),
    logger("misc", &["finwait::demo"]),
    logger("mongo", &[]),
    logger("multi_connection", &[]),
    logger("notification", &[]),
    logger("oauth2", &[]),
    logger("quic", &[]),
    logger("quic_stream", &[]),
    logger("pool", &["finwait::cluster::pool"]),
    logger("rate_limit_quota", &[]),
    logger("rbac", &[]),
    logger("rds", &[]),
    logger("redis", &[]),
    logger("router", &["finwait::router", "finwait::upstream"]),
    logger("runtime", &["finwait::runtime"]),
    logger("stats", &["finwait::stats"]),
    logger("secret", &[]),
    logger("sse", &[]),
    logger("tap", &[]),
    logger("testing", &[]),
    logger("thrift", &[]),
    logger("tracing", &[]),
    logger("upstream", &["finwait::cluster"]),
    logger("udp", &[]),
    logger("wasm", &[]),
    logger("websocket", &["finwait::tunnel"]),
    logger("golang", &[]),
    logger("stats_sinks", &[]),
    logger("dynamic_modules", &[]),
    logger("ip_tagging", &[]),
];

/// The logger under which a module logs.
#[must_use]
pub(super) fn logger_of(module: &str) -> &'static str {
    let each = LOGGERS.iter().flat_map(|logger| logger.modules.iter().map(|path| (*path, logger.name)));
    let matching = each.filter(|(path, _)| module.starts_with(path));
    matching.max_by_key(|(path, _)| path.len()).map_or("misc", |(_, name)| name)
}

/// A change of levels that cannot be made. The texts are Envoy's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LevelError {
    /// A pair without its name or its level.
    #[error("empty logger name or empty logger level")]
    Empty,
    /// No level is called this.
    #[error("unknown logger level")]
    UnknownLevel,
    /// No logger is called this.
    #[error("unknown logger name")]
    UnknownLogger,
}

/// The level of every logger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Levels(Vec<Level>);

impl Levels {
    /// All loggers at `level`.
    #[must_use]
    pub fn all(level: Level) -> Self {
        Self(vec![level; LOGGERS.len()])
    }

    /// These levels with the changes of `pairs`, as in `upstream:debug,http:trace`. All or none.
    ///
    /// # Errors
    /// A pair is not `logger:level`, or one of the two is not known.
    pub fn with(&self, pairs: &str) -> Result<Self, LevelError> {
        let mut changed = self.clone();
        for pair in pairs.split(',').filter(|pair| !pair.is_empty()) {
            let (name, level) = pair.split_once(':').ok_or(LevelError::Empty)?;
            if name.is_empty() || level.is_empty() {
                return Err(LevelError::Empty);
            }
            changed.set(name, Level::named(level).ok_or(LevelError::UnknownLevel)?)?;
        }
        Ok(changed)
    }

    /// Changes one logger.
    ///
    /// # Errors
    /// No logger has this name.
    pub fn set(&mut self, name: &str, level: Level) -> Result<(), LevelError> {
        let mut each = LOGGERS.iter().zip(&mut self.0);
        let (_, current) = each.find(|(logger, _)| logger.name == name).ok_or(LevelError::UnknownLogger)?;
        *current = level;
        Ok(())
    }

    /// Every logger with its level, in Envoy's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Level)> {
        LOGGERS.iter().zip(&self.0).map(|(logger, level)| (logger.name, *level))
    }

    /// What passes. Libraries log where their part is traced, and else nothing: the frames of HTTP/2 would drown the rest.
    pub(super) fn targets(&self) -> Targets {
        let mut targets = Targets::new();
        for (logger, level) in LOGGERS.iter().zip(&self.0) {
            for module in logger.modules {
                targets = targets.with_target(*module, level.filter());
            }
            if (logger.name, *level) == ("http2", Level::Trace) {
                targets = targets.with_target("h2", LevelFilter::TRACE);
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Severity;

    use super::*;

    #[test]
    fn the_longest_path_of_a_module_names_its_logger() {
        let cases = [
            ("finwait", "main"),
            ("finwait::server", "main"),
            ("finwait::cluster::ejection", "upstream"),
            ("finwait::cluster::health", "hc"),
            ("finwait::cluster::pool::lease", "pool"),
            ("h2::codec", "misc"),
        ];
        for (module, name) in cases {
            assert_eq!(logger_of(module), name, "{module}");
        }
    }

    #[test]
    fn a_level_passes_what_is_at_least_as_severe() {
        let levels = Levels::all(Level::Info).with("upstream:debug,hc:off,lua:trace").unwrap();
        let targets = levels.targets();
        assert!(targets.would_enable("finwait::cluster::ejection", &Severity::DEBUG));
        assert!(!targets.would_enable("finwait::cluster::health", &Severity::ERROR));
        assert!(targets.would_enable("finwait::server", &Severity::INFO));
        assert!(!targets.would_enable("finwait::server", &Severity::DEBUG));
        assert!(!targets.would_enable("h2::codec", &Severity::ERROR));
        let traced = Levels::all(Level::Trace).targets();
        assert!(traced.would_enable("h2::codec", &Severity::TRACE));
    }

    #[test]
    fn a_change_with_one_invalid_pair_changes_nothing() {
        let levels = Levels::all(Level::Info);
        let cases = [
            ("upstream", LevelError::Empty),
            (":debug", LevelError::Empty),
            ("upstream:", LevelError::Empty),
            ("upstream:debug,nope:debug", LevelError::UnknownLogger),
            ("upstream:warn", LevelError::UnknownLevel),
        ];
        for (pairs, why) in cases {
            assert_eq!(levels.with(pairs), Err(why), "{pairs}");
        }
        assert_eq!(levels.with(""), Ok(levels));
    }
}
