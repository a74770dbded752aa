//! The configuration file: read at the start, again on SIGHUP and, with `--watch`, whenever it has changed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context;
use finwait::arguments::Arguments;
use finwait::config::secret_read::SecretRead;
use finwait::config::{Config, Differences, Loaded, Surroundings};
use finwait::net::tokio::{probe_log, wall_time};
use finwait::server::reload::{Applied, Reloader, Renewed};

/// What messages call a configuration that is an argument.
const ARGUMENT: &str = "--config-yaml";

/// Largest configuration file. Bytes. A million routes need a third of it; a device such as /dev/zero has no end.
const CONFIG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How often `--watch` looks at the file. A file that is being written has changed again by the next look, and is left alone
/// until it has not.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A configuration, and what it was read from.
pub(crate) struct ConfigRead {
    pub(crate) config: Config,
    pub(crate) texts: Texts,
}

/// The texts that make up a configuration.
#[derive(Clone)]
pub(crate) struct Texts {
    /// The name and the content of the file, if there is one.
    file: Option<(String, String)>,
}

/// The configuration, if one is given.
pub(crate) fn load(arguments: &Arguments) -> anyhow::Result<Option<ConfigRead>> {
    if arguments.config_path.is_none() && arguments.config_yaml.is_none() {
        return Ok(None);
    }
    let texts = Texts { file: arguments.config_path.as_ref().map(|path| read(path)).transpose()? };
    let Loaded { config, warnings } = texts.load(arguments, Vec::new())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(Some(ConfigRead { config, texts }))
}

impl Texts {
    /// What messages call them.
    pub(crate) fn name(&self, arguments: &Arguments) -> String {
        match (&self.file, &arguments.config_yaml) {
            (None, _) => ARGUMENT.to_owned(),
            (Some((name, _)), None) => name.clone(),
            (Some((name, _)), Some(_)) => format!("{name} with {ARGUMENT}"),
        }
    }

