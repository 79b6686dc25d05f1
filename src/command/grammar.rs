//! The one table of commands: words, arguments, options, help, example and role. It drives [`parse`](super::parse),
//! the help answer, did-you-mean, [`policy`](super::policy) and the README's list. Nothing here reads a person's
//! text; a verb that is not in [`TABLE`] does not exist.

use serde_json::{Value, json};

/// One command of the table.
#[derive(Debug)]
pub struct Row {
    /// What the words mean to the parser.
    pub form: Form,
    /// English words; the first is the one that help shows.
    pub words: &'static [&'static str],
    /// Chinese words; empty where there is none.
    pub zh: &'static [&'static str],
    /// Arguments in their order.
    pub arguments: &'static [Argument],
    /// `name=value` options, and bare flags.
    pub options: &'static [CommandOption],
    /// Whether any other `name=value` is taken as a parameter of the plan.
    pub params: bool,
    /// What it does, in one line.
    pub help: &'static str,
    /// A whole line that works.
    pub example: &'static str,
    /// Who may use it at all; [`policy`](super::policy) refines it per run.
    pub needs: Role,
    /// Whether this version has it. What it has not is absent from help and answered so when it is typed.
    pub available: bool,
}

/// What a row parses into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// [`Command::RunTest`](super::Command::RunTest).
    RunTest,
    /// [`Command::Boards`](super::Command::Boards).
    Boards,
    /// [`Command::Board`](super::Command::Board).
    Board,
    /// [`Command::Runs`](super::Command::Runs).
    Runs,
    /// [`Command::Run`](super::Command::Run).
    Run,
    /// [`Command::Why`](super::Command::Why).
    Why,
    /// [`Command::Compare`](super::Command::Compare).
    Compare,
    /// [`Command::Cancel`](super::Command::Cancel).
    Cancel,
    /// [`Command::Retry`](super::Command::Retry).
    Retry,
    /// [`Command::Power`](super::Command::Power).
    Power,
    /// [`Command::Quarantine`](super::Command::Quarantine).
    Quarantine,
    /// [`Command::Return`](super::Command::Return).
    Return,
    /// [`Command::Reserve`](super::Command::Reserve).
    Reserve,
    /// [`Command::Extend`](super::Command::Extend).
    Extend,
    /// [`Command::Release`](super::Command::Release).
    Release,
    /// [`Command::Reload`](super::Command::Reload).
    Reload,
    /// [`Command::Help`](super::Command::Help).
    Help,
    /// A command of the contract that this version does not have.
    Later,
}

/// A role, weakest first; each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `roles.user`.
    User,
    /// `roles.operator`.
    Operator,
    /// `roles.admin`.
    Admin,
}

impl Role {
    /// The key under `roles:` in boards.yaml.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// One argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Its name in usage lines, such as `soc|board`.
    pub name: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it takes the rest of the line: names of sites have spaces, and nobody types quotes.
    pub rest: bool,
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandOption {
    /// Its name: `suite` of `suite=smoke`. A flag's is the bare word itself.
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// How it stands in a usage line: `suite=…`.
    pub usage: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Whether it is a bare word without a value.
    pub flag: bool,
    /// Whether it may stand more than once.
    pub repeatable: bool,
}

const fn word(name: &'static str) -> Argument {
    Argument { name, optional: false, rest: false }
}

const fn maybe(name: &'static str) -> Argument {
    Argument { name, optional: true, rest: false }
}

const fn rest(name: &'static str) -> Argument {
    Argument { rest: true, ..word(name) }
}

const fn maybe_rest(name: &'static str) -> Argument {
    Argument { rest: true, ..maybe(name) }
}

/// `#42` or `42`; may be left out in a run's thread.
const RUN: Argument = word("#");

const fn option(name: &'static str, usage: &'static str, help: &'static str) -> CommandOption {
    CommandOption { name, aliases: &[], usage, help, flag: false, repeatable: false }
}

const fn flag(name: &'static str, aliases: &'static [&'static str], help: &'static str) -> CommandOption {
    CommandOption { flag: true, aliases, ..option(name, name, help) }
}

/// Options of `/run-test`; their names are reserved and can never be a plan's parameter.
const RUN_TEST_OPTIONS: &[CommandOption] = &[
    option("suite", "suite=…", "which tests; a board of the family names them: /lab board soc-a-001"),
    option("priority", "priority=high|normal|low", "who is sooner in line; normal when absent"),
    CommandOption {
        aliases: &["revision"],
        ..option("rev", "rev=…", "only a board of this revision, such as rev=rev2")
    },
    CommandOption {
        repeatable: true,
        ..option("tag", "tag=k:v", "only a board with this tag, such as tag=ddr:8g; may stand more than once")
    },
    option("on", "on=board", "only this board"),
    option("timeout", "timeout=20m", "the longest that the whole run may take"),
    option("boards", "boards=2", "so many boards of one site at once, for one run"),
];

/// What else may follow `/run-test`.
const RUN_TEST_FREE: &[(&str, &str)] = &[
    ("x3", "three runs of the same, each on a board of its own, under one card"),
    ("name=value", "a parameter of the suite; the same answer names them"),
];

/// The default of a row: a command that comes later.
const LATER: Row = Row {
    form: Form::Later,
    words: &[],
    zh: &[],
    arguments: &[],
    options: &[],
    params: false,
    help: "",
    example: "",
    needs: Role::User,
    available: false,
};

const fn later(words: &'static [&'static str], zh: &'static [&'static str]) -> Row {
    Row { words, zh, ..LATER }
}

