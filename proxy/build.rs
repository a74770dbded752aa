//! Tells the program which commit it is built from: read from the files of git, without running it. Outside a repository
//! the commit is `unknown`, unless `FINWAIT_COMMIT` names it.

#![expect(clippy::disallowed_methods, reason = "a build has no seam: it reads the environment and files")]

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=FINWAIT_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let commit = std::env::var("FINWAIT_COMMIT").ok().filter(|named| is_commit(named));
    let commit = commit.or_else(|| commit_of(Path::new("..")));
    println!("cargo::rustc-env=FINWAIT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit that is checked out in `repository`.
fn commit_of(repository: &Path) -> Option<String> {
    let folder = git_folder(repository)?;
    let head = read(&folder.join("HEAD"))?;
    let Some(branch) = head.strip_prefix("ref: ") else { return Some(head).filter(|head| is_commit(head)) };
    // The branches of a linked worktree are those of the repository that it belongs to.
    let common = read(&folder.join("commondir")).map_or_else(|| folder.clone(), |common| folder.join(common));
    let loose = read(&common.join(branch));
    loose.or_else(|| packed(&common.join("packed-refs"), branch)).filter(|commit| is_commit(commit))
}

/// `.git`, or what it points to in a linked worktree.
fn git_folder(repository: &Path) -> Option<PathBuf> {
    let git = repository.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    Some(repository.join(read(&git)?.strip_prefix("gitdir: ")?))
}

fn packed(refs: &Path, branch: &str) -> Option<String> {
    let refs = read(refs)?;
    refs.lines().find_map(|line| line.strip_suffix(branch)?.strip_suffix(' ').map(str::to_owned))
}

/// The text of a file, whose changes have the program built again.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
