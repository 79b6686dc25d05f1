//! Frames of Socket Mode: what Slack says over the socket, and how an envelope is acknowledged. Pure; what an envelope
//! carries is taken apart by `decode`, as if the webhook had got it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::chat::slack::decode::{Carried, DecodeProblem};

/// What Slack says.
#[derive(Debug)]
pub enum Frame {
    /// The connection is ready: envelopes come from now on.
    Hello {
        /// How many connections this app has with it.
        connections: u64,
    },
    /// Somebody wants something.
    Envelope(Envelope),
    /// The connection ends, or will.
    Disconnect(Reason),
    /// Nothing for us.
    Other,
}

/// A delivery over the socket.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// What it is acknowledged by.
    pub id: String,
    /// What it carries; nothing when Slack has something new.
    pub carried: Option<Carried>,
    /// Whether the acknowledgement may hold an answer.
    pub takes_answer: bool,
    /// What the webhook would have got, as JSON.
    pub payload: Box<RawValue>,
    /// How often Slack has sent it before; 0 also for repeats sometimes, so nothing depends on it.
    pub retry: u64,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Slack wants another one in its place, and gives some seconds for that.
    Refresh,
    /// Socket Mode was turned off.
    LinkDisabled,
    /// The app has more connections than it may have.
    TooMany,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    envelope_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    // Of whatever type: nothing but the log and the shape of an acknowledgement depends on these.
    #[serde(default)]
    num_connections: Value,
    #[serde(default)]
    accepts_response_payload: Value,
    #[serde(default)]
    retry_attempt: Value,
}

/// What a text of Slack says.
pub fn read(text: &str) -> Result<Frame, DecodeProblem> {
    // As Slack's own clients do: a text that is no object is small talk.
    if !text.starts_with('{') {
        return Ok(Frame::Other);
    }
    let problem = |e: serde_json::Error| DecodeProblem::Json { line: e.line(), column: e.column() };
    let raw: Raw<'_> = serde_json::from_str(text).map_err(problem)?;
    let Some(id) = raw.envelope_id.filter(|id| !id.is_empty()) else {
        return Ok(match raw.kind.as_deref() {
            Some("hello") => Frame::Hello { connections: raw.num_connections.as_u64().unwrap_or(1) },
            Some("disconnect") => Frame::Disconnect(reason(raw.reason.as_deref())),
            Some(_) | None => Frame::Other,
        });
    };
    let carried = match raw.kind.as_deref() {
        Some("slash_commands") => Some(Carried::SlashCommand),
        Some("interactive") => Some(Carried::Interaction),
        Some("events_api") => Some(Carried::Event),
        Some(_) | None => None,
    };
    Ok(Frame::Envelope(Envelope {
        id: id.into_owned(),
        carried,
        takes_answer: raw.accepts_response_payload == true,
        payload: raw.payload.ok_or(DecodeProblem::Missing("payload"))?.to_owned(),
        retry: raw.retry_attempt.as_u64().unwrap_or(0),
    }))
}

/// A reason that we do not know ends the connection as well: another one is needed.
fn reason(word: Option<&str>) -> Reason {
    match word {
        Some("link_disabled") => Reason::LinkDisabled,
        Some("too_many_websockets") => Reason::TooMany,
        Some(_) | None => Reason::Refresh,
    }
}

/// The acknowledgement of an envelope.
pub fn ack(id: &str, answer: Option<Value>) -> String {
    match answer {
        Some(answer) => json!({ "envelope_id": id, "payload": answer }),
        None => json!({ "envelope_id": id }),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn envelope(text: &str) -> Envelope {
        match read(text) {
            Ok(Frame::Envelope(envelope)) => envelope,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hello_tells_how_many_connections_there_are() {
        let connections = |text: &str| match read(text) {
            Ok(Frame::Hello { connections }) => connections,
            other => panic!("{other:?}"),
        };
        let whole = r#"{"type":"hello","num_connections":2,"connection_info":{"app_id":"A1"},
            "debug_info":{"host":"applink-1","started":"2026-01-01","build_number":5,"approximate_connection_time":18060}}"#;
        assert_eq!(connections(whole), 2);
        assert_eq!(connections(r#"{"type":"hello"}"#), 1);
        assert_eq!(connections(r#"{"type":"hello","num_connections":"many"}"#), 1);
    }

    #[test]
    fn an_envelope_keeps_its_payload_as_it_is() {
        let text = r#"{"envelope_id":"e-1","type":"slash_commands","accepts_response_payload":true,
            "payload":{"command":"/lab", "n": 1.50},"retry_attempt":2,"retry_reason":"timeout"}"#;
        let slash = envelope(text);
        assert_eq!((slash.id.as_str(), slash.carried, slash.retry), ("e-1", Some(Carried::SlashCommand), 2));
        assert_eq!((slash.takes_answer, slash.payload.get()), (true, r#"{"command":"/lab", "n": 1.50}"#));
        let event = envelope(r#"{"envelope_id":"e","type":"events_api","payload":{}}"#);
        assert_eq!((event.carried, event.takes_answer, event.retry), (Some(Carried::Event), false, 0));
        let click = envelope(r#"{"envelope_id":"e","type":"interactive","payload":{}}"#);
        assert_eq!(click.carried, Some(Carried::Interaction));
        assert_eq!(envelope(r#"{"envelope_id":"e","type":"novelty","payload":[]}"#).carried, None);
    }

    #[test]
    fn a_disconnect_tells_why_and_an_unknown_why_is_a_refresh() {
        let check = |reason: &str, expect: Reason| match read(reason) {
            Ok(Frame::Disconnect(reason)) => assert_eq!(reason, expect),
            other => panic!("{other:?}"),
        };
        check(r#"{"type":"disconnect","reason":"warning","debug_info":{"host":"h"}}"#, Reason::Refresh);
        check(r#"{"type":"disconnect","reason":"refresh_requested"}"#, Reason::Refresh);
        check(r#"{"type":"disconnect","reason":"link_disabled"}"#, Reason::LinkDisabled);
        check(r#"{"type":"disconnect","reason":"too_many_websockets"}"#, Reason::TooMany);
        check(r#"{"type":"disconnect"}"#, Reason::Refresh);
    }

    #[test]
    fn what_is_no_frame_of_slack_is_left_alone_or_told() {
        for other in
            ["", "Ping from applink-1", "[1]", "{}", r#"{"type":"goodbye"}"#, r#"{"envelope_id":""}"#]
        {
            assert!(matches!(read(other), Ok(Frame::Other)), "{other}");
        }
        for broken in ["{", "{\"type\":", r#"{"type":7}"#, r#"{"envelope_id":"e","type":"x"}"#] {
            assert!(read(broken).is_err(), "{broken}");
        }
        let deep = format!(
            r#"{{"envelope_id":"e","type":"events_api","payload":{}1{}}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        assert_eq!(envelope(&deep).payload.get().len(), 100_001);
    }

    #[test]
    fn an_acknowledgement_has_a_payload_only_where_there_is_one() {
        assert_eq!(ack("e-1", None), r#"{"envelope_id":"e-1"}"#);
        assert_eq!(
            ack("e\"", Some(json!({"text": "hi"}))),
            r#"{"envelope_id":"e\"","payload":{"text":"hi"}}"#
        );
    }
}
