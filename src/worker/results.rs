//! The results of an attempt's test steps: collects test cases as lines arrive. What they come to is
//! `outcome::verdict`'s. Pure.

use std::collections::VecDeque;

use crate::board::plan::{Parser, Step};
use crate::outcome::excerpt::EXCERPT_TAIL_BYTES_MAX;
use crate::outcome::parse::{self, Parse, read_junit};
use crate::outcome::verdict::{Event, Happened, result_events};
use crate::outcome::{CASES_MAX, CaseStatus, Counts, TestCase};
use crate::run::Stage;

/// Results so far.
#[derive(Default)]
pub(super) struct Results {
    cases: Vec<TestCase>,
    counts: Counts,
    events: Vec<Event>,
    step: Option<Running>,
    /// The status of the step before, whose last case it is, where no output was read for results.
    by_status: Option<(String, i32)>,
    tail: Tail,
    /// A step failed: the tail is its output, and what later steps say does not push it out.
    explained: bool,
}

struct Running {
    name: String,
    parser: Option<Parse>,
}

impl Results {
    /// A test step begins.
    pub(super) fn begin(&mut self, step: &Step) {
        let parser = match &step.parse {
            Parser::ExitCode | Parser::Junit => None,
            Parser::Formats(formats) => Some(Parse::new(formats)),
        };
        self.step = Some(Running { name: step.name.clone(), parser });
        self.by_status = None;
        if !self.explained {
            self.tail = Tail::default();
        }
    }

    /// One cleaned line of its output.
    pub(super) fn line(&mut self, line: &str) {
        if !self.explained {
            self.tail.push(line);
        }
        if let Some(Running { parser: Some(parser), .. }) = &mut self.step {
            parser.line(line.as_bytes());
        }
    }

    /// The step ended with this exit status, or was cut off; gives whether it failed in any way: a case, its status, or
    /// results that did not come.
    pub(super) fn end(&mut self, status: Option<i32>) -> bool {
        let before = (self.counts.failed, self.events.len());
        self.take(status);
        self.failed_since(before)
    }

    /// The file of results that a step brought back under this name; gives whether anything in it failed. It speaks
    /// for the step before, as results in that one's own output would: the status is no case then.
    pub(super) fn file(&mut self, name: &str, file: &[u8]) -> bool {
        let before = (self.counts.failed, self.events.len());
        let status = self.by_status.take();
        if status.is_some()
            && let Some(case) = self.cases.pop()
        {
            self.counts.uncount(case.status);
        }
        let mut results = read_junit(file);
        results.incomplete = results.incomplete.map(|missing| format!("{name}: {missing}"));
        self.add(results);
        if let Some((step, status)) = status {
            self.status(&step, status);
        }
        self.failed_since(before)
    }

    /// A step was to bring back a file of results, and there is none that can be read.
    pub(super) fn no_file(&mut self, happened: Happened, detail: String) {
        self.events.push(Event { stage: Stage::Testing, happened, detail });
        self.explained = true;
    }

    fn failed_since(&mut self, before: (u32, usize)) -> bool {
        let failed = before != (self.counts.failed, self.events.len());
        self.explained |= failed;
        failed
    }

    fn take(&mut self, status: Option<i32>) {
        let Some(Running { name, parser }) = self.step.take() else { return };
        let Some(parser) = parser else {
            // A step that was cut off has no result; what cut it off is told by the attempt.
            if let Some(status) = status {
                let case = if status == 0 { CaseStatus::Passed } else { CaseStatus::Failed };
                let note = if status == 0 { String::new() } else { status_detail(&name, status) };
                self.counts.count(case);
                self.by_status = (self.cases.len() < CASES_MAX).then(|| (name.clone(), status));
                self.keep(TestCase::new(name, case, note));
            }
            return;
        };
        self.add(parser.finish());
        if let Some(status) = status {
            self.status(&name, status);
        }
    }

    /// What was read of a step's output or file.
    fn add(&mut self, results: parse::Results) {
        self.events.extend(result_events(Stage::Testing, &results));
        self.counts = self.counts.plus(results.counts);
        for case in results.cases {
            self.keep(case);
        }
    }

    /// The exit status of a step counts beside its results.
    fn status(&mut self, step: &str, status: i32) {
        if status != 0 {
            let happened = Happened::CommandFailed { status };
            let detail = status_detail(step, status);
            self.events.push(Event { stage: Stage::Testing, happened, detail });
        }
    }

    /// All cases so far, also those of the step at work.
    pub(super) fn counts(&self) -> Counts {
        let running = self.step.as_ref().and_then(|step| step.parser.as_ref()).map(Parse::counts);
        self.counts.plus(running.unwrap_or_default())
    }

    /// The cases kept so far.
    pub(super) fn cases(&self) -> &[TestCase] {
        &self.cases
    }

    /// The first case that failed, also of the step at work.
    pub(super) fn first_failed(&self) -> Option<&TestCase> {
        let running = self.step.as_ref().and_then(|step| step.parser.as_ref());
        let running = running.into_iter().flat_map(Parse::cases);
        self.cases.iter().chain(running).find(|case| case.status == CaseStatus::Failed)
    }

    /// What is wrong beside failing cases.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// The last lines of the tests' output.
    pub(super) fn tail(&self) -> String {
        self.tail.text()
    }

    fn keep(&mut self, case: TestCase) {
        if self.cases.len() < CASES_MAX {
            self.cases.push(case);
        }
    }
}

fn status_detail(step: &str, status: i32) -> String {
    format!("{step} ended with status {status}")
}

