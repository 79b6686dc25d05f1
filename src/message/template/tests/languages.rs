//! English and Chinese say the same: message by message, block by block, fact by fact. A message, a word or a macro that
//! exists in one language only fails here, and so does English that was left standing in Chinese.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::super::structure::{BlockKind, BlockTemplate, File, Leaf, Message};
use super::super::{BUILTIN, structure};
use super::*;

/// Tables of words that Chinese has alone: English shows a cause by its code, and speaks as the audit log does.
const CHINESE_TABLES: [&str; 4] = ["cause", "deed", "held", "option"];
/// Macros that Chinese has alone.
const CHINESE_MACROS: [&str; 1] = ["cause"];

static TAG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)\{[{%#].*?[}%#]\}").expect("a pattern"));
static QUOTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""[^"]*"|'[^']*'"#).expect("a pattern"));
static FACT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[a-z_]+(?:\.[a-z_]+)+\b").expect("a pattern"));
static MACRO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)\{%-? macro (\w+)\((.*?)\) -?%\}(.*?)\{%-? endmacro").expect("a pattern")
});
/// Latin words one after the other; what stands behind a slash or an at sign is a line to type.
static LATIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^/@A-Za-z.-])[A-Za-z]{2,} [A-Za-z]{2,}").expect("a pattern"));

/// The built-in files of a language, joined.
fn language(locale: &str) -> File {
    let (mut whole, mut problems) = (File::default(), Vec::new());
    for (_, name, text) in BUILTIN.iter().filter(|(of, ..)| *of == locale) {
        let file = structure::parse(&format!("{locale}/{name}"), text, &mut problems);
        whole.join(file, &mut problems);
    }
    assert_eq!(problems, []);
    whole
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// What stands outside of tags.
fn literal(source: &str) -> String {
    TAG.replace_all(source, "\u{1}").into_owned()
}

/// The texts within tags: words that come out, names, and those that facts are held against.
fn quoted(source: &str) -> Vec<String> {
    let tags: Vec<&str> = TAG.find_iter(source).map(|tag| tag.as_str()).collect();
    let texts = tags.iter().flat_map(|tag| QUOTED.find_iter(tag));
    texts.map(|text| text.as_str()[1..text.len() - 1].to_owned()).collect()
}

/// Every fact that tags name, `outcome.detail`, but words and macros.
fn facts_of(source: &str) -> BTreeSet<String> {
    let tags = TAG.find_iter(source).map(|tag| QUOTED.replace_all(tag.as_str(), "").into_owned());
    let named: Vec<String> = tags
        .flat_map(|tag| FACT.find_iter(&tag).map(|f| f.as_str().to_owned()).collect::<Vec<_>>())
        .collect();
    let ours = ["say.", "words.", "loop."];
    named.into_iter().filter(|fact| !ours.iter().any(|name| fact.starts_with(name))).collect()
}

/// A block without its words: its kind, its condition, its buttons.
fn shape(block: &BlockTemplate) -> String {
    let when = |leaf: Option<&Leaf>| leaf.map_or("always".into(), |leaf| squeezed(&leaf.source));
    let kind = match &block.kind {
        BlockKind::Title(_) => "title".to_owned(),
        BlockKind::Text(_) => "text".to_owned(),
        BlockKind::Log(leaf) => format!("log {}", leaf.source),
        BlockKind::Context(_) => "context".to_owned(),
        BlockKind::Fields(fields) => format!("{} fields", fields.len()),
        BlockKind::Divider => "divider".to_owned(),
        BlockKind::Buttons(buttons) => {
            let button = |b: &ButtonTemplate| {
                format!("{} {:?} {} {}", b.verb.as_str(), b.style, b.confirm.is_some(), when(b.when.as_ref()))
            };
            buttons.iter().map(button).collect::<Vec<_>>().join(", ")
        }
    };
    format!("{kind} when {}", when(block.when.as_ref()))
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The texts of a message that people read, in order.
fn texts(message: &Message) -> Vec<&Leaf> {
    let mut texts = vec![&message.summary];
    for block in &message.blocks {
        match &block.kind {
            BlockKind::Title(leaf) | BlockKind::Text(leaf) | BlockKind::Context(leaf) => texts.push(leaf),
            BlockKind::Fields(fields) => texts.extend(fields.iter().flat_map(|(name, value)| [name, value])),
            BlockKind::Buttons(buttons) => {
                texts.extend(
                    buttons.iter().flat_map(|b| [&b.label].into_iter().chain(b.confirm.iter().flatten())),
                );
            }
            BlockKind::Log(_) | BlockKind::Divider => {}
        }
    }
    texts
}

/// What is wrong with a Chinese text beside its English one.
fn mistakes(place: &str, english: &str, chinese: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let reads = |source: &str| format!("{} {}", literal(source), quoted(source).join(" "));
    let says = |source: &str| literal(source).split(|c: char| !c.is_ascii_alphabetic()).any(|w| w.len() > 2);
    let named = |source: &str| source.replace("boards.yaml", "").replace("boardhand", "");
    if says(&named(english)) && !is_chinese(&reads(chinese)) {
        wrong.push(format!("{place}: not in Chinese: {chinese:?}"));
    }
    let known = named(chinese);
    let left = [literal(&known)].into_iter().chain(quoted(&known));
    wrong.extend(left.filter(|text| LATIN.is_match(text)).map(|text| format!("{place}: English: {text:?}")));
    if literal(chinese).contains([',', ';', '!', '?', '(']) {
        wrong.push(format!("{place}: half-width punctuation: {:?}", literal(chinese)));
    }
    wrong
}

#[test]
fn every_message_exists_in_both_languages_with_the_same_blocks_buttons_and_facts() {
    let [english, chinese] = LOCALES.map(language);
    let names = |file: &File| file.messages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&english), names(&chinese), "a message exists in one language only");
    for (name, english) in &english.messages {
        let chinese = &chinese.messages[name];
        let tone = |message: &Message| message.tone.as_ref().map(|tone| tone.source.clone());
        assert_eq!(tone(english), tone(chinese), "the tone of {name}");
        let shapes = |message: &Message| message.blocks.iter().map(shape).collect::<Vec<_>>();
        assert_eq!(shapes(english), shapes(chinese), "the blocks of {name}");
        let facts = |message: &Message| {
            let mut leaves = Vec::new();
            message.leaves(&mut leaves);
            leaves.iter().flat_map(|leaf| facts_of(&leaf.source)).collect::<BTreeSet<_>>()
        };
        assert_eq!(facts(english), facts(chinese), "the facts of {name}");
    }
}

