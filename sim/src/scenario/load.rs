//! From the file as written to a [`Scenario`]: reads the configuration files it names, applies patches, and checks
//! that every name in links, script and expectations is a host's.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use serde_yaml::Spanned;

use super::{
    Action, App, Client, Expect, Host, Library, Link, Ordered, Patch, Path, Role, SCRIPT_HOST, Scenario, ScenarioError,
    Step, Time, Times,
};
use crate::world::perturb::{Bounds, Course, Perturbation};

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
    notice: Option<Times>,
    #[serde(default)]
    chance: Bounds,
    #[serde(default)]
    schedule: Option<Vec<Spanned<Perturbation<String>>>>,
    hosts: Ordered<Spanned<HostFields>>,
    #[serde(default)]
    links: Ordered<Spanned<Path>>,
    script: Vec<Spanned<Step>>,
    #[serde(default)]
    expect: Vec<Spanned<Expect>>,
    #[serde(default)]
    never: Vec<Spanned<String>>,
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
    ip: Option<IpAddr>,
    config: Option<Spanned<String>>,
    inline: Option<Value>,
    #[serde(default)]
    patch: Patch,
    client: Option<Client>,
    app: Option<App>,
    #[serde(default)]
    exact: bool,
}

impl Scenario {
    /// Reads a scenario and the configuration files it names.
    ///
    /// # Errors
    /// The file or one it names cannot be read, is no YAML, has an unknown key or a value of the wrong type, or
    /// names a host it does not have.
    pub fn load(library: &Library, path: &str) -> Result<Self, ScenarioError> {
        let text =
            library.read(path).map_err(|error| ScenarioError::of_file(path, format!("cannot be read: {error}")))?;
        Self::read(library, path, text)
    }

    /// Like [`Scenario::load`], of a text that may stand in no file. The files it names are read as seen from `path`.
    ///
    /// # Errors
    /// As for [`Scenario::load`].
    pub fn read(library: &Library, path: &str, text: String) -> Result<Self, ScenarioError> {
        let file: File = serde_yaml::from_str(&text).map_err(|error| ScenarioError::of_yaml(path, &text, &error))?;
        let reading = Reading { library, path, text: &text };
        let hosts =
            file.hosts.0.into_iter().map(|(name, fields)| reading.host(name, fields)).collect::<Result<Vec<_>, _>>()?;
        reading.check_addresses(&hosts)?;
        let links = file
            .links
            .0
            .into_iter()
            .map(|(pair, path)| reading.link(&pair, path, &hosts))
            .collect::<Result<Vec<_>, _>>()?;
        reading.check_script(&file.script, &hosts)?;
        reading.check_expect(&file.expect, &hosts)?;
        let course = reading.course(file.chance, file.schedule, &hosts)?;
        let File { about, refs, seed, limit, notice, script, expect, never, .. } = file;
        let file = path.into();
        Ok(Self { file, text, about, refs, seed, limit, notice, course, hosts, links, script, expect, never })
    }
}

/// What every check of one file needs.
struct Reading<'a> {
    library: &'a Library,
    path: &'a str,
    text: &'a str,
}

