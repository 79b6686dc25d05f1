//! Leases, as they begin. The board's row counts the fence; the partial unique index on `leases` has the last word on
//! who holds a board. `lease_end` keeps them, gives them back and takes them away.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::attempt;
use super::drain;
use super::hold;
use super::ledger::Event;
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::run::{self, run_columns};
use super::script::Script;
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, RunId};
use crate::lease::{Fence, Hold, Holder, Lease, LeaseState};
use crate::run::{LeaseRef, Run, RunEvent, RunState};
use crate::store::{Grant, Granted, Health, LeaseTerms, LeaseView, Result};

/// The columns that [`read`] reads, of `leases` as `l`.
macro_rules! lease_columns {
    () => {
        "l.id AS lease_id, l.board AS lease_board, l.fence AS lease_fence, l.holder, l.instance, l.granted_at,
         l.expires_at, l.state AS lease_state, l.needs_fence AS lease_needs_fence, l.reason AS lease_reason, l.warned_at,
         l.idle_until,
         CASE l.state WHEN 'held' THEN (SELECT u.number FROM runs AS u WHERE u.lease = l.id) END AS lease_run,
         CASE l.state WHEN 'held' THEN (SELECT u.attempt FROM runs AS u WHERE u.lease = l.id) END AS lease_attempt"
    };
}
pub(super) use lease_columns;

