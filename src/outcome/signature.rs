//! Signature: a short name for a failure that is the same wherever and whenever the failure is the same, for "seen
//! 7 times". Addresses, numbers and times are no part of it; the build and the board are not either.

use sha2::{Digest, Sha256};

use super::excerpt::{is_frame, trouble};
use super::{CaseStatus, Outcome, Verdict};
use crate::run::Stage;
use crate::run::transition::{POWER_CYCLE_FAILED, POWER_CYCLED};

/// Length of a signature, in hex digits.
pub const SIGNATURE_DIGITS: usize = 12;
/// How many failing cases, and how many lines of a trace, tell one failure from another.
pub const SIGNATURE_PARTS_MAX: usize = 5;

/// The signature of a failure; `None` for what is none: passed, cancelled, and what somebody ended by its power.
pub fn signature(outcome: &Outcome) -> Option<String> {
    match outcome.verdict {
        Verdict::Passed | Verdict::Cancelled => return None,
        Verdict::Infra if [POWER_CYCLED, POWER_CYCLE_FAILED].contains(&outcome.cause.as_str()) => {
            return None;
        }
        Verdict::Infra | Verdict::TimedOut | Verdict::Failed => {}
    }
    let mut hash = Sha256::new();
    for part in
        [outcome.verdict.as_str(), &outcome.cause].into_iter().map(str::to_owned).chain(telling(outcome))
    {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    Some(hex::encode(hash.finalize())[..SIGNATURE_DIGITS].to_owned())
}

/// What tells this failure from others: its failing cases by name, or else the line of trouble and the trace under
/// it. A board
/// at its tests may say anything last: there what happened tells more, before it the last line.
fn telling(outcome: &Outcome) -> Vec<String> {
    let failing = outcome.cases.iter().filter(|case| case.status == CaseStatus::Failed);
    let names: Vec<String> = failing.take(SIGNATURE_PARTS_MAX).map(|case| case.name.clone()).collect();
    if outcome.cause == super::verdict::cause::TESTS_FAILED && !names.is_empty() {
        return names;
    }
    let worst = outcome.excerpt.iter().filter_map(|line| trouble(line)).max();
    let Some(at) = outcome.excerpt.iter().position(|line| worst.is_some() && trouble(line) == worst) else {
        let last = outcome.excerpt.last().filter(|_| outcome.stage < Stage::Testing);
        return vec![normalise(last.unwrap_or(&outcome.detail))];
    };
    let trace = outcome.excerpt[at + 1..].iter().filter(|line| is_frame(line)).take(SIGNATURE_PARTS_MAX);
    std::iter::once(&outcome.excerpt[at]).chain(trace).map(|line| normalise(line)).collect()
}

/// The line without stamp, numbers, addresses, times and superfluous spaces: each run of letters and digits that
/// holds a digit and reads like a number becomes `#`.
pub fn normalise(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    for word in cut_stamp(line).split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        let mut rest = word;
        while !rest.is_empty() {
            let run = rest.bytes().take_while(|b| b.is_ascii_alphanumeric()).count();
            if run > 0 {
                push_run(&mut plain, &rest[..run]);
            }
            let other = rest[run..].find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(rest.len() - run);
            plain.push_str(&rest[run..run + other]);
            rest = &rest[run + other..];
        }
    }
    plain
}

fn push_run(plain: &mut String, run: &str) {
    let has_digit = run.bytes().any(|b| b.is_ascii_digit());
    let hex = run.strip_prefix("0x").unwrap_or(run);
    let all_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
    if all_hex && (has_digit || run.len() >= 8) {
        plain.push('#');
        return;
    }
    // `CPU1`, `eth0`, `120s`: the digits alone.
    let mut in_digits = false;
    for c in run.chars() {
        let digit = c.is_ascii_digit();
        if !digit || !in_digits {
            plain.push(if digit { '#' } else { c });
        }
        in_digits = digit;
    }
}

