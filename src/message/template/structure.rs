//! From a template file's YAML to its messages, with every text still a template. Unknown keys and words are
//! problems with their line; what a text says is checked when it is compiled.

use std::collections::BTreeMap;
use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml};
use serde_json::{Map, Value as Json};

use super::{FILE_BYTES_MAX, FILES_MAX, TemplateProblem, markup};
use crate::command::Verb;
use crate::message::{ButtonStyle, Tone};

/// The messages of one file, or of one language.
#[derive(Default)]
pub(super) struct File {
    pub(super) messages: BTreeMap<String, Message>,
    /// Tables of words for every template.
    pub(super) words: Map<String, Json>,
    /// The macros for every template.
    pub(super) macros: Option<Leaf>,
    /// Sentences that stand in messages, by their names.
    pub(super) phrases: BTreeMap<String, Leaf>,
}

pub(super) struct Message {
    pub(super) summary: Leaf,
    pub(super) tone: Option<Leaf>,
    pub(super) blocks: Vec<BlockTemplate>,
}

pub(super) struct BlockTemplate {
    pub(super) when: Option<Leaf>,
    pub(super) kind: BlockKind,
}

pub(super) enum BlockKind {
    Title(Leaf),
    Text(Leaf),
    Fields(Vec<(Leaf, Leaf)>),
    Log(Leaf),
    Context(Leaf),
    Buttons(Vec<ButtonTemplate>),
    Divider,
}

pub(super) struct ButtonTemplate {
    pub(super) when: Option<Leaf>,
    pub(super) verb: Verb,
    pub(super) label: Leaf,
    pub(super) style: ButtonStyle,
    /// Title, text, yes, no.
    pub(super) confirm: Option<[Leaf; 4]>,
}

/// One text: a template of its own.
#[derive(Clone)]
pub(super) struct Leaf {
    /// Unique within a language.
    pub(super) name: String,
    pub(super) source: String,
    file: String,
    line: usize,
}

/// The name under which the macros stand among the templates.
pub(super) const MACROS: &str = "macros";

/// The name under which a phrase stands among the templates.
pub(super) fn phrase_name(phrase: &str) -> String {
    format!("phrases/{phrase}")
}

impl Leaf {
    /// Whether it is text alone, which comes out as it is.
    pub(super) fn is_plain(&self) -> bool {
        !self.source.contains('{') && !self.source.ends_with('\n')
    }

    /// `en/card.yaml:12`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    pub(super) fn problem(&self, error: &minijinja::Error) -> TemplateProblem {
        let line = self.line + error.line().unwrap_or(1).saturating_sub(1);
        let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        TemplateProblem { file: self.file.clone(), line, message }
    }
}

impl Message {
    pub(super) fn leaves<'a>(&'a self, out: &mut Vec<&'a Leaf>) {
        out.push(&self.summary);
        out.extend(&self.tone);
        for block in &self.blocks {
            out.extend(&block.when);
            match &block.kind {
                BlockKind::Title(leaf)
                | BlockKind::Text(leaf)
                | BlockKind::Log(leaf)
                | BlockKind::Context(leaf) => {
                    out.push(leaf);
                }
                BlockKind::Fields(fields) => {
                    out.extend(fields.iter().flat_map(|(label, value)| [label, value]))
                }
                BlockKind::Buttons(buttons) => {
                    for button in buttons {
                        out.extend(&button.when);
                        out.push(&button.label);
                        out.extend(button.confirm.iter().flatten());
                    }
                }
                BlockKind::Divider => {}
            }
        }
    }
}

impl File {
    /// Joins another file of the same folder; nothing may stand in both.
    pub(super) fn join(&mut self, file: File, problems: &mut Vec<TemplateProblem>) {
        for (name, message) in file.messages {
            if let Some(first) = self.messages.get(&name) {
                let leaf = &message.summary;
                let message = format!("`{name}` stands in {} too", first.summary.file);
                problems.push(TemplateProblem { file: leaf.file.clone(), line: leaf.line, message });
            } else {
                self.messages.insert(name, message);
            }
        }
        self.words.extend(file.words);
        self.macros = file.macros.or(self.macros.take());
        self.phrases.extend(file.phrases);
    }

