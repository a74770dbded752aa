//! Places that travel with values.
//!
//! Decoding knows where it is by a [`Path`] on its stack. What comes after decoding knows it from the values themselves,
//! where they are wrapped in [`At`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::dns_cache::DnsCache;
use crate::config::error::{Cause, Place, Position};
use crate::config::problem::Problem;
use crate::config::secret_read::SecretRead;
use crate::config::surroundings::Surroundings;

/// A value that remembers where it was written, for checks that come after decoding.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) place: Place,
    pub(crate) value: T,
}

impl<T> At<T> {
    /// `cause` at this place.
    pub(crate) fn problem(&self, cause: Cause) -> Problem {
        Problem::at(&self.place, cause)
    }

    /// A rule that this value breaks.
    pub(crate) fn invalid(&self, what: impl Into<String>) -> Problem {
        Problem::invalid(&self.place, what)
    }

    /// A rule that this value breaks, and what to do about it.
    pub(crate) fn invalid_but(&self, what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        self.problem(Cause::Invalid { what: what.into(), remedy: Some(remedy.into()) })
    }
}

/// How [`At`] asks the decoder for line, column, path and value, in this order.
pub(super) const AT: &str = "finwait::At";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(AT, AtVisitor(PhantomData))
    }
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("line, column, path and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
        let missing = || serde::de::Error::custom("only the configuration decoder knows places");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let column = parts.next_element()?.ok_or_else(missing)?;
        let path = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(At { place: Place { path, at: Some(Position { line, column }) }, value })
    }
}

/// A value of any shape, such as `google.protobuf.Struct` holds.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Flag(bool),
    List(Vec<At<Self>>),
    Map(Vec<(String, At<Self>)>),
    Null,
    Number(i64),
    Text(String),
}

/// How [`Tree`] asks the decoder for whatever there is.
pub(super) const TREE: &str = "finwait::Tree";

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TREE, TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

/// From the root to a node; lives on the stack of the decoding functions.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Field(&'p Self, &'p str),
    Item(&'p Self, usize),
    Root,
}

/// How one path lies to another.
pub(super) enum Way {
    Elsewhere,
    /// The other goes on from here.
    Inside,
    /// They are the same.
    There,
}

