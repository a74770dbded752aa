//! Unix domain sockets of a file: simulated programs meet over TCP alone, so each path becomes a port of the machine.

use serde_json::Value;

/// The port of the first path; those that follow count up.
const FIRST_PORT: u16 = 61_000;

/// The text with ports in place of paths, and the changes as a scenario writes them: path and value. The text as it is, if
/// there is nothing to change.
pub(super) fn without(text: &str) -> (String, Vec<(String, String)>) {
    let (mut changes, mut paths) = (Vec::new(), Vec::new());
    if !text.contains("pipe") {
        return (text.to_owned(), changes);
    }
    let Ok(mut tree) = serde_yaml::from_str::<Value>(text) else { return (text.to_owned(), changes) };
    if let Some(resources) = tree.get_mut("static_resources") {
        for (list, ip) in [("listeners", "0.0.0.0"), ("clusters", "127.0.0.1")] {
            if let Some(within) = resources.get_mut(list) {
                replace(within, &format!("static_resources.{list}"), ip, &mut paths, &mut changes);
            }
        }
    }
    let text = if changes.is_empty() { text.to_owned() } else { tree.to_string() };
    (text, changes)
}

fn replace(node: &mut Value, here: &str, ip: &str, paths: &mut Vec<String>, changes: &mut Vec<(String, String)>) {
    match node {
        Value::Object(fields) => {
            let pipe = fields.get("pipe").and_then(|pipe| pipe.get("path")).and_then(Value::as_str).map(str::to_owned);
            if let Some(path) = pipe.filter(|_| here.ends_with(".address")) {
                let nth = paths.iter().position(|has| *has == path).unwrap_or(paths.len());
                if nth == paths.len() {
                    paths.push(path);
                }
                let port = FIRST_PORT.saturating_add(u16::try_from(nth).unwrap_or(0));
                let socket = serde_json::json!({ "socket_address": { "address": ip, "port_value": port } });
                changes.push((here.to_owned(), socket.to_string()));
                *node = socket;
                return;
            }
            for (key, value) in fields {
                let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let inside = if is_plain { format!("{here}.{key}") } else { format!("{here}[{key:?}]") };
                replace(value, &inside, ip, paths, changes);
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter_mut().enumerate() {
                replace(item, &format!("{here}[{nth}]"), ip, paths, changes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_is_one_port() {
        let text = "static_resources: { listeners: [{ address: { pipe: { path: /a } } }], clusters: [{ address: { pipe: { path: /a } } }] }";
        let (changed, changes) = without(text);
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[1].0, "static_resources.clusters[0].address");
        assert!(changes.iter().all(|(_, value)| value.contains("61000")), "{changes:?}");
        assert!(!changed.contains("pipe"), "{changed}");
        assert_eq!(without("a: { pipe: 1 }").1, []);
    }
}
