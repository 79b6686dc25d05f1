//! Boards out of order, as people see them: taken out of service and put back by chat, found by health runs, told to
//! their owner.

use std::time::Duration;

use crate::lab::{CHANNEL, Lab, WITHIN, lab, steady, yaml};

/// Waits until something holds in the lab.
async fn until(lab: &Lab, what: &str, holds: impl AsyncFn(&Lab) -> bool) {
    let waiting = async {
        while !holds(lab).await {
            lab.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    if lab.clock.timeout(WITHIN, waiting).await.is_err() {
        panic!("there was never {what}:\n{}", lab.slack.render_channel(crate::lab::CHANNEL));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_board_ends_its_run_and_gets_no_other() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_card(run, "Testing").await;
        let seen = lab
            .talk(&[
                ("bob", "/lab quarantine soc-a-001"),
                ("bob", "/lab quarantine soc-a-01 the fan is dead"),
                ("bob", "/lab quarantine soc-a-001 the fan is dead, baud=9600 helps <!channel>"),
                ("lead", "/lab 隔离 soc-a-001 again"),
                ("bob", "/lab boards socA"),
                ("bob", "/lab board soc-a-001"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab quarantine soc-a-001
                🤔 'quarantine' needs a reason.
                Usage: `/lab quarantine <board> <reason>`
                Try: `/lab quarantine soc-a-001 the fan is dead`
                `/lab help` shows what I can do.

            bob> /lab quarantine soc-a-01 the fan is dead
                ✋ There is no board "soc-a-01". Did you mean `soc-a-001`?
                Try: `/lab quarantine soc-a-001 the fan is dead`

            bob> /lab quarantine soc-a-001 the fan is dead, baud=9600 helps <!channel>
                🟠 `soc-a-001` is out of service: The fan is dead, baud=9600 helps !channel.
                Run #1 is on it and goes on to its end; nothing new is granted there.
                To put it back: `/lab return soc-a-001`

            lead> /lab 隔离 soc-a-001 again
                `soc-a-001` is quarantined already; nothing was changed: the fan is dead, baud=9600 helps !channel (@bob, <time>).

            bob> /lab boards socA
                *Boards of socA*: 0 free, 1 busy
                🔵 `soc-a-001` socA · Lab Site A · run #1 since <time> · leaving service · the fan is dead, baud=9600 helps !channel (@bob, <time>)

            bob> /lab board soc-a-001
                soc-a-001
                *State* 🔵 busy: run #1 since <time>
                *Remark* the fan is dead, baud=9600 helps !channel (@bob, <time>; nothing new is granted)
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                Suites: `smoke` (iterations=…), `trivial`
        "#);
        let next = lab.run("alice", "/run-test socA build-1").await;
        lab.say("alice", "/lab cancel 1").await;
        lab.until_state(run, "finished").await;
        until(lab, "no lease", async |lab| lab.store.census().await.expect("census").leases == 0).await;
        let why = lab.talk(&[("alice", "/lab why 2"), ("alice", "/lab boards socA")]).await;
        insta::assert_snapshot!(why, @r#"
            alice> /lab why 2
                *#2* waits at place 1 in line.
                Boards that fit are out of service: `soc-a-001` (quarantined: the fan is dead, baud=9600 helps !channel).

            alice> /lab boards socA
                *Boards of socA*: 0 free, 0 busy, 1 out of service
                🟠 `soc-a-001` socA · Lab Site A · the fan is dead, baud=9600 helps !channel (@bob, <time>)
        "#);
        lab.say("bob", "/lab return soc-a-001").await;
        assert!(lab.verdict(next).await.starts_with("passed"));
        let audit = lab.rows("SELECT actor, verb, target, reason FROM audit WHERE verb IN ('quarantine', 'return')").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0BOB | quarantine | soc-a-001 the fan is dead, baud=9600 helps !channel | slack:U0BOB is an operator of this open lab and may take boards out of service
            slack:U0LEAD | quarantine | soc-a-001 again | slack:U0LEAD is an operator of this open lab and may take boards out of service
            slack:U0BOB | return | soc-a-001 | slack:U0BOB is an operator of this open lab and may put boards back into service
        "#);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// The message about a board that left service.
fn news(lab: &Lab) -> Option<String> {
    let is_news = |text: &str| text.contains("is out of service: it ");
    lab.slack.with(|world| {
        let mut all = world.channels.values().flat_map(|channel| &channel.messages);
        all.find(|message| is_news(&message.text)).map(|message| message.ts.clone())
    })
}

/// How the last health run of a board ended.
async fn checked(lab: &Lab) -> String {
    lab.rows("SELECT id, checked_by, checked_verdict FROM boards WHERE checked_by IS NOT NULL")
        .await
        .join("; ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_fails_is_checked_leaves_service_and_its_owner_is_told_once() {
    lab(&yaml::checked(2, "after_infra: true, quarantine_after: 2"), async |lab| {
        let sim = lab.boards.board("soc-a-001").expect("board");
        sim.set_faults(|faults| faults.refuse = true);
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing after infra console-unreachable");
        until(lab, "a quarantine", async |lab| news(lab).is_some()).await;
        let news = news(lab).expect("just seen");
        lab.settle().await;
        insta::assert_snapshot!(steady(&lab.slack.render_thread(CHANNEL, &news)), @r#"
            boardhand: 🟠 `soc-a-001` is out of service: it failed 2 times in a row, the last time in #2: console-unreachable. @lead
              lab:port refused the connection.
              Nothing new is granted on it; runs that wait go to other boards.
              Look at it, then put it back: `/lab return soc-a-001` · Console log
              [Return to service]
        "#);
        let seen = [("alice", "/lab runs"), ("alice", "/lab board soc-a-001"), ("alice", "/lab retry 2")];
        insta::assert_snapshot!(lab.talk(&seen).await, @r#"
            alice> /lab runs
                *Runs*: on boards, waiting, ended last
                *#1* ✅ Passed · socA · `build-1` · smoke by @alice · <time>

            alice> /lab board soc-a-001
                soc-a-001
                *State* 🟠 quarantined
                *Remark* it failed 2 times in a row, the last time in #2: console-unreachable (boardhand, <time>)
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                *Health check* #2 ⚠️ Lab trouble, <time>
                *Owner* @lead
                *Last used* <time>
                Suites: `smoke` (iterations=…), `trivial`

            alice> /lab retry 2
                ✋ #2 is a health run; boardhand starts them.
                Try: `/lab board soc-a-001`
        "#);
        sim.set_faults(|faults| faults.refuse = false);
        for expect in ["is back in service", "is not quarantined"] {
            lab.slack.click("lead", &news, "Return to service").await;
            let answer = lab.answer("lead").await;
            assert!(answer.contains(expect), "{answer}");
        }
        until(lab, "a passed check", async |lab| checked(lab).await.contains("passed")).await;
        lab.settle().await;
        assert_eq!(checked(lab).await, "soc-a-001 | 3 | passed");
        insta::assert_snapshot!(lab.talk(&[("alice", "/lab board soc-a-001")]).await, @r#"
            alice> /lab board soc-a-001
                soc-a-001
                *State* 🟢 free
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                *Health check* #3 ✅ Passed, <time>
                *Owner* @lead
                *Last used* <time>
                Suites: `smoke` (iterations=…), `trivial`
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_default_channel_the_owner_hears_of_it_in_a_direct_message() {
    let text = yaml::checked(1, "quarantine_after: 1").replace("channels: {default: 'slack:C0SOCCI'}\n", "");
    lab(&text, async |lab| {
        lab.boards.board("soc-a-001").expect("board").set_faults(|faults| faults.refuse = true);
        let run = lab.run("alice", "/run-test socA build-1").await;
        until(lab, "a quarantine", async |lab| news(lab).is_some()).await;
        let direct = lab.slack.with(|world| {
            let lead = world.user("lead").map(|user| user.id.clone());
            let mut direct =
                world.channels.values().filter(|channel| channel.dm_of.is_some() && channel.dm_of == lead);
            direct.any(|channel| {
                channel.messages.iter().any(|m| m.text.contains("soc-a-001 is out of service"))
            })
        });
        assert!(direct, "{}", lab.slack.render_channel(CHANNEL));
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
