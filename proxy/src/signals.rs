//! Signals: what each of them does to the process.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context;
use finwait::config::Difference;
use finwait::demo::Ground;
use finwait::drain::Stage;
use finwait::runtime;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::Running;
use crate::config_file::Reloads;

/// Every signal that the process listens for. Those that are not here keep the system's default: SIGPIPE is ignored by
/// every program in Rust, SIGKILL and SIGSTOP cannot be caught, and SIGSEGV and its like are faults.
const SIGNALS: &[(&str, libc::c_int, Meaning)] = &[
    ("SIGTERM", libc::SIGTERM, Meaning::End(End::Announced)),
    ("SIGQUIT", libc::SIGQUIT, Meaning::End(End::Announced)), // what containers made for nginx are sent
    ("SIGINT", libc::SIGINT, Meaning::End(End::Now)),
    ("SIGUSR1", libc::SIGUSR1, Meaning::ReopenLogs),
    ("SIGHUP", libc::SIGHUP, Meaning::Reload),
    ("SIGUSR2", libc::SIGUSR2, Meaning::Nothing),
    ("SIGALRM", libc::SIGALRM, Meaning::Nothing),
    ("SIGVTALRM", libc::SIGVTALRM, Meaning::Nothing),
    ("SIGPROF", libc::SIGPROF, Meaning::Nothing),
    ("SIGIO", libc::SIGIO, Meaning::Nothing),
    // A log has reached the limit on the size of files: writing to it fails, and that is all.
    ("SIGXFSZ", libc::SIGXFSZ, Meaning::Nothing),
];

#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// The process is to end. Said again, it ends without finishing what runs.
    End(End),
    ReopenLogs,
    Reload,
    /// It is survived.
    Nothing,
}

/// How the process is to end.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Others are still to hear of it: listeners go on accepting for a while.
    Announced,
    /// The sender of the signal knows that no more connections will come.
    Now,
}

/// How long a polite end takes at most: the sum of both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From SIGTERM to the closing of the listeners.
    pub(crate) listeners_after: Duration,
    /// From then to the end.
    pub(crate) drain_time: Duration,
}

/// The signals of the process.
pub(crate) struct Signals {
    runtime: Runtime,
    streams: Vec<(&'static str, Meaning, Signal)>,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let mut streams = Vec::new();
        for (name, number, meaning) in SIGNALS {
            let stream = signal(SignalKind::from_raw(*number)).with_context(|| format!("cannot listen for {name}"))?;
            streams.push((*name, *meaning, stream));
        }
        drop(entered);
        Ok(Self { runtime, streams })
    }

    /// Serves until a signal or an operator's word, then takes the process to its end.
    pub(crate) fn serve_until_signal(
        self,
        running: Running,
        ground: &Ground<'_>,
        limits: Limits,
    ) -> anyhow::Result<()> {
        let (operators, reloads) = (running.runtime(), running.reloads());
        let (all_ended, ended) = oneshot::channel::<Infallible>();
        let joiner = std::thread::Builder::new().name("joiner".into());
        let joiner = joiner.spawn(move || {
            running.join();
            drop(all_ended);
        })?;
        let Self { runtime, mut streams } = self;
        runtime.block_on(async {
            let drain = ground.drain.clone();
            let (word, end) = tokio::select! {
                // In any order: each of them begins the same drain.
                biased;
                signal = termination_signal(&mut streams, ground, reloads.as_ref()) => signal,
                () = drain.reached(Stage::Draining) => ("an operator", End::Now),
            };
            if !is_graceful(operators.as_deref()) {
                tracing::info!("{word}: stopping");
                return ground.control.enter(Stage::Stopped);
            }
            let listeners_after = match end {
                End::Announced => limits.listeners_after,
                End::Now => Duration::ZERO,
            };
            let drain_time = limits.drain_time;
            tracing::info!(
                "{word}: draining; listeners close in {listeners_after:?}, what runs {drain_time:?} after that is cut"
            );
            let hastened = async {
                let (word, _) = termination_signal(&mut streams, ground, reloads.as_ref()).await;
                tracing::info!("{word} again: what is left is cut");
            };
            ground.control.end(listeners_after, hastened, async { drop(ended.await) }).await;
        });
        drop(joiner.join()); // a worker's panic has printed itself
        Ok(())
    }
}

/// Waits for a signal that is to end the process, and does what the others say. Which it was.
async fn termination_signal(
    streams: &mut [(&'static str, Meaning, Signal)],
    ground: &Ground<'_>,
    reloads: Option<&Reloads>,
) -> (&'static str, End) {
    loop {
        let (name, meaning) = poll_fn(|cx| {
            let mut ready = streams
                .iter_mut()
                .filter_map(|(name, meaning, stream)| stream.poll_recv(cx).is_ready().then_some((*name, *meaning)));
            ready.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        match meaning {
            Meaning::End(end) => return (name, end),
            Meaning::ReopenLogs => {
                tracing::info!("{name}: opening log files again");
                ground.logs.reopen();
            }
            Meaning::Reload => match reloads {
                Some(reloads) => reloads.request(name),
                None => tracing::info!("{name}: the demonstration has no configuration file to read again"),
            },
            Meaning::Nothing => tracing::info!("{name}: ignored"),
        }
    }
}

/// May what runs be finished after a signal?
fn is_graceful(runtime: Option<&runtime::Runtime>) -> bool {
    runtime.is_none_or(|runtime| runtime.differences().has(Difference::GracefulStop))
}
