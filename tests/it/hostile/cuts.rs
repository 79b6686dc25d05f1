//! Results that are cut short anywhere: what was incomplete never comes to look as if all had passed.

use boardhand::outcome::CaseStatus;
use boardhand::outcome::parse::{Format, Parse, Results};

use super::{RESULTS, corpus};

/// Up to here a file is cut at every byte; a longer one at every so many.
const EVERY_BYTE_UP_TO: usize = 4096;
const STEP: usize = 211;

fn read(format: Format, text: &[u8]) -> Results {
    let mut parse = Parse::new(&[format]);
    text.split(|byte| *byte == b'\n').for_each(|line| parse.line(line));
    parse.finish()
}

fn passes(results: &Results) -> bool {
    results.counts.total() > 0 && results.counts.failed == 0 && results.incomplete.is_none()
}

/// How the cases ended, in their order: the name of the last may be cut.
fn told(results: &Results) -> Vec<CaseStatus> {
    results.cases.iter().map(|case| case.status).collect()
}

/// Each file of the corpus is a whole output that promises its end, in the format that its name begins with.
#[test]
fn no_cut_makes_incomplete_results_pass() {
    let files = corpus(&[RESULTS]);
    let mut wrong = Vec::new();
    for format in Format::ALL {
        let of_format = |name: &str| name.split(['-', '.']).next() == Some(format.as_str());
        let mut seen = 0;
        for (path, text) in &files {
            if !of_format(&path.file_name().unwrap_or_default().to_string_lossy()) {
                continue;
            }
            seen += 1;
            let whole = read(format, text);
            assert!(whole.incomplete.is_none() && whole.counts.total() > 0, "{}: {whole:#?}", path.display());
            let step = if text.len() <= EVERY_BYTE_UP_TO { 1 } else { STEP };
            let misread = (0..text.len()).step_by(step).find(|at| {
                let cut = read(format, &text[..*at]);
                passes(&cut) && told(&cut) != told(&whole)
            });
            wrong.extend(misread.map(|at| format!("{} at {at}", path.display())));
        }
        assert!(seen > 0, "no output of {format:?} is in the corpus");
    }
    assert!(wrong.is_empty(), "cut there, they pass: {wrong:#?}");
}
