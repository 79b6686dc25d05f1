//! The form that starts a run: what it asks for in this lab, and what it means filled in. Pure, and no platform's:
//! Slack draws it as a modal. Filled in it is the same command as a typed `/run-test`, and goes the same way: through
//! `parse`'s table, `policy` and `handle`; here it is only said which field a refusal is about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::problem::{ParseProblem, REPEAT, Wrong};
use super::words::Word;
use super::{RunTest, parse};
use crate::board::plan::{ParamKind, ParamSpec};
use crate::board::selector::{PARAM_BYTES_MAX, written};
use crate::board::{Family, Inventory};
use crate::message::{Note, Phrase};
use crate::run::REPEAT_MAX;

/// Most parameters of a suite that a form asks for; further ones are typed.
pub const PARAMS_MAX: usize = 80;

/// What a field is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Which boards.
    Family,
    /// Which build.
    Build,
    /// Which tests.
    Suite,
    /// Only on one board or revision: `on:soc-a-001`, `rev:rev2`.
    Where,
    /// How many runs of the same.
    Count,
    /// Where the card stands.
    Channel,
    /// A parameter of the suite.
    Param(String),
}

/// What was filled in; a field that was left empty is absent.
pub type Filled = BTreeMap<Field, String>;

/// The form.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// The family that it is drawn for.
    pub family: String,
    /// The suite.
    pub suite: String,
    /// What it asks, in order; the family first.
    pub questions: Vec<Question>,
}

/// One field of the form.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it is about.
    pub field: Field,
    /// How it is answered.
    pub input: Input,
    /// What it is called: a phrase, or the parameter's own name.
    pub label: Value,
    /// Small print under it.
    pub hint: Option<Phrase>,
    /// Whether it may be left empty.
    pub optional: bool,
    /// Whether the rest of the form depends on it.
    pub redraws: bool,
}

/// Values that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// What they are.
    pub name: Option<Phrase>,
    /// Each value with what it reads.
    pub values: Vec<(String, String)>,
}

/// How a field is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// One of these values; groups have a name, or there is one group without.
    Choice {
        /// Its groups.
        groups: Vec<Choices>,
        /// The value that is chosen at first.
        chosen: Option<String>,
    },
    /// A line of text.
    Line {
        /// Longest.
        max: usize,
        /// What stands there at first.
        initial: Option<String>,
    },
    /// A whole number.
    Number {
        /// Smallest.
        min: Option<i64>,
        /// Largest.
        max: Option<i64>,
        /// What stands there at first.
        initial: Option<String>,
    },
    /// A channel of the platform.
    Channel,
}

/// The form for what was chosen so far; nothing where the lab has no boards. `asks_channel`: nobody knows where it was
/// asked for.
pub fn form(inventory: &Inventory, chosen: &Filled, asks_channel: bool) -> Option<Form> {
    let picked = |field: &Field| chosen.get(field).map(String::as_str);
    let named = picked(&Field::Family).and_then(|name| inventory.family(name));
    let (family, settings) = named.or_else(|| inventory.families.iter().next())?;
    let suite = picked(&Field::Suite).filter(|suite| settings.suites.contains_key(*suite));
    let suite = suite.unwrap_or(&settings.default_suite).to_owned();
    let plain = |names: &mut dyn Iterator<Item = &str>| {
        let values = names.map(|name| (name.to_owned(), name.to_owned())).collect();
        vec![Choices { name: None, values }]
    };
    let choice = |groups, chosen: &str| Input::Choice { groups, chosen: Some(chosen.to_owned()) };
    let families = plain(&mut inventory.families.keys().map(Family::as_str));
    let suites = plain(&mut settings.suites.keys().map(String::as_str));
    let mut questions = vec![
        Question {
            redraws: true,
            ..question(Field::Family, "form-family", choice(families, family.as_str()))
        },
        Question {
            hint: Some(Phrase::new("form-build-hint", json!({}))),
            ..question(Field::Build, "form-build", Input::Line { max: parse::BUILD_BYTES_MAX, initial: None })
        },
        Question { redraws: true, ..question(Field::Suite, "form-suite", choice(suites, &suite)) },
    ];
    questions.extend(boards(inventory, family));
    let count = Input::Number { min: Some(1), max: Some(REPEAT_MAX.into()), initial: Some("1".into()) };
    questions.push(question(Field::Count, "form-count", count));
    if asks_channel {
        questions.push(Question {
            hint: Some(Phrase::new("form-channel-hint", json!({}))),
            optional: true,
            ..question(Field::Channel, "form-channel", Input::Channel)
        });
    }
    let params = inventory.params_of(family, &suite).into_iter().flatten();
    questions.extend(params.take(PARAMS_MAX).map(|(name, spec)| param(name, spec)));
    Some(Form { family: family.to_string(), suite, questions })
}

fn question(field: Field, label: &str, input: Input) -> Question {
    let label = json!(Phrase::new(label, json!({})));
    Question { field, input, label, hint: None, optional: false, redraws: false }
}

/// Which board or revision; nothing where there is but one board.
fn boards(inventory: &Inventory, family: &Family) -> Option<Question> {
    let boards: Vec<&str> = inventory.boards_of(family).map(|board| board.id.as_str()).collect();
    let revisions: BTreeSet<&str> =
        inventory.boards_of(family).filter_map(|board| board.revision.as_deref()).collect();
    let group = |name: &str, what: &str, values: &mut dyn Iterator<Item = &str>| {
        let values = values.map(|value| (format!("{what}:{value}"), value.to_owned())).collect();
        Choices { name: Some(Phrase::new(name, json!({}))), values }
    };
    let groups = [
        group("form-revisions", "rev", &mut revisions.into_iter()),
        group("form-boards", "on", &mut boards.iter().copied()),
    ];
    let groups = groups.into_iter().filter(|group| !group.values.is_empty()).collect();
    let question = question(Field::Where, "form-where", Input::Choice { groups, chosen: None });
    (boards.len() > 1).then_some(Question { optional: true, ..question })
}

