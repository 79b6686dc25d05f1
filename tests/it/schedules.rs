//! Schedules with a clock of the test's own: what starts at which time, what is said when it does not, and that no due
//! time ever starts two; and what people read and type about them, in a whole lab.

use std::time::Duration;

use boardhand::app::{App, Parts};
use boardhand::artifact::Artifacts;
use boardhand::chat::token::Tokens;
use boardhand::chat::{Actor, Platform};
use boardhand::clock::{Clock, ManualClock, Timestamp};
use boardhand::id::Ids;
use boardhand::message::Note;
use boardhand::message::pace::Pacing;
use boardhand::message::template::Catalogue;
use boardhand::outcome::Verdict;
use boardhand::sim::slack::SimSlack;
use boardhand::store::{Effect, Intake, OWN_SCHEDULES_MAX, OwedKind, RunFilter};
use boardhand::worker::almanac::{Almanac, LATE_AFTER};
use boardhand::worker::steps::Agent;

use serde_json::json;

use crate::lab::{self, CHANNEL, lab, steady, yaml};
use crate::store::Lab as StoreLab;
use crate::store::lab::outcome;

/// 2027-01-15 08:00 UTC.
const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
/// The channel of the tests, by its id.
const ID: &str = "C0SOCCI";
const HOUR: Duration = Duration::from_secs(3600);

/// A lab with this under `schedules:`.
fn scheduled(schedules: &str) -> String {
    format!("{}channels: {{default: slack:{ID}}}\nschedules:\n{schedules}", yaml::small(3))
}

const NIGHTLY: &str = "  nightly: {cron: '0 2 * * *', zone: Europe/Berlin, run: 'socA build-123 suite=smoke', start_within: 4h}\n";

/// Almanacs of one lab on one database, with a clock of the test's own.
struct Bench {
    store: StoreLab,
    hand: ManualClock,
    clock: Clock,
    slack: SimSlack,
}

impl Bench {
    async fn new() -> Bench {
        let (clock, hand) = Clock::manual(T0);
        let slack = lab::slack("http://127.0.0.1:9", &Clock::system(), &Ids::system()).await;
        Bench { store: StoreLab::sqlite().await, hand, clock, slack }
    }

    /// An almanac of a server that was just started on this boards.yaml.
    async fn almanac(&self, text: &str) -> Almanac {
        let folder = std::env::temp_dir();
        let app = App::new(Parts {
            store: self.store.store.clone(),
            inventory: lab::inventory(text).into(),
            catalogue: Catalogue::builtin(),
            slack: Some(lab::slack_parts(&self.slack, Pacing::NONE)),
            feishu: None,
            api_tokens: Tokens::new(&[]),
            jenkins: None,
            clock: self.clock.clone(),
            ids: Ids::system(),
            public_url: "http://lab".into(),
            transcripts: folder.join("boardhand-no-transcripts"),
            artifacts: Artifacts::folder(folder.join("boardhand-no-artifacts")),
            board_url: None,
            proxies: Default::default(),
            rates: Default::default(),
        });
        let app = app.await.expect("an app");
        Almanac::new(app.door.handler.clone(), app.doorbell.clone())
    }

    /// Numbers of the runs there are, the oldest first.
    async fn runs(&self) -> Vec<i64> {
        let filter = RunFilter { limit: 1000, ..RunFilter::default() };
        let mut runs: Vec<i64> =
            self.store.store.run_list(&filter).await.expect("runs").iter().map(|run| run.number).collect();
        runs.sort_unstable();
        runs
    }

    /// Changes the database behind the store's back.
    async fn tamper(&self, sql: &'static str) {
        let dir = self.store.dir.as_ref().expect("a folder of its own");
        lab::look::tamper(dir.path(), sql).await;
    }

    /// Ends every run that waits.
    async fn end_all(&self) {
        let (ended, note) = (outcome(Verdict::Cancelled, "cancelled"), Note::new("run-cancelled", json!({})));
        for run in self.runs().await {
            let withdrawn = self.store.store.run_withdraw(run, &ended, &note, self.clock.now()).await;
            withdrawn.expect("withdrawn");
        }
    }

    /// The templates of what is owed to the channel, beside cards.
    async fn told(&self) -> Vec<String> {
        let owed = self.store.store.message_due(self.clock.now(), 100).await.expect("messages");
        let notes = owed.into_iter().filter_map(|owed| match owed.kind {
            OwedKind::Answer { note, .. } => Some(note.template),
            OwedKind::Card { .. } | OwedKind::Reply { .. } => None,
        });
        notes.collect()
    }
}

async fn steps(almanac: &mut Almanac, count: usize) {
    for _ in 0..count {
        let _ = almanac.step().await.expect("a step");
    }
}

