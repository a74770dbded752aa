//! The finwait binary: arguments, the file, threads, signals, exit code.

use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use finwait::config::{Config, Difference, Differences, Loaded};
use finwait::demo::{Demo, Ground, Ports};
use finwait::drain::{DRAIN_TIME, Stage, Strategy, drain_over};
use finwait::net::tokio::{LogFiles, outside};
use finwait::process::{MakeOutside, Process};
use finwait::runtime;
use finwait::server::{Admin, Shared};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

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
    /// Seconds that requests under way may take after SIGTERM or SIGINT; what is left then is cut.
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN_TIME.as_secs())]
    drain_time_s: u64,
    /// When tunnels are ended in a drain: spread over its second half, or at its beginning.
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
    start_diagnostics(arguments.log_level);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("finwait: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_diagnostics(level: Level) {
    let level = match level {
        Level::Trace => tracing::level_filters::LevelFilter::TRACE,
        Level::Debug => tracing::level_filters::LevelFilter::DEBUG,
        Level::Info => tracing::level_filters::LevelFilter::INFO,
        Level::Warning => tracing::level_filters::LevelFilter::WARN,
        Level::Error => tracing::level_filters::LevelFilter::ERROR,
        Level::Critical => tracing::level_filters::LevelFilter::OFF,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = load(arguments)?;
    if arguments.mode == Mode::Validate {
        anyhow::ensure!(file.is_some(), "nothing to validate; say -c FILE");
        eprintln!("configuration OK");
        return Ok(());
    }
    let signals = Signals::listen()?; // before anything starts, so that a signal while it does is not lost
    let logs = LogFiles::start().context("cannot start the log thread")?;
    let limit = Duration::from_secs(arguments.drain_time_s);
    let strategy = match arguments.drain_strategy {
        Pace::Gradual => Strategy::Gradual,
        Pace::Immediate => Strategy::Immediate,
    };
    let (control, drain) = drain_over(limit, strategy);
    let ground = Ground { logs: &logs, control: &Arc::new(control), drain: &drain };
    let running = match file {
        Some((name, config)) => start_server(arguments, name, config, &ground)?,
        None => Running::Demo(start_demo(arguments, &ground)?),
    };
    signals.serve_until_told(running, &ground, limit)?;
    tracing::info!("stopped");
    Ok(())
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
    let Loaded { config, warnings } = Config::from_yaml_with(&text, &name, differences)?;
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

/// The signals that end the process politely.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        drop(entered);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Waits for a signal or an operator's word, then for the workers; cuts what they still have after `limit`.
    fn serve_until_told(mut self, running: Running, ground: &Ground<'_>, limit: Duration) -> anyhow::Result<()> {
        let runtime = running.runtime();
        let (all_ended, ended) = oneshot::channel::<Infallible>();
        let joiner = std::thread::Builder::new().name("joiner".into());
        let joiner = joiner.spawn(move || {
            running.join();
            drop(all_ended);
        })?;
        self.runtime.block_on(async {
            let drain = ground.drain.clone();
            tokio::select! {
                // In any order: each of them begins the same drain.
                biased;
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                () = drain.reached(Stage::Draining) => {}
            }
            let limit = if is_graceful(runtime.as_deref()) { limit } else { Duration::ZERO };
            tracing::info!("draining; what runs longer than {limit:?} is cut");
            ground.control.enter(Stage::Draining);
            if tokio::time::timeout(limit, ended).await.is_err() {
                ground.control.enter(Stage::Stopped);
            }
        });
        drop(joiner.join()); // a worker's panic has printed itself
        Ok(())
    }
}

/// May what runs be finished after a signal?
fn is_graceful(runtime: Option<&runtime::Runtime>) -> bool {
    runtime.is_none_or(|runtime| runtime.differences().has(Difference::GracefulStop))
}
