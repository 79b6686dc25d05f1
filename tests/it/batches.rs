//! Batches, told by the people who type `x3`: one card in the channel, three stories in its thread; what the buttons of
//! both do; and what is read when Slack is in trouble just then.

use boardhand::sim::BootStage;
use boardhand::sim::slack::{ApiFault, Message};

use crate::lab::{CHANNEL, Lab, lab, steady, yaml};

/// The one card of the batch that begins with #1.
fn parent(lab: &Lab) -> Message {
    let mut found: Vec<Message> =
        lab.slack.channel(CHANNEL).into_iter().filter(|m| m.text.starts_with("#1–")).collect();
    assert_eq!(found.len(), 1, "{}", lab.slack.render_channel(CHANNEL));
    found.remove(0)
}

/// The batch's card as a person reads it now.
fn card(lab: &Lab) -> String {
    parent(lab);
    steady(&lab.slack.render_channel(CHANNEL))
}

/// Waits until the batch's card says this.
async fn until_batch(lab: &Lab, says: &str) {
    let is_said = lab.slack.until(
        |world| {
            let channel = world.channel(CHANNEL).expect("the channel");
            channel.messages.iter().any(|m| m.text.starts_with("#1–") && m.text.contains(says))
        },
        crate::lab::WITHIN,
    );
    if is_said.await.is_err() {
        panic!("the batch never said {says:?}:\n{}", lab.slack.render_channel(CHANNEL));
    }
}

/// What the batch's thread tells of one run, in order, without the places of others.
fn story(lab: &Lab, run: i64) -> Vec<String> {
    let thread = lab.slack.thread(CHANNEL, &parent(lab).ts);
    let of = [format!("#{run} "), format!("#{run}: ")];
    let mine = thread.iter().filter(|m| of.iter().any(|name| m.text.starts_with(name)));
    mine.map(|m| m.text.clone()).collect()
}

