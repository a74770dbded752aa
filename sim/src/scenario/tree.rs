//! The values of `sweep`, and the places in a scenario file that name a parameter: a YAML document as a tree of nodes that
//! have their place, their spelling, and how they are written on one line.

use serde_yaml::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span, StrInput};

/// Deepest nesting of a scenario or of a configuration that it patches: that of the proxy's own configuration files. A
/// level costs up to 34 KiB of stack in a debug build, so that a thread with 2 MiB can read any file.
const DEPTH_MAX: usize = 48;

/// How a YAML text is read, both of scenarios and of configurations.
pub(super) fn options(text: &str) -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: DEPTH_MAX,
            // A key is as long as its author likes; YAML's 1,024 characters are for readers without memory.
            simple_key_max_lookahead: text.len().max(1024),
        },
    }
}

/// What is wrong with a text that is nested deeper than [`DEPTH_MAX`].
pub(super) fn too_deep() -> String {
    format!("values are nested more than {DEPTH_MAX} deep here: close a bracket, or indent less")
}

/// The longest value of a parameter, in bytes of YAML. Without a bound a few lines of nested aliases fill the memory.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A value of a parameter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SweepValue {
    /// As YAML on one line, inside of brackets or not.
    flow: String,
    /// What is put into a longer text; a list or a mapping cannot be.
    text: Option<String>,
}

/// A place in the document, and what is wrong there.
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
}

/// The values of every parameter, in the order of the file; of a range there are none.
pub(super) fn sweep_values(text: &str) -> Result<Vec<(String, Vec<SweepValue>)>, Mistake> {
    let Some(root) = tree(text) else { return Ok(Vec::new()) };
    let Some((_, sweep)) = root.entries().find(|(key, _)| key.scalar() == Some("sweep")) else { return Ok(Vec::new()) };
    let mut parameters = Vec::new();
    for (name, list) in sweep.entries() {
        let values = list.items().iter().map(Node::value).collect::<Result<_, _>>()?;
        parameters.push((name.scalar().unwrap_or_default().to_owned(), values));
    }
    Ok(parameters)
}

impl SweepValue {
    /// The value of a plain scalar of this text.
    pub(super) fn plain(text: &str) -> Self {
        Self { flow: flow(text, ScalarStyle::Plain), text: Some(text.to_owned()) }
    }

    /// On one line, for labels. A list or a mapping goes without its outer brackets.
    pub(super) fn shown(&self) -> String {
        match &self.text {
            Some(text) => shown(text),
            None => self.flow.get(1..self.flow.len() - 1).unwrap_or_default().trim().to_owned(),
        }
    }

    /// As YAML, which distinguishes the number 5 from the text "5".
    pub(super) fn flow(&self) -> &str {
        &self.flow
    }
}

/// A text on one line: control characters are written as escapes.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '\r' => shown.push_str("\\r"),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// The scalar as YAML that reads the same on one line, inside of brackets or not.
pub(crate) fn flow(text: &str, style: ScalarStyle) -> String {
    if style == ScalarStyle::Plain && is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether the text can stand without quotation marks anywhere. Whatever may be a number, a boolean or null can.
fn is_plain(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let body = body.strip_prefix('.').unwrap_or(body);
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._+-/%~@=".contains(c);
    text == "~" || body.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/') && body.chars().all(is_word)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\r' => quoted.push_str("\\r"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // Characters that YAML does not let stand for themselves, or takes for line ends.
            c if c.is_control() || "\u{feff}\u{2028}\u{2029}".contains(c) => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A replacement of one scalar.
pub(super) struct Edit {
    pub(super) span: Span,
    pub(super) flow: String,
}

/// What a scalar is for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Role {
    Key,
    Value,
}

/// A value and where it stands.
pub(super) struct Node {
    span: Span,
    content: Content,
}

enum Content {
    Alias(SweepValue),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Scalar { text: String, style: ScalarStyle },
}

impl Node {
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            Content::Alias(_) | Content::List(_) | Content::Map(_) => None,
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &(Self, Self)> {
        let entries: &[(Self, Self)] = if let Content::Map(entries) = &self.content { entries } else { &[] };
        entries.iter()
    }

    fn items(&self) -> &[Self] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }

    fn mistake(&self, what: String) -> Mistake {
        Mistake { line: self.span.start.line(), column: self.span.start.col() + 1, what }
    }

    /// This node as a value of a parameter.
    fn value(&self) -> Result<SweepValue, Mistake> {
        let flow = self.flow();
        if flow.len() > VALUE_BYTES_MAX {
            return Err(self.mistake(format!("a value of `sweep` may have {VALUE_BYTES_MAX} bytes, not more")));
        }
        Ok(SweepValue { flow, text: self.text() })
    }

    fn text(&self) -> Option<String> {
        match &self.content {
            Content::Alias(of) => of.text.clone(),
            Content::Scalar { text, .. } => Some(text.clone()),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    fn flow(&self) -> String {
        match &self.content {
            Content::Alias(of) => of.flow.clone(),
            Content::List(items) => format!("[{}]", items.iter().map(Self::flow).collect::<Vec<_>>().join(", ")),
            Content::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}: {}", key.flow(), value.flow()));
                format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
            }
            Content::Scalar { text, style } => flow(text, *style),
        }
    }

    /// The replacements inside this node, in the order of the text.
    pub(super) fn edits<'v>(
        &self,
        role: Role,
        value: &impl Fn(&str) -> Option<&'v SweepValue>,
    ) -> Result<Vec<Edit>, Mistake> {
        let mut edits = Vec::new();
        match &self.content {
            Content::Alias(_) => {}
            Content::List(items) => {
                for item in items {
                    edits.extend(item.edits(Role::Value, value)?);
                }
            }
            Content::Map(entries) => {
                for (key, node) in entries {
                    edits.extend(key.edits(Role::Key, value)?);
                    edits.extend(node.edits(Role::Value, value)?);
                }
            }
            Content::Scalar { text, style } => {
                let flow = self.replacement(text, *style, role, value)?;
                edits.extend(flow.map(|flow| Edit { span: self.span, flow }));
            }
        }
        Ok(edits)
    }

    /// What takes the place of this scalar, if it names a parameter. A plain scalar that is the name alone becomes the
    /// value itself; in any other the value is text.
    fn replacement<'v>(
        &self,
        text: &str,
        style: ScalarStyle,
        role: Role,
        value: &impl Fn(&str) -> Option<&'v SweepValue>,
    ) -> Result<Option<String>, Mistake> {
        let whole = text.strip_prefix('$').and_then(value).filter(|_| style == ScalarStyle::Plain);
        if let Some(whole) = whole.filter(|whole| role == Role::Value || whole.text.is_some()) {
            return Ok(Some(whole.flow.clone()));
        }
        let mut pieces = text.split('$');
        let mut result = pieces.next().unwrap_or_default().to_owned();
        let mut is_replaced = false;
        for piece in pieces {
            let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
            let (name, rest) = piece.split_at_checked(end).unwrap_or((piece, ""));
            match value(name) {
                None => result.extend(["$", name]),
                Some(SweepValue { text: Some(text), .. }) => {
                    is_replaced = true;
                    result.push_str(text);
                }
                Some(SweepValue { text: None, .. }) => {
                    let instead = match role {
                        Role::Key => format!("write `<<: ${name}` to put its entries into a mapping"),
                        Role::Value => format!("write ${name} alone and without quotation marks"),
                    };
                    return Err(
                        self.mistake(format!("a value of `{name}` is a list or a mapping, not a text: {instead}"))
                    );
                }
            }
            result.push_str(rest);
        }
        Ok(is_replaced.then(|| flow(&result, style)))
    }
}

