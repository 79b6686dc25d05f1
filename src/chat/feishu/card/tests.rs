//! Cards as Feishu gets them: their shape, their limits, what hostile words become.

use super::*;
use crate::command::{Click, Verb};
use crate::message::Span;

fn card(blocks: Vec<Block>) -> Card {
    Card { summary: "#42 socA failed".into(), tone: Tone::Bad, blocks }
}

fn elements(drawn: &Value) -> &Vec<Value> {
    drawn["body"]["elements"].as_array().expect("a card has elements")
}

fn button(label: &str, confirm: Option<Confirm>) -> Button {
    let click = Click { verb: Verb::PowerCycle, run: 42, generation: 7, at: None, board: None };
    Button { label: label.into(), click, style: ButtonStyle::Danger, confirm }
}

#[test]
fn a_card_has_a_coloured_title_a_summary_and_its_parts_in_order() {
    let confirm =
        Confirm { title: "Cycle?".into(), text: "It ends.".into(), yes: "Yes".into(), no: "No".into() };
    let drawn = render(&card(vec![
        Block::Title("#42 · socA".into()),
        Block::Text(Text::plain("1 of 3 failed")),
        Block::Fields(vec![
            ("Board".into(), Text(vec![Span::Code("soc-a-001".into())])),
            ("Empty".into(), Text::plain("")),
        ]),
        Block::Divider,
        Block::Buttons(vec![button("Power cycle", Some(confirm))]),
    ]));
    assert_eq!(
        drawn,
        json!({
            "schema": "2.0",
            "config": { "update_multi": true, "summary": { "content": "#42 socA failed" } },
            "header": { "title": { "tag": "plain_text", "content": "#42 · socA" }, "template": "red" },
            "body": { "elements": [
                { "tag": "markdown", "content": "1 of 3 failed" },
                { "tag": "column_set", "flex_mode": "bisect", "columns": [
                    { "tag": "column", "width": "weighted", "weight": 1,
                      "elements": [{ "tag": "markdown", "content": "**Board**\n`soc-a-001`" }] },
                    { "tag": "column", "width": "weighted", "weight": 1,
                      "elements": [{ "tag": "markdown", "content": "**Empty**\n–" }] },
                ] },
                { "tag": "hr" },
                { "tag": "column_set", "flex_mode": "flow", "columns": [
                    { "tag": "column", "width": "auto", "elements": [
                        { "tag": "button", "type": "danger",
                          "text": { "tag": "plain_text", "content": "Power cycle" },
                          "behaviors": [{ "type": "callback", "value": { "click": "power-cycle:42:7" } }],
                          "confirm": { "title": { "tag": "plain_text", "content": "Cycle?" },
                                       "text": { "tag": "plain_text", "content": "It ends." } } },
                    ] },
                ] },
            ] },
        })
    );
}

#[test]
fn a_long_log_is_folded_under_its_first_line_and_a_longer_one_is_cut() {
    let log: Vec<String> = (1..=100).map(|n| format!("line {n}\r")).collect();
    let drawn = render(&card(vec![Block::Log(log.join("\n"))]));
    let panel = &elements(&drawn)[0];
    assert_eq!((&panel["tag"], &panel["expanded"]), (&json!("collapsible_panel"), &json!(false)));
    assert_eq!(panel["header"]["title"]["content"], "line 1");
    let code = panel["elements"][0]["content"].as_str().expect("text");
    assert!(code.starts_with("```\nline 1\nline 2\n"), "{code}");
    assert!(code.ends_with("line 60\n… +40\n```"), "{code}");

    let drawn = render(&card(vec![Block::Log("\n\nok 1\r\n50%\r100%\nnot ok 2\n".into())]));
    assert_eq!(elements(&drawn)[0]["content"], "```\nok 1\n100%\nnot ok 2\n```");
}

#[test]
fn any_card_fits_says_what_it_left_out_and_keeps_its_buttons() {
    let long = |n: usize| Block::Text(Text::plain(format!("{n} {}", "<*>".repeat(900))));
    let mut blocks: Vec<Block> = (0..100).map(long).collect();
    blocks.push(Block::Log("x".repeat(10_000_000)));
    blocks.insert(0, Block::Title("t".repeat(10_000)));
    blocks.insert(1, Block::Buttons(vec![button(&"b".repeat(1_000), None)]));
    let drawn = render(&card(blocks));
    assert!(drawn.to_string().len() <= CARD_BYTES_MAX, "{}", drawn.to_string().len());
    let parts = elements(&drawn);
    assert_eq!(parts[0]["columns"][0]["elements"][0]["tag"], "button");
    let shown = parts.len() - 2;
    let rest = parts.last().expect("parts")["content"].as_str().expect("text").to_owned();
    assert_eq!(rest, format!("… +{}", 101 - shown));
}

#[test]
fn a_card_of_nothing_shows_its_summary() {
    let drawn = render(&card(vec![Block::Text(Text::plain("  ")), Block::Log(" \n".into())]));
    assert_eq!(elements(&drawn), &vec![json!({ "tag": "markdown", "content": "&#35;42 socA failed" })]);
    assert!(drawn.get("header").is_none());
}
