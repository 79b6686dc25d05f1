//! Who is told of runs by direct message: each is owed with the run's outcome, in the same transaction. One of a run is told
//! once, one of a family of every run that goes wrong.

use super::ledger::Reply;
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::Family;
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::message::Note;
use crate::outcome::Verdict;
use crate::run::{Run, RunState};
use crate::store::{Effected, Result, WATCHED, WATCHES_MAX, Watched};

statements! {
    WATCHES_OF = "SELECT MIN(position) AS position, run, family
        FROM watches
        WHERE requester IN (SELECT value FROM jsonb_each(?1))
        GROUP BY run, family
        ORDER BY MIN(position)";
    // As many as one may have, and no more.
    WATCH_INSERT = "INSERT INTO watches (requester, by, run, family, asked_at)
        SELECT ?1, ?2, ?3, ?4, ?5
        WHERE (SELECT COUNT(*) FROM watches WHERE requester = ?1) < ?6
        ON CONFLICT DO NOTHING";
    WATCH_IS_THERE = "SELECT COUNT(*)
        FROM watches
        WHERE requester IN (SELECT value FROM jsonb_each(?1)) AND COALESCE(run, 0) = COALESCE(?2, 0)
          AND COALESCE(family, '') = COALESCE(?3, '')";
    WATCH_REMOVE = "DELETE FROM watches
        WHERE requester IN (SELECT value FROM jsonb_each(?1)) AND COALESCE(run, 0) = COALESCE(?2, 0)
          AND COALESCE(family, '') = COALESCE(?3, '')";
    WATCHERS = "SELECT r.number, w.position, w.by, 0 AS of_family
        FROM runs AS r
        JOIN watches AS w ON w.run = r.number
        WHERE r.number IN (SELECT value FROM jsonb_each(?1))
        UNION ALL
        SELECT r.number, w.position, w.by, 1
        FROM runs AS r
        JOIN watches AS w ON w.family = CASE WHEN json_valid(r.spec) THEN r.spec->>'family' END
        WHERE r.number IN (SELECT value FROM jsonb_each(?1)) AND r.kind = 'test'";
    WATCHES_TOLD = "DELETE FROM watches WHERE run IN (SELECT value FROM jsonb_each(?1))";
}

/// What somebody is told of who has these ids.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable, ids: &[String]) -> Result<Vec<Watched>> {
    let rows = link::query(WATCHES_OF).bind(row::json(ids)).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "watches", "position");
        Ok(match row.opt_int("run")? {
            Some(run) => Watched::Run(run),
            None => Watched::Family(Family::new(row.opt_text("family")?.unwrap_or_default())),
        })
    })
}

/// Somebody is told from now on; of a run, where it has not ended.
pub(super) async fn watch(
    tx: &mut Tx,
    (by, of, ids): (&Actor, &Watched, &[String]),
    run: Option<&Run>,
    now: Timestamp,
) -> Result<Effected> {
    match (of, run.map(|run| &run.state)) {
        (Watched::Run(_), None) => return Ok(Effected::NoSuchRun),
        (Watched::Run(_), Some(RunState::Finished { .. })) => return Ok(Effected::AlreadyFinished),
        (Watched::Run(_), Some(_)) | (Watched::Family(_), _) => {}
    }
    let (run, family) = columns(of);
    let there = link::query(WATCH_IS_THERE).bind(row::json(ids)).bind(run).bind(family);
    if there.count(tx.connection().await?).await.map_err(unavailable)? > 0 {
        return Ok(Effected::Unchanged);
    }
    let insert = link::query(WATCH_INSERT).bind(by.key()).bind(row::json(by)).bind(run).bind(family);
    let insert = insert.bind(now.as_micros()).bind(i64::from(WATCHES_MAX));
    let inserted = insert.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if inserted > 0 { Effected::Done } else { Effected::TooMany })
}

/// Somebody is not told any more, by whichever of these ids they asked for it.
pub(super) async fn unwatch(tx: &mut Tx, of: &Watched, ids: &[String]) -> Result<Effected> {
    let (run, family) = columns(of);
    let remove = link::query(WATCH_REMOVE).bind(row::json(ids)).bind(run).bind(family);
    let removed = remove.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if removed > 0 { Effected::Done } else { Effected::Unchanged })
}

fn columns(of: &Watched) -> (Option<i64>, Option<&str>) {
    match of {
        Watched::Run(run) => (Some(*run), None),
        Watched::Family(family) => (None, Some(family.as_str())),
    }
}

/// What is owed to those who watch the runs whose outcomes these replies tell.
pub(super) async fn told(tx: &mut Tx, replies: &[Reply<'_>]) -> Result<Vec<(AnswerVia, Note, Timestamp)>> {
    let ended: Vec<&Reply<'_>> = replies.iter().filter(|reply| reply.last).collect();
    if ended.is_empty() {
        return Ok(vec![]);
    }
    let numbers: Vec<i64> = ended.iter().map(|reply| reply.run).collect();
    let query = link::query(WATCHERS).bind(row::json(&numbers));
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    if rows.is_empty() {
        return Ok(vec![]);
    }
    let mut told = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Reader::new(row, "watches", "position");
        let (run, of_family) = (row.int("number")?, row.flag("of_family")?);
        let by: Actor = row.json("by")?;
        let Some(reply) = ended.iter().find(|reply| reply.run == run) else { continue };
        if of_family && !went_wrong(&reply.note) {
            continue;
        }
        let mut note = Note { template: WATCHED.to_owned(), facts: reply.note.facts.clone() };
        note.facts.insert("of_family".into(), of_family.into());
        told.push((AnswerVia::in_person(&by), note, reply.at));
    }
    let mut script = Script::default();
    script.add(WATCHES_TOLD, [row::json(&numbers).into()]);
    tx.leave(script);
    Ok(told)
}

/// Whether a note tells an end that whoever watches a family is told of.
fn went_wrong(note: &Note) -> bool {
    let verdict = note.facts.get("verdict").and_then(|verdict| verdict.as_str()).and_then(Verdict::from_word);
    verdict.is_some_and(|verdict| !matches!(verdict, Verdict::Passed | Verdict::Cancelled))
}