/// Every command.
pub const TABLE: &[Row] = &[
    Row {
        form: Form::RunTest,
        words: &["run-test", "runtest"],
        zh: &["运行", "测试", "跑"],
        arguments: &[word("soc|board"), word("build")],
        options: RUN_TEST_OPTIONS,
        params: true,
        help: "Test a build on a board; add x3 to run it three times",
        example: "/run-test socA build-123 suite=smoke priority=high",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Boards,
        words: &["boards"],
        zh: &["板卡", "所有板子"],
        arguments: &[maybe_rest("soc|site")],
        help: "Which boards there are, and who has them",
        example: "/lab boards socA",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Board,
        words: &["board"],
        zh: &["板子", "单板"],
        arguments: &[word("board")],
        help: "One board: state, holder, health",
        example: "/lab board soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Runs,
        words: &["runs", "queue"],
        zh: &["任务", "队列"],
        options: &[flag("mine", &["my", "我的"], "only those that you asked for")],
        help: "What runs and what waits",
        example: "/lab runs mine",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Run,
        words: &["run", "status", "show"],
        zh: &["状态", "查看"],
        arguments: &[RUN],
        help: "One run: where it is, or how it ended",
        example: "/lab run #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Why,
        words: &["why"],
        zh: &["为什么", "原因"],
        arguments: &[RUN],
        help: "Why a run is still waiting",
        example: "/lab why #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Compare,
        words: &["compare", "diff"],
        zh: &["对比"],
        arguments: &[maybe("#|build"), maybe("#|build"), maybe("soc")],
        options: &[option("suite", "suite=…", "which tests; as in /run-test")],
        help: "What fails now and did not: two runs or builds, or one and the last good run before it",
        example: "/lab compare build-119 build-123 socA",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Cancel,
        words: &["cancel", "abort", "stop"],
        zh: &["取消", "停止"],
        arguments: &[RUN],
        help: "End a run; other people's runs need an operator",
        example: "/lab cancel #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Retry,
        words: &["retry", "rerun"],
        zh: &["重试", "重跑"],
        arguments: &[RUN],
        options: &[flag("elsewhere", &["other", "other-board", "换板"], "on another board than before")],
        help: "Run the same again, with elsewhere on another board",
        example: "/lab retry #42 elsewhere",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Power,
        words: &["power"],
        zh: &["电源"],
        arguments: &[word("board"), word("on|off|cycle|status|sequence")],
        help: "Switch or read a board's power; a sequence is one of its own in boards.yaml",
        example: "/lab power soc-a-001 cycle",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Quarantine,
        words: &["quarantine"],
        zh: &["隔离"],
        arguments: &[word("board"), rest("reason")],
        help: "Take a board out of service; what runs on it goes on",
        example: "/lab quarantine soc-a-001 the fan is dead",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Return,
        words: &["return"],
        zh: &["恢复"],
        arguments: &[word("board")],
        help: "Put a quarantined board back into service",
        example: "/lab return soc-a-001",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Reserve,
        words: &["reserve"],
        zh: &["预留", "预约"],
        arguments: &[word("board|soc"), maybe("2h"), maybe_rest("reason")],
        help: "Have a board as your own for a while: at once, or in your turn",
        example: "/lab reserve soc-a-001 2h DDR bring-up",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Extend,
        words: &["extend"],
        zh: &["延长"],
        arguments: &[maybe("board"), maybe("1h")],
        help: "Keep the board that you have for longer",
        example: "/lab extend soc-a-001 1h",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Release,
        words: &["release"],
        zh: &["释放"],
        arguments: &[maybe("board|soc")],
        help: "Give back the board that you have, or your place in line; other people's boards need an operator",
        example: "/lab release soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Reload,
        words: &["reload"],
        zh: &["重载"],
        help: "Read boards.yaml again; one with mistakes changes nothing",
        example: "/lab reload",
        needs: Role::Admin,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Help,
        words: &["help", "?"],
        zh: &["帮助"],
        arguments: &[maybe("command")],
        help: "What can be typed here",
        example: "/lab help run-test",
        available: true,
        ..LATER
    },
    later(&["hold"], &["保留"]),
    later(&["notify"], &["通知"]),
    later(&["nudge"], &["催促"]),
    later(&["handover"], &["移交"]),
    later(&["watch"], &["关注"]),
    later(&["unwatch"], &["取消关注"]),
    later(&["builds"], &["构建"]),
    later(&["log"], &["日志"]),
    later(&["campaign"], &["批次"]),
    later(&["drain"], &["排空"]),
    later(&["undrain"], &["取消排空"]),
    later(&["deadletters"], &["死信"]),
    later(&["audit"], &["审计"]),
    later(&["link"], &["绑定"]),
    later(&["digest"], &["日报"]),
    later(&["render"], &["渲染"]),
];