/// The last lines of an output, within [`EXCERPT_TAIL_BYTES_MAX`].
#[derive(Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    /// Adds a line, whole up to the bound: one that is cut may end with half a secret.
    pub(super) fn push(&mut self, line: &str) {
        let line = crate::console::clean::cut(line, EXCERPT_TAIL_BYTES_MAX - 1);
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > EXCERPT_TAIL_BYTES_MAX
            && let Some(gone) = self.lines.pop_front()
        {
            self.bytes -= gone.len() + 1;
        }
    }

    /// The lines, each with its newline.
    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::board::plan::{Action, PowerAction};
    use crate::outcome::parse::Format;

    fn step(name: &str, parse: Parser) -> Step {
        let within = Duration::from_secs(1);
        Step {
            name: name.into(),
            action: Action::Power(PowerAction::On),
            within,
            parse,
            save: None,
            stop: false,
        }
    }

    #[test]
    fn a_failing_case_is_known_while_its_step_runs() {
        let mut results = Results::default();
        results.begin(&step("unit", Parser::Formats(vec![Format::Ktap])));
        for line in ["KTAP version 1", "1..3", "ok 1 a", "not ok 2 b"] {
            assert_eq!(results.first_failed(), None);
            results.line(line);
        }
        assert_eq!(results.first_failed().map(|case| case.name.as_str()), Some("b"));
        assert_eq!(results.counts().failed, 1);
        results.end(Some(1));
        assert_eq!(results.first_failed().map(|case| case.name.as_str()), Some("b"));
    }

    #[test]
    fn the_exit_status_counts_beside_results_of_any_format() {
        for (line, status, happened) in [
            ("PASS: a", Some(0), None),
            ("PASS: a", Some(3), Some(Happened::CommandFailed { status: 3 })),
            ("nothing", Some(0), Some(Happened::NoResults)),
            ("[==========] Running 1 test from 1 test suite.", None, Some(Happened::ResultsIncomplete)),
        ] {
            let mut results = Results::default();
            results.begin(&step("unit", Parser::Formats(vec![Format::Gtest, Format::Dejagnu])));
            results.line(line);
            results.end(status);
            assert_eq!(results.events().first().map(|event| event.happened.clone()), happened, "{line}");
        }
    }

    #[test]
    fn a_step_failed_by_a_case_its_status_or_results_that_did_not_come() {
        for (lines, status, failed) in [
            (&["1..1", "ok 1 a"][..], Some(0), false),
            (&["1..0 # SKIP no camera"], Some(0), false),
            (&["1..1", "not ok 1 a"], Some(0), true),
            (&["1..1", "ok 1 a"], Some(3), true),
            (&["1..2", "ok 1 a"], Some(0), true),
            (&["1..1", "Bail out! no memory"], Some(0), true),
            (&[], Some(0), true),
        ] {
            let mut results = Results::default();
            results.begin(&step("flash", Parser::Formats(vec![Format::Ktap])));
            ["KTAP version 1"].iter().chain(lines).for_each(|line| results.line(line));
            assert_eq!(results.end(status), failed, "{lines:?}");
        }
    }

    #[test]
    fn a_file_speaks_for_the_step_before_it_whose_status_counts_all_the_same() {
        let file = |cases: &str| format!("<testsuite>{cases}</testsuite>");
        let (good, bad) = ("<testcase name='a'/>", "<testcase name='b'><failure/></testcase>");
        let status = |status| Some(Happened::CommandFailed { status });
        for (cases, exit, (passed, failed), happened) in [
            (good.to_owned(), 0, (1, 0), None),
            (good.to_owned(), 3, (1, 0), status(3)),
            (good.to_owned() + bad, 1, (1, 1), status(1)),
            (String::new(), 0, (0, 0), Some(Happened::NoResults)),
            ("<testcase".to_owned(), 0, (0, 0), Some(Happened::ResultsIncomplete)),
        ] {
            let mut results = Results::default();
            results.begin(&step("unit", Parser::ExitCode));
            assert_eq!(results.end(Some(exit)), exit != 0);
            assert_eq!(results.file("r.xml", file(&cases).as_bytes()), failed > 0 || happened.is_some());
            assert_eq!(results.counts(), Counts { passed, failed, skipped: 0 }, "{cases}");
            assert_eq!(results.cases().len() as u32, passed + failed);
            assert_eq!(results.events().first().map(|event| event.happened.clone()), happened, "{cases}");
            // A second file has its own cases only.
            results.file("s.xml", file(good).as_bytes());
            assert_eq!(results.counts().passed, passed + 1);
        }
        let mut results = Results::default();
        results.file("r.xml", b"<testsuite>");
        assert_eq!(results.events()[0].detail, "r.xml: it ends within <testsuite>; cases before that: 0");
    }

    #[test]
    fn the_tail_is_the_output_of_the_step_that_failed() {
        let mut results = Results::default();
        for (name, line, status) in [("a", "error: harmless", 0), ("b", "it broke", 3), ("c", "after", 0)] {
            results.begin(&step(name, Parser::ExitCode));
            results.line(line);
            results.end(Some(status));
        }
        assert_eq!(results.tail(), "it broke\n");
    }

    #[test]
    fn the_tail_keeps_the_last_lines_within_its_bound() {
        let mut tail = Tail::default();
        for n in 0..20_000 {
            tail.push(&format!("line {n} {}", "x".repeat(100)));
        }
        let text = tail.text();
        assert!(
            text.len() <= EXCERPT_TAIL_BYTES_MAX
                && text.ends_with(&format!("line 19999 {}\n", "x".repeat(100)))
        );
    }
}
