//! The configuration file: read at the start, again on SIGHUP and, with `--watch`, whenever it has changed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context;
use finwait::arguments::Arguments;
use finwait::config::{Config, Differences, Loaded};
use finwait::net::tokio::{probe_log, wall_time};
use finwait::server::reload::{Applied, Reloader};

/// What messages call a configuration that is an argument.
const ARGUMENT: &str = "--config-yaml";

/// Largest configuration file. Bytes. A million routes need a third of it; a device such as /dev/zero has no end.
const CONFIG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How often `--watch` looks at the file. A file that is being written has changed again by the next look, and is left alone
/// until it has not.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration and its name, if one is given.
pub(crate) fn load(arguments: &Arguments) -> anyhow::Result<Option<(String, Config)>> {
    let differences = if arguments.envoy_exact { Differences::NONE } else { Differences::ALL };
    let file = arguments.config_path.as_ref().map(|path| read(path)).transpose()?;
    let (name, loaded) = match (file, &arguments.config_yaml) {
        (None, None) => return Ok(None),
        (None, Some(yaml)) => (ARGUMENT.to_owned(), Config::from_yaml_where(yaml, ARGUMENT, differences, &probe_log)?),
        (Some((name, text)), None) => {
            let loaded = Config::from_yaml_where(&text, &name, differences, &probe_log)?;
            (name, loaded)
        }
        (Some((name, text)), Some(yaml)) => {
            let loaded = Config::from_yaml_over((&text, &name), (yaml, ARGUMENT), differences, &probe_log)?;
            (format!("{name} with {ARGUMENT}"), loaded)
        }
    };
    let Loaded { mut config, warnings } = loaded;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    config.name_node(&arguments.service_node, &arguments.service_cluster, &arguments.service_zone);
    Ok(Some((name, config)))
}

/// The name and the text of a file.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the configuration file")]
fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name}: cannot be read"))?;
    let mut text = String::new();
    file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).with_context(|| format!("{name}: cannot be read"))?;
    anyhow::ensure!(
        text.len() as u64 <= CONFIG_BYTES_MAX,
        "{name}: is longer than {CONFIG_BYTES_MAX} bytes; name a configuration file, not a device or another kind of data"
    );
    Ok((name, text))
}

/// Has the file read again.
#[derive(Clone)]
pub(crate) struct Reloads(SyncSender<&'static str>);

impl Reloads {
    /// Starts a thread that reads the file again when it is requested or, with `--watch`, when the file has changed. It ends
    /// with the process.
    pub(crate) fn start(arguments: &Arguments, watch: Option<Watch>, reloader: Reloader) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start an event loop")?;
        // One request that waits is enough: the file is read after it.
        let (requests, requested) = sync_channel(1);
        let source = Source { arguments: arguments.clone(), reloader, runtime };
        let thread = std::thread::Builder::new().name("reload".into());
        thread.spawn(move || source.serve(&requested, watch)).context("thread reload cannot start")?;
        Ok(Self(requests))
    }

    /// Has the file read again, for a reason that the log names.
    pub(crate) fn request(&self, reason: &'static str) {
        // Full: it is about to be read anyway. Closed: the process ends.
        let (Ok(()) | Err(_)) = self.0.try_send(reason);
    }
}

/// Where configurations come from, and where they go.
struct Source {
    arguments: Arguments,
    reloader: Reloader,
    runtime: tokio::runtime::Runtime,
}

impl Source {
    fn serve(self, requested: &Receiver<&'static str>, mut watch: Option<Watch>) {
        loop {
            let request = match &watch {
                None => requested.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => requested.recv_timeout(WATCH_INTERVAL),
            };
            match request {
                Ok(reason) => {
                    if let Some(watch) = &mut watch {
                        watch.use_now();
                    }
                    self.reload(reason);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if watch.as_mut().is_some_and(Watch::has_changed) {
                        self.reload("--watch");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn reload(&self, reason: &str) {
        tracing::info!("{reason}: reading the configuration again");
        self.reloader.attempt();
        if let Err(error) = self.try_reload() {
            tracing::warn!("the configuration is refused, and the one before it stays in force: {error:#}");
        }
    }

    fn try_reload(&self) -> anyhow::Result<()> {
        let config = match load(&self.arguments) {
            Ok(loaded) => loaded.map(|(_, config)| config).context("there is no configuration file")?,
            Err(error) => {
                self.reloader.refuse();
                return Err(error);
            }
        };
        match self.runtime.block_on(self.reloader.apply(config, wall_time()))? {
            Applied::Same => tracing::info!("the configuration is the one in force"),
            Applied::Next { snapshot, bound } => {
                bound.iter().for_each(|address| tracing::info!("listening on {address}"));
                tracing::info!("configuration version {} is in force: {}", snapshot.version, snapshot.changes);
            }
        }
        Ok(())
    }
}

/// Notices that a file has changed and is whole: it has been another since it was used, and the same for one interval.
pub(crate) struct Watch {
    path: PathBuf,
    used: Option<Version>,
    seen: Option<Version>,
}

/// What tells one state of a file from another: device, inode, size, modification time in seconds and nanoseconds. Links are
/// followed, since a ConfigMap changes by pointing to another folder.
type Version = (u64, u64, u64, i64, i64);

impl Watch {
    /// Of the configuration file, with `--watch`. To be made before the file is read, so that no change is missed.
    pub(crate) fn of(arguments: &Arguments) -> Option<Self> {
        arguments.config_path.clone().filter(|_| arguments.watch).map(Self::new)
    }

    fn new(path: PathBuf) -> Self {
        let now = Self::look(&path);
        Self { path, used: now, seen: now }
    }

    fn look(path: &Path) -> Option<Version> {
        // A file that is gone for a moment is about to be replaced.
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    }

    /// The file is read for another reason.
    fn use_now(&mut self) {
        self.seen = Self::look(&self.path);
        self.used = self.seen;
    }

    fn has_changed(&mut self) -> bool {
        let now = Self::look(&self.path);
        let is_settled = now.is_some() && now == self.seen;
        self.seen = now;
        let is_new = is_settled && now != self.used;
        if is_new {
            self.used = now;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_changed_once_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("finwait-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("envoy.yaml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = Watch::new(path.clone());
        assert!(!watch.has_changed() && !watch.has_changed());
        std::fs::write(&path, "ab").unwrap();
        assert!(!watch.has_changed(), "it may still be written");
        std::fs::write(&path, "abc").unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed() && !watch.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "gone is not changed");
        let other = folder.join("other.yaml");
        std::fs::write(&other, "abcd").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
