//! The file as a tree of nodes that know where they stand. Pure; knows YAML, knows nothing of boards.
//!
//! Built from the parser's events without recursion, so that nesting, aliases and size are bounded here and every
//! duplicate key is found, not only the first.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::problem::{Mark, Problems};
use crate::board::shown;

/// Largest lab file, in bytes: some ten thousand boards with every key.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Most nodes of a lab file, aliases counted as often as they are used.
pub const NODES_MAX: usize = 600_000;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 24;

/// Stand for the braces of `${NAME}` while YAML is parsed: it would take them for a mapping inside `{…}`. They are one
/// character each, so that columns stay; both are private to whoever uses them, and nobody uses them in a lab file.
const OPEN: char = '\u{F0F0}';
const CLOSE: char = '\u{F0F1}';

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Scalar {
        text: String,
        style: Style,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) at: Mark,
    pub(super) text: String,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}

impl Node {
    /// What it is, for a message that wanted something else.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => shown(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// How many nodes it consists of, and how deep it is. Depth is bounded, and with it this recursion.
    fn size(&self) -> (usize, usize) {
        let children: Vec<&Node> = match &self.value {
            Value::Null | Value::Scalar { .. } => Vec::new(),
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node).collect(),
        };
        children.iter().fold((1, 1), |(nodes, depth), child| {
            let (more, below) = child.size();
            (nodes + more, depth.max(below + 1))
        })
    }
}

/// Reads the first document of `text`. `None` when there is nothing to work with; the problems say why.
pub(super) fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        problems.error(Mark::START, message);
        return None;
    }
    let masked = mask(text);
    let mut builder =
        Builder { problems, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, documents: 0 };
    let mut parser = Parser::new_from_str(&masked);
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => builder.take(event, mark_of(&span.start)),
            Err(error) => {
                syntax_error(text, mark_of(error.marker()), error.info(), problems);
                return None;
            }
        };
        match taken {
            Ok(true) => {}
            Ok(false) => break,
            Err((at, message)) => {
                problems.error(at, message);
                return None;
            }
        }
    }
    let root = builder.root.filter(|root| !matches!(root.value, Value::Null));
    if root.is_none() {
        problems.error_with(Mark::START, "the file is empty", Some("begin with `boards:`".into()));
    }
    root
}

fn mark_of(marker: &Marker) -> Mark {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { line: narrow(marker.line()).max(1), column: narrow(marker.col()).saturating_add(1) }
}

/// What the parser could not read. Tabs are the usual reason, and its message does not say so.
fn syntax_error(text: &str, at: Mark, info: &str, problems: &mut Problems) {
    let indented_by_tab = |line: &str| {
        let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
        line[..blank].find('\t').filter(|_| !line[blank..].is_empty())
    };
    let mut tabs = false;
    for (n, line) in (1..).zip(text.lines()) {
        if let Some(column) = indented_by_tab(line) {
            tabs = true;
            problems.error(
                Mark { line: n, column: column as u32 + 1 },
                "a tab cannot indent in YAML; use spaces",
            );
        }
    }
    if info.contains("recursion limit") {
        // The parser's own bound, which it meets when it looks ahead on one line; it is wider than ours.
        problems.error(at, format!("nested deeper than {DEPTH_MAX} levels"));
    } else if !tabs {
        problems.error(at, format!("this is not YAML: {info}"));
    }
}

/// Replaces the braces of every `${NAME}` and `${NAME:-default}`.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, variable) = rest.split_at(at);
        masked.push_str(before);
        let inner = &variable[2..];
        let name = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let end = inner.find(['}', '\n']).filter(|end| inner[*end..].starts_with('}'));
        match end.filter(|end| name > 0 && (name == *end || inner[name..].starts_with(":-"))) {
            Some(end) => {
                masked.push('$');
                masked.push(OPEN);
                masked.push_str(&inner[..end]);
                masked.push(CLOSE);
                rest = &inner[end + 1..];
            }
            None => {
                masked.push_str("${");
                rest = inner;
            }
        }
    }
    masked.push_str(rest);
    masked
}

fn unmask(text: &str) -> String {
    text.replace(OPEN, "{").replace(CLOSE, "}")
}

/// A mapping or list that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Pending,
}

/// The key that waits for its value.
enum Pending {
    None,
    Key(Key),
    /// A key that is no text: reported, its value is dropped.
    Bad,
}

struct Builder<'p> {
    problems: &'p mut Problems,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_> {
    /// Takes one event. `Ok(false)` ends the reading, an error makes the file unusable.
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<bool, (Mark, String)> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.problems.error(at, "a lab file is one document; everything after `---` is not read");
                    return Ok(false);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(at, 1)?;
                let node = self.scalar(&text, style, tag.as_deref(), at);
                self.close(node, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Value::List(Vec::new()), anchor, tag.as_deref(), at)?
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Value::Map(Vec::new()), anchor, tag.as_deref(), at)?
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let done = self.open.pop().expect("an end event follows its start event");
                self.close(done.node, done.anchor)?;
            }
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(true)
    }

    fn count(&mut self, at: Mark, nodes: usize) -> Result<(), (Mark, String)> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err((at, format!("the file has more than {NODES_MAX} values, aliases included")));
        }
        Ok(())
    }

    fn start(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<&Tag>,
        at: Mark,
    ) -> Result<(), (Mark, String)> {
        self.count(at, 1)?;
        self.refuse_tag(tag, at);
        if self.open.len() >= DEPTH_MAX {
            return Err((at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(Open { node: Node { at, value }, anchor, key: Pending::None });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Mark) -> Result<(), (Mark, String)> {
        let Some((_, nodes, depth)) = self.anchors.get(&anchor) else {
            return Err((at, "an alias cannot stand inside what it names".into()));
        };
        let (nodes, depth) = (*nodes, *depth);
        self.count(at, nodes)?;
        if self.open.len() + depth > DEPTH_MAX {
            return Err((at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let node = self.anchors[&anchor].0.clone();
        self.close(node, 0)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Mark) -> Node {
        self.refuse_tag(tag, at);
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let value = match text {
            "" | "~" | "null" | "Null" | "NULL" if style == Style::Plain => Value::Null,
            text => Value::Scalar { text: unmask(text), style },
        };
        Node { at, value }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Mark) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problems.error(at, format!("tags such as {} mean nothing here", shown(&tag.to_string())));
        }
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), (Mark, String)> {
        if anchor > 0 {
            let (nodes, depth) = node.size();
            self.count(node.at, nodes)?;
            self.anchors.insert(anchor, (node.clone(), nodes, depth));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match std::mem::replace(&mut parent.key, Pending::None) {
                Pending::Key(key) => entries.push((key, node)),
                Pending::Bad => {}
                Pending::None => parent.key = Self::key(node, self.problems),
            },
            Value::Null | Value::Scalar { .. } => unreachable!("only lists and mappings are open"),
        }
        Ok(())
    }

    fn key(node: Node, problems: &mut Problems) -> Pending {
        match node.value {
            Value::Scalar { text, .. } => Pending::Key(Key { at: node.at, text }),
            Value::Map(_) => {
                let suggestion = Some("put text that begins with `{{` in quotes".into());
                problems.error_with(node.at, "a key must be text, not a mapping", suggestion);
                Pending::Bad
            }
            Value::Null | Value::List(_) => {
                problems.error(node.at, format!("a key must be text, not {}", node.kind()));
                Pending::Bad
            }
        }
    }
}
