//! Puts the repository's scenarios into the program, so that it can replay them anywhere.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let scenarios = package.join("../scenarios");
    println!("cargo::rerun-if-changed={}", scenarios.display());
    let mut files = Vec::new();
    collect(&scenarios, "scenarios", &mut files)?;
    // Scenarios of the demonstration run its files.
    let examples = package.join("../proxy/examples");
    println!("cargo::rerun-if-changed={}", examples.display());
    collect(&examples, "proxy/examples", &mut files)?;
    files.sort_unstable();
    let mut list = String::from("&[\n");
    for (name, path) in files {
        writeln!(list, "    ({name:?}, include_str!({:?})),", path.display().to_string()).map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(out.join("scenarios.rs"), list)
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &name, files)?,
            false if name.ends_with(".yaml") => files.push((name, entry.path().canonicalize()?)),
            false => {}
        }
    }
    Ok(())
}
