//! A card in plain words, for terminals and programs: its texts in their order, without markup. What was hostile stays
//! text that no screen should fear; buttons are left out, what they do can be typed.

use super::plain::clean;
use crate::message::{Block, Card, Span, Text};

/// A card's words, lines and all, without a newline at its end.
pub fn of(card: &Card) -> String {
    let blocks = card.blocks.iter().filter_map(block);
    let words = blocks.collect::<Vec<_>>().join("\n");
    if words.is_empty() { clean(&card.summary).into_owned() } else { words }
}

/// A block's words, where it has some.
fn block(block: &Block) -> Option<String> {
    let words = match block {
        Block::Title(title) => clean(title).into_owned(),
        Block::Text(text) | Block::Context(text) => self::text(text),
        Block::Log(log) => clean(log).into_owned(),
        Block::Fields(fields) => {
            let line = |(label, value): &(String, Text)| format!("{}: {}", clean(label), text(value));
            fields.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Block::Buttons(_) | Block::Divider => return None,
    };
    let words = words.trim_end();
    (!words.is_empty()).then(|| words.to_owned())
}

fn text(text: &Text) -> String {
    text.0.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(text) | Span::Bold(text) | Span::Code(text) => clean(text).into_owned(),
        Span::Link { url, label } if label.is_empty() || label == url => clean(url).into_owned(),
        Span::Link { url, label } => format!("{} ({})", clean(label), clean(url)),
        Span::Run(run) => run.label(),
        Span::Mention(actor) => clean(actor.shown()).into_owned(),
        Span::Time(at) => at.to_minute(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Actor, Platform};
    use crate::clock::Timestamp;

    #[test]
    fn a_card_is_its_lines() {
        let li = Actor { platform: Platform::Slack, id: "U1".into(), team: "T1".into(), name: "Li".into() };
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        let link = |url: &str, label: &str| Span::Link { url: url.into(), label: label.into() };
        let blocks = vec![
            Block::Title("#42 socA".into()),
            Block::Text(Text(vec![
                Span::Bold("Held".into()),
                Span::Plain(" by ".into()),
                Span::Mention(li),
                Span::Plain(" until ".into()),
                Span::Time(at),
            ])),
            Block::Divider,
            Block::Fields(vec![
                ("Board".into(), Text::plain("soc-a-001")),
                ("Log".into(), Text(vec![link("https://lab.example/l", "open")])),
            ]),
            Block::Log("one\n\u{1b}[31mtwo\u{1b}[0m\u{202e}\n".into()),
            Block::Context(Text(vec![link("https://lab.example", "https://lab.example")])),
            Block::Text(Text::plain(" ")),
        ];
        let words = of(&Card { blocks, ..Card::default() });
        assert_eq!(
            words,
            "#42 socA\nHeld by Li until 2027-01-15 08:00 UTC\nBoard: soc-a-001\nLog: open (https://lab.example/l)\n\
             one\ntwo\nhttps://lab.example"
        );
        let bare = Card { summary: "it is\u{7} so".into(), ..Card::default() };
        assert_eq!(of(&bare), "it is so");
    }
}
