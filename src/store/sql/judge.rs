//! What the end of an attempt says about its board: outcomes in a row, a board that flaps, quarantine and the message
//! about it, all in the transaction that keeps the outcome. What counts as the board's fault was decided before.

use super::lease::health_from_word;
use super::ledger::Event;
use super::link::Row;
use super::row::{Reader, statements};
use super::script::Script;
use crate::board::health;
use crate::chat::AnswerVia;
use crate::message::Note;
use crate::outcome::Verdict;
use crate::run::RunKind;
use crate::store::{Health, Result, Settle};

/// The columns that [`Standing::read`] reads, of `boards` as `b`.
macro_rules! standing_columns {
    () => {
        "b.id AS board_id, b.health AS board_health, b.failures AS board_failures, b.recent AS board_recent"
    };
}
pub(super) use standing_columns;

statements! {
    BOARD_JUDGE = "UPDATE boards
        SET failures = ?2, recent = ?3, check_wanted = ?4
        WHERE id = ?1";
    BOARD_CHECKED = "UPDATE boards
        SET checked_at = ?2, checked_by = ?3, checked_verdict = ?4,
            check_wanted = CASE WHEN ?5 = 1 THEN check_wanted ELSE 0 END
        WHERE id = ?1";
    BOARD_QUARANTINE_ITSELF = "UPDATE boards
        SET health = 'quarantined', reason = ?2, quarantined_at = ?3, quarantined_by = NULL
        WHERE id = ?1";
}

/// How a board stood before the attempt ended.
pub(super) struct Standing {
    health: Health,
    failures: u32,
    recent: String,
}

impl Standing {
    /// From a row. What cannot be read costs the board its history, and not the run its outcome.
    pub(super) fn read(row: &Row) -> Standing {
        let row = Reader::new(row, "boards", "board_id");
        let read = || -> Result<Standing> {
            Ok(Standing {
                health: row.word("board_health", health_from_word)?,
                failures: row.count("board_failures")?,
                recent: row.text("board_recent")?.to_owned(),
            })
        };
        read().unwrap_or_else(|error| {
            tracing::error!(%error, "a board is judged anew");
            Standing { health: Health::Good, failures: 0, recent: String::new() }
        })
    }
}

/// What an outcome is to its board.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Fault,
    Served,
    Nothing,
}

/// Judges the board of an attempt that is being settled; gives who is to be told, and what, when it left service.
pub(super) fn settled<'s>(
    script: &mut Script,
    settle: &'s Settle,
    before: &Standing,
    number: i64,
    kind: RunKind,
) -> Option<(&'s AnswerVia, Note)> {
    let word = match settle.outcome.verdict {
        _ if settle.board_fault => Word::Fault,
        // A build that ran, well or badly, speaks for its board.
        Verdict::Passed | Verdict::Failed => Word::Served,
        Verdict::Infra | Verdict::TimedOut | Verdict::Cancelled => Word::Nothing,
    };
    let told = if word == Word::Nothing { None } else { judge(script, settle, before, number, word) };
    if kind == RunKind::Health {
        let (board, verdict) = (settle.lease.board.as_str(), settle.outcome.verdict.as_str());
        let still_wanted = u32::from(word == Word::Fault);
        let values = [board.into(), settle.now.into(), number.into(), verdict.into(), still_wanted.into()];
        script.add(BOARD_CHECKED, values);
    }
    told
}

fn judge<'s>(
    script: &mut Script,
    settle: &'s Settle,
    before: &Standing,
    number: i64,
    word: Word,
) -> Option<(&'s AnswerVia, Note)> {
    let board = settle.lease.board.as_str();
    let (letter, failures) = match word {
        Word::Fault => (health::FAILED, before.failures.saturating_add(1)),
        Word::Served | Word::Nothing => (health::SERVED, 0),
    };
    let recent = health::remember(&before.recent, letter);
    let is_fault = word == Word::Fault;
    let values = [board.into(), failures.into(), recent.clone().into(), u32::from(is_fault).into()];
    script.add(BOARD_JUDGE, values);
    if !is_fault || before.health == Health::Quarantined {
        return None;
    }
    let reason = reason(settle, number, failures, &recent)?;
    script.add(BOARD_QUARANTINE_ITSELF, [board.into(), reason.clone().into(), settle.now.into()]);
    let event = Event::board(settle.now, "registered", &settle.lease.board);
    script.events(&[event.with(serde_json::json!({ "quarantined": reason }))]);
    let (via, note) = settle.told.as_ref()?;
    let mut note = note.clone();
    note.facts.insert("reason".into(), reason.into());
    Some((via, note))
}

/// Why this fault takes the board out of service; `None` while it does not.
fn reason(settle: &Settle, number: i64, failures: u32, recent: &str) -> Option<String> {
    if let Some(problem) = &settle.unfit {
        return Some(format!("{problem}, in #{number}"));
    }
    let (after, cause) = (settle.quarantine_after, &settle.outcome.cause);
    if after > 0 && failures >= after {
        return Some(match failures {
            1 => format!("it failed its check #{number}: {cause}"),
            n => format!("it failed {n} times in a row, the last time in #{number}: {cause}"),
        });
    }
    let faults = recent.chars().filter(|outcome| *outcome == health::FAILED).count();
    (after > 0 && health::is_flapping(recent)).then(|| {
        let of = recent.chars().count();
        format!("it flaps: it failed {faults} of its last {of} runs, in turns with good ones, the last time in #{number}: {cause}")
    })
}
