//! From the file as written to a [`Scenario`]: reads the configuration files it names, applies patches, and checks
//! that every name in links, script and expectations is a host's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_yaml::Spanned;

use super::document::Document;
use super::env;
use super::hosts::habits;
use super::library::beside;
use super::names::{Misfit, Names};
use super::script::WORDS;
use super::tree::options;
use super::vary::Variations;
use super::{
    Alb, App, Beginning, CertificateFile, Client, CommandLine, Concurrency, Cue, DrainFlags, Expect, Host,
    Intervention, Invariant, Label, LeaveOut, Library, Link, Ordered, Pair, Patch, Path, ProxyConfig, Redirect,
    Remedies, Role, Scenario, ScenarioError, Time, Times, When,
};
use crate::course::{Bounds, Course, Perturbation};
use crate::words::SCRIPT_HOST;

/// Seeds that one file may request.
const SEEDS_MAX: u32 = 100_000;

/// All runs that one file requests.
#[derive(Debug)]
pub struct Family {
    /// One for every combination of what varies; at least one.
    pub runs: Vec<Scenario>,
    /// The run whose story is shown, by its place among `runs`; if the file names none, the first in which something fails.
    pub shown: Option<usize>,
    /// How many seeds each is played with, beginning with its own.
    pub seeds: u32,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    #[serde(default)]
    refs: Vec<String>,
    #[serde(default = "File::default_seed")]
    seed: u64,
    #[serde(default = "File::default_limit")]
    limit: Time,
    #[serde(default)]
    from: Beginning,
    #[serde(default)]
    read_delay: Option<Times>,
    #[serde(default)]
    chance: Bounds,
    #[serde(default)]
    schedule: Option<Vec<Spanned<Perturbation<String>>>>,
    hosts: Ordered<Spanned<HostFields>>,
    #[serde(default)]
    links: Ordered<Spanned<Path>>,
    script: Vec<Spanned<Cue>>,
    #[serde(default)]
    expect: Vec<Spanned<Expect>>,
    #[serde(default)]
    never: Vec<Spanned<String>>,
    #[serde(default)]
    except: Vec<Invariant>,
    seeds: Option<Spanned<u32>>,
    /// The run whose story is shown.
    story: Option<Spanned<When>>,
    // What follows is read before the rest, by `Variations`.
    #[serde(default, rename = "sweep")]
    _sweep: IgnoredAny,
    #[serde(default, rename = "variants")]
    _variants: IgnoredAny,
    #[serde(default, rename = "orders")]
    _orders: IgnoredAny,
}

impl File {
    fn default_seed() -> u64 {
        1
    }