fn param(name: &str, spec: &ParamSpec) -> Question {
    let initial = spec.default.as_ref().map(ToString::to_string);
    let words = |words: &[String]| {
        let values = words.iter().map(|word| (word.clone(), word.clone())).collect();
        Input::Choice { groups: vec![Choices { name: None, values }], chosen: initial.clone() }
    };
    let input = match &spec.kind {
        ParamKind::Integer { min, max } => Input::Number { min: *min, max: *max, initial: initial.clone() },
        ParamKind::String { .. } => Input::Line { max: PARAM_BYTES_MAX, initial: initial.clone() },
        ParamKind::Boolean => words(&["true".into(), "false".into()]),
        ParamKind::Choice(choices) => words(choices),
    };
    let hint = Phrase::new("form-param-hint", json!({ "wants": wanted(&spec.kind), "default": initial }));
    Question {
        field: Field::Param(name.to_owned()),
        input,
        label: json!(name),
        hint: Some(hint),
        optional: spec.default.is_some(),
        redraws: false,
    }
}

/// What a parameter accepts, as facts.
pub(super) fn wanted(kind: &ParamKind) -> Value {
    let (mut min, mut max, mut pattern, mut words) = (None, None, None, vec![]);
    let kind = match kind {
        ParamKind::Integer { min: low, max: high } => {
            (min, max) = (*low, *high);
            "integer"
        }
        ParamKind::String { pattern: None } => "text",
        ParamKind::String { pattern: Some(within) } => {
            pattern = Some(written(within));
            "pattern"
        }
        ParamKind::Boolean => "boolean",
        ParamKind::Choice(choices) => {
            words.clone_from(choices);
            "choice"
        }
    };
    json!({ "kind": kind, "min": min, "max": max, "pattern": pattern, "words": words })
}

/// The run that a filled form asks for, read by the grammar of `/run-test`.
pub fn read(filled: &Filled) -> Result<RunTest, ParseProblem> {
    let of = |field| filled.get(&field).map_or("", |value| value.trim());
    let arguments = [of(Field::Family), of(Field::Build)];
    let mut words: Vec<Word> = Vec::with_capacity(filled.len() + 1);
    // An empty one is missing, and what stands after it must not take its place.
    words.extend(arguments.iter().take_while(|word| !word.is_empty()).map(|word| Word::bare((*word).into())));
    if words.len() == arguments.len() {
        words.extend(repeat(of(Field::Count))?);
    }
    let suite = filled.get(&Field::Suite).map(|suite| Word::option("suite", suite));
    let place = filled.get(&Field::Where).and_then(|place| place.split_once(':'));
    words.extend(suite);
    words.extend(place.map(|(what, which)| Word::option(what, which)));
    words.extend(filled.iter().filter_map(|(field, value)| match field {
        Field::Param(name) => Some(Word::option(name, value)),
        _ => None,
    }));
    parse::run_test(&words)
}

/// `x3`; nothing for one.
fn repeat(count: &str) -> Result<Option<Word>, ParseProblem> {
    match count {
        "" | "1" => Ok(None),
        count if count.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(Word::bare(format!("{REPEAT}{count}"))))
        }
        count => Err(ParseProblem::BadValue {
            command: "run-test",
            name: REPEAT.to_owned(),
            value: super::problem::shown(count),
            wrong: Wrong::NotWithin { min: 1, max: REPEAT_MAX },
        }),
    }
}

/// Whether an answer is the one to `/run-test` without a word, in whose place a form can stand.
pub fn is_offered(answer: &Note) -> bool {
    let says = |name: &str, value: &str| answer.facts.get(name).is_some_and(|fact| fact == value);
    says("problem", "missing-argument") && says("command", "run-test") && says("argument", "soc|board")
}

/// Whether an answer says that the run was accepted.
pub fn is_accepted(answer: &Note) -> bool {
    answer.template == "run-accepted"
}

/// Which field a refusal is about, and what it says: a phrase, or plain words.
pub fn blamed(answer: &Note) -> (Field, Value) {
    let fact = |name: &str| answer.facts.get(name).cloned().unwrap_or_default();
    let text = |facts: &Value, name: &str| facts[name].as_str().unwrap_or_default().to_owned();
    match answer.template.as_str() {
        // The grammar's own.
        "unknown-command" => {
            let named = ["argument", "name", "option"].map(fact);
            let named = named.iter().find_map(Value::as_str).unwrap_or_default();
            (field_named(named), fact("detail"))
        }
        "refused" => {
            let reason = fact("reason");
            let field = match text(&reason, "phrase").as_str() {
                "no-suite" => Field::Suite,
                "param-unknown" | "param-missing" | "param-wrong" | "param-too-long" | "param-with-nul" => {
                    Field::Param(text(&reason, "name"))
                }
                "no-board" | "other-family" | "board-not-of-revision" | "no-board-of-revision" => {
                    Field::Where
                }
                "no-artifact" | "value-unfit" => Field::Build,
                _ => Field::Family,
            };
            (field, reason)
        }
        _ => (Field::Family, fact("reason")),
    }
}

/// The field of an argument or option by the grammar's name of it.
fn field_named(name: &str) -> Field {
    match name {
        "soc|board" => Field::Family,
        "build" => Field::Build,
        "suite" => Field::Suite,
        "on" | "rev" => Field::Where,
        REPEAT => Field::Count,
        name => Field::Param(name.to_owned()),
    }
}

#[cfg(test)]
mod tests;
