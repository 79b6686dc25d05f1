//! Any card becomes a message within Slack's limits, and hostile text stays text.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;
use crate::command::{Click, Verb};
use crate::message::{Span, Tone};
use crate::sim::slack::limits::check_message;

fn card(blocks: Vec<Block>) -> Card {
    Card { summary: "a summary".into(), tone: Tone::Neutral, blocks }
}

fn a_button(label: &str, confirm: Option<Confirm>) -> Button {
    let click = Click { verb: Verb::Cancel, run: 42, generation: 7, at: None, board: None };
    Button { label: label.into(), click, style: ButtonStyle::Danger, confirm }
}

/// The drawn blocks, after checking the limits.
#[track_caller]
fn drawn(blocks: Vec<Block>) -> Vec<Value> {
    let message = render(&card(blocks));
    assert_eq!(check_message(&message), vec![], "{message:#}");
    message["blocks"].as_array().expect("blocks").clone()
}

#[track_caller]
fn log_text(log: &str) -> String {
    drawn(vec![Block::Log(log.into())])[0]["text"]["text"].as_str().expect("text").to_owned()
}

#[test]
fn a_small_card_is_drawn_block_by_block() {
    let blocks = drawn(vec![
        Block::Title("#42 socA".into()),
        Block::Fields(vec![("Board".into(), Text::plain("soc-a-001"))]),
        Block::Divider,
        Block::Buttons(vec![a_button("Cancel", None)]),
    ]);
    let expect = json!([
        {"type": "header", "text": {"type": "plain_text", "text": "#42 socA", "emoji": true}},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Board*\nsoc-a-001", "verbatim": true}]},
        {"type": "divider"},
        {"type": "actions", "elements": [{
            "type": "button", "action_id": "cancel", "value": "cancel:42:7", "style": "danger",
            "text": {"type": "plain_text", "text": "Cancel", "emoji": true},
        }]},
    ]);
    assert_eq!(Value::from(blocks), expect);
}

#[test]
fn a_card_without_blocks_shows_its_summary() {
    assert_eq!(drawn(vec![])[0]["text"]["text"], "a summary");
    let nothing = render(&Card::default());
    assert_eq!(check_message(&nothing), vec![]);
    assert_eq!(nothing["text"], "…");
}

#[test]
fn a_summary_cannot_ping() {
    let message = render(&Card { summary: "<!channel>\nx".into(), ..Card::default() });
    assert_eq!(message["text"], "&lt;!channel&gt; x");
}

#[test]
fn a_log_is_fenced_and_cannot_break_out() {
    assert_eq!(
        log_text("a\n```\n<!channel> & `x`\n"),
        "```\na\n`\u{200b}``\n&lt;!channel&gt; &amp; `x`\n```"
    );
    assert_eq!(log_text("\u{1b}[31mred\u{1b}[0m\r\r\n10%\r20%\r\ndone"), "```\nred\n20%\ndone\n```");
    assert!(!log_text(&"`".repeat(1_000)).trim_matches('`').contains("```"));
}

#[test]
fn a_long_log_says_how_many_lines_are_left() {
    let log: String = (0..1_274).map(|n| format!("line {n}\n")).collect();
    let text = log_text(&log);
    assert!(text.starts_with("```\nline 0\n") && text.ends_with("line 39\n… +1,234\n```"), "{text}");
    let text = log_text(&format!("{}\nlast", "x".repeat(10_000)));
    assert!(text.ends_with("…\nlast\n```"), "{text}");
}

#[test]
fn a_blank_log_is_not_drawn() {
    assert_eq!(drawn(vec![Block::Log(" \n\r\n\u{1b}[0m".into()), Block::Divider]).len(), 1);
}

#[test]
fn a_long_paragraph_becomes_sections_and_says_what_is_missing() {
    let text: String = (0..2_000).map(|n| format!("board {n:04}\n")).collect();
    let blocks = drawn(vec![Block::Text(Text::plain(text))]);
    assert_eq!(blocks.len(), TEXT_SECTIONS_MAX + 1);
    assert_eq!(blocks[4]["elements"][0]["text"], "… +912");
}

#[test]
fn fields_come_ten_to_a_section_and_empty_ones_show_a_dash() {
    let fields = (0..23).map(|n| (format!("f{n}"), Text::default())).collect();
    let blocks = drawn(vec![Block::Fields(fields)]);
    assert_eq!(
        blocks.iter().map(|b| b["fields"].as_array().map_or(0, Vec::len)).collect::<Vec<_>>(),
        [10, 10, 3]
    );
    assert_eq!(blocks[0]["fields"][0]["text"], "*f0*\n–");
}

