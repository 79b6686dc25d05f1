//! Campaigns: their rows, and the runs that they started. A write is guarded by the version that was read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::campaign::{Campaign, Child, LIVE_MAX, Phase, Plan, State};
use crate::chat::{Actor, Place};
use crate::clock::Timestamp;
use crate::store::{CampaignView, Effected, Result};

/// Most plans that are kept at hand, when no more campaigns are looked at.
const PLANS_MAX: usize = 128;

/// The columns of a campaign, without its plan.
macro_rules! campaign_columns {
    () => {
        "number, version, wave, state, since, forgiven, requested_by, origin, asked_at, ended_at"
    };
}

/// Each run of campaign `?1` with the last one that repeats it, and whether any of them had a board.
macro_rules! chain {
    () => {
        "WITH RECURSIVE chain (root, run) AS (
             SELECT run, run FROM campaign_runs WHERE campaign = ?1
             UNION
             SELECT chain.root, r.number FROM chain JOIN runs AS r ON r.retry_of = chain.run),
         last (root, run, touched) AS (
             SELECT root, MAX(run),
                    MAX(CASE WHEN EXISTS (SELECT 1 FROM attempts AS a WHERE a.run = chain.run) THEN 1 ELSE 0 END)
             FROM chain
             GROUP BY root) "
    };
}

/// Campaigns that were over before `?1`, the oldest first, `?2` at most. The newest stays, so that no number comes again.
macro_rules! outdated {
    () => {
        "(SELECT o.number
          FROM campaigns AS o
          WHERE o.ended_at < ?1
            AND o.number < (SELECT MAX(number) FROM campaigns)
            AND NOT EXISTS (SELECT 1
                            FROM campaign_runs AS c
                            JOIN runs AS r ON r.number = c.run
                            WHERE c.campaign = o.number AND r.state <> 'finished')
          ORDER BY o.ended_at, o.number
          LIMIT ?2 + 0)"
    };
}

