//! Every built-in template with sample facts, through Slack's renderer and limits; hostile facts; failing templates.

mod languages;

use serde_json::json;

use super::*;
use crate::chat::slack::blocks;
use crate::clock::Timestamp;
use crate::command::Verb;
use crate::message::ButtonStyle;
use crate::sim::slack::limits;

/// The languages that are built in.
const LOCALES: [&str; 2] = ["en", "zh"];

/// One set of facts or more for every template, by its name.
fn samples() -> Map<String, Json> {
    serde_json::from_str(include_str!("../../../message-templates/samples.json")).expect("samples are JSON")
}

fn variants(samples: &Json) -> Vec<&Json> {
    samples.as_array().map_or_else(|| vec![samples], |many| many.iter().collect())
}

fn note(template: &str, facts: &Json) -> Note {
    Note::new(template, facts)
}

#[track_caller]
fn rendered(template: &str, facts: &Json) -> Card {
    rendered_in(&Catalogue::builtin(), DEFAULT_LOCALE, template, facts)
}

#[track_caller]
fn rendered_in(catalogue: &Catalogue, locale: &str, template: &str, facts: &Json) -> Card {
    catalogue.try_render(locale, &note(template, facts)).unwrap_or_else(|e| {
        panic!("{locale} {template}: {e}: {:?}", std::error::Error::source(&e).map(ToString::to_string))
    })
}

/// A card as a person reads it, on a screen without type faces.
fn read(card: &Card) -> String {
    let words = |text: &Text| text.0.iter().map(|s| markup::plain(&markup::mark(s))).collect::<String>();
    let mut out = format!("[{:?}] {}\n", card.tone, card.summary);
    for block in &card.blocks {
        out += &match block {
            Block::Title(title) => format!("# {title}\n"),
            Block::Text(text) => format!("{}\n", words(text)),
            Block::Fields(fields) => {
                fields.iter().map(|(label, value)| format!("  {label}: {}\n", words(value))).collect()
            }
            Block::Log(log) => log.lines().map(|line| format!("  | {line}\n")).collect(),
            Block::Context(text) => format!("  ({})\n", words(text)),
            Block::Buttons(buttons) => {
                buttons.iter().map(|b| format!("[{}]", b.label)).collect::<String>() + "\n"
            }
            Block::Divider => "---\n".to_owned(),
        };
    }
    out
}

/// A catalogue with one more message, `x`, made of this YAML.
fn with(yaml: &str) -> Result<Catalogue, Vec<TemplateProblem>> {
    Catalogue::read(&[("en".into(), "mine.yaml".into(), yaml.into())])
}

#[track_caller]
fn check_problem(yaml: &str, line: usize, message: &str) {
    let problems = with(yaml).err().unwrap_or_default();
    let found =
        problems.iter().any(|p| p.line == line && p.file == "en/mine.yaml" && p.message.contains(message));
    assert!(found, "{problems:?}");
}

#[track_caller]
fn text_of(template: &str, facts: &Json) -> Text {
    let yaml = format!("x:\n  summary: x\n  blocks:\n    - text: {}\n", json!(template));
    let card = with(&yaml).expect("good").try_render(DEFAULT_LOCALE, &note("x", facts)).expect("renders");
    card.blocks
        .into_iter()
        .find_map(|b| if let Block::Text(text) = b { Some(text) } else { None })
        .unwrap_or_default()
}

#[test]
fn every_template_has_a_sample_and_every_sample_is_a_good_message() {
    let (catalogue, samples) = (Catalogue::builtin(), samples());
    assert_eq!(catalogue.names().collect::<Vec<_>>(), samples.keys().map(String::as_str).collect::<Vec<_>>());
    let sampled = |locale| samples.iter().map(move |(name, facts)| (locale, name, facts));
    for (locale, name, facts) in LOCALES.into_iter().flat_map(sampled) {
        for facts in variants(facts) {
            let card = rendered_in(&catalogue, locale, name, facts);
            assert!(!card.summary.is_empty() && !card.blocks.is_empty(), "{name}");
            let said = read(&card);
            assert!(
                !said.contains("none") && !said.contains("undefined") && !said.contains("  \n"),
                "{name}:\n{said}"
            );
            assert_eq!(limits::check_message(&blocks::render(&card)), vec![], "{locale} {name}");
        }
    }
}

