//! A scenario from files of Envoy's: `finwait-sim new`.
//!
//! [`draft`] reads the files as the proxy does. Each becomes a proxy; [`machines`] finds a host for every name and address
//! that they connect to, and joins hops where an endpoint of one file is a listener of another; [`clients`] has a client for
//! each listener that no proxy connects to, and [`requests`] one request for each route. [`hints`] are commented lines: what
//! to try next. What the files have and finwait has not is left out, if that is permitted.

mod clients;
mod hints;
mod machines;
mod passthrough;
mod pipes;
mod requests;

use std::fmt::Write;

use finwait::config::Config;

use crate::left_out::LeftOut;
use crate::proxy;
use crate::scenario::{LeaveOut, ProxyConfig, is_name_of_step, placeholders};
use clients::Client;
use machines::Machines;
use requests::Requested;

/// Requests of one scenario; the rest is named in a comment.
const REQUESTS_MAX: usize = 40;

/// Characters of a proxy's name: it stands in every line of a story.
const NAME_CHARS_MAX: usize = 24;

/// A file of Envoy's.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its path, as seen from where the scenario will stand.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A proxy of the scenario.
struct Hop {
    name: String,
    path: String,
    config: Config,
    left_out: Vec<LeftOut>,
    /// Changes to the file: path and value.
    patches: Vec<(String, String)>,
    /// Values of its placeholders.
    env: Vec<(String, String)>,
}

/// The text of a scenario in which these files are the proxies.
///
/// # Errors
/// A file cannot be read as a configuration, with what is wrong in it.
pub fn draft(files: &[Input], leave_out: &LeaveOut) -> Result<String, String> {
    let mut names = Names::default();
    let mut hops = files.iter().map(|file| hop(file, leave_out, &mut names)).collect::<Result<Vec<_>, _>>()?;
    let machines = Machines::find(&mut hops, &mut names);
    let clients = clients::find(&hops, &machines, &mut names);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(&mut text, &hops, &machines, &clients, leave_out);
    Ok(text)
}

fn hop(file: &Input, leave_out: &LeaveOut, names: &mut Names) -> Result<Hop, String> {
    let Input { path, text } = file;
    let stem = path.rsplit('/').next().unwrap_or(path);
    let stem = stem.trim_end_matches(".yaml").trim_end_matches(".yml").trim_end_matches(".json");
    // Of a path that was put into a name, as collections of files do, the end.
    let stem = stem.rsplit("__").next().unwrap_or(stem);
    let name = names.take(stem.get(..NAME_CHARS_MAX).unwrap_or(stem));
    let (filled, env) = placeholders(text);
    let (text, patches) = pipes::without(&filled);
    let config = ProxyConfig::new(path.clone(), text, Some(filled), false).without(leave_out.clone());
    let (config, left_out) = proxy::read(&config, &name)?;
    Ok(Hop { name, path: path.clone(), config, left_out, patches, env })
}

/// The names of hosts, each once.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    /// A name like this one that no other host has.
    fn take(&mut self, wanted: &str) -> String {
        let wanted: String =
            wanted.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let wanted = wanted.trim_matches('-').to_ascii_lowercase();
        let wanted = match wanted.starts_with(|c: char| c.is_ascii_alphabetic()) {
            true if !is_name_of_step(&wanted) => wanted,
            _ => format!("host-{wanted}").trim_matches('-').to_owned(),
        };
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let free = std::iter::once(wanted.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let name = free.unwrap_or(wanted);
        self.0.push(name.clone());
        name
    }
}

/// A text as YAML has it on one line: JSON is a part of it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A request in one word or two: `GET /`.
fn request(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ' ');
    if text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

/// The same without quotation marks where nothing but letters, digits and dots is in it.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && !text.ends_with(':');
    let has_meaning = matches!(text, "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n");
    if is_word && !has_meaning && text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