    /// Puts another folder's messages in the place of ours.
    pub(super) fn replace(&mut self, file: File) {
        self.messages.extend(file.messages);
        self.words.extend(file.words);
        self.macros = file.macros.or(self.macros.take());
        self.phrases.extend(file.phrases);
    }

    /// What stands in messages: words, macros and phrases.
    pub(super) fn shared(&self) -> File {
        let (words, macros, phrases) = (self.words.clone(), self.macros.clone(), self.phrases.clone());
        File { messages: BTreeMap::new(), words, macros, phrases }
    }

    /// With `shared`'s words, macros and phrases where it has none of its own.
    pub(super) fn or_shared(mut self, shared: &File) -> File {
        for (name, table) in &shared.words {
            self.words.entry(name.clone()).or_insert_with(|| table.clone());
        }
        for (name, phrase) in &shared.phrases {
            self.phrases.entry(name.clone()).or_insert_with(|| phrase.clone());
        }
        self.macros = self.macros.or_else(|| shared.macros.clone());
        self
    }
}

/// The tone of a word.
pub(super) fn tone(word: &str) -> Option<Tone> {
    Some(match word {
        "neutral" => Tone::Neutral,
        "running" => Tone::Running,
        "good" => Tone::Good,
        "bad" => Tone::Bad,
        "warning" => Tone::Warning,
        _ => return None,
    })
}

/// The messages of one file; mistakes go to `problems` and what has one is left out.
pub(super) fn parse(file: &str, text: &str, problems: &mut Vec<TemplateProblem>) -> File {
    let mut reader = Reader { file, problems, leaves: 0 };
    let documents = match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents,
        Err(error) => {
            reader.problem(error.marker().line(), error.info());
            return File::default();
        }
    };
    let mut read = File::default();
    for document in &documents {
        for (name, node) in reader.map(document) {
            match name.as_str() {
                "words" => read.words.extend(reader.words(node)),
                "macros" => {
                    read.macros = reader.text(node).map(|leaf| Leaf { name: MACROS.to_owned(), ..leaf })
                }
                "phrases" => read.phrases.extend(reader.phrases(node)),
                _ => read.messages.extend(reader.message(node).map(|message| (name, message))),
            }
        }
    }
    read
}

/// Every `<locale>/<name>.yaml` of a folder (which has no others): locale, file name, text.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<(String, String, String)>, Vec<TemplateProblem>> {
    let failed = |path: &Path, message: String| {
        vec![TemplateProblem { file: path.display().to_string(), line: 0, message }]
    };
    let listed = |path: &Path| -> Result<Vec<std::path::PathBuf>, Vec<TemplateProblem>> {
        let entries = std::fs::read_dir(path).map_err(|e| failed(path, e.to_string()))?;
        let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
        paths.sort();
        Ok(paths)
    };
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut files = Vec::new();
    let is_yaml = |path: &Path| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let (locales, beside): (Vec<_>, Vec<_>) = listed(folder)?.into_iter().partition(|path| path.is_dir());
    if let Some(path) = beside.iter().find(|path| is_yaml(path)) {
        return Err(failed(path, "stands beside the languages; it belongs into one, such as en/".to_owned()));
    }
    for locale in &locales {
        for path in listed(locale)?.into_iter().filter(|path| is_yaml(path)) {
            if files.len() == FILES_MAX {
                return Err(failed(&path, format!("more than {FILES_MAX} template files")));
            }
            if std::fs::metadata(&path).is_ok_and(|m| m.len() > FILE_BYTES_MAX) {
                return Err(failed(&path, format!("longer than {FILE_BYTES_MAX} bytes")));
            }
            let text = std::fs::read_to_string(&path).map_err(|e| failed(&path, e.to_string()))?;
            files.push((name(locale), name(&path), text));
        }
    }
    Ok(files)
}