/// A thread and a channel hold nothing beside one card and what begins with a run's number.
fn check_told(lab: &Lab, runs: i64) {
    let told: usize = (1..=runs).map(|run| story(lab, run).len()).sum();
    let thread = lab.slack.thread(CHANNEL, &parent(lab).ts);
    assert_eq!(thread.len(), told + 1, "{}", lab.slack.render_thread(CHANNEL, &parent(lab).ts));
    assert_eq!(lab.slack.channel(CHANNEL).len(), 1, "{}", lab.slack.render_channel(CHANNEL));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_runs_pass_under_one_card() {
    lab(&yaml::small(3), async |lab| {
        let seen = lab.say("alice", "/run-test socA build-123 x3").await;
        insta::assert_snapshot!(steady(&seen), @r#"
            👍 *#1*, *#2*, *#3* socA · `build-123` · smoke
            Boards are free: they start right away.
            Their card is on its way to this channel, and its thread tells of each.
        "#);
        until_batch(lab, ": 3 passed").await;
        lab.settle().await;
        insta::assert_snapshot!(card(lab), @r#"
            boardhand: #1–#3 socA · build-123 · smoke
              ✅ *3 passed*
              *#1* ✅ Passed on `soc-a-001` · 23 passed
              *#2* ✅ Passed on `soc-a-002` · 23 passed
              *#3* ✅ Passed on `soc-a-003` · 23 passed
              Each run has its own card, with its buttons, in this thread · By @alice · Finished <time>
        "#);
        for run in 1..=3 {
            let [card, up, end] = &story(lab, run)[..] else { panic!("{:?}", story(lab, run)) };
            assert_eq!(*card, format!("#{run} socA · build-123 · smoke: ✅ Passed (23 passed)"));
            assert!(up.starts_with(&format!("#{run}: soc-a-00")), "{up}");
            assert_eq!(*end, format!("#{run} Passed: 23 passed"));
        }
        check_told(lab, 3);
        let thread = lab.slack.render_thread(CHANNEL, &parent(lab).ts);
        for run in 1..=3 {
            assert!(
                thread.contains(&format!("boardhand: *#{run}* *✅ Passed*")),
                "whose end it is:\n{thread}"
            );
            assert!(
                thread.contains(&format!("boardhand: *#{run}* ▶️ `soc-a-00")),
                "whose news it is:\n{thread}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_runs_are_named_by_the_first_and_the_last() {
    lab(&yaml::small(3), async |lab| {
        let seen = lab.say("alice", "/run-test socA build-crawl x20").await;
        assert!(seen.starts_with("👍 *#1* to *#20* socA · `build-crawl` · smoke\n"), "{seen}");
        until_batch(lab, "3 testing, 17 waiting…").await;
        let seen = card(lab);
        assert!((1..=20).all(|run| seen.contains(&format!("*#{run}* "))), "a line for each: {seen}");
        lab.slack.click("alice", &parent(lab).ts, "Cancel all").await;
        lab.answer("alice").await;
        until_batch(lab, ": 20 cancelled").await;
        lab.settle().await;
        check_told(lab, 20);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_fails_makes_its_batch_red_and_is_repeated_alone() {
    lab(&yaml::small(3), async |lab| {
        let (_, bad) = lab.boards.boards().find(|(id, _)| id.as_str() == "soc-a-002").expect("a board");
        bad.set_faults(|faults| faults.panic_at = Some(BootStage::Kernel));
        lab.say("alice", "/run-test socA build-123 x3").await;
        until_batch(lab, ": 2 passed, 1 failed").await;
        lab.settle().await;
        let failed = "SELECT number FROM runs WHERE verdict = 'failed'";
        let failed: i64 = lab.rows(failed).await[0].parse().expect("a number");
        let seen = card(lab);
        assert!(seen.contains("❌ *2 passed, 1 failed*"), "{seen}");
        let line = format!("*#{failed}* ❌ Failed · `boot-panic` on `soc-a-002` · Console log\n");
        assert!(seen.contains(&line), "{seen}");
        bad.set_faults(|faults| faults.panic_at = None);

        lab.click("alice", failed, "Retry").await;
        lab.until_card(4, "Passed").await;
        lab.settle().await;
        assert!(card(lab).contains("retried as #4"), "{}", card(lab));
        assert!(story(lab, failed).contains(&format!("#{failed} is retried as #4")));
        let channel = lab.slack.channel(CHANNEL);
        assert_eq!(
            channel.len(),
            2,
            "the repeat is a run like any other: {}",
            lab.slack.render_channel(CHANNEL)
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_a_batch_is_cancelled_by_its_own_button() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/run-test socA build-crawl x2").await;
        until_batch(lab, "1 testing, 1 waiting…").await;
        lab.until_card(2, "Waiting").await;
        let seen = lab.click("bob", 2, "Cancel").await;
        assert_eq!(seen, "🚫 #2 is cancelled. It had no board yet.");
        let answer = lab.slack.ephemerals("bob").remove(0);
        assert_eq!(answer.thread_ts, Some(parent(lab).ts), "answered where it was pressed");
        until_batch(lab, "1 cancelled, 1 testing…").await;
        let seen = card(lab);
        assert!(
            seen.contains("🔄 *1 cancelled, 1 testing…*") && seen.contains("*#2* 🚫 Cancelled\n"),
            "{seen}"
        );
        lab.say("alice", "/lab cancel 1").await;
        until_batch(lab, ": 2 cancelled").await;
        lab.settle().await;
        check_told(lab, 2);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_buttons_of_a_batch_say_who_waits_and_end_them_all() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/run-test socA build-crawl x3").await;
        until_batch(lab, "1 testing, 2 waiting…").await;
        lab.until_card(3, "Waiting").await;
        insta::assert_snapshot!(card(lab), @r#"
            boardhand: #1–#3 socA · build-crawl · smoke
              🔄 *1 testing, 2 waiting…*
              *#1* 🔄 Testing on `soc-a-001`
              *#2* ⏳ Waiting for a board
              *#3* ⏳ Waiting for a board
              Each run has its own card, with its buttons, in this thread · By @alice · Asked for <time>
              [Why are they waiting?] [Cancel all]
        "#);
        let ts = parent(lab).ts;
        lab.slack.click("bob", &ts, "Why are they waiting?").await;
        insta::assert_snapshot!(lab.answer("bob").await, @r#"
            2 of 3 wait for a board: 1 testing, 2 waiting…
            *#2* waits at place 1 in line. The only board that fits is busy: `soc-a-001` (run #1).
            *#3* waits at place 2 in line.
        "#);
        lab.slack.click("bob", &ts, "Cancel all").await;
        insta::assert_snapshot!(lab.answer("bob").await, @"🚫 #1, #2, #3 are being ended; a board is brought to rest first. The card will tell.");
        until_batch(lab, ": 3 cancelled").await;
        lab.settle().await;
        insta::assert_snapshot!(card(lab), @r#"
            boardhand: #1–#3 socA · build-crawl · smoke
              🚫 *3 cancelled*
              *#1* 🚫 Cancelled on `soc-a-001`
              *#2* 🚫 Cancelled
              *#3* 🚫 Cancelled
              Each run has its own card, with its buttons, in this thread · By @alice · Finished <time>
        "#);
        check_told(lab, 3);
        let stale =
            serde_json::json!({"type": "button", "text": {"text": "Cancel all"}, "value": "cancel-all:1:3"});
        lab.slack.press_stale("bob", &ts, &stale).await;
        insta::assert_snapshot!(lab.answer("bob").await, @"#1–#3 are finished already. To run one of them again: `/lab retry 1`");
        let stale = serde_json::json!({"type": "button", "text": {"text": "Why"}, "value": "why-all:1:3"});
        lab.slack.press_stale("bob", &ts, &stale).await;
        insta::assert_snapshot!(lab.answer("bob").await, @"None of #1–#3 waits: 3 cancelled");
        assert_eq!(
            lab.rows("SELECT actor, verb, target, allowed FROM audit WHERE verb = 'cancel'").await,
            ["slack:U0BOB | cancel | #1, #2 and #3 | 1"; 2]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_operator_ends_the_batch_of_others() {
    let text = yaml::small(1) + "roles: {admin: [slack:U0LEAD], user: ['*']}\n";
    lab(&text, async |lab| {
        lab.say("alice", "/run-test socA build-crawl x2").await;
        until_batch(lab, "1 testing, 1 waiting…").await;
        lab.slack.click("bob", &parent(lab).ts, "Cancel all").await;
        assert_eq!(
            lab.answer("bob").await,
            "🔒 Only an operator may cancel other people's runs; you are a user.\n\
             It needs the role `operator`; a lab admin gives it in boards.yaml.\n\
             A lab admin who can change that: @lead"
        );
        lab.slack.click("alice", &parent(lab).ts, "Cancel all").await;
        lab.answer("alice").await;
        until_batch(lab, ": 2 cancelled").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_thread_of_a_batch_a_command_needs_a_number() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/run-test socA build-crawl x3").await;
        until_batch(lab, "1 testing, 2 waiting…").await;
        lab.until_card(3, "Waiting").await;
        let ts = parent(lab).ts;
        let mut seen = String::new();
        for text in ["cancel", "retry", "run", "compare", "why", "why 3", "cancel 3"] {
            lab.slack.say_in_thread("bob", CHANNEL, &ts, &format!("@boardhand {text}")).await;
            seen.push_str(&format!("bob> @boardhand {text}\n{}\n\n", lab.answer("bob").await));
        }
        insta::assert_snapshot!(seen, @r#"
            bob> @boardhand cancel
            ✋ This thread tells of #1, #2 and #3: say which one is meant.
            Try: `@boardhand cancel 1`

            bob> @boardhand retry
            ✋ This thread tells of #1, #2 and #3: say which one is meant.
            Try: `@boardhand retry 1`

            bob> @boardhand run
            ✋ This thread tells of #1, #2 and #3: say which one is meant.
            Try: `@boardhand run 1`

            bob> @boardhand compare
            ✋ This thread tells of #1, #2 and #3: say which one is meant.
            Try: `@boardhand compare 1`

            bob> @boardhand why
            2 of 3 wait for a board: 1 testing, 2 waiting…
            *#2* waits at place 1 in line. The only board that fits is busy: `soc-a-001` (run #1).
            *#3* waits at place 2 in line.

            bob> @boardhand why 3
            *#3* waits at place 2 in line.
            #2 is first in line. Busy now: `soc-a-001` (run #1).

            bob> @boardhand cancel 3
            🚫 #3 is cancelled. It had no board yet.
        "#);
        lab.slack.click("alice", &ts, "Cancel all").await;
        lab.answer("alice").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_copies_of_one_command_are_one_batch() {
    lab(&yaml::small(3), async |lab| {
        lab.slack.set_delivery_faults(|faults| faults.duplicates = 19);
        lab.say("alice", "/run-test socA build-123 x3").await;
        until_batch(lab, ": 3 passed").await;
        lab.settle().await;
        assert_eq!(lab.rows("SELECT COUNT(*), COUNT(DISTINCT batch) FROM runs").await, ["3 | 1"]);
        check_told(lab, 3);
        lab.read_all();
    })
    .await;
}

/// Three runs while Slack fails like this; the story must be whole in the end.
async fn check_trouble(faults: &[(&str, ApiFault, u32)]) {
    lab(&yaml::small(3), async |lab| {
        for (method, fault, times) in faults {
            lab.slack.break_calls(method, fault.clone(), *times);
        }
        lab.say("alice", "/run-test socA build-123 x3").await;
        until_batch(lab, ": 3 passed").await;
        lab.settle().await;
        for run in 1..=3 {
            assert_eq!(story(lab, run).len(), 3, "{:?}", story(lab, run));
        }
        check_told(lab, 3);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_card_that_arrived_without_an_answer_is_found_and_its_runs_follow() {
    check_trouble(&[("chat.postMessage", ApiFault::AcceptThen500, 1)]).await;
    check_trouble(&[
        ("chat.postMessage", ApiFault::AcceptThenDrop, 4),
        ("chat.update", ApiFault::AcceptThen500, 2),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_run_of_a_batch_is_told_before_its_card() {
    check_trouble(&[
        ("chat.postMessage", ApiFault::Error500, 2),
        ("chat.postMessage", ApiFault::RateLimited(1), 1),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_look_a_batch_comes_at_least_once_and_its_runs_with_it() {
    lab(&yaml::small(3), async |lab| {
        lab.slack.set_history_scope(false);
        lab.slack.break_calls("chat.postMessage", ApiFault::AcceptThen500, 1);
        lab.say("alice", "/run-test socA build-123 x3").await;
        until_batch(lab, ": 3 passed").await;
        lab.settle().await;
        let cards = lab.slack.channel(CHANNEL);
        assert!(cards.iter().all(|m| m.text.starts_with("#1–")), "{}", lab.slack.render_channel(CHANNEL));
        let told = cards.iter().find(|m| m.text.ends_with(": 3 passed")).expect("one is kept up");
        let passed = |m: &&Message| m.text.contains(": ✅ Passed");
        let thread = lab.slack.thread(CHANNEL, &told.ts);
        assert_eq!(thread.iter().filter(passed).count(), 3, "its runs stand under it: {thread:#?}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_channel_without_the_bot_the_batch_is_told_twice_in_whole() {
    lab(&yaml::small(3), async |lab| {
        lab.slack.say("alice", "#random", "/run-test socA build-123 x3").await;
        for run in 1..=3 {
            assert_eq!(lab.verdict(run).await, "passed in testing");
        }
        lab.settle().await;
        // The card as it was then, and the results.
        let told = lab.slack.channel("#random");
        assert_eq!(told.len(), 2, "{}", lab.slack.render_channel("#random"));
        assert_eq!(told[1].text, "#1–#3 socA · build-123 · smoke: 3 passed");
        let answers = lab.slack.render_answers("alice");
        assert_eq!(answers.matches("I am not in that channel").count(), 1, "{answers}");
        assert_eq!(lab.store.census().await.expect("census").dead, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_batch_cannot_be_posted_the_outcomes_are_told_with_their_numbers() {
    lab(&yaml::small(3), async |lab| {
        lab.slack.break_calls("chat.postMessage", ApiFault::Error("invalid_blocks".into()), 1);
        lab.say("alice", "/run-test socA build-123 x3").await;
        lab.settle().await;
        let told = lab.slack.channel(CHANNEL);
        let mut texts: Vec<&str> = told.iter().map(|m| m.text.as_str()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["#1 Passed: 23 passed", "#2 Passed: 23 passed", "#3 Passed: 23 passed"]);
        let seen = lab.slack.render_channel(CHANNEL);
        assert!((1..=3).all(|run| seen.contains(&format!("*#{run}* *✅ Passed*"))), "{seen}");
    })
    .await;
}