/// What can be done with power, in Chinese and in English.
pub const CHOICES_ZH: &[(&str, &str)] =
    &[("开", "on"), ("关", "off"), ("重启", "cycle"), ("断电重启", "cycle"), ("状态", "status")];

/// Longest word, in characters, that gets a did-you-mean: what is longer is no typing mistake.
pub const NEAR_CHARS_MAX: usize = 32;

impl Row {
    /// The word that help shows.
    pub fn name(&self) -> &'static str {
        self.words.first().copied().unwrap_or_default()
    }

    /// What is typed for it: `/lab power`.
    pub fn typed(&self) -> String {
        match self.form {
            Form::RunTest => "/run-test".to_owned(),
            _ => format!("/lab {}", self.name()),
        }
    }

    /// The whole usage line: `/lab power <board> <on|off|cycle|status|sequence>`.
    pub fn usage(&self) -> String {
        let mut usage = self.typed();
        for argument in self.arguments {
            let (open, close) = if argument.optional { ('[', ']') } else { ('<', '>') };
            usage.extend([" ", &format!("{open}{}{close}", argument.name)]);
        }
        for option in self.options {
            usage.push_str(&format!(" [{}]", option.usage));
        }
        if self.params {
            usage.push_str(" [x3] [name=value …]");
        }
        usage
    }

    /// The option of that name or alias.
    pub fn option(&self, name: &str) -> Option<&'static CommandOption> {
        self.options.iter().find(|o| same(o.name, name) || o.aliases.iter().any(|alias| same(alias, name)))
    }

    /// What may follow it, each with what it does.
    fn options_explained(&self) -> Vec<Value> {
        let free = if self.params { RUN_TEST_FREE } else { &[] };
        let options = self.options.iter().map(|option| (option.usage, option.help));
        options
            .chain(free.iter().copied())
            .map(|(usage, help)| json!({ "usage": usage, "help": help }))
            .collect()
    }

    /// Facts of one command for the help templates.
    pub fn facts(&self) -> Value {
        json!({
            "name": self.name(),
            "zh": self.zh.first().copied().unwrap_or_default(),
            "usage": self.usage(),
            "help": self.help,
            "example": self.example,
            "needs": self.needs.as_str(),
            "options": self.options_explained(),
        })
    }
}

/// The row of a word in either language, whatever its case.
pub fn find(word: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.words.iter().chain(row.zh).any(|known| same(known, word)))
}

/// The row of a form; [`Form::Later`] has many and gives the first.
pub fn row(form: Form) -> &'static Row {
    TABLE.iter().find(|row| row.form == form).expect("every form has a row, as a test checks")
}

/// The known word nearest to `word`, for did-you-mean: at most one wrong character in three.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if !(2..=NEAR_CHARS_MAX).contains(&length) {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (length / 3).max(1) && *distance < candidate.chars().count().max(2)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The command word nearest to `word`, among the commands that this version has.
pub fn near_command(word: &str) -> Option<&'static str> {
    near(word, available().flat_map(|row| row.words.iter().chain(row.zh)).copied())
}

/// Facts of the help answer: `{topic, commands: [...]}`. A topic that is no command gives all of them and
/// `unknown: true`.
pub fn help_facts(topic: Option<&str>) -> Value {
    let chosen = topic.and_then(|topic| find(topic.trim_start_matches('/'))).filter(|row| row.available);
    let commands: Vec<Value> = match chosen {
        Some(row) => vec![row.facts()],
        None => available().map(Row::facts).collect(),
    };
    json!({
        "topic": chosen.map(Row::name),
        "unknown": topic.is_some() && chosen.is_none(),
        "commands": commands,
    })
}

/// The README's list of commands as a Markdown table, ending in a newline.
pub fn readme_table() -> String {
    let mut table = String::from("| Command | What it does | Role | Chinese |\n| --- | --- | --- | --- |\n");
    for row in available() {
        let usage = row.usage().replace('|', "\\|");
        let zh = row.zh.first().copied().unwrap_or_default();
        table.push_str(&format!("| `{usage}` | {} | {} | {zh} |\n", row.help, row.needs.as_str()));
    }
    table
}

fn available() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.available)
}

fn same(known: &str, typed: &str) -> bool {
    known.eq_ignore_ascii_case(typed)
}

#[cfg(test)]
mod tests {
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
    fn every_form_has_exactly_one_row_but_later() {
        use Form::*;
        for form in [
            RunTest, Boards, Board, Runs, Run, Why, Compare, Cancel, Retry, Power, Quarantine, Return,
            Reserve, Extend, Release, Reload, Help,
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
        assert_eq!(help_facts(Some("drain"))["unknown"], true);
    }

    #[test]
    fn the_readme_lists_every_available_command_and_no_other() {
        let table = readme_table();
        assert_eq!(table.lines().count(), 2 + available().count());
        assert!(table.contains("| `/lab power <board> <on\\|off\\|cycle\\|status\\|sequence>` |"), "{table}");
        assert!(!table.contains("drain"));
    }
}