// ---- reading nodes ----------------------------------------------------------------------------------------

struct Reader<'a> {
    file: &'a str,
    problems: &'a mut Vec<TemplateProblem>,
    leaves: usize,
}

impl Reader<'_> {
    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(TemplateProblem { file: self.file.to_owned(), line, message: message.into() });
    }

    fn problem_at(&mut self, node: &MarkedYaml<'_>, message: impl Into<String>) {
        self.problem(node.span.start.line(), message);
    }

    fn map<'n, 'i>(&mut self, node: &'n MarkedYaml<'i>) -> Vec<(String, &'n MarkedYaml<'i>)> {
        let Some(map) = node.data.as_mapping() else {
            self.problem_at(node, "must be a mapping");
            return Vec::new();
        };
        map.iter().map(|(key, value)| (key.data.as_str().unwrap_or_default().to_owned(), value)).collect()
    }

    fn list<'n, 'i>(&mut self, node: &'n MarkedYaml<'i>) -> &'n [MarkedYaml<'i>] {
        let list = node.data.as_sequence();
        if list.is_none() {
            self.problem_at(node, "must be a list");
        }
        list.map_or(&[], Vec::as_slice)
    }

    fn string<'n>(&mut self, node: &'n MarkedYaml<'_>) -> Option<&'n str> {
        let text = node.data.as_str();
        if text.is_none() {
            self.problem_at(node, "must be text; numbers and words like yes need quotes");
        }
        text
    }

    fn text(&mut self, node: &MarkedYaml<'_>) -> Option<Leaf> {
        let text = self.string(node)?.to_owned();
        if text.contains(markup::is_mark) {
            self.problem_at(node, "holds a character that no text may hold");
            return None;
        }
        Some(self.leaf(node, text))
    }

    fn leaf(&mut self, node: &MarkedYaml<'_>, text: String) -> Leaf {
        self.leaves += 1;
        let name = format!("{}#{}", self.file, self.leaves);
        let line = node.span.start.line();
        Leaf { name, source: text, file: self.file.to_owned(), line }
    }

    fn condition(&mut self, node: &MarkedYaml<'_>) -> Option<Leaf> {
        let condition = self.string(node)?;
        let text = format!("{{% if {condition} %}}1{{% endif %}}");
        Some(self.leaf(node, text))
    }

    /// A table of words: nested mappings of texts.
    fn words(&mut self, node: &MarkedYaml<'_>) -> Map<String, Json> {
        let mut words = Map::new();
        for (name, value) in self.map(node) {
            let value = match value.data.is_mapping() {
                true => Some(Json::Object(self.words(value))),
                false => self.string(value).map(Json::from),
            };
            words.extend(value.map(|value| (name, value)));
        }
        words
    }

    fn phrases(&mut self, node: &MarkedYaml<'_>) -> Vec<(String, Leaf)> {
        let mut phrases = Vec::new();
        for (name, value) in self.map(node) {
            let leaf = self.text(value).map(|leaf| Leaf { name: phrase_name(&name), ..leaf });
            phrases.extend(leaf.map(|leaf| (name, leaf)));
        }
        phrases
    }

    fn message(&mut self, node: &MarkedYaml<'_>) -> Option<Message> {
        let (mut summary, mut tone, mut blocks) = (None, None, Vec::new());
        for (key, value) in self.map(node) {
            match key.as_str() {
                "summary" => summary = self.text(value),
                "tone" => tone = self.text(value),
                "blocks" => {
                    for block in self.list(value) {
                        blocks.extend(self.block(block));
                    }
                }
                _ => self.unknown(value, &key, "summary, tone, blocks"),
            }
        }
        if summary.is_none() {
            self.problem_at(node, "a message needs a summary");
        }
        Some(Message { summary: summary?, tone, blocks })
    }

    fn block(&mut self, node: &MarkedYaml<'_>) -> Option<BlockTemplate> {
        if node.data.as_str() == Some("divider") {
            return Some(BlockTemplate { when: None, kind: BlockKind::Divider });
        }
        let (mut when, mut kinds) = (None, Vec::new());
        for (key, value) in self.map(node) {
            let kind = match key.as_str() {
                "when" => {
                    when = self.condition(value);
                    continue;
                }
                "title" => self.text(value).map(BlockKind::Title),
                "text" => self.text(value).map(BlockKind::Text),
                "log" => self.text(value).map(BlockKind::Log),
                "context" => self.text(value).map(BlockKind::Context),
                "fields" => Some(BlockKind::Fields(self.fields(value))),
                "buttons" => Some(BlockKind::Buttons(self.buttons(value))),
                "divider" => Some(BlockKind::Divider),
                _ => {
                    self.unknown(value, &key, "title, text, fields, log, context, buttons, divider, when");
                    None
                }
            };
            kinds.extend(kind);
        }
        if kinds.len() > 1 {
            self.problem_at(node, "one block is one thing: begin each with its own dash");
        }
        kinds.pop().map(|kind| BlockTemplate { when, kind })
    }

    fn fields(&mut self, node: &MarkedYaml<'_>) -> Vec<(Leaf, Leaf)> {
        let mut fields = Vec::new();
        for pair in self.list(node) {
            match self.list(pair) {
                [label, value] => fields.extend(self.text(label).zip(self.text(value))),
                _ => self.problem_at(pair, "a field is a list of two: [label, value]"),
            }
        }
        fields
    }

    fn buttons(&mut self, node: &MarkedYaml<'_>) -> Vec<ButtonTemplate> {
        let mut buttons = Vec::new();
        for button in self.list(node) {
            buttons.extend(self.button(button));
        }
        buttons
    }

    fn button(&mut self, node: &MarkedYaml<'_>) -> Option<ButtonTemplate> {
        let (mut when, mut verb, mut label, mut style, mut confirm) =
            (None, None, None, ButtonStyle::Default, None);
        for (key, value) in self.map(node) {
            match key.as_str() {
                "when" => when = self.condition(value),
                "verb" => {
                    verb = self.string(value).and_then(Verb::from_word);
                    if verb.is_none() {
                        let verbs = Verb::ALL.map(Verb::as_str).join(", ");
                        self.problem_at(value, format!("not a button's verb; there are {verbs}"));
                    }
                }
                "label" => label = self.text(value),
                "style" => match self.string(value) {
                    Some("default") => style = ButtonStyle::Default,
                    Some("primary") => style = ButtonStyle::Primary,
                    Some("danger") => style = ButtonStyle::Danger,
                    _ => self.problem_at(value, "not a style; there are default, primary, danger"),
                },
                "confirm" => confirm = self.confirm(value),
                _ => self.unknown(value, &key, "verb, label, style, confirm, when"),
            }
        }
        if verb.is_none() || label.is_none() {
            self.problem_at(node, "a button needs a verb and a label");
        }
        Some(ButtonTemplate { when, verb: verb?, label: label?, style, confirm })
    }

    fn confirm(&mut self, node: &MarkedYaml<'_>) -> Option<[Leaf; 4]> {
        let mut parts = [const { None }; 4];
        for (key, value) in self.map(node) {
            match ["title", "text", "yes", "no"].iter().position(|part| *part == key) {
                Some(part) => parts[part] = self.text(value),
                None => self.unknown(value, &key, "title, text, yes, no"),
            }
        }
        let [Some(title), Some(text), Some(yes), Some(no)] = parts else {
            self.problem_at(node, "a confirmation needs title, text, yes and no");
            return None;
        };
        Some([title, text, yes, no])
    }

    fn unknown(&mut self, node: &MarkedYaml<'_>, key: &str, known: &str) {
        self.problem_at(node, format!("unknown key `{key}`; there are {known}"));
    }
}
