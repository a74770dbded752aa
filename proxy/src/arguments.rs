//! The command line: finwait's own options and Envoy's, of which those without a meaning here are accepted or refused by
//! name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use serde_json::json;

use crate::admin::CommandLine;
use crate::drain::{DRAIN_TIME, Strategy};
use crate::process_log::{Format, Level, Levels};

/// Without being told, listeners go on accepting for so long once the end is announced. kube-proxy and load balancers need
/// a second or two from a process's end, or from a failed check, until they send no more connections to it.
const LISTENERS_AFTER: &str = "5s";

/// An HTTP proxy that reads Envoy v3 configuration.
///
/// Without a configuration it runs a demonstration: three proxies in a row, an application behind them, and a
/// page on http://127.0.0.1:10000/ that shows what happens at each.
#[derive(Clone, Debug, Parser)]
#[command(name = "finwait", version = crate::admin::VERSION, max_term_width = 100)]
pub struct Arguments {
    /// The configuration, an Envoy v3 bootstrap in YAML or JSON.
    #[arg(short, long = "config-path", value_name = "FILE")]
    pub config_path: Option<PathBuf>,
    /// A configuration in YAML, instead of the file or merged into it: lists are appended, anything else is replaced.
    #[arg(long, value_name = "YAML", allow_hyphen_values = true)] // YAML begins with --- or a list's - as well
    pub config_yaml: Option<String>,
    /// Reload the configuration file whenever it has changed; SIGHUP does so at any time. An invalid file is refused with a line
    /// in the process log, and the configuration before it stays in force.
    #[arg(long, requires = "config_path")]
    pub watch: bool,
    /// The first of the four ports of the demonstration, which then has no admin interfaces [default: 10000].
    #[arg(long, value_name = "PORT", conflicts_with_all = ["config_path", "config_yaml"])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=65532))]
    pub demo_port: Option<u16>,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: Option<u16>,
    /// Serve, or only check the configuration and exit.
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    pub mode: Mode,
    /// Switch off the deliberate differences from Envoy that have a runtime key; proxy/DIFFERENCES.md lists them, and those that
    /// have none.
    #[arg(long)]
    pub envoy_exact: bool,
    /// The lowest level in the process log: trace, debug, info, warning, error, critical or off.
    #[arg(short, long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    pub log_level: Level,
    /// Levels of single loggers, as in upstream:debug,http:trace; POST /logging lists them.
    #[arg(long, value_name = "LOGGER:LEVEL,...", default_value = "", hide_default_value = true)]
    pub component_log_level: String,
    /// The format of lines of the process log, in spdlog's notation, as in [%Y-%m-%d %T.%e][%l][%n] %v.
    #[arg(long, value_name = "PATTERN", value_parser = Format::parse)]
    pub log_format: Option<Format>,
    /// Write the process log to this file instead of standard error.
    #[arg(long, value_name = "FILE")]
    pub log_path: Option<String>,
    /// After SIGTERM, keep listeners open for this long (5s, 500ms) while /ready responds DRAINING, because load balancers
    /// learn of a shutdown late. SIGINT (Ctrl-C) skips this time. A second signal of either kind closes everything at once.
    #[arg(long, value_name = "DURATION", default_value = LISTENERS_AFTER, value_parser = duration)]
    pub drain_listeners_after: Duration,
    /// Seconds that active requests may take once listeners are closed; what is open then is closed. The process ends at the
    /// latest --drain-listeners-after plus this time after SIGTERM, and one second later if the reader of a log stalls.
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN_TIME.as_secs())]
    pub drain_time_s: u64,
    /// When tunnels are closed in the drain time: spread over its second half, or at its beginning.
    #[arg(long, value_enum, default_value_t = Pace::Gradual)]
    pub drain_strategy: Pace,
    /// Milliseconds that a line of an access log may wait before it is written [default: 250].
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub file_flush_interval_msec: Option<u32>,
    /// The node's cluster, instead of node.cluster in the configuration.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service_cluster: String,
    /// The node's name, instead of node.id in the configuration.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service_node: String,
    /// The node's zone, instead of node.locality.zone in the configuration.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service_zone: String,
    /// Write the address of the admin interface to this file once it listens.
    #[arg(long, value_name = "FILE")]
    pub admin_address_path: Option<PathBuf>,
    /// Those of [`UNUSED`] that were given.
    #[arg(skip)]
    pub unused: Vec<&'static str>,
}

