//! The project's own rules, held by tests: who may import whom, how files begin, what must not stand in the code, and
//! that documents say what the program does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boardhand::command::grammar;

/// Layers from the vocabulary upwards: a module may use its own layer and those before it. A path names a module and
/// everything below it; the longest match counts.
const LAYERS: &[(&str, &[&str])] = &[
    ("vocabulary", &["clock", "id"]),
    (
        "pure core",
        &[
            "board",
            "build",
            "run",
            "campaign",
            "chat",
            "chat::slack::signature",
            "chat::slack::decode",
            "chat::slack::blocks",
            "chat::slack::form",
            "chat::slack::home",
            "chat::slack::mrkdwn",
            "chat::slack::manifest",
            "sim::slack::limits",
            "lease",
            "lease::queue",
            "outcome",
            "transfer",
            "message",
            "message::pace",
            "message::line",
            "message::links",
            "message::template",
            "command",
            "command::grammar",
            "command::parse",
            "command::permits",
            "command::policy",
            "command::problem",
            "command::standing",
            "command::words",
            "console::telnet",
            "console::expect",
            "console::clean",
            "console::printk",
            "console::shell",
            "console::login",
            "console::watch",
            "console::builtin",
            "console::bootloader",
            "console::error",
        ],
    ),
    (
        "edges",
        &[
            "store",
            "net",
            "doorbell",
            "power",
            "console",
            "config",
            "telemetry",
            "meter",
            "chat::slack::client",
            "chat::slack::sign_in",
            "chat::slack::socket",
            "chat::socket_line",
            "chat::feishu::client",
            "chat::feishu::sign_in",
            "chat::feishu::socket",
            "chat::feishu::hook",
            "artifact",
        ],
    ),
    (
        "loops and door",
        &[
            "worker",
            "door",
            "web",
            "lease::scheduler",
            "lease::reaper",
            "message::relay",
            "message::log_file",
            "message::compose",
            "message::names",
            "message::permalinks",
            "message::readers",
            "message::waiting",
            "command::handle",
        ],
    ),
    ("app", &["app", "sim", "cli"]),
];

