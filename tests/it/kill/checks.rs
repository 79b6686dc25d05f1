//! What must be true of a lab in which servers were killed: of its database, of Slack's channels, and of the logs of
//! its boards and PDUs.

use std::collections::BTreeMap;
use std::time::Duration;

use boardhand::clock::Timestamp;
use sqlx::Row;

use super::world::{World, rows};

/// What stands in a card that is at its end, and in the reply that tells an outcome, for the two that a run here may
/// have.
const CARD_ENDED: [&str; 2] = [": ✅ Passed", ": ⚠️ Lab trouble"];
const REPLY_ENDED: [&str; 2] = [" Passed: ", " Lab trouble"];
/// Runs that neither passed nor were given up after as many lost attempts as a run may have; every attempt that was
/// not lost is told, too.
const UNEXPECTED: &str = "
    SELECT '#' || number || ' ' || verdict || ' ' || cause || ': ' ||
           (SELECT group_concat(verdict || ' ' || cause, ', ') FROM attempts WHERE run = runs.number)
    FROM runs
    WHERE NOT (verdict = 'passed'
               OR verdict = 'infra' AND cause = 'worker-lost'
                  AND (SELECT COUNT(*) FROM attempts WHERE run = runs.number AND cause = 'worker-lost') = 20)";

impl World {
    /// Every acknowledged command is one run, and every run has exactly one outcome: its own, unless server after server
    /// was killed under it and it was given up in the end.
    pub(super) async fn check_runs(&self, db: &sqlx::SqlitePool, accepted: &[String]) {
        let mut found = rows(db, "SELECT spec->>'build' FROM runs WHERE state = 'finished'").await;
        let mut expected = accepted.to_vec();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "each acknowledged command is one run that ended");
        let unexpected = rows(db, UNEXPECTED).await;
        assert!(unexpected.is_empty(), "runs that ended otherwise than they should: {unexpected:#?}");
        let given_up = rows(db, "SELECT CAST(number AS TEXT) FROM runs WHERE verdict = 'infra'").await;
        println!(
            "{} runs, of which {} were given up after 20 lost attempts each",
            found.len(),
            given_up.len()
        );
        let twice = rows(
            db,
            "SELECT run || ': ' || COUNT(*) FROM attempts WHERE verdict = 'passed' GROUP BY run HAVING COUNT(*) > 1",
        )
        .await;
        assert!(twice.is_empty(), "runs that ended twice: {twice:?}");
    }

    /// Every run has one card, and one reply that tells its outcome; those of a batch stand in the thread of its one
    /// card, and nowhere else.
    pub(super) async fn check_messages(&self, db: &sqlx::SqlitePool, runs: usize) {
        let alone = rows(db, "SELECT '#' || number FROM runs WHERE batch IS NULL").await;
        let batches = rows(
            db,
            "SELECT '#' || MIN(number) || '–#' || MAX(number) FROM runs GROUP BY batch HAVING batch",
        )
        .await;
        let mut in_channel: BTreeMap<String, u32> = BTreeMap::new();
        let mut in_thread: BTreeMap<String, u32> = BTreeMap::new();
        let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
        self.slack.with(|world| {
            for message in world.channels.values().flat_map(|channel| &channel.messages) {
                let name = message.text.split_whitespace().next().unwrap_or_default().to_owned();
                let told = match &message.thread_ts {
                    None if message.user == "U0BOT" => &mut in_channel,
                    Some(_) if CARD_ENDED.iter().any(|ended| message.text.contains(ended)) => &mut in_thread,
                    Some(_) if REPLY_ENDED.iter().any(|ended| message.text.contains(ended)) => &mut outcomes,
                    None | Some(_) => continue,
                };
                *told.entry(name).or_default() += 1;
            }
        });
        for (what, told) in
            [("cards", &in_channel), ("cards of a batch", &in_thread), ("outcomes", &outcomes)]
        {
            let twice: Vec<_> = told.iter().filter(|(_, count)| **count != 1).collect();
            assert!(twice.is_empty(), "{what} that stand more than once: {twice:?}");
        }
        let mut expected: Vec<&String> = alone.iter().chain(&batches).collect();
        expected.sort();
        assert_eq!(in_channel.keys().collect::<Vec<_>>(), expected, "every run and every batch has a card");
        assert_eq!(in_thread.len(), runs - alone.len(), "every run of a batch has a card in its thread");
        assert_eq!(outcomes.len(), runs, "every run's outcome is told");
        let problems = self.slack.problems();
        assert!(problems.is_empty(), "a real workspace would not have taken: {problems:#?}");
    }

    /// Joins what the boards heard with the lease history.
    pub(super) async fn check_bytes(&self, db: &sqlx::SqlitePool) {
        let leases = lease_history(db).await;
        let (mut bytes, mut connections) = (0, 0);
        for (id, board) in self.boards.boards() {
            let spans = leases.get(id.as_str()).cloned().unwrap_or_default();
            let mut began: BTreeMap<u64, Span> = BTreeMap::new();
            for record in board.recorded() {
                bytes += record.bytes.len();
                // A connection belongs to the lease that was the newest when its first byte came.
                let first = began.entry(record.connection).or_insert_with(|| {
                    connections += 1;
                    let newest = spans.iter().rfind(|span| span.from <= record.at);
                    *newest.unwrap_or_else(|| panic!("{id}: bytes before any lease: {record:?}"))
                });
                assert!(first.holds(record.at), "{id}: bytes outside lease {first:?}: {record:?}");
            }
        }
        assert!(bytes > 0, "the boards heard something");
        println!("checked {bytes} bytes on {connections} connections against the lease history");
    }

    /// Joins what the PDUs were told with the lease history.
    pub(super) async fn check_switches(&self, db: &sqlx::SqlitePool) {
        let leases = lease_history(db).await;
        let mut switches = 0;
        for switch in self.boards.pdu("pdu-a").expect("the PDU of the lab").log() {
            let board = format!("soc-a-{:0>3}", switch.outlet);
            let spans = leases.get(&board).cloned().unwrap_or_default();
            assert!(
                spans.iter().any(|span| span.holds(switch.at)),
                "{board}: switched under no lease: {switch:?}"
            );
            switches += 1;
        }
        assert!(switches > 0, "the boards were switched");
        println!("checked {switches} switchings of outlets against the lease history");
    }
}

/// A lease's life.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

/// What may lie between a byte's sending and its reading by a board on the same machine.
const IN_FLIGHT: Duration = Duration::from_millis(50);

impl Span {
    fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.to + IN_FLIGHT
    }
}

async fn lease_history(db: &sqlx::SqlitePool) -> BTreeMap<String, Vec<Span>> {
    let sql = "SELECT board, granted_at, ended_at FROM leases ORDER BY board, fence";
    let mut history: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for row in sqlx::query(sql).fetch_all(db).await.expect("leases") {
        let ended_at: Option<i64> = row.get("ended_at");
        history.entry(row.get("board")).or_default().push(Span {
            from: Timestamp::from_micros(row.get("granted_at")),
            to: Timestamp::from_micros(ended_at.expect("no lease is live any more")),
        });
    }
    history
}
