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
    /// The same in Chinese.
    pub help_zh: &'static str,
    /// A whole line that works.
    pub example: &'static str,
    /// The same for whoever reads Chinese, where it is more than the Chinese words in their places.
    pub example_zh: &'static str,
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
    /// [`Command::Hold`](super::Command::Hold).
    Hold,
    /// [`Command::Notify`](super::Command::Notify).
    Notify,
    /// [`Command::Nudge`](super::Command::Nudge).
    Nudge,
    /// [`Command::Handover`](super::Command::Handover).
    Handover,
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
    /// How it stands in a usage line, in English and in Chinese: `suite=…`.
    pub usage: [&'static str; 2],
    /// What it does, in one line, in English and in Chinese.
    pub help: [&'static str; 2],
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

/// An option with its other spellings, the first of them Chinese; usage and help in English and in Chinese.
const fn option(
    name: &'static str,
    aliases: &'static [&'static str],
    usage: [&'static str; 2],
    help: [&'static str; 2],
) -> CommandOption {
    CommandOption { name, aliases, usage, help, flag: false, repeatable: false }
}

const fn flag(
    name: &'static str,
    aliases: &'static [&'static str],
    help: [&'static str; 2],
) -> CommandOption {
    CommandOption { flag: true, ..option(name, aliases, [name, aliases[0]], help) }
}

/// Options of `/run-test`; their names are reserved and can never be a plan's parameter.
const RUN_TEST_OPTIONS: &[CommandOption] = &[
    option(
        "suite",
        &["套件"],
        ["suite=…", "套件=…"],
        [
            "which tests; a board of the family names them: /lab board soc-a-001",
            "跑哪套测试；查看板卡可知有哪些：/lab 板子 soc-a-001",
        ],
    ),
    option(
        "priority",
        &["优先级"],
        ["priority=high|normal|low", "优先级=高|中|低"],
        ["who is sooner in line; normal when absent", "排队的先后；不写为中"],
    ),
    option(
        "rev",
        &["版本", "revision"],
        ["rev=…", "版本=…"],
        ["only a board of this revision, such as rev=rev2", "只用这个硬件版本的板卡，例如 版本=rev2"],
    ),
    CommandOption {
        repeatable: true,
        ..option(
            "tag",
            &["标签"],
            ["tag=k:v", "标签=k:v"],
            [
                "only a board with this tag, such as tag=ddr:8g; may stand more than once",
                "只用带这个标签的板卡，例如 标签=ddr:8g；可以写多个",
            ],
        )
    },
    option("on", &["板卡"], ["on=board", "板卡=…"], ["only this board", "只用这块板卡"]),
    option(
        "timeout",
        &["超时"],
        ["timeout=20m", "超时=20m"],
        ["the longest that the whole run may take", "整个任务最长用时"],
    ),
    option(
        "boards",
        &["板数"],
        ["boards=2", "板数=2"],
        ["so many boards of one site at once, for one run", "一个任务同时使用同一站点的几块板卡"],
    ),
];

/// What else may follow `/run-test`: usage, and what it does, each in English and in Chinese.
const RUN_TEST_FREE: &[([&str; 2], [&str; 2])] = &[
    (
        ["x3", "x3"],
        [
            "three runs of the same, each on a board of its own, under one card",
            "同样的任务跑三个，各用一块板卡，共用一张卡片",
        ],
    ),
    (
        ["name=value", "名字=值"],
        ["a parameter of the suite; the same answer names them", "测试套件的参数；查看板卡可知有哪些"],
    ),
];

/// Arguments of usage lines in Chinese.
const ARGUMENTS_ZH: &[(&str, &str)] = &[
    ("soc|board", "系列|板卡"),
    ("board|soc", "板卡|系列"),
    ("soc|site", "系列|站点"),
    ("1h", "1h"),
    ("2h", "2h"),
    ("30m", "30m"),
    ("person", "某人"),
    ("#", "#"),
    ("#|build", "#|构建"),
    ("soc", "系列"),
    ("board", "板卡"),
    ("build", "构建"),
    ("reason", "原因"),
    ("command", "命令"),
    ("on|off|cycle|status|sequence", "上电|断电|重启|状态|电源序列"),
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
    help_zh: "",
    example: "",
    example_zh: "",
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
        help_zh: "在板卡上测试一个构建；加 x3 跑三遍",
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
        help_zh: "有哪些板卡，谁在用",
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
        help_zh: "一块板卡：状态、占用者、健康情况",
        example: "/lab board soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Runs,
        words: &["runs", "queue"],
        zh: &["任务", "队列"],
        options: &[flag("mine", &["我的", "my"], ["only those that you asked for", "只看自己提交的"])],
        help: "What runs and what waits",
        help_zh: "哪些任务在跑，哪些在排队",
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
        help_zh: "一个任务：进行到哪里，或者结果如何",
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
        help_zh: "任务为什么还在等",
        example: "/lab why #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Compare,
        words: &["compare", "diff"],
        zh: &["对比"],
        arguments: &[maybe("#|build"), maybe("#|build"), maybe("soc")],
        options: &[option(
            "suite",
            &["套件"],
            ["suite=…", "套件=…"],
            ["which tests; as in /run-test", "哪套测试；与运行命令相同"],
        )],
        help: "What fails now and did not: two runs or builds, or one and the last good run before it",
        help_zh: "对比两个任务或构建，看哪些用例新失败；只给一个时与它之前最近一次通过的对比",
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
        help_zh: "结束任务；结束别人的任务需要 operator 角色",
        example: "/lab cancel #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Retry,
        words: &["retry", "rerun"],
        zh: &["重试", "重跑"],
        arguments: &[RUN],
        options: &[flag(
            "elsewhere",
            &["换板", "other", "other-board"],
            ["on another board than before", "换一块板卡"],
        )],
        help: "Run the same again, with elsewhere on another board",
        help_zh: "同样的任务再跑一遍，加“换板”则换一块板卡",
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
        help_zh: "控制或查询板卡电源；电源序列是 boards.yaml 里为该板卡定义的",
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
        help_zh: "隔离板卡，不再分配任务；正在跑的任务继续",
        example: "/lab quarantine soc-a-001 the fan is dead",
        example_zh: "/lab 隔离 soc-a-001 风扇坏了",
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
        help_zh: "恢复被隔离的板卡",
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
        help_zh: "预留一块板卡自己用一段时间：有空闲就立即得到，否则排队",
        example: "/lab reserve soc-a-001 2h DDR bring-up",
        example_zh: "/lab 预留 soc-a-001 2h 调试 DDR",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Extend,
        words: &["extend"],
        zh: &["延长"],
        arguments: &[maybe("board"), maybe("1h")],
        help: "Keep the board that you have for longer",
        help_zh: "延长自己预留的板卡",
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
        help_zh: "释放自己预留的板卡或排队位置；收回别人的板卡需要 operator 角色",
        example: "/lab release soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Hold,
        words: &["hold"],
        zh: &["保留"],
        arguments: &[maybe("#"), maybe("30m")],
        help: "Have a run's board as the run leaves it, should it fail, or once it has",
        help_zh: "任务失败后把板卡原样留给自己；已经失败的也可以",
        example: "/lab hold #42 30m",
        example_zh: "/lab 保留 #42 30m",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Notify,
        words: &["notify"],
        zh: &["通知"],
        arguments: &[word("board|soc")],
        help: "Tell me once when a board comes free",
        help_zh: "板卡空闲时通知我一次",
        example: "/lab notify soc-a-001",
        example_zh: "/lab 通知 soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Nudge,
        words: &["nudge"],
        zh: &["催促"],
        arguments: &[word("board")],
        help: "Ask whoever has a board whether they still need it",
        help_zh: "问问占用者是否还需要这块板卡",
        example: "/lab nudge soc-a-001",
        example_zh: "/lab 催促 soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Handover,
        words: &["handover"],
        zh: &["移交"],
        arguments: &[word("board"), word("person")],
        help: "Offer the board that you have to somebody; it is theirs once they take it",
        help_zh: "把你的板卡移交给别人，对方接受后生效",
        example: "/lab handover soc-a-001 @U0BOB",
        example_zh: "/lab 移交 soc-a-001 @U0BOB",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Reload,
        words: &["reload"],
        zh: &["重载"],
        help: "Read boards.yaml again; one with mistakes changes nothing",
        help_zh: "重新读取 boards.yaml；有错误则一切照旧",
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
        help_zh: "这里可以输入什么",
        example: "/lab help run-test",
        available: true,
        ..LATER
    },
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

/// What can be done with power, in Chinese and in English; the first word for each is the one that help shows.
pub const POWER_ZH: &[(&str, &str)] = &[
    ("上电", "on"),
    ("开", "on"),
    ("断电", "off"),
    ("关", "off"),
    ("重启", "cycle"),
    ("断电重启", "cycle"),
    ("状态", "status"),
];

/// Priorities, the same way.
pub const PRIORITY_ZH: &[(&str, &str)] =
    &[("高", "high"), ("中", "normal"), ("普通", "normal"), ("低", "low")];

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
        self.usage_in(0, self.typed(), |argument| argument)
    }

    /// The same in Chinese: `/lab 电源 <板卡> <上电|断电|重启|状态|电源序列>`.
    pub fn usage_zh(&self) -> String {
        let word = self.zh.first().copied().unwrap_or(self.name());
        self.usage_in(1, format!("/lab {word}"), |argument| column(ARGUMENTS_ZH, argument))
    }

    fn usage_in(&self, language: usize, typed: String, name: fn(&'static str) -> &'static str) -> String {
        let mut usage = typed;
        for argument in self.arguments {
            let (open, close) = if argument.optional { ('[', ']') } else { ('<', '>') };
            usage.extend([" ", &format!("{open}{}{close}", name(argument.name))]);
        }
        for option in self.options {
            usage.push_str(&format!(" [{}]", option.usage[language]));
        }
        if self.params {
            usage.push_str([" [x3] [name=value …]", " [x3] [名字=值 …]"][language]);
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
            .map(|(usage, help)| json!({ "usage": both(usage), "help": both(help) }))
            .collect()
    }

    /// The usage line in both languages.
    pub fn usage_facts(&self) -> Value {
        both([&self.usage(), &self.usage_zh()])
    }

    /// Facts of one command for the help templates.
    pub fn facts(&self) -> Value {
        json!({
            "name": self.name(),
            "usage": self.usage_facts(),
            "help": both([self.help, self.help_zh]),
            "example": self.example,
            "needs": self.needs.as_str(),
            "options": self.options_explained(),
        })
    }
}

/// A text in both languages, for templates.
fn both([en, zh]: [&str; 2]) -> Value {
    json!({ "en": en, "zh": zh })
}

/// What stands beside `word` in a table of two columns; the word itself where it is not in it.
fn column(table: &'static [(&'static str, &'static str)], word: &'static str) -> &'static str {
    table.iter().find(|(left, _)| *left == word).map_or(word, |(_, right)| right)
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

/// A line that could be typed, with its command, options and choices in Chinese: `/lab retry 42 elsewhere` becomes
/// `/lab 重试 42 换板`. What is no line of a command stays as it is.
pub fn in_chinese(line: &str) -> String {
    if let Some(row) = TABLE.iter().find(|row| !row.example_zh.is_empty() && row.example == line) {
        return row.example_zh.to_owned();
    }
    let words: Vec<&str> = line.split(' ').collect();
    let (to, verb, rest) = match words.as_slice() {
        ["/run-test", rest @ ..] => ("/lab", "run-test", rest),
        [to, verb, rest @ ..] if *to == "/lab" || to.starts_with('@') => (*to, *verb, rest),
        _ => return line.to_owned(),
    };
    // `run socA build-123` starts a run.
    let starts = verb.eq_ignore_ascii_case("run") && rest.len() > 1;
    let Some(row) = (if starts { Some(row(Form::RunTest)) } else { find(verb) }) else {
        return line.to_owned();
    };
    let Some(word) = row.zh.first() else { return line.to_owned() };
    let rest = rest.iter().map(|word| in_chinese_for(row, word));
    [(*to).to_owned(), (*word).to_owned()].into_iter().chain(rest).collect::<Vec<_>>().join(" ")
}

/// A word behind a command, in Chinese where that is known.
fn in_chinese_for(row: &Row, word: &str) -> String {
    let zh = |table: &[(&str, &str)], word: &str| {
        table.iter().find(|(_, english)| *english == word).map_or(word.to_owned(), |(zh, _)| (*zh).to_owned())
    };
    let alias = |name: &str| row.option(name).and_then(|option| option.aliases.first()).copied();
    match (row.form, word.split_once('=')) {
        (Form::Power, _) => zh(POWER_ZH, word),
        (Form::Help, _) => find(word).and_then(|row| row.zh.first()).map_or(word, |zh| *zh).to_owned(),
        (_, Some((name, value))) => match alias(name) {
            Some(alias) if name == "priority" => format!("{alias}={}", zh(PRIORITY_ZH, value)),
            Some(alias) => format!("{alias}={value}"),
            None => word.to_owned(),
        },
        (_, None) => {
            row.option(word).filter(|option| option.flag).and(alias(word)).unwrap_or(word).to_owned()
        }
    }
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
            RunTest, Boards, Board, Runs, Run, Why, Compare, Cancel, Retry, Power, Quarantine, Return,
            Reserve, Extend, Release, Hold, Notify, Nudge, Handover, Reload, Help,
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
