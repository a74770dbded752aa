//! The finwait binary: arguments, the file, threads, signals, exit code.

mod signals;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use finwait::config::{Config, Differences, Loaded};
use finwait::demo::{Demo, Ground, Ports};
use finwait::drain::{DRAIN_TIME, Strategy, drain_over};
use finwait::net::LogTarget;
use finwait::net::tokio::{LogFiles, outside, probe_log};
use finwait::process::{MakeOutside, Process};
use finwait::runtime;
use finwait::server::{Admin, Shared};

use signals::{Limits, Signals};

/// Without being told, listeners go on accepting for so long once the end is announced. kube-proxy and load balancers need
/// a second or two from a process's end, or from a failed check, until they send no more connections to it.
const LISTENERS_AFTER: &str = "5s";

/// An HTTP proxy that reads Envoy v3 configuration.
///
/// Without a configuration it runs a demonstration: three proxies in a row, an application behind them, and a
/// page on http://127.0.0.1:10000/ that shows what happens at each.
#[derive(Parser)]
#[command(name = "finwait", version, max_term_width = 100)]
struct Arguments {
    /// The configuration, an Envoy v3 bootstrap in YAML or JSON.
    #[arg(short, long = "config-path", value_name = "FILE", conflicts_with = "config_yaml")]
    config_path: Option<PathBuf>,
    /// The configuration itself, instead of a file.
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
    /// The first of the four ports of the demonstration, which then has no admin interfaces [default: 10000].
    #[arg(long, value_name = "PORT", conflicts_with_all = ["config_path", "config_yaml"])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=65532))]
    demo_port: Option<u16>,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// Serve, or only check the configuration and exit.
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    mode: Mode,
    /// Behave as Envoy does also where finwait departs from it on purpose.
    #[arg(long)]
    envoy_exact: bool,
    /// Diagnostics on standard error from this level on.
    #[arg(short, long, value_enum, default_value_t = Level::Info)]
    log_level: Level,
    /// After SIGTERM, listeners go on accepting for this long (5s, 500ms) while /ready says DRAINING: load balancers hear
    /// late of an end. SIGINT (Ctrl-C) leaves it out. A second signal of either kind cuts everything at once.
    #[arg(long, value_name = "DURATION", default_value = LISTENERS_AFTER, value_parser = duration)]
    drain_listeners_after: Duration,
    /// Seconds that requests under way may take once listeners are closed; what is left then is cut. From SIGTERM to the end
    /// it takes --drain-listeners-after and this at most, and one second more if the reader of a log stalls.
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN_TIME.as_secs())]
    drain_time_s: u64,
    /// When tunnels are ended in that time: spread over its second half, or at its beginning.
    #[arg(long, value_enum, default_value_t = Pace::Gradual)]
    drain_strategy: Pace,
}

