//! What plans accept, and what each refusal says.

use super::*;
use crate::board::lab_file;
use crate::run::{Priority, Selector};

const LAB: &str = r#"
boards:
- {board_id: soc-a-001, soc_family: socA, soc_revision: rev1, board_ip: h1, lab_location: A, tags: {ddr: 4g}}
- {board_id: soc-a-002, soc_family: socA, soc_revision: rev2, board_ip: h2, lab_location: A, tags: {ddr: 8g}}
- {board_id: soc-a-003, soc_family: socA, soc_revision: rev2, board_ip: h3, lab_location: B, tags: {ddr: 4g}}
- {board_id: soc-b-001, soc_family: socB, board_ip: h4, lab_location: A}
families:
  socA:
    artifacts: {test.bin: 'http://ci/{{ build.id }}/t'}
    suites: {smoke: p, full: q, other: r}
  socB: {}
plans:
  p:
    params:
      iterations: {type: integer, default: 1, min: 1, max: 100}
      mode: {type: choice, values: [fast, slow], default: fast}
      name: {type: string, pattern: '[a-z]+|x y', default: me}
      loud: {type: boolean, default: false}
    boot: [{command: {send: 'setenv n {{ params.name }}'}}]
    test: [{run: '/tmp/t {{ build.artifacts["test.bin"].url }} {{ params.iterations }}'}]
  q: {params: {key: {type: string}}, test: [{run: 'x {{ params.key }}'}]}
  r: {test: [{run: 'x {{ build.artifacts["other.bin"].url }}'}]}
"#;

fn inventory() -> Inventory {
    let file = lab_file::parse("boards.yaml", LAB, &|_| None);
    file.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&file.problems)))
}

fn family() -> Family {
    Family::new("socA")
}

/// Parameters from `name=value` words; `_` stands for a blank.
fn typed(words: &str) -> BTreeMap<String, String> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').expect("name=value");
        (name.to_owned(), value.replace('_', " "))
    };
    words.split_whitespace().map(pair).collect()
}

/// A run of a suite with these parameters.
fn spec(suite: &str, words: &str) -> RunSpec {
    let params = params(&inventory(), &family(), suite, &typed(words)).expect("good parameters");
    RunSpec {
        kind: RunKind::Test,
        family: family(),
        build: "b-1".to_owned(),
        suite: suite.to_owned(),
        selector: Selector::default(),
        priority: Priority::Normal,
        boards: 1,
        on_own_board: false,
        timeout: None,
        params,
    }
}

#[test]
fn parameters_become_what_the_plan_says_they_are() {
    let expect = [
        ("iterations".to_owned(), ParamValue::Integer(5)),
        ("loud".to_owned(), ParamValue::Boolean(true)),
        ("mode".to_owned(), ParamValue::String("slow".into())),
        ("name".to_owned(), ParamValue::String("abc".into())),
    ];
    assert_eq!(spec("smoke", "iterations=5 mode=slow loud=true name=abc").params, expect.into());
    // What nobody set is not stored: a plan's default may change while a run waits.
    assert_eq!(spec("smoke", "").params, BTreeMap::new());
}

#[test]
fn a_parameter_that_the_plan_does_not_accept_is_refused_with_what_it_would() {
    let check = |suite: &str, words: &str, expect: &str| {
        let problem = params(&inventory(), &family(), suite, &typed(words)).expect_err(words);
        assert_eq!(problem.to_string(), format!("the parameter {expect}"), "{words}");
    };
    let known = "iterations, loud, mode, name";
    check("smoke", "iteration=5", &format!("iteration does not exist in the suite smoke; it has {known}"));
    check("other", "x=5", "x does not exist in the suite other; it has none");
    check("smoke", "iterations=500", "iterations must be a whole number from 1 to 100, not \"500\"");
    check("smoke", "iterations=0", "iterations must be a whole number from 1 to 100, not \"0\"");
    check("smoke", "iterations=1e3", "iterations must be a whole number from 1 to 100, not \"1e3\"");
    check("smoke", "mode=fats", "mode must be one of fast, slow, not \"fats\"; did you mean \"fast\"?");
    check("smoke", "loud=yes", "loud must be true or false, not \"yes\"");
    check("smoke", "name=abC", "name must match [a-z]+|x y, not \"abC\"");
    check("full", "", "key must be set for the suite full: it must be text");
    check("full", "key=a\0b", "key must not hold a NUL character");
    let long = "x".repeat(PARAM_BYTES_MAX + 1);
    check("full", &format!("key={long}"), "key must have at most 500 bytes");
    assert!(params(&inventory(), &family(), "full", &typed(&format!("key={}", &long[1..]))).is_ok());
}

#[test]
fn a_run_whose_plan_cannot_be_filled_is_refused() {
    let check = |suite: &str, words: &str, expect: Result<(), &str>| {
        let fits = fits(&inventory(), &spec(suite, words), &BTreeMap::new());
        assert_eq!(fits.map_err(|unfit| unfit.to_string()), expect.map_err(str::to_owned), "{suite} {words}");
    };
    check("smoke", "", Ok(()));
    check("full", "key=it's;$(reboot)", Ok(()));
    check(
        "other",
        "",
        Err("the suite other needs the artifact \"other.bin\", and neither b-1 nor socA has it"),
    );
    // The pattern allows it, the boot loader does not.
    let plain = "letters, digits and . _ : / = @ + , -";
    check("smoke", "name=x_y", Err(&format!("the value of params.name may only hold {plain} here")));
}

#[test]
fn a_builds_own_artifacts_come_before_the_familys() {
    let inventory = inventory();
    let own = |name: &str, url: &str| (name.to_owned(), url.to_owned());
    let registered = [own("other.bin", "http://own/o"), own("test.bin", "http://own/t")].into();
    let spec = spec("other", "");
    assert_eq!(fits(&inventory, &spec, &registered), Ok(()));
    let board = inventory.board("soc-a-001").expect("the board");
    let values = values(&inventory, &spec, board, 7, 2, &registered, "");
    assert_eq!(
        values.artifacts["test.bin"],
        ArtifactUrl { url: "http://own/t".into(), from_lab_file: false }
    );
    assert_eq!((values.run, values.attempt), (7, 2));
    let familys = artifacts(&inventory, &spec.family, "b 1", &BTreeMap::new(), "");
    assert_eq!(familys["test.bin"], ArtifactUrl { url: "http://ci/b%201/t".into(), from_lab_file: true });
}

#[test]
fn defaults_fill_what_nobody_set() {
    let inventory = inventory();
    let board = inventory.board("soc-a-001").expect("the board");
    let values = values(&inventory, &spec("smoke", "iterations=5"), board, 1, 1, &BTreeMap::new(), "");
    let shown: Vec<String> = values.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["iterations=5", "loud=false", "mode=fast", "name=me"]);
}