statements! {
    RUNS_BY_ID = concat!("SELECT ", run_columns!(), "
        FROM runs AS r
        WHERE r.id IN (SELECT value FROM jsonb_each(?1))");
    BOARDS_WITH_LEASES = concat!("SELECT b.id, b.fence, b.needs_fence, b.health, b.reason, ", lease_columns!(), "
        FROM boards AS b
        LEFT JOIN leases AS l ON l.board = b.id AND l.state IN ('active', 'finalizing', 'held')
        WHERE b.id IN (SELECT value FROM jsonb_each(?1))");
    // A fence only ever rises by one, from what was read in this transaction.
    FENCES_RAISE = "UPDATE boards
        SET fence = j.value->>'fence'
        FROM jsonb_each(?1) AS j
        WHERE boards.id = j.value->>'board' AND boards.fence = j.value->>'fence' - 1";
    LEASES_INSERT = "INSERT INTO leases (id, board, fence, holder, run, attempt, instance, granted_at, expires_at, state,
                                         needs_fence, reason, held_by, held_from)
        SELECT value->>'id', value->>'board', value->>'fence', value->'holder', value->'holder'->'run'->>'number',
               value->'holder'->'run'->>'attempt', value->>'instance', value->>'granted_at', value->>'expires_at',
               value->>'state', value->>'needs_fence', value->>'reason', value->>'held_by', value->>'held_from'
        FROM jsonb_each(?1)";
    ATTEMPTS_INSERT = "INSERT INTO attempts (run, number, board, others, fence, lease, started_at)
        SELECT value->>'run', value->>'number', value->>'board', value->'others', value->>'fence', value->>'lease',
               value->>'started_at'
        FROM jsonb_each(?1)";
    LEASE_STATE = "SELECT id, state FROM leases WHERE id = ?1 AND board = ?2 AND fence = ?3";
    LEASE_ONE = concat!("SELECT ", lease_columns!(), ", l.ended_at
        FROM leases AS l
        WHERE l.id = ?1");
    LEASES_LIVE = concat!("SELECT ", lease_columns!(), "
        FROM leases AS l
        WHERE l.state IN ('active', 'finalizing', 'held')
        ORDER BY l.granted_at, l.id");
}

/// A lease from its columns.
pub(super) fn read(row: &Row) -> Result<Lease> {
    let row = Reader::new(row, "leases", "lease_id");
    let state = row.word("lease_state", LeaseState::from_word)?;
    let hold = match state {
        LeaseState::Held => Some(Hold {
            reason: row.opt_text("lease_reason")?.unwrap_or_default().to_owned(),
            warned: row.opt_at("warned_at")?.is_some(),
            idle_until: row.opt_at("idle_until")?,
            run: match row.opt_int("lease_run")? {
                Some(number) => Some((number, row.count("lease_attempt")?)),
                None => None,
            },
        }),
        _ => None,
    };
    Ok(Lease {
        id: row.id("lease_id")?,
        board: BoardId::new(row.text("lease_board")?),
        fence: Fence(row.int("lease_fence")?),
        holder: row.json("holder")?,
        instance: row.id("instance")?,
        granted_at: row.at("granted_at")?,
        expires_at: row.at("expires_at")?,
        state,
        needs_fence: row.flag("lease_needs_fence")?,
        hold,
    })
}

/// The live lease of a board's row, where there is one.
pub(super) fn read_joined(row: &Row) -> Result<Option<Lease>> {
    let joined = Reader::new(row, "leases", "lease_id").opt_text("lease_id")?.is_some();
    joined.then(|| read(row)).transpose()
}

/// Where a lease is in its life.
pub(super) async fn state(readers: &Readers, lease: &LeaseRef) -> Result<Option<LeaseState>> {
    let query = link::query(LEASE_STATE).bind(lease.id.to_string()).bind(lease.board.as_str());
    let found = query.bind(lease.fence.0).fetch_optional(readers).await.map_err(unavailable)?;
    let read = |row| Reader::new(row, "leases", "id").word("state", LeaseState::from_word);
    found.as_ref().map(read).transpose()
}

/// A lease by its id, or the wish that it is to come of. The wish is looked for first: it becomes a lease in between, never
/// the other way round.
pub(super) async fn view(readers: &Readers, id: LeaseId) -> Result<Option<LeaseView>> {
    if let Some(wish) = hold::waiting_one(readers, id).await? {
        return Ok(Some(LeaseView::Waiting(Box::new(wish))));
    }
    let query = link::query(LEASE_ONE).bind(id.to_string());
    let Some(found) = query.fetch_optional(readers).await.map_err(unavailable)? else { return Ok(None) };
    let ended_at = Reader::new(&found, "leases", "lease_id").opt_at("ended_at")?;
    Ok(Some(LeaseView::Lease(Box::new(read(&found)?), ended_at)))
}

/// Every live lease.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<Lease>> {
    let rows = link::query(LEASES_LIVE).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// Grants boards to waiting runs, all in one statement per table.
pub(super) async fn grant(
    tx: &mut Tx,
    unreadable: &Unreadable,
    grants: &[Grant],
    terms: &LeaseTerms,
) -> Result<Vec<Granted>> {
    let ids: Vec<RunId> = grants.iter().map(|grant| grant.run).collect();
    let names: HashSet<&BoardId> =
        grants.iter().flat_map(|grant| grant.leases.iter().map(|(_, board)| board)).collect();
    let mut script = Script::default();
    script.add(RUNS_BY_ID, [row::json(&ids).into()]);
    script.add(BOARDS_WITH_LEASES, [row::json(&names).into()]);
    script.add(drain::DRAIN_NEWEST, []);
    let read = tx.run(script).await?;
    let newest_drain = drain::newest(&read[2].rows)?;
    let is_outdated = terms.drains_seen.is_some_and(|seen| newest_drain > seen);
    // One that cannot be read is not granted anything: it is gone, for now.
    let mut runs: HashMap<RunId, Run> =
        unreadable.sift(&read[0].rows, run::read)?.into_iter().map(|run| (run.id, run)).collect();
    let mut boards = boards_of(unreadable, &read[1].rows)?;

    let mut granted = Vec::with_capacity(grants.len());
    let mut leases: Vec<Lease> = Vec::new();
    let mut changes: Vec<(Run, Run)> = Vec::new();
    for grant in grants {
        let Some(waiting) = runs.get(&grant.run) else {
            granted.push(Granted::Gone);
            continue;
        };
        let answer = match grant_one(grant, waiting, &boards, terms) {
            Granted::Leases(leases) if is_outdated && begins(waiting, &leases) => Granted::Outdated,
            answer => answer,
        };
        if let (Granted::Leases(fresh), RunState::Queued { .. }) = (&answer, &waiting.state) {
            let first = &fresh[0];
            let lease = LeaseRef { id: first.id, board: first.board.clone(), fence: first.fence };
            let event = RunEvent::Granted { lease, at: terms.now };
            let next = waiting.clone().apply(event).expect("grant_one has seen that it is queued");
            changes.push((waiting.clone(), next.clone()));
            runs.insert(grant.run, next);
            for lease in fresh {
                boards.entry(lease.board.clone()).and_modify(|board| board.take(lease));
                // A board that its requester has keeps the lease that is there.
                leases.extend(Some(lease).filter(|lease| lease.hold.is_none()).cloned());
            }
        }
        granted.push(answer);
    }
    let mut script = Script::default();
    leases_insert(&mut script, &leases);
    attempts_begin(&mut script, &changes, &leases, terms.now);
    tx.leave(script);
    Ok(granted)
}

/// Takes one board. A quarantined one too: somebody has to look at it.
pub(super) async fn take(
    tx: &mut Tx,
    unreadable: &Unreadable,
    id: LeaseId,
    board: &BoardId,
    holder: &Holder,
    terms: &LeaseTerms,
) -> Result<Granted> {
    let found = match look(tx, unreadable, board).await? {
        Some(found) => found,
        None => return Ok(unknown(board)),
    };
    match &found.lease {
        Some(lease) if lease.id == id => return Ok(Granted::Leases(vec![lease.clone()])),
        Some(lease) => return Ok(Granted::Taken(Box::new(lease.clone()))),
        None => {}
    }
    let (state, hold) = match holder {
        Holder::Person(_) => (LeaseState::Held, Some(Hold::default())),
        Holder::Run { .. } | Holder::Check(_) => (LeaseState::Active, None),
    };
    let lease = Lease { hold, ..found.lease_of(id, board, holder.clone(), state, terms) };
    taken(tx, &lease, terms.now);
    Ok(Granted::Leases(vec![lease]))
}

/// A board as it is in this transaction.
pub(super) async fn look(
    tx: &mut Tx,
    unreadable: &Unreadable,
    board: &BoardId,
) -> Result<Option<BoardState>> {
    let query = link::query(BOARDS_WITH_LEASES).bind(row::json(&[board]));
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    Ok(boards_of(unreadable, &rows)?.remove(board))
}

/// Writes a lease of a board that nobody has, and that is no run's.
pub(super) fn taken(tx: &mut Tx, lease: &Lease, now: Timestamp) {
    taken_as(tx, lease, &[Event::lease(now, "taken", lease.id, &lease.board)]);
}

/// The same, where that is told so.
pub(super) fn taken_as(tx: &mut Tx, lease: &Lease, events: &[Event<'_>]) {
    let mut script = Script::default();
    leases_insert(&mut script, std::slice::from_ref(lease));
    script.events(events);
    tx.leave(script);
}

/// A board as granting needs it.
pub(super) struct BoardState {
    fence: Fence,
    needs_fence: bool,
    pub(super) health: Health,
    pub(super) reason: String,
    pub(super) lease: Option<Lease>,
}

impl BoardState {
    pub(super) fn lease_of(
        &self,
        id: LeaseId,
        board: &BoardId,
        holder: Holder,
        state: LeaseState,
        terms: &LeaseTerms,
    ) -> Lease {
        Lease {
            id,
            board: board.clone(),
            fence: Fence(self.fence.0 + 1),
            holder,
            instance: terms.instance,
            granted_at: terms.now,
            expires_at: terms.expires_at,
            state,
            needs_fence: self.needs_fence,
            hold: None,
        }
    }

    fn take(&mut self, lease: &Lease) {
        self.fence = lease.fence;
        self.lease = Some(lease.clone());
    }
}

fn grant_one(grant: &Grant, run: &Run, boards: &HashMap<BoardId, BoardState>, terms: &LeaseTerms) -> Granted {
    let Some((first, _)) = grant.leases.first() else {
        return Granted::Gone;
    };
    match &run.state {
        RunState::Queued { attempt, .. } if *attempt == grant.attempt => {}
        // The same grant again, after an answer that got lost.
        RunState::Active { attempt, lease, .. } if *attempt == grant.attempt && lease.id == *first => {
            return granted_before(grant, boards);
        }
        RunState::Queued { .. } | RunState::Active { .. } | RunState::Finished { .. } => {
            return Granted::Gone;
        }
    }
    if let [(_, board)] = grant.leases.as_slice()
        && let Some(lease) = boards.get(board).and_then(|found| found.lease.as_ref())
        && lease.is_held_by(&run.requested_by)
    {
        return under_hold(lease, run, grant.attempt);
    }
    let mut asked = HashSet::new();
    let mut leases = Vec::with_capacity(grant.leases.len());
    for (id, board) in &grant.leases {
        let Some(found) = boards.get(board) else {
            return unknown(board);
        };
        if let Some(lease) = &found.lease {
            return Granted::Taken(Box::new(lease.clone()));
        }
        if found.health == Health::Quarantined {
            return Granted::OutOfService { board: board.clone(), reason: found.reason.clone() };
        }
        if !asked.insert(board) {
            return Granted::OutOfService { board: board.clone(), reason: "asked for twice".to_owned() };
        }
        let holder = Holder::Run { run: run.id, number: run.number, attempt: grant.attempt };
        leases.push(found.lease_of(*id, board, holder, LeaseState::Active, terms));
    }
    Granted::Leases(leases)
}

/// Whether a grant takes boards that nobody has: not one that was committed before, nor one under its requester's lease.
fn begins(run: &Run, leases: &[Lease]) -> bool {
    matches!(run.state, RunState::Queued { .. }) && leases.iter().any(|lease| lease.hold.is_none())
}

/// A run on a board that its requester has: under the lease that is there, one at a time.
fn under_hold(lease: &Lease, run: &Run, attempt: u32) -> Granted {
    match &lease.hold {
        Some(hold) if hold.run.is_none() => {
            let hold = Hold { run: Some((run.number, attempt)), ..hold.clone() };
            Granted::Leases(vec![Lease { hold: Some(hold), ..lease.clone() }])
        }
        Some(_) | None => Granted::Taken(Box::new(lease.clone())),
    }
}

fn granted_before(grant: &Grant, boards: &HashMap<BoardId, BoardState>) -> Granted {
    let held = |(id, board): &(LeaseId, BoardId)| {
        boards.get(board).and_then(|board| board.lease.clone()).filter(|lease| lease.id == *id)
    };
    grant.leases.iter().map(held).collect::<Option<Vec<_>>>().map_or(Granted::Gone, Granted::Leases)
}

pub(super) fn unknown(board: &BoardId) -> Granted {
    Granted::OutOfService {
        board: board.clone(),
        reason: "not registered, or its row cannot be read".to_owned(),
    }
}

fn boards_of(unreadable: &Unreadable, rows: &[Row]) -> Result<HashMap<BoardId, BoardState>> {
    let read = |found: &Row| {
        let row = Reader::new(found, "boards", "id");
        let state = BoardState {
            fence: Fence(row.int("fence")?),
            needs_fence: row.flag("needs_fence")?,
            health: row.word("health", health_from_word)?,
            reason: row.text("reason")?.to_owned(),
            lease: read_joined(found)?,
        };
        Ok((BoardId::new(row.text("id")?), state))
    };
    Ok(unreadable.sift(rows, read)?.into_iter().collect())
}

/// The health of a word in tables.
pub(super) fn health_from_word(word: &str) -> Option<Health> {
    [Health::Good, Health::Suspect, Health::Quarantined].into_iter().find(|health| health.as_str() == word)
}

#[derive(Serialize)]
struct LeaseRow<'a> {
    id: LeaseId,
    board: &'a BoardId,
    fence: Fence,
    holder: &'a Holder,
    instance: InstanceId,
    granted_at: Timestamp,
    expires_at: Timestamp,
    state: &'static str,
    needs_fence: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_from: Option<Timestamp>,
}

impl LeaseRow<'_> {
    fn new(lease: &Lease) -> LeaseRow<'_> {
        let held_by = match (&lease.holder, lease.state) {
            (Holder::Person(person), LeaseState::Held) => Some(person.key()),
            _ => None,
        };
        LeaseRow {
            id: lease.id,
            board: &lease.board,
            fence: lease.fence,
            holder: &lease.holder,
            instance: lease.instance,
            granted_at: lease.granted_at,
            expires_at: lease.expires_at,
            state: lease.state.as_str(),
            needs_fence: u8::from(lease.needs_fence),
            reason: lease.hold.as_ref().map(|hold| hold.reason.as_str()),
            held_from: held_by.is_some().then_some(lease.granted_at),
            held_by,
        }
    }
}

fn leases_insert(script: &mut Script, leases: &[Lease]) {
    if leases.is_empty() {
        return;
    }
    let rows: Vec<LeaseRow<'_>> = leases.iter().map(LeaseRow::new).collect();
    let rows = row::json(&rows);
    script.add(FENCES_RAISE, [rows.as_str().into()]).expect(leases.len(), "boards", &leases[0].board);
    script.add(LEASES_INSERT, [rows.into()]);
}

/// The boards that a run was granted beside the one that it drives.
fn others<'a>(leases: &'a [Lease], run: i64, driven: &BoardId) -> Vec<&'a BoardId> {
    let of_run = |lease: &&Lease| matches!(&lease.holder, Holder::Run { number, .. } if *number == run);
    leases.iter().filter(of_run).map(|lease| &lease.board).filter(|board| *board != driven).collect()
}