    fn default_limit() -> Time {
        Time(std::time::Duration::from_secs(600))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostFields {
    ip: Option<Spanned<IpAddr>>,
    config: Option<Spanned<String>>,
    inline: Option<Value>,
    #[serde(default)]
    patch: Patch,
    alb: Option<Alb>,
    client: Option<Client>,
    app: Option<App>,
    #[serde(default)]
    exact: bool,
    #[serde(default)]
    certificates: Ordered<CertificateFile>,
    #[serde(default)]
    files: Ordered<Value>,
    #[serde(default)]
    leave_out: LeaveOut,
    #[serde(default)]
    env: Ordered<String>,
    drain: Option<DrainFlags>,
    concurrency: Option<Concurrency>,
    #[serde(default)]
    aliases: Vec<Spanned<String>>,
    pod: Option<Spanned<String>>,
    redirect: Option<Spanned<Redirect>>,
}

impl Scenario {
    /// Reads a scenario and the configuration files it names. Of a file that requests several runs, it is the one that
    /// the file names, or else the first.
    ///
    /// # Errors
    /// As [`Family::load`].
    pub fn load(library: &Library, path: &str) -> Result<Self, ScenarioError> {
        Family::load(library, path).map(Family::into_named)
    }

    /// Like [`Scenario::load`], of a text that may stand in no file. The files it names are read as seen from `path`.
    ///
    /// # Errors
    /// As for [`Scenario::load`].
    pub fn read(library: &Library, path: &str, text: String) -> Result<Self, ScenarioError> {
        Family::read(library, path, &text).map(Family::into_named)
    }
}

impl Family {
    /// The run that the file names, or else its first.
    fn into_named(mut self) -> Scenario {
        self.runs.swap_remove(self.shown.unwrap_or(0))
    }

    /// Forgets the other runs; the first of those that are kept is shown.
    pub fn keep(&mut self, is_kept: impl Fn(&Scenario) -> bool) {
        self.runs.retain(is_kept);
        self.shown = None;
    }

    /// Has explanations only name what would change an outcome.
    pub fn name_remedies(&mut self) {
        self.runs.iter_mut().for_each(|run| run.remedies = Remedies::Named);
    }

    /// Reads a file and the configuration files it names.
    ///
    /// # Errors
    /// The file or one it names cannot be read, is no YAML, has an unknown key or a value of the wrong type, or
    /// names a host it does not have.
    pub fn load(library: &Library, path: &str) -> Result<Self, ScenarioError> {
        let text =
            library.read(path).map_err(|error| ScenarioError::of_file(path, format!("cannot be read: {error}")))?;
        Self::read(library, path, &text)
    }

    /// Reads a scenario that is not in the library, as if it stood at `path` there.
    ///
    /// # Errors
    /// As [`Family::load`].
    pub fn read(library: &Library, path: &str, text: &str) -> Result<Self, ScenarioError> {
        let variations = Variations::read(path, text)?;
        let labels = variations.labels().map_err(|what| ScenarioError::of_file(path, what))?;
        let mut family = Self { runs: Vec::new(), shown: None, seeds: 1 };
        let mut story = None;
        for label in &labels {
            let document = variations.substitute(path, text, label)?;
            let file: File = serde_yaml::from_str_with_options(document.as_read(), options(document.as_read()))
                .map_err(|error| ScenarioError::of_yaml(path, &document, &error))?;
            if let Some(seeds) = &file.seeds {
                if !(1..=SEEDS_MAX).contains(&seeds.value) {
                    let what = format!("`seeds` is a number from 1 to {SEEDS_MAX}");
                    return Err(ScenarioError::at(path, &document, seeds.referenced, what));
                }
                family.seeds = seeds.value;
            }
            story = file.story.clone().map(|story| (story, document.clone()));
            let reading =
                Reading { library, path, document: &document, variations: &variations, label, labels: &labels };
            family.runs.push(reading.scenario(file)?);
        }
        if let Some((story, document)) = story {
            let misfit = variations.misfit(&story.value, &labels);
            let shown = family.runs.iter().position(|run| story.value.fits(&run.label));
            let what = misfit.unwrap_or_else(|| "no run has all of these values at once".into());
            family.shown = Some(shown.ok_or_else(|| ScenarioError::at(path, &document, story.referenced, what))?);
        }
        Ok(family)
    }
}

/// Whether a host cannot be called so.
pub(crate) fn is_name_of_step(name: &str) -> bool {
    WORDS.contains(&name) || Intervention::has(name) || name == SCRIPT_HOST
}

/// What every check of one file needs.
pub(super) struct Reading<'a> {
    library: &'a Library,
    path: &'a str,
    document: &'a Document,
    variations: &'a Variations,
    label: &'a Label,
    /// Of all runs.
    labels: &'a [Label],
}

impl Reading<'_> {
    fn scenario(&self, file: File) -> Result<Scenario, ScenarioError> {
        let File { about, refs, seed, limit, from, read_delay, chance, schedule, .. } = file;
        let File { hosts, links, mut script, expect, never, except, .. } = file;
        self.check_addresses(&hosts)?;
        let hosts = hosts.0.into_iter().map(|(name, fields)| self.host(name, fields)).collect::<Result<Vec<_>, _>>()?;
        self.check_patches(&hosts)?;
        let hosts = self.revoke(hosts)?;
        let links =
            links.0.into_iter().map(|(pair, path)| self.link(&pair, path, &hosts)).collect::<Result<Vec<_>, _>>()?;
        let (names, misfit) = (Names(&hosts), |(at, what): Misfit| self.error(at, what));
        names.script(&mut script).map_err(misfit)?;
        self.reloads(&mut script, &hosts)?;
        self.variations.arrange(&mut script, self.label).map_err(misfit)?;
        names.expect(&expect).map_err(misfit)?;
        self.check_runs(&expect)?;
        let course = self.course(chance, schedule, &hosts)?;
        let fits = |line: &Spanned<Expect>| line.value.when.as_ref().is_none_or(|when| when.fits(self.label));
        let expect = expect.into_iter().filter(fits).collect();
        let (file, document, label) = (self.path.to_owned(), self.document.clone(), self.label.clone());
        Ok(Scenario {
            file,
            document,
            about,
            refs,
            label,
            seed,
            limit,
            from,
            read_delay,
            course,
            hosts,
            links,
            script,
            expect,
            never,
            except,
            remedies: Remedies::default(),
        })
    }

    /// The file that is read.
    pub(super) fn path(&self) -> &str {
        self.path
    }

    pub(super) fn error(&self, location: serde_yaml::Location, what: impl Into<String>) -> ScenarioError {
        ScenarioError::at(self.path, self.document, location, what)
    }