    /// What they mean, with the files that they name as these are now, and these secrets where their files are of no use.
    fn load(&self, arguments: &Arguments, secrets: Vec<SecretRead>) -> anyhow::Result<Loaded> {
        let surroundings = Surroundings { secrets, ..Surroundings::default() };
        let differences = if arguments.envoy_exact { Differences::NONE } else { Differences::ALL };
        let mut loaded = match (&self.file, &arguments.config_yaml) {
            (None, yaml) => {
                let yaml = yaml.as_deref().unwrap_or_default();
                Config::from_yaml_where(yaml, ARGUMENT, differences, &surroundings, &probe_log)?
            }
            (Some((name, text)), None) => Config::from_yaml_where(text, name, differences, &surroundings, &probe_log)?,
            (Some((name, text)), Some(yaml)) => {
                Config::from_yaml_over((text, name), (yaml, ARGUMENT), differences, &surroundings, &probe_log)?
            }
        };
        let Arguments { service_node, service_cluster, service_zone, .. } = arguments;
        loaded.config.name_node(service_node, service_cluster, service_zone);
        Ok(loaded)
    }
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
    /// Starts a thread that reads the file again when it is requested or, with `--watch`, when the file has changed. It reads
    /// the files of certificates again that `in_force` has watched. It ends with the process.
    pub(crate) fn start(
        arguments: &Arguments,
        watch: Option<Watch>,
        (in_force, secrets): (Texts, Watches),
        reloader: Reloader,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start an event loop")?;
        // One request that waits is enough: the file is read after it.
        let (requests, requested) = sync_channel(1);
        let source = Source { arguments: arguments.clone(), reloader, runtime, in_force, secrets };
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
    in_force: Texts,
    /// The files of certificates and endpoints that are watched.
    secrets: Watches,
}

impl Source {
    fn serve(mut self, requested: &Receiver<&'static str>, mut watch: Option<Watch>) {
        self.renew(&[]);
        loop {
            let request = match watch.is_some() || !self.secrets.0.is_empty() {
                false => requested.recv().map_err(|_| RecvTimeoutError::Disconnected),
                true => requested.recv_timeout(WATCH_INTERVAL),
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
                    let changed = self.secrets.changed();
                    if !changed.is_empty() {
                        self.renew(&changed);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn reload(&mut self, reason: &str) {
        tracing::info!("{reason}: reading the configuration again");
        self.reloader.attempt();
        if let Err(error) = self.try_reload() {
            tracing::warn!("the configuration is refused, and the one before it stays in force: {error:#}");
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let read = match load(&self.arguments) {
            Ok(loaded) => loaded.context("there is no configuration file")?,
            Err(error) => {
                self.reloader.refuse();
                return Err(error);
            }
        };
        let secrets = self.secrets.next(&read.config);
        self.apply(read.config)?;
        (self.in_force, self.secrets) = (read.texts, secrets);
        self.renew(&[]);
        Ok(())
    }

    /// Takes over the certificates, values and endpoints that differ from those in use: their files are watched, and may have
    /// changed before they were; of those in `changed` it is known. The configuration stays that in force, whatever its file says
    /// by now.
    fn renew(&self, changed: &[String]) {
        if self.secrets.0.is_empty() {
            return;
        }
        let renewed = self
            .in_force
            .load(&self.arguments, self.reloader.secrets())
            .and_then(|loaded| Ok(self.runtime.block_on(self.reloader.renew(loaded.config, changed, wall_time()))?));
        let Renewed { owners, snapshot, refused } = match renewed {
            Ok(renewed) => renewed,
            Err(error) => {
                return tracing::warn!("the files are refused, and what they held before stays in use: {error:#}");
            }
        };
        if !owners.is_empty() {
            tracing::info!("files were read again and are in use: {}", owners.join(", "));
        }
        if let Some(snapshot) = snapshot {
            tracing::info!("configuration version {} is in force: {}", snapshot.version, snapshot.changes);
        }
        for why in refused {
            tracing::warn!("a file is refused, and what it held before stays in use: {why}");
        }
    }

    fn apply(&self, config: Config) -> anyhow::Result<()> {
        match self.runtime.block_on(self.reloader.apply(config, wall_time()))? {
            Applied::Same(renewals) if renewals.is_empty() => {
                tracing::info!("the configuration is the one in force");
            }
            Applied::Same(renewals) => {
                let owners = renewals.owners().join(", ");
                tracing::info!("the configuration is the one in force; files were read again and are in use: {owners}");
            }
            Applied::Next { snapshot, bound } => {
                bound.iter().for_each(|address| tracing::info!("listening on {address}"));
                tracing::info!("configuration version {} is in force: {}", snapshot.version, snapshot.changes);
            }
        }
        Ok(())
    }
}

/// The files that a configuration has watched.
pub(crate) struct Watches(Vec<Watch>);

impl Watches {
    /// Of the files of `config`, as they are now: what has changed since it was read, they do not notice.
    pub(crate) fn of(config: &Config) -> Self {
        Self(config.watched_files.iter().map(|path| Watch::new(PathBuf::from(path))).collect())
    }

    /// Those of the configuration after this one. What is known of files that stay watched is kept.
    fn next(&self, config: &Config) -> Self {
        let kept = |path: &PathBuf| self.0.iter().find(|watch| watch.path == *path).cloned();
        let paths = config.watched_files.iter().map(PathBuf::from);
        Self(paths.map(|path| kept(&path).unwrap_or_else(|| Watch::new(path))).collect())
    }

    /// The paths of those that have changed.
    fn changed(&mut self) -> Vec<String> {
        // Each is looked at: what one look finds is what the next compares with.
        let changed = self.0.iter_mut().filter_map(|watch| watch.has_changed().then_some(&watch.path));
        changed.map(|path| path.to_string_lossy().into_owned()).collect()
    }
}

/// Notices that a file has changed and is whole: it has been another since it was used, and the same for one interval.
#[derive(Clone)]
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
