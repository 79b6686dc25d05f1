//! Outcomes: verdict, cause, stage and test cases of an attempt. Pure; never talks to a board.

pub mod compare;
pub mod excerpt;
pub mod junit;
pub mod parse;
pub mod redact;
pub mod signature;
pub mod trace;
pub mod verdict;

use serde::{Deserialize, Serialize};

use crate::run::Stage;

/// How a run or an attempt ended. The order is by weight: the worst decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every test passed.
    Passed,
    /// The lab failed: console, power, boot loader, network. Says nothing about the build.
    Infra,
    /// The whole attempt, or the board's silence, outlasted its limit.
    TimedOut,
    /// The test, or the build, failed.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl Verdict {
    /// The word in tables, the API and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Infra => "infra",
            Verdict::TimedOut => "timed-out",
            Verdict::Failed => "failed",
            Verdict::Cancelled => "cancelled",
        }
    }

    /// The verdict of that word.
    pub fn from_word(word: &str) -> Option<Verdict> {
        use Verdict as V;
        [V::Passed, V::Infra, V::TimedOut, V::Failed, V::Cancelled].into_iter().find(|v| v.as_str() == word)
    }
}

/// How an attempt ended, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// A short kebab-case word that says why, such as `panic` or `console-busy`; empty when passed.
    pub cause: String,
    /// Where it ended.
    pub stage: Stage,
    /// One sentence for people, without markup; may hold text from the board.
    pub detail: String,
    /// The console lines that a person would have picked, oldest first; hostile text.
    pub excerpt: Vec<String>,
    /// Test cases in the order they were seen, at most [`CASES_MAX`].
    pub cases: Vec<TestCase>,
    /// Counts over all cases, also those beyond [`CASES_MAX`].
    pub counts: Counts,
}

/// Most test cases kept of one attempt; counts go on beyond it.
pub const CASES_MAX: usize = 10_000;

/// One test case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCase {
    /// Its full name, nested names joined by `.`.
    pub name: String,
    /// How it ended.
    pub status: CaseStatus,
    /// What the test said: the reason of a skip, the diagnostics of a failure. Bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How long it took, in microseconds, where the test said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// What it measured, where it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<Measurement>,
}

/// A number that a test case measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// A decimal number as the test said it, such as `1.20`.
    pub value: String,
    /// Its unit as the test said it, such as `MB/s`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

impl TestCase {
    /// A case without time or measurement.
    pub fn new(name: impl Into<String>, status: CaseStatus, note: impl Into<String>) -> TestCase {
        TestCase { name: name.into(), status, note: note.into(), took_us: None, measurement: None }
    }

    /// The case as it may be kept and shown: a test that fails likes to print what it was given.
    pub fn redacted(&self, redactor: &redact::Redactor) -> TestCase {
        let clean = |text: &str| redactor.redact(text).into_owned();
        TestCase { name: clean(&self.name), note: clean(&self.note), ..self.clone() }
    }
}

/// How a test case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseStatus {
    /// Passed.
    Passed,
    /// Failed.
    Failed,
    /// Not run, by the test's own word.
    Skipped,
    /// Failed as it was expected to.
    ExpectedFailure,
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Skipped and expected failures.
    pub skipped: u32,
}

impl Counts {
    /// All cases.
    pub fn total(self) -> u32 {
        self.passed + self.failed + self.skipped
    }

    /// Both together.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            skipped: self.skipped.saturating_add(other.skipped),
        }
    }

    /// Counts one more case.
    pub fn count(&mut self, status: CaseStatus) {
        let counted = self.counted(status);
        *counted = counted.saturating_add(1);
    }

    /// Takes back a case that was counted.
    pub fn uncount(&mut self, status: CaseStatus) {
        let counted = self.counted(status);
        *counted = counted.saturating_sub(1);
    }

    fn counted(&mut self, status: CaseStatus) -> &mut u32 {
        match status {
            CaseStatus::Passed => &mut self.passed,
            CaseStatus::Failed => &mut self.failed,
            CaseStatus::Skipped | CaseStatus::ExpectedFailure => &mut self.skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_case_tells_no_secret_and_a_passing_one_stays_as_it_is() {
        let redactor = redact::Redactor::default();
        let case = |status, name: &str, note: &str| TestCase::new(name, status, note);
        let secret = "password=hunter2hunter2";
        let told = case(CaseStatus::Failed, secret, secret).redacted(&redactor);
        assert!(!told.name.contains("hunter2") && !told.note.contains("hunter2"), "{told:?}");
        let passed = case(CaseStatus::Passed, "abi.varargs", "");
        assert_eq!(passed.redacted(&redactor), passed);
    }

    #[test]
    fn a_case_that_was_stored_without_time_and_measurement_is_read() {
        let old: TestCase =
            serde_json::from_str(r#"{"name": "a.b", "status": "passed"}"#).expect("a row of old");
        assert_eq!(old, TestCase::new("a.b", CaseStatus::Passed, ""));
        let measurement = Some(Measurement { value: "1.20".into(), unit: "MB/s".into() });
        let new = TestCase { took_us: Some(7), measurement, ..old };
        let json = serde_json::to_string(&new).expect("JSON");
        assert_eq!(serde_json::from_str::<TestCase>(&json).expect("its own JSON"), new);
    }
}
