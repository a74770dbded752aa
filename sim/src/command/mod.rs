//! The commands of the program, a file each.

pub(crate) mod explore;
mod progress;
