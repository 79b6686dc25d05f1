//! Whether Slack takes a message, and with which error code it refuses one: the limits of [`limits`](super::limits) in
//! Slack's own words, and those of metadata. Pure.

use serde_json::Value;

use super::limits::{self, LimitProblem};

/// Longest metadata, in bytes.
const METADATA_BYTES_MAX: usize = 16_000;

/// Why Slack refuses a message: its error code, and what is wrong where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `invalid_blocks`.
    pub code: &'static str,
    /// Such as `/blocks/2/text: 3001 characters, at most 3000`.
    pub detail: String,
}

/// Checks the parts of a message that the app wrote.
pub fn check_message(message: &Value) -> Result<(), Refusal> {
    if let Some(problem) = limits::check_message(message).first() {
        return Err(Refusal { code: code(problem), detail: problem.to_string() });
    }
    let refused = |code, detail: String| Err(Refusal { code, detail });
    let metadata = &message["metadata"];
    if metadata.is_null() {
        return Ok(());
    }
    if !metadata["event_type"].is_string() || !metadata["event_payload"].is_object() {
        return refused("invalid_metadata_format", "event_type or event_payload".into());
    }
    if metadata.to_string().len() > METADATA_BYTES_MAX {
        return refused("metadata_too_large", format!("over {METADATA_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// What Slack calls it.
fn code(problem: &LimitProblem) -> &'static str {
    match problem.path.as_str() {
        "" => "no_text",
        "/text" => "msg_too_long",
        "/blocks" if problem.problem == limits::NOT_A_LIST => "invalid_blocks_format",
        "/attachments" => "too_many_attachments",
        _ => "invalid_blocks",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(message: Value, expect: Result<(), &str>) {
        let got = check_message(&message).map_err(|refusal| refusal.code);
        assert_eq!(got, expect, "{message}");
    }

    #[test]
    fn what_is_no_message_has_slacks_own_code() {
        let section = json!({"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(3001)}});
        check(json!({"text": "a"}), Ok(()));
        check(json!({}), Err("no_text"));
        check(json!({"text": "x".repeat(4_001)}), Err("msg_too_long"));
        check(json!({"text": "a", "blocks": {}}), Err("invalid_blocks_format"));
        check(json!({"text": "a", "blocks": [section]}), Err("invalid_blocks"));
        check(json!({"text": "a", "blocks": vec![json!({"type": "divider"}); 51]}), Err("invalid_blocks"));
        check(json!({"blocks": [{"type": "nonsense"}]}), Err("invalid_blocks"));
        check(json!({"text": "a", "attachments": vec![json!({}); 101]}), Err("too_many_attachments"));
        check(json!({"text": "a", "metadata": {"event_type": 1}}), Err("invalid_metadata_format"));
        let long = json!({"event_type": "t", "event_payload": {"x": "x".repeat(METADATA_BYTES_MAX)}});
        check(json!({"text": "a", "metadata": long}), Err("metadata_too_large"));
    }
}
