//! Draws a [`Card`] as a Slack message: `{text, blocks}` in Block Kit. Pure; the last step before bytes leave.
//!
//! Any card, however long or hostile, becomes a message that Slack accepts: whatever is over a limit is cut at a
//! character and says so. The tone is not drawn: templates say it in a word and an emoji, and plain blocks are
//! replaced whole by `chat.update`. The limits themselves are checked independently by the simulated Slack.

use serde_json::{Value, json};

use super::mrkdwn::{bold, chunks, escape, line};
use crate::chat::plain::{clean, cut, one_line, units};
use crate::message::{Block, Button, ButtonStyle, Card, Confirm, Text};

/// Blocks of a message.
const BLOCKS_MAX: usize = 50;
/// Length of a section's or context's text, and of the message's own.
const TEXT_MAX: usize = 3_000;
/// Sections that one paragraph may become.
const TEXT_SECTIONS_MAX: usize = 4;
/// Length of a header.
const HEADER_MAX: usize = 150;
/// Fields of one section, and length of each.
const FIELDS_MAX: usize = 10;
const FIELD_MAX: usize = 2_000;
/// Longest label of a field, before escaping.
const FIELD_LABEL_MAX: usize = 60;
/// Buttons in one row.
const ACTIONS_MAX: usize = 25;
/// Length of a button's text.
const BUTTON_MAX: usize = 75;
/// Lengths of a confirmation's parts.
const CONFIRM_TITLE_MAX: usize = 100;
const CONFIRM_TEXT_MAX: usize = 300;
const CONFIRM_BUTTON_MAX: usize = 30;
/// Lines of a log that are shown, and length of each.
const LOG_LINES_MAX: usize = 40;
const LOG_LINE_MAX: usize = 300;
/// Room for the fences of a log and the line that says what was cut.
const LOG_FRAME: usize = 60;

/// The message: `{"text": …, "blocks": […]}`, neither of them empty.
pub fn render(card: &Card) -> Value {
    render_within(card, BLOCKS_MAX)
}

/// The same with at most so many blocks.
pub(super) fn render_within(card: &Card, blocks_max: usize) -> Value {
    let mut blocks = Vec::new();
    let mut names = ActionNames::default();
    for block in &card.blocks {
        draw(block, &mut names, &mut blocks);
    }
    let text = match one_line(&card.summary) {
        empty if empty.is_empty() => "…".to_owned(),
        summary => line(&Text::plain(summary), TEXT_MAX),
    };
    if blocks.is_empty() {
        blocks.push(section(&text));
    }
    if blocks.len() > blocks_max {
        let more = blocks.len() - (blocks_max - 1);
        blocks.truncate(blocks_max - 1);
        blocks.push(context(&format!("… +{}", grouped(more))));
    }
    json!({ "text": text, "blocks": blocks })
}

fn draw(block: &Block, names: &mut ActionNames, out: &mut Vec<Value>) {
    match block {
        Block::Title(title) => {
            let title = cut(&one_line(title), HEADER_MAX);
            if !title.is_empty() {
                out.push(json!({ "type": "header", "text": plain(&title) }));
            }
        }
        Block::Text(text) => {
            let (sections, dropped) = chunks(text, TEXT_MAX, TEXT_SECTIONS_MAX);
            out.extend(sections.iter().map(|s| section(s)));
            out.extend(dropped.map(|lines| context(&format!("… +{}", grouped(lines)))));
        }
        Block::Fields(fields) => {
            let fields: Vec<Value> = fields.iter().map(|(label, value)| field(label, value)).collect();
            out.extend(
                fields.chunks(FIELDS_MAX).map(|fields| json!({ "type": "section", "fields": fields })),
            );
        }
        Block::Log(log) => out.extend(fenced(log).map(|text| section(&text))),
        Block::Context(text) => {
            let text = line(text, TEXT_MAX);
            if !text.is_empty() {
                out.push(context(&text));
            }
        }
        Block::Buttons(buttons) => {
            let buttons: Vec<Value> = buttons.iter().map(|b| button(b, names)).collect();
            out.extend(buttons.chunks(ACTIONS_MAX).map(|row| json!({ "type": "actions", "elements": row })));
        }
        Block::Divider => out.push(json!({ "type": "divider" })),
    }
}

