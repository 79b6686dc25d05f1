//! Slack's limits on messages, and in `view` on modals, written down from its documentation and not from our renderer: what Slack would
//! refuse, [`check_message`] finds. What is checked is never asked how it is made: the two check each other.
//!
//! Lengths are UTF-16 units, the stricter reading of "characters". Sources: docs.slack.dev, reference/block-kit.

mod view;

use std::collections::HashSet;
use std::fmt;

use serde_json::Value;

pub use self::view::{WHOLE, check_view};

/// What is wrong with `blocks` that are none.
pub(super) const NOT_A_LIST: &str = "not a list";

/// A place in a message that Slack would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitProblem {
    /// Where, as a JSON pointer: `/blocks/3/text`.
    pub path: String,
    /// What is wrong: `3001 characters, at most 3000`.
    pub problem: String,
}

impl fmt::Display for LimitProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Everything in `{text, blocks, attachments, metadata}` that Slack would refuse or split; empty for a good message.
pub fn check_message(message: &Value) -> Vec<LimitProblem> {
    let mut check = Check::default();
    let text = message.get("text");
    let blocks = message.get("blocks").and_then(Value::as_array);
    let attachments = message.get("attachments").and_then(Value::as_array);
    if let Some(text) = text {
        // Slack itself takes 40,000, but splits text of more than 4,000 into several messages.
        check.length("/text", text, 0, 4_000);
    }
    let said = text.and_then(Value::as_str).is_some_and(|t| !t.is_empty());
    if !said && blocks.is_none_or(Vec::is_empty) && attachments.is_none_or(Vec::is_empty) {
        check.problem("", "no text, no blocks and no attachments");
    }
    if message.get("blocks").is_some_and(|b| !b.is_array()) {
        check.problem("/blocks", NOT_A_LIST);
    }
    check.blocks("/blocks", blocks.map_or(&[], Vec::as_slice));
    check.count("/attachments", attachments.map_or(0, Vec::len), 0, 100);
    for (i, attachment) in attachments.into_iter().flatten().enumerate() {
        let blocks = attachment.get("blocks").and_then(Value::as_array);
        check.blocks(&format!("/attachments/{i}/blocks"), blocks.map_or(&[], Vec::as_slice));
    }
    check.found
}

#[derive(Default)]
struct Check {
    found: Vec<LimitProblem>,
    block_ids: HashSet<String>,
    action_ids: HashSet<String>,
    markdown_units: usize,
}

impl Check {
    fn problem(&mut self, path: &str, problem: impl Into<String>) {
        self.found.push(LimitProblem { path: path.to_owned(), problem: problem.into() });
    }

    fn count(&mut self, path: &str, count: usize, min: usize, max: usize) {
        if !(min..=max).contains(&count) {
            self.problem(path, format!("{count} elements, {min} to {max} allowed"));
        }
    }

    fn length(&mut self, path: &str, text: &Value, min: usize, max: usize) {
        match text.as_str().map(|t| t.encode_utf16().count()) {
            None => self.problem(path, "not a string"),
            Some(n) if n > max => self.problem(path, format!("{n} characters, at most {max}")),
            Some(n) if n < min => self.problem(path, format!("{n} characters, at least {min}")),
            Some(_) => {}
        }
    }

    /// A field that may be left out.
    fn optional(&mut self, path: &str, object: &Value, name: &str, max: usize) {
        if let Some(value) = object.get(name) {
            self.length(&format!("{path}/{name}"), value, 1, max);
        }
    }

    /// A text object that must be there, of one of the `kinds`.
    fn text(&mut self, path: &str, object: &Value, name: &str, kinds: &[&str], max: usize) {
        let path = format!("{path}/{name}");
        match object.get(name) {
            None | Some(Value::Null) => self.problem(&path, "missing"),
            Some(text) => self.text_object(&path, text, kinds, max),
        }
    }