/// The facts that a phrase needs from whoever says it.
fn needs(phrase: &Leaf) -> BTreeSet<String> {
    let env = Environment::new();
    let template =
        env.template_from_str(&phrase.source).unwrap_or_else(|e| panic!("{}: {e}", phrase.place()));
    let named = template.undeclared_variables(false);
    named.into_iter().filter(|name| !["say", "words"].contains(&name.as_str())).collect()
}

#[test]
fn every_phrase_exists_in_both_languages_with_the_same_facts_and_a_sample() {
    let [english, chinese] = LOCALES.map(language);
    let phrases = |file: &File| {
        file.phrases.iter().map(|(name, leaf)| (name.clone(), needs(leaf))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(phrases(&english), phrases(&chinese));
    fn said(value: &Json, out: &mut BTreeSet<String>) {
        match value {
            Json::Object(fields) => {
                out.extend(fields.get("phrase").and_then(Json::as_str).map(str::to_owned));
                fields.values().for_each(|value| said(value, out));
            }
            Json::Array(items) => items.iter().for_each(|value| said(value, out)),
            _ => {}
        }
    }
    let mut sampled = BTreeSet::new();
    said(&Json::Object(samples()), &mut sampled);
    assert_eq!(
        sampled,
        english.phrases.keys().cloned().collect(),
        "each is filled in once, and none else is"
    );
}

#[test]
fn every_word_and_macro_exists_in_both_languages() {
    fn keys(at: &str, words: &Map<String, Json>, out: &mut BTreeSet<String>) {
        for (name, value) in words {
            match value {
                Json::Object(table) => keys(&format!("{at}{name}."), table, out),
                _ => drop(out.insert(format!("{at}{name}"))),
            }
        }
    }
    let [english, mut chinese] = LOCALES.map(language);
    CHINESE_TABLES.iter().for_each(|table| assert!(chinese.words.remove(*table).is_some(), "{table}"));
    let all = |file: &File| {
        let mut all = BTreeSet::new();
        keys("", &file.words, &mut all);
        all
    };
    assert_eq!(all(&english), all(&chinese), "a word exists in one language only");
    let macros = |file: &File| {
        let source = file.macros.as_ref().map(|leaf| leaf.source.clone()).unwrap_or_default();
        let found = MACRO.captures_iter(&source);
        found.map(|m| (m[1].to_owned(), (m[2].to_owned(), facts_of(&m[3])))).collect::<BTreeMap<_, _>>()
    };
    let (english, mut chinese) = (macros(&english), macros(&chinese));
    CHINESE_MACROS.iter().for_each(|name| assert!(chinese.remove(*name).is_some(), "{name}"));
    assert!(english.len() > 20, "{english:?}");
    let names = |macros: &BTreeMap<String, _>| macros.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&english), names(&chinese), "a macro exists in one language only");
    for (name, (_, facts)) in &english {
        assert_eq!(facts, &chinese[name].1, "the facts of the macro {name}");
    }
}