    fn host(&self, name: String, fields: Spanned<HostFields>) -> Result<Host, ScenarioError> {
        let here = fields.referenced;
        let aliases = fields.value.aliases.iter().map(|alias| alias.value.clone()).collect();
        let pod = fields.value.pod.as_ref().map(|pod| pod.value.clone());
        let redirect = fields.value.redirect.as_ref().map(|redirect| redirect.value.clone());
        let HostFields { drain, concurrency, certificates, files, leave_out, env, exact, ip, .. } = fields.value;
        let HostFields { config, inline, mut patch, alb, client, app, .. } = fields.value;
        for (_, changes) in self.variations.patches(self.label).filter(|(host, _)| *host == name) {
            patch.0.0.extend(changes.0.0.iter().cloned());
        }
        if is_name_of_step(&name) {
            return Err(self.error(here, format!("`{name}` is the name of a step, not allowed for a host")));
        }
        let flags_given = [("drain", drain.is_some()), ("concurrency", concurrency.is_some())];
        let flags = CommandLine { drain: drain.unwrap_or_default(), concurrency: concurrency.unwrap_or_default() };
        let role = match (config, inline, alb, client, app) {
            (Some(config), None, None, None, None) => {
                let config = self.proxy(&config, &patch, exact, env)?.with_flags(flags);
                Role::Proxy(config.with_certificates(&certificates).with_files(&files).without(leave_out))
            }
            (None, Some(inline), None, None, None) => {
                let config = self.patched(self.path, inline, &patch, None, exact)?.with_flags(flags);
                Role::Proxy(config.with_certificates(&certificates).with_files(&files).without(leave_out))
            }
            _ if !certificates.0.is_empty() => {
                let what = "has `certificates`, which are those that the configuration of a proxy names; those of a \
                            client or an app are in its `tls`";
                return Err(self.error(here, format!("`{name}` {what}")));
            }
            _ if !files.0.is_empty() => {
                let what = "has `files`, which are those that the configuration of a proxy names";
                return Err(self.error(here, format!("`{name}` {what}")));
            }
            _ if let Some((flag, _)) = flags_given.iter().find(|(_, given)| *given) => {
                return Err(
                    self.error(here, format!("`{name}` has `{flag}`, which is for the command line of a proxy"))
                );
            }
            _ if leave_out != LeaveOut::Nothing => {
                let what = "has `leave_out`, which is for the configuration of a proxy";
                return Err(self.error(here, format!("`{name}` {what}")));
            }
            (None, None, Some(alb), None, None) => Role::Alb(alb),
            (None, None, None, Some(client), None) => Role::Client(client),
            (None, None, None, None, Some(app)) => Role::App(Box::new(app)),
            _ => {
                let what = format!("host `{name}` needs exactly one of `config`, `inline`, `client`, `app` and `alb`");
                return Err(self.error(here, what));
            }
        };
        if let Some(what) = habits::misfit(&role) {
            return Err(self.error(here, format!("`{name}` {what}")));
        }
        Ok(Host { name, ip: ip.map(|ip| ip.value), aliases, pod, redirect, role })
    }

    /// No two hosts have an address or a name in common, and who shares the addresses of a host shares those of one.
    fn check_addresses(&self, hosts: &Ordered<Spanned<HostFields>>) -> Result<(), ScenarioError> {
        let mut taken: BTreeMap<String, &str> = hosts.iter().map(|(name, _)| (name.to_owned(), name)).collect();
        for (name, fields) in hosts.iter() {
            let ip = fields.value.ip.iter().map(|ip| (ip.referenced, ip.value.to_string()));
            let aliases = fields.value.aliases.iter().map(|alias| (alias.referenced, alias.value.clone()));
            for (at, address) in ip.chain(aliases) {
                if let Some(other) = taken.insert(address.clone(), name) {
                    return Err(self.error(at, format!("{address} belongs to `{other}` and to `{name}`")));
                }
            }
            let unknown = |from: &&String| !hosts.iter().any(|(has, _)| has == from.as_str());
            if let Some(redirect) = &fields.value.redirect
                && let Some(from) = redirect.value.from.iter().find(unknown)
            {
                return Err(self.error(redirect.referenced, format!("`redirect` names `{from}`, which is no host")));
            }
            let Some(pod) = &fields.value.pod else { continue };
            let machine = hosts.iter().find(|(has, _)| *has == pod.value).map(|(_, fields)| &fields.value);
            let own = fields.value.ip.is_some() || !fields.value.aliases.is_empty();
            let what = match machine {
                None => format!("`pod` names `{}`, which is no host", pod.value),
                Some(machine) if machine.pod.is_some() || pod.value == name => {
                    format!("`pod` names `{}`, which has no address of its own", pod.value)
                }
                Some(_) if own => {
                    format!("`{name}` has the addresses of `{}`: write `ip` and `aliases` there", pod.value)
                }
                Some(_) => continue,
            };
            return Err(self.error(pod.referenced, what));
        }
        Ok(())
    }

