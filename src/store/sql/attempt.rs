//! What happens to a run: it advances, its attempt ends or is lost, somebody asks something of it. Every transition goes
//! through [`Run::apply`], is guarded again in its `WHERE`, and must change exactly one row. Nothing here decides what
//! follows an attempt, but for one that was lost with its process.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;

use super::judge::{self, standing_columns};
use super::ledger::{self, Answer, Event, Reply};
use super::link::{self, Row};
use super::outcomes;
use super::row::{self, Reader, expect_changed, statements, unavailable};
use super::run::{attempt_of, read, run_columns};
use super::script::{Script, Tx};
use super::{keep, log, worker};
use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::id::{Ids, LeaseId};
use crate::lease::Fence;
use crate::message::Note;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::transition::{LOST_ATTEMPTS_MAX, POWER_CYCLE_FAILED, POWER_CYCLED, WORKER_LOST};
use crate::run::{Decision, Keep, LeaseRef, Progress, Request, Run, RunEvent, RunState, Stage};
use crate::store::{Fenced, Lookback, RUN_LOG, Result, Settle, StoreError};

statements! {
    // With what is known of its board, for the end of the attempt.
    RUN_UNDER_LEASE = concat!("SELECT ", run_columns!(), ", ", standing_columns!(), ", l.state = 'held' AS is_held, r.keep
        FROM leases AS l
        JOIN runs AS r ON r.lease = l.id
        JOIN boards AS b ON b.id = l.board
        WHERE l.id = ?1 AND l.board = ?2 AND l.fence = ?3 AND l.state IN ('active', 'held')");
    // The guard repeats what was read; the progress is that of an attempt, and goes with it. What it waited for stays,
    // for a grant that is taken back.
    RUNS_SAVE = "UPDATE runs
        SET state = j.value->>'state',
            attempt = j.value->>'attempt',
            since = COALESCE(j.value->>'since', since),
            avoid = COALESCE(j.value->'avoid', avoid),
            lease = j.value->'lease'->>'id',
            board = j.value->'lease'->>'board',
            fence = j.value->'lease'->>'fence',
            started_at = j.value->>'started_at',
            request = j.value->'request',
            verdict = j.value->'outcome'->>'verdict',
            cause = j.value->'outcome'->>'cause',
            outcome = j.value->'outcome',
            finished_at = j.value->>'finished_at',
            progress = CASE WHEN runs.attempt = j.value->>'attempt' THEN progress END,
            revision = revision + 1
        FROM jsonb_each(?1) AS j
        WHERE runs.number = j.value->>'number'
          AND runs.state = j.value->>'was'
          AND runs.attempt = j.value->>'was_attempt'
          AND runs.lease IS j.value->>'was_lease'";
    REQUEST_SET = "UPDATE runs
        SET request = ?2, revision = revision + 1
        WHERE number = ?1 AND state NOT IN ('queued', 'finished')";
    PROGRESS_SET = "UPDATE runs
        SET progress = ?4, revision = revision + 1
        WHERE lease = (SELECT id FROM leases WHERE id = ?1 AND board = ?2 AND fence = ?3 AND state IN ('active', 'held'))
        RETURNING number";
    ATTEMPT_END = "UPDATE attempts
        SET ended_at = ?3, verdict = ?4, cause = ?5, outcome = ?6
        WHERE run = ?1 AND number = ?2 AND ended_at IS NULL";
    ATTEMPT_TELLS = "UPDATE attempts
        SET told = ?3
        WHERE run = ?1 AND number = ?2 AND told < ?3";
    ATTEMPTS_LOST = "SELECT COUNT(*)
        FROM attempts
        WHERE run = ?1 AND cause = ?2";
    LEASES_FINALIZE = "UPDATE leases
        SET state = 'finalizing'
        WHERE run = ?1 AND attempt = ?2 AND state IN ('active', 'finalizing', 'held') AND state = 'active'";
}

/// The run reached a stage. Being told so again changes nothing.
pub(super) async fn advance(
    tx: &mut Tx,
    ids: &Ids,
    lease: &LeaseRef,
    stage: Stage,
    notes: &[Note],
    now: Timestamp,
) -> Result<Fenced> {
    let Some(run) = under_lease(tx, lease).await? else {
        return Ok(Fenced::Stale);
    };
    let number = run.number;
    // A stage that is reached already is no news.
    let Ok(next) = run.clone().apply(RunEvent::Advanced(stage)) else {
        return Ok(Fenced::Done);
    };
    let mut script = Script::default();
    save(&mut script, &[(&run, &next)]);
    let event = Event::run(now, "advanced", number, attempt_of(&next.state)).on(&lease.board);
    script.events(&[event.with(json!({ "stage": stage.as_str() }))]);
    script.cards_follow(&[number], now);
    tx.leave(script);
    let replies: Vec<Reply<'_>> =
        notes.iter().map(|note| reply(number, Cow::Borrowed(note), false, now)).collect();
    ledger::owe(tx, ids, &replies, &[]).await?;
    Ok(Fenced::Done)
}

/// The attempt has something to tell; being told so again changes nothing.
pub(super) async fn tell(
    tx: &mut Tx,
    ids: &Ids,
    lease: &LeaseRef,
    nth: u32,
    note: &Note,
    now: Timestamp,
) -> Result<Fenced> {
    let Some(run) = under_lease(tx, lease).await? else {
        return Ok(Fenced::Stale);
    };
    let query = link::query(ATTEMPT_TELLS).bind(run.number).bind(attempt_of(&run.state)).bind(nth);
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0 {
        ledger::owe(tx, ids, &[reply(run.number, Cow::Borrowed(note), false, now)], &[]).await?;
    }
    Ok(Fenced::Done)
}

/// The attempt got farther. Not an event: there may be thousands, and the newest is all that anybody wants.
pub(super) async fn progress(
    tx: &mut Tx,
    lease: &LeaseRef,
    progress: &Progress,
    now: Timestamp,
) -> Result<Fenced> {
    let query = link::query(PROGRESS_SET).bind(lease.id.to_string()).bind(lease.board.as_str());
    let query = query.bind(lease.fence.0).bind(row::json(progress));
    let number = query.number(tx.connection().await?).await.map_err(unavailable)?;
    let Some(number) = number else {
        return Ok(Fenced::Stale);
    };
    ledger::cards_follow(tx, &[number], now);
    Ok(Fenced::Done)
}

/// The attempt ended.
pub(super) async fn settle(tx: &mut Tx, ids: &Ids, settle: &Settle) -> Result<Fenced> {
    let Some(found) = found_under_lease(tx, &settle.lease).await? else {
        return Ok(Fenced::Stale);
    };
    let (run, standing) = (read(&found)?, judge::Standing::read(&found));
    let row = Reader::new(&found, "runs", "number");
    let is_held = row.flag("is_held")?;
    let keep: Option<Keep> = row.opt_json("keep")?;
    let failed = Failed::of(settle, &run, is_held);
    if run.id != settle.run {
        return Ok(Fenced::Stale);
    }
    let (number, attempt, kind) = (run.number, attempt_of(&run.state), run.spec.kind);
    let notes = settle.notes.iter().map(Cow::Borrowed).collect();
    let end = AttemptEnd {
        run,
        outcome: &settle.outcome,
        decision: settle.decision.clone(),
        notes,
        lookback: settle.lookback.as_ref(),
        now: settle.now,
    };
    let mut script = Script::default();
    // All of them where the run holds several boards. One that its requester has stays theirs, and what they do to it
    // says nothing about it.
    let told = match is_held {
        true => None,
        false => {
            script.add(LEASES_FINALIZE, [number.into(), attempt.into()]);
            judge::settled(&mut script, settle, &standing, number, kind)
        }
    };
    attempt_end(tx, ids, end, script).await?;
    if let Some((keep, failed)) = keep.as_ref().zip(failed) {
        keep::settled(tx, ids, settle, (number, keep), failed).await?;
    }
    if let Some((via, note)) = told {
        ledger::owe(tx, ids, &[], &[Answer { via, note: &note, at: settle.now }]).await?;
    }
    Ok(Fenced::Done)
}

/// Whether a run that is over is one whose board somebody wants to see as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    Yes,
    No,
}

