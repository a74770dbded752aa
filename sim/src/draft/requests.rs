//! A request for each route: with a host, a path and headers that the route takes.

use finwait::config::listener::ConnectionManager;
use finwait::config::matching::{
    Condition, CookieMatch, Domain, HeaderMatch, HeaderTest, Missing, PathMatch, QueryMatch, QueryTest, Sense,
};
use finwait::config::route::{Action, Route, VirtualHost};
use finwait::config::string_match::{Pattern, StringMatch};

use super::{quoted, request, word};

/// What is made of a route.
pub(super) enum Requested {
    /// No request can be written for it, and why.
    None(String),
    /// A step, as it stands behind the name of the client.
    Step(String),
    /// The same of a WebSocket.
    Upgrade(String),
}

/// A request, while its parts are found.
#[derive(Default)]
struct Draft {
    method: Option<String>,
    path: String,
    query: Vec<String>,
    headers: Vec<(String, String)>,
}

/// A request for each route of a connection manager.
pub(super) fn of_manager(manager: &ConnectionManager, is_http2: bool) -> Vec<Requested> {
    let mut requested = Vec::new();
    for host in manager.routes.virtual_hosts.iter() {
        for route in host.routes.iter() {
            let upgrades = is_upgraded(manager, route);
            requested.push(of_route(host, route, is_http2, upgrades));
        }
    }
    requested
}

/// Whether a WebSocket can be requested of the route.
fn is_upgraded(manager: &ConnectionManager, route: &Route) -> bool {
    let of_route = match &route.action {
        Action::Forward(forward) => forward.upgrades.find("websocket").map(|it| it.enabled),
        Action::Direct { .. } | Action::Redirect(_) | Action::RedirectToTls => return false,
    };
    of_route.or_else(|| manager.upgrades.find("websocket").map(|it| it.enabled)).unwrap_or(false)
}

fn of_route(host: &VirtualHost, route: &Route, is_http2: bool, is_upgrade: bool) -> Requested {
    let mut draft = Draft::default();
    let Some(path) = path(&route.matches) else {
        return Requested::None(format!("a route of {} whose path is matched by {}", host.name, shown(&route.matches)));
    };
    draft.path = path;
    if let Some(authority) = host.domains.first().and_then(authority) {
        draft.headers.push((if is_http2 { ":authority" } else { "host" }.into(), authority));
    }
    for condition in &route.conditions {
        if let Err(why) = draft.fulfil(condition) {
            return Requested::None(format!("a route of {} for {why}", host.name));
        }
    }
    match is_upgrade {
        true => Requested::Upgrade(draft.upgrade()),
        false => Requested::Step(draft.step()),
    }
}

/// A host that a domain takes; none where any will do.
fn authority(domain: &Domain) -> Option<String> {
    match domain {
        Domain::Any => None,
        Domain::Exact(name) => Some(name.clone()),
        Domain::Prefix(begin) => Some(format!("{begin}example")),
        Domain::Suffix(end) => Some(format!("www{end}")),
    }
}

/// A path that the match takes.
fn path(matches: &PathMatch) -> Option<String> {
    match matches {
        PathMatch::Connect => None,
        PathMatch::Exact { path, .. } => Some(path.clone()),
        PathMatch::Prefix { prefix, .. } if prefix.is_empty() => Some("/".into()),
        PathMatch::Prefix { prefix, .. } | PathMatch::SeparatedPrefix { prefix, .. } => Some(prefix.clone()),
        PathMatch::Regex(regex) => sample(regex).filter(|path| path.starts_with('/')),
    }
}

fn shown(matches: &PathMatch) -> String {
    match matches {
        PathMatch::Regex(regex) => format!("the expression {}", regex.as_str()),
        PathMatch::Connect => "CONNECT".into(),
        PathMatch::Exact { path, .. } => path.clone(),
        PathMatch::Prefix { prefix, .. } | PathMatch::SeparatedPrefix { prefix, .. } => prefix.clone(),
    }
}

/// A text that an expression takes as a whole, by replacing what stands for many by one of them; none where that is not
/// enough.
fn sample(regex: &regex::Regex) -> Option<String> {
    const PARTS: [(&str, &str); 14] = [
        (".*", "x"),
        (".+", "x"),
        ("[^/]+", "x"),
        ("[^/]*", "x"),
        ("[^/?]+", "x"),
        ("\\d+", "1"),
        ("[0-9]+", "1"),
        ("\\w+", "x"),
        ("[a-z]+", "x"),
        ("[a-zA-Z0-9]+", "x"),
        ("[a-zA-Z0-9_-]+", "x"),
        ("\\.", "."),
        ("\\/", "/"),
        ("\\-", "-"),
    ];
    let written = regex.as_str();
    let whole = written.strip_prefix("\\A(?:").and_then(|text| text.strip_suffix(")\\z")).unwrap_or(written);
    let bare = whole.trim_start_matches('^').trim_end_matches('$');
    let replaced = PARTS.iter().fold(bare.to_owned(), |text, (part, by)| text.replace(part, by));
    let takes = |text: &String| regex.find(text).is_some_and(|found| found.start() == 0 && found.end() == text.len());
    let mut tried = vec![replaced.clone(), first_alternatives(&replaced), replaced.replace(['(', ')', '?'], "")];
    tried.extend(["/".to_owned(), "/x".into(), "/x/y".into(), "/1".into()]);
    tried.into_iter().find(takes)
}

