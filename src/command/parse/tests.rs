//! What people type, and what it means.

use proptest::prelude::*;

use super::*;
use crate::message::Note;
use crate::message::template::Catalogue;
use ParseProblem as P;
use Surface::{Mention, Slash};

fn run_test(text: &str) -> RunTest {
    match parse(text, false, Slash) {
        Ok(Command::RunTest(run)) => run,
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn check(text: &str, surface: Surface, expect: Command) {
    assert_eq!(parse(text, false, surface), Ok(expect), "{text}");
}

#[track_caller]
fn check_thread(text: &str, expect: Command) {
    assert_eq!(parse(text, true, Mention), Ok(expect), "{text}");
}

#[track_caller]
fn check_problem(text: &str, kind: &str, next: &str) {
    let problem = parse(text, false, Slash).expect_err(text);
    let facts = problem.facts();
    assert_eq!((facts["problem"].as_str(), facts["next"].as_str()), (Some(kind), Some(next)), "{text}");
}

#[track_caller]
fn check_wrong(text: &str, expect: Wrong) {
    match parse(text, false, Slash) {
        Err(P::BadValue { wrong, .. }) => assert_eq!(wrong, expect, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
}

fn named(target: &str, build: &str) -> RunTest {
    RunTest { target: target.into(), build: build.into(), ..RunTest::default() }
}

#[test]
fn a_whole_run_test_is_read() {
    let run = run_test(
        "/run-test socA build-123 suite=full priority=high rev=rev2 tag=ddr:8g tag=can:yes on=soc-a-001 \
         timeout=1h30m boards=2 x3 iterations=5 msg=\"hello there\"",
    );
    let text = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(
        run,
        RunTest {
            suite: Some("full".into()),
            priority: Some(Priority::High),
            revision: Some("rev2".into()),
            tags: text(&[("ddr", "8g"), ("can", "yes")]),
            on: Some("soc-a-001".into()),
            timeout: Some(Duration::from_secs(5400)),
            boards: Some(2),
            repeat: Some(3),
            params: text(&[("iterations", "5"), ("msg", "hello there")]),
            ..named("socA", "build-123")
        }
    );
}

#[test]
fn options_stand_anywhere_in_any_case_with_or_without_dashes() {
    let expect = RunTest { suite: Some("full".into()), ..named("socA", "b1") };
    for text in [
        "/run-test suite=full socA b1",
        "/RUN-TEST socA SUITE=full b1",
        "/lab run-test socA b1 --suite=full",
        "run-test socA b1 --suite full",
        "run-test socA b1 —suite full",
        "run-test socA b1 suite＝full",
        "/run-test\u{a0}socA\u{3000}b1 suite=“full”",
    ] {
        assert_eq!(run_test(text), expect, "{text}");
    }
}

#[test]
fn run_is_two_commands() {
    let starts = Command::RunTest(named("socA", "b1"));
    check("run socA b1", Mention, starts.clone());
    check("<@U0BOT> lab run socA b1", Mention, starts.clone());
    check("运行 socA b1", Slash, starts);
    for text in ["run 42", "run #42", "/lab run ＃42", "status 42", "运行 42", "状态 #42", "run <#C1|42>"]
    {
        check(text, Mention, Command::Run(RunRef::Number(42)));
    }
    check_problem("/lab run socA b1", "unexpected-word", "/run-test socA b1");
}

#[test]
fn status_of_no_run_is_that_of_all_and_in_a_thread_that_of_its_run() {
    check("/lab status", Slash, Command::Runs { mine: false });
    check("状态", Mention, Command::Runs { mine: false });
    check_thread("status", Command::Run(RunRef::Thread));
    check_problem("/lab run", "missing-argument", "/lab run #42");
}

#[test]
fn a_word_too_many_is_left_out_of_what_to_type_next() {
    let next = |text: &str, next: &str| check_problem(text, "unexpected-word", next);
    next("/run-test socA b1 x 3", "/run-test socA b1 x3");
    next("/run-test socA b1 X 3 suite=full", "/run-test socA b1 x3 suite=full");
    next("/run-test socA b1 smoke", "/run-test socA b1");
    next("/lab power soc-a-001 cycle now", "/lab power soc-a-001 cycle");
    // What would not be a command either, or not as it was typed.
    let example = "/run-test socA build-123 suite=smoke priority=high";
    next("/run-test socA b1 one two", example);
    next("/run-test socA b1 msg=\"a b\" smoke", example);
    next(&format!("/run-test socA b1 smoke msg={}", "y".repeat(SHOWN_CHARS_MAX)), example);
}

#[test]
fn every_other_command_is_read_in_both_languages() {
    check("/lab boards socA", Slash, Command::Boards { filter: Some("socA".into()) });
    check("boards \"Lab Site A\"", Mention, Command::Boards { filter: Some("Lab Site A".into()) });
    check("/lab boards Lab  Site A", Slash, Command::Boards { filter: Some("Lab Site A".into()) });
    check("板卡 上海 实验室", Mention, Command::Boards { filter: Some("上海 实验室".into()) });
    check("BOARD soc-a-001", Mention, Command::Board { board: "soc-a-001".into() });
    check("/lab runs", Slash, Command::Runs { mine: false });
    check("任务 我的", Mention, Command::Runs { mine: true });
    check("why #42?", Mention, Command::Why(RunRef::Number(42)));
    check("取消 42", Slash, Command::Cancel(RunRef::Number(42)));
    check("重试 42 换板", Slash, Command::Retry { run: RunRef::Number(42), other_board: true });
    check("retry other 42", Slash, Command::Retry { run: RunRef::Number(42), other_board: true });
    check("retry 42 --elsewhere", Slash, Command::Retry { run: RunRef::Number(42), other_board: true });
    let cycle = Command::Power { board: "soc-a-001".into(), action: PowerAction::Cycle };
    for text in [
        "power soc-a-001 cycle",
        "/lab power soc-a-001 CYCLE",
        "power cycle soc-a-001",
        "电源 soc-a-001 重启",
    ] {
        check(text, Mention, cycle.clone());
    }
    let recovery = PowerAction::Sequence("recovery".into());
    check(
        "power soc-a-001 recovery",
        Mention,
        Command::Power { board: "soc-a-001".into(), action: recovery },
    );
}

#[test]
fn chinese_needs_no_spaces_and_no_ascii() {
    for text in ["取消42", "取消#42", "取消＃42。", "/lab 取消42", "<@U0BOT> 取消42"] {
        check(text, Mention, Command::Cancel(RunRef::Number(42)));
    }
    check("任务 42", Mention, Command::Run(RunRef::Number(42)));
    check("运行#42", Mention, Command::Run(RunRef::Number(42)));
    check_problem("取消四十二", "unknown-command", "/lab help");
    let run = run_test(
        "运行　socA　build-123　套件＝full　优先级＝高　版本=rev2　标签＝ddr：8g　板卡=soc-a-001　超时=1小时30分　板数=2　×３",
    );
    let english = run_test(
        "/run-test socA build-123 suite=full priority=high rev=rev2 tag=ddr:8g on=soc-a-001 timeout=1h30m boards=2 x3",
    );
    assert_eq!(run, english);
    let twice = parse("运行 socA b1 套件=a suite=b", false, Mention);
    assert!(matches!(&twice, Err(P::Repeated { .. })), "{twice:?}");
    let near = parse("运行 socA b1 --套健 full", false, Mention).expect_err("unknown").facts();
    assert_eq!(near["near"], "套件");
}

#[test]
fn a_reason_keeps_its_own_punctuation() {
    let reason = |reason: &str| Command::Quarantine { board: "soc-a-001".into(), reason: reason.into() };
    check("隔离 soc-a-001 风扇坏了，等备件（三天）！", Mention, reason("风扇坏了，等备件（三天）！"));
    check("隔离　soc-a-001　baud＝9600", Mention, reason("baud=9600"));
}

#[test]
fn every_power_action_and_priority_has_a_chinese_word() {
    for action in PowerAction::PLAIN {
        let (zh, _) = POWER_ZH.iter().find(|(_, english)| *english == action.as_str()).expect("a word");
        let power = Command::Power { board: "soc-a-001".into(), action };
        check(&format!("电源 soc-a-001 {zh}"), Mention, power);
    }
    for (zh, english) in PRIORITY_ZH {
        assert_eq!((priority(zh), priority(zh).map(Priority::as_str)), (priority(english), Some(*english)));
    }
}

#[test]
fn nothing_and_help_both_ask_for_help() {
    for text in ["", "/lab", "  lab  ", "help", "？", "帮助", "<@U0BOT>"] {
        check(text, Mention, Command::Help { topic: None });
    }
    check("/lab help power", Slash, Command::Help { topic: Some("power".into()) });
    check("/run-test --help", Slash, Command::Help { topic: Some("run-test".into()) });
}

#[test]
fn in_a_thread_the_run_may_be_left_out() {
    check_thread("cancel", Command::Cancel(RunRef::Thread));
    check_thread("why", Command::Why(RunRef::Thread));
    check_thread("retry elsewhere", Command::Retry { run: RunRef::Thread, other_board: true });
    check_thread("run", Command::Run(RunRef::Thread));
    check_thread("retry 7", Command::Retry { run: RunRef::Number(7), other_board: false });
    check_problem("cancel", "missing-argument", "/lab cancel #42");
}

#[test]
fn a_problem_says_what_to_type_next() {
    check_problem("/lab baords socA", "unknown-command", "/lab boards socA");
    check_problem("/run-tset socA b1", "unknown-command", "/run-test socA b1");
    check_problem("frobnicate now", "unknown-command", "/lab help");
    check_problem("/lab render socA 2h", "not-yet", "/lab help");
    check_problem("/run-test socA", "missing-argument", "/run-test socA build-123 suite=smoke priority=high");
    check_problem("/lab board", "missing-argument", "/lab board soc-a-001");
    check_problem("/lab power soc-a-001", "missing-argument", "/lab power soc-a-001 cycle");
    check_problem("/lab runs mine mine", "repeated", "/lab runs mine");
    check_problem("/lab runs of=me", "unknown-option", "/lab runs mine");
    check_problem("/lab board a b", "unexpected-word", "/lab board a");
    check_problem("/lab board \"a", "open-quote", "/lab help");
}

#[test]
fn an_option_given_twice_or_unknown_is_a_problem() {
    for text in ["suite=a suite=b", "n=1 n=2", "tag=a:1 tag=a:2", "x2 x3", "rev=1 revision=2"] {
        let problem = parse(&format!("/run-test socA b1 {text}"), false, Slash);
        assert!(matches!(problem, Err(P::Repeated { .. })), "{text}: {problem:?}");
    }
    let problem = parse("/run-test socA b1 --siute full", false, Slash);
    assert_eq!(problem.expect_err("unknown").facts()["near"], "suite");
}

#[test]
fn a_value_that_cannot_be_says_why() {
    check_wrong("/run-test socA b1 suite=", Wrong::Empty);
    check_wrong("/run-test socA \"\"", Wrong::Empty);
    check_wrong("/run-test socA b1 --suite", Wrong::Empty);
    check_wrong("/run-test socA b1 priority=urgent", Wrong::NotOneOf(PRIORITIES));
    check_wrong("/run-test socA b1 tag=ddr", Wrong::NotATag);
    check_wrong("/run-test socA b1 tag=:8g", Wrong::NotATag);
    for timeout in ["20", "", "20x", "0s", "8d", "m", "1h-3m", "99999999999999999999s", "9999999999999999d"] {
        let text = format!("/run-test socA b1 timeout={timeout}");
        let wrong = if timeout.is_empty() { Wrong::Empty } else { Wrong::NotADuration };
        check_wrong(&text, wrong);
    }
    for run in ["0", "#", "-1", "#x", "99999999999999999999", "+1"] {
        check_wrong(&format!("/lab cancel {run}"), Wrong::NotARun);
    }
    let actions = "on, off, cycle, status, a sequence of the board";
    check_wrong("/lab power b re/start", Wrong::NotOneOf(actions));
    for build in ["b;reboot", "$(id)", "b\u{fc}", "a|b", "..\\x"] {
        check_wrong(&format!("/run-test socA {build}"), Wrong::NotABuild);
    }
}

#[test]
fn values_are_bounded() {
    let with = |value: &str| format!("/run-test socA {value}");
    assert!(parse(&with(&"b".repeat(BUILD_BYTES_MAX)), false, Slash).is_ok());
    check_wrong(&with(&"b".repeat(BUILD_BYTES_MAX + 1)), Wrong::TooLong(BUILD_BYTES_MAX));
    assert!(parse(&with(&format!("b1 p={}", "v".repeat(VALUE_BYTES_MAX))), false, Slash).is_ok());
    check_wrong(&with(&format!("b1 p={}", "v".repeat(VALUE_BYTES_MAX + 1))), Wrong::TooLong(VALUE_BYTES_MAX));
    assert_eq!(run_test(&with(&format!("b1 x{REPEAT_MAX}"))).repeat, Some(REPEAT_MAX));
    assert_eq!(run_test(&with(&format!("b1 boards={BOARDS_MAX}"))).boards, Some(BOARDS_MAX));
    check_wrong(&with(&format!("b1 x{}", REPEAT_MAX + 1)), Wrong::NotWithin { min: 1, max: REPEAT_MAX });
    check_wrong(&with("b1 x0"), Wrong::NotWithin { min: 1, max: REPEAT_MAX });
    check_wrong(&with("b1 boards=0"), Wrong::NotWithin { min: 1, max: BOARDS_MAX });
    check_wrong(
        &with(&format!("b1 boards={}", BOARDS_MAX + 1)),
        Wrong::NotWithin { min: 1, max: BOARDS_MAX },
    );
    let long = parse(&"z".repeat(TEXT_CHARS_MAX), false, Slash).expect_err("no command");
    assert!(long.facts()["word"].as_str().is_some_and(|w| w.chars().count() == 81));
}

#[test]
fn durations_are_whole_units() {
    for (text, secs) in
        [("90s", 90), ("20m", 1200), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("5MIN", 300)]
    {
        assert_eq!(duration(text), Some(Duration::from_secs(secs)), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_gives_a_command_or_bounded_facts(text in "(/lab |/run-test |run )?\\PC{0,200}", thread: bool) {
        for surface in [Slash, Mention] {
            if let Err(problem) = parse(&text, thread, surface) {
                let facts = problem.facts();
                prop_assert!(facts["next"].is_string() && facts["detail"].is_object());
                prop_assert!(facts.to_string().len() < 8_000);
            }
        }
    }

    #[test]
    fn a_quoted_value_arrives_unchanged(value in "[a-zA-Z0-9 =:#；，é$`;|&*()\\\\-]{1,60}") {
        // Chat markup is undone before quotes are read, so `&` alone is safe and `&lt;` is not tried here.
        let run = run_test(&format!("/run-test socA b1 p=\"{value}\""));
        prop_assert_eq!(&run.params["p"], &value);
    }
}

#[test]
fn the_rest_of_a_line_is_bounded() {
    let site = |bytes: usize| format!("/lab boards a {}", "x".repeat(bytes - 2));
    let boards = Command::Boards { filter: Some(format!("a {}", "x".repeat(VALUE_BYTES_MAX - 2))) };
    check(&site(VALUE_BYTES_MAX), Slash, boards);
    check_wrong(&site(VALUE_BYTES_MAX + 1), Wrong::TooLong(VALUE_BYTES_MAX));
}

/// What a person reads who typed this.
#[track_caller]
fn check_says(text: &str, says: &str) {
    let problem = parse(text, false, Slash).expect_err(text);
    let answer = Catalogue::builtin().render("en", &Note::new("unknown-command", problem.facts()));
    assert_eq!(answer.summary, says, "{text}");
}

#[test]
fn problems_are_told_as_a_person_would() {
    check_says("/lab cancel", "'cancel' needs the number of a run, such as #42.");
    check_says("/lab 取消 它", "'它' is not a run: a run is a number such as #42.");
    check_says("/run-test", "'run-test' needs a soc or a board, and then a build.");
    check_says("/lab board", "'board' needs a board.");
    check_says("/lab 电源 soc-a-001", "'power' needs one of on, off, cycle, status, sequence.");
    check_says(
        "/lab 电源 soc-a-001 爆炸",
        "'action' cannot be '爆炸': it must be one of on, off, cycle, status, a sequence of the board, or 上电, 断电, 重启, 状态.",
    );
    check_says(
        "/run-test socA b1 boards=0",
        "'boards' cannot be '0': it must be a whole number from 1 to 8.",
    );
    check_says("/run-test socA b1 x0", "A test can be repeated x1 to x20, not 'x0'.");
    check_says("/run-test socA b1 suite=", "'suite' needs a value.");
    check_says(
        "/run-test socA 'b 1'",
        "'b 1' is not a build: a build id holds letters, digits and . _ : / @ + - only.",
    );
    check_says(
        "/run-test socA b1 timeout=90",
        "'timeout' cannot be '90': it must be a duration such as 90s, 20m or 2h, at most 7 days.",
    );
    check_says("/lab runs all", "'all' is a word too many for 'runs'.");
    check_says("/lab board 'soc", "A quotation mark is never closed.");
}

#[test]
fn a_line_to_type_next_keeps_everything_but_the_wrong_word() {
    let check = |text: &str, words: &[(&str, &str)], expect: Option<&str>| {
        let words: Vec<_> = words.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(put_right(text, &words).as_deref(), expect, "{text}");
    };
    let soc = [("socC", "socA")];
    check(
        "/run-test socC b1 suite=full priority=high x3",
        &soc,
        Some("/run-test socA b1 suite=full priority=high x3"),
    );
    let suite = [("suite=ful", "suite=full"), ("ful", "full")];
    check("/run-test socA b1 suite=ful x3", &suite, Some("/run-test socA b1 suite=full x3"));
    check("/run-test socA b1 --suite ful x3", &suite, Some("/run-test socA b1 --suite full x3"));
    check("run-test socC b1", &soc, Some("@boardhand run-test socA b1"));
    check("/run-test socB b1", &soc, None);
    check("/run-test socC b1 note=\"a b\"", &soc, None);
}

#[test]
fn a_comparison_names_two_one_or_in_a_thread_none() {
    let run = Which::Run;
    let build = |build: &str| Which::Build(build.into());
    let of = |of: &[Which]| Command::Compare(Compare { of: of.to_vec(), ..Compare::default() });
    check("/lab compare 41 #57", Slash, of(&[run(41), run(57)]));
    check("compare build-119 57", Mention, of(&[build("build-119"), run(57)]));
    check("对比 #57", Mention, of(&[run(57)]));
    let named = Compare {
        of: vec![build("a/1"), build("a/2")],
        family: Some("socA".into()),
        suite: Some("full".into()),
    };
    check("/lab compare a/1 a/2 socA suite=full", Slash, Command::Compare(named));
    check_thread("compare", of(&[]));
    check_thread("compare 41", of(&[run(41)]));
    check_problem("/lab compare", "missing-argument", "/lab compare build-119 build-123 socA");
    check_problem("/lab compare 1 2 socA 4", "unexpected-word", "/lab compare 1 2 socA");
    check_wrong("/lab compare 1 b;c", Wrong::NotABuild);
}
