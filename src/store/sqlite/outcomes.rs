//! What finished runs came to, for later ones that look back. A failure is counted without counting: the newest run
//! that ended so knows how many there were before it. Nothing here decides what a failure is, `outcome::signature` does.

use sqlx::sqlite::SqliteRow;

use super::row::{Reader, statements};
use super::script::{Ran, Script, Tx};
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::outcome::signature::signature;
use crate::run::Run;
use crate::store::{Result, Seen, Sighting};

statements! {
    OUTCOME_LAST_SEEN = "SELECT newest.run, newest.build, newest.finished_at, newest.seen,
               first.run AS first_run, first.build AS first_build, first.finished_at AS first_at
        FROM outcomes AS newest
        LEFT JOIN outcomes AS first ON first.run = COALESCE(newest.first_run, newest.run)
        WHERE newest.family = ?1 AND newest.signature = ?2
        ORDER BY newest.seen DESC
        LIMIT 1";
    OUTCOME_INSERT = "INSERT INTO outcomes (run, family, suite, build, verdict, finished_at,
                              signature, seen, first_run, last_run)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    OUTCOME_OF_RUN = "SELECT came.run, came.signature, came.seen,
               first.run AS first_run, first.build AS first_build, first.finished_at AS first_at,
               newest.run AS last_run, newest.build AS last_build, newest.finished_at AS last_at
        FROM outcomes AS came
        LEFT JOIN outcomes AS first ON first.run = came.first_run
        LEFT JOIN outcomes AS newest ON newest.run = came.last_run
        WHERE came.run = ?1 AND came.signature IS NOT NULL";
}

/// Keeps what a test run came to, behind what `script` says already; gives how often its failure was seen before.
pub(super) async fn keep(
    tx: &mut Tx,
    script: &mut Script,
    run: &Run,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Option<Seen>> {
    let (family, suite, build) = (run.spec.family.as_str(), &*run.spec.suite, &*run.spec.build);
    let seen = match signature(outcome) {
        Some(signature) => Some(last_seen(tx, family, signature).await?),
        None => None,
    };
    let number = |sighting: fn(&Seen) -> &Option<Sighting>| {
        seen.as_ref().and_then(|seen| sighting(seen).as_ref()).map(|sighting| sighting.number)
    };
    let values = [
        run.number.into(),
        family.into(),
        suite.into(),
        build.into(),
        outcome.verdict.as_str().into(),
        now.into(),
        seen.as_ref().map(|seen| seen.signature.as_str()).into(),
        seen.as_ref().map(|seen| seen.before).into(),
        number(|seen| &seen.first).into(),
        number(|seen| &seen.last).into(),
    ];
    script.add(OUTCOME_INSERT, values);
    Ok(seen)
}

/// What is known of a failure before it happens once more.
async fn last_seen(tx: &mut Tx, family: &str, signature: String) -> Result<Seen> {
    let mut look = Script::default();
    look.add(OUTCOME_LAST_SEEN, [family.into(), signature.as_str().into()]);
    let ran = tx.run(look).await?;
    let Some(found) = ran.first().and_then(|ran| ran.rows.first()) else {
        return Ok(Seen { signature, before: 0, first: None, last: None });
    };
    let row = Reader::new(found, "outcomes", "run");
    let before = row.count("seen")?.saturating_add(1);
    Ok(Seen {
        signature,
        before,
        first: sighting(&row, ["first_run", "first_build", "first_at"])?,
        last: sighting(&row, ["run", "build", "finished_at"])?,
    })
}

/// What was known of a run's failure when it ended, of what [`OUTCOME_OF_RUN`] gave.
pub(super) fn seen(ran: &Ran) -> Result<Option<Seen>> {
    let read = |row: &SqliteRow| {
        let row = Reader::new(row, "outcomes", "run");
        Ok(Seen {
            signature: row.text("signature")?.to_owned(),
            before: row.count("seen")?,
            first: sighting(&row, ["first_run", "first_build", "first_at"])?,
            last: sighting(&row, ["last_run", "last_build", "last_at"])?,
        })
    };
    ran.rows.first().map(read).transpose()
}

fn sighting(row: &Reader<'_>, [run, build, at]: [&str; 3]) -> Result<Option<Sighting>> {
    let Some(number) = row.opt_int(run)? else { return Ok(None) };
    Ok(Some(Sighting { number, build: row.text(build)?.to_owned(), at: row.at(at)? }))
}
