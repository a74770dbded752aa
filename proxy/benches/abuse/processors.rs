//! Which processors the proxy runs on, and which everything else.

use std::fs;
use std::process::{Command, Stdio};

/// Leaves one processor to the proxy and has this process run on the others, its threads to come included. `None` where
/// there is one only, or no taskset(1).
pub(crate) fn divide() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let [own, others @ ..] = &*numbers(allowed.trim()) else { return None };
    if others.is_empty() {
        return None;
    }
    let others: Vec<String> = others.iter().map(u32::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["-a", "-c", "-p", &others.join(","), &std::process::id().to_string()]);
    let set = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_set = set.is_ok_and(|status| status.success());
    if !is_set {
        eprintln!(
            "no taskset(1): the proxy shares its processor with the attack, and what that costs counts as its own"
        );
    }
    is_set.then_some(*own)
}

/// This thread, and those that it starts, work when nothing else has work to do: an attack comes from other machines, and its own
/// computing must not hold up the neighbours and the applications.
pub(crate) fn give_way() {
    let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
    let Some(thread) = thread.file_name() else { return };
    let mut command = Command::new("renice");
    command.args(["-n", "19", "-p"]).arg(thread).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        eprintln!("no renice(1): the neighbours wait where the attack computes");
    }
}

/// Of a list as the kernel writes it: `0-3,6`.
fn numbers(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}
