//! What boards, files and people send may mean harm: every reader of foreign bytes, over a corpus (`tests/corpus`, and
//! what else of real bytes the tests have) and mutations of it. What each of them promises stands in [`readers`].
//!
//! A round is told by its number alone, so what is found once is found again. `BOARDHAND_HOSTILE_ROUNDS` sets how many
//! there are; what they find is written down, to be kept in the corpus.

mod cuts;
mod mutate;
mod readers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Mutations per reader in the usual run.
const ROUNDS: u64 = 150;
/// Longest mutation.
const INPUT_BYTES_MAX: usize = 24 * 1024;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of these folders, in order.
fn corpus(folders: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder of the corpus");
        let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
        files.extend(paths.map(|path| (path.clone(), std::fs::read(path).expect("a file of the corpus"))));
    }
    files.sort();
    assert!(!files.is_empty(), "{folders:?} hold nothing");
    files
}

/// Holds a reader to what it promises, over these folders and mutations of what they hold.
fn hold(name: &str, folders: &[&str], reader: fn(&[u8])) {
    let files = corpus(folders);
    for (path, input) in &files {
        held(name, &path.display().to_string(), input, reader);
    }
    let rounds = match std::env::var("BOARDHAND_HOSTILE_ROUNDS") {
        Ok(text) => text.parse().expect("BOARDHAND_HOSTILE_ROUNDS is a number"),
        Err(_) => ROUNDS,
    };
    let inputs: Vec<&[u8]> = files.iter().map(|(_, input)| input.as_slice()).collect();
    for round in 0..rounds {
        let input = mutate::mutation(&inputs, round, INPUT_BYTES_MAX);
        held(name, &format!("round {round}"), &input, reader);
    }
}

fn held(name: &str, what: &str, input: &[u8], reader: fn(&[u8])) {
    if let Err(problem) = catch_unwind(AssertUnwindSafe(|| reader(input))) {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}"));
        std::fs::write(&found, input).expect("a file of ours");
        eprintln!("{name}, {what}: keep {} in tests/corpus", found.display());
        std::panic::resume_unwind(problem);
    }
}

const CONSOLES: &str = "tests/transcripts";
const RESULTS: &str = "tests/corpus/results";
const LOGS: &str = "tests/samples/excerpts";

#[test]
fn telnet_keeps_its_word() {
    hold("telnet", &["tests/corpus/telnet", CONSOLES], readers::telnet);
}

#[test]
fn expect_keeps_its_word() {
    hold("expect", &["tests/corpus/expect", CONSOLES], readers::expect);
}

#[test]
fn lines_and_watch_keep_their_word() {
    hold("lines", &[CONSOLES, LOGS], readers::lines);
}

#[test]
fn results_keep_their_word() {
    hold("results", &[RESULTS, "tests/samples"], readers::results);
}

#[test]
fn files_of_results_keep_their_word() {
    hold("junit", &["tests/corpus/junit", "tests/samples/junit"], readers::junit);
}

#[test]
fn excerpts_keep_their_word() {
    hold("excerpt", &[LOGS, RESULTS], readers::excerpts);
}

#[test]
fn the_lab_file_keeps_its_word() {
    hold("lab", &["tests/corpus/lab"], readers::lab);
}