    pub(super) fn proxy(
        &self,
        config: &Spanned<String>,
        patch: &Patch,
        exact: bool,
        env: Ordered<String>,
    ) -> Result<ProxyConfig, ScenarioError> {
        let file = beside(self.path, &config.value);
        let text = self.library.read(&file).map_err(|error| {
            self.error(config.referenced, format!("{file} cannot be read: {error}; paths are relative to the scenario"))
        })?;
        let text = env::fill(&text, &env).map_err(|missing| {
            let pairs = missing.iter().map(|name| format!("{name}: ..."));
            let (names, pairs) = (missing.join(", "), pairs.collect::<Vec<_>>().join(", "));
            let what =
                format!("{file} has placeholders without a value: {names}; write `env: {{ {pairs} }}` beside `config`");
            self.error(config.referenced, what)
        })?;
        if patch.0.0.is_empty() {
            return Ok(ProxyConfig::new(file, text, None, exact).with_env(env));
        }
        let value = serde_yaml::from_str_with_options(&text, options(&text))
            .map_err(|error| ScenarioError::of_yaml(&file, &Document::new(&text), &error))?;
        Ok(self.patched(&file, value, patch, Some(text), exact)?.with_env(env))
    }

    pub(super) fn patched(
        &self,
        file: &str,
        mut config: Value,
        patch: &Patch,
        unpatched: Option<String>,
        exact: bool,
    ) -> Result<ProxyConfig, ScenarioError> {
        patch.apply(&mut config).map_err(|(number, what)| {
            let place = patch.0.iter().nth(number).map(|(_, value)| value.referenced);
            place.map_or_else(|| ScenarioError::of_file(self.path, &what), |place| self.error(place, &what))
        })?;
        // JSON is YAML: the proxy reads it as it reads a file.
        let text = serde_json::to_string_pretty(&config)
            .map_err(|error| ScenarioError::of_file(self.path, error.to_string()))?;
        let file = if patch.0.0.is_empty() { format!("{file}, inline") } else { format!("{file}, patched") };
        Ok(ProxyConfig::new(file, text, unpatched, exact))
    }

    fn link(&self, pair: &str, path: Spanned<Path>, hosts: &[Host]) -> Result<Link, ScenarioError> {
        let here = path.referenced;
        let pair = Pair(pair.into());
        let between = pair.among(|name| hosts.iter().any(|host| host.name == name));
        let Some((a, b)) = between else {
            let what = format!("`{}` is not two hosts with a dash between them: {}", pair.0, Names(hosts).known());
            return Err(self.error(here, what));
        };
        if !(0.0..=1.0).contains(&path.value.loss) {
            return Err(self.error(here, "`loss` is a share from 0 to 1, such as 0.01 for one in a hundred"));
        }
        Ok(Link { between: (a.to_owned(), b.to_owned()), path: path.value })
    }

    /// Every `when` is about some run.
    fn check_runs(&self, expect: &[Spanned<Expect>]) -> Result<(), ScenarioError> {
        for line in expect {
            let misfit = line.value.when.as_ref().and_then(|when| self.variations.misfit(when, self.labels));
            if let Some(what) = misfit {
                return Err(self.error(line.referenced, what));
            }
        }
        Ok(())
    }

    /// A variant may change only proxies.
    fn check_patches(&self, hosts: &[Host]) -> Result<(), ScenarioError> {
        for (name, patch) in self.variations.patches(self.label) {
            let is_proxy = |host: &&Host| host.name == name && matches!(host.role, Role::Proxy { .. });
            let place = patch.0.iter().next().map(|(_, value)| value.referenced);
            if hosts.iter().find(is_proxy).is_none() {
                let what = format!("a variant changes `{name}`, which is not a proxy: {}", Names(hosts).known());
                return Err(place.map_or_else(|| ScenarioError::of_file(self.path, &what), |at| self.error(at, &what)));
            }
        }
        Ok(())
    }

    /// A schedule is the whole course: what `chance` would draw does not happen beside it.
    fn course(
        &self,
        chance: Bounds,
        schedule: Option<Vec<Spanned<Perturbation<String>>>>,
        hosts: &[Host],
    ) -> Result<Course<String>, ScenarioError> {
        let Some(schedule) = schedule else {
            return Ok(if chance == Bounds::default() { Course::Plain } else { Course::Drawn(chance) });
        };
        for line in &schedule {
            for name in line.value.hosts() {
                if name != SCRIPT_HOST && hosts.iter().all(|host| host.name != name) {
                    let what = format!("there is no host `{name}`: {}", Names(hosts).known());
                    return Err(self.error(line.referenced, what));
                }
            }
        }
        Ok(Course::Fixed(schedule.into_iter().map(|line| line.value).collect()))
    }
}