impl Failed {
    /// `None` while it is not over. A board that its requester has is kept anyhow, and one that was power-cycled, or whose
    /// run was called off, shows nothing.
    fn of(settle: &Settle, run: &Run, is_held: bool) -> Option<Failed> {
        let called_off = matches!(run.request, Some(Request::Cancel { .. }));
        if settle.decision != Decision::Finish && !called_off {
            return None;
        }
        let failed = matches!(settle.outcome.verdict, Verdict::Failed | Verdict::TimedOut | Verdict::Infra);
        let cycled = [POWER_CYCLED, POWER_CYCLE_FAILED].contains(&settle.outcome.cause.as_str());
        let kept = settle.keepable && !cycled && !called_off && !is_held;
        Some(if failed && kept { Failed::Yes } else { Failed::No })
    }
}

/// The process that drove the run's attempt is gone. The attempt counts as infra and says nothing about board or
/// build; the run waits for its next one, unless it has lost too many, or somebody had asked to end it.
pub(super) async fn lost(tx: &mut Tx, ids: &Ids, run: Run, stage: Stage, now: Timestamp) -> Result<()> {
    let count = link::query(ATTEMPTS_LOST).bind(run.number).bind(WORKER_LOST);
    let before = count.count(tx.connection().await?).await.map_err(unavailable)?;
    let finish = before + 1 >= i64::from(LOST_ATTEMPTS_MAX);
    let worker = match &run.state {
        RunState::Active { lease, .. } => worker::of_lease(tx, lease.id).await?,
        RunState::Queued { .. } | RunState::Finished { .. } => None,
    };
    let outcome = Outcome {
        verdict: Verdict::Infra,
        cause: WORKER_LOST.to_owned(),
        stage,
        detail: worker.map(|worker| format!("the worker {worker} was lost")).unwrap_or_default(),
        excerpt: vec![],
        cases: vec![],
        counts: Counts::default(),
    };
    let (decision, template) = match finish {
        true => (Decision::Finish, "run-finished"),
        false => (Decision::TryAgain { avoid: vec![] }, "run-requeued-after-restart"),
    };
    let notes = vec![Cow::Owned(outcome_note(template, &run, &outcome))];
    let end = AttemptEnd { run, outcome: &outcome, decision, notes, lookback: None, now };
    attempt_end(tx, ids, end, Script::default()).await
}