/// Of each group the first alternative; what is optional stays.
fn first_alternatives(text: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut skips) = (0_u32, false);
    for c in text.chars() {
        match c {
            '(' => {
                depth += 1;
                skips = false;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                skips = false;
            }
            '|' => skips = true,
            '?' | ':' if out.is_empty() || depth > 0 && !skips => {}
            '?' => {}
            _ if skips => {}
            c => out.push(c),
        }
    }
    out
}

/// A value that a test takes.
fn value(test: &StringMatch) -> Option<String> {
    match &test.pattern {
        Pattern::Contains(text) | Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Suffix(text) => {
            Some(text.clone())
        }
        Pattern::Regex(regex) => sample(regex).or_else(|| {
            ["x", "1", "true", "example", "application/grpc"]
                .into_iter()
                .find(|it| regex.is_match(it))
                .map(str::to_owned)
        }),
    }
}

impl Draft {
    /// Makes it one that the condition holds for; why that cannot be done.
    fn fulfil(&mut self, condition: &Condition) -> Result<(), String> {
        match condition {
            Condition::Grpc => {
                self.method = Some("POST".into());
                self.headers.push(("content-type".into(), "application/grpc".into()));
                Ok(())
            }
            Condition::Header(header) => self.header(header),
            Condition::Query(QueryMatch { name, value: test }) => {
                let wanted = match test {
                    QueryTest::Absent => return Ok(()),
                    QueryTest::Present => "x".into(),
                    QueryTest::Text(text) => value(text).ok_or_else(|| format!("the query parameter {name}"))?,
                };
                self.query.push(format!("{name}={wanted}"));
                Ok(())
            }
            Condition::Cookie(CookieMatch { name, value: test, sense }) => {
                if *sense == Sense::Direct {
                    let wanted = value(test).ok_or_else(|| format!("the cookie {name}"))?;
                    self.headers.push(("cookie".into(), format!("{name}={wanted}")));
                }
                Ok(())
            }
            Condition::Fraction(_) => Ok(()),
            Condition::ClientCertificate(_) => Err("what a client's certificate is".into()),
            Condition::Never => Err("metadata that no request has".into()),
        }
    }

    fn header(&mut self, header: &HeaderMatch) -> Result<(), String> {
        let HeaderMatch { name, value: test, sense, missing } = header;
        let is_inverted = *sense == Sense::Inverted;
        let wanted = match test {
            HeaderTest::Absent if is_inverted => "x".into(),
            HeaderTest::Absent => return Ok(()),
            HeaderTest::Present if is_inverted => return Ok(()),
            HeaderTest::Present => "x".into(),
            // An inverted test of a value holds for another one.
            HeaderTest::Range(_) | HeaderTest::Text(_) if is_inverted && *missing == Missing::Empty => return Ok(()),
            HeaderTest::Range(range) if is_inverted => range.end.to_string(),
            HeaderTest::Range(range) => range.start.to_string(),
            HeaderTest::Text(text) if is_inverted => {
                let other = ["x", "y"].into_iter().find(|it| !text.takes(it.as_bytes()));
                other.ok_or_else(|| format!("the header {name}"))?.into()
            }
            HeaderTest::Text(text) => value(text).ok_or_else(|| format!("the header {name}"))?,
        };
        match name.as_str() {
            ":method" => self.method = Some(wanted),
            ":path" => self.path = wanted,
            ":authority" | "host" => {
                self.headers.retain(|(has, _)| has != "host" && has != ":authority");
                self.headers.push(("host".into(), wanted));
            }
            ":scheme" => {}
            _ => self.headers.push((name.clone(), wanted)),
        }
        Ok(())
    }

    /// The path with its query.
    fn target(&self) -> String {
        let separator = if self.path.contains('?') { "&" } else { "?" };
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}{separator}{}", self.path, self.query.join("&"))
        }
    }

    fn fields(&self, is_taken: impl Fn(&str) -> bool) -> String {
        let fields = self.headers.iter().filter(|(name, _)| !is_taken(name));
        let fields: Vec<_> = fields.map(|(name, value)| format!("{}: {}", word(name), quoted(value))).collect();
        if fields.is_empty() { String::new() } else { format!(", headers: {{ {} }}", fields.join(", ")) }
    }

    /// As the script has it.
    fn step(self) -> String {
        let line = format!("{} {}", self.method.as_deref().unwrap_or("GET"), self.target());
        let fields = self.fields(|_| false);
        if fields.is_empty() { request(&line) } else { format!("{{ request: {}{fields} }}", quoted(&line)) }
    }

    fn upgrade(self) -> String {
        let fields = self.fields(|name| matches!(name, "connection" | "upgrade" | "sec-websocket-key"));
        format!("{{ websocket: {}{fields} }}", quoted(&self.target()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_for_the_expressions_of_daily_use() {
        for (expression, path) in [
            ("/api/.*", Some("/api/x")),
            ("^/users/[^/]+/posts$", Some("/users/x/posts")),
            ("/(a|b)/c", Some("/a/c")),
            ("/v[0-9]+", Some("/v1")),
            ("\\A(?:/a/.+)\\z", Some("/a/x")),
            ("[A-Z]{7}", None),
        ] {
            let regex = regex::Regex::new(expression).unwrap();
            assert_eq!(sample(&regex).as_deref(), path, "{expression}");
        }
    }
}
