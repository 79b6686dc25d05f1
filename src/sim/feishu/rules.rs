//! What the simulated Feishu takes as a card, and how a person reads one. A card of JSON 2.0 with one property too many
//! is refused by the real one, so every tag is listed here with all that it may have.

use serde_json::Value;

use super::Message;

/// Largest card in bytes.
const CARD_BYTES_MAX: usize = 30 * 1024;
/// Most elements of a card.
const ELEMENTS_MAX: usize = 200;
/// A bad card.
const BAD_CARD: i64 = 230_099;
/// A card that is too large.
const TOO_LONG: i64 = 230_025;

type Problem = (i64, String);

/// Whether the real one would take this card.
pub(super) fn check(card: &Value) -> Result<(), Problem> {
    if card.to_string().len() > CARD_BYTES_MAX {
        return Err((TOO_LONG, "over 30 KB".to_owned()));
    }
    only(card, "the card", &["schema", "config", "header", "body"])?;
    if card["schema"] != "2.0" {
        return Err(bad("schema is not 2.0"));
    }
    only(&card["config"], "config", &["update_multi", "summary", "width_mode"])?;
    if card["config"]["update_multi"] != true {
        return Err(bad("update_multi is not true: nobody could edit it"));
    }
    if let Some(header) = card.get("header") {
        only(header, "header", &["title", "subtitle", "template", "text_tag_list"])?;
        plain(&header["title"])?;
    }
    let mut count = 0;
    elements(&card["body"]["elements"], &mut count)?;
    if count > ELEMENTS_MAX { Err(bad("more than 200 elements")) } else { Ok(()) }
}

fn bad(problem: impl Into<String>) -> Problem {
    (BAD_CARD, problem.into())
}

fn only(value: &Value, what: &str, known: &[&str]) -> Result<(), Problem> {
    let Some(map) = value.as_object() else { return Err(bad(format!("{what} is no object"))) };
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(bad(format!("{what} has the unknown property {key}"))),
        None => Ok(()),
    }
}

fn plain(value: &Value) -> Result<(), Problem> {
    only(value, "a text", &["tag", "content"])?;
    match (value["tag"].as_str(), value["content"].as_str()) {
        (Some("plain_text"), Some(_)) => Ok(()),
        _ => Err(bad("a text that is not plain_text")),
    }
}

fn elements(list: &Value, count: &mut usize) -> Result<(), Problem> {
    let Some(list) = list.as_array().filter(|list| !list.is_empty()) else {
        return Err(bad("no elements"));
    };
    list.iter().try_for_each(|element| self::element(element, count))
}

fn element(element: &Value, count: &mut usize) -> Result<(), Problem> {
    *count += 1;
    match element["tag"].as_str().unwrap_or_default() {
        "markdown" => {
            only(element, "markdown", &["tag", "content", "text_size", "element_id"])?;
            let empty = element["content"].as_str().is_none_or(|text| text.is_empty());
            if empty { Err(bad("an empty markdown")) } else { Ok(()) }
        }
        "hr" => only(element, "hr", &["tag"]),
        "column_set" => {
            only(element, "column_set", &["tag", "flex_mode", "columns"])?;
            let columns = element["columns"].as_array().ok_or_else(|| bad("no columns"))?;
            columns.iter().try_for_each(|column| {
                *count += 1;
                only(column, "column", &["tag", "width", "weight", "elements"])?;
                elements(&column["elements"], count)
            })
        }
        "collapsible_panel" => {
            only(element, "collapsible_panel", &["tag", "expanded", "header", "elements"])?;
            plain(&element["header"]["title"])?;
            elements(&element["elements"], count)
        }
        "button" => button_rules(element),
        other => Err(bad(format!("unknown tag {other:?}"))),
    }
}

fn button_rules(button: &Value) -> Result<(), Problem> {
    only(button, "button", &["tag", "type", "text", "behaviors", "confirm", "disabled"])?;
    plain(&button["text"])?;
    if let Some(confirm) = button.get("confirm") {
        only(confirm, "confirm", &["title", "text"])?;
        plain(&confirm["title"])?;
        plain(&confirm["text"])?;
    }
    let behaviors = button["behaviors"].as_array().ok_or_else(|| bad("a button that does nothing"))?;
    if behaviors.iter().all(|b| b["type"] == "callback" && b["value"].is_object()) {
        Ok(())
    } else {
        // What the client would answer with 200671.
        Err(bad("a button's value is no object"))
    }
}

// ---- as a person reads it ---------------------------------------------------------------------------------

fn walk<'c>(element: &'c Value, see: &mut impl FnMut(&'c Value)) {
    see(element);
    for name in ["elements", "columns"] {
        element[name].as_array().into_iter().flatten().for_each(|inner| walk(inner, see));
    }
}

/// What the button with this label sends.
pub(super) fn button(card: &Value, label: &str) -> Option<Value> {
    let mut found = None;
    walk(&card["body"], &mut |element| {
        if element["tag"] == "button" && element["text"]["content"] == label {
            found = Some(element["behaviors"][0]["value"].clone());
        }
    });
    found
}

/// A card in plain lines.
pub(super) fn shown(card: &Value) -> String {
    let mut lines = Vec::new();
    if let Some(title) = card["header"]["title"]["content"].as_str() {
        lines.push(format!("[{}] {title}", card["header"]["template"].as_str().unwrap_or("-")));
    }
    let mut buttons = Vec::new();
    walk(&card["body"], &mut |element| match element["tag"].as_str() {
        Some("markdown") => lines.push(unescaped(element["content"].as_str().unwrap_or_default())),
        Some("collapsible_panel") => {
            lines.push(format!("▸ {}", element["header"]["title"]["content"].as_str().unwrap_or_default()))
        }
        Some("hr") => lines.push("---".to_owned()),
        Some("button") => {
            buttons.push(format!("({})", element["text"]["content"].as_str().unwrap_or_default()))
        }
        _ => {}
    });
    if !buttons.is_empty() {
        lines.push(buttons.join(" "));
    }
    lines.join("\n")
}

/// Entities as the client shows them.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("&#") {
        out.push_str(&rest[..at]);
        let code = &rest[at + 2..];
        match code.split_once(';').and_then(|(n, after)| Some((char::from_u32(n.parse().ok()?)?, after))) {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push_str("&#");
                rest = code;
            }
        }
    }
    out.push_str(rest);
    out
}

/// A message with its author, each line behind `before`.
pub(super) fn told(message: &Message, before: &str) -> String {
    let words = match &message.author {
        Some(author) => format!("{author}: {}", message.text),
        None => message.shown(),
    };
    words.lines().map(|line| format!("{before}{line}").trim_end().to_owned() + "\n").collect()
}