/// Ends a run that has no board.
pub(super) async fn withdraw(
    tx: &mut Tx,
    ids: &Ids,
    run: Run,
    outcome: &Outcome,
    note: &Note,
    now: Timestamp,
) -> Result<()> {
    let next = apply(&run, RunEvent::Withdrawn { outcome: outcome.clone(), at: now })?;
    let mut script = Script::default();
    save(&mut script, &[(&run, &next)]);
    let event = Event::run(now, "withdrawn", run.number, attempt_of(&next.state));
    script.events(&[event.with(json!({ "verdict": outcome.verdict, "cause": outcome.cause }))]);
    script.cards_follow(&[run.number], now);
    tx.leave(script);
    ledger::owe(tx, ids, &[reply(run.number, Cow::Borrowed(note), true, now)], &[]).await
}

/// Asks something of a run on a board. To end it outweighs to power-cycle it; asking again changes nothing.
pub(super) async fn ask(tx: &mut Tx, run: &Run, request: &Request, now: Timestamp) -> Result<()> {
    match (&run.request, request) {
        (None, _) | (Some(Request::PowerCycle { .. }), Request::Cancel { .. }) => {}
        (Some(_), _) => return Ok(()),
    }
    let set = link::query(REQUEST_SET).bind(run.number).bind(row::json(request));
    let changed = set.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    expect_changed(changed, 1, "runs", run.number)?;
    let event = Event::run(now, "asked", run.number, attempt_of(&run.state)).with(json!(request));
    ledger::events(tx, &[event]);
    ledger::cards_follow(tx, &[run.number], now);
    Ok(())
}

