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
                A lab admin who can change that: @lead

            guest> /run-test socA build-1
                🔒 You have no role in this lab and may not start runs.
                It needs the role `user`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            bob> /lab cancel 1
                🔒 Only an operator may cancel other people's runs; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            bob> /lab power soc-a-002 on
                🔒 Only an operator may switch a board's power; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            bob> /lab power soc-a-002 status
                🔌 Asking `soc-a-002`… I'll tell you how it went.
        "#);
        lab.answer("bob").await;
        insta::assert_snapshot!(lab.click("bob", run, "Power Cycle").await, @r#"
            🔒 Only an operator may power-cycle other people's runs; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
            A lab admin who can change that: @lead
        "#);
        insta::assert_snapshot!(lab.click("bob", run, "Cancel").await, @r#"
            🔒 Only an operator may cancel other people's runs; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
            A lab admin who can change that: @lead
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_go_beyond_roles_and_every_refusal_says_which_rule_and_who_can_help() {
    let text = yaml::small(2)
        + "roles: {admin: [slack:U0LEAD]}\n\
           permissions:\n  verbs: {reserve: operator}\n  families: {socA: [slack:U0ALICE]}\n  channels: [slack:C0SOCCI]\n";
    lab(&text, async |lab| {
        lab.slack.add_channel("C0OTHER", "other", true);
        let seen = lab
            .talk(&[
                ("bob", "/run-test socA build-1"),
                ("bob", "/lab reserve soc-b-001"),
                ("bob", "/lab board soc-a-001"),
                ("lead", "/lab cancel 1"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /run-test socA build-1
                🔒 Boards of socA are not for everybody: you may not start runs there.
                Its boards are for those whom `permissions: families` of boards.yaml names.
                A lab admin who can change that: @lead

            bob> /lab reserve soc-b-001
                🔒 Only an operator may reserve boards; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            bob> /lab board soc-a-001
                soc-a-001
                *State* 🟢 free
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                Suites: `smoke` (iterations=…), `trivial`

            lead> /lab cancel 1
                ✋ There is no run #1.
                Try: `/lab runs`
        "#);
        let elsewhere = lab.slack.say("lead", "#other", "/lab boards").await.text;
        insta::assert_snapshot!(steady(&elsewhere), @r#"
            🔒 This is no channel in which you may look at boards.
            I take orders where `permissions: channels` of boards.yaml says, and in a direct message.
            A lab admin who can change that: @lead
        "#);
        assert!(lab.slack.say("bob", "#other", "/lab help why").await.text.contains("/lab why"));
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        // A button is asked the same.
        let refused = lab.click("bob", run, "Retry").await;
        assert!(refused.contains("Boards of socA are not for everybody"), "{refused}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_of_several_families_needs_a_permit_for_each_of_them() {
    let text = yaml::small(1).replace("Lab Site B", "Lab Site A")
        + "roles: {admin: [slack:U0LEAD], operator: [slack:U0BOB], user: [\"*\"]}\n\
           permissions: {families: {socA: [slack:U0ALICE]}}\n\
           schedules: {nightly: {cron: '0 3 * * *', run: socA build-1}}\n";
    lab(&text, async |lab| {
        let denied = "Boards of socA are not for everybody";
        for text in ["/lab drain soc-a-001", "/lab drain lab site a 2h", "/lab undrain Lab Site A"] {
            let seen = lab.say("bob", text).await;
            assert!(seen.contains(denied), "{text}: {seen}");
        }
        let seen = lab.say("bob", "/lab drain soc-b-001").await;
        assert!(seen.contains("takes nothing new"), "{seen}");
        lab.say("bob", "/lab undrain soc-b-001").await;
        let seen = lab.say("bob", "/lab schedules pause nightly").await;
        assert!(seen.contains(denied), "{seen}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_user_group_has_its_role_and_nobody_has_it_where_it_is_not_known_who_is_in() {
    let text = yaml::small(2)
        + "roles: {admin: [slack:U0LEAD], operator: [slack:S0OPS], user: ['*']}\n\
           permissions: {families: {socA: [slack:S0OPS]}}\n";
    lab(&text, async |lab| {
        let seen = lab
            .talk(&[
                ("alice", "/lab quarantine soc-a-001 the fan is dead"),
                ("bob", "/lab quarantine soc-a-001 the fan is dead"),
                ("alice", "/run-test socA build-123"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab quarantine soc-a-001 the fan is dead
                🔒 Only an operator may take boards out of service; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            bob> /lab quarantine soc-a-001 the fan is dead
                🟠 `soc-a-001` is out of service: The fan is dead.
                To put it back: `/lab return soc-a-001`

            alice> /run-test socA build-123
                🔒 Boards of socA are not for everybody: you may not start runs there.
                Its boards are for those whom `permissions: families` of boards.yaml names.
                A lab admin who can change that: @lead
        "#);
        let audit = lab.rows("SELECT reason FROM audit WHERE actor = 'slack:U0BOB'").await;
        insta::assert_snapshot!(audit.join("\n"), @"slack:U0BOB is an operator, being in slack:S0OPS, and may take boards out of service");
        lab.slack.set_scope("usergroups:read", false);
        lab.restart().await;
        insta::assert_snapshot!(lab.say("bob", "/lab return soc-a-001").await, @r#"
            🔒 Only an operator may put boards back into service; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
            A lab admin who can change that: @lead
            Nobody knows now who is in `slack:S0OPS` (missing_scope): until that is mended, nobody counts as one of them.
        "#);
        let ready = lab.get("/readyz").await;
        assert!(ready.contains("it is not known who is in slack:S0OPS (missing_scope)"), "{ready}");
        lab.slack.set_scope("usergroups:read", true);
        lab.restart().await;
        let returned = lab.say("bob", "/lab return soc-a-001").await;
        assert!(returned.contains("back in service"), "{returned}");
        lab.read_all();
    })
    .await;
}
