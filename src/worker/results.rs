//! The results of an attempt's test steps: collects test cases as lines arrive. What they come to is
//! `outcome::verdict`'s. Pure.

use std::collections::VecDeque;

use crate::board::plan::{Parser, Step};
use crate::outcome::excerpt::EXCERPT_TAIL_BYTES_MAX;
use crate::outcome::parse::Parse;
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
            Parser::ExitCode => None,
            Parser::Formats(formats) => Some(Parse::new(formats)),
        };
        self.step = Some(Running { name: step.name.clone(), parser });
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
        let failed = before != (self.counts.failed, self.events.len());
        self.explained |= failed;
        failed
    }

    fn take(&mut self, status: Option<i32>) {
        let Some(Running { name, parser }) = self.step.take() else { return };
        let status_detail = |status| format!("{name} ended with status {status}");
        let Some(parser) = parser else {
            // A step that was cut off has no result; what cut it off is told by the attempt.
            if let Some(status) = status {
                let case = if status == 0 { CaseStatus::Passed } else { CaseStatus::Failed };
                let note = if status == 0 { String::new() } else { status_detail(status) };
                self.counts.count(case);
                self.keep(TestCase::new(name, case, note));
            }
            return;
        };
        let results = parser.finish();
        self.events.extend(result_events(Stage::Testing, &results));
        self.counts = self.counts.plus(results.counts);
        for case in results.cases {
            self.keep(case);
        }
        if let Some(status) = status.filter(|status| *status != 0) {
            let happened = Happened::CommandFailed { status };
            self.events.push(Event { stage: Stage::Testing, happened, detail: status_detail(status) });
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
