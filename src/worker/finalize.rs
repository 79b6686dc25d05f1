//! Finalize: what is done on every path after the outcome is committed. The plan's `finally` steps, then the board's
//! rest, then the release. What fails here marks the board suspect and changes no verdict.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Attempt, Halt};
use super::bench::Bench;
use crate::board::plan::{Action, PowerAction, Step};
use crate::board::{Board, Inventory, Rest};
use crate::clock::Monotonic;
use crate::lease::Grip;
use crate::store::AtRest;

/// How long finalize may take, for all boards of an attempt at once.
pub(super) const FINALIZE_WITHIN: Duration = Duration::from_secs(120);

/// Brings the boards of an attempt to rest and releases them.
pub(super) async fn bring_to_rest(lab: &Arc<Bench>, mut attempt: Attempt, grips: &[Arc<Grip>]) {
    let until = lab.clock.monotonic() + FINALIZE_WITHIN;
    attempt.finalizing(until);
    let (plan, inventory) = (attempt.plan(), attempt.inventory());
    let board = attempt.board().cloned();
    let first = async {
        // Power ends a program just as well.
        let goes_off =
            board.as_ref().is_some_and(|board| board.power.rest == Rest::Off && board.power.has_switch());
        let tidies = plan.finally.iter().any(|step| matches!(step.action, Action::Run(_)));
        let mut problem = match attempt.cycled() {
            Some(Ok(())) => None,
            Some(Err(problem)) => Some(problem.clone()),
            None if goes_off && !tidies => None,
            None => attempt.end_command().await.filter(|_| !goes_off),
        };
        problem = attempt.end_cycle().await.or(problem);
        for step in &plan.finally {
            problem = finally(&mut attempt, step).await.or(problem);
        }
        attempt.close().await;
        let problem = attempt.half_done().map(str::to_owned).or(problem);
        match &board {
            Some(board) => rest(lab, board, &grips[0], attempt.has_moved_relays()).await.or(problem),
            None => problem,
        }
    };
    let first = async {
        let problem = in_time(lab, until, Box::pin(first)).await;
        release(lab, &grips[0], problem).await;
    };
    let partners = grips[1..].iter().map(|grip| partner(lab, &inventory, grip, until));
    tokio::join!(first, futures_util::future::join_all(partners));
}

/// Lets go of a board that somebody has as their own: the console is closed, and nothing else is done to it. What still
/// runs is ended where the board `was_held` before, for their next run; a failure that is kept is left as it is. The boards
/// beside it come to rest.
pub(super) async fn keep(lab: &Arc<Bench>, mut attempt: Attempt, was_held: bool, partners: &[Arc<Grip>]) {
    let until = lab.clock.monotonic() + FINALIZE_WITHIN;
    attempt.finalizing(until);
    let inventory = attempt.inventory();
    let partners = partners.iter().map(|grip| partner(lab, &inventory, grip, until));
    let board = attempt.board().map(|board| board.id.clone());
    let letting_go = async {
        let problem = if was_held { attempt.end_command().await } else { None };
        attempt.close().await;
        problem
    };
    let letting_go = in_time(lab, until, Box::pin(letting_go));
    let (problem, _) = tokio::join!(letting_go, futures_util::future::join_all(partners));
    if let Some(problem) = problem {
        tracing::info!(board.id = ?board, problem, "a board is left to whoever has it as it is");
    }
}

/// A board that was held beside the one that the plan drove.
async fn partner(lab: &Bench, inventory: &Inventory, grip: &Grip, until: Monotonic) {
    let problem = match inventory.board(grip.lease().board.as_str()) {
        Some(board) => in_time(lab, until, Box::pin(rest(lab, board, grip, false))).await,
        None => None,
    };
    release(lab, grip, problem).await;
}