fn write(
    out: &mut String,
    hops: &[Hop],
    machines: &Machines,
    clients: &[Client],
    leave_out: &LeaveOut,
) -> std::fmt::Result {
    let paths: Vec<&str> = hops.iter().map(|hop| hop.path.as_str()).collect();
    let what = format!("Requests through {}, written by finwait-sim new.", paths.join(" and "));
    writeln!(out, "about: {}", quoted(&what))?;
    writeln!(out, "hosts:")?;
    for client in clients {
        client.write(out)?;
    }
    for (nth, hop) in hops.iter().enumerate() {
        write_proxy(out, hop, machines.of_proxy(nth), leave_out)?;
    }
    for app in machines.apps() {
        app.write(out)?;
    }
    let link = hops.last().zip(machines.apps().iter().find_map(machines::App::name_on_a_link));
    if let Some((hop, app)) = link {
        writeln!(out, "# {}", hints::of_link(&hop.name, app))?;
    }
    writeln!(out, "script:")?;
    let (mut written, mut upgrades) = (0, 0);
    let mut without = Vec::new();
    for client in clients {
        for requested in client.requests(hops) {
            match requested {
                Requested::Step(step) if written < REQUESTS_MAX => {
                    written += 1;
                    writeln!(out, "  - {}: {step}", client.name)?;
                }
                Requested::Upgrade(step) if written < REQUESTS_MAX => {
                    // A connection that is a tunnel takes no further request.
                    (written, upgrades) = (written + 1, upgrades + 1);
                    writeln!(out, "  - {}.tunnel{upgrades}: {step}", client.name)?;
                }
                Requested::Step(_) | Requested::Upgrade(_) => {
                    without.push("more requests than a scenario begins with".to_owned())
                }
                Requested::None(why) => without.push(why),
            }
        }
    }
    if written == 0 {
        writeln!(out, "  - wait: 1s # no route was found that a request could be written for")?;
    }
    without.dedup();
    for why in without {
        writeln!(out, "  # without a request: {why}")?;
    }
    if let Some(client) = clients.first() {
        for hint in hints::of_script(hops, &client.name, client.proxy(), link.is_some()) {
            writeln!(out, "  # {hint}")?;
        }
    }
    Ok(())
}

fn write_proxy(out: &mut String, hop: &Hop, at: &machines::Place, leave_out: &LeaveOut) -> std::fmt::Result {
    writeln!(out, "  {}:", word(&hop.name))?;
    at.write(out)?;
    writeln!(out, "    config: {}", quoted(&hop.path))?;
    match leave_out {
        _ if hop.left_out.is_empty() => {}
        LeaveOut::Anything => writeln!(out, "    leave_out: anything")?,
        LeaveOut::Named(names) | LeaveOut::Wherever(names) => {
            let names: Vec<_> = names.iter().map(|name| word(name)).collect();
            writeln!(out, "    leave_out: [{}]", names.join(", "))?;
        }
        LeaveOut::Nothing => {}
    }
    if !hop.env.is_empty() {
        writeln!(out, "    env: # made up: write what yours are")?;
    }
    for (name, value) in &hop.env {
        writeln!(out, "      {}: {}", word(name), quoted(value))?;
    }
    if !hop.patches.is_empty() {
        writeln!(
            out,
            "    patch: # ports for Unix domain sockets, and endpoints for clusters that get theirs from elsewhere"
        )?;
    }
    for (path, value) in &hop.patches {
        writeln!(out, "      {}: {value}", word(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_names_that_no_step_and_no_other_host_has() {
        let mut names = Names::default();
        for (wanted, taken) in [
            ("front", "front"),
            ("front", "front-2"),
            ("wait", "host-wait"),
            ("10.0.0.1", "host-10-0-0-1"),
            ("A_b", "a_b"),
        ] {
            assert_eq!(names.take(wanted), taken);
        }
    }

    #[test]
    fn a_word_that_yaml_would_read_otherwise_is_quoted() {
        for (text, written) in
            [("app", "app"), ("no", "\"no\""), ("80", "\"80\""), ("a b", "\"a b\""), ("/a:b", "/a:b")]
        {
            assert_eq!(word(text), written);
        }
    }
}