/// `verbatim`: Slack makes no links and mentions out of words; our own markup still works.
fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

pub(super) fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": true })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": mrkdwn(text) })
}

fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [mrkdwn(text)] })
}

fn field(label: &str, value: &Text) -> Value {
    let label = bold(&cut(&one_line(label), FIELD_LABEL_MAX));
    let value = match line(value, FIELD_MAX - units(&label) - 1) {
        empty if empty.is_empty() => "–".to_owned(),
        value => value,
    };
    mrkdwn(if label.is_empty() { value } else { format!("{label}\n{value}") }.as_str())
}

// ---- buttons ----------------------------------------------------------------------------------------------

/// Action ids are unique within a message: the verb, and from its second button on a number.
#[derive(Default)]
struct ActionNames(Vec<&'static str>);

impl ActionNames {
    fn next(&mut self, verb: &'static str) -> String {
        self.0.push(verb);
        match self.0.iter().filter(|v| **v == verb).count() {
            1 => verb.to_owned(),
            n => format!("{verb}-{n}"),
        }
    }
}

fn button(button: &Button, names: &mut ActionNames) -> Value {
    let verb = button.click.verb.as_str();
    let mut drawn = json!({
        "type": "button",
        "action_id": names.next(verb),
        "text": plain(&filled(&button.label, BUTTON_MAX, verb)),
        "value": button.click.value(),
    });
    let style = match button.style {
        ButtonStyle::Default => None,
        ButtonStyle::Primary => Some("primary"),
        ButtonStyle::Danger => Some("danger"),
    };
    if let Some(style) = style {
        drawn["style"] = json!(style);
    }
    if let Some(confirm) = &button.confirm {
        drawn["confirm"] = confirmation(confirm, style);
    }
    drawn
}

fn confirmation(confirm: &Confirm, style: Option<&str>) -> Value {
    let mut drawn = json!({
        "title": plain(&filled(&confirm.title, CONFIRM_TITLE_MAX, "?")),
        "text": plain(&filled(&confirm.text, CONFIRM_TEXT_MAX, "…")),
        "confirm": plain(&filled(&confirm.yes, CONFIRM_BUTTON_MAX, "✓")),
        "deny": plain(&filled(&confirm.no, CONFIRM_BUTTON_MAX, "✗")),
    });
    if let Some(style) = style {
        drawn["style"] = json!(style);
    }
    drawn
}

pub(super) fn filled(text: &str, max: usize, instead: &str) -> String {
    match cut(&one_line(text), max) {
        empty if empty.is_empty() => instead.to_owned(),
        text => text,
    }
}

// ---- logs -------------------------------------------------------------------------------------------------

/// The first lines of a log between fences, and how many more it has; nothing for a blank log.
fn fenced(log: &str) -> Option<String> {
    let mut shown = String::new();
    let mut length = 0;
    let mut more = 0;
    let mut lines = log.trim_end().split('\n').map(log_line).skip_while(|l| l.trim().is_empty());
    for (count, line) in lines.by_ref().enumerate() {
        length += units(&line) + 1;
        if count == LOG_LINES_MAX || length > TEXT_MAX - LOG_FRAME {
            more = 1;
            break;
        }
        shown.push_str(&line);
        shown.push('\n');
    }
    more += lines.count();
    if shown.is_empty() {
        return None;
    }
    let rest = if more == 0 { String::new() } else { format!("… +{}\n", grouped(more)) };
    Some(format!("```\n{shown}{rest}```"))
}

/// One line as a terminal would show it: what follows the last return of the carriage.
fn log_line(raw: &str) -> String {
    let raw = raw.trim_end_matches('\r');
    let seen = raw.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default();
    let text = clean(seen).replace('\t', "    ");
    // Two of three backticks cannot close the fence.
    escape(cut(text.trim_end(), LOG_LINE_MAX).as_str()).replace("``", "`\u{200b}`")
}

/// `1234567` as `1,234,567`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
