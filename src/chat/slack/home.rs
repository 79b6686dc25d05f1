//! The app's Home, which somebody sees who opens it: one card without buttons of its own, and the one that opens the form.
//! Pure.

use serde_json::{Value, json};

use super::blocks;
use super::form::RUN_FORM;
use crate::message::{Block, Card};

/// Blocks of a Home, the button among them.
const BLOCKS_MAX: usize = 100;

/// The view: `views.publish`' argument. A card's buttons belong to its message, and there is none here.
pub fn render(cards: Vec<Card>, run: &str) -> Value {
    let mut whole = Card { blocks: vec![], ..cards.first().cloned().unwrap_or_default() };
    for card in cards {
        if !whole.blocks.is_empty() {
            whole.blocks.push(Block::Divider);
        }
        whole.blocks.extend(card.blocks.into_iter().filter(|block| !matches!(block, Block::Buttons(_))));
    }
    let mut blocks = blocks::render_within(&whole, BLOCKS_MAX - 1)["blocks"].take();
    let button = json!({
        "type": "button", "action_id": RUN_FORM, "value": RUN_FORM, "style": "primary",
        "text": { "type": "plain_text", "text": run },
    });
    if let Some(blocks) = blocks.as_array_mut() {
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    json!({ "type": "home", "blocks": blocks })
}
