//! The form as somebody fills it in: what it asks in a lab, and what it comes to.

use super::*;
use crate::board::lab_file;

const LAB: &str = r#"
boards:
  - {board_id: soc-a-001, soc_family: socA, soc_revision: rev2, board_ip: 10.0.0.1, telnet_port: 23, lab_location: Site}
  - {board_id: soc-a-002, soc_family: socA, soc_revision: rev1, board_ip: 10.0.0.2, telnet_port: 23, lab_location: Site}
  - {board_id: soc-b-001, soc_family: socB, board_ip: 10.0.1.1, telnet_port: 23, lab_location: Site}
families:
  socA: {default_suite: full, suites: {full: full, smoke: smoke}}
  socB: {}
plans:
  full:
    params:
      iterations: {type: integer, default: 1, max: 100}
      mode: {type: choice, values: [fast, slow]}
      label: {type: string}
      trace: {type: boolean, default: false}
    test: [{name: t, run: 'echo {{ params.iterations }}'}]
"#;

fn lab() -> Inventory {
    let read = lab_file::parse("boards.yaml", LAB, &|_| None);
    read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)))
}

fn filled(fields: &[(Field, &str)]) -> Filled {
    fields.iter().map(|(field, value)| (field.clone(), (*value).to_owned())).collect()
}

fn asked(form: &Form) -> Vec<&Field> {
    form.questions.iter().map(|question| &question.field).collect()
}

fn param(name: &str) -> Field {
    Field::Param(name.to_owned())
}

#[test]
fn it_asks_what_the_family_and_its_suite_need() {
    let first = form(&lab(), &Filled::new(), false).expect("a form");
    assert_eq!((first.family.as_str(), first.suite.as_str()), ("socA", "full"));
    use Field::{Build, Channel, Count, Family, Suite, Where};
    let params = ["iterations", "label", "mode", "trace"].map(param);
    assert_eq!(asked(&first), [Family, Build, Suite, Where, Count].iter().chain(&params).collect::<Vec<_>>());
    let optional: Vec<_> = first.questions.iter().filter(|q| q.optional).map(|q| q.field.clone()).collect();
    assert_eq!(optional, [Where, param("iterations"), param("trace")]);

    let other = form(&lab(), &filled(&[(Family, "socB"), (Suite, "full")]), true).expect("a form");
    assert_eq!((other.family.as_str(), other.suite.as_str()), ("socB", "smoke"));
    assert_eq!(asked(&other), [&Family, &Build, &Suite, &Count, &Channel], "one board is no choice");
    assert_eq!(form(&Inventory::default(), &Filled::new(), false), None);
}

#[test]
fn filled_in_it_is_what_somebody_would_have_typed() {
    let form = filled(&[
        (Field::Family, "socA"),
        (Field::Build, " build-123 "),
        (Field::Suite, "full"),
        (Field::Where, "rev:rev2"),
        (Field::Count, "3"),
        (param("mode"), "slow"),
        (param("label"), "a b=c"),
    ]);
    let line = r#"socA build-123 x3 suite=full rev=rev2 mode=slow label="a b=c""#;
    let typed = parse::parse(&format!("/run-test {line}"), false, parse::Surface::Slash).expect("a command");
    assert_eq!(super::super::Command::RunTest(read(&form).expect("a run")), typed);
    let on = filled(&[(Field::Family, "socA"), (Field::Build, "b"), (Field::Where, "on:soc-a-001")]);
    assert_eq!(read(&on).expect("a run").on.as_deref(), Some("soc-a-001"));
}

#[test]
fn what_is_wrong_is_said_at_its_field() {
    let whole = [(Field::Family, "socA"), (Field::Build, "b")];
    let check = |change: (Field, &str), expect: Field| {
        let form: Filled = filled(&whole).into_iter().chain([(change.0, change.1.to_owned())]).collect();
        let problem = read(&form).expect_err("a mistake");
        let note = Note::new("unknown-command", problem.facts());
        assert_eq!(blamed(&note).0, expect, "{note:?}");
        assert!(!is_offered(&note) || expect == Field::Family, "{note:?}");
    };
    check((Field::Family, ""), Field::Family);
    check((Field::Build, ""), Field::Build);
    check((Field::Build, "b; reboot"), Field::Build);
    check((Field::Count, "99"), Field::Count);
    check((Field::Count, "two"), Field::Count);
    check((param("label"), &"x".repeat(501)), param("label"));
    let refused = |phrase: &str, facts: Value| {
        blamed(&Note::new("refused", json!({ "reason": Phrase::new(phrase, facts) }))).0
    };
    assert_eq!(refused("no-suite", json!({})), Field::Suite);
    assert_eq!(refused("param-wrong", json!({ "name": "mode" })), param("mode"));
    assert_eq!(refused("no-board-of-revision", json!({})), Field::Where);
    assert_eq!(refused("something-new", json!({})), Field::Family);
    assert_eq!(blamed(&Note::new("denied", json!({ "reason": "no" }))), (Field::Family, json!("no")));
}

#[test]
fn it_asks_for_no_more_parameters_than_a_form_holds() {
    let mut inventory = lab();
    let plan = inventory.plans.get_mut("full").expect("the plan");
    let spec = plan.params["label"].clone();
    plan.params = (0..=PARAMS_MAX).map(|n| (format!("p{n:03}"), spec.clone())).collect();
    let form = form(&inventory, &Filled::new(), true).expect("a form");
    let params = form.questions.iter().filter(|q| matches!(q.field, Field::Param(_))).count();
    assert_eq!(params, PARAMS_MAX);
}