#[tokio::test]
async fn a_due_time_starts_once_whoever_looks_and_however_often() {
    let bench = Bench::new().await;
    let text = scheduled(NIGHTLY);
    let (mut one, mut two) = (bench.almanac(&text).await, bench.almanac(&text).await);
    steps(&mut one, 2).await;
    bench.hand.advance(16 * HOUR + Duration::from_secs(3599));
    steps(&mut one, 1).await;
    assert_eq!(bench.runs().await, [0; 0], "01:59:59 in Berlin");
    bench.hand.advance(Duration::from_secs(1));
    let (a, b) = tokio::join!(one.step(), two.step());
    let _ = (a.expect("a step"), b.expect("a step"));
    steps(&mut one, 3).await;
    assert_eq!(bench.runs().await, [1]);
    assert_eq!(bench.told().await, [""; 0], "its card tells");
    let run = bench.store.store.run_view(1).await.expect("read").expect("a run").run;
    assert_eq!(run.requested_by.key(), "api:schedule:nightly");
    assert_eq!((run.origin.channel.as_str(), run.spec.build.as_str()), (ID, "build-123"));
    // A new server, and a mark that was never made: the time is dealt with again, and starts nothing.
    bench.tamper("UPDATE schedules SET due = NULL, dealt = NULL").await;
    let mut again = bench.almanac(&text).await;
    steps(&mut again, 2).await;
    assert_eq!(bench.runs().await, [1]);
    let row = bench.store.store.schedule_list().await.expect("read").remove(0);
    assert_eq!(row.dealt.and_then(|(_, dealt)| dealt.run()), Some(1));
}

#[tokio::test]
async fn what_was_started_before_a_crash_was_started_however_long_the_server_was_away() {
    let bench = Bench::new().await;
    let text = scheduled("  often: {cron: '0 * * * *', run: 'socA build-123', start_within: 30m}\n");
    let mut almanac = bench.almanac(&text).await;
    steps(&mut almanac, 1).await;
    bench.hand.advance(HOUR);
    steps(&mut almanac, 1).await;
    let run = bench.runs().await;
    assert_eq!(run.len(), 1);
    bench.tamper("UPDATE schedules SET due = NULL, dealt = NULL").await;
    bench.hand.advance(Duration::from_secs(50 * 60));
    steps(&mut bench.almanac(&text).await, 2).await;
    let row = bench.store.store.schedule_list().await.expect("read").remove(0);
    assert_eq!(row.dealt.and_then(|(_, dealt)| dealt.run()), Some(run[0]));
    assert!(!bench.told().await.contains(&"schedule-missed".to_owned()), "it was not missed");
}

#[tokio::test]
async fn a_clock_that_is_set_back_starts_nothing_again() {
    let bench = Bench::new().await;
    let text = scheduled("  often: {cron: '0 * * * *', run: 'socA build-123'}\n");
    let mut almanac = bench.almanac(&text).await;
    steps(&mut almanac, 1).await;
    bench.hand.advance(HOUR);
    steps(&mut almanac, 1).await;
    assert_eq!(bench.runs().await, [1]);
    // Another server's clock is half an hour behind, and then comes to the same hour.
    let (behind, hand) = Clock::manual(T0 + Duration::from_secs(1800));
    let slow = Bench { store: bench.store, hand, clock: behind, slack: bench.slack };
    let mut almanac = slow.almanac(&text).await;
    steps(&mut almanac, 1).await;
    slow.hand.advance(Duration::from_secs(1800));
    steps(&mut almanac, 2).await;
    assert_eq!(slow.runs().await, [1]);
}

#[tokio::test]
async fn what_was_missed_starts_once_and_says_so_or_is_told_to_be_too_late() {
    let bench = Bench::new().await;
    let text = scheduled("  often: {cron: '0 * * * *', run: 'socA build-123', start_within: 30m}\n");
    steps(&mut bench.almanac(&text).await, 1).await;
    bench.hand.advance(5 * HOUR + LATE_AFTER + Duration::from_secs(1));
    let mut almanac = bench.almanac(&text).await;
    steps(&mut almanac, 3).await;
    assert_eq!(bench.runs().await, [1], "the last of five");
    assert_eq!(bench.told().await, ["schedule-late"]);
    let due = bench.store.store.message_due(bench.clock.now(), 100).await.expect("messages");
    let note = due.into_iter().find_map(|owed| match owed.kind {
        OwedKind::Answer { note, .. } => Some(note),
        OwedKind::Card { .. } | OwedKind::Reply { .. } => None,
    });
    let facts = note.expect("it is told").facts;
    assert_eq!((&facts["missed"], &facts["numbers"]), (&4.into(), &json!([1])));
    // The run is over; the next time is missed by more than half an hour.
    bench.end_all().await;
    bench.hand.advance(HOUR + Duration::from_secs(2400));
    steps(&mut almanac, 2).await;
    assert_eq!(bench.runs().await, [1]);
    assert_eq!(bench.told().await, ["schedule-late", "schedule-missed"]);
}

