//! Modals that Slack takes, whatever the lab file holds, and what stands in them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::command::form;
use crate::sim::slack::limits::check_view;

fn words(said: &Value) -> String {
    said.as_str().or(said["phrase"].as_str()).unwrap_or_default().to_owned()
}

fn question(field: Field, input: Input) -> Question {
    Question { field, input, label: json!("label"), hint: None, optional: false, redraws: false }
}

fn drawn(questions: Vec<Question>) -> Value {
    let form = Form { family: "socA".into(), suite: "smoke".into(), questions };
    render(&form, &AskedIn::default(), &words)
}

fn choice(values: Vec<(String, String)>, chosen: Option<&str>) -> Input {
    Input::Choice { groups: vec![Choices { name: None, values }], chosen: chosen.map(str::to_owned) }
}

fn numbered(n: usize) -> Vec<(String, String)> {
    (0..n).map(|n| (format!("v{n}"), format!("reads {n}"))).collect()
}

#[test]
fn what_has_no_room_is_said_and_what_is_chosen_is_there() {
    let view = drawn(vec![question(Field::Family, choice(numbered(130), Some("v120")))]);
    assert_eq!(check_view(&view, "modal"), []);
    let block = &view["blocks"][0];
    assert_eq!(block["element"]["options"].as_array().map(Vec::len), Some(OPTIONS_MAX));
    assert_eq!(block["element"]["initial_option"]["value"], "v120");
    assert_eq!(block["hint"]["text"], "form-more");
}

#[test]
fn what_no_choice_can_hold_is_typed() {
    let long = vec![("x".repeat(OPTION_MAX + 1), "long".to_owned())];
    let view = drawn(vec![question(Field::Param("p".into()), choice(long, None))]);
    assert_eq!(view["blocks"][0]["element"]["type"], "plain_text_input");
    assert_eq!(check_view(&view, "modal"), []);
}

#[test]
fn where_it_was_asked_for_comes_back_also_when_the_address_is_too_long() {
    let asked = |url: &str| AskedIn { channel: Some("C1".into()), url: Some(url.to_owned()) };
    let back = |asked: &AskedIn| AskedIn::parse(&asked.metadata()).expect("metadata");
    assert_eq!(back(&asked("https://hooks.slack.com/1")), asked("https://hooks.slack.com/1"));
    let long = asked(&"x".repeat(METADATA_MAX));
    assert!(long.metadata().len() <= METADATA_MAX);
    assert_eq!(back(&long), AskedIn { url: None, ..long.clone() });
    assert_eq!(AskedIn::parse("of another version"), None);
}

#[test]
fn what_stands_in_it_is_read_by_field() {
    let param = question(Field::Param("mode.of".into()), choice(numbered(2), None));
    let line = question(Field::Build, Input::Line { max: 10, initial: None });
    let view = drawn(vec![line, param, question(Field::Channel, Input::Channel)]);
    let ids: Vec<&str> = (0..3).map(|n| view["blocks"][n]["block_id"].as_str().expect("an id")).collect();
    let values = json!({
        ids[0]: {"value": {"type": "plain_text_input", "value": "build-1"}},
        ids[1]: {"value": {"type": "static_select", "selected_option": {"value": "v1"}}},
        ids[2]: {"value": {"type": "conversations_select", "selected_conversation": "C7"}},
        "suite.0": {"value": {"type": "static_select", "selected_option": null}},
        "of-another-version": {"value": {"value": "x"}},
    });
    let standing = standing(&values);
    let mode = Field::Param("mode.of".into());
    let expect = [(Field::Build, "build-1"), (mode.clone(), "v1"), (Field::Channel, "C7")];
    let expect: Filled = expect.into_iter().map(|(field, value)| (field, value.to_owned())).collect();
    assert_eq!(standing.filled, expect);
    let fields: Vec<_> = standing.blocks.iter().map(|(field, _)| field.clone()).collect();
    assert_eq!(fields, [Field::Build, Field::Suite, Field::Channel, mode.clone()]);
    assert_eq!(errors(&standing.blocks, &mode, "no")["errors"], json!({ ids[1]: "No" }));
    assert_eq!(errors(&standing.blocks, &Field::Where, "no")["errors"], json!({ ids[0]: "No" }), "the first");
    assert_eq!(super::standing(&json!("x")), Standing::default());
}

/// Text as hostile as it comes, and long.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,90}",
        "[ -~]{0,400}",
        Just("\u{0}\u{202e}<!channel>".to_owned()),
        "[\u{4e00}-\u{4e20}]{60,200}"
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let values = || prop::collection::vec((hostile(), hostile()), 0..130);
    prop_oneof![
        (0usize..5_000, prop::option::of(hostile()))
            .prop_map(|(max, initial)| Input::Line { max: max.max(1), initial }),
        (prop::option::of(-9i64..0), prop::option::of(0i64..9)).prop_map(|(min, max)| Input::Number {
            min,
            max,
            initial: Some("0".into())
        }),
        (values(), hostile()).prop_map(|(values, chosen)| choice(values, Some(&chosen))),
        (values(), values()).prop_map(|(a, b)| {
            let group = |values| Choices { name: Some(Phrase::new("form-boards", json!({}))), values };
            Input::Choice { groups: vec![group(a), group(b)], chosen: None }
        }),
        Just(Input::Channel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_form_is_a_modal_within_the_limits(
        // As boards.yaml lets parameters be called.
        params in prop::collection::btree_map("[A-Za-z0-9_-]{1,64}", (input(), hostile(), any::<bool>()), 1..=form::PARAMS_MAX),
    ) {
        let params: BTreeMap<_, _> = params;
        let questions = params.into_iter().map(|(name, (input, label, optional))| Question {
            hint: Some(Phrase::new(&label, json!({}))),
            label: json!(label),
            optional,
            ..question(Field::Param(name), input)
        });
        let questions: Vec<Question> = questions.collect();
        let view = drawn(questions);
        prop_assert_eq!(check_view(&view, "modal"), []);
    }
}
