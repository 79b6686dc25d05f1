//! What Slack takes as a message: the limits of Block Kit, from Slack's documentation. Pure.
//!
//! Written from the limits, never from our renderer, so that the two check each other.

use serde_json::Value;

/// Longest top-level `text`, in characters.
const TEXT_MAX: usize = 40_000;
/// Most blocks of a message.
const BLOCKS_MAX: usize = 50;
/// Most attachments.
const ATTACHMENTS_MAX: usize = 100;
/// Longest `block_id` and `action_id`.
const ID_MAX: usize = 255;
/// How deep a payload may nest before it is refused.
const METADATA_BYTES_MAX: usize = 16_000;

/// Why Slack refuses a message: its error code, and what is wrong where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `invalid_blocks`.
    pub code: &'static str,
    /// Such as `blocks[2].text: 3001 characters, at most 3000`.
    pub detail: String,
}

/// Checks the parts of a message that the app wrote.
pub fn check_message(message: &Value) -> Result<(), Refusal> {
    let blocks = &message["blocks"];
    let has = |key: &str| match &message[key] {
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => false,
    };
    if !has("blocks") && !has("text") && !has("attachments") {
        return Err(Refusal { code: "no_text", detail: "neither text nor blocks".into() });
    }
    if message["text"].as_str().is_some_and(|text| text.chars().count() > TEXT_MAX) {
        return Err(Refusal { code: "msg_too_long", detail: format!("text over {TEXT_MAX} characters") });
    }
    check_blocks(blocks, "blocks")?;
    if let Some(attachments) = message["attachments"].as_array() {
        if attachments.len() > ATTACHMENTS_MAX {
            return Err(Refusal { code: "too_many_attachments", detail: attachments.len().to_string() });
        }
        for (number, attachment) in attachments.iter().enumerate() {
            check_blocks(&attachment["blocks"], &format!("attachments[{number}].blocks"))?;
        }
    }
    let metadata = &message["metadata"];
    if !metadata.is_null() {
        if !metadata["event_type"].is_string() || !metadata["event_payload"].is_object() {
            return Err(Refusal {
                code: "invalid_metadata_format",
                detail: "event_type or event_payload".into(),
            });
        }
        if metadata.to_string().len() > METADATA_BYTES_MAX {
            return Err(Refusal {
                code: "metadata_too_large",
                detail: format!("over {METADATA_BYTES_MAX} bytes"),
            });
        }
    }
    Ok(())
}

fn invalid(at: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal { code: "invalid_blocks", detail: format!("{at}: {why}") }
}

fn check_blocks(blocks: &Value, at: &str) -> Result<(), Refusal> {
    let blocks = match blocks {
        Value::Null => return Ok(()),
        Value::Array(blocks) => blocks,
        _ => {
            return Err(Refusal { code: "invalid_blocks_format", detail: format!("{at} is not a list") });
        }
    };
    if blocks.len() > BLOCKS_MAX {
        return Err(invalid(at, format_args!("{} blocks, at most {BLOCKS_MAX}", blocks.len())));
    }
    let mut ids = std::collections::BTreeSet::new();
    for (number, block) in blocks.iter().enumerate() {
        let at = format!("{at}[{number}]");
        if let Some(id) = block["block_id"].as_str() {
            length(&at, "block_id", id, 1, ID_MAX)?;
            if !ids.insert(id) {
                return Err(invalid(&at, format_args!("block_id {id} appears twice")));
            }
        }
        check_block(block, &at)?;
    }
    Ok(())
}

fn check_block(block: &Value, at: &str) -> Result<(), Refusal> {
    match block["type"].as_str() {
        Some("divider" | "rich_text" | "plan" | "task_card") => Ok(()),
        Some("header") => text(&block["text"], &format!("{at}.text"), 150, Some("plain_text")),
        Some("markdown") => length(at, "text", block["text"].as_str().unwrap_or(""), 1, 12_000),
        Some("image") => {
            length(at, "image_url", block["image_url"].as_str().unwrap_or(""), 1, 3000)?;
            length(at, "alt_text", block["alt_text"].as_str().unwrap_or(""), 1, 2000)
        }
        Some("section") => {
            if block["text"].is_null() && block["fields"].is_null() {
                return Err(invalid(at, "neither text nor fields"));
            }
            if !block["text"].is_null() {
                text(&block["text"], &format!("{at}.text"), 3000, None)?;
            }
            for (number, field) in list(&block["fields"], at, "fields", 0, 10)?.iter().enumerate() {
                text(field, &format!("{at}.fields[{number}]"), 2000, None)?;
            }
            if !block["accessory"].is_null() {
                element(&block["accessory"], &format!("{at}.accessory"))?;
            }
            Ok(())
        }
        Some("context") => {
            for (number, part) in list(&block["elements"], at, "elements", 1, 10)?.iter().enumerate() {
                if part["type"] != "image" {
                    text(part, &format!("{at}.elements[{number}]"), 3000, None)?;
                }
            }
            Ok(())
        }
        Some("actions") => {
            let mut ids = std::collections::BTreeSet::new();
            for (number, part) in list(&block["elements"], at, "elements", 1, 25)?.iter().enumerate() {
                element(part, &format!("{at}.elements[{number}]"))?;
                if part["action_id"].as_str().is_some_and(|id| !ids.insert(id.to_owned())) {
                    return Err(invalid(at, "an action_id appears twice"));
                }
            }
            Ok(())
        }
        other => Err(invalid(at, format_args!("unsupported type {other:?}"))),
    }
}