/// Writes runs that have made a transition.
pub(super) fn save(script: &mut Script, changes: &[(&Run, &Run)]) {
    if changes.is_empty() {
        return;
    }
    let rows: Vec<RunSave<'_>> = changes.iter().map(|(before, after)| RunSave::new(before, after)).collect();
    let numbers: Vec<String> = rows.iter().map(|row| row.number.to_string()).collect();
    script.add(RUNS_SAVE, [row::json(&rows).into()]).expect(rows.len(), "runs", numbers.join(","));
}

/// The end of an attempt, however it came.
struct AttemptEnd<'a> {
    run: Run,
    outcome: &'a Outcome,
    decision: Decision,
    notes: Vec<Cow<'a, Note>>,
    lookback: Option<&'a Lookback>,
    now: Timestamp,
}

/// Ends an attempt, behind what `script` says already.
async fn attempt_end(tx: &mut Tx, ids: &Ids, end: AttemptEnd<'_>, mut script: Script) -> Result<()> {
    let AttemptEnd { run, outcome, mut decision, mut notes, mut lookback, now } = end;
    let mut run_outcome = Cow::Borrowed(outcome);
    // Whoever asked to end the run was told that it will end: another attempt would break that word.
    if decision != Decision::Finish && matches!(run.request, Some(Request::Cancel { .. })) {
        run_outcome = Cow::Owned(cancelled(outcome));
        decision = Decision::Finish;
        lookback = None;
        notes = vec![Cow::Owned(outcome_note("run-cancelled", &run, &run_outcome))];
    }
    let settled = RunEvent::Settled { outcome: run_outcome.as_ref().clone(), decision, at: now };
    let next = apply(&run, settled)?;
    let attempt = attempt_of(&run.state);
    let finished = matches!(next.state, RunState::Finished { .. });
    save(&mut script, &[(&run, &next)]);
    if finished && run.spec.kind.is_test() {
        let seen = outcomes::keep(tx, &mut script, &run, &run_outcome, lookback, now).await?;
        for note in notes.iter_mut().filter(|_| seen.is_some()) {
            note.to_mut().facts.insert("seen".into(), json!(seen));
        }
    }
    let values = [
        run.number.into(),
        attempt.into(),
        now.into(),
        outcome.verdict.as_str().into(),
        outcome.cause.as_str().into(),
        row::json(outcome).into(),
    ];
    script.add(ATTEMPT_END, values).expect(1, "attempts", format!("{}/{attempt}", run.number));
    let mut event = Event::run(now, "settled", run.number, attempt);
    if let RunState::Active { lease, .. } = &run.state {
        event = event.on(&lease.board);
    }
    let facts = json!({ "verdict": outcome.verdict, "cause": outcome.cause, "finished": finished });
    script.events(&[event.with(facts)]);
    script.cards_follow(&[run.number], now);
    tx.leave(script);
    // Whoever asks for the log then is told that it stands there.
    if notes.iter().any(|note| note.template == RUN_LOG) {
        tx.leave(log::shown(run.number, attempt));
    }
    let telling = notes.iter().rposition(|note| note.template != RUN_LOG);
    let replies: Vec<Reply<'_>> = notes
        .into_iter()
        .enumerate()
        .map(|(i, note)| reply(run.number, note, finished && telling == Some(i), now))
        .collect();
    ledger::owe(tx, ids, &replies, &[]).await
}

async fn found_under_lease(tx: &mut Tx, lease: &LeaseRef) -> Result<Option<Row>> {
    let query = link::query(RUN_UNDER_LEASE)
        .bind(lease.id.to_string())
        .bind(lease.board.as_str())
        .bind(lease.fence.0);
    query.fetch_optional(tx.connection().await?).await.map_err(unavailable)
}

async fn under_lease(tx: &mut Tx, lease: &LeaseRef) -> Result<Option<Run>> {
    found_under_lease(tx, lease).await?.as_ref().map(read).transpose()
}