#[tokio::test]
async fn what_it_started_before_must_have_ended_and_that_is_told_once() {
    let bench = Bench::new().await;
    let mut almanac =
        bench.almanac(&scheduled("  often: {cron: '* * * * *', run: 'socA build-123'}\n")).await;
    steps(&mut almanac, 1).await;
    for _ in 0..4 {
        bench.hand.advance(Duration::from_secs(60));
        steps(&mut almanac, 1).await;
    }
    assert_eq!(bench.runs().await, [1]);
    assert_eq!(bench.told().await, ["schedule-overlaps"]);
    bench.end_all().await;
    bench.hand.advance(Duration::from_secs(60));
    steps(&mut almanac, 1).await;
    assert_eq!(bench.runs().await, [1, 2]);
}

#[tokio::test]
async fn a_schedule_that_is_new_or_due_at_other_times_catches_nothing_up() {
    let bench = Bench::new().await;
    bench.hand.advance(Duration::from_secs(60));
    let often = |cron: &str| scheduled(&format!("  often: {{cron: '{cron}', run: 'socA build-123'}}\n"));
    for cron in ["0 * * * *", "0 */2 * * *"] {
        let mut almanac = bench.almanac(&often(cron)).await;
        steps(&mut almanac, 3).await;
    }
    assert_eq!(bench.runs().await, [0; 0], "both were due a minute ago");
    let nothing = scheduled("").replace("schedules:\n", "");
    steps(&mut bench.almanac(&nothing).await, 1).await;
    assert_eq!(bench.store.store.schedule_list().await.expect("read"), []);
}

