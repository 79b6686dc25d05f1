//! Draws a [`Card`] as Feishu's Card JSON 2.0. Pure; the last step before bytes leave.
//!
//! Any card, however long or hostile, becomes one that Feishu accepts: whatever is over a limit is cut at a character
//! and says so. Feishu refuses a card for one property that it does not know, so nothing is drawn here but what its
//! documentation names (open.feishu.cn, "Card JSON 2.0 structure").

use serde_json::{Value, json};

use super::decode::CLICK;
use super::markdown::{bold, escape, fence, text};
use crate::chat::plain::{clean, cut, one_line};
use crate::message::{Block, Button, ButtonStyle, Card, Confirm, Text, Tone};

/// Largest card in bytes, somewhat under what Feishu takes.
pub const CARD_BYTES_MAX: usize = 28 * 1024;
/// Elements of one card, somewhat under what Feishu takes: columns and buttons count too.
const BLOCKS_MAX: usize = 40;
/// Characters of a title, of a paragraph, of a field, of a button, of a question.
const TITLE_MAX: usize = 150;
const TEXT_MAX: usize = 3_000;
const FIELD_MAX: usize = 500;
const LABEL_MAX: usize = 60;
const BUTTON_MAX: usize = 40;
const CONFIRM_MAX: usize = 200;
/// Buttons of one row.
const BUTTONS_MAX: usize = 10;
/// Lines of a log that are shown, those shown without folding it, and characters of each.
const LOG_LINES_MAX: usize = 60;
const LOG_LINES_OPEN: usize = 12;
const LOG_LINE_MAX: usize = 300;

/// The card.
pub fn render(card: &Card) -> Value {
    render_within(card, CARD_BYTES_MAX)
}

/// The card, in at most so many bytes.
pub fn render_within(card: &Card, bytes_max: usize) -> Value {
    let (mut title, mut elements) = (None, Vec::new());
    for block in &card.blocks {
        match block {
            Block::Title(text) if title.is_none() && !one_line(text).is_empty() => title = Some(text),
            block => elements.extend(draw(block)),
        }
    }
    let mut more = elements.len().saturating_sub(BLOCKS_MAX);
    elements.truncate(BLOCKS_MAX);
    loop {
        let drawn = frame(card, title.map(String::as_str), elements.clone(), more);
        // What is too large as a whole loses its parts from below; buttons, which are what can be done, go last.
        let words = elements.iter().rposition(|element| element["tag"] != "column_set");
        match words.or(elements.len().checked_sub(1)) {
            Some(last) if drawn.to_string().len() > bytes_max => drop(elements.remove(last)),
            Some(_) | None => return drawn,
        }
        more += 1;
    }
}

fn frame(card: &Card, title: Option<&str>, mut elements: Vec<Value>, more: usize) -> Value {
    let summary = cut(&one_line(&card.summary), TITLE_MAX);
    if elements.is_empty() {
        elements.push(markdown(&escape(&summary)));
    }
    if more > 0 {
        elements.push(small(&format!("… +{more}")));
    }
    let mut drawn = json!({
        "schema": "2.0",
        "config": { "update_multi": true, "summary": { "content": summary } },
        "body": { "elements": elements },
    });
    if let Some(title) = title {
        drawn["header"] =
            json!({ "title": plain(&cut(&one_line(title), TITLE_MAX)), "template": colour(card.tone) });
    }
    drawn
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Neutral => "grey",
        Tone::Running => "blue",
        Tone::Good => "green",
        Tone::Bad => "red",
        Tone::Warning => "orange",
    }
}

fn draw(block: &Block) -> Option<Value> {
    match block {
        Block::Title(title) => Some(bold(title)).filter(|t| !t.is_empty()).map(|t| markdown(&t)),
        Block::Text(words) => Some(text(words, TEXT_MAX)).filter(|t| !t.is_empty()).map(|t| markdown(&t)),
        Block::Fields(fields) => fields_drawn(fields),
        Block::Log(log) => log_drawn(log),
        Block::Context(words) => Some(text(words, TEXT_MAX)).filter(|t| !t.is_empty()).map(|t| small(&t)),
        Block::Buttons(buttons) => buttons_drawn(buttons),
        Block::Divider => Some(json!({ "tag": "hr" })),
    }
}