/// A transition that the row's own state must allow: the caller has looked.
pub(super) fn apply(run: &Run, event: RunEvent) -> Result<Run> {
    run.clone().apply(event).map_err(|error| StoreError::Corrupt {
        table: "runs",
        row: run.number.to_string(),
        problem: error.to_string(),
    })
}

fn reply(run: i64, note: Cow<'_, Note>, last: bool, at: Timestamp) -> Reply<'_> {
    Reply { run, note, last, at }
}

/// How a run ends that was asked to end while its attempt ended otherwise.
fn cancelled(of: &Outcome) -> Outcome {
    Outcome {
        verdict: Verdict::Cancelled,
        cause: "cancelled".to_owned(),
        stage: of.stage,
        detail: String::new(),
        excerpt: vec![],
        cases: vec![],
        counts: of.counts,
    }
}

/// What a thread is told of an end that no Runner saw: the facts of a Runner's notes, as far as they are known here.
fn outcome_note(template: &str, run: &Run, outcome: &Outcome) -> Note {
    let (board, started_at) = match &run.state {
        RunState::Active { lease, started_at, .. } => (Some(&lease.board), Some(*started_at)),
        RunState::Queued { .. } | RunState::Finished { .. } => (None, None),
    };
    Note::new(
        template,
        json!({
            "run": {
                "number": run.number,
                "family": run.spec.family,
                "build": run.spec.build,
                "suite": run.spec.suite,
                "by": run.requested_by,
                "retry_of": run.retry_of,
                "batch": run.batch,
            },
            "verdict": outcome.verdict,
            "outcome": {
                "verdict": outcome.verdict,
                "cause": outcome.cause,
                "stage": outcome.stage,
                "detail": outcome.detail,
                "excerpt": "",
                "failed_cases": [],
                "failed_cases_more": 0,
            },
            "counts": {
                "passed": outcome.counts.passed,
                "failed": outcome.counts.failed,
                "skipped": outcome.counts.skipped,
                "total": outcome.counts.total(),
            },
            "attempt": attempt_of(&run.state),
            "board": board,
            "request": run.request,
            "started_at": started_at,
            "log_url": null,
        }),
    )
}

/// A run's row after a transition, and what it must have been before.
#[derive(Serialize)]
struct RunSave<'a> {
    number: i64,
    was: &'static str,
    was_attempt: u32,
    was_lease: Option<&'a LeaseId>,
    state: &'static str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avoid: Option<&'a [BoardId]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseSave<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct LeaseSave<'a> {
    id: &'a LeaseId,
    board: &'a BoardId,
    fence: Fence,
}

impl<'a> RunSave<'a> {
    fn new(before: &'a Run, after: &'a Run) -> Self {
        let was_lease = match &before.state {
            RunState::Active { lease, .. } => Some(&lease.id),
            RunState::Queued { .. } | RunState::Finished { .. } => None,
        };
        let mut save = RunSave {
            number: before.number,
            was: before.state.word(),
            was_attempt: attempt_of(&before.state),
            was_lease,
            state: after.state.word(),
            attempt: attempt_of(&after.state),
            since: None,
            avoid: None,
            lease: None,
            started_at: None,
            request: after.request.as_ref(),
            outcome: None,
            finished_at: None,
        };
        match &after.state {
            RunState::Queued { since, avoid, .. } => {
                save.since = Some(*since);
                save.avoid = Some(avoid);
            }
            RunState::Active { lease, started_at, .. } => {
                save.lease = Some(LeaseSave { id: &lease.id, board: &lease.board, fence: lease.fence });
                save.started_at = Some(*started_at);
            }
            RunState::Finished { outcome, at, .. } => {
                save.outcome = Some(without_cases(outcome));
                save.finished_at = Some(*at);
            }
        }
        save
    }
}

fn without_cases(outcome: &Outcome) -> Outcome {
    let Outcome { verdict, cause, stage, detail, excerpt, cases: _, counts } = outcome;
    Outcome {
        verdict: *verdict,
        cause: cause.clone(),
        stage: *stage,
        detail: detail.clone(),
        excerpt: excerpt.clone(),
        cases: vec![],
        counts: *counts,
    }
}
