//! Slack's limits on modals and on the Home tab, and on the fields in them.

use serde_json::Value;

use super::{Check, LimitProblem};

/// The path of a problem with a view as a whole.
pub const WHOLE: &str = "/view";
/// Longest view, in bytes.
const VIEW_BYTES_MAX: usize = 250_000;
/// Blocks of a view.
const BLOCKS_MAX: usize = 100;

/// Everything in a view that Slack would refuse; `kind` is what the method takes, `modal` or `home`.
pub fn check_view(view: &Value, kind: &str) -> Vec<LimitProblem> {
    let mut check = Check::default();
    if view["type"] != kind {
        check.problem("/type", format!("must be {kind}"));
    }
    if view.to_string().len() > VIEW_BYTES_MAX {
        check.problem(WHOLE, format!("over {VIEW_BYTES_MAX} bytes"));
    }
    let mut fields = vec!["type", "blocks", "private_metadata", "callback_id", "external_id"];
    if kind == "modal" {
        fields.extend(["title", "submit", "close", "clear_on_close", "notify_on_close", "submit_disabled"]);
        check.text("", view, "title", &["plain_text"], 24);
        for part in ["submit", "close"].into_iter().filter(|part| view.get(part).is_some()) {
            check.text("", view, part, &["plain_text"], 24);
        }
    }
    check.known("", view, &fields);
    check.optional("", view, "callback_id", 255);
    check.optional("", view, "external_id", 255);
    if let Some(metadata) = view.get("private_metadata") {
        check.length("/private_metadata", metadata, 0, 3_000);
    }
    let blocks = view["blocks"].as_array().map_or(&[][..], Vec::as_slice);
    check.some_blocks("/blocks", blocks, 1, BLOCKS_MAX);
    let asks = blocks.iter().any(|block| block["type"] == "input");
    if kind == "modal" && asks && view.get("submit").is_none() {
        check.problem("/submit", "missing, though there is something to fill in");
    }
    check.found
}

impl Check {
    /// A field with its label.
    pub(super) fn input(&mut self, path: &str, block: &Value) {
        self.known(
            path,
            block,
            &["type", "block_id", "label", "element", "hint", "optional", "dispatch_action"],
        );
        self.text(path, block, "label", &["plain_text"], 2_000);
        if block.get("hint").is_some() {
            self.text(path, block, "hint", &["plain_text"], 2_000);
        }
        let (path, element) = (format!("{path}/element"), &block["element"]);
        // Unique within their block, and every input block has but one.
        self.optional(&path, element, "action_id", 255);
        let mut fields = vec!["type", "action_id", "placeholder", "focus_on_load"];
        match element["type"].as_str().unwrap_or_default() {
            "plain_text_input" => {
                fields.extend(["initial_value", "multiline", "min_length", "max_length"]);
                let max = element["max_length"].as_u64().unwrap_or(3_000) as usize;
                self.within(&path, element, "max_length", 1, 3_000);
                self.within(&path, element, "min_length", 0, 3_000);
                if let Some(initial) = element.get("initial_value") {
                    self.length(&format!("{path}/initial_value"), initial, 0, max);
                }
            }
            "number_input" => {
                fields.extend(["is_decimal_allowed", "initial_value", "min_value", "max_value"]);
                self.number(&path, element);
            }
            "static_select" => {
                fields.extend(["options", "option_groups", "initial_option"]);
                self.select(&path, element);
            }
            "conversations_select" => fields.extend([
                "initial_conversation",
                "default_to_current_conversation",
                "response_url_enabled",
                "filter",
            ]),
            other => self.problem(&format!("{path}/type"), format!("unknown element type {other:?}")),
        }
        self.known(&path, element, &fields);
        if element.get("placeholder").is_some() {
            self.text(&path, element, "placeholder", &["plain_text"], 150);
        }
    }

    fn within(&mut self, path: &str, element: &Value, name: &str, min: u64, max: u64) {
        let value = element.get(name);
        if value.is_some_and(|value| value.as_u64().is_none_or(|value| !(min..=max).contains(&value))) {
            self.problem(&format!("{path}/{name}"), format!("must be {min} to {max}"));
        }
    }

    fn number(&mut self, path: &str, element: &Value) {
        if !element["is_decimal_allowed"].is_boolean() {
            self.problem(&format!("{path}/is_decimal_allowed"), "missing");
        }
        let bounds = ["min_value", "max_value", "initial_value"].map(|name| {
            let value = element.get(name)?;
            let number = value.as_str().and_then(|value| value.parse::<i64>().ok());
            if number.is_none() {
                self.problem(&format!("{path}/{name}"), "not a number in a string");
            }
            number
        });
        let [min, max, initial] = bounds;
        let low = min.zip(initial).is_some_and(|(min, initial)| initial < min);
        let high = max.zip(initial).is_some_and(|(max, initial)| initial > max);
        if low || high || min.zip(max).is_some_and(|(min, max)| min > max) {
            self.problem(path, "bounds and what stands there at first do not fit each other");
        }
    }