#[derive(Serialize)]
struct AttemptRow<'a> {
    run: i64,
    number: u32,
    board: &'a BoardId,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<&'a BoardId>,
    fence: Fence,
    lease: LeaseId,
    started_at: Timestamp,
}

fn attempts_begin(script: &mut Script, changes: &[(Run, Run)], leases: &[Lease], now: Timestamp) {
    if changes.is_empty() {
        return;
    }
    let changes: Vec<(&Run, &Run)> = changes.iter().map(|(before, after)| (before, after)).collect();
    attempt::save(script, &changes);
    let mut attempts = Vec::with_capacity(changes.len());
    let mut events = Vec::with_capacity(changes.len());
    for (_, run) in &changes {
        let RunState::Active { attempt, lease, started_at, .. } = &run.state else {
            continue;
        };
        attempts.push(AttemptRow {
            run: run.number,
            number: *attempt,
            board: &lease.board,
            others: others(leases, run.number, &lease.board),
            fence: lease.fence,
            lease: lease.id,
            started_at: *started_at,
        });
        events.push(Event::run(now, "granted", run.number, *attempt).on(&lease.board));
    }
    events.extend(leases.iter().map(|lease| Event::lease(now, "taken", lease.id, &lease.board)));
    script.add(ATTEMPTS_INSERT, [row::json(&attempts).into()]);
    script.events(&events);
    let numbers: Vec<i64> = changes.iter().map(|(_, run)| run.number).collect();
    script.cards_follow(&numbers, now);
}