fn markdown(content: &str) -> Value {
    json!({ "tag": "markdown", "content": content })
}

fn small(content: &str) -> Value {
    json!({ "tag": "markdown", "content": content, "text_size": "notation" })
}

fn plain(content: &str) -> Value {
    json!({ "tag": "plain_text", "content": content })
}

/// Label and value, two pairs side by side.
fn fields_drawn(fields: &[(String, Text)]) -> Option<Value> {
    let columns: Vec<Value> = fields
        .iter()
        .map(|(label, value)| {
            let value = Some(text(value, FIELD_MAX)).filter(|v| !v.is_empty()).unwrap_or("–".to_owned());
            let content = format!("{}\n{value}", bold(&cut(&one_line(label), LABEL_MAX)));
            json!({ "tag": "column", "width": "weighted", "weight": 1, "elements": [markdown(&content)] })
        })
        .collect();
    (!columns.is_empty()).then(|| json!({ "tag": "column_set", "flex_mode": "bisect", "columns": columns }))
}

/// The first lines of a log; a long one is folded under its first line.
fn log_drawn(log: &str) -> Option<Value> {
    let lines: Vec<String> =
        log.trim_end().split('\n').map(log_line).skip_while(|line| line.trim().is_empty()).collect();
    if lines.is_empty() {
        return None;
    }
    let mut shown = lines[..lines.len().min(LOG_LINES_MAX)].join("\n");
    if lines.len() > LOG_LINES_MAX {
        shown.push_str(&format!("\n… +{}", lines.len() - LOG_LINES_MAX));
    }
    let code = markdown(&fence(&shown));
    if lines.len() <= LOG_LINES_OPEN {
        return Some(code);
    }
    let title = plain(&cut(&one_line(&lines[0]), LABEL_MAX));
    Some(json!({
        "tag": "collapsible_panel",
        "expanded": false,
        "header": { "title": title },
        "elements": [code],
    }))
}

/// One line as a terminal would show it: what follows the last return of the carriage.
fn log_line(raw: &str) -> String {
    let seen =
        raw.trim_end_matches('\r').rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default();
    cut(clean(seen).replace('\t', "    ").trim_end(), LOG_LINE_MAX)
}

fn buttons_drawn(buttons: &[Button]) -> Option<Value> {
    let columns: Vec<Value> = buttons
        .iter()
        .take(BUTTONS_MAX)
        .map(|button| json!({ "tag": "column", "width": "auto", "elements": [button_drawn(button)] }))
        .collect();
    (!columns.is_empty()).then(|| json!({ "tag": "column_set", "flex_mode": "flow", "columns": columns }))
}

fn button_drawn(button: &Button) -> Value {
    let style = match button.style {
        ButtonStyle::Default => "default",
        ButtonStyle::Primary => "primary",
        ButtonStyle::Danger => "danger",
    };
    let label = Some(cut(&one_line(&button.label), BUTTON_MAX)).filter(|label| !label.is_empty());
    let label = label.unwrap_or_else(|| button.click.verb.as_str().to_owned());
    let mut drawn = json!({
        "tag": "button",
        "type": style,
        "text": plain(&label),
        // An object: text in its place is an error on the client.
        "behaviors": [{ "type": "callback", "value": { CLICK: button.click.value() } }],
    });
    if let Some(Confirm { title, text, .. }) = &button.confirm {
        let [title, text] = [title, text].map(|words| plain(&cut(&one_line(words), CONFIRM_MAX)));
        drawn["confirm"] = json!({ "title": title, "text": text });
    }
    drawn
}

#[cfg(test)]
mod tests;
