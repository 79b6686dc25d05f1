//! Stranded runs: those that wait for a board or a suite that left the lab file. Looked for at every start, and when the
//! file was read again; each ends as lab trouble, told in its thread, since nothing that it waits for can come any more.

use std::sync::Arc;

use crate::board::{Inventory, selector};
use crate::clock::Clock;
use crate::lease::queue::{CouldServe, Misfit, could_serve};
use crate::message::compose::Composer;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::{Run, RunSpec, RunState, Stage};
use crate::store::{RunFilter, Store, StoreError};

/// The cause of a run that nothing in the lab file can serve any more.
pub const NOT_IN_LAB: &str = "not-in-lab";

/// Ends every waiting run that no board of the lab could ever serve; gives their numbers. A run that cannot be ended is
/// left as it is and told in the log.
pub async fn end(
    store: &Arc<dyn Store>,
    inventory: &Inventory,
    composer: &Composer,
    clock: &Clock,
) -> Result<Vec<i64>, StoreError> {
    let mut ended = Vec::new();
    let filter = RunFilter { unfinished: true, limit: u32::MAX, ..RunFilter::default() };
    for run in store.run_list(&filter).await? {
        let Some(detail) = stranded(&run, inventory) else { continue };
        let outcome = Outcome {
            verdict: Verdict::Infra,
            cause: NOT_IN_LAB.to_owned(),
            stage: Stage::Queued,
            detail,
            excerpt: vec![],
            cases: vec![],
            counts: Counts::default(),
        };
        match end_one(store, composer, clock, run.number, &outcome).await {
            Ok(true) => ended.push(run.number),
            Ok(false) => {}
            Err(error) if error.is_lasting() => {
                tracing::error!(run.number = run.number, %error, "a stranded run cannot be ended");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// Why nothing can serve a run any more; `None` while something can, or it does not wait.
fn stranded(run: &Run, inventory: &Inventory) -> Option<String> {
    let RunState::Queued { .. } = run.state else { return None };
    match could_serve(&run.spec, inventory) {
        CouldServe::No(misfit) => Some(reason(&run.spec, &misfit)),
        CouldServe::Yes if selector::plan_of(inventory, &run.spec).is_some() => None,
        CouldServe::Yes => {
            let RunSpec { family, suite, .. } = &run.spec;
            Some(format!("the suite {suite} of {family} is not in boards.yaml any more"))
        }
    }
}

async fn end_one(
    store: &Arc<dyn Store>,
    composer: &Composer,
    clock: &Clock,
    number: i64,
    outcome: &Outcome,
) -> Result<bool, StoreError> {
    let Some(view) = store.run_view(number).await? else { return Ok(false) };
    let note = composer.outcome_note("run-finished", &view, 0, outcome);
    store.run_withdraw(number, outcome, &note, clock.now()).await
}

/// Why nothing can serve it any more, for people.
fn reason(spec: &RunSpec, misfit: &Misfit) -> String {
    let family = &spec.family;
    match (misfit, &spec.selector.board) {
        (Misfit::Family { .. }, _) => format!("its family {family} is not in boards.yaml any more"),
        (Misfit::Board { .. }, Some(board)) => format!("its board {board} is not in boards.yaml any more"),
        (Misfit::OtherFamily { family: now }, Some(board)) => {
            format!("its board {board} is a {now} in boards.yaml now, not a {family}")
        }
        (Misfit::TooFew { wanted, most }, _) => {
            format!(
                "it wants {wanted} boards of one site, and no site of boards.yaml has more than {most} any more"
            )
        }
        _ => format!("no {family} in boards.yaml is like what it asks for any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{BoardId, Family};
    use crate::run::{Priority, RunKind, Selector};

    #[track_caller]
    fn check(board: Option<&str>, misfit: Misfit, expect: &str) {
        let spec = RunSpec {
            kind: RunKind::Test,
            family: Family::new("socX"),
            build: "b".into(),
            suite: "smoke".into(),
            selector: Selector { board: board.map(BoardId::new), ..Selector::default() },
            priority: Priority::Normal,
            boards: 2,
            on_own_board: false,
            timeout: None,
            params: Default::default(),
        };
        assert_eq!(reason(&spec, &misfit), expect);
    }

    #[test]
    fn a_stranded_run_is_told_what_is_missing() {
        let near = vec!["socA".to_owned()];
        check(None, Misfit::Family { near: near.clone() }, "its family socX is not in boards.yaml any more");
        check(Some("x-1"), Misfit::Board { near }, "its board x-1 is not in boards.yaml any more");
        check(
            Some("x-1"),
            Misfit::OtherFamily { family: Family::new("socA") },
            "its board x-1 is a socA in boards.yaml now, not a socX",
        );
        check(
            None,
            Misfit::TooFew { wanted: 2, most: 1 },
            "it wants 2 boards of one site, and no site of boards.yaml has more than 1 any more",
        );
        check(None, Misfit::Together, "no socX in boards.yaml is like what it asks for any more");
    }
}