fn list<'v>(value: &'v Value, at: &str, name: &str, min: usize, max: usize) -> Result<&'v [Value], Refusal> {
    let items = match value {
        Value::Null if min == 0 => return Ok(&[]),
        Value::Array(items) => items,
        _ => return Err(invalid(at, format_args!("{name} is not a list"))),
    };
    if (min.max(1)..=max).contains(&items.len()) {
        Ok(items)
    } else {
        Err(invalid(at, format_args!("{} {name}, at most {max}", items.len())))
    }
}

fn text(value: &Value, at: &str, max: usize, kind: Option<&str>) -> Result<(), Refusal> {
    let found = value["type"].as_str().unwrap_or("");
    if !matches!(found, "plain_text" | "mrkdwn") || kind.is_some_and(|kind| kind != found) {
        return Err(invalid(at, format_args!("text of type {found:?}")));
    }
    length(at, "text", value["text"].as_str().unwrap_or(""), 1, max)
}

fn length(at: &str, name: &str, text: &str, min: usize, max: usize) -> Result<(), Refusal> {
    let found = text.chars().count();
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(invalid(at, format_args!("{name} has {found} characters, {min} to {max} are allowed")))
    }
}

fn element(part: &Value, at: &str) -> Result<(), Refusal> {
    if part["type"] != "button" {
        let known = part["type"].as_str().is_some_and(|kind| kind.ends_with("_select") || kind == "overflow");
        return if known { Ok(()) } else { Err(invalid(at, "unsupported element")) };
    }
    text(&part["text"], &format!("{at}.text"), 75, Some("plain_text"))?;
    for (name, max) in [("action_id", ID_MAX), ("value", 2000), ("url", 3000)] {
        if let Some(found) = part[name].as_str() {
            length(at, name, found, 1, max)?;
        }
    }
    if !matches!(part["style"].as_str(), None | Some("primary" | "danger")) {
        return Err(invalid(at, "style"));
    }
    let confirm = &part["confirm"];
    if !confirm.is_null() {
        text(&confirm["title"], &format!("{at}.confirm.title"), 100, Some("plain_text"))?;
        text(&confirm["text"], &format!("{at}.confirm.text"), 300, None)?;
        text(&confirm["confirm"], &format!("{at}.confirm.confirm"), 30, Some("plain_text"))?;
        text(&confirm["deny"], &format!("{at}.confirm.deny"), 30, Some("plain_text"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(message: Value, expect: Result<(), &str>) {
        let got = check_message(&message).map_err(|refusal| refusal.code);
        assert_eq!(got, expect, "{message}");
    }

    fn section(length: usize) -> Value {
        json!({"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(length)}})
    }

    #[test]
    fn the_limits_hold_at_the_bound_and_one_beyond() {
        check(json!({"blocks": [section(3000)]}), Ok(()));
        check(json!({"blocks": [section(3001)]}), Err("invalid_blocks"));
        check(json!({"blocks": vec![section(1); 50]}), Ok(()));
        check(json!({"blocks": vec![section(1); 51]}), Err("invalid_blocks"));
        check(json!({"blocks": [section(0)]}), Err("invalid_blocks"));
        check(json!({"text": "x".repeat(40_001)}), Err("msg_too_long"));
    }

    #[test]
    fn buttons_have_limits_of_their_own() {
        let actions = |label: usize, value: usize| {
            json!({"blocks": [{"type": "actions", "elements": [{"type": "button", "action_id": "a",
                "text": {"type": "plain_text", "text": "x".repeat(label)}, "value": "v".repeat(value)}]}]})
        };
        check(actions(75, 2000), Ok(()));
        check(actions(76, 1), Err("invalid_blocks"));
        check(actions(1, 2001), Err("invalid_blocks"));
    }

    #[test]
    fn what_is_no_message_has_slacks_own_code() {
        check(json!({}), Err("no_text"));
        check(json!({"text": "a", "blocks": {}}), Err("invalid_blocks_format"));
        check(json!({"text": "a", "metadata": {"event_type": 1}}), Err("invalid_metadata_format"));
        check(json!({"blocks": [{"type": "nonsense"}]}), Err("invalid_blocks"));
    }
}