    fn select(&mut self, path: &str, element: &Value) {
        let mut all = Vec::new();
        match (element.get("options"), element.get("option_groups")) {
            (Some(options), None) => {
                self.options(path, element);
                all.extend(options.as_array().into_iter().flatten());
            }
            (None, Some(groups)) => {
                let groups = groups.as_array().map_or(&[][..], Vec::as_slice);
                self.count(&format!("{path}/option_groups"), groups.len(), 1, 100);
                for (i, group) in groups.iter().enumerate() {
                    let path = format!("{path}/option_groups/{i}");
                    self.text(&path, group, "label", &["plain_text"], 75);
                    self.options(&path, group);
                    all.extend(group["options"].as_array().into_iter().flatten());
                }
            }
            _ => self.problem(path, "needs options or option_groups, and not both"),
        }
        if element.get("initial_option").is_some_and(|initial| !all.contains(&initial)) {
            self.problem(&format!("{path}/initial_option"), "is none of the options");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(length: usize) -> Value {
        json!({ "type": "plain_text", "text": "x".repeat(length) })
    }

    fn modal(element: Value) -> Value {
        json!({ "type": "modal", "title": plain(24), "submit": plain(24), "close": plain(24),
            "private_metadata": "x".repeat(3_000), "callback_id": "x".repeat(255),
            "blocks": [{ "type": "input", "block_id": "b", "label": plain(2_000), "element": element }] })
    }

    #[track_caller]
    fn check(view: &Value, expect: &[&str]) {
        let problems = check_view(view, "modal");
        assert_eq!(problems.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(), expect, "{problems:?}");
    }

    fn text() -> Value {
        json!({ "type": "plain_text_input", "action_id": "a", "max_length": 3_000 })
    }

    #[test]
    fn a_modal_is_good_at_its_limits_and_bad_beyond_them() {
        check(&modal(text()), &[]);
        let with = |name: &str, value: Value| {
            let mut view = modal(text());
            view[name] = value;
            view
        };
        check(&with("title", plain(25)), &["/title/text"]);
        check(&with("private_metadata", json!("x".repeat(3_001))), &["/private_metadata"]);
        check(&with("callback_id", json!("x".repeat(256))), &["/callback_id"]);
        check(&with("colour", json!("red")), &["/colour"]);
        check(&with("blocks", json!([])), &["/blocks"]);
        check(&with("type", json!("home")), &["/type"]);
        let blocks = |n: usize| json!(vec![json!({ "type": "divider" }); n]);
        check(&with("blocks", blocks(100)), &[]);
        check(&with("blocks", blocks(101)), &["/blocks"]);
        let mut unsubmitted = modal(text());
        unsubmitted.as_object_mut().expect("an object").remove("submit");
        check(&unsubmitted, &["/submit"]);
        let section = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "x".repeat(3_000) } });
        check(&with("blocks", json!(vec![section; 90])), &[WHOLE]);
    }

    #[test]
    fn fields_are_checked_part_by_part() {
        let at = "/blocks/0/element";
        let options = |n: usize, length: usize| {
            json!(
                (0..n).map(|n| json!({ "text": plain(length), "value": n.to_string() })).collect::<Vec<_>>()
            )
        };
        let select =
            |options: Value| json!({ "type": "static_select", "action_id": "a", "options": options });
        check(&modal(select(options(100, 75))), &[]);
        check(&modal(select(options(101, 1))), &[&format!("{at}/options")]);
        check(&modal(select(options(1, 76))), &[&format!("{at}/options/0/text/text")]);
        let mut other = select(options(2, 1));
        other["initial_option"] = json!({ "text": plain(1), "value": "7" });
        check(&modal(other), &[&format!("{at}/initial_option")]);
        let number = |min: &str, initial: &str| json!({ "type": "number_input", "is_decimal_allowed": false, "min_value": min, "initial_value": initial });
        check(&modal(number("1", "1")), &[]);
        check(&modal(number("2", "1")), &[at]);
        check(&modal(number("x", "1")), &[&format!("{at}/min_value")]);
        check(&modal(json!({ "type": "blink" })), &[&format!("{at}/type")]);
        let mut long = text();
        long["max_length"] = json!(3_001);
        check(&modal(long), &[&format!("{at}/max_length")]);
    }
}
