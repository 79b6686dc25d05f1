//! What the server makes of what a worker sends, and what it sends one. A worker says what happened on a board; which
//! messages, retries and marks against the board follow of it is decided here, from what this side knows of the run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Ending, Word};
use super::local::{FIRST_FAILURE, Local};
use super::runner::Lab;
use super::wire::{LabSent, ReportSent, SWITCH_WITHIN, Said, SwitchDone, SwitchWanted, Switched};
use crate::board::plan::RetryPolicy;
use crate::board::power::{Outlet, PowerConfig, Relay};
use crate::board::selector;
use crate::board::{Board, Inventory, LiveInventory, PowerDriver, Rest, Site, is_name};
use crate::door::transcript_dir;
use crate::lease::{Grip, Holder, InHand, Lease, Trust};
use crate::message::Note;
use crate::outcome::{Outcome, TestCase};
use crate::run::{LeaseRef, RunSpec};
use crate::store::{AtRest, Fenced, LeaseView, Report, Reported, Result, RunView};

/// Most bytes of the test cases of one attempt that a worker may send.
const CASES_BYTES_MAX: u64 = 32 << 20;

/// The lab as the workers of a site need it.
pub fn lab_for(inventory: &Inventory, site: &Site) -> LabSent {
    let text = inventory.remote.get(site).map(|text| text.to_string()).unwrap_or_default();
    let by_server = inventory.sites.get(site).is_some_and(|site| site.remote && !site.pdu_at_worker);
    let boards = inventory.boards.values().filter(|board| board.site == *site && by_server);
    let switched = boards.filter(|board| board.power.has_switch()).map(|board| {
        let PowerConfig { off_for, rest, relays, sequences, .. } = &board.power;
        let switched = Switched {
            off_for_ms: u64::try_from(off_for.as_millis()).unwrap_or(u64::MAX),
            rests_off: *rest == Rest::Off,
            relays: relays.iter().map(|(name, relay)| (name.clone(), relay.rest)).collect(),
            sequences: sequences.iter().map(|(name, steps)| (name.clone(), steps.to_vec())).collect(),
        };
        (board.id.clone(), switched)
    });
    LabSent { hash: inventory.hash.clone(), text, switched: switched.collect() }
}

/// The power of a board that the server switches, as its worker has it.
pub fn power_of(switched: &Switched) -> PowerConfig {
    let relay = |(name, rest): (&String, &Outlet)| {
        (name.clone(), Relay { driver: PowerDriver::Elsewhere, host: None, outlet: None, rest: *rest })
    };
    PowerConfig {
        driver: PowerDriver::Elsewhere,
        off_for: Duration::from_millis(switched.off_for_ms),
        rest: if switched.rests_off { Rest::Off } else { Rest::Leave },
        relays: switched.relays.iter().map(relay).collect(),
        sequences: switched
            .sequences
            .iter()
            .map(|(name, steps)| (name.clone(), steps.clone().into()))
            .collect(),
        ..PowerConfig::none()
    }
}

/// A board of a worker in this process' hand: for as long as the worker has it, and this process may drive boards at all.
struct Hand {
    grip: Arc<Grip>,
    here: Trust,
}

impl Hand {
    async fn lost(&self) {
        tokio::select! {
            () = self.grip.lost() => {}
            () = self.here.over() => {}
        }
    }
}

impl InHand for Hand {
    fn trusted(&self) -> bool {
        self.grip.trusted() && self.here.holds()
    }

    fn label(&self) -> String {
        self.grip.label()
    }
}

/// Makes one request to a switch for a worker that has the board; nothing where it has it not.
pub async fn switch(lab: &Lab, wanted: &SwitchWanted) -> Result<Option<SwitchDone>> {
    // In hand before it is looked at: whatever takes the lease away after that takes it out of this hand too.
    let Some(grip) = lab.crew.grip(wanted.instance, wanted.lease.clone()) else { return Ok(None) };
    let leases = lab.store.lease_list().await?;
    let is_it = |lease: &&Lease| {
        lease.id == wanted.lease.id && lease.fence == wanted.lease.fence && lease.instance == wanted.instance
    };
    let Some(lease) = leases.iter().find(is_it) else { return Ok(None) };
    let inventory = lab.inventory.newest_with(&lease.board, |_| true);
    let at_server = |board: &&Board| inventory.sites.get(&board.site).is_some_and(|site| !site.pdu_at_worker);
    let failed = |problem: String, lasting| SwitchDone { outlet: None, problem: Some(problem), lasting };
    let Some(board) = inventory.board(lease.board.as_str()).filter(at_server) else {
        return Ok(Some(failed("the server does not switch this board".into(), true)));
    };
    let hand = Hand { grip, here: lab.store.trust() };
    let doing = lab.power.once(&hand, board, wanted.relay.as_deref(), wanted.set);
    let done = tokio::select! {
        biased;
        () = hand.lost() => return Ok(None),
        done = lab.clock.timeout(SWITCH_WITHIN, doing) => done,
    };
    Ok(Some(match done {
        Ok(Ok(Ok(outlet))) => SwitchDone { outlet, problem: None, lasting: false },
        Ok(Ok(Err((problem, lasting)))) => failed(problem, lasting),
        Ok(Err(error)) => failed(error.to_string(), true),
        Err(_) => failed("its switch did not answer the server in time".into(), false),
    }))
}

