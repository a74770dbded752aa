//! Files of secrets (SDS by `path_config_source`), which are read again whenever they change.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::data_source;
use crate::config::bootstrap::secret::{DiscoveryResponse, Secret, SecretResource};
use crate::config::bootstrap::source::SdsSecretConfig;
use crate::config::error::Place;
use crate::config::problem::Problem;
use crate::config::secret_read::{Found, Kept, SecretRead};
use crate::config::surroundings::{Content, NamedFiles, SecretKind, Surroundings};
use crate::config::yaml::{At, Node, Notes, decode};

/// A file of secrets.
pub(super) struct SecretFile<'s> {
    source: Source<'s>,
    /// Where the configuration names it.
    place: &'s Place,
    /// The secret that is wanted.
    name: &'s str,
}

/// Where a secret comes from.
enum Source<'s> {
    /// The file at this path, which is watched, and what came of reading it.
    File(&'s str, Result<String, Problem>),
    /// Nowhere: this text stands in for a source that is left out.
    StandIn(String),
}

/// Why a file is of no use.
enum Refusal {
    /// It holds no response.
    Unreadable(Problem),
    /// What it holds cannot be used.
    Unusable(Problem),
}

impl<'s> SecretFile<'s> {
    /// The file that `named` names; `None` if the secret is a static one.
    pub(super) fn of(named: &'s At<SdsSecretConfig>, kind: SecretKind, notes: &Notes) -> Result<Option<Self>, Problem> {
        let SdsSecretConfig { name, sds_config } = &named.value;
        let Some(source) = sds_config else { return Self::left_out(named, kind, notes) };
        let path = data_source::watched(source, notes)?;
        let elsewhere = notes.surroundings().secret(Some(&path.value), &name.value, kind);
        let read = elsewhere.map_or_else(|| data_source::file(path), |read| data_source::found(path, read));
        let text =
            read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| path.invalid("the file is no text in UTF-8")));
        Ok(Some(Self { source: Source::File(&path.value, text), place: &path.place, name: &name.value }))
    }

    /// The secret of a source that is left out, where another stands in for it.
    fn left_out(named: &'s At<SdsSecretConfig>, kind: SecretKind, notes: &Notes) -> Result<Option<Self>, Problem> {
        let (place, name) = (&named.place, &named.value.name);
        if !notes.surroundings().leaves_out(&format!("{}.sds_config", place.path)) {
            return Ok(None);
        }
        let Some(read) = notes.surroundings().secret(None, &name.value, kind) else { return Ok(None) };
        let text = read.map_err(|error| name.invalid(format!("cannot read the secret: {error}")))?;
        let text = String::from_utf8(text).map_err(|_| name.invalid("the secret is no text in UTF-8"))?;
        Ok(Some(Self { source: Source::StandIn(text), place, name: &name.value }))
    }

    /// What `interpret` makes of the secret. What is wrong in the file is told where the configuration names the file. A secret
    /// that was in use before stays in use then.
    pub(super) fn read<T>(
        self,
        interpret: impl Fn(&At<Secret>, &Notes) -> Result<T, Problem>,
        of: &Notes,
    ) -> Result<T, Problem> {
        let (place, name) = (self.place, self.name);
        let (path, text) = match self.source {
            Source::StandIn(text) => {
                let wanted = Wanted { path: "a secret that stands in for it", place, name };
                return match wanted.within(&text, of, &interpret) {
                    Ok((read, _)) => Ok(read),
                    Err(Refusal::Unreadable(problem) | Refusal::Unusable(problem)) => Err(problem),
                };
            }
            Source::File(path, text) => (path, text),
        };
        let wanted = Wanted { path, place, name };
        let files = Rc::new(Recorder { of: of.surroundings().files.clone(), read: RefCell::default() });
        let fresh = text.map_err(Refusal::Unreadable).and_then(|text| {
            let notes = notes_within(of, Rc::<Recorder>::clone(&files));
            let read = wanted.within(&text, &notes, &interpret);
            // Also those that are of no use: when they change they may be.
            notes.take_watched().iter().for_each(|path| of.watch(path));
            read.map(|(read, version)| (read, Kept { text, version, files: files.read.take() }))
        });
        let (problem, found): (_, fn(String) -> Found) = match fresh {
            Ok((read, kept)) => {
                let (name, path) = (name.to_owned(), path.to_owned());
                of.note_secret(SecretRead { name, path, found: Found::Secret, kept: Arc::new(kept) });
                return Ok(read);
            }
            Err(Refusal::Unreadable(problem)) => (problem, Found::Unreadable),
            Err(Refusal::Unusable(problem)) => (problem, Found::Unusable),
        };
        let Some(used) = of.surroundings().secrets.iter().find(|used| used.is(name, path)) else { return Err(problem) };
        let notes = notes_within(of, Rc::new(Held(Arc::clone(&used.kept))));
        let Ok((read, _)) = wanted.within(&used.kept.text, &notes, &interpret) else { return Err(problem) };
        notes.take_watched().iter().for_each(|path| of.watch(path));
        of.note_secret(SecretRead { found: found(problem.to_string()), ..used.clone() });
        Ok(read)
    }
}