#[test]
fn no_english_is_left_standing_in_chinese() {
    let [english, chinese] = LOCALES.map(language);
    let mut wrong = Vec::new();
    for (name, english) in &english.messages {
        let pairs = texts(english).into_iter().zip(texts(&chinese.messages[name]));
        wrong.extend(
            pairs.flat_map(|(e, c)| mistakes(&format!("{name}, {}", c.place()), &e.source, &c.source)),
        );
    }
    for (name, phrase) in &english.phrases {
        wrong.extend(mistakes(&format!("the phrase {name}"), &phrase.source, &chinese.phrases[name].source));
    }
    let source = |file: &File| file.macros.as_ref().map(|leaf| leaf.source.clone()).unwrap_or_default();
    let (english, chinese) = (source(&english), source(&chinese));
    for found in MACRO.captures_iter(&chinese) {
        let of = |found: &regex::Captures<'_>| found[3].to_owned();
        let same = MACRO.captures_iter(&english).find(|other| other[1] == found[1]);
        wrong.extend(mistakes(&found[1], &same.as_ref().map(of).unwrap_or_default(), &of(&found)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_comparison_finds_what_it_is_there_for() {
    let found = |english: &str, chinese: &str| mistakes("x", english, chinese).len();
    assert_eq!(found("{{ n }} is cancelled", "{{ n }} 已取消"), 0);
    assert_eq!(found("Cancel", "Cancel"), 1);
    assert_eq!(found("It ends now", "It ends now"), 2);
    assert_eq!(found("a {{ 'board' if b }}", "板卡 {{ 'goes to the next' if b }}"), 1);
    assert_eq!(found("Type {{ '/lab why 42' }}", "输入 {{ '/lab 为什么 42' }}, 查看"), 1);
    assert_eq!(facts_of("{{ run.by.id }}{% if words.x[a.b] == 'c.d' %}").len(), 2);
}

#[test]
fn every_cause_that_the_documentation_names_has_a_chinese_word() {
    let table = include_str!("../../../../docs/verdicts.md");
    let causes =
        table.split("## Causes").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a table");
    let row = |line: &str| line.strip_prefix("| `")?.split('|').next().map(str::to_owned);
    let named: Vec<String> = causes.lines().filter_map(row).collect();
    let words = language("zh").words["cause"].as_object().cloned().unwrap_or_default();
    let codes = named.iter().flat_map(|cell| cell.split('`')).filter(|code| {
        !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !code.ends_with('-')
    });
    let codes: BTreeSet<&str> = codes.collect();
    let boots = |code: &str| code.strip_prefix("boot-").is_some_and(|rest| words.contains_key(rest));
    let without: Vec<_> = codes.iter().filter(|code| !words.contains_key(**code) && !boots(code)).collect();
    assert!(codes.len() > 30 && without.is_empty(), "{without:?}");
}

#[test]
fn what_somebody_may_not_is_said_in_chinese_too() {
    let policy = include_str!("../../../command/policy.rs");
    let rules = policy.split_once("fn rule").expect("the rules").1;
    let rules = rules.split_once("\n}\n").expect("their end").0;
    let deeds: BTreeSet<&str> =
        rules.split('"').skip(1).step_by(2).filter(|deed| deed.contains(' ')).collect();
    let known = &language("zh").words["deed"];
    let missing: Vec<&&str> = deeds.iter().filter(|deed| known.get(**deed).is_none()).collect();
    assert!(deeds.len() > 30 && missing.is_empty(), "{missing:?}");
}
