//! The one table of commands: words, arguments, options, help, example and role. It drives [`parse`](super::parse),
//! the help answer, did-you-mean, [`policy`](super::policy) and the README's list. Nothing here reads a person's
//! text; a verb that is not in [`TABLE`] does not exist.

mod table;

use serde_json::{Value, json};

use self::table::{ARGUMENTS_ZH, RUN_TEST_FREE};
pub use self::table::{CAMPAIGN_ZH, PAUSE_ZH, POWER_ZH, PRIORITY_ZH, TABLE};

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
    /// [`Command::Builds`](super::Command::Builds).
    Builds,
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
    /// [`Command::Drain`](super::Command::Drain).
    Drain,
    /// [`Command::Undrain`](super::Command::Undrain).
    Undrain,
    /// [`Command::Reserve`](super::Command::Reserve).
    Reserve,
    /// [`Command::Extend`](super::Command::Extend).
    Extend,
    /// [`Command::Release`](super::Command::Release).
    Release,
    /// [`Command::Hold`](super::Command::Hold).
    Hold,
    /// [`Command::Log`](super::Command::Log).
    Log,
    /// [`Command::Watch`](super::Command::Watch).
    Watch,
    /// [`Command::Unwatch`](super::Command::Unwatch).
    Unwatch,
    /// [`Command::Digest`](super::Command::Digest).
    Digest,
    /// [`Command::Link`](super::Command::Link).
    Link,
    /// [`Command::Unlink`](super::Command::Unlink).
    Unlink,
    /// [`Command::Workers`](super::Command::Workers).
    Workers,
    /// [`Command::Notify`](super::Command::Notify).
    Notify,
    /// [`Command::Nudge`](super::Command::Nudge).
    Nudge,
    /// [`Command::Handover`](super::Command::Handover).
    Handover,
    /// [`Command::Reload`](super::Command::Reload).
    Reload,
    /// [`Command::DeadLetters`](super::Command::DeadLetters).
    DeadLetters,
    /// [`Command::Resend`](super::Command::Resend).
    Resend,
    /// [`Command::Audit`](super::Command::Audit).
    Audit,
    /// [`Command::Campaign`](super::Command::Campaign).
    Campaign,
    /// [`Command::Schedules`](super::Command::Schedules).
    Schedules,
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
    /// The role of that key.
    pub fn from_word(word: &str) -> Option<Role> {
        [Role::User, Role::Operator, Role::Admin].into_iter().find(|role| role.as_str() == word)
    }

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
        (Form::Resend, _) if word == "all" => "全部".to_owned(),
        (Form::Campaign, _) => zh(CAMPAIGN_ZH, word),
        (Form::Schedules, _) => zh(PAUSE_ZH, word),
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
mod tests;
