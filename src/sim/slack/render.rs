//! A message as a person reads it, in plain text: blocks flattened, buttons in brackets. For snapshots of threads.

use serde_json::Value;

use super::model::{Message, World};

/// A thread, a message a paragraph, each with its author.
pub(super) fn messages<'m>(world: &World, messages: impl Iterator<Item = &'m Message>) -> String {
    let mut out = String::new();
    for message in messages {
        let mut body = body(&message.text, &message.blocks, &message.attachments);
        for file in message.files.as_array().into_iter().flatten() {
            body.push_str(&format!("\n📎 {}", file["name"].as_str().unwrap_or_default()));
        }
        let name = world.name_of(&message.user);
        out.push_str(&format!("{name}: {}\n", readable(&body, world).replace('\n', "\n  ")));
    }
    out
}

/// The text of one message: its blocks where it has some, else its text.
pub(super) fn body(text: &str, blocks: &Value, attachments: &Value) -> String {
    let mut lines = Vec::new();
    lines.extend(blocks.as_array().into_iter().flatten().filter_map(block));
    for attachment in attachments.as_array().into_iter().flatten() {
        lines.extend(attachment["blocks"].as_array().into_iter().flatten().filter_map(block));
    }
    if lines.is_empty() { text.to_owned() } else { lines.join("\n") }
}

fn text_of(value: &Value) -> &str {
    value["text"].as_str().or_else(|| value.as_str()).unwrap_or("")
}

fn block(block: &Value) -> Option<String> {
    let list = |key: &str| block[key].as_array().into_iter().flatten();
    match block["type"].as_str()? {
        "divider" => Some("---".to_owned()),
        "section" => {
            let mut lines = Vec::new();
            if !block["text"].is_null() {
                lines.push(text_of(&block["text"]).to_owned());
            }
            // A field is a bold label over its value: one line reads better.
            lines.extend(list("fields").map(|field| text_of(field).replacen('\n', " ", 1)));
            Some(lines.join("\n"))
        }
        "context" => Some(list("elements").map(text_of).collect::<Vec<_>>().join(" ")),
        "actions" => {
            let buttons: Vec<String> =
                list("elements").map(|part| format!("[{}]", text_of(&part["text"]))).collect();
            Some(buttons.join(" "))
        }
        "markdown" => block["text"].as_str().map(str::to_owned),
        _ => Some(text_of(&block["text"]).to_owned()),
    }
}

/// Takes Slack's markup out: `<@U1>` becomes `@alice`, `<url|label>` its label, entities their characters.
pub(super) fn readable(text: &str, world: &World) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let Some(end) = rest[start..].find('>') else { break };
        out.push_str(&rest[..start]);
        let inner = &rest[start + 1..start + end];
        let (target, label) =
            inner.split_once('|').map_or((inner, None), |(target, label)| (target, Some(label)));
        match target.chars().next() {
            Some('@') => out.push_str(&format!("@{}", world.name_of(&target[1..]))),
            Some('#') => {
                let name = world.channels.get(&target[1..]).map_or(&target[1..], |channel| &channel.name);
                out.push_str(&format!("#{name}"));
            }
            Some('!') => out.push_str(label.unwrap_or(&format!("@{}", &target[1..]))),
            _ => out.push_str(label.unwrap_or(target)),
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(blocks: Value, expect: &str) {
        let text = body("fallback", &blocks, &Value::Null);
        assert_eq!(readable(&text, &World::new()), expect);
    }

    #[test]
    fn a_card_reads_as_lines() {
        check(
            json!([
                {"type": "header", "text": {"type": "plain_text", "text": "#42 socA"}},
                {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Board*\na-1"}, {"type": "mrkdwn", "text": "*By*\n<@U0ALICE>"}]},
                {"type": "divider"},
                {"type": "actions", "elements": [{"text": {"text": "Retry"}}, {"text": {"text": "Cancel"}}]},
            ]),
            "#42 socA\n*Board* a-1\n*By* @alice\n---\n[Retry] [Cancel]",
        );
    }

    #[test]
    fn markup_reads_as_its_label() {
        check(json!([]), "fallback");
        check(
            json!([{"type": "section", "text": {"text": "<https://a.b|log> <!date^1^{date}|today> <#C0SOCCI> 1 &lt; 2 < 3"}}]),
            "log today #soc-ci 1 < 2 < 3",
        );
    }
}
