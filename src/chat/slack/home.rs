//! The app's Home, which somebody sees who opens it: one card without buttons of its own, and the one that opens the form.
//! Pure.

use serde_json::{Value, json};

use super::blocks;
use super::form::RUN_FORM;
use crate::message::{Block, Card};

/// Blocks of a Home, the button among them.
const BLOCKS_MAX: usize = 100;

/// The view: `views.publish`' argument. A card's buttons belong to its message, and there is none here. The one that opens
/// the form stands behind the first card, where nobody has to look for it.
pub fn render(cards: Vec<Card>, run: &str) -> Value {
    let button = json!({
        "type": "button", "action_id": RUN_FORM, "value": RUN_FORM, "style": "primary",
        "text": { "type": "plain_text", "text": run },
    });
    let mut cards = cards.into_iter();
    let mut blocks = cards.next().map(|first| drawn(vec![], first)).unwrap_or_default();
    blocks.push(json!({ "type": "actions", "elements": [button] }));
    for card in cards {
        blocks = drawn(blocks, card);
    }
    json!({ "type": "home", "blocks": blocks })
}

/// These blocks and a card's, as many as there may be.
fn drawn(mut blocks: Vec<Value>, card: Card) -> Vec<Value> {
    let is_shown = |block: &Block| !matches!(block, Block::Buttons(_));
    let divided = if blocks.is_empty() { None } else { Some(Block::Divider) };
    let shown = divided.into_iter().chain(card.blocks.into_iter().filter(is_shown)).collect();
    // A part says itself how much of it is left out; one more block is the button.
    let room = BLOCKS_MAX.saturating_sub(blocks.len() + 1);
    if room > 1 {
        let card = Card { blocks: shown, ..card };
        blocks.extend(blocks::render_within(&card, room)["blocks"].as_array().cloned().unwrap_or_default());
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Text;
    use crate::sim::slack::limits::check_view;

    #[test]
    fn however_long_a_home_is_slack_takes_it() {
        let card = |count: usize| Card {
            blocks: (0..count).map(|n| Block::Text(Text::plain(format!("line {n}")))).collect(),
            ..Card::default()
        };
        for counts in
            [vec![], vec![1, 0], vec![3, 40, 40, 40], vec![300, 300], vec![97, 1, 1], vec![98], vec![99, 5]]
        {
            let view = render(counts.iter().map(|count| card(*count)).collect(), "Run a test");
            assert_eq!(check_view(&view, "home"), [], "{counts:?}");
            assert!(view.to_string().contains("Run a test"), "{counts:?}");
        }
    }
}
