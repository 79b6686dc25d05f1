//! What the table says of itself, and how words find their row.

use std::collections::BTreeSet;

use super::*;
use crate::command::parse::{ParseProblem, Surface, parse};

#[test]
fn no_word_means_two_things() {
    let mut seen = BTreeSet::new();
    for word in TABLE.iter().flat_map(|row| row.words.iter().chain(row.zh)) {
        assert!(seen.insert(word.to_lowercase()), "{word}");
    }
}

#[test]
fn every_available_command_parses_its_own_example() {
    for row in available() {
        for surface in [Surface::Slash, Surface::Mention] {
            let command = parse(row.example, false, surface);
            assert_eq!(command.as_ref().map(|c| c.form()), Ok(row.form), "{}", row.example);
        }
        assert!(!row.help.is_empty() && row.usage().starts_with('/'));
    }
}

#[test]
fn every_available_command_is_whole_in_chinese() {
    let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    for row in available() {
        let usage = row.usage_zh();
        assert!(!row.zh.is_empty() && chinese(row.help_zh) && usage.contains(row.zh[0]), "{usage}");
        for argument in row.arguments {
            assert!(ARGUMENTS_ZH.iter().any(|(name, _)| *name == argument.name), "{}", argument.name);
        }
        for option in row.options {
            assert!(option.aliases.first().is_some_and(|alias| chinese(alias)), "{}", option.name);
            assert!(chinese(option.usage[1]) && chinese(option.help[1]), "{}", option.name);
        }
        let example = in_chinese(row.example);
        let (english, said) =
            (parse(row.example, false, Surface::Slash), parse(&example, false, Surface::Slash));
        assert!(example.contains(row.zh[0]) && said.is_ok(), "{example}");
        // A topic is looked up when it is answered, in either language.
        if row.example_zh.is_empty() && row.form != Form::Help {
            assert_eq!(said, english, "{example}");
        }
    }
}

#[test]
fn a_line_to_type_is_put_into_chinese_word_by_word() {
    for (line, expect) in [
        ("/lab retry 42 elsewhere", "/lab 重试 42 换板"),
        ("/run-test socA b1 suite=full priority=low n=1", "/lab 运行 socA b1 套件=full 优先级=低 n=1"),
        ("/lab run 42", "/lab 状态 42"),
        ("@boardhand run socA b1", "@boardhand 运行 socA b1"),
        ("@boardhand cancel 41", "@boardhand 取消 41"),
        ("/lab power soc-a-001 cycle", "/lab 电源 soc-a-001 重启"),
        ("/lab help run-test", "/lab 帮助 运行"),
        ("/lab boards Lab Site A", "/lab 板卡 Lab Site A"),
        ("/lab", "/lab"),
        ("/lab nothing at all", "/lab nothing at all"),
        ("/invite @boardhand", "/invite @boardhand"),
    ] {
        assert_eq!(in_chinese(line), expect);
    }
}

#[test]
fn every_form_has_exactly_one_row_but_later() {
    use Form::*;
    for form in [
        RunTest,
        Boards,
        Board,
        Runs,
        Run,
        Why,
        Compare,
        Cancel,
        Retry,
        Power,
        Quarantine,
        Return,
        Reserve,
        Extend,
        Release,
        Hold,
        Notify,
        Nudge,
        Handover,
        Reload,
        DeadLetters,
        Resend,
        Audit,
        Help,
    ] {
        assert_eq!(TABLE.iter().filter(|row| row.form == form).count(), 1, "{form:?}");
        assert!(row(form).available);
    }
}

#[test]
fn a_command_that_comes_later_is_answered_so_and_hidden_from_help() {
    let help = help_facts(None).to_string();
    for row in TABLE.iter().filter(|row| !row.available) {
        for word in row.words.iter().chain(row.zh) {
            let problem = parse(&format!("/lab {word} soc-a-001"), false, Surface::Slash);
            assert_eq!(problem, Err(ParseProblem::NotYet { command: row.name() }), "{word}");
        }
        assert!(!help.contains(&format!("/lab {} ", row.name())), "{}", row.name());
    }
}

#[test]
fn a_typing_mistake_finds_its_command() {
    for (typed, meant) in [
        ("baords", Some("boards")),
        ("CANCLE", Some("cancel")),
        ("rety", Some("retry")),
        ("run-tets", Some("run-test")),
        ("取销", Some("取消")),
        ("frobnicate", None),
        ("x", None),
        (&"boards".repeat(20), None),
    ] {
        assert_eq!(near_command(typed), meant, "{typed}");
    }
}

#[test]
fn help_on_one_command_shows_one() {
    assert_eq!(help_facts(Some("/run-test"))["commands"][0]["name"], "run-test");
    assert_eq!(help_facts(Some("取消"))["topic"], "cancel");
    assert_eq!(help_facts(Some("nonsense"))["unknown"], true);
    assert_eq!(help_facts(Some("render"))["unknown"], true);
}

#[test]
fn the_readme_lists_every_available_command_and_no_other() {
    let table = readme_table();
    assert_eq!(table.lines().count(), 2 + available().count());
    assert!(table.contains("| `/lab power <board> <on\\|off\\|cycle\\|status\\|sequence>` |"), "{table}");
    assert!(!table.contains("render"));
}
