//! Steps of plans. Pure.
//!
//! A step is a mapping with one action and what belongs to it: `{run: 'make check', parse: ktap, within: 5m}`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::host;
use super::reader::{Fields, Reader};
use super::sequences::Wanted;
use super::tree::{Node, Value};
use crate::board::is_name;
use crate::board::near::nearest;
use crate::board::plan::{Action, ParamSpec, Parser, PowerAction, PromptOf, Step};
use crate::board::quoting::{CommandTemplate, Placeholder, TemplateProblem};
use crate::board::shown;
use crate::outcome::parse::Format;
use crate::transfer::is_path;

/// How long a step may take that does not say so.
pub(super) const WITHIN_DEFAULT: Duration = Duration::from_secs(30);
/// Most steps of one section of a plan.
pub const STEPS_MAX: usize = 1000;
/// Longest name of a step, in characters.
const STEP_NAME_CHARS_MAX: usize = 80;

/// Every action.
const ACTIONS: [&str; 11] = [
    "power",
    "interrupt",
    "command",
    "wait",
    "send",
    "login",
    "run",
    "force_prompt",
    "upload",
    "fetch",
    "host",
];

/// The parser of a step whose exit status is its only result.
const EXIT_CODE: &str = "exit-code";
/// The parser of a file that was brought back.
const JUNIT: &str = "junit";

/// What may stand beside an action.
const BESIDE: [&str; 5] = ["name", "within", "parse", "save", "stop"];

/// A plan while its steps are read.
pub(super) struct PlanContext<'c> {
    /// Its name.
    pub(super) plan: &'c str,
    /// What its commands may name.
    pub(super) params: &'c BTreeMap<String, ParamSpec>,
    /// The programs that its `host` steps may run.
    pub(super) programs: &'c BTreeMap<String, String>,
    /// Parameters that were declared with a mistake: known, so that commands may name them.
    pub(super) declared: Vec<&'c str>,
    /// Names under which outputs are kept so far.
    pub(super) saved: BTreeSet<String>,
    /// Power sequences that it names.
    pub(super) sequences: &'c mut Vec<Wanted>,
}

/// Reads one section of a plan, such as `boot:`.
pub(super) fn section(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    section: &str,
    plan: &mut PlanContext<'_>,
) -> Vec<Step> {
    let Some(node) = fields.get(section) else {
        return Vec::new();
    };
    let Some(items) = reader.list(node, section) else {
        return Vec::new();
    };
    if items.len() > STEPS_MAX {
        reader
            .problems
            .error(node.at, format!("{section} has {} steps; at most {STEPS_MAX} are allowed", items.len()));
    }
    items.iter().take(STEPS_MAX).filter_map(|item| step(reader, item, section, plan)).collect()
}

fn step(reader: &mut Reader<'_>, node: &Node, section: &str, plan: &mut PlanContext<'_>) -> Option<Step> {
    if let Value::Scalar { text, .. } = &node.value {
        let suggestion = ACTIONS.iter().any(|word| word == text).then(|| format!("write `{text}: {{}}`"));
        reader.problems.error_with(
            node.at,
            format!("a step must be a mapping, not {}", shown(text)),
            suggestion,
        );
        return None;
    }
    let known: Vec<&str> = ACTIONS.into_iter().chain(BESIDE).collect();
    let fields = reader.fields(node, "a step", &known)?;
    let actions: Vec<_> =
        fields.entries().filter(|(key, _)| ACTIONS.iter().any(|word| *word == key.text)).collect();
    let (kind, argument) = match actions[..] {
        [(key, argument)] => (key, argument),
        [] => {
            reader.problems.error(node.at, format!("a step needs one of {}", ACTIONS.join(", ")));
            return None;
        }
        [(first, _), (second, _), ..] => {
            let message = format!("a step does one thing, not both `{}` and `{}`", first.text, second.text);
            reader.problems.error(second.at, message);
            return None;
        }
    };
    let mut within = None;
    let action = action(reader, &kind.text, argument, plan, &mut within);
    let name = step_name(reader, &fields).unwrap_or_else(|| default_name(&kind.text, argument));
    let within = step_within(reader, &fields, within);
    let parse = parser(reader, &fields, &kind.text, section);
    let save = save(reader, &fields, &kind.text, plan);
    let stop = stop(reader, &fields, section);
    Some(Step { name, action: action?, within, parse, save, stop })
}