#[tokio::test]
async fn a_line_that_is_refused_when_it_is_due_says_why_in_the_channel() {
    let bench = Bench::new().await;
    let text = scheduled("  often: {cron: '0 * * * *', run: 'soc-b-001 build-123'}\n");
    // The board's suite needs nothing that is not there; what it is asked for does.
    let text = text.replace("socB: {}", "socB: {suites: {smoke: linux-smoke}}");
    let mut almanac = bench.almanac(&text).await;
    steps(&mut almanac, 1).await;
    bench.hand.advance(HOUR);
    steps(&mut almanac, 2).await;
    assert_eq!(bench.runs().await, [0; 0]);
    assert_eq!(bench.told().await, ["schedule-refused"]);
    let row = bench.store.store.schedule_list().await.expect("read").remove(0);
    let dealt = serde_json::to_value(row.dealt.expect("it was due").1).expect("a document");
    assert_eq!(dealt["reason"]["phrase"], "no-artifact", "{dealt}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_what_starts_by_itself_and_pause_it() {
    lab(&scheduled(NIGHTLY), async |lab| {
        let seen = lab.say("alice", "/lab schedules").await;
        assert!(seen.contains("*nightly* `socA build-123 suite=smoke` · `0 2 * * *` Europe/Berlin · next "), "{seen}");
        insta::assert_snapshot!(steady(&lab.say("alice", "/lab schedules nightly pause").await), @"⏸️ *nightly* is paused: it starts nothing until `/lab schedules nightly resume`.");
        let seen = lab.say("bob", "/lab schedules nightly").await;
        assert!(seen.contains("⏸️ *nightly*") && seen.contains("paused by @alice"), "{seen}");
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab 定时 nightly 暂停").await), @"*nightly* is paused already.");
        let seen = lab.say("bob", "/lab schedules resume nightly").await;
        assert!(seen.starts_with("▶️ *nightly* goes on; it is due "), "{seen}");
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab schedules nigthly").await), @r#"
            ✋ There is no schedule "nigthly". Did you mean `nightly`?
            Try: `/lab schedules nightly`
        "#);
        let audit = lab.rows("SELECT actor, verb, target, allowed FROM audit ORDER BY position").await;
        assert_eq!(
            audit,
            [
                "slack:U0ALICE | schedules | nightly pause | 1",
                "slack:U0BOB | schedules | nightly pause | 1",
                "slack:U0BOB | schedules | nightly resume | 1"
            ]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_while_the_server_was_away_runs_and_is_told() {
    let now = Clock::system().now();
    let five_minutes_ago = now.as_secs() - 300;
    let cron = format!("{} {} * * *", five_minutes_ago / 60 % 60, five_minutes_ago / 3600 % 24);
    let text = scheduled(&format!("  daily: {{cron: '{cron}', run: 'socA build-123'}}\n"));
    lab(&text, async |lab| {
        while lab.rows("SELECT name FROM schedules").await.is_empty() {
            lab.clock.sleep(Duration::from_millis(5)).await;
        }
        lab.tamper("UPDATE schedules SET since = since - 3600000000").await;
        lab.restart().await;
        lab.until_card(1, "Passed").await;
        lab.settle().await;
        let channel = steady(&lab.slack.render_channel(CHANNEL));
        assert!(channel.contains("⏰ *daily* was due <time>; no server was there. It starts"), "{channel}");
        assert!(channel.contains(" late, as #1."), "{channel}");
        assert!(channel.contains("*By* daily (boards.yaml)"), "{channel}");
        lab.read_all();
    })
    .await;
}

#[test]
fn the_manuals_schedule_is_one() {
    let manual = include_str!("../../docs/campaigns.md");
    let (_, rest) = manual.split_once("```yaml\nschedules:\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let lab = lab::inventory(&scheduled(example));
    let nightly = &lab.schedules["nightly"];
    assert_eq!((nightly.start_within, nightly.zone.as_str()), (4 * HOUR, "Europe/Berlin"));
    assert_eq!(nightly.channel.as_deref(), Some("slack:C0SOCCI"));
}

#[tokio::test]
async fn what_a_program_made_starts_at_its_times_and_the_files_own_takes_its_name() {
    let bench = Bench::new().await;
    let own = |cron: &str, run: &str| {
        let document = json!({ "cron": cron, "run": run });
        document.as_object().cloned().expect("an object")
    };
    let effected = async |effect: Effect| {
        let by =
            Actor { platform: Platform::Api, id: "admin".into(), team: String::new(), name: String::new() };
        let intake = Intake { actor: by, ..bench.store.intake(effect) };
        let committed = bench.store.store.commit(intake).await.expect("commit");
        committed.answer.facts["effected"].as_str().expect("a word").to_owned()
    };
    let make = async |name: &str, document: &serde_json::Map<String, serde_json::Value>| {
        let schedule = boardhand::board::lab_file::schedule_of(name, document).expect("a schedule");
        let made = Some((schedule.timing(), document.clone()));
        effected(Effect::OwnSchedule { name: name.into(), made }).await
    };
    let hourly = own("0 * * * *", "socA build-7");
    let nothing = scheduled("").replace("schedules:\n", "");
    let mut almanac = bench.almanac(&nothing).await;
    assert_eq!(make("soak", &hourly).await, "done");
    steps(&mut almanac, 3).await;
    assert_eq!(bench.runs().await, [1]);
    let runs =
        bench.store.store.run_list(&RunFilter { limit: 9, ..RunFilter::default() }).await.expect("runs");
    assert_eq!((runs[0].requested_by.id.as_str(), runs[0].spec.build.as_str()), ("schedule:soak", "build-7"));
    // The same times with another build go on as they are; other times begin anew.
    let row = async || bench.store.store.schedule_list().await.expect("read").remove(0);
    assert_eq!(make("soak", &own("0 * * * *", "socA build-8")).await, "done");
    assert!(row().await.dealt.is_some());
    assert_eq!(make("soak", &own("30 * * * *", "socA build-8")).await, "done");
    assert!(row().await.dealt.is_none());
    // A file that has the name takes it, whoever had paused it, and a program does not take it back.
    let paused = Effect::Schedule { name: "soak".into(), paused: true };
    assert_eq!(effected(paused).await, "done");
    assert_eq!(make("soak", &own("30 * * * *", "socA build-9")).await, "done");
    assert!(row().await.paused.is_some(), "made anew, it is paused still");
    let mut almanac = bench.almanac(&scheduled("  soak: {cron: '0 5 * * *', run: 'socA build-123'}\n")).await;
    steps(&mut almanac, 2).await;
    assert_eq!((row().await.own, row().await.timing.as_str()), (None, "0 5 * * * UTC"));
    assert_eq!(row().await.paused, None);
    assert_eq!(make("SOAK", &hourly).await, "not-theirs", "one name, however it is written");
    assert_eq!(make("soak", &hourly).await, "not-theirs");
    let gone = Effect::OwnSchedule { name: "soak".into(), made: None };
    assert_eq!(effected(gone).await, "not-theirs");
    for n in 0..OWN_SCHEDULES_MAX {
        assert_eq!(make(&format!("own-{n}"), &hourly).await, "done");
    }
    assert_eq!(make("one-more", &hourly).await, "too-many");
    assert_eq!(make("own-7", &hourly).await, "done", "it is one of them");
    let gone = Effect::OwnSchedule { name: "own-7".into(), made: None };
    assert_eq!(effected(gone).await, "done");
    assert_eq!(make("one-more", &hourly).await, "done");
}
