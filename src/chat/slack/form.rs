//! Draws the form that starts a run as a modal of Slack, and reads what stands in one. Pure. Whatever the lab file
//! holds, the modal is one that Slack takes: what is over a limit is cut, and said.
//!
//! A block's id says which field it is, and for what it was drawn: a field that is drawn anew for another family has
//! another id, so that nothing is kept in it that its new choices do not have.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::blocks::{filled, plain};
use crate::chat::plain::units;
use crate::command::form::{Choices, Field, Filled, Form, Input, Question};
use crate::message::Phrase;

/// The `callback_id` of the modal, and of the shortcut that opens it.
pub const RUN_FORM: &str = "run-form";
/// The `action_id` of every field.
const ACTION: &str = "value";
/// Lengths of a modal's parts.
const TITLE_MAX: usize = 24;
const LABEL_MAX: usize = 150;
const HINT_MAX: usize = 300;
const OPTION_MAX: usize = 75;
const GROUP_MAX: usize = 75;
const PLACEHOLDER_MAX: usize = 150;
/// Longest text that a modal is told to say under a field.
const ERROR_MAX: usize = 300;
/// Choices of one group, and groups of a list.
const OPTIONS_MAX: usize = 100;
/// Longest value that a line may hold at first.
const LINE_MAX: usize = 3_000;
/// Longest `private_metadata`.
const METADATA_MAX: usize = 3_000;
/// Room for the fields in a modal of 250 KB.
const BLOCKS_BYTES_MAX: usize = 230_000;
/// Longest id of a block.
const ID_MAX: usize = 255;

/// Where a form was asked for; it comes back with the form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedIn {
    /// The channel; nothing where it was asked for beside every channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The way to answer there that the command brought, good for half an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl AskedIn {
    /// As a modal carries it; without the address where that is too long.
    fn metadata(&self) -> String {
        let text = |asked: &AskedIn| json!(asked).to_string();
        let whole = text(self);
        if whole.len() <= METADATA_MAX { whole } else { text(&AskedIn { url: None, ..self.clone() }) }
    }

    /// What a modal carried.
    pub fn parse(metadata: &str) -> Option<AskedIn> {
        serde_json::from_str(metadata).ok()
    }
}

/// What stands in a modal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// By field.
    pub filled: Filled,
    /// Which block each field is.
    pub blocks: Vec<(Field, String)>,
}