/// Envoy's words for [`Strategy`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Pace {
    /// Spread over the second half of the drain time.
    Gradual,
    /// At its beginning.
    Immediate,
}

/// What the process is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Mode {
    /// Serve.
    Serve,
    /// Check the configuration and exit.
    Validate,
}

/// An option of Envoy's that does nothing here.
struct Unused {
    name: &'static str,
    takes: Takes,
}

/// What may follow an option.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    /// A value, whatever it is.
    Any,
    /// A value, and only this: any other would have to change something.
    Only(&'static str),
}

/// Accepted, with a line in the process log: nothing that they could change exists here, or it cannot be seen.
const UNUSED: &[Unused] = &[
    Unused { name: "base-id", takes: Takes::Any },
    Unused { name: "bootstrap-version", takes: Takes::Only("3") },
    Unused { name: "cpuset-threads", takes: Takes::Nothing },
    Unused { name: "disable-hot-restart", takes: Takes::Nothing },
    Unused { name: "enable-mutex-tracing", takes: Takes::Nothing },
    Unused { name: "file-flush-min-size-kb", takes: Takes::Any },
    Unused { name: "ignore-unknown-dynamic-fields", takes: Takes::Nothing },
    Unused { name: "local-address-ip-version", takes: Takes::Any },
    Unused { name: "parent-shutdown-time-s", takes: Takes::Any },
    Unused { name: "reject-unknown-dynamic-fields", takes: Takes::Nothing },
    Unused { name: "restart-epoch", takes: Takes::Only("0") },
    Unused { name: "skip-deprecated-logs", takes: Takes::Nothing },
    Unused { name: "skip-hot-restart-on-no-parent", takes: Takes::Nothing },
    Unused { name: "skip-hot-restart-parent-stats", takes: Takes::Nothing },
    Unused { name: "socket-mode", takes: Takes::Any },
    Unused { name: "socket-path", takes: Takes::Any },
    Unused { name: "use-dynamic-base-id", takes: Takes::Nothing },
];

/// An option of Envoy's that is refused.
struct Refused {
    name: &'static str,
    takes: Takes,
    /// What to write instead.
    instead: &'static str,
}

impl Refused {
    const fn flag(name: &'static str, instead: &'static str) -> Self {
        Self { name, takes: Takes::Nothing, instead }
    }

    const fn with_value(name: &'static str, instead: &'static str) -> Self {
        Self { name, takes: Takes::Any, instead }
    }
}

/// A caller of these options relies on their effect.
const REFUSED: &[Refused] = &[
    Refused::flag("allow-unknown-fields", "an unknown field is an error here; remove the field"),
    Refused::flag("allow-unknown-static-fields", "an unknown field is an error here; remove the field"),
    Refused::with_value("base-id-path", "there is no hot restart, and no base id to write"),
    Refused::with_value("disable-extensions", "extensions cannot be switched off; leave them out of the configuration"),
    Refused::flag("enable-core-dump", "run `ulimit -c unlimited` before finwait is started"),
    Refused::flag("enable-fine-grain-logging", "the process log has loggers, not files; use --component-log-level"),
    Refused::flag("hot-restart-version", "there is no hot restart"),
    Refused::flag("log-format-escaped", "use --log-format with %_ or %j instead of %v"),
    Refused::with_value("stats-tag", "stats have the tags of Envoy's defaults, and no others"),
];