/// Notes about a file of secrets, whose own files are these.
fn notes_within(of: &Notes, files: Rc<dyn NamedFiles>) -> Notes {
    Notes::within(&Surroundings { files: Some(files), ..of.surroundings().clone() })
}

/// A secret that a configuration wants.
struct Wanted<'s> {
    path: &'s str,
    place: &'s Place,
    name: &'s str,
}

impl Wanted<'_> {
    /// What `interpret` makes of it, and the version of the text that it is in.
    fn within<T>(
        &self,
        text: &str,
        notes: &Notes,
        interpret: &impl Fn(&At<Secret>, &Notes) -> Result<T, Problem>,
    ) -> Result<(T, String), Refusal> {
        let told = |problem: Problem| self.told(problem, text);
        let tree = Node::parse(text).map_err(|problem| Refusal::Unreadable(told(problem)))?;
        let response: DiscoveryResponse = decode(&tree, notes).map_err(|problem| Refusal::Unreadable(told(problem)))?;
        let DiscoveryResponse { mut resources, version_info } = response;
        let (Some(At { place, value: SecretResource::Secret(secret) }), None) = (resources.pop(), resources.pop())
        else {
            let what =
                format!("unexpected SDS secrets length in {}: it holds one resource, {:?}", self.path, self.name);
            return Err(Refusal::Unusable(Problem::invalid(self.place, what)));
        };
        if secret.name != self.name {
            let what = format!("unexpected SDS secret (expecting {}): {} in {}", self.name, secret.name, self.path);
            return Err(Refusal::Unusable(Problem::invalid(self.place, what)));
        }
        let read =
            interpret(&At { place, value: *secret }, notes).map_err(|problem| Refusal::Unusable(told(problem)))?;
        Ok((read, version_info))
    }

    fn told(&self, problem: Problem, text: &str) -> Problem {
        let said = problem.error(self.path, text).to_string();
        Problem::invalid(self.place, format!("in the file of secrets: {}", said.trim_end()))
    }
}

/// Files that remember what was read of them.
struct Recorder {
    /// `None` reads those of the system.
    of: Option<Rc<dyn NamedFiles>>,
    read: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl NamedFiles for Recorder {
    fn read(&self, path: &str, content: Content) -> io::Result<Vec<u8>> {
        let read = self.of.as_ref().map_or_else(|| data_source::read(path), |files| files.read(path, content))?;
        self.read.borrow_mut().insert(path.to_owned(), read.clone());
        Ok(read)
    }

    fn secret(&self, _path: Option<&str>, _name: &str, _kind: SecretKind) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into()) // a secret names none
    }

    fn endpoints(&self, _path: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Files as they were when a secret was read that is in use.
struct Held(Arc<Kept>);

impl NamedFiles for Held {
    fn read(&self, path: &str, _content: Content) -> io::Result<Vec<u8>> {
        self.0.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn secret(&self, _path: Option<&str>, _name: &str, _kind: SecretKind) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn endpoints(&self, _path: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