#[test]
fn buttons_keep_their_limits_and_have_their_own_ids() {
    let long = "x<&>".repeat(200);
    let confirm = Confirm { title: long.clone(), text: long.clone(), yes: long.clone(), no: String::new() };
    let blocks =
        drawn(vec![Block::Buttons((0..60).map(|_| a_button(&long, Some(confirm.clone()))).collect())]);
    assert_eq!(blocks.len(), 3);
    assert_eq!(blocks[0]["elements"][1]["action_id"], "cancel-2");
    let empty = drawn(vec![Block::Buttons(vec![a_button("\u{7}", None)])]);
    assert_eq!(empty[0]["elements"][0]["text"]["text"], "cancel");
}

#[test]
fn blocks_over_the_limit_are_counted() {
    assert_eq!(drawn(vec![Block::Divider; 50]).len(), 50);
    let blocks = drawn(vec![Block::Divider; 1_050]);
    assert_eq!((blocks.len(), &blocks[49]["elements"][0]["text"]), (50, &json!("… +1,001")));
}

fn hostile() -> impl Strategy<Value = String> {
    let bits = prop_oneof![
        any::<String>(),
        Just("<!channel>".to_owned()),
        Just("```".to_owned()),
        Just("*_~`".to_owned()),
        Just("\u{1b}[31m\r\n\u{0}".to_owned()),
        Just("& < >".to_owned()),
        Just("😀\u{202e}é\n".to_owned()),
        (1..900usize).prop_map(|n| "&a ".repeat(n)),
        (1..200usize).prop_map(|n| "line\n".repeat(n)),
    ];
    prop::collection::vec(bits, 0..6).prop_map(|bits| bits.concat())
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        hostile().prop_map(Span::Plain),
        hostile().prop_map(Span::Bold),
        hostile().prop_map(Span::Code),
        (hostile(), hostile()).prop_map(|(url, label)| Span::Link { url: format!("https://x/{url}"), label }),
        (hostile(), hostile()).prop_map(|(id, name)| Span::Mention(Actor {
            platform: Platform::Slack,
            id,
            team: String::new(),
            name
        })),
        any::<i64>().prop_map(|at| Span::Time(Timestamp::from_micros(at))),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    prop::collection::vec(span(), 0..6).prop_map(Text)
}

fn block() -> impl Strategy<Value = Block> {
    let confirm = prop::option::of((hostile(), hostile(), hostile(), hostile()))
        .prop_map(|parts| parts.map(|(title, text, yes, no)| Confirm { title, text, yes, no }));
    let button = (hostile(), confirm).prop_map(|(label, confirm)| a_button(&label, confirm));
    prop_oneof![
        hostile().prop_map(Block::Title),
        text().prop_map(Block::Text),
        prop::collection::vec((hostile(), text()), 0..25).prop_map(Block::Fields),
        hostile().prop_map(Block::Log),
        text().prop_map(Block::Context),
        prop::collection::vec(button, 0..30).prop_map(Block::Buttons),
        Just(Block::Divider),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_card_is_a_message_within_the_limits(
        summary in hostile(),
        blocks in prop::collection::vec(block(), 0..12),
    ) {
        let message = render(&Card { summary, tone: Tone::Bad, blocks });
        prop_assert_eq!(check_message(&message), vec![]);
    }

    #[test]
    fn no_text_makes_markup_of_its_own(text in hostile()) {
        let blocks = vec![
            Block::Text(Text(vec![Span::Plain(text.clone()), Span::Bold(text.clone()), Span::Code(text.clone())])),
            Block::Fields(vec![(text.clone(), Text::plain(text.clone()))]),
            Block::Log(text.clone()),
            Block::Context(Text::plain(text.clone())),
        ];
        let message = render(&Card { summary: text, tone: Tone::Neutral, blocks });
        let mut texts = vec![message["text"].as_str().unwrap_or_default().to_owned()];
        for block in message["blocks"].as_array().into_iter().flatten() {
            texts.extend(block["text"]["text"].as_str().map(str::to_owned));
            for part in ["fields", "elements"] {
                texts.extend(block[part].as_array().into_iter().flatten().filter_map(|e| Some(e["text"].as_str()?.to_owned())));
            }
        }
        for text in texts {
            prop_assert!(!text.contains('<') && !text.contains('>'), "{}", text);
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
            prop_assert!([0, 2].contains(&text.matches("```").count()), "{}", text);
        }
    }
}