/// The first document as a tree. None if it is no YAML; its reader reports why.
pub(super) fn tree(text: &str) -> Option<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    // As deep as is read at all, so that this tree's recursion has a bound.
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    options.simple_key_max_lookahead = text.len().max(options.simple_key_max_lookahead);
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { events, characters: text.chars().collect(), end: 0, anchors: Vec::new() };
    loop {
        let (event, span) = reader.next()?;
        if !matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
            return reader.node(event, span);
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    characters: Vec<char>,
    /// Where the last event ends, in characters.
    end: usize,
    /// The anchors' numbers, and what they stand for.
    anchors: Vec<(usize, SweepValue)>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        let (event, mut span) = self.events.next()?.ok()?;
        if let Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event {
            span.start = self.block_header(span.start)?;
        }
        self.end = span.end.index();
        Some((event, span))
    }

    /// Where the `|` or `>` stands of a block scalar whose text begins at `content`. Only `:`, `-`, anchors and tags can
    /// stand between it and the node before.
    fn block_header(&self, content: Marker) -> Option<Marker> {
        let between = self.characters.get(self.end..content.index())?;
        let mut is_inside_a_word = false;
        let at = between.iter().position(|c| {
            let is_header = !is_inside_a_word && matches!(c, '|' | '>');
            is_inside_a_word = !c.is_whitespace() && !matches!(c, ':' | '-' | '?');
            is_header
        })?;
        let lines = between.get(at..)?.iter().filter(|c| **c == '\n').count();
        let index = self.end + at;
        let column = self.characters.get(..index)?.iter().rev().take_while(|c| **c != '\n').count();
        Some(Marker::new(index, content.line() - lines, column))
    }

    /// The node that begins with `event`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, of which four variants begin a node")]
    fn node(&mut self, event: Event<'t>, span: Span) -> Option<Node> {
        let (content, anchor) = match event {
            Event::Alias(anchor) => {
                let (_, of) = self.anchors.iter().find(|(number, _)| *number == anchor)?;
                (Content::Alias(of.clone()), 0)
            }
            Event::MappingStart(_, anchor, _) => (Content::Map(self.entries()?), anchor),
            Event::Scalar(text, style, anchor, tag) => {
                // A tag sets the type of a scalar, as quotation marks do.
                let style = if tag.is_some() { ScalarStyle::DoubleQuoted } else { style };
                (Content::Scalar { text: text.into_owned(), style }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Content::List(self.items()?), anchor),
            _ => return None,
        };
        let node = Node { span, content };
        if anchor != 0 {
            let mut flow = node.flow();
            flow.truncate(flow.floor_char_boundary(VALUE_BYTES_MAX + 1)); // a value with it is refused for its length
            self.anchors.push((anchor, SweepValue { flow, text: node.text() }));
        }
        Some(node)
    }

    fn items(&mut self) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn entries(&mut self) -> Option<Vec<(Node, Node)>> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Some(entries);
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            entries.push((key, self.node(event, span)?));
        }
    }
}
