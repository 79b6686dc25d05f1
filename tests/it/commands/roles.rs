//! Roles: who may what, told to whoever may not, and kept on record.

use crate::lab::{lab, steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_hold_for_words_and_buttons_and_every_refusal_is_on_record() {
    let text =
        yaml::small(2) + "roles: {admin: [slack:U0LEAD], operator: [], user: [slack:U0ALICE, slack:U0BOB]}\n";
    lab(&text, async |lab| {
        lab.slack.add_person("U0GUEST", "guest");
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        lab.until_card(run, "Testing").await;
        let seen = lab
            .talk(&[
                ("guest", "/lab help cancel"),
                ("guest", "/lab boards"),
                ("guest", "/run-test socA build-1"),
                ("bob", "/lab cancel 1"),
                ("bob", "/lab power soc-a-002 on"),
                ("bob", "/lab power soc-a-002 status"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            guest> /lab help cancel
                `/lab cancel <#>`
                End a run; other people's runs need an operator.
                For example: `/lab cancel #42`

            guest> /lab boards
                🔒 You have no role in this lab and may not look at boards.
                It needs the role `user`; a lab admin gives it in boards.yaml.

            guest> /run-test socA build-1
                🔒 You have no role in this lab and may not start runs.
                It needs the role `user`; a lab admin gives it in boards.yaml.

            bob> /lab cancel 1
                🔒 Only an operator may cancel other people's runs; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.

            bob> /lab power soc-a-002 on
                🔒 Only an operator may switch a board's power; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.

            bob> /lab power soc-a-002 status
                🔌 Asking `soc-a-002`… I'll tell you how it went.
        "#);
        lab.answer("bob").await;
        insta::assert_snapshot!(lab.click("bob", run, "Power Cycle").await, @r#"
            🔒 Only an operator may power-cycle other people's runs; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
        "#);
        insta::assert_snapshot!(lab.click("bob", run, "Cancel").await, @r#"
            🔒 Only an operator may cancel other people's runs; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
        "#);
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab cancel 1").await), @"🚫 #1 is being ended: its board is brought to rest first. The card will tell.");
        lab.settle().await;
        let audit = lab.rows("SELECT actor, verb, target, allowed, reason FROM audit ORDER BY position").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0ALICE | run-test | socA build-crawl | 1 | slack:U0ALICE is a user and may start runs
            slack:U0GUEST | boards |  | 0 | slack:U0GUEST has no role in this lab and may not look at boards
            slack:U0GUEST | run-test | socA build-1 | 0 | slack:U0GUEST has no role in this lab and may not start runs
            slack:U0BOB | cancel | #1 | 0 | only an operator may cancel other people's runs; slack:U0BOB is a user
            slack:U0BOB | power | soc-a-002 on | 0 | only an operator may switch a board's power; slack:U0BOB is a user
            slack:U0BOB | power | soc-a-002 status | 1 | slack:U0BOB is a user and may read a board's power
            slack:U0BOB | power-cycle | soc-a-001 cycle | 0 | only an operator may power-cycle other people's runs; slack:U0BOB is a user
            slack:U0BOB | cancel | #1 | 0 | only an operator may cancel other people's runs; slack:U0BOB is a user
            slack:U0LEAD | cancel | #1 | 1 | slack:U0LEAD is an admin and may cancel other people's runs
        "#);
        lab.read_all();
    })
    .await;
}