    fn text_object(&mut self, path: &str, text: &Value, kinds: &[&str], max: usize) {
        let kind = text.get("type").and_then(Value::as_str).unwrap_or_default();
        if !kinds.contains(&kind) {
            self.problem(path, format!("type is {kind:?}, must be {}", kinds.join(" or ")));
        }
        let known: &[&str] =
            if kind == "mrkdwn" { &["type", "text", "verbatim"] } else { &["type", "text", "emoji"] };
        self.known(path, text, known);
        self.length(&format!("{path}/text"), text.get("text").unwrap_or(&Value::Null), 1, max);
    }

    /// Slack refuses fields that it does not know.
    fn known(&mut self, path: &str, object: &Value, fields: &[&str]) {
        for name in object.as_object().into_iter().flat_map(|o| o.keys()) {
            if !fields.contains(&name.as_str()) {
                self.problem(&format!("{path}/{name}"), "unknown field");
            }
        }
    }

    // ---- blocks -------------------------------------------------------------------------------------------

    fn blocks(&mut self, path: &str, blocks: &[Value]) {
        self.some_blocks(path, blocks, 0, 50);
    }

    fn some_blocks(&mut self, path: &str, blocks: &[Value], min: usize, max: usize) {
        self.count(path, blocks.len(), min, max);
        for (i, block) in blocks.iter().enumerate() {
            self.block(&format!("{path}/{i}"), block);
        }
    }