impl Reading<'_> {
    fn error(&self, location: serde_yaml::Location, what: impl Into<String>) -> ScenarioError {
        ScenarioError::at(self.path, self.text, location, what)
    }

    fn host(&self, name: String, fields: Spanned<HostFields>) -> Result<Host, ScenarioError> {
        let here = fields.referenced;
        let HostFields { ip, config, inline, patch, client, app, exact } = fields.value;
        if name == "wait" || name == SCRIPT_HOST {
            return Err(self.error(here, format!("`{name}` is a word of the script, not a host's name")));
        }
        let role = match (config, inline, client, app) {
            (Some(config), None, None, None) => self.proxy(&config, &patch, exact)?,
            (None, Some(inline), None, None) => self.patched(self.path, inline, &patch, exact)?,
            (None, None, Some(client), None) => Role::Client(client),
            (None, None, None, Some(app)) => Role::App(app),
            _ => {
                let what = format!("host `{name}` needs exactly one of `config`, `inline`, `client` and `app`");
                return Err(self.error(here, what));
            }
        };
        Ok(Host { name, ip, role })
    }

    fn check_addresses(&self, hosts: &[Host]) -> Result<(), ScenarioError> {
        let mut taken = std::collections::BTreeMap::new();
        for host in hosts {
            if let Some(ip) = host.ip
                && let Some(other) = taken.insert(ip, host.name.as_str())
            {
                let what = format!("{ip} belongs to `{other}` and to `{}`", host.name);
                return Err(ScenarioError::of_file(self.path, what));
            }
        }
        Ok(())
    }

    fn proxy(&self, config: &Spanned<String>, patch: &Patch, exact: bool) -> Result<Role, ScenarioError> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let file = if folder.is_empty() { config.value.clone() } else { format!("{folder}/{}", config.value) };
        let text = self
            .library
            .read(&file)
            .map_err(|error| self.error(config.referenced, format!("{file} cannot be read: {error}")))?;
        if patch.0.0.is_empty() {
            return Ok(Role::Proxy { file, text, exact });
        }
        let value = serde_yaml::from_str(&text).map_err(|error| ScenarioError::of_yaml(&file, &text, &error))?;
        self.patched(&file, value, patch, exact)
    }

    fn patched(&self, file: &str, mut config: Value, patch: &Patch, exact: bool) -> Result<Role, ScenarioError> {
        patch.apply(&mut config).map_err(|(number, what)| {
            let place = patch.0.iter().nth(number).map(|(_, value)| value.referenced);
            place.map_or_else(|| ScenarioError::of_file(self.path, &what), |place| self.error(place, &what))
        })?;
        // JSON is YAML: the proxy reads it as it reads a file.
        let text = serde_json::to_string_pretty(&config)
            .map_err(|error| ScenarioError::of_file(self.path, error.to_string()))?;
        let file = if patch.0.0.is_empty() { format!("{file}, inline") } else { format!("{file}, patched") };
        Ok(Role::Proxy { file, text, exact })
    }

    fn link(&self, pair: &str, path: Spanned<Path>, hosts: &[Host]) -> Result<Link, ScenarioError> {
        let here = path.referenced;
        let is_host = |name: &str| hosts.iter().any(|host| host.name == name);
        // A host's name may have a dash in it, so every dash is tried.
        let between = pair.match_indices('-').find_map(|(at, _)| {
            let (a, b) = (pair.get(..at)?, pair.get(at + 1..)?);
            (is_host(a) && is_host(b)).then(|| (a.to_owned(), b.to_owned()))
        });
        let Some(between) = between else {
            return Err(
                self.error(here, format!("`{pair}` is not two hosts with a dash between them: {}", known(hosts)))
            );
        };
        if !(0.0..=1.0).contains(&path.value.loss) {
            return Err(self.error(here, "`loss` is a share from 0 to 1"));
        }
        Ok(Link { between, path: path.value })
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
                if name != SCRIPT_HOST {
                    self.role(line.referenced, name, hosts)?;
                }
            }
        }
        Ok(Course::Fixed(schedule.into_iter().map(|line| line.value).collect()))
    }

    fn check_script(&self, script: &[Spanned<Step>], hosts: &[Host]) -> Result<(), ScenarioError> {
        for step in script {
            let Step::Do { host, action } = &step.value else { continue };
            match (self.role(step.referenced, host, hosts)?, action) {
                (Role::Client(_), _) | (Role::App(_), Action::Fin | Action::Rst | Action::Send(_)) => {}
                (Role::App(_), _) => {
                    let what = format!("`{host}` is an app: it can be told `send`, `send_bytes`, `fin` and `rst`");
                    return Err(self.error(step.referenced, what));
                }
                (Role::Proxy { .. }, _) => {
                    return Err(self.error(step.referenced, format!("`{host}` is a proxy: it follows no script")));
                }
            }
        }
        Ok(())
    }

    fn check_expect(&self, expect: &[Spanned<Expect>], hosts: &[Host]) -> Result<(), ScenarioError> {
        for line in expect {
            let Expect { host, seen } = &line.value;
            let (fits, what) = match self.role(line.referenced, host, hosts)? {
                Role::Client(_) => {
                    (!seen.asks_a_proxy() && seen.count.is_none(), "a client: it counts and logs nothing")
                }
                Role::Proxy { .. } => (!seen.asks_a_client(), "a proxy: it has `log`, `count` and `stats`"),
                Role::App(_) => (!seen.asks_a_client() && !seen.asks_a_proxy(), "an app: it has `count`"),
            };
            if !fits {
                return Err(self.error(line.referenced, format!("`{host}` is {what}")));
            }
        }
        Ok(())
    }

    fn role<'h>(&self, at: serde_yaml::Location, name: &str, hosts: &'h [Host]) -> Result<&'h Role, ScenarioError> {
        if let Some(host) = hosts.iter().find(|host| host.name == name) {
            return Ok(&host.role);
        }
        Err(self.error(at, format!("there is no host `{name}`: {}", known(hosts))))
    }
}

fn known(hosts: &[Host]) -> String {
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    format!("the hosts are {}", names.join(", "))
}
