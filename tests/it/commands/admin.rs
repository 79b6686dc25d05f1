//! What whoever runs the lab asks: messages that could not be sent, and who was allowed or refused what.

use boardhand::sim::slack::ApiFault;

use crate::lab::{CHANNEL, Lab, lab, steady, yaml};

fn with_admin() -> String {
    yaml::small(2) + "roles: {admin: [slack:U0LEAD]}\n"
}

/// The messages of the bot in the channel, and whether each has a thread.
fn told(lab: &Lab) -> Vec<String> {
    let posts = lab.slack.channel(CHANNEL);
    posts.iter().filter(|m| m.user == "U0BOT").map(|m| m.text.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_sent_is_listed_with_its_reason_and_sent_again_with_its_thread() {
    lab(&with_admin(), async |lab| {
        lab.slack.break_calls("chat.postMessage", ApiFault::Error("invalid_blocks".into()), u32::MAX);
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        assert_eq!(told(lab), [""; 0]);
        let seen = lab
            .talk(&[
                ("alice", "/lab deadletters"),
                ("alice", "/lab resend 1"),
                ("lead", "/lab resend 7"),
                ("lead", "/lab resend some"),
                ("lead", "/lab deadletters"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab deadletters
                🔒 Only an admin may look at messages that were not sent; you are a user.
                It needs the role `admin`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            alice> /lab resend 1
                🔒 Only an admin may send messages again; you are a user.
                It needs the role `admin`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            lead> /lab resend 7
                ✋ There is no dead letter 7.
                Try: `/lab deadletters`

            lead> /lab resend some
                🤔 'number' cannot be 'some': it must be a whole number from 1 to 4294967295.
                Usage: `/lab resend <number|all>`
                Try: `/lab resend 3`
                `/lab help` shows what I can do.

            lead> /lab deadletters
                *2 messages* could not be sent, the newest first
                *2* outcome of #1 for `slack:C0SOCCI` · invalid_blocks, then invalid_blocks · owed since <time>, N s ago
                *1* card of #1 for `slack:C0SOCCI` · invalid_blocks · owed since <time>, N s ago
                Mend the reason, then send one again, with what was to stand in its thread: `/lab resend 2`, or all of them: `/lab resend all`
        "#);
        lab.slack.heal();
        // The outcome is told in the channel itself, since its card is not there; then the card, with its thread.
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab letters resend 2").await), @r#"
            📨 Dead letter *2* is on its way again. What fails for the same reason comes back to `/lab deadletters`.
        "#);
        lab.settle().await;
        assert_eq!(told(lab), ["#1 Passed: 23 passed"]);
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab resend all").await), @r#"
            📨 *1 message* is on its way again. What fails for the same reason comes back to `/lab deadletters`.
        "#);
        lab.settle().await;
        let card = "#1 socA · build-1 · smoke: ✅ Passed (23 passed)";
        assert_eq!(told(lab), ["#1 Passed: 23 passed", card]);
        let posts = lab.slack.channel(CHANNEL);
        let ts = posts.iter().find(|m| m.text == card).map(|m| m.ts.clone()).expect("the card");
        let thread = lab.slack.thread(CHANNEL, &ts);
        assert!(thread.iter().any(|m| m.text == "#1: soc-a-001 is up, testing"), "{thread:#?}");
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab resend all").await), @r#"
            ✅ Every message was sent, or still is.
        "#);
        assert_eq!(lab.store.census().await.expect("census").dead, 0);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_came_too_late_for_its_window_reaches_the_one_who_asked() {
    lab(&with_admin(), async |lab| {
        for method in ["chat.postEphemeral", "chat.postMessage"] {
            lab.slack.break_calls(method, ApiFault::Error("invalid_blocks".into()), 1);
        }
        lab.slack.say("bob", CHANNEL, "@boardhand why 7").await;
        lab.settle().await;
        let listed = lab.say_until("lead", "/lab deadletters", "invalid_blocks").await;
        assert!(listed.contains("*1* answer for `slack:C0SOCCI`, `U0BOB`"), "{listed}");
        lab.say("lead", "/lab resend 1").await;
        lab.settle().await;
        assert!(lab.answer("bob").await.contains("no run #7"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_reads_who_was_allowed_what_by_person_by_board_and_by_run() {
    lab(&with_admin(), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_card(run, "Testing").await;
        lab.say("bob", "/lab cancel 1").await;
        lab.say("bob", "/lab power soc-a-002 on").await;
        lab.say("lead", "/lab quarantine soc-a-002 the fan is dead").await;
        lab.say("lead", "/lab cancel 1").await;
        lab.settle().await;
        let seen = lab
            .talk(&[
                ("bob", "/lab audit"),
                ("lead", "/lab audit"),
                ("lead", "/lab audit <@U0BOB|bob>"),
                ("lead", "/lab audit slack:U0ALICE"),
                ("lead", "/lab audit SOC-A-002"),
                ("lead", "/lab audit 1h #1 refused"),
                ("lead", "/lab audit soc-b-001"),
                ("lead", "/lab audit 1h 2h"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab audit
                🔒 Only an admin may look at who did what; you are a user.
                It needs the role `admin`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            lead> /lab audit
                *Who did what*
                🔒 <time> `slack:U0BOB` *audit*
                only an admin may look at who did what; slack:U0BOB is a user
                ✅ <time> `slack:U0LEAD` *cancel* `#1`
                slack:U0LEAD is an admin and may cancel other people's runs
                ✅ <time> `slack:U0LEAD` *quarantine* `soc-a-002 the fan is dead`
                slack:U0LEAD is an admin and may take boards out of service
                🔒 <time> `slack:U0BOB` *power* `soc-a-002 on`
                only an operator may switch a board's power; slack:U0BOB is a user
                🔒 <time> `slack:U0BOB` *cancel* `#1`
                only an operator may cancel other people's runs; slack:U0BOB is a user
                ✅ <time> `slack:U0ALICE` *run-test* `socA build-crawl`
                slack:U0ALICE is a user and may start runs

            lead> /lab audit <@U0BOB|bob>
                *Who did what* · `slack:U0BOB`
                🔒 <time> `slack:U0BOB` *audit*
                only an admin may look at who did what; slack:U0BOB is a user
                🔒 <time> `slack:U0BOB` *power* `soc-a-002 on`
                only an operator may switch a board's power; slack:U0BOB is a user
                🔒 <time> `slack:U0BOB` *cancel* `#1`
                only an operator may cancel other people's runs; slack:U0BOB is a user

            lead> /lab audit slack:U0ALICE
                *Who did what* · `slack:U0ALICE`
                ✅ <time> `slack:U0ALICE` *run-test* `socA build-crawl`
                slack:U0ALICE is a user and may start runs

            lead> /lab audit SOC-A-002
                *Who did what* · `soc-a-002`
                ✅ <time> `slack:U0LEAD` *quarantine* `soc-a-002 the fan is dead`
                slack:U0LEAD is an admin and may take boards out of service
                🔒 <time> `slack:U0BOB` *power* `soc-a-002 on`
                only an operator may switch a board's power; slack:U0BOB is a user

            lead> /lab audit 1h #1 refused
                *Who did what* · `#1` · refused only · since <time>
                🔒 <time> `slack:U0BOB` *cancel* `#1`
                only an operator may cancel other people's runs; slack:U0BOB is a user

            lead> /lab audit soc-b-001
                *Who did what* · `soc-b-001`
                Nothing like that is on record. People are named with @ or as slack:U0LEAD, boards by their name, runs as #42.

            lead> /lab audit 1h 2h
                🤔 '2h' is a word too many for 'audit'.
                Usage: `/lab audit [who|board|#] [2h] [refused] [before=1234]`
                Try: `/lab audit 1h`
                `/lab help` shows what I can do.
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_record_is_read_page_by_page_and_never_tells_a_secret() {
    let text = with_admin().replace("telnet_password: root", "telnet_password: hunter2-hunter2");
    lab(&text, async |lab| {
        for _ in 0..20 {
            lab.say("bob", "/lab power soc-a-001 off").await;
        }
        lab.say("bob", "/lab power hunter2-hunter2 off").await;
        let first = lab.say("lead", "/lab audit 1d refused").await;
        assert_eq!(first.matches("🔒").count(), 20, "{first}");
        assert!(first.contains("[redacted] off") && !first.contains("hunter2"), "{first}");
        let (_, next) = first.rsplit_once("Older: `").expect("there is more");
        assert_eq!(next.trim(), "/lab audit 1d refused before=2`");
        let second = lab.say("lead", next.trim().trim_end_matches('`')).await;
        assert_eq!(second.matches("🔒").count(), 1, "{second}");
        assert!(!second.contains("Older"), "{second}");
    })
    .await;
}