statements! {
    CAMPAIGN_INSERT = "INSERT INTO campaigns (plan, state, requested_by, origin, asked_at, once)
        VALUES (?1, 'running', ?2, ?3, ?4, ?5)
        RETURNING number";
    CAMPAIGN_ONCE = "SELECT number FROM campaigns WHERE once = ?1";
    // One of the same name is in the way where both name their boards, or both bring the same build.
    CAMPAIGNS_IN_THE_WAY = "SELECT COUNT(*) AS live,
            MAX(CASE WHEN json_valid(plan) AND plan->>'name' = ?2 AND (?4 OR plan->>'build' = ?3) THEN number END) AS other
        FROM campaigns INDEXED BY campaigns_live
        WHERE ended_at IS NULL AND number <> ?1";
    CAMPAIGN_READ = concat!("SELECT plan, ", campaign_columns!(), " FROM campaigns WHERE number = ?1");
    CAMPAIGN_PLANS = "SELECT number, plan FROM campaigns WHERE number IN (SELECT value FROM jsonb_each(?1))";
    CAMPAIGNS_LIVE = concat!("SELECT ", campaign_columns!(), "
        FROM campaigns
        WHERE ended_at IS NULL
        ORDER BY number");
    CAMPAIGNS_NEWEST = concat!("SELECT ", campaign_columns!(), "
        FROM campaigns
        ORDER BY ended_at IS NOT NULL, number DESC
        LIMIT ?1 + 0");
    CAMPAIGN_WRITE = "UPDATE campaigns
        SET version = ?2, wave = ?3, state = ?4, since = ?5, forgiven = ?6, ended_at = ?7
        WHERE number = ?1 AND version = ?2 - 1";
    CAMPAIGN_CHILDREN = concat!(chain!(), "SELECT c.phase, c.place, c.run, last.run AS last_run, r.verdict, r.cause,
               CASE WHEN r.state = 'queued' THEN 1 ELSE 0 END AS waits,
               last.touched
        FROM campaign_runs AS c
        JOIN last ON last.root = c.run
        JOIN runs AS r ON r.number = last.run
        WHERE c.campaign = ?1
        ORDER BY c.phase DESC, c.place");
    CAMPAIGN_OPEN = concat!(chain!(), "SELECT r.number
        FROM chain
        JOIN runs AS r ON r.number = chain.run
        WHERE r.state <> 'finished'
        ORDER BY r.number");
    // Its first run has no other cards.
    CAMPAIGN_CARDS_MARK = "UPDATE cards SET campaign = ?2 WHERE run = ?1";
    CAMPAIGN_CARDS_BUMP = "UPDATE cards
        SET rev_wanted = rev_wanted + 1,
            owed_at = CASE WHEN rev_wanted > rev_sent THEN owed_at ELSE ?2 END,
            last = CASE WHEN EXISTS (SELECT 1 FROM campaigns WHERE number = ?1 AND ended_at IS NOT NULL) THEN 1 ELSE 0 END
        WHERE campaign = ?1";
    CAMPAIGN_CARDS_LEAVE = concat!("UPDATE cards SET campaign = NULL WHERE campaign IN ", outdated!());
    CAMPAIGN_RUNS_FORGET = concat!("DELETE FROM campaign_runs WHERE campaign IN ", outdated!());
    CAMPAIGNS_FORGET = concat!("DELETE FROM campaigns WHERE number IN ", outdated!());
    CAMPAIGN_RUNS_INSERT = "INSERT INTO campaign_runs (campaign, phase, place, run)
        SELECT value->>'campaign', value->>'phase', value->>'place', value->>'run'
        FROM jsonb_each(?1)";
}

/// Plans that were read: none ever changes, and one may be of thousands of runs.
#[derive(Default)]
pub(super) struct Plans(Mutex<HashMap<i64, Arc<Plan>>>);

impl Plans {
    /// Those of these campaigns; what is not at hand is read.
    async fn of(
        &self,
        readers: &Readers,
        unreadable: &Unreadable,
        numbers: &[i64],
    ) -> Result<HashMap<i64, Arc<Plan>>> {
        let mut plans = self.at_hand().clone();
        let missing: Vec<i64> =
            numbers.iter().copied().filter(|number| !plans.contains_key(number)).collect();
        if missing.is_empty() {
            return Ok(plans);
        }
        let query = link::query(CAMPAIGN_PLANS).bind(row::json(&missing));
        let rows = query.fetch_all(readers).await.map_err(unavailable)?;
        let plan = |found: &Row| {
            let row = Reader::new(found, "campaigns", "number");
            Ok((row.int("number")?, Arc::new(row.json("plan")?)))
        };
        plans.extend(unreadable.sift(&rows, plan)?);
        if plans.len() > PLANS_MAX {
            plans.retain(|number, _| numbers.contains(number));
        }
        self.at_hand().clone_from(&plans);
        Ok(plans)
    }

    fn at_hand(&self) -> MutexGuard<'_, HashMap<i64, Arc<Plan>>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// A run that a campaign started.
#[derive(Serialize)]
pub(super) struct Started {
    pub(super) campaign: i64,
    pub(super) phase: Phase,
    pub(super) place: usize,
    pub(super) run: i64,
}

/// Makes one; gives its number.
pub(super) async fn insert(
    tx: &mut Tx,
    plan: &Plan,
    by: &Actor,
    (origin, once): (&Place, Option<&str>),
    now: Timestamp,
) -> Result<i64> {
    let query = link::query(CAMPAIGN_INSERT).bind(row::json(plan)).bind(row::json(by));
    let query = query.bind(row::json(origin)).bind(now.as_micros()).bind(once);
    query.count(tx.connection().await?).await.map_err(unavailable)
}

/// The one that was begun under this.
pub(super) async fn begun(tx: &mut Tx, once: &str) -> Result<Option<i64>> {
    let query = link::query(CAMPAIGN_ONCE).bind(once);
    query.number(tx.connection().await?).await.map_err(unavailable)
}

/// What keeps one from going on beside those that are not over: too many of them, or one that is in its way.
pub(super) async fn in_the_way(tx: &mut Tx, number: i64, plan: &Plan) -> Result<Option<(Effected, i64)>> {
    let query = link::query(CAMPAIGNS_IN_THE_WAY).bind(number).bind(&plan.name).bind(&plan.build);
    let query = query.bind(i64::from(plan.is_on_boards()));
    let found = query.fetch_one(tx.connection().await?).await.map_err(unavailable)?;
    let row = Reader::new(&found, "campaigns", "live");
    Ok(match row.opt_int("other")? {
        Some(other) => Some((Effected::InTheWay, other)),
        None => (row.count("live")? as usize >= LIVE_MAX).then_some((Effected::TooMany, number)),
    })
}

/// One as it is now.
pub(super) async fn by_number(tx: &mut Tx, number: i64) -> Result<Option<Campaign>> {
    let query = link::query(CAMPAIGN_READ).bind(number);
    let found = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    found.map(|row| whole(&row).map(|view| view.campaign)).transpose()
}

/// Writes one, unless it has changed since the version before this one was read; gives whether it was written.
pub(super) async fn write(tx: &mut Tx, then: &Campaign, now: Timestamp) -> Result<bool> {
    let ended_at = then.state.is_over().then_some(now.as_micros());
    let query = link::query(CAMPAIGN_WRITE).bind(then.number).bind(then.version).bind(then.wave as i64);
    let query = query.bind(then.state.as_str()).bind(then.since);
    let query = query.bind(then.forgiven.map(|wave| wave as i64)).bind(ended_at);
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0)
}

/// Asks for a newer revision of its cards.
pub(super) fn redraw(tx: &mut Tx, number: i64, now: Timestamp) {
    let mut script = Script::default();
    script.add(CAMPAIGN_CARDS_BUMP, [number.into(), now.into()]);
    tx.leave(script);
}

/// Makes the cards of its first run, which were just written, its own.
pub(super) fn cards(tx: &mut Tx, campaign: i64, run: i64) {
    let mut script = Script::default();
    script.add(CAMPAIGN_CARDS_MARK, [run.into(), campaign.into()]);
    tx.leave(script);
}

/// Most campaigns that are forgotten at once: one may have started thousands of runs, and everybody waits for the writer.
const FORGOTTEN_MAX: u32 = 4;

/// Forgets those that were over before, at most so many; their runs stay.
pub(super) fn forget(tx: &mut Tx, before: Timestamp, most: u32) {
    let most = most.min(FORGOTTEN_MAX);
    let mut script = Script::default();
    for sql in [CAMPAIGN_CARDS_LEAVE, CAMPAIGN_RUNS_FORGET, CAMPAIGNS_FORGET] {
        script.add(sql, [before.into(), most.into()]);
    }
    tx.leave(script);
}

/// The runs of one that have not ended.
pub(super) async fn open(tx: &mut Tx, number: i64) -> Result<Vec<i64>> {
    let query = link::query(CAMPAIGN_OPEN).bind(number);
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    rows.iter().map(|row| Reader::new(row, "runs", "number").int("number")).collect()
}

/// Notes runs that were just written.
pub(super) async fn started(tx: &mut Tx, started: &[Started]) -> Result<()> {
    if started.is_empty() {
        return Ok(());
    }
    let query = link::query(CAMPAIGN_RUNS_INSERT).bind(row::json(started));
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

/// One with its runs.
pub(super) async fn view(readers: &Readers, plans: &Plans, number: i64) -> Result<Option<CampaignView>> {
    let query = link::query(CAMPAIGN_READ).bind(number);
    let found = query.fetch_optional(readers).await.map_err(unavailable)?;
    let Some(found) = found else { return Ok(None) };
    let plan = plans.at_hand().get(&number).cloned();
    let view = plan.map_or_else(|| whole(&found), |plan| read(&found, plan))?;
    Ok(Some(with_children(readers, view).await?))
}

/// Those that are not over, each with its runs; or, with a limit, those and the newest.
pub(super) async fn list(
    readers: &Readers,
    unreadable: &Unreadable,
    plans: &Plans,
    newest: Option<u32>,
) -> Result<Vec<CampaignView>> {
    let query = match newest {
        Some(limit) => link::query(CAMPAIGNS_NEWEST).bind(i64::from(limit)),
        None => link::query(CAMPAIGNS_LIVE),
    };
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let number = |row: &Row| Reader::new(row, "campaigns", "number").int("number");
    let numbers = rows.iter().map(number).collect::<Result<Vec<_>>>()?;
    let plans = plans.of(readers, unreadable, &numbers).await?;
    let view = |row: &Row| plans.get(&number(row)?).map(|plan| read(row, plan.clone())).transpose();
    let mut views = Vec::with_capacity(rows.len());
    for view in unreadable.sift(&rows, view)?.into_iter().flatten() {
        views.push(with_children(readers, view).await?);
    }
    Ok(views)
}

async fn with_children(readers: &Readers, view: CampaignView) -> Result<CampaignView> {
    let query = link::query(CAMPAIGN_CHILDREN).bind(view.campaign.number);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let children = rows.iter().map(child).collect::<Result<Vec<_>>>()?;
    Ok(CampaignView { children, ..view })
}

/// One that was read with its plan.
fn whole(found: &Row) -> Result<CampaignView> {
    read(found, Arc::new(Reader::new(found, "campaigns", "number").json("plan")?))
}

fn read(found: &Row, plan: Arc<Plan>) -> Result<CampaignView> {
    let row = Reader::new(found, "campaigns", "number");
    Ok(CampaignView {
        campaign: Campaign {
            number: row.int("number")?,
            version: row.int("version")?,
            plan,
            wave: row.count("wave")? as usize,
            state: row.word("state", State::from_word)?,
            since: row.int("since")?,
            forgiven: row.opt_int("forgiven")?.and_then(|wave| usize::try_from(wave).ok()),
        },
        by: row.json("requested_by")?,
        origin: row.json("origin")?,
        asked_at: row.at("asked_at")?,
        ended_at: row.opt_at("ended_at")?,
        children: vec![],
    })
}

fn child(found: &Row) -> Result<Child> {
    let row = Reader::new(found, "campaign_runs", "run");
    Ok(Child {
        phase: row.word("phase", Phase::from_word)?,
        place: row.count("place")? as usize,
        run: row.int("run")?,
        last: row.int("last_run")?,
        verdict: match row.opt_text("verdict")? {
            Some(_) => Some(row.word("verdict", crate::outcome::Verdict::from_word)?),
            None => None,
        },
        cause: row.opt_text("cause")?.unwrap_or_default().to_owned(),
        touched: row.flag("touched")?,
        waits: row.flag("waits")?,
        kept_out: false,
    })
}