fn step_name(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<String> {
    let node = fields.get("name")?;
    let name = reader.text(node, "name")?;
    if name.trim().is_empty()
        || name.chars().count() > STEP_NAME_CHARS_MAX
        || name.contains(|c: char| c.is_control())
    {
        let message = format!("the name of a step is 1 to {STEP_NAME_CHARS_MAX} characters on one line");
        reader.problems.error(node.at, message);
        return None;
    }
    Some(name.to_owned())
}

/// A step without a name is called by what it does: `login`, and a command by its program.
fn default_name(kind: &str, argument: &Node) -> String {
    let program = match &argument.value {
        Value::Scalar { text, .. } if kind == "run" => text.split_whitespace().next(),
        Value::Map(entries) if kind == "host" => entries.iter().find_map(|(key, node)| match &node.value {
            Value::List(items) if key.text == "run" => match &items.first()?.value {
                Value::Scalar { text, .. } => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        }),
        _ => None,
    };
    let program = program.map(|word| word.rsplit('/').next().unwrap_or(word));
    let plain = |word: &&str| {
        (1..=STEP_NAME_CHARS_MAX).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
    };
    program.filter(plain).unwrap_or(kind).to_owned()
}

/// `within` stands beside the action or inside it, not both.
fn step_within(reader: &mut Reader<'_>, fields: &Fields<'_>, inside: Option<Duration>) -> Duration {
    let Some(node) = fields.get("within") else {
        return inside.unwrap_or(WITHIN_DEFAULT);
    };
    if inside.is_some() {
        reader.problems.error(node.at, "`within` is given twice for this step");
    }
    reader.duration(node, "within", Duration::from_millis(1)).unwrap_or(WITHIN_DEFAULT)
}

fn parser(reader: &mut Reader<'_>, fields: &Fields<'_>, kind: &str, section: &str) -> Parser {
    let Some(node) = fields.get("parse") else {
        return Parser::ExitCode;
    };
    if !["run", "fetch"].contains(&kind) || section != "test" {
        reader.problems.error(node.at, "`parse` belongs to `run` and `fetch` steps under `test`");
    }
    if kind == "fetch" {
        let junit = reader.one_of(node, "format of a fetched file", &[(JUNIT, Parser::Junit)]);
        return junit.unwrap_or(Parser::ExitCode);
    }
    match &node.value {
        Value::List(items) => {
            let formats = formats(reader, node, items);
            if formats.is_empty() { Parser::ExitCode } else { Parser::Formats(formats) }
        }
        _ => match parser_word(reader, node) {
            Some(Some(format)) => Parser::Formats(vec![format]),
            Some(None) | None => Parser::ExitCode,
        },
    }
}

/// Several formats in one output.
fn formats(reader: &mut Reader<'_>, node: &Node, items: &[Node]) -> Vec<Format> {
    if items.is_empty() {
        reader.problems.error(node.at, "`parse` names at least one format");
    }
    let mut formats: Vec<Format> = Vec::new();
    for item in items {
        let Some(word) = parser_word(reader, item) else { continue };
        let Some(format) = word else {
            let message = "`exit-code` stands alone: beside a format, the exit status counts anyway";
            reader.problems.error(item.at, message);
            continue;
        };
        if let Some(other) = formats.iter().find(|other| other.overlaps(format)) {
            let message = match *other == format {
                true => format!("`parse` names {} twice", format.as_str()),
                false => {
                    format!("{} and {} would count the same lines twice", other.as_str(), format.as_str())
                }
            };
            reader.problems.error(item.at, message);
            continue;
        }
        formats.push(format);
    }
    formats
}

/// The format of a word; nothing inside for `exit-code`.
fn parser_word(reader: &mut Reader<'_>, node: &Node) -> Option<Option<Format>> {
    let word = reader.text(node, "parse")?;
    if word == EXIT_CODE {
        return Some(None);
    }
    if let Some(format) = Format::from_word(word) {
        return Some(Some(format));
    }
    if word == JUNIT {
        let message =
            "junit is read from a file: bring it back with `fetch`, and put `parse: junit` beside that";
        reader.problems.error(node.at, message);
        return None;
    }
    let known: Vec<&str> =
        [EXIT_CODE].into_iter().chain(Format::ALL.map(Format::as_str)).chain(["automake"]).collect();
    let suggestion = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("it has {}", known.join(", ")),
    };
    let message = format!("this version has no parser {}", shown(word));
    reader.problems.error_with(node.at, message, Some(suggestion));
    None
}

fn save(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    kind: &str,
    plan: &mut PlanContext<'_>,
) -> Option<String> {
    let node = fields.get("save")?;
    if kind != "run" {
        reader.problems.error(node.at, "`save` keeps the output of `run` steps only");
    }
    kept_as(reader, node, "save", plan)
}

/// A name for what a plan keeps: its own alone, and not the transcript's.
fn kept_as(reader: &mut Reader<'_>, node: &Node, what: &str, plan: &mut PlanContext<'_>) -> Option<String> {
    let name = reader.name(node, what)?;
    if name.starts_with("console.") {
        reader.problems.error(node.at, format!("{} is a name of the transcript's own", shown(name)));
    }
    if !plan.saved.insert(name.to_owned()) {
        let message = format!("plan {} saves two outputs as {}", shown(plan.plan), shown(name));
        reader.problems.error(node.at, message);
    }
    Some(name.to_owned())
}

fn upload(
    reader: &mut Reader<'_>,
    node: &Node,
    plan: &PlanContext<'_>,
    inside: &mut Option<Duration>,
) -> Option<Action> {
    let fields = reader.fields(node, "upload", &["from", "to", "within"])?;
    *inside = inner_within(reader, &fields);
    let from = reader.required(&fields, "upload", "from");
    let to = reader.required(&fields, "upload", "to");
    let from = from.and_then(|from| template(reader, from, "from", CommandTemplate::parse_plain, plan));
    let to = to.and_then(|to| board_path(reader, to, "to"));
    Some(Action::Upload { from: from?, to: to? })
}

fn fetch(
    reader: &mut Reader<'_>,
    node: &Node,
    plan: &mut PlanContext<'_>,
    inside: &mut Option<Duration>,
) -> Option<Action> {
    let fields = reader.fields(node, "fetch", &["from", "as", "within"])?;
    *inside = inner_within(reader, &fields);
    let from = reader.required(&fields, "fetch", "from");
    let name = reader.required(&fields, "fetch", "as");
    let from = from.and_then(|from| board_path(reader, from, "from"));
    let name = name.and_then(|name| kept_as(reader, name, "as", plan));
    Some(Action::Fetch { from: from?, name: name? })
}

/// A file on a board.
fn board_path(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let path = reader.text(node, what)?;
    if !is_path(path) {
        let message = format!(
            "`{what}` is the whole path of a file on the board, of letters, digits and ._/+@:=,- only, not {}",
            shown(path)
        );
        reader.problems.error(node.at, message);
        return None;
    }
    Some(path.to_owned())
}

fn stop(reader: &mut Reader<'_>, fields: &Fields<'_>, section: &str) -> bool {
    let Some(node) = fields.get("stop") else {
        return false;
    };
    if section != "test" {
        reader
            .problems
            .error(node.at, "`stop` belongs to steps under `test`: elsewhere a failing step always stops");
    }
    reader.boolean(node, "stop").unwrap_or(false)
}

/// Reads what a step does. `inside` takes a `within` that stands inside the action.
fn action(
    reader: &mut Reader<'_>,
    kind: &str,
    node: &Node,
    plan: &mut PlanContext<'_>,
    inside: &mut Option<Duration>,
) -> Option<Action> {
    match kind {
        "power" => power(reader, node, plan).map(Action::Power),
        "interrupt" => {
            let fields = reader.fields(node, "interrupt", &["expect", "send", "within"])?;
            *inside = inner_within(reader, &fields);
            let expect = reader.required(&fields, "interrupt", "expect")?;
            let expect = reader.pattern(expect, "expect")?;
            let send = match fields.get("send") {
                Some(node) => reader.text(node, "send")?.to_owned(),
                None => " ".to_owned(),
            };
            Some(Action::Interrupt { expect, send })
        }
        "command" => {
            let fields = reader.fields(node, "command", &["send", "at", "within"])?;
            *inside = inner_within(reader, &fields);
            if let Some(at) = fields.get("at") {
                reader.one_of(at, "place of a command", &[("bootloader", ())])?;
            }
            let send = reader.required(&fields, "command", "send")?;
            template(reader, send, "send", CommandTemplate::parse_plain, plan).map(Action::Command)
        }
        "wait" => {
            let fields = reader.fields(node, "wait", &["for", "within"])?;
            *inside = inner_within(reader, &fields);
            let pattern = reader.required(&fields, "wait", "for")?;
            reader.pattern(pattern, "for").map(Action::Wait)
        }
        "send" => template(reader, node, "send", CommandTemplate::parse_plain, plan).map(Action::Send),
        "login" => {
            if !matches!(node.value, Value::Null) {
                let fields = reader.fields(node, "login", &["within"])?;
                *inside = inner_within(reader, &fields);
            }
            Some(Action::Login)
        }
        "force_prompt" => force_prompt(reader, node, inside).map(Action::ForcePrompt),
        "host" => host::step(reader, node, plan, inside),
        "run" => template(reader, node, "run", CommandTemplate::parse, plan).map(Action::Run),
        "upload" => upload(reader, node, plan, inside),
        "fetch" => fetch(reader, node, plan, inside),
        _ => None,
    }
}

pub(super) fn inner_within(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Duration> {
    let node = fields.get("within")?;
    Some(reader.duration(node, "within", Duration::from_millis(1)).unwrap_or(WITHIN_DEFAULT))
}

fn force_prompt(reader: &mut Reader<'_>, node: &Node, inside: &mut Option<Duration>) -> Option<PromptOf> {
    if matches!(node.value, Value::Null) {
        return Some(PromptOf::Shell);
    }
    let fields = reader.fields(node, "force_prompt", &["at", "within"])?;
    *inside = inner_within(reader, &fields);
    let places = [("shell", PromptOf::Shell), ("bootloader", PromptOf::Bootloader)];
    match fields.get("at") {
        Some(at) => reader.one_of(at, "place of a prompt", &places),
        None => Some(PromptOf::Shell),
    }
}

/// `on`, `off`, `cycle`, or a sequence of the plan's boards, which are not known yet.
fn power(reader: &mut Reader<'_>, node: &Node, plan: &mut PlanContext<'_>) -> Option<PowerAction> {
    let word = reader.text(node, "power action")?;
    match PowerAction::plain(word) {
        Some(action) if action != PowerAction::Status => Some(action),
        _ => {
            plan.sequences.push(Wanted { plan: plan.plan.to_owned(), name: word.to_owned(), at: node.at });
            Some(PowerAction::Sequence(word.to_owned()))
        }
    }
}

/// Reads a command and checks what it names.
fn template(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    parse: fn(&str) -> Result<CommandTemplate, TemplateProblem>,
    plan: &PlanContext<'_>,
) -> Option<CommandTemplate> {
    if matches!(node.value, Value::Null) {
        reader.problems.error(node.at, format!("{what} must be text, not nothing"));
        return None;
    }
    let text = reader.text(node, what)?;
    let template = match parse(text) {
        Ok(template) => template,
        Err(problem) => {
            let at = reader.inside(node, problem.offset);
            reader.problems.error(at, problem.message);
            return None;
        }
    };
    known_placeholders(reader, node, &template, plan);
    Some(template)
}

/// Checks what a template names.
pub(super) fn known_placeholders(
    reader: &mut Reader<'_>,
    node: &Node,
    template: &CommandTemplate,
    plan: &PlanContext<'_>,
) {
    let mut known: Vec<&str> = plan.params.keys().map(String::as_str).collect();
    known.extend(&plan.declared);
    for (placeholder, offset) in template.placeholders() {
        let at = reader.inside(node, offset);
        match placeholder {
            Placeholder::Param(name) if !known.contains(&name.as_str()) => {
                let suggestion = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("declare it under `params:` of {}", plan.plan),
                };
                reader.problems.error_with(
                    at,
                    format!("unknown parameter {}", shown(name)),
                    Some(suggestion),
                );
            }
            Placeholder::ArtifactUrl(name) | Placeholder::ArtifactPath(name) if !is_name(name) => {
                reader.problems.error(at, format!("{} cannot name an artifact", shown(name)));
            }
            _ => {}
        }
    }
}