#[test]
fn every_template_keeps_hostile_facts_in_their_place() {
    fn poison(value: &Json) -> Json {
        match value {
            Json::String(text) if text.is_empty() => value.clone(),
            Json::String(text) => json!(format!(
                "{text}\u{fdd0}b\u{fdd1}x\u{fdd2}<!channel>{{{{ 6 * 7 * 1009 }}}}```\u{1b}[31m\n- title: no"
            )),
            Json::Array(items) => Json::Array(items.iter().map(poison).collect()),
            Json::Object(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(name, value)| {
                        // The closed words of a template's logic come from our own types.
                        let ours = [
                            "state", "verdict", "kind", "mark", "platform", "action", "ask", "next", "what",
                            "phrase", "can",
                        ];
                        (
                            name.clone(),
                            if ours.contains(&name.as_str()) { value.clone() } else { poison(value) },
                        )
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }
    let (catalogue, samples) = (Catalogue::builtin(), samples());
    let sampled = |locale| samples.iter().map(move |(name, facts)| (locale, name, facts));
    for (locale, name, facts) in LOCALES.into_iter().flat_map(sampled) {
        for facts in variants(facts) {
            let read_as = |facts: &Json| rendered_in(&catalogue, locale, name, facts);
            let (clean, hostile) = (read_as(facts), read_as(&poison(facts)));
            assert_eq!(clean.blocks.len(), hostile.blocks.len(), "{name}");
            let message = blocks::render(&hostile);
            assert_eq!(limits::check_message(&message), vec![], "{name}");
            assert!(!message["text"].as_str().is_some_and(|t| t.contains("<!")), "{name}");
            assert!(!read(&hostile).contains("42378"), "{name}: a fact was evaluated");
        }
    }
}

#[test]
fn markup_comes_from_filters_and_from_nothing_else() {
    let facts = json!({"a": "x\u{fdd0}b\u{fdd1}y\u{fdd2}", "by": {"platform": "slack", "id": "U1"}, "at": 5});
    let spans = text_of(
        "{{ a }} {{ a | bold }} {{ 'b' | code }} {{ by | mention }} {{ at | time }} {{ 'https://x' | link('L') }}",
        &facts,
    );
    let Text(spans) = spans;
    assert_eq!(spans[0], Span::Plain("xby ".into()));
    assert_eq!(spans[1], Span::Bold("xby".into()));
    assert_eq!(spans[3], Span::Code("b".into()));
    assert!(matches!(&spans[5], Span::Mention(actor) if actor.id == "U1"));
    assert_eq!(spans[7], Span::Time(Timestamp::from_micros(5)));
    assert_eq!(spans[9], Span::Link { url: "https://x".into(), label: "L".into() });
}

#[test]
fn markup_within_markup_is_its_words_and_titles_have_none() {
    assert_eq!(text_of("{{ ('a' ~ ('b' | code)) | bold }}", &json!({})), Text(vec![Span::Bold("ab".into())]));
    let yaml = "x:\n  summary: \"{{ 'a' | bold }}\\n b\"\n  blocks:\n    - title: \"{{ 'c' | code }}\"\n";
    let card = with(yaml).expect("good").try_render(DEFAULT_LOCALE, &note("x", &json!({}))).expect("renders");
    assert_eq!((card.summary.as_str(), &card.blocks[0]), ("a b", &Block::Title("c".into())));
}

#[test]
fn what_comes_out_empty_is_left_out() {
    let yaml = "x:\n  summary: x\n  blocks:\n    - title: \"{{ a }}\"\n    - text: \" {{ a }}\"\n    - log: \"{{ a }}\"\n    \
                - fields: [[A, \"{{ a }}\"]]\n    - context: c\n      when: a\n    - context: d\n      when: b\n";
    let card = with(yaml)
        .expect("good")
        .try_render(DEFAULT_LOCALE, &note("x", &json!({"a": null})))
        .expect("renders");
    assert_eq!(card.blocks, vec![]);
}

#[test]
fn buttons_know_their_run_and_revision_and_are_left_out_without() {
    let facts = &samples()["run-card"];
    let card = rendered("run-card", variants(facts)[0]);
    let Some(Block::Buttons(buttons)) = card.blocks.last() else { panic!("{card:?}") };
    let cycle = buttons.iter().find(|b| b.click.verb == Verb::PowerCycle).expect("power cycle");
    // What ends an attempt knows which one; the others are about the run.
    let value = format!("power-cycle:42:7:{}", variants(facts)[0]["started_at"]);
    assert_eq!((cycle.click.value(), cycle.style), (value.clone(), ButtonStyle::Danger));
    assert_eq!(Click::parse(&value), Some(cycle.click.clone()));
    let others = buttons.iter().filter(|b| b.click.verb != Verb::PowerCycle);
    assert!(others.map(|b| b.click.value()).all(|value| value.split(':').count() == 3));
    assert!(cycle.confirm.as_ref().is_some_and(|c| c.title.contains("soc-a-001") && c.text.contains("#42")));
    let mut no_generation = variants(facts)[0].clone();
    no_generation.as_object_mut().expect("facts").remove("generation");
    assert!(!rendered("run-card", &no_generation).blocks.iter().any(|b| matches!(b, Block::Buttons(_))));
}

#[test]
fn a_note_that_cannot_be_rendered_shows_its_facts() {
    let catalogue = with("x:\n  summary: \"{{ missing }}\"\n").expect("good");
    let facts = json!({"run": {"number": 42}, "reason": "x".repeat(500), "list": [1]});
    for template in ["x", "no-such-template", "run-finished"] {
        let card = catalogue.render(DEFAULT_LOCALE, &note(template, &facts));
        assert_eq!(card.tone, Tone::Warning);
        let said = read(&card);
        assert!(
            said.contains("run.number: 42\n") && said.contains(&format!("reason: {}\n", "x".repeat(200))),
            "{said}"
        );
        assert_eq!(limits::check_message(&blocks::render(&card)), vec![]);
    }
    let many = json!((0..30).map(|n| (format!("f{n}"), json!(n))).collect::<Map<String, Json>>());
    assert_eq!(
        read(&catalogue.render(DEFAULT_LOCALE, &note("no", &many))).matches(": ").count(),
        FALLBACK_FACTS_MAX
    );
}

#[test]
fn a_text_that_grows_too_long_is_cut() {
    let Text(spans) = text_of("{% for i in range(20000) %}ééé{% endfor %}", &json!({}));
    assert!(
        matches!(&spans[..], [Span::Plain(text)] if (LEAF_BYTES_MAX - 1..=LEAF_BYTES_MAX).contains(&text.len()))
    );
}

#[test]
fn mistakes_in_a_file_come_with_their_lines_and_all_at_once() {
    check_problem("x:\n  summary: a\n  color: b\n", 3, "unknown key `color`");
    check_problem("x:\n  blocks: []\n", 2, "needs a summary");
    check_problem("x:\n  summary: 42\n", 2, "must be text");
    check_problem("x:\n  summary: a\n  blocks:\n    - titel: b\n", 4, "unknown key `titel`");
    check_problem(
        "x:\n  summary: a\n  blocks:\n    - title: b\n      text: c\n",
        4,
        "one block is one thing",
    );
    check_problem("x:\n  summary: a\n  blocks:\n    - fields: [[a]]\n", 4, "a list of two");
    check_problem(
        "x:\n  summary: a\n  blocks:\n    - buttons: [{verb: explode, label: b}]\n",
        4,
        "not a button's verb",
    );
    check_problem(
        "x:\n  summary: a\n  blocks:\n    - buttons: [{verb: retry, label: b, style: red}]\n",
        4,
        "not a style",
    );
    check_problem(
        "x:\n  summary: a\n  blocks:\n    - buttons: [{verb: why, label: b, confirm: {title: c}}]\n",
        4,
        "needs title, text, yes and no",
    );
    check_problem("x:\n  summary: \"{{ a\"\n", 2, "");
    check_problem("x:\n  summary: a\n  blocks:\n    - text: b\n      when: \"a b\"\n", 5, "");
    check_problem("x: [\n", 2, "");
    check_problem("x:\n  summary: \"\\uFDD0\"\n", 2, "no text may hold");
    let two = with("x:\n  summary: 1\ny:\n  summary: 2\n").err().map_or(0, |p| p.len());
    assert!(two >= 2, "{two}");
}

#[test]
fn a_folder_replaces_messages_by_name_and_adds_languages() {
    let folder = tempfile::tempdir().expect("folder");
    for (locale, text) in [
        ("en", "cancel-done:\n  summary: gone\n"),
        ("zh", "cancel-done:\n  summary: \"{{ words.verdict.cancelled }}！\"\n"),
        ("fr", "cancel-done:\n  summary: \"{{ words.verdict.cancelled }} : fini\"\n"),
    ] {
        std::fs::create_dir(folder.path().join(locale)).expect("folder");
        std::fs::write(folder.path().join(locale).join("mine.yaml"), text).expect("file");
        std::fs::write(folder.path().join(locale).join("notes.txt"), "not a template").expect("file");
    }
    let catalogue = Catalogue::load(folder.path()).unwrap_or_else(|e| panic!("{e:?}"));
    let facts = json!({"number": 42, "run": {"number": 42}});
    let summary = |locale, template| catalogue.render(locale, &note(template, &facts)).summary;
    assert_eq!(summary("en", "cancel-done"), "gone");
    assert_eq!(summary("zh", "cancel-done"), "已取消！");
    assert_eq!(summary("zh", "already-finished"), "#42 已经结束");
    // A language that is not built in has English for what it lacks, words too.
    assert_eq!(summary("fr", "cancel-done"), "Cancelled : fini");
    assert_eq!(summary("fr", "already-finished"), "#42 is finished already");
    assert_eq!(summary("de", "cancel-done"), "gone");
}

#[test]
fn a_folder_that_cannot_be_read_is_a_problem() {
    let folder = tempfile::tempdir().expect("folder");
    assert!(Catalogue::load(&folder.path().join("nowhere")).is_err());
    std::fs::create_dir(folder.path().join("en")).expect("folder");
    std::fs::write(folder.path().join("en/big.yaml"), "#".repeat(FILE_BYTES_MAX as usize + 1)).expect("file");
    let problems = Catalogue::load(folder.path()).err().expect("problems");
    assert!(problems[0].contains("longer than"), "{problems:?}");
}

#[test]
fn what_nobody_asks_for_stands_beside_or_fails_on_real_facts_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("en")).expect("folder");
    let file = folder.path().join("en/mine.yaml");
    let check = |text: &str, expect: &[&str]| {
        std::fs::write(&file, text).expect("file");
        assert_eq!(Catalogue::load(folder.path()).err().unwrap_or_default(), expect, "{text}");
    };
    check("run-finished:\n  summary: \"#{{ run.number }}\"\n", &[]);
    check(
        "run-finshed:\n  summary: done\n",
        &["en/mine.yaml:2: there is no message `run-finshed`: did you mean `run-finished`?"],
    );
    check(
        "run-card:\n  summary: \"#{{ run.number }}\"\n  blocks:\n    - text: \"{{ rn.number }}\"\n",
        &["en/mine.yaml:4: `rn` is undefined"],
    );
    check("run-card:\n  summary: x\n  tone: glad\n", &["en/mine.yaml:3: `glad` is not a tone"]);
    std::fs::write(folder.path().join("flat.yaml"), "").expect("file");
    let beside = Catalogue::load(folder.path()).err().unwrap_or_default();
    assert!(
        beside[0].ends_with("flat.yaml: stands beside the languages; it belongs into one, such as en/"),
        "{beside:?}"
    );
}

#[track_caller]
fn check_reads(template: &str, variant: usize, expect: &str) {
    let said = read(&rendered(template, variants(&samples()[template])[variant]));
    assert_eq!(said, expect, "\n{said}");
}

#[test]
fn the_card_of_a_running_test_reads_at_a_glance() {
    check_reads(
        "run-card",
        0,
        "[Running] #42 socA · build-123 · smoke: 🔄 Testing (140 passed, 2 failed, 1 skipped)\n\
         # #42 socA · build-123 · smoke\n\
         🔄 Testing\n  \
         Board: soc-a-001\n  \
         By: li\n  \
         Tests: 140 passed, 2 failed, 1 skipped\n  \
         File: 43 % of Image (12.4 MiB) to the board\n  \
         (✓ power   ✓ boot   ✓ deploy   ▸ test   · collect)\n  \
         (Asked for 2027-01-15 08:00 UTC · Console log)\n\
         [Cancel][Power Cycle]\n",
    );
}

#[test]
fn the_card_of_a_waiting_run_says_why_and_how_long() {
    check_reads(
        "run-card",
        1,
        "[Neutral] #42 socA · build-123 · smoke: ⏳ Waiting for a board\n\
         # #42 socA · build-123 · smoke\n\
         ⏳ Waiting for a board\n  \
         By: li\n  \
         Place in line: 3, starts in 4m to 12m\n\
         Every board that fits is busy: soc-a-001 (run #41 until 2027-01-15 08:05 UTC), soc-a-002 (bo) and 3 more.\n  \
         (Asked for 2027-01-15 08:00 UTC)\n\
         [Why is it waiting?][Cancel]\n",
    );
}

#[test]
fn the_card_of_a_batch_has_a_line_for_each_run() {
    check_reads(
        "batch-card",
        0,
        "[Bad] #41–#44 socA · build-123 · smoke: 1 passed, 1 failed, 1 testing, 1 waiting…\n\
         # #41–#44 socA · build-123 · smoke\n\
         ❌ 1 passed, 1 failed, 1 testing, 1 waiting…\n\
         #41 ✅ Passed on soc-a-001 · 1,200 passed\n\
         #42 ❌ Failed · panic on soc-a-002 · 1,199 passed, 1 failed · Console log · retried as #45\n\
         #43 🔄 Testing on soc-a-003 · 140 passed, 2 failed · being ended\n\
         #44 ⏳ Waiting for a board\n  \
         (Each run has its own card, with its buttons, in this thread · By li · Asked for 2027-01-15 08:00 UTC)\n\
         [Why are they waiting?][Cancel all]\n",
    );
}

#[test]
fn the_card_of_the_largest_batch_shows_every_run() {
    let samples = samples();
    let card = rendered("batch-card", variants(&samples["batch-card"])[1]);
    let message = blocks::render(&card).to_string();
    let shown = (1_000_041..=1_000_060).filter(|number| message.contains(&format!("*#{number}*"))).count();
    assert_eq!(shown, crate::run::REPEAT_MAX as usize);
    assert!(!message.contains("… +"), "{message}");
}

#[test]
fn the_last_reply_of_a_failed_run_calls_whoever_asked() {
    check_reads(
        "run-finished",
        1,
        "[Bad] #42 Failed: 140 passed, 2 failed, 1 skipped\n\
         ❌ Failed · tests-failed on soc-a-001 in 1m 23s: 140 passed, 2 failed, 1 skipped · li\n\
         Failed: can.loopback, spi.dma and 1,200 more\n\
         Seen 7 times before on socA since build-119, last in #40 2027-01-15 05:13 UTC.\n\
         2 new failures (can.loopback, spi.dma), 1 failing that was not run before (uart.rs485), 1 fixed (gpio.irq), \
         1,202 still failing, 2 failed before and did not run, 1 flaky (net.mtu in 3 of 12 runs) since build-122 (#56); \
         last good: build-119 (#41).\n  \
         | not ok 3 can.loopback\n  \
         | # expected 5, got 4\n  \
         (Console log)\n",
    );
}

#[test]
fn why_a_run_waits_is_a_sentence_for_every_kind() {
    let said = |n: usize| rendered("why", variants(&samples()["why"])[n]).summary;
    assert_eq!(said(1), "#42: 🔄 Testing");
    assert_eq!(said(3), "#42: It is next: a board is being given to it.");
    assert_eq!(said(6), "#42: soc-a-001 is free, but kept for #40, which needs several boards at once.");
    assert_eq!(
        said(8),
        "#42: The only board that fits is busy: soc-a-001 (run #41 until 2027-01-15 08:05 UTC)."
    );
    assert_eq!(said(10), "#42: No worker is alive.");
    assert_eq!(said(11), "#42: It is in line.");
}
