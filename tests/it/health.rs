//! Boards out of order, as people see them: taken out of service and put back by chat, found by health runs, told to
//! their owner.

use std::time::Duration;

use crate::lab::{Lab, WITHIN, lab, yaml};

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
                Try: `/lab board soc-a-001`

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
            slack:U0BOB | quarantine | soc-a-001 the fan is dead, baud=9600 helps !channel | slack:U0BOB is a user of an open lab and may take boards out of service
            slack:U0LEAD | quarantine | soc-a-001 again | slack:U0LEAD is a user of an open lab and may take boards out of service
            slack:U0BOB | return | soc-a-001 | slack:U0BOB is a user of an open lab and may put boards back into service
        "#);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
