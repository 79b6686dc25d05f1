//! A power cycle of a board that somebody else has: refused to those who may not take boards away, asked again of those who
//! may, and done under the holder's own lease.

use crate::lab::{Lab, lab, steady, yaml};

const ROLES: &str = "roles: {admin: ['slack:U0LEAD'], operator: ['slack:U0BOB'], user: ['*']}\n";
const ANYWAY: &str = "Power cycle anyway";

/// The answer with this button that somebody got last.
fn question(lab: &Lab, user: &str) -> String {
    let answers = lab.slack.ephemerals(user);
    let asked = answers.iter().rfind(|answer| answer.blocks.to_string().contains(ANYWAY));
    asked.unwrap_or_else(|| panic!("{user} is asked nothing:\n{}", lab.slack.render_answers(user))).ts.clone()
}

async fn cycles(lab: &Lab) -> Vec<String> {
    lab.rows("SELECT action, over_fence, answer IS NOT NULL FROM errands ORDER BY asked_at, id").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_take_boards_away_is_asked_again_and_cycles_it_under_the_holders_lease_once() {
    lab(&(yaml::small(1) + ROLES), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-001 cycle").await), @r#"
            ✋ `soc-a-001` was not power-cycled: @alice has it until <time> (DDR bring-up).
            You may do it anyway: what runs there is lost, the board stays theirs, and they are told that it was you.
            [Power cycle anyway] [Leave it] [Ask whether they need it] [Notify me when it is free]
        "#);
        let asked = question(lab, "bob");
        for _ in 0..10 {
            assert_eq!(lab.slack.click("bob", &asked, ANYWAY).await.status, 200);
        }
        let told = lab.answers_until("bob", "was power-cycled").await;
        assert_eq!(told.matches("was power-cycled").count(), 1, "{told}");
        insta::assert_snapshot!(lab.direct("alice", "").await, @r#"
            boardhand: ⚡ @bob power-cycles `soc-a-001` now, knowing that it is yours: what runs there is lost. It stays yours until <time> (DDR bring-up).
              [Extend 1 h] [Release]
        "#);
        assert_eq!(cycles(lab).await, ["cycle | 1 | 1"]);
        let leases = lab.rows("SELECT fence, state, holder FROM leases").await;
        assert!(leases.len() == 1 && leases[0].starts_with("1 | held") && leases[0].contains("U0ALICE"), "{leases:?}");
        let audit = lab.rows("SELECT DISTINCT actor, verb, target, allowed, reason FROM audit WHERE verb = 'power'").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0BOB | power | soc-a-001 cycle | 1 | slack:U0BOB is an operator and may take other people's boards away; under the lease of slack:U0ALICE
        "#);
        assert_eq!(lab.slack.click("bob", &asked, "Leave it").await.status, 200);
        lab.answers_until("bob", "soc-a-001 is left as it is").await;
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_told_that_the_cycle_failed_which_they_were_told_of() {
    lab(&(yaml::small(1) + ROLES), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        lab.say("bob", "/lab power soc-a-001 cycle").await;
        let pdu = lab.boards.pdu("pdu-a").expect("the PDU of the lab");
        pdu.set_faults(|faults| faults.error = Some("outlet 7 is on fire".into()));
        lab.slack.click("bob", &question(lab, "bob"), ANYWAY).await;
        let told = lab.answers_until("bob", "was not power-cycled").await;
        assert!(told.contains("outlet 7 is on fire"), "{told}");
        let told = lab.direct("alice", "failed").await;
        assert!(told.contains("@bob power-cycles `soc-a-001` now"), "{told}");
        assert!(
            told.contains("that @bob asked for failed") && told.contains("outlet 7 is on fire"),
            "{told}"
        );
        // It was theirs, and is: who cycles their own board is told once, by the answer.
        lab.say("alice", "/lab power soc-a-001 cycle").await;
        lab.answers_until("alice", "was not power-cycled").await;
        pdu.set_faults(|faults| faults.error = None);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        let told = lab.slack.render_channel("D0ALICE");
        assert_eq!(told.matches("asked for failed").count(), 1, "{told}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_changed_hands_is_asked_for_again_naming_who_has_it_now() {
    lab(&(yaml::small(1) + ROLES), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        lab.say("bob", "/lab power soc-a-001 cycle").await;
        let asked = question(lab, "bob");
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.say("lead", "/lab reserve soc-a-001 1h demo").await;
        lab.read_all();
        lab.slack.click("bob", &asked, ANYWAY).await;
        insta::assert_snapshot!(lab.answer("bob").await, @r#"
            ✋ `soc-a-001` was not power-cycled: @lead has it until <time> (demo).
            You may do it anyway: what runs there is lost, the board stays theirs, and they are told that it was you.
            [Power cycle anyway] [Leave it] [Ask whether they need it] [Notify me when it is free]
        "#);
        assert!(cycles(lab).await.is_empty(), "nothing was switched");
        // Nobody has it any more: then it is cycled as any free board.
        let again = question(lab, "bob");
        assert_ne!(again, asked);
        lab.say("lead", "/lab release").await;
        lab.settle().await;
        for _ in 0..3 {
            lab.slack.click("bob", &again, ANYWAY).await;
        }
        lab.answers_until("bob", "was power-cycled").await;
        lab.settle().await;
        assert_eq!(cycles(lab).await, ["cycle | - | 1"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_take_boards_away_is_refused_also_with_anothers_button() {
    let verbs = "permissions: {verbs: {power: user}}\n";
    lab(&(yaml::small(1) + ROLES + verbs), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        lab.slack.add_person("U0CARL", "carl");
        insta::assert_snapshot!(steady(&lab.say("carl", "/lab power soc-a-001 cycle").await), @r#"
            ✋ `soc-a-001` was not power-cycled: @alice has it until <time>.
            [Ask whether they need it] [Notify me when it is free]
        "#);
        lab.say("bob", "/lab power soc-a-001 cycle").await;
        let asked = question(lab, "bob");
        lab.read_all();
        lab.slack.click("carl", &asked, ANYWAY).await;
        insta::assert_snapshot!(lab.answer("carl").await, @r#"
            🔒 Only an operator may take other people's boards away; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
            A lab admin who can change that: @lead
        "#);
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-001 off").await), @r#"
            ✋ `soc-a-001` was not switched off: @alice has it until <time>.
            [Ask whether they need it] [Notify me when it is free]
        "#);
        assert!(cycles(lab).await.is_empty());
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_with_a_run_on_it_is_cycled_by_that_run() {
    lab(&(yaml::small(1) + ROLES), async |lab| {
        let first = lab.run("alice", "/run-test socA build-1").await;
        assert!(lab.verdict(first).await.starts_with("passed"));
        lab.settle().await;
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        let asked = steady(&lab.say("bob", "/lab power soc-a-001 cycle").await);
        insta::assert_snapshot!(asked, @r#"
            ✋ `soc-a-001` was not power-cycled: run #2 has it.
            #2 is on it: a power cycle ends that attempt, and its card tells who asked.
            [Power cycle anyway] [Leave it] [Notify me when it is free]
        "#);
        lab.slack.click("bob", &question(lab, "bob"), ANYWAY).await;
        assert!(lab.verdict(run).await.starts_with("infra power-cycled"), "{}", lab.verdict(run).await);
        lab.settle().await;
        assert!(lab.thread(run).contains("@bob power-cycled"), "{}", lab.thread(run));
        assert!(cycles(lab).await.is_empty(), "the run did it");
        lab.read_all();
    })
    .await;
}
