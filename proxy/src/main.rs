//! The finwait binary: arguments, the file, threads, signals, exit code.

mod config_file;
mod signals;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use finwait::admin::{COMMIT, VERSION};
use finwait::arguments::{Arguments, Mode};
use finwait::demo::{Demo, Ground, Ports};
use finwait::drain::drain_over;
use finwait::net::LogTarget;
use finwait::net::tokio::{LOG_FLUSH_INTERVAL, LogFiles, memory, outside, wall_time};
use finwait::process_log::ProcessLog;
use finwait::runtime;
use finwait::server::process::{MakeOutside, Process};
use finwait::server::{Admin, OnBound, ServerShared};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use config_file::{ConfigRead, Reloads, Watch, Watches};
use signals::{Limits, Signals};

fn main() -> ExitCode {
    let arguments = match Arguments::parse_words(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(refusal) => {
            drop(refusal.print()); // nowhere else to say it
            // Envoy's exit code for wrong arguments is 1, clap's would be 2. Help and version are no errors.
            return if refusal.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let flush_interval = arguments.file_flush_interval_msec;
    let flush_interval = flush_interval.map_or(LOG_FLUSH_INTERVAL, |msec| Duration::from_millis(msec.into()));
    let logs = LogFiles::flushed_every(flush_interval);
    let outcome = start_diagnostics(&arguments, &logs).and_then(|log| run(&arguments, &logs, log));
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
fn start_diagnostics(arguments: &Arguments, logs: &LogFiles) -> anyhow::Result<ProcessLog> {
    let levels = arguments.levels()?;
    let target = arguments.log_path.clone().map_or(LogTarget::Stderr, LogTarget::File);
    let cannot_log = || match &arguments.log_path {
        None => "cannot log to standard error".to_owned(),
        Some(path) => format!("--log-path {path}: cannot be opened"),
    };
    let writer = Arc::new(logs.diagnostics(&target).with_context(cannot_log)?);
    let panics = Arc::clone(&writer);
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        // Not an event of tracing, which the level might leave out.
        drop(writeln!(&mut &*panics, "{panic}\n{backtrace}"));
    }));
    let log = ProcessLog::start(levels, arguments.log_format.clone(), wall_time, BoxMakeWriter::new(writer));
    for name in &arguments.unused {
        tracing::info!("--{name} is accepted and has no effect");
    }
    Ok(log)
}

/// Does what the arguments say; what is to be said last, if anything.
fn run(arguments: &Arguments, logs: &Arc<LogFiles>, process_log: ProcessLog) -> anyhow::Result<Option<&'static str>> {
    let watch = Watch::of(arguments);
    let file = config_file::load(arguments)?;
    if arguments.mode == Mode::Validate {
        anyhow::ensure!(file.is_some(), "nothing to validate; add -c FILE");
        return Ok(Some("configuration OK"));
    }
    let signals = Signals::listen()?; // before anything starts, so that a signal while it does is not lost
    let limit = Duration::from_secs(arguments.drain_time_s);
    let (control, drain) = drain_over(limit, arguments.strategy());
    let ground = Ground { logs, control: &Arc::new(control), drain: &drain };
    let running = match file {
        Some(read) => start_server(arguments, (read, watch), &ground, process_log)?,
        None => Running::Demo(start_demo(arguments, &ground)?),
    };
    let limits = Limits { listeners_after: arguments.drain_listeners_after, drain_time: limit };
    signals.serve_until_signal(running, &ground, limits)?;
    tracing::info!("stopped");
    Ok(None)
}

fn start_server(
    arguments: &Arguments,
    (ConfigRead { config, texts }, watch): (ConfigRead, Option<Watch>),
    ground: &Ground<'_>,
    process_log: ProcessLog,
) -> anyhow::Result<Running> {
    let (name, secrets) = (texts.name(arguments), Watches::of(&config));
    let workers = match arguments.concurrency {
        Some(workers) => workers.into(),
        None => available_parallelism().context("the number of cores is unknown; set --concurrency")?.get(),
    };
    let logs = Arc::clone(ground.logs);
    let world: MakeOutside = Arc::new(move || outside(&logs));
    let admin = Admin {
        command_line: arguments.command_line(),
        process_log: Arc::new(process_log),
        memory,
        on_bound: arguments.admin_address_path.clone().map(write_admin_address),
        ..Admin::new(Arc::clone(ground.control), &name)
    };
    tracing::info!("finwait {VERSION} starts with {workers} workers and {name}");
    let shared = ServerShared::new(config, wall_time(), workers);
    shared.stats.set_version(COMMIT);
    let process = Process::start(&shared, workers, &world, ground.drain, admin)?;
    for address in process.addresses() {
        tracing::info!("listening on {address}");
    }
    let reloads = Reloads::start(arguments, watch, (texts, secrets), process.reloader())?;
    tracing::info!("ready");
    Ok(Running::Server { process, runtime: Arc::clone(&shared.runtime), reloads })
}

/// Writes where the admin interface listens into a file.
fn write_admin_address(path: PathBuf) -> OnBound {
    Box::new(move |address| {
        if let Err(error) = std::fs::write(&path, address.to_string()) {
            tracing::error!(path = %path.display(), %error, "the address of the admin interface cannot be written");
        }
    })
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
    Server { process: Process, runtime: Arc<runtime::Runtime>, reloads: Reloads },
}

impl Running {
    /// What operators may change, if there are any: the demonstration has none.
    fn runtime(&self) -> Option<Arc<runtime::Runtime>> {
        match self {
            Self::Demo(_) => None,
            Self::Server { runtime, .. } => Some(Arc::clone(runtime)),
        }
    }

    /// Has the configuration read again, if there is one: that of the demonstration is part of the program.
    fn reloads(&self) -> Option<Reloads> {
        match self {
            Self::Demo(_) => None,
            Self::Server { reloads, .. } => Some(reloads.clone()),
        }
    }

    fn join(self) {
        match self {
            Self::Demo(demo) => demo.join(),
            Self::Server { process, .. } => process.join(),
        }
    }
}