    fn block(&mut self, path: &str, block: &Value) {
        self.optional(path, block, "block_id", 255);
        if let Some(id) = block.get("block_id").and_then(Value::as_str)
            && !self.block_ids.insert(id.to_owned())
        {
            self.problem(&format!("{path}/block_id"), "not unique");
        }
        match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "header" => {
                self.known(path, block, &["type", "block_id", "text"]);
                self.text(path, block, "text", &["plain_text"], 150);
            }
            "section" => self.section(path, block),
            "divider" => self.known(path, block, &["type", "block_id"]),
            "context" => self.context(path, block),
            "actions" => self.actions(path, block),
            "image" => {
                self.length(
                    &format!("{path}/alt_text"),
                    block.get("alt_text").unwrap_or(&Value::Null),
                    1,
                    2_000,
                );
                self.optional(path, block, "image_url", 3_000);
            }
            "markdown" => {
                let text = block.get("text").unwrap_or(&Value::Null);
                self.length(&format!("{path}/text"), text, 1, 12_000);
                self.markdown_units += text.as_str().map_or(0, |t| t.encode_utf16().count());
                if self.markdown_units > 12_000 {
                    self.problem(path, "more than 12000 characters of markdown in one message");
                }
            }
            "input" => self.input(path, block),
            "rich_text" => self.known(path, block, &["type", "block_id", "elements"]),
            other => self.problem(&format!("{path}/type"), format!("unknown block type {other:?}")),
        }
    }

    fn section(&mut self, path: &str, block: &Value) {
        self.known(path, block, &["type", "block_id", "text", "fields", "accessory", "expand"]);
        let fields = block.get("fields").map(|f| f.as_array().map_or(&[][..], Vec::as_slice));
        if fields.is_none() || block.get("text").is_some() {
            self.text(path, block, "text", &["mrkdwn", "plain_text"], 3_000);
        }
        if let Some(fields) = fields {
            self.count(&format!("{path}/fields"), fields.len(), 1, 10);
            for (i, field) in fields.iter().enumerate() {
                self.text_object(&format!("{path}/fields/{i}"), field, &["mrkdwn", "plain_text"], 2_000);
            }
        }
        if let Some(accessory) = block.get("accessory") {
            self.element(&format!("{path}/accessory"), accessory);
        }
    }

    fn context(&mut self, path: &str, block: &Value) {
        self.known(path, block, &["type", "block_id", "elements"]);
        let elements = block.get("elements").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.count(&format!("{path}/elements"), elements.len(), 1, 10);
        for (i, element) in elements.iter().enumerate() {
            let path = format!("{path}/elements/{i}");
            if element.get("type").and_then(Value::as_str) == Some("image") {
                self.length(
                    &format!("{path}/alt_text"),
                    element.get("alt_text").unwrap_or(&Value::Null),
                    1,
                    2_000,
                );
            } else {
                self.text_object(&path, element, &["mrkdwn", "plain_text"], 3_000);
            }
        }
    }

    fn actions(&mut self, path: &str, block: &Value) {
        self.known(path, block, &["type", "block_id", "elements"]);
        let elements = block.get("elements").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.count(&format!("{path}/elements"), elements.len(), 1, 25);
        for (i, element) in elements.iter().enumerate() {
            self.element(&format!("{path}/elements/{i}"), element);
        }
    }

    // ---- elements -----------------------------------------------------------------------------------------

    fn element(&mut self, path: &str, element: &Value) {
        self.optional(path, element, "action_id", 255);
        if let Some(id) = element.get("action_id").and_then(Value::as_str)
            && !self.action_ids.insert(id.to_owned())
        {
            self.problem(&format!("{path}/action_id"), "not unique");
        }
        if let Some(confirm) = element.get("confirm") {
            self.confirm(&format!("{path}/confirm"), confirm);
        }
        match element.get("type").and_then(Value::as_str).unwrap_or_default() {
            "button" => self.button(path, element),
            "static_select" | "overflow" => self.options(path, element),
            "image"
            | "users_select"
            | "conversations_select"
            | "channels_select"
            | "external_select"
            | "datepicker"
            | "timepicker"
            | "checkboxes"
            | "radio_buttons" => {}
            other => self.problem(&format!("{path}/type"), format!("unknown element type {other:?}")),
        }
    }

    fn button(&mut self, path: &str, button: &Value) {
        let fields = ["type", "action_id", "text", "value", "url", "style", "confirm", "accessibility_label"];
        self.known(path, button, &fields);
        self.text(path, button, "text", &["plain_text"], 75);
        self.optional(path, button, "value", 2_000);
        self.optional(path, button, "url", 3_000);
        self.optional(path, button, "accessibility_label", 75);
        self.style(path, button);
    }

    fn style(&mut self, path: &str, object: &Value) {
        let style = object.get("style");
        if style.is_some_and(|s| !matches!(s.as_str(), Some("primary" | "danger"))) {
            self.problem(&format!("{path}/style"), "neither primary nor danger");
        }
    }

    fn confirm(&mut self, path: &str, confirm: &Value) {
        self.known(path, confirm, &["title", "text", "confirm", "deny", "style"]);
        self.text(path, confirm, "title", &["plain_text"], 100);
        self.text(path, confirm, "text", &["plain_text", "mrkdwn"], 300);
        self.text(path, confirm, "confirm", &["plain_text"], 30);
        self.text(path, confirm, "deny", &["plain_text"], 30);
        self.style(path, confirm);
    }

    fn options(&mut self, path: &str, element: &Value) {
        let max = if element.get("type").and_then(Value::as_str) == Some("overflow") { 5 } else { 100 };
        let options = element.get("options").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.count(&format!("{path}/options"), options.len(), 1, max);
        for (i, option) in options.iter().enumerate() {
            let path = format!("{path}/options/{i}");
            self.text(&path, option, "text", &["plain_text", "mrkdwn"], 75);
            // Documentation and type files differ between 150 and 75.
            self.optional(&path, option, "value", 75);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(blocks: Value, expect: &[&str]) {
        let problems = check_message(&json!({ "text": "x", "blocks": blocks }));
        assert_eq!(problems.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(), expect, "{problems:?}");
    }

    fn plain(length: usize) -> Value {
        json!({ "type": "plain_text", "text": "x".repeat(length) })
    }

    fn mrkdwn(length: usize) -> Value {
        json!({ "type": "mrkdwn", "text": "x".repeat(length) })
    }

    fn button(id: &str) -> Value {
        json!({ "type": "button", "action_id": id, "text": plain(1), "value": "v" })
    }

    #[test]
    fn each_text_is_good_at_its_limit_and_bad_beyond_it() {
        check(json!([{ "type": "header", "text": plain(150) }]), &[]);
        check(json!([{ "type": "header", "text": plain(151) }]), &["/blocks/0/text/text"]);
        check(json!([{ "type": "header", "text": mrkdwn(1) }]), &["/blocks/0/text"]);
        check(json!([{ "type": "section", "text": mrkdwn(3_000) }]), &[]);
        check(json!([{ "type": "section", "text": mrkdwn(3_001) }]), &["/blocks/0/text/text"]);
        check(json!([{ "type": "section", "text": mrkdwn(0) }]), &["/blocks/0/text/text"]);
        check(json!([{ "type": "section" }]), &["/blocks/0/text"]);
        check(json!([{ "type": "section", "fields": [mrkdwn(2_000)] }]), &[]);
        check(json!([{ "type": "section", "fields": [mrkdwn(2_001)] }]), &["/blocks/0/fields/0/text"]);
        check(
            json!([{ "type": "section", "text": {"type": "mrkdwn", "text": "😀".repeat(1_501)} }]),
            &["/blocks/0/text/text"],
        );
    }

    #[test]
    fn each_list_is_good_at_its_limit_and_bad_beyond_it() {
        let divider = json!({ "type": "divider" });
        check(json!(vec![divider.clone(); 50]), &[]);
        check(json!(vec![divider; 51]), &["/blocks"]);
        check(json!([{ "type": "section", "fields": vec![mrkdwn(1); 10] }]), &[]);
        check(json!([{ "type": "section", "fields": vec![mrkdwn(1); 11] }]), &["/blocks/0/fields"]);
        check(json!([{ "type": "context", "elements": vec![mrkdwn(1); 10] }]), &[]);
        check(json!([{ "type": "context", "elements": vec![mrkdwn(1); 11] }]), &["/blocks/0/elements"]);
        check(json!([{ "type": "context", "elements": [] }]), &["/blocks/0/elements"]);
        let buttons = |n: usize| (0..n).map(|i| button(&i.to_string())).collect::<Vec<_>>();
        check(json!([{ "type": "actions", "elements": buttons(25) }]), &[]);
        check(json!([{ "type": "actions", "elements": buttons(26) }]), &["/blocks/0/elements"]);
        check(json!([{ "type": "actions", "elements": [] }]), &["/blocks/0/elements"]);
    }

    #[test]
    fn buttons_and_confirmations_are_checked_part_by_part() {
        let with = |name: &str, value: Value| {
            let mut button = button("a");
            button[name] = value;
            json!([{ "type": "actions", "elements": [button] }])
        };
        let at = "/blocks/0/elements/0";
        check(with("text", plain(75)), &[]);
        check(with("text", plain(76)), &[&format!("{at}/text/text")]);
        check(with("value", json!("x".repeat(2_001))), &[&format!("{at}/value")]);
        check(with("style", json!("default")), &[&format!("{at}/style")]);
        check(with("colour", json!("red")), &[&format!("{at}/colour")]);
        let confirm = |title, text, yes, no| json!({ "title": plain(title), "text": plain(text), "confirm": plain(yes), "deny": plain(no) });
        check(with("confirm", confirm(100, 300, 30, 30)), &[]);
        let all = ["title", "text", "confirm", "deny"].map(|part| format!("{at}/confirm/{part}/text"));
        check(with("confirm", confirm(101, 301, 31, 31)), &all.each_ref().map(String::as_str));
        check(with("confirm", confirm(0, 0, 0, 0)), &all.each_ref().map(String::as_str));
    }

    #[test]
    fn ids_are_unique_within_a_message() {
        check(
            json!([{ "type": "actions", "elements": [button("a"), button("a")] }]),
            &["/blocks/0/elements/1/action_id"],
        );
        let divider = json!({ "type": "divider", "block_id": "b" });
        check(json!([divider, divider]), &["/blocks/1/block_id"]);
    }

    #[test]
    fn a_message_says_something_of_a_known_kind() {
        assert_eq!(check_message(&json!({ "text": "x" })), vec![]);
        assert_eq!(check_message(&json!({})).len(), 1);
        assert_eq!(check_message(&json!({ "text": "", "blocks": [] })).len(), 1);
        assert_eq!(check_message(&json!({ "text": "x".repeat(4_001) })).len(), 1);
        check(json!([{ "type": "blink" }]), &["/blocks/0/type"]);
        check(json!("x"), &["/blocks"]);
    }
}
