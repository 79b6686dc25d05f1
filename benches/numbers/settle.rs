//! The end of a run: what looking back at the runs before it costs, beside a run of which nothing is kept to look back
//! at. In memory, so that the disk is no part of it.

use std::time::Duration;

use boardhand::board::Family;
use boardhand::outcome::compare::{Marks, Past, RunOfBuild, compare};
use boardhand::outcome::{CaseStatus, TestCase, Verdict};
use boardhand::run::RunKind;
use boardhand::store::{Fenced, Lookback};

use crate::lab;
use crate::machine::Spread;
use crate::reserve::Bench;

/// Runs of each kind.
const SAMPLES: usize = 400;

/// Measures it.
pub(crate) fn with_and_without_looking_back() {
    lab::runtime().block_on(async {
        for (cases, failing) in [(0, 0), (200, 2), (10_000, 0), (10_000, 1_000)] {
            for kind in [RunKind::Health, RunKind::Test] {
                let home = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
                let bench = Bench::start(home.path()).await;
                let (looking, settling) = samples(&bench, kind, cases, failing).await;
                let word = if kind.is_test() { "looked back at" } else { "nothing kept" };
                println!("{cases} cases, {failing} fail, {word}:\n  looking back {looking}\n  settling     {settling}");
            }
        }
    });
}

async fn samples(bench: &Bench, kind: RunKind, cases: usize, failing: usize) -> (Spread, Spread) {
    let (mut looks, mut settles) = (Vec::new(), Vec::new());
    for n in 0..SAMPLES {
        let lease = bench.leased(bench.intake(0, "settle", n), kind).await;
        let mut settle = bench.settle(&lease).expect("a run's lease");
        settle.outcome.cases = (0..cases).map(|case| test_case(case, case < failing)).collect();
        if failing > 0 {
            (settle.outcome.verdict, settle.outcome.cause) = (Verdict::Failed, "tests-failed".into());
        }
        let begun = bench.clock.monotonic();
        if kind.is_test() {
            let past = bench.store.suite_past(&Family::new("soc0"), "trivial").await.expect("past");
            let run = RunOfBuild { number: n as i64 + 1, build: format!("build-{n}") };
            let this = Past { run, marks: Marks::of(&settle.outcome.cases) };
            let comparison = compare(&this, &settle.outcome.cases, &past.runs, past.good);
            settle.lookback = Some(Lookback { comparison, marks: this.marks });
        }
        let looked = bench.clock.monotonic();
        assert_eq!(bench.store.run_settle(&settle).await.expect("settled"), Fenced::Done);
        settles.push(bench.clock.monotonic().since(looked));
        looks.push(looked.since(begun));
        bench.release(&settle.lease).await;
    }
    // The first ones have little to look back at.
    let warm = |all: Vec<Duration>| Spread::of(all.into_iter().skip(SAMPLES / 4));
    (warm(looks), warm(settles))
}

fn test_case(n: usize, fails: bool) -> TestCase {
    let status = if fails { CaseStatus::Failed } else { CaseStatus::Passed };
    TestCase::new(format!("suite_{}.a_case_with_an_ordinary_name_{n}", n % 50), status, "")
}