impl Path<'_> {
    /// How this path lies to `path`.
    pub(super) fn leads_to(&self, path: &str) -> Way {
        match path.strip_prefix(&self.to_string()) {
            None => Way::Elsewhere,
            Some("") => Way::There,
            Some(rest) if rest.starts_with(['.', '[']) => Way::Inside,
            Some(_) => Way::Elsewhere,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Field(parent, name) if name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') => {
                write!(f, "{parent}[{name:?}]")
            }
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

/// Things to tell the author of a file that is accepted, and what remains to be checked outside of it.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Paths of logs, and what these are.
    logs: RefCell<Vec<(&'static str, At<String>)>>,
    /// Runtime keys that name a cluster or a listener.
    owned: RefCell<Vec<At<String>>>,
    /// Runtime keys that something reads because the configuration says so.
    read: RefCell<BTreeSet<String>>,
    noted: RefCell<Vec<(Place, String)>>,
    /// Caches of hosts.
    dns_caches: RefCell<Vec<Arc<DnsCache>>>,
    /// Runtime keys with a value that nothing reads unless the configuration says so.
    unread: RefCell<Vec<At<String>>>,
    surroundings: Surroundings,
    /// Secrets that come from files.
    secrets: RefCell<Vec<SecretRead>>,
    /// Files that are watched.
    watched: RefCell<BTreeSet<String>>,
    forgives_retry_words: Cell<bool>,
    /// The cluster of the proxies that this one is among.
    local_cluster: RefCell<Option<Arc<str>>>,
    lists_are_written_as_lists: Cell<bool>,
}

impl Notes {
    /// No notes yet, of a file that is loaded here.
    pub(crate) fn within(surroundings: &Surroundings) -> Self {
        Self { surroundings: surroundings.clone(), ..Self::default() }
    }

    /// Where the file is loaded.
    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Adds a warning about `place`.
    pub(crate) fn note(&self, place: &Place, text: impl Into<String>) {
        self.noted.borrow_mut().push((place.clone(), text.into()));
    }

    /// Lines will be written to the file at this path, which is a log of this kind.
    pub(crate) fn needs_log(&self, kind: &'static str, path: At<String>) {
        self.logs.borrow_mut().push((kind, path));
    }

    /// This runtime key names a cluster or a listener, which has to be there.
    pub(crate) fn needs_owner(&self, key: At<String>) {
        self.owned.borrow_mut().push(key);
    }

    /// The keys that name a cluster or a listener.
    pub(crate) fn take_owned(&self) -> Vec<At<String>> {
        self.owned.take()
    }

    /// This runtime key has a value, which is of use if the configuration names the key.
    pub(crate) fn needs_reader(&self, key: At<String>) {
        self.unread.borrow_mut().push(key);
    }

    /// The configuration names this runtime key.
    pub(crate) fn reads(&self, key: &str) {
        self.read.borrow_mut().insert(key.to_owned());
    }

    /// Notes the runtime keys with values that nothing reads. Only when the whole configuration is known can it be said.
    pub(crate) fn note_unread(&self) {
        for key in self.unread.take() {
            if !self.read.borrow().contains(&key.value) {
                self.note(&key.place, "has no effect: nothing here reads this key");
            }
        }
    }

    /// The first log that cannot be opened is a problem.
    pub(crate) fn open_logs(&self, opens: &dyn Fn(&str) -> io::Result<()>) -> Result<(), Problem> {
        for (kind, path) in self.logs.borrow().iter() {
            opens(&path.value).map_err(|error| {
                path.invalid_but(
                    format!("{kind} {:?} cannot be opened: {error}", path.value),
                    "the directory must exist, and this user must be allowed to write there",
                )
            })?;
        }
        Ok(())
    }

    /// The cache of this name, which all share that name it; `None` if it has other settings elsewhere.
    pub(crate) fn share_cache(&self, cache: DnsCache) -> Option<Arc<DnsCache>> {
        let mut known = self.dns_caches.borrow_mut();
        if let Some(known) = known.iter().find(|known| known.name == cache.name) {
            return (**known == cache).then(|| Arc::clone(known));
        }
        known.push(Arc::new(cache));
        known.last().map(Arc::clone)
    }

    /// All such caches.
    pub(crate) fn take_caches(&self) -> Vec<Arc<DnsCache>> {
        self.dns_caches.take()
    }

    /// The file at this path is read again whenever it changes.
    pub(crate) fn watch(&self, path: &str) {
        self.watched.borrow_mut().insert(path.to_owned());
    }

    /// A secret was read of a file. It is one secret wherever it is used.
    pub(crate) fn note_secret(&self, read: SecretRead) {
        let mut secrets = self.secrets.borrow_mut();
        secrets.retain(|before| !before.is(&read.name, &read.path));
        secrets.push(read);
    }

    /// The secrets that come from files.
    pub(crate) fn take_secrets(&self) -> Vec<SecretRead> {
        self.secrets.take()
    }

    /// The files that are watched, in alphabetical order.
    pub(crate) fn take_watched(&self) -> Vec<String> {
        self.watched.take().into_iter().collect()
    }

    /// From here on a single value is no list, which it is in protobuf's JSON form.
    pub(crate) fn demand_lists(&self) {
        self.lists_are_written_as_lists.set(true);
    }

    /// Must a list be written as a list?
    pub(crate) fn demands_lists(&self) -> bool {
        self.lists_are_written_as_lists.get()
    }

    /// `local_cluster_name` is this.
    pub(crate) fn set_local_cluster(&self, name: &str) {
        *self.local_cluster.borrow_mut() = Some(name.into());
    }

    /// The cluster of the proxies that this one is among, if the file names it.
    pub(crate) fn local_cluster(&self) -> Option<Arc<str>> {
        self.local_cluster.borrow().clone()
    }

    /// From here on an unknown word in `retry_on` is worth a note, as for Envoy, and no error.
    pub(crate) fn forgive_retry_words(&self) {
        self.forgives_retry_words.set(true);
    }

    /// Is an unknown word in `retry_on` ignored?
    pub(crate) fn ignores_retry_words(&self) -> bool {
        self.forgives_retry_words.get()
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(self) -> Vec<(Place, String)> {
        let mut notes = self.noted.into_inner();
        notes.sort_by_key(|(place, _)| place.at.map(|at| (at.line, at.column)));
        notes
    }
}