/// What goes wrong with bringing a board to rest, which must not take for ever.
async fn in_time(
    lab: &Bench,
    until: Monotonic,
    rest: impl Future<Output = Option<String>> + Unpin,
) -> Option<String> {
    let late = || Some("bringing it to rest took too long".to_owned());
    lab.clock.deadline(until, rest).await.unwrap_or_else(|_| late())
}

/// Leaves boards as their families want them, and nothing more: nothing is known of what ran on them.
pub(super) async fn leave(lab: &Bench, grips: &[Arc<Grip>]) {
    for grip in grips {
        let inventory = lab.inventory.newest_with(&grip.lease().board, |_| true);
        if let Some(board) = inventory.board(grip.lease().board.as_str())
            && let Some(problem) = rest(lab, board, grip, true).await
        {
            tracing::warn!(board.id = %grip.lease().board, problem, "the board was not brought to rest");
        }
    }
}

/// One `finally` step; gives what went wrong. A shell command is only tried while a shell is known to listen: a dead
/// board is not logged in to for the sake of tidiness.
async fn finally(attempt: &mut Attempt, step: &Step) -> Option<String> {
    let possible = matches!(step.action, Action::Power(_)) || attempt.has_shell();
    if !possible {
        return None;
    }
    match attempt.step(step).await {
        Ok(()) | Err(Halt::Stale) => None,
        Err(halt) => Some(format!("{}: {}", step.name, halt.detail())),
    }
}

/// Leaves a board as its family wants it that somebody had as their own, and gives it back. Its next holder takes it over,
/// unless it was cut off from its power here.
pub(super) async fn after_a_person(lab: &Bench, grip: &Grip) {
    let inventory = lab.inventory.newest_with(&grip.lease().board, |_| true);
    let Some(board) = inventory.board(grip.lease().board.as_str()) else {
        return release(lab, grip, None).await;
    };
    let until = lab.clock.monotonic() + FINALIZE_WITHIN;
    let problem = in_time(lab, until, Box::pin(rest(lab, board, grip, true))).await;
    if problem.is_none() && board.power.rest == Rest::Off && board.power.has_switch() {
        let _ = lab.persist(|| lab.desk.fenced(grip.lease())).await;
    }
    release(lab, grip, problem).await;
}

/// Leaves a board as its family wants it, its relays first where they may have been moved; gives what went wrong.
async fn rest(lab: &Bench, board: &Board, grip: &Grip, relays: bool) -> Option<String> {
    let back = match relays {
        true => lab.power.relays_to_rest(grip, board).await.err().map(|error| error.to_string()),
        false => None,
    };
    match board.power.rest {
        Rest::Off if board.power.has_switch() => {
            let off = lab.power.act(grip, board, &PowerAction::Off).await;
            off.err().map(|error| error.to_string()).or(back)
        }
        Rest::Off | Rest::Leave => back,
    }
}

async fn release(lab: &Bench, grip: &Grip, problem: Option<String>) {
    let rest = match problem {
        None => AtRest::Yes,
        Some(problem) => {
            // It may hold what a board said.
            let problem = lab.redactor.redact(&problem).into_owned();
            tracing::warn!(board.id = %grip.lease().board, problem, "the board was not brought to rest");
            AtRest::No(problem)
        }
    };
    give_back(lab, grip, &rest).await;
}

/// Gives a board back; where the store refuses that for good it is taken away, so that it is not held for ever.
pub(super) async fn give_back(lab: &Bench, grip: &Grip, rest: &AtRest) {
    // Stale here means that the lease lapsed meanwhile: its next holder fences the board.
    let released = lab.persist(|| lab.desk.release(grip.lease(), rest)).await;
    let Err(error) = released else { return };
    tracing::error!(board.id = %grip.lease().board, %error, "the board cannot be given back: it is taken away");
    let leases = [grip.lease().id];
    if let Err(error) = lab.persist(|| lab.desk.take_away(&leases)).await {
        tracing::error!(board.id = %grip.lease().board, %error, "nor taken away: the next start does it");
    }
}
