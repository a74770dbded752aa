//! The finwait binary: arguments, the file, threads, signals, exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use finwait::config::{Config, Loaded};
use finwait::drain::{Drain, DrainControl, Stage, drain};
use finwait::net::tokio::LogFiles;
use finwait::process::Process;
use finwait::server::{Admin, Shared};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// An HTTP proxy that reads Envoy v3 configuration.
#[derive(Parser)]
#[command(name = "finwait", version, max_term_width = 100)]
struct Arguments {
    /// The configuration, an Envoy v3 bootstrap in YAML or JSON.
    #[arg(short, long = "config-path", value_name = "FILE", conflicts_with = "config_yaml")]
    config_path: Option<PathBuf>,
    /// The configuration itself, instead of a file.
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// Serve, or only check the configuration and exit.
    #[arg(long, value_enum, default_value_t = Mode::Serve)]
    mode: Mode,
    /// Diagnostics on standard error from this level on.
    #[arg(short, long, value_enum, default_value_t = Level::Info)]
    log_level: Level,
    /// Seconds that requests under way may take after SIGTERM or SIGINT; what is left then is cut.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain_time_s: u64,
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
    let arguments = Arguments::parse();
    start_diagnostics(arguments.log_level);
    match run(arguments) {
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

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (name, Loaded { config, warnings }) = load(&arguments)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if arguments.mode == Mode::Validate {
        eprintln!("configuration OK");
        return Ok(());
    }
    let workers = match arguments.concurrency {
        Some(workers) => workers.into(),
        None => available_parallelism().context("cannot count the cores; say --concurrency")?.get(),
    };
    let logs = LogFiles::start().context("cannot start the log thread")?;
    let (control, drain) = drain();
    let control = Arc::new(control);
    let admin = Admin { control: Arc::clone(&control), config_path: name };
    let process = Process::start(&Shared::new(config, workers), workers, &logs, &drain, admin)?;
    for address in &process.addresses {
        tracing::info!("listening on {address}");
    }
    serve_until_told(&control, drain, process, Duration::from_secs(arguments.drain_time_s))?;
    tracing::info!("stopped");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the configuration file")]
fn load(arguments: &Arguments) -> anyhow::Result<(String, Loaded)> {
    if let Some(yaml) = &arguments.config_yaml {
        let name = "--config-yaml";
        return Ok((name.into(), Config::from_yaml(yaml, name)?));
    }
    let Some(path) = &arguments.config_path else { anyhow::bail!("no configuration; say -c FILE") };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name}: cannot be read"))?;
    let loaded = Config::from_yaml(&text, &name)?;
    Ok((name, loaded))
}

/// Waits for a signal or an operator's word, then for the workers; cuts what they still have after `limit`.
fn serve_until_told(control: &DrainControl, mut drain: Drain, process: Process, limit: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (all_ended, mut ended) = oneshot::channel();
    let joiner = std::thread::spawn(move || {
        process.join();
        // Fails only when nobody waits any more.
        let _sent = all_ended.send(());
    });
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        tokio::select! {
            // In any order: each of them begins the same drain.
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = drain.reached(Stage::Draining) => {}
        }
        tracing::info!("draining; what runs longer than {limit:?} is cut");
        control.enter(Stage::Draining);
        if tokio::time::timeout(limit, &mut ended).await.is_err() {
            control.enter(Stage::Stopped);
        }
        anyhow::Ok(())
    })?;
    drop(joiner.join()); // a worker's panic has printed itself
    Ok(())
}