impl Arguments {
    /// Reads the words of a command line, the name of the program first.
    ///
    /// # Errors
    /// Something is wrong with it, or it asks for help or the version: print the text.
    pub fn parse_words(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        for Unused { name, takes } in UNUSED {
            command = command.arg(argument(name, *takes));
        }
        for Refused { name, takes, .. } in REFUSED {
            command = command.arg(argument(name, *takes));
        }
        let unused: Vec<String> = UNUSED.iter().map(|unused| format!("--{}", unused.name)).collect();
        let refused: Vec<String> = REFUSED.iter().map(|refused| format!("--{}", refused.name)).collect();
        command = command.after_help(format!(
            "Options of Envoy that are accepted and have no effect: {}\n\nOptions of Envoy that are refused, with what to \
             write instead: {}",
            unused.join(", "),
            refused.join(", ")
        ));
        let matches = command.clone().try_get_matches_from(words)?;
        let given = |name: &str| is_given(&matches, name);
        if let Some(Refused { name, instead, .. }) = REFUSED.iter().find(|refused| given(refused.name)) {
            let message = format!("--{name} is not supported: {instead}");
            return Err(command.error(clap::error::ErrorKind::UnknownArgument, message));
        }
        let mut arguments = Self::from_arg_matches(&matches)?;
        arguments.unused = UNUSED.iter().map(|unused| unused.name).filter(|name| given(name)).collect();
        if let Err(error) = arguments.levels() {
            let message = format!("--component-log-level: {error}: {}", arguments.component_log_level);
            return Err(command.error(clap::error::ErrorKind::InvalidValue, message));
        }
        Ok(arguments)
    }

    /// How much each logger logs.
    ///
    /// # Errors
    /// `--component-log-level` names a logger or a level that is not known.
    pub fn levels(&self) -> Result<Levels, crate::process_log::LevelError> {
        Levels::all(self.log_level).with(&self.component_log_level)
    }

    /// How a drain ends tunnels.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        match self.drain_strategy {
            Pace::Gradual => Strategy::Gradual,
            Pace::Immediate => Strategy::Immediate,
        }
    }

    /// For `/server_info`.
    #[must_use]
    pub fn command_line(&self) -> CommandLine {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let strategy = if self.drain_strategy == Pace::Gradual { "Gradual" } else { "Immediate" };
        let options = json!({
            "admin_address_path": path(&self.admin_address_path),
            "component_log_level": self.component_log_level,
            "config_path": path(&self.config_path),
            "config_yaml": self.config_yaml.as_deref().unwrap_or_default(),
            "disable_hot_restart": true,
            "drain_strategy": strategy,
            "drain_time": format!("{}s", self.drain_time_s),
            "log_level": self.log_level.name(),
            "log_path": self.log_path.as_deref().unwrap_or_default(),
            "mode": if self.mode == Mode::Serve { "Serve" } else { "Validate" },
            "restart_epoch": 0,
            "service_cluster": self.service_cluster,
            "service_node": self.service_node,
            "service_zone": self.service_zone,
        });
        CommandLine(options.as_object().cloned().unwrap_or_default())
    }
}

/// An option that is only known by name.
fn argument(name: &'static str, takes: Takes) -> Arg {
    let argument = Arg::new(name).long(name).hide(true);
    match takes {
        Takes::Nothing => argument.action(ArgAction::SetTrue),
        Takes::Any => argument.action(ArgAction::Append),
        Takes::Only(value) => argument.action(ArgAction::Set).value_parser([value]),
    }
}

fn is_given(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
}

fn level(name: &str) -> Result<Level, String> {
    let name = if name == "warn" { "warning" } else { name };
    let known = || Level::ALL.map(Level::name).join(", ");
    Level::named(name).ok_or_else(|| format!("not a level; known are {}", known()))
}

/// `5s`, `1.5s` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = match text.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse::<f64>().map(|milliseconds| milliseconds / 1000.0),
        None => text.strip_suffix('s').unwrap_or_default().parse::<f64>(),
    };
    let duration = seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "write a number and its unit, such as 5s or 500ms".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse_words(line.split(' ').map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_refused_option_is_named_whatever_stands_behind_it() {
        for Refused { name, takes, instead } in REFUSED {
            let value = if matches!(takes, Takes::Any) { " value" } else { "" };
            for rest in ["", " --mode validate", " -c file.yaml"] {
                let error = parse(&format!("finwait --{name}{value}{rest}")).expect_err("it is refused");
                assert!(error.contains(&format!("--{name} is not supported: {instead}")), "{error}");
            }
        }
    }

    #[test]
    fn an_option_without_effect_takes_what_envoy_gives_it() {
        let arguments =
            parse("finwait --base-id 3 --disable-hot-restart --restart-epoch 0 --mode validate").expect("known");
        assert_eq!(arguments.unused, ["base-id", "disable-hot-restart", "restart-epoch"]);
        assert_eq!(arguments.mode, Mode::Validate);
        assert!(parse("finwait --restart-epoch 1").is_err());
    }
}
