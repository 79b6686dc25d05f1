//! What finished runs came to, for later ones that look back. A failure is counted without counting: the newest run
//! that ended so knows how many there were before it. Of how test cases ended, only the newest runs of a suite keep
//! something here. What a failure is and what has changed is decided elsewhere (`outcome::signature`,
//! `outcome::compare`).

use super::link::{self, Ran, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::Family;
use crate::clock::Timestamp;
use crate::outcome::compare::{Comparison, Marks, PAST_MAX, Past, RunOfBuild};
use crate::outcome::signature::signature;
use crate::outcome::{Outcome, Verdict};
use crate::run::Run;
use crate::store::{Ended, Lookback, Result, Seen, Sighting, SuitePast};

/// Most runs of a build that are looked at.
const OF_BUILD_MAX: u32 = 50;

statements! {
    OUTCOME_LAST_SEEN = "SELECT newest.run, newest.build, newest.finished_at, newest.seen,
               first.run AS first_run, first.build AS first_build, first.finished_at AS first_at
        FROM outcomes AS newest
        LEFT JOIN outcomes AS first ON first.run = COALESCE(newest.first_run, newest.run)
        WHERE newest.family = ?1 AND newest.signature = ?2
        ORDER BY newest.seen DESC
        LIMIT 1";
    OUTCOME_INSERT = "INSERT INTO outcomes (run, family, suite, build, verdict, finished_at,
                              signature, seen, first_run, last_run, comparison, cases)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    // As many stay as are looked back at (PAST_MAX).
    OUTCOMES_THIN = "UPDATE outcomes
        SET cases = NULL
        WHERE run IN (SELECT run
                      FROM outcomes
                      WHERE family = ?1 AND suite = ?2 AND cases IS NOT NULL
                      ORDER BY finished_at DESC, run DESC
                      LIMIT -1 OFFSET 20)";
    SUITE_PAST = "SELECT run, build, cases
        FROM outcomes
        WHERE family = ?1 AND suite = ?2 AND cases IS NOT NULL
        ORDER BY finished_at DESC, run DESC
        LIMIT ?3 + 0";
    SUITE_GOOD = "SELECT run, build
        FROM outcomes
        WHERE family = ?1 AND suite = ?2 AND verdict = 'passed'
        ORDER BY finished_at DESC, run DESC
        LIMIT 1";
    OUTCOMES_OF_BUILD = "SELECT run, family, suite, verdict
        FROM outcomes
        WHERE build = ?1
        ORDER BY finished_at DESC, run DESC
        LIMIT ?2 + 0";
    OUTCOME_OF_RUN = "SELECT came.run, came.signature, came.seen, came.comparison,
               first.run AS first_run, first.build AS first_build, first.finished_at AS first_at,
               newest.run AS last_run, newest.build AS last_build, newest.finished_at AS last_at
        FROM outcomes AS came
        LEFT JOIN outcomes AS first ON first.run = came.first_run
        LEFT JOIN outcomes AS newest ON newest.run = came.last_run
        WHERE came.run = ?1";
}

/// Keeps what a test run came to, behind what `script` says already; gives how often its failure was seen before.
pub(super) async fn keep(
    tx: &mut Tx,
    script: &mut Script,
    run: &Run,
    outcome: &Outcome,
    lookback: Option<&Lookback>,
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
    let marks = lookback.map(|lookback| &lookback.marks).filter(|marks| !marks.is_empty());
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
        lookback.map(|lookback| row::json(&lookback.comparison)).into(),
        marks.map(Marks::pack).into(),
    ];
    script.add(OUTCOME_INSERT, values);
    if marks.is_some() {
        script.add(OUTCOMES_THIN, [family.into(), suite.into()]);
    }
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

/// What was known of a run when it ended, of what [`OUTCOME_OF_RUN`] gave: its failure, and what was new.
pub(super) fn known(ran: &Ran) -> Result<(Option<Seen>, Option<Comparison>)> {
    let Some(found) = ran.rows.first() else { return Ok((None, None)) };
    let row = Reader::new(found, "outcomes", "run");
    let seen = match row.opt_text("signature")? {
        Some(signature) => Some(Seen {
            signature: signature.to_owned(),
            before: row.count("seen")?,
            first: sighting(&row, ["first_run", "first_build", "first_at"])?,
            last: sighting(&row, ["last_run", "last_build", "last_at"])?,
        }),
        None => None,
    };
    Ok((seen, row.opt_json("comparison")?))
}

/// The newest runs of a suite, for those that come after them.
pub(super) async fn suite_past(
    readers: &Readers,
    unreadable: &Unreadable,
    family: &Family,
    suite: &str,
) -> Result<SuitePast> {
    let query = link::query(SUITE_PAST).bind(family.as_str()).bind(suite).bind(PAST_MAX as i64);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let runs = unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "outcomes", "run");
        let marks = Marks::unpack(row.text("cases")?).ok_or_else(|| row.corrupt("no packed cases"))?;
        Ok(Past { run: run_of_build(&row)?, marks })
    })?;
    let query = link::query(SUITE_GOOD).bind(family.as_str()).bind(suite);
    let good = query.fetch_optional(readers).await.map_err(unavailable)?;
    let good = good.map(|row| run_of_build(&Reader::new(&row, "outcomes", "run"))).transpose()?;
    Ok(SuitePast { runs, good })
}

fn run_of_build(row: &Reader<'_>) -> Result<RunOfBuild> {
    Ok(RunOfBuild { number: row.int("run")?, build: row.text("build")?.to_owned() })
}

/// The newest runs of a build that have ended on a board.
pub(super) async fn of_build(readers: &Readers, unreadable: &Unreadable, build: &str) -> Result<Vec<Ended>> {
    let query = link::query(OUTCOMES_OF_BUILD).bind(build).bind(OF_BUILD_MAX);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "outcomes", "run");
        Ok(Ended {
            number: row.int("run")?,
            family: Family::new(row.text("family")?),
            suite: row.text("suite")?.to_owned(),
            verdict: row.word("verdict", Verdict::from_word)?,
        })
    })
}

fn sighting(row: &Reader<'_>, [run, build, at]: [&str; 3]) -> Result<Option<Sighting>> {
    let Some(number) = row.opt_int(run)? else { return Ok(None) };
    Ok(Some(Sighting { number, build: row.text(build)?.to_owned(), at: row.at(at)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_keep_their_cases_as_are_looked_back_at() {
        assert!(OUTCOMES_THIN.ends_with(&format!("OFFSET {PAST_MAX})")));
    }
}
