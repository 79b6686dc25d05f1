//! The digest of the lab: what its boards, its queue and its tests were up to in the last day. As an answer now, and as the
//! message that `worker::pinner` keeps in a channel.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Handler, Reaction};
use crate::board::{BoardId, Inventory};
use crate::clock::Timestamp;
use crate::message::Note;
use crate::outcome::Verdict;
use crate::run::{Run, RunState};
use crate::store::{BoardRow, Health, Result, RunFilter, TimePast};

/// Of how long it tells.
const LOOKS_BACK: Duration = Duration::from_secs(24 * 3600);
/// Most boards out of service, flaky cases and families that it names; the rest is counted.
const NAMED_MAX: usize = 10;
/// Most unfinished runs that are looked at, and counted.
const UNFINISHED_MAX: u32 = 1_000;
/// How runs end, in the order in which it counts them.
const VERDICTS: [Verdict; 5] =
    [Verdict::Passed, Verdict::Failed, Verdict::TimedOut, Verdict::Infra, Verdict::Cancelled];
/// How much of a reason it repeats, in characters.
const REASON_CHARS_MAX: usize = 120;

impl Handler {
    /// The digest as an answer.
    pub(super) async fn digest(&self) -> Result<Reaction> {
        Ok(Reaction::says(self.digest_note(None).await?))
    }

    /// The digest as it is now; `again_at` is when it is shown anew, `08:30 Europe/Berlin`.
    pub(crate) async fn digest_note(&self, again_at: Option<&str>) -> Result<Note> {
        let now = self.clock.now();
        let lab = self.inventory.now();
        let rows = self.store.board_list().await?;
        let rows: HashMap<&BoardId, &BoardRow> = rows.iter().map(|row| (&row.id, row)).collect();
        let filter = RunFilter { unfinished: true, limit: UNFINISHED_MAX, ..RunFilter::default() };
        let unfinished = self.store.run_list(&filter).await?;
        let past = self.store.time_past(now - LOOKS_BACK, now).await?;
        let count = |verdict: &Verdict| past.verdicts.iter().find(|(of, _)| of == verdict).map(|(_, n)| *n);
        let verdicts = VERDICTS
            .iter()
            .filter_map(|verdict| Some(json!({ "verdict": verdict.as_str(), "count": count(verdict)? })));
        Ok(Note::new(
            "digest",
            json!({
                "at": now,
                "again_at": again_at,
                "boards": boards(&lab, &rows),
                "down": down(&lab, &rows),
                "queue": queue(&unfinished, now),
                "verdicts": verdicts.collect::<Vec<_>>(),
                "flaky": flaky(&past),
                "use": usage(&lab, &past),
            }),
        ))
    }
}

fn boards(lab: &Inventory, rows: &HashMap<&BoardId, &BoardRow>) -> Value {
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    for id in lab.boards.keys() {
        *of.entry(BoardRow::word(rows.get(id).copied())).or_default() += 1;
    }
    let count = |word: &str| of.get(word).copied().unwrap_or_default();
    let total = lab.boards.len();
    let out = lab.boards.keys().filter(|id| is_out(rows.get(id).copied())).count();
    json!({ "total": total, "up": total - out, "free": count("free"), "running": count("run"), "held": count("held") })
}

fn is_out(row: Option<&BoardRow>) -> bool {
    row.is_some_and(|row| row.health == Health::Quarantined)
}

/// Boards out of service, the longest first.
fn down(lab: &Inventory, rows: &HashMap<&BoardId, &BoardRow>) -> Value {
    let mut out: Vec<&&BoardRow> =
        lab.boards.keys().filter_map(|id| rows.get(id)).filter(|row| is_out(Some(row))).collect();
    out.sort_by_key(|row| (row.quarantine.as_ref().map(|quarantine| quarantine.at), &row.id));
    let named = out.iter().take(NAMED_MAX).map(|row| {
        let reason: String = row.reason.chars().take(REASON_CHARS_MAX).collect();
        json!({ "board": row.id, "reason": reason, "since": row.quarantine.as_ref().map(|q| q.at) })
    });
    json!({ "rows": named.collect::<Vec<_>>(), "more": out.len().saturating_sub(NAMED_MAX) })
}

fn queue(unfinished: &[Run], now: Timestamp) -> Value {
    let waiting: Vec<&Run> =
        unfinished.iter().filter(|run| matches!(run.state, RunState::Queued { .. })).collect();
    let oldest = waiting.iter().min_by_key(|run| run.created_at);
    let oldest = oldest
        .map(|run| json!({ "number": run.number, "waited_s": now.since(run.created_at).as_secs_f64() }));
    json!({ "waiting": waiting.len(), "running": unfinished.len() - waiting.len(), "oldest": oldest })
}

/// Cases that come out as they like, each as its newest run shows it; those that differ most often first.
fn flaky(past: &TimePast) -> Value {
    let mut seen = HashSet::new();
    let mut cases: Vec<_> =
        past.flaky.iter().filter(|(family, suite, case)| seen.insert((family, suite, &case.name))).collect();
    cases.sort_by_key(|(.., case)| std::cmp::Reverse((case.differed, case.of)));
    let named = cases.iter().take(NAMED_MAX).map(|(family, suite, case)| {
        json!({ "family": family, "suite": suite, "name": case.name, "differed": case.differed, "of": case.of })
    });
    json!({ "rows": named.collect::<Vec<_>>(), "more": cases.len().saturating_sub(NAMED_MAX) })
}

/// How much of their time the boards of each family were in use, the busiest first.
fn usage(lab: &Inventory, past: &TimePast) -> Value {
    let used: HashMap<&BoardId, Duration> = past.used.iter().map(|(board, used)| (board, *used)).collect();
    let mut of: Vec<(u64, &str, usize)> = Vec::new();
    for family in lab.families.keys() {
        let boards: Vec<&BoardId> = lab.boards_of(family).map(|board| &board.id).collect();
        let all: Duration = boards.iter().filter_map(|board| used.get(*board)).sum();
        let could = LOOKS_BACK.as_secs_f64() * boards.len() as f64;
        if !boards.is_empty() {
            let percent = (all.as_secs_f64() * 100.0 / could).round().min(100.0);
            of.push((percent as u64, family.as_str(), boards.len()));
        }
    }
    of.sort_by_key(|(percent, family, _)| (std::cmp::Reverse(*percent), *family));
    let rows = of
        .iter()
        .take(NAMED_MAX)
        .map(|(percent, family, boards)| json!({ "family": family, "percent": percent, "boards": boards }));
    json!({ "rows": rows.collect::<Vec<_>>(), "more": of.len().saturating_sub(NAMED_MAX) })
}
