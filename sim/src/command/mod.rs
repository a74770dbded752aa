//! The commands of the program, a file each.

pub(crate) mod evidence;
pub(crate) mod explore;
mod progress;
