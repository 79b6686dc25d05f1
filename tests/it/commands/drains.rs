//! A board or a site takes nothing new: told by whoever works on it, by whoever has it, and by whoever waits.

use crate::lab::{Lab, lab, steady, yaml};

/// Says something and gives the answer without its times.
async fn say(lab: &Lab, who: &str, text: &str) -> String {
    steady(&lab.say(who, text).await)
}

/// The whole lab with an operator beside the people.
fn closed(n: usize) -> String {
    yaml::small(n) + "roles: {admin: [slack:U0LEAD], operator: [slack:U0BOB], user: [\"*\"]}\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_drains_finishes_what_is_on_it_and_takes_nothing_new() {
    lab(&closed(1), async |lab| {
        let first = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(first, "testing").await;
        let seen = say(lab, "alice", "/lab drain soc-a-001").await;
        assert!(seen.contains("operator"), "{seen}");
        insta::assert_snapshot!(say(lab, "bob", "/lab drain soc-a-001 2h a new fan").await, @r#"
            🚧 *soc-a-001* takes nothing new until <time>: a new fan.
            Still in use: `soc-a-001` (run #1). I tell you when nothing is.
            To let it take new work again: `/lab undrain soc-a-001`
        "#);
        let second = lab.run("alice", "/run-test socA build-1").await;
        let why = lab.say_until("alice", &format!("/lab why {second}"), "draining").await;
        insta::assert_snapshot!(steady(&why), @r#"
            *#2* waits at place 1 in line.
            Boards that fit are out of service: `soc-a-001` (draining until <time>: a new fan).
        "#);
        insta::assert_snapshot!(say(lab, "alice", "/lab drain").await, @"🚧 *soc-a-001*: a new fan · @bob, <time> · until <time> · still in use: `soc-a-001` (run #1)");
        lab.say("alice", &format!("/lab cancel {first}")).await;
        let told = lab.direct("bob", "Nothing is on").await;
        insta::assert_snapshot!(steady(&told), @r#"
            boardhand: 🚧 Nothing is on *soc-a-001* any more, N s after you let it take nothing new: a new fan.
              To let it take new work again: `/lab undrain soc-a-001`
        "#);
        insta::assert_snapshot!(say(lab, "alice", "/lab boards socA").await, @r#"
            *Boards of socA*: 0 free, 0 busy, 1 out of service
            🚧 `soc-a-001` socA · Lab Site A · drains until <time>: a new fan
        "#);
        // Whoever may drain it works on it.
        let theirs = lab.say("alice", "/lab reserve soc-a-001 1h").await;
        assert!(theirs.contains("place 2 in line") && theirs.contains("draining until"), "{theirs}");
        lab.say("alice", "/lab release soc-a-001").await;
        let theirs = lab.say("bob", "/lab reserve soc-a-001 1h the fan").await;
        assert!(theirs.contains("is yours until"), "{theirs}");
        lab.say("bob", "/lab release soc-a-001").await;
        insta::assert_snapshot!(say(lab, "bob", "/lab undrain soc-a-001").await, @"✅ *soc-a-001* takes new work again. Whoever has it next starts by taking it over.");
        assert_eq!(lab.verdict(second).await, "passed in testing");
        insta::assert_snapshot!(say(lab, "bob", "/lab undrain soc-a-001").await, @r#"
            *soc-a-001* is not draining; there was nothing to do.
            What is: `/lab drain`
        "#);
        let audit = lab
            .rows("SELECT actor, verb, target, allowed FROM audit WHERE verb LIKE '%drain' ORDER BY position")
            .await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0ALICE | drain | soc-a-001 | 0
            slack:U0BOB | drain | soc-a-001 a new fan | 1
            slack:U0BOB | undrain | soc-a-001 | 1
            slack:U0BOB | undrain | soc-a-001 | 1
        "#);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_drains_is_not_held_after_a_failure_but_by_whoever_works_on_it() {
    lab(&closed(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        assert!(lab.verdict(run).await.starts_with("failed"));
        lab.settle().await;
        lab.say("bob", "/lab drain soc-a-001 2h a new fan").await;
        let seen = steady(&lab.say("alice", &format!("/lab hold {run}")).await);
        insta::assert_snapshot!(seen, @"✋ `soc-a-001` was not held: *soc-a-001* takes nothing new until <time> (@bob): a new fan.");
        let seen = lab.say("bob", &format!("/lab hold {run}")).await;
        assert!(seen.contains("is yours until"), "{seen}");
        lab.say("bob", "/lab release soc-a-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_works_on_a_board_has_it_also_where_they_were_in_line_before_it_drained() {
    lab(&closed(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        let place = lab.say("bob", "/lab reserve soc-a-001 1h the fan").await;
        assert!(place.contains("place 1 in line"), "{place}");
        lab.say("bob", "/lab drain soc-a-001").await;
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.direct("bob", "Nothing is on").await;
        let theirs = lab.say("bob", "/lab reserve soc-a-001 1h the fan").await;
        assert!(theirs.contains("is yours until"), "{theirs}");
        assert!(
            lab.rows("SELECT id FROM reservations").await.is_empty(),
            "and nobody waits for it in their name"
        );
        lab.say("bob", "/lab undrain soc-a-001").await;
        lab.say("bob", "/lab release soc-a-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_board_of_a_site_that_drains_is_told_and_keeps_it_to_its_end() {
    lab(&closed(2), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h DDR bring-up").await;
        insta::assert_snapshot!(say(lab, "bob", "/lab drain lab site a moving the rack").await, @r#"
            🚧 *Lab Site A* takes nothing new: moving the rack. It has 2 boards.
            Still in use: `soc-a-001` (@alice until <time>). I tell you when nothing is.
            To let it take new work again: `/lab undrain Lab Site A`
        "#);
        insta::assert_snapshot!(steady(&lab.direct("alice", "is needed").await), @r#"
            boardhand: 🚧 @bob lets *Lab Site A* take nothing new: moving the rack. `soc-a-001` stays yours until <time>, and cannot be extended.
              If you need it no more: `/lab release soc-a-001`
        "#);
        insta::assert_snapshot!(say(lab, "alice", "/lab extend soc-a-001 1h").await, @"✋ `soc-a-001` stays yours until <time> and was not extended: *Lab Site A* takes nothing new (@bob): moving the rack.");
        // What she runs on her own board runs.
        let own = lab.run("alice", "/run-test soc-a-001 build-1").await;
        assert_eq!(lab.verdict(own).await, "passed in testing");
        lab.say("bob", "/lab drain soc-a-002 the fan too").await;
        insta::assert_snapshot!(say(lab, "bob", "/lab undrain soc-a-002").await, @"*soc-a-002* itself drains no more, but *Lab Site A* does: moving the rack.");
        insta::assert_snapshot!(say(lab, "bob", "/lab drain Lab Site C 2h").await, @r#"
            ✋ There is no board and no site "Lab Site C 2h". Did you mean `Lab Site A`?
            Try: `/lab drain Lab Site A`
        "#);
        insta::assert_snapshot!(say(lab, "bob", "/lab drain soc-a-001 5s").await, @r#"
            ✋ A drain lasts from a minute to 90d; without a time it lasts until somebody ends it.
            Try: `/lab drain soc-a-001`
        "#);
        lab.say("alice", "/lab release soc-a-001").await;
        lab.direct("bob", "Nothing is on").await;
        lab.say("bob", "/lab undrain Lab Site A").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_by_itself_and_its_board_serves_whoever_waits() {
    lab(&closed(1), async |lab| {
        lab.say("bob", "/lab drain soc-a-001 1m").await;
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.say_until("alice", &format!("/lab why {run}"), "draining").await;
        // A minute goes by.
        lab.tamper("UPDATE drains SET ends_at = 1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        insta::assert_snapshot!(steady(&lab.direct("bob", "time is over").await), @"boardhand: ✅ The time is over: *soc-a-001* takes new work again. Whoever has it next starts by taking it over.");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_maintenance_window_nothing_new_begins() {
    let window = "maintenance:\n  network: {sites: [Lab Site A], cron: '* * * * *', lasts: 5m, reason: the switch is replaced}\n";
    let text = closed(1);
    lab(&format!("{text}{window}"), async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        let why = lab.say_until("alice", &format!("/lab why {run}"), "draining").await;
        insta::assert_snapshot!(steady(&why), @r#"
            *#1* waits at place 1 in line.
            Boards that fit are out of service: `soc-a-001` (draining until <time>: the switch is replaced).
        "#);
        insta::assert_snapshot!(say(lab, "alice", "/lab drain").await, @"🚧 *network*: the switch is replaced · Lab Site A · until <time>");
        lab.write_lab(&text);
        lab.say("lead", "/lab reload").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