/// Takes a report of a worker.
pub async fn take(
    desk: &Local,
    inventory: &LiveInventory,
    transcripts: &Path,
    sent: ReportSent,
) -> Result<Fenced> {
    let ReportSent { instance, lease, number, said } = sent;
    let report = match said {
        Said::Advance { stage, word: None } => Report::Advance(stage, vec![]),
        Said::Advance { stage, word: Some(word) } => match of(desk, &lease).await? {
            Some((view, _)) => Report::Advance(stage, vec![note(desk, word, &view)]),
            None => return Ok(Fenced::Stale),
        },
        Said::Progress { progress } => Report::Progress(progress),
        Said::FirstFailure { outcome } => match of(desk, &lease).await? {
            Some((view, attempt)) => {
                let note = desk.composer.outcome_note("run-first-failure", &view, attempt, &outcome);
                Report::Tell(FIRST_FAILURE, note)
            }
            None => return Ok(Fenced::Stale),
        },
        Said::Fenced => Report::Fenced,
        Said::Release { problem } => {
            let redacted = |problem: String| desk.redactor.redact(&problem).into_owned();
            Report::Release(problem.map_or(AtRest::Yes, |problem| AtRest::No(redacted(problem))))
        }
        Said::Settle { outcome, cases, unfit } => {
            let Some((view, attempt)) = of(desk, &lease).await? else { return Ok(Fenced::Stale) };
            let file = cases;
            let cases = match &file {
                Some(name) => read_cases(transcripts, (view.run.number, attempt), name).await,
                None => outcome.cases.clone(),
            };
            let outcome = Outcome { cases, ..outcome };
            let inventory = lab_of(inventory, &lease, &view.run.spec);
            let ending = Ending {
                lease: &lease,
                view: &view,
                attempt,
                retry: retry(&inventory, &view.run.spec),
                inventory: &inventory,
                outcome: &outcome,
                unfit: unfit.as_deref(),
            };
            let report = |settle| Reported {
                instance,
                lease: lease.clone(),
                number,
                report: Report::Settle(Box::new(settle)),
                now: desk.clock.now(),
            };
            let full = report(desk.settled(&ending).await?);
            let taken = match desk.store.worker_report(&full).await {
                Err(error) if error.is_lasting() => {
                    desk.store.worker_report(&report(desk.not_kept(&ending, &error))).await
                }
                taken => taken,
            };
            // Only now: a report that was not taken is made again, and the worker has sent its file.
            if let (Ok(Fenced::Done), Some(name)) = (&taken, file.filter(|name| is_name(name))) {
                let path = transcript_dir(transcripts, view.run.number, attempt).join(name);
                if let Err(error) = tokio::fs::remove_file(&path).await {
                    tracing::warn!(%error, path = %path.display(), "a file of test cases stays behind");
                }
            }
            return taken;
        }
    };
    let now = desk.clock.now();
    desk.store.worker_report(&Reported { instance, lease, number, report, now }).await
}

fn note(desk: &Local, word: Word, view: &RunView) -> Note {
    Note::new(word.template(), desk.composer.run_facts(view))
}

/// The run that is, or was, under a lease, and its attempt.
async fn of(desk: &Local, lease: &LeaseRef) -> Result<Option<(RunView, u32)>> {
    let Some(LeaseView::Lease(found, _)) = desk.store.lease_view(lease.id).await? else { return Ok(None) };
    let under = match &found.holder {
        Holder::Run { number, attempt, .. } => Some((*number, *attempt)),
        Holder::Person(_) | Holder::Check(_) => found.hold.as_ref().and_then(|hold| hold.run),
    };
    let Some((number, attempt)) = under.filter(|_| found.fence == lease.fence) else { return Ok(None) };
    Ok(desk.store.run_view(number).await?.map(|view| (view, attempt)))
}

/// The lab that an attempt goes by: the newest one that has its board and its plan.
fn lab_of(inventory: &LiveInventory, lease: &LeaseRef, spec: &RunSpec) -> Arc<Inventory> {
    inventory.newest_with(&lease.board, |inventory| selector::plan_of(inventory, spec).is_some())
}

fn retry(inventory: &Inventory, spec: &RunSpec) -> RetryPolicy {
    let none = RetryPolicy { infra: 0, other_board: false };
    selector::plan_of(inventory, spec).map_or(none, |plan| plan.retry)
}

/// Test cases that came as a file. Those that cannot be read are none: the outcome stands without them.
async fn read_cases(transcripts: &Path, (run, attempt): (i64, u32), name: &str) -> Vec<TestCase> {
    if !is_name(name) {
        return vec![];
    }
    let path = transcript_dir(transcripts, run, attempt).join(name);
    let read = async {
        let size = tokio::fs::metadata(&path).await?.len();
        if size > CASES_BYTES_MAX {
            return Err(std::io::Error::other(format!("it has {size} bytes")));
        }
        let data = tokio::fs::read(&path).await?;
        serde_json::from_slice(&data).map_err(std::io::Error::other)
    };
    read.await.unwrap_or_else(|error| {
        tracing::error!(%error, run, attempt, "the test cases that a worker sent cannot be read");
        vec![]
    })
}