fn cut_stamp(line: &str) -> &str {
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match stamp {
        Some((time, rest)) if time.trim().bytes().all(|b| b.is_ascii_digit() || b == b'.') => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Counts, TestCase};

    fn outcome(verdict: Verdict, cause: &str, excerpt: &[&str], failing: &[&str]) -> Outcome {
        let case = |name: &&str| TestCase::new(*name, CaseStatus::Failed, "took 3 ms");
        Outcome {
            verdict,
            cause: cause.into(),
            stage: Stage::Testing,
            detail: "on board 7".into(),
            excerpt: excerpt.iter().map(|line| (*line).to_owned()).collect(),
            cases: failing.iter().map(case).collect(),
            counts: Counts::default(),
        }
    }

    fn of_lines(lines: &[&str]) -> Option<String> {
        signature(&outcome(Verdict::Failed, "panic", lines, &[]))
    }

    #[track_caller]
    fn check(line: &str, expect: &str) {
        assert_eq!(normalise(line), expect);
    }

    #[test]
    fn numbers_addresses_and_times_are_no_part_of_it() {
        check("[    2.418676] Kernel panic - not syncing: dumptest", "Kernel panic - not syncing: dumptest");
        check("CPU: 1 PID: 50 Comm: sh", "CPU: # PID: # Comm: sh");
        check("  dump_backtrace.part.0+0x98/0xc8", "dump_backtrace.part.#+#/#");
        check("at ffff80001234abcd, deadbeef after 120s on eth0", "at #, # after #s on eth#");
        check("2026-11-20T19:11:32Z  föö", "#-#-#T#:#:#Z föö");
        check("", "");
    }

    #[test]
    fn the_same_panic_has_the_same_signature_elsewhere() {
        let here = [
            "noise 7",
            "[ 2.4] Kernel panic - not syncing: x",
            "[ 2.5] CPU: 1 PID: 50",
            "[ 2.5]  panic+0x168/0x350",
        ];
        let there = ["other", "boot", "[ 9.9] Kernel panic - not syncing: x", "[ 9.9]  panic+0x170/0x360"];
        let another = ["[ 2.4] Kernel panic - not syncing: x", "[ 2.5]  do_exit+0x168/0x350"];
        assert_eq!(of_lines(&here), of_lines(&there));
        assert_ne!(of_lines(&here), of_lines(&another));
        assert_eq!(of_lines(&here).map(|s| s.len()), Some(SIGNATURE_DIGITS));
    }

    #[test]
    fn failing_cases_count_by_name_and_not_by_what_they_said() {
        let of = |failing: &[&str], noise: &str| {
            signature(&outcome(Verdict::Failed, "tests-failed", &[noise], failing))
        };
        assert_eq!(of(&["a.u8"], "x"), of(&["a.u8"], "y"));
        assert_ne!(of(&["a.u8"], "x"), of(&["a.u16"], "x"));
    }

    #[test]
    fn without_a_sign_of_trouble_the_last_line_counts_before_the_tests_and_what_happened_during_them() {
        let of = |stage, line: &str, detail: &str| {
            let silent = outcome(Verdict::Failed, "boot-silent", &["U-Boot", line], &[]);
            signature(&Outcome { stage, detail: detail.into(), ..silent })
        };
        assert_ne!(of(Stage::Booting, "Starting kernel", "x"), of(Stage::Booting, "Welcome", "x"));
        assert_eq!(of(Stage::Booting, "Starting kernel", "x"), of(Stage::Booting, "Starting kernel", "y"));
        assert_eq!(of(Stage::Testing, "# case 7", "unit took 5m"), of(Stage::Testing, "ok", "unit took 6m"));
        assert_ne!(of(Stage::Testing, "ok", "unit took 5m"), of(Stage::Testing, "ok", "boot took 5m"));
    }

    #[test]
    fn only_failures_have_one_and_causes_differ() {
        assert_eq!(signature(&outcome(Verdict::Passed, "", &[], &[])), None);
        assert_eq!(signature(&outcome(Verdict::Cancelled, "cancelled", &["x"], &[])), None);
        assert_eq!(signature(&outcome(Verdict::Infra, POWER_CYCLED, &["x"], &[])), None);
        let infra = |cause| signature(&outcome(Verdict::Infra, cause, &[], &[]));
        assert!(infra("console-busy").is_some() && infra("console-busy") != infra("console-lost"));
    }
}
