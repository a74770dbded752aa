//! The commands of the program, a file each.

pub(crate) mod evidence;
pub(crate) mod explore;
mod files;
mod interrupt;
pub(crate) mod new;
mod progress;
pub(crate) mod run;
mod selection;
pub(crate) mod sweep;

use std::path::Path;

use finwait_sim::scenario::Library;

/// Where to look for a file: one on disk wins over one of the same name inside the program.
pub(crate) fn library(file: &str) -> Library {
    if Path::new(file).exists() { Library::Disk(".".into()) } else { Library::find() }
}