/// The modal; `say` puts a phrase into words.
pub fn render(form: &Form, asked_in: &AskedIn, say: &dyn Fn(&Value) -> String) -> Value {
    let phrase = |name: &str| say(&json!(Phrase::new(name, json!({}))));
    let scopes = [form.family.clone(), format!("{}\n{}", form.family, form.suite)].map(|of| scope(&of));
    let mut room = BLOCKS_BYTES_MAX;
    let blocks = form.questions.iter().map(|question| block(question, &scopes, say));
    // What has no room is typed.
    let fits = |block: &Value| {
        let left = room.checked_sub(block.to_string().len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let blocks: Vec<Value> = blocks.take_while(fits).collect();
    json!({
        "type": "modal",
        "callback_id": RUN_FORM,
        "private_metadata": asked_in.metadata(),
        "title": plain(&filled(&phrase("form-title"), TITLE_MAX, "boardhand")),
        "submit": plain(&filled(&phrase("form-submit"), TITLE_MAX, "OK")),
        "close": plain(&filled(&phrase("form-close"), TITLE_MAX, "✗")),
        "blocks": blocks,
    })
}

/// Tells a modal what is wrong, at the field that it is about, or at its first.
pub fn errors(blocks: &[(Field, String)], field: &Field, said: &str) -> Value {
    let at = blocks.iter().find(|(known, _)| known == field).or(blocks.first());
    let at = at.map_or("family", |(_, block)| block);
    let mut chars = said.chars();
    let said: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    json!({ "response_action": "errors", "errors": { at: filled(&said, ERROR_MAX, "✗") } })
}

/// Closes the modal.
pub fn closed() -> Value {
    json!({ "response_action": "clear" })
}

/// What stands in a modal's `state.values`. A field that is left empty is absent, one that is not ours is skipped.
pub fn standing(values: &Value) -> Standing {
    let mut standing = Standing::default();
    for (id, block) in values.as_object().into_iter().flatten() {
        let Some(field) = field_of(id) else { continue };
        let state = &block[ACTION];
        let values = [&state["value"], &state["selected_option"]["value"], &state["selected_conversation"]];
        let value = values.iter().find_map(|value| value.as_str()).filter(|value| !value.is_empty());
        if let Some(value) = value {
            standing.filled.insert(field.clone(), value.to_owned());
        }
        standing.blocks.push((field, id.clone()));
    }
    // The family is the first: what is about nothing in particular is said there.
    standing.blocks.sort();
    standing
}

fn scope(of: &str) -> String {
    hex::encode(&Sha256::digest(of)[..4])
}

/// `suite.1a2b3c4d`, `param.1a2b3c4d.iterations`; `scopes` are the family and the suite that it is drawn for.
fn id_of(field: &Field, [family, suite]: &[String; 2]) -> String {
    match field {
        Field::Family => "family".to_owned(),
        Field::Build => "build".to_owned(),
        Field::Count => "count".to_owned(),
        Field::Channel => "channel".to_owned(),
        Field::Suite => format!("suite.{family}"),
        Field::Where => format!("where.{family}"),
        Field::Param(name) => filled(&format!("param.{suite}.{name}"), ID_MAX, "param"),
    }
}

fn field_of(id: &str) -> Option<Field> {
    let mut parts = id.splitn(3, '.');
    Some(match (parts.next()?, parts.nth(1)) {
        ("family", _) => Field::Family,
        ("build", _) => Field::Build,
        ("count", _) => Field::Count,
        ("channel", _) => Field::Channel,
        ("suite", _) => Field::Suite,
        ("where", _) => Field::Where,
        ("param", Some(name)) => Field::Param(name.to_owned()),
        _ => return None,
    })
}

fn block(question: &Question, scopes: &[String; 2], say: &dyn Fn(&Value) -> String) -> Value {
    let mut hint = question.hint.as_ref().map(|hint| say(&json!(hint))).unwrap_or_default();
    let (mut element, more) = element(&question.input, say);
    element["action_id"] = json!(ACTION);
    if more > 0 {
        let more = say(&json!(Phrase::new("form-more", json!({ "count": more }))));
        hint = format!("{hint} {more}");
    }
    let mut block = json!({
        "type": "input",
        "block_id": id_of(&question.field, scopes),
        "label": plain(&filled(&say(&question.label), LABEL_MAX, "…")),
        "element": element,
    });
    if !hint.trim().is_empty() {
        block["hint"] = plain(&filled(&hint, HINT_MAX, "…"));
    }
    if question.optional {
        block["optional"] = json!(true);
    }
    if question.redraws {
        block["dispatch_action"] = json!(true);
    }
    block
}

/// The element, and how many of its choices had no room.
fn element(input: &Input, say: &dyn Fn(&Value) -> String) -> (Value, usize) {
    let element = match input {
        Input::Line { max, initial } => {
            let mut element = json!({ "type": "plain_text_input", "max_length": (*max).min(LINE_MAX) });
            if let Some(initial) = initial.as_deref().filter(|text| (1..=*max).contains(&text.len())) {
                element["initial_value"] = json!(initial);
            }
            element
        }
        Input::Number { min, max, initial } => {
            let mut element = json!({ "type": "number_input", "is_decimal_allowed": false });
            for (name, value) in [
                ("min_value", min.map(|min| min.to_string())),
                ("max_value", max.map(|max| max.to_string())),
                ("initial_value", initial.clone()),
            ] {
                if let Some(value) = value {
                    element[name] = json!(value);
                }
            }
            element
        }
        Input::Choice { groups, chosen } => return choice(groups, chosen.as_deref(), say),
        Input::Channel => json!({
            "type": "conversations_select",
            "default_to_current_conversation": true,
            "response_url_enabled": true,
            "filter": { "include": ["public", "private"], "exclude_bot_users": true },
        }),
    };
    (element, 0)
}

fn choice(groups: &[Choices], chosen: Option<&str>, say: &dyn Fn(&Value) -> String) -> (Value, usize) {
    let mut element = json!({
        "type": "static_select",
        "placeholder": plain(&filled(&say(&json!(Phrase::new("form-any", json!({})))), PLACEHOLDER_MAX, "…")),
    });
    let mut more = 0;
    let mut initial = None;
    let mut drawn = Vec::new();
    for Choices { name, values } in groups {
        // A value that is too long to be sent back cannot be chosen.
        let fits: Vec<_> =
            values.iter().filter(|(value, _)| (1..=OPTION_MAX).contains(&units(value))).collect();
        let at = |chosen: &str| fits.iter().position(|(value, _)| value == chosen);
        // What is chosen is among those that there is room for.
        let from = chosen.and_then(at).map_or(0, |at| at.saturating_sub(OPTIONS_MAX - 1));
        let shown: Vec<Value> =
            fits.iter().skip(from).take(OPTIONS_MAX).map(|(value, read)| option(value, read)).collect();
        more += values.len() - shown.len();
        initial = initial.or_else(|| shown.iter().find(|shown| shown["value"].as_str() == chosen).cloned());
        if !shown.is_empty() {
            drawn.push((name, shown));
        }
    }
    match drawn.as_slice() {
        [] => return self::element(&Input::Line { max: LINE_MAX, initial: None }, say),
        [(None, options)] => element["options"] = json!(options),
        groups => {
            let group = |(name, options): &(&Option<Phrase>, Vec<Value>)| {
                let label = name.as_ref().map(|name| say(&json!(name))).unwrap_or_default();
                json!({ "label": plain(&filled(&label, GROUP_MAX, "…")), "options": options })
            };
            element["option_groups"] = groups.iter().map(group).collect();
        }
    }
    if let Some(initial) = initial.filter(|initial| !initial["value"].is_null()) {
        element["initial_option"] = initial;
    }
    (element, more)
}

fn option(value: &str, read: &str) -> Value {
    json!({ "text": plain(&filled(read, OPTION_MAX, "…")), "value": value })
}

#[cfg(test)]
mod tests;
