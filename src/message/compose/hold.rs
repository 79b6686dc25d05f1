//! Facts of a board that somebody has as their own, for every message about it.

use serde_json::{Value, json};

use crate::board::{Board, BoardId};
use crate::chat::Actor;
use crate::clock::Timestamp;

/// A board as its holder reads of it: what it is and how it is reached, whose it is, until when and what for. One that
/// left boards.yaml has its name only.
pub fn hold_facts(id: &BoardId, board: Option<&Board>, by: &Actor, until: Timestamp, reason: &str) -> Value {
    json!({
        "board": id,
        "family": board.map(|board| &board.family),
        "site": board.map(|board| &board.site),
        "console": board.map(|board| format!("{}:{}", board.console.host, board.console.port)),
        "has_switch": board.is_some_and(|board| board.power.has_switch()),
        "by": by,
        "until": until,
        "reason": reason,
    })
}