/// Envoy's words.
#[derive(Clone, Copy, ValueEnum)]
enum Pace {
    Gradual,
    Immediate,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Mode {
    Serve,
    Validate,
}

/// Envoy's level names.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    Error,
    #[value(alias = "off")]
    Critical,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            drop(answer.print()); // nowhere else to say it
            // Envoy's exit code for wrong arguments is 1, clap's would be 2. Help and version are no errors.
            return if answer.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let logs = LogFiles::new();
    let outcome = start_diagnostics(arguments.log_level, &logs).and_then(|()| run(&arguments, &logs));
    logs.finish(); // before the last word, which does not go through them
    match outcome {
        Ok(last_word) => {
            last_word.into_iter().for_each(|word| eprintln!("{word}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("finwait: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Messages of the process go through a log's queue, so that a reader of standard error that stands still stops no worker.
fn start_diagnostics(level: Level, logs: &LogFiles) -> anyhow::Result<()> {
    let level = match level {
        Level::Trace => tracing::level_filters::LevelFilter::TRACE,
        Level::Debug => tracing::level_filters::LevelFilter::DEBUG,
        Level::Info => tracing::level_filters::LevelFilter::INFO,
        Level::Warning => tracing::level_filters::LevelFilter::WARN,
        Level::Error => tracing::level_filters::LevelFilter::ERROR,
        Level::Critical => tracing::level_filters::LevelFilter::OFF,
    };
    let writer = Arc::new(logs.diagnostics(&LogTarget::Stderr).context("cannot log to standard error")?);
    let panics = Arc::clone(&writer);
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        // Not an event of tracing, which the level might leave out.
        drop(writeln!(&mut &*panics, "{panic}\n{backtrace}"));
    }));
    tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_target(false).init();
    Ok(())
}

/// Does what the arguments say; what is to be said last, if anything.
fn run(arguments: &Arguments, logs: &Arc<LogFiles>) -> anyhow::Result<Option<&'static str>> {
    let file = load(arguments)?;
    if arguments.mode == Mode::Validate {
        anyhow::ensure!(file.is_some(), "nothing to validate; say -c FILE");
        return Ok(Some("configuration OK"));
    }
    let signals = Signals::listen()?; // before anything starts, so that a signal while it does is not lost
    let limit = Duration::from_secs(arguments.drain_time_s);
    let strategy = match arguments.drain_strategy {
        Pace::Gradual => Strategy::Gradual,
        Pace::Immediate => Strategy::Immediate,
    };
    let (control, drain) = drain_over(limit, strategy);
    let ground = Ground { logs, control: &Arc::new(control), drain: &drain };
    let running = match file {
        Some((name, config)) => start_server(arguments, name, config, &ground)?,
        None => Running::Demo(start_demo(arguments, &ground)?),
    };
    let limits = Limits { listeners_after: arguments.drain_listeners_after, drain_time: limit };
    signals.serve_until_told(running, &ground, limits)?;
    tracing::info!("stopped");
    Ok(None)
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

/// The configuration and its name, if one is given.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the configuration file")]
fn load(arguments: &Arguments) -> anyhow::Result<Option<(String, Config)>> {
    let (name, text) = match (&arguments.config_path, &arguments.config_yaml) {
        (None, None) => return Ok(None),
        (_, Some(yaml)) => ("--config-yaml".to_owned(), yaml.clone()),
        (Some(path), None) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| format!("{name}: cannot be read"))?;
            (name, text)
        }
    };
    let differences = if arguments.envoy_exact { Differences::NONE } else { Differences::ALL };
    let Loaded { config, warnings } = Config::from_yaml_where(&text, &name, differences, &probe_log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(Some((name, config)))
}

fn start_server(arguments: &Arguments, name: String, config: Config, ground: &Ground<'_>) -> anyhow::Result<Running> {
    let workers = match arguments.concurrency {
        Some(workers) => workers.into(),
        None => available_parallelism().context("cannot count the cores; say --concurrency")?.get(),
    };
    let logs = Arc::clone(ground.logs);
    let world: MakeOutside = Arc::new(move || outside(&logs));
    let admin = Admin { control: Arc::clone(ground.control), config_path: name };
    let shared = Shared::new(config, workers);
    let process = Process::start(&shared, workers, &world, ground.drain, admin)?;
    for address in &process.addresses {
        tracing::info!("listening on {address}");
    }
    Ok(Running::Server(process, Arc::clone(&shared.runtime)))
}

fn start_demo(arguments: &Arguments, ground: &Ground<'_>) -> anyhow::Result<Demo> {
    let workers = arguments.concurrency.map_or(1, usize::from); // four servers share the machine
    let ports = arguments.demo_port.map_or(Ports::AsWritten, Ports::From);
    let demo = Demo::start(ports, workers, ground).map_err(|error| {
        let why = anyhow::Error::new(error);
        anyhow::anyhow!(
            "the demonstration cannot start: {why:#}\n\
             Free what it needs, or serve a configuration of your own: finwait -c FILE"
        )
    })?;
    std::io::stdout().write_all(demo.welcome().as_bytes()).context("cannot write to standard output")?;
    Ok(demo)
}

/// What was started.
enum Running {
    Demo(Demo),
    Server(Process, Arc<runtime::Runtime>),
}

impl Running {
    /// What operators may change, if there are any: the demonstration has none.
    fn runtime(&self) -> Option<Arc<runtime::Runtime>> {
        match self {
            Self::Demo(_) => None,
            Self::Server(_, runtime) => Some(Arc::clone(runtime)),
        }
    }

    fn join(self) {
        match self {
            Self::Demo(demo) => demo.join(),
            Self::Server(process, _) => process.join(),
        }
    }
}