/// What only one module may use, because it is the edge to that part of the world.
const EDGES: &[(&str, &[&str])] = &[
    ("sqlx", &["store::sql"]),
    ("reqwest", &["net"]),
    ("tungstenite", &["net", "sim"]),
    ("object_store", &["artifact::bucket"]),
    ("snmp2", &["power"]),
    ("rumqttc", &["power"]),
    ("digest_auth", &["power"]),
    ("std::time::Instant", &["clock"]),
    ("rand::", &["id"]),
    ("prometheus_client", &["door::metrics"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("source text");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// `src/lease/queue/pool.rs` as `lease::queue::pool`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).expect("a file in src").with_extension("");
    let names: Vec<_> =
        inside.iter().map(|part| part.to_string_lossy().into_owned()).filter(|n| n != "mod").collect();
    names.join("::")
}

/// A file without its test module, its comments and its strings' worth of trouble.
fn code(text: &str) -> String {
    let without_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    without_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn layer(module: &str) -> Option<(usize, &'static str)> {
    let matches =
        LAYERS.iter().enumerate().flat_map(|(n, (_, modules))| modules.iter().map(move |m| (n, *m)));
    matches
        .filter(|(_, m)| module == *m || module.starts_with(&format!("{m}::")))
        .max_by_key(|(_, m)| m.len())
}

/// Every `crate::…` path that a file names, with braces spread out.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in text.match_indices("crate::").map(|(at, word)| at + word.len()) {
        let rest = &text[start..];
        let end = rest.find([';', '(', ')', ',', '<', '>', ' ', '\n', '{']).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches("::").to_owned();
        if rest[end..].starts_with('{') {
            let inside = &rest[end + 1..rest.find("};").unwrap_or(end + 1)];
            found.extend(inside.split(',').map(|name| format!("{path}::{}", name.trim())));
        } else {
            found.insert(path);
        }
    }
    found
}

#[test]
fn no_module_uses_a_layer_above_its_own() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let Some((own, _)) = layer(&module) else {
            wrong.push(format!("{module} stands in no layer"));
            continue;
        };
        for import in imports(&code(&text)) {
            if let Some((other, _)) = layer(&import)
                && other > own
            {
                wrong.push(format!("{module} ({}) uses {import} ({})", LAYERS[own].0, LAYERS[other].0));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_world_is_reached_through_its_edges_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        for (name, allowed) in EDGES {
            let uses = code(&text).lines().any(|line| line.contains(name) && !line.contains("Monotonic"));
            if uses && !allowed.iter().any(|edge| module.starts_with(edge)) {
                wrong.push(format!("{module} uses {name}, which only {allowed:?} may"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_opens_with_what_it_is() {
    let files = sources("src").into_iter().chain(sources("tests")).chain(sources("benches"));
    let silent: Vec<_> = files.filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "files without `//!`: {silent:#?}");
}

#[test]
fn nothing_unfinished_stands_in_the_code() {
    let marks = ["todo!(", "unimplemented!(", "dbg!(", "FIX\u{4d}E", "#[ignore"];
    let mut found = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        found.extend(marks.iter().filter(|mark| text.contains(**mark)).map(|mark| (path.clone(), *mark)));
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_readme_lists_just_the_commands_of_the_grammar() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (begin, end) = ("<!-- commands -->\n", "<!-- /commands -->");
    let from = readme.find(begin).expect("the commands begin") + begin.len();
    let to = readme.find(end).expect("the commands end");
    let table = grammar::readme_table();
    assert_eq!(readme[from..to].trim(), table.trim(), "put this between the markers:\n{table}");
}

#[test]
fn every_crate_says_what_it_is_for() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let mut section = "";
    let mut silent = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies")
            && line.contains('=')
            && !line.starts_with('#')
            && !line.contains(" # ")
        {
            silent.push(line);
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn every_variable_of_the_readme_is_read_and_the_other_way_round() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let names = |pattern: &str, text: &str| -> BTreeSet<String> {
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        let found = pattern.captures_iter(text).map(|hit| hit[1].trim_end_matches("_FILE").to_owned());
        // Named only to be refused, until this version acts on them.
        found.filter(|name| !boardhand::config::NOT_YET.contains(&name.as_str())).collect()
    };
    let settings = |path: &Path| {
        let module = module_of(path);
        module.starts_with("config") || module.starts_with("cli")
    };
    let code: String =
        sources("src").iter().filter(|(path, _)| settings(path)).map(|(_, text)| code(text)).collect();
    let read = names(r#""((?:BOARDHAND|SLACK)_[A-Z_]+)""#, &code);
    let told = names(r"\b((?:BOARDHAND|SLACK)_[A-Z_]+)\b", &readme);
    assert!(read.len() > 10, "{read:?}");
    assert_eq!(read, told, "what is read, and what the README tells of");
}

/// What may stand in a plan, as the reader of lab files names it to whoever writes something else.
#[test]
fn the_manual_of_plans_has_all_that_can_stand_in_one() {
    let manual = std::fs::read_to_string(root().join("docs/plans.md")).expect("the manual");
    let mut missing = Vec::new();
    for (plan, names) in [
        ("{zzz: 1}", "known keys are "),
        ("{boot: [{name: x}]}", "a step needs one of "),
        ("{boot: [{zzz: 1}]}", "known keys are "),
        ("{boot: [{run: '{{ zzz }}'}]}", "known are "),
        ("{limits: {zzz: 1}}", "known keys are "),
        ("{retry: {zzz: 1}}", "known keys are "),
        ("{params: {n: {zzz: 1}}}", "known keys are "),
        ("{params: {n: {type: zzz}}}", "known are "),
        ("{watch: [{zzz: 1}]}", "known keys are "),
    ] {
        let text = format!(
            "boards: [{{board_id: a, soc_family: f, board_ip: 10.0.0.1, lab_location: L}}]\nplans: {{p: {plan}}}\n"
        );
        let problems = boardhand::board::lab_file::parse("boards.yaml", &text, &|_| None).problems;
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let known = told.iter().find_map(|problem| problem.split_once(names));
        let (_, known) = known.unwrap_or_else(|| panic!("{plan}: {told:?}"));
        let is_told =
            |word: &&str| ["`", ":", "\""].iter().any(|end| manual.contains(&format!("`{word}{end}")));
        missing.extend(known.split(", ").filter(|word| !is_told(word)).map(|word| format!("{plan}: {word}")));
    }
    assert!(missing.is_empty(), "docs/plans.md says nothing of {missing:#?}");
}

#[test]
fn every_phrase_that_the_program_says_stands_in_the_catalogue_and_is_said() {
    let names = |of: &str, text: &str| -> BTreeSet<String> {
        let pattern = regex::Regex::new(of).expect("a pattern");
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let source = sources("src").into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
    let catalogue = include_str!("../../message-templates/en/phrases.yaml");
    let listed = names("(?m)^  ([a-z-]+): ", catalogue);
    let said = names("Phrase::new\\(\\s*\"([a-z-]+)\"", &source);
    assert!(said.is_subset(&listed), "not in phrases.yaml: {:?}", said.difference(&listed));
    let quoted = |name: &&String| !source.contains(&format!("\"{name}\""));
    let unsaid: Vec<_> = listed.difference(&said).filter(quoted).collect();
    assert!(unsaid.is_empty(), "nobody says {unsaid:?}");
}

#[test]
fn every_lab_file_in_the_docs_is_one() {
    let mut read = 0;
    for entry in std::fs::read_dir(root().join("docs")).expect("docs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.starts_with("boards:")) {
            let families = if block.contains("\nfamilies:") { "" } else { "families: {socA: {}}\n" };
            let lab =
                boardhand::board::lab_file::parse("boards.yaml", &format!("{block}{families}"), &|_| None);
            assert!(
                lab.problems.is_empty(),
                "{path:?}:\n{}",
                boardhand::board::lab_file::render(&lab.problems)
            );
            read += 1;
        }
    }
    assert!(read > 0, "the docs show no lab file");
}

#[test]
fn every_promise_of_delivery_names_tests_that_there_are() {
    let manual = std::fs::read_to_string(root().join("docs/delivery.md")).expect("the manual");
    let tests = sources("tests/it");
    let is_there = |name: &str| {
        let Some((module, test)) = name.split_once("::") else { return false };
        let within = |path: &Path| {
            path.starts_with(root().join("tests/it").join(module))
                || path == root().join(format!("tests/it/{module}.rs"))
        };
        tests.iter().any(|(path, text)| within(path) && text.contains(&format!("async fn {test}(")))
    };
    let rows = manual.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let (mut promises, mut wrong) = (0, Vec::new());
    for row in rows.filter(|row| !row.contains("| Held by |")) {
        let held_by = row.trim_end_matches(" |").rsplit_once(" | ").map_or("", |(_, held_by)| held_by);
        let names: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        promises += 1;
        wrong.extend(names.iter().filter(|name| !is_there(name)).map(|name| (*name).to_owned()));
        if names.is_empty() && !row.contains("is lost, and nothing can be promised") {
            wrong.push(format!("held by nothing: {row}"));
        }
    }
    assert!(wrong.is_empty() && promises > 10, "{promises} {wrong:#?}");
}
