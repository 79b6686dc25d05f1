//! The form that starts a run, filled in by people: what it asks them, what it says at the field that is wrong, and where
//! the card appears. Over the webhook and over a socket.

use boardhand::sim::slack::{ApiFault, World};
use serde_json::json;

use crate::lab::{CHANNEL, Lab, WITHIN, lab, socket_lab, yaml};

/// Somebody types `/run-test` and nothing else, and gets a form.
async fn gets_a_form(lab: &Lab, user: &str) -> String {
    assert_eq!(lab.say(user, "/run-test").await, "", "nothing is said beside the form");
    lab.slack.form(user).expect("a form")
}

/// Somebody fills their form in, and submits it; gives what it says then.
async fn submits(lab: &Lab, user: &str, fields: &[(&str, &str)]) -> String {
    for (label, value) in fields {
        let filled = lab.slack.fill(user, label, value).await;
        assert_eq!((filled.status, filled.text.as_str()), (200, ""), "{label} {value}");
    }
    let said = lab.slack.submit(user).await;
    assert_eq!(said.status, 200);
    said.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_starts_a_run_from_a_form() {
    lab(&yaml::small(2), async |lab| {
        let form = gets_a_form(lab, "alice").await;
        assert_eq!(
            form,
            "== Run a test ==\nWhich boards: socA\nBuild: …\nTests: smoke\nOnly on (optional): …\nHow often: 1\n\
             iterations (optional): 1\n[Cancel] [Run]\n"
        );
        assert_eq!(submits(lab, "alice", &[("Build", "build-7"), ("iterations", "3")]).await, "");
        assert_eq!(lab.slack.form("alice"), None, "it is gone");
        assert_eq!(lab.verdict(1).await, "passed in testing");
        lab.settle().await;
        let view = lab.store.run_view(1).await.expect("store").expect("the run");
        assert_eq!(json!(view.run.spec.params), json!({ "iterations": 3 }));
        assert!(lab.thread(1).contains("#1 socA · build-7 · smoke"), "the card is where it was asked for");
        assert!(lab.slack.render_answers("alice").contains("*#1* socA · `build-7` · smoke"));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_at_its_field_and_put_right_there() {
    socket_lab(&yaml::small(2), async |lab| {
        gets_a_form(lab, "alice").await;
        let empty = submits(lab, "alice", &[]).await;
        assert!(empty.contains("Build: …\n  ! Please complete this required field."), "{empty}");
        let wrong = submits(lab, "alice", &[("Build", "b; reboot")]).await;
        assert!(wrong.contains("Build: b; reboot\n  ! 'b; reboot' is not a build"), "{wrong}");
        let wrong = submits(lab, "alice", &[("Build", "build-1"), ("iterations", "101")]).await;
        assert!(wrong.contains("iterations (optional): 101\n  ! Enter a number"), "{wrong}");

        let right = [("iterations", ""), ("Only on", "soc-a-002"), ("How often", "2")];
        assert_eq!(submits(lab, "alice", &right).await, "");
        lab.settle().await;
        for run in [1, 2] {
            let view = lab.store.run_view(run).await.expect("store").expect("the run");
            assert_eq!(view.attempts[0].board.as_str(), "soc-a-002");
        }
        assert_eq!(lab.store.run_view(3).await.expect("store"), None, "what was wrong started nothing");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_anew_when_another_family_is_chosen() {
    lab(&yaml::small(2), async |lab| {
        gets_a_form(lab, "alice").await;
        assert_eq!(lab.slack.fill("alice", "Build", "build-9").await.status, 200);
        assert_eq!(lab.slack.fill("alice", "Tests", "trivial").await.status, 200);
        let form = lab.slack.form("alice").expect("a form");
        assert!(form.contains("Tests: trivial\n") && !form.contains("iterations"), "{form}");
        assert_eq!(lab.slack.fill("alice", "Which boards", "socB").await.status, 200);
        assert_eq!(
            lab.slack.form("alice").expect("a form"),
            "== Run a test ==\nWhich boards: socB\nBuild: build-9\nTests: smoke\nHow often: 1\n[Cancel] [Run]\n",
            "what was typed stays, what socB has not is gone"
        );
        assert_eq!(submits(lab, "alice", &[]).await, "");
        assert_eq!(lab.verdict(1).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_is_submitted_again_starts_one_run() {
    lab(&yaml::small(2), async |lab| {
        lab.slack.set_delivery_faults(|faults| faults.duplicates = 4);
        gets_a_form(lab, "alice").await;
        assert_eq!(submits(lab, "alice", &[("Build", "build-1")]).await, "");
        let again = lab.slack.repeat_last(1, "http_timeout").await;
        assert_eq!((again.status, again.text.as_str()), (200, r#"{"response_action":"clear"}"#));
        lab.settle().await;
        assert_eq!(lab.store.run_view(2).await.expect("store"), None);
        assert_eq!(lab.slack.calls("views.open"), 5, "the repeats of the command find it open");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_form_can_be_opened_the_words_are_told() {
    lab(&yaml::small(1), async |lab| {
        let troubles = [
            ApiFault::Error("expired_trigger_id".into()),
            ApiFault::Error500,
            ApiFault::RateLimited(1),
            ApiFault::Slow(std::time::Duration::from_secs(5)),
        ];
        for trouble in troubles {
            lab.slack.break_calls("views.open", trouble.clone(), 1);
            let said = lab.say("alice", "/run-test").await;
            assert!(
                said.contains("'run-test' needs") && said.contains("Usage: `/run-test"),
                "{trouble:?}: {said}"
            );
            lab.slack.heal();
        }
        lab.slack.break_calls("views.open", ApiFault::Error("expired_trigger_id".into()), 1);
        assert_eq!(lab.slack.launch("alice", "run-form").await.status, 200);
        lab.slack
            .until(|world| world.channels["D0ALICE"].messages.len() == 1, WITHIN)
            .await
            .expect("who took it from Slack's own menu is told directly");
        assert!(lab.slack.render_channel("D0ALICE").contains("'run-test' needs"));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_slacks_own_menu_the_card_appears_in_the_channel_that_is_chosen_or_directly() {
    lab(&yaml::small(1), async |lab| {
        for channel in ["#soc-ci", ""] {
            assert_eq!(lab.slack.launch("bob", "run-form").await.status, 200);
            let form = lab.slack.form("bob").expect("a form");
            assert!(form.contains("Channel (optional): …\n"), "{form}");
            assert_eq!(submits(lab, "bob", &[("Build", "build-1"), ("Channel", channel)]).await, "");
            lab.settle().await;
        }
        assert!(lab.thread(1).starts_with("boardhand: #1 socA"));
        let direct = lab.slack.render_channel("D0BOB");
        assert!(direct.contains("#2 socA · build-1 · smoke"), "{direct}");

        lab.slack.set_scope("im:write", false);
        assert_eq!(lab.slack.launch("bob", "run-form").await.status, 200);
        let wrong = submits(lab, "bob", &[("Build", "build-1")]).await;
        assert!(
            wrong.contains("Channel (optional): …\n  ! I may not begin a conversation with you"),
            "{wrong}"
        );
        assert_eq!(submits(lab, "bob", &[("Channel", "#random")]).await, "", "the bot need not be in it");
        lab.settle().await;
        let told = lab.slack.render_channel("#random");
        assert!(told.contains("#3 socA · build-1 · smoke\n  *✅ Passed*"), "{told}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_start_nothing_gets_no_form_and_a_form_gives_no_rights() {
    let text = yaml::small(1) + "roles: {admin: ['slack:U0LEAD'], user: ['slack:U0ALICE']}\n";
    lab(&text, async |lab| {
        let said = lab.say("bob", "/run-test").await;
        assert!(said.contains("You have no role in this lab and may not start runs"), "{said}");
        assert_eq!(lab.slack.form("bob"), None);

        gets_a_form(lab, "alice").await;
        lab.write_lab(&text.replace("U0ALICE", "U0CAROL"));
        lab.say("lead", "/lab reload").await;
        lab.slack
            .until(|world| world.ephemerals.iter().any(|told| told.text.contains("reload")), WITHIN)
            .await
            .ok();
        lab.settle().await;
        let said = submits(lab, "alice", &[("Build", "build-1")]).await;
        assert!(said.contains("You have no role in this lab and may not start runs"), "{said}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_speaks_the_language_of_its_channel() {
    let text = yaml::small(2) + "channels: {locale: {slack: zh}}\n";
    lab(&text, async |lab| {
        let form = gets_a_form(lab, "alice").await;
        assert!(form.starts_with("== 运行测试 ==\n板卡系列: socA\n构建: …\n"), "{form}");
        let wrong = submits(lab, "alice", &[("构建", "b c")]).await;
        assert!(wrong.contains("构建: b c\n  ! "), "{wrong}");
        let words: String = wrong.lines().filter(|line| line.starts_with("  ! ")).collect();
        assert!(words.chars().any(|c| ('\u{4e00}'..'\u{9fff}').contains(&c)), "{words}");
        assert_eq!(lab.slack.thread(CHANNEL, "none").len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_the_home_sees_their_boards_and_runs_and_starts_one_there() {
    socket_lab(&yaml::small(2), async |lab| {
        let empty = lab.slack.open_home("alice").await.expect("a Home");
        assert!(
            empty.contains("You have no board of your own.") && empty.contains("[Run a test]"),
            "{empty}"
        );
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        let run = lab.run("bob", "/run-test socA build-7").await;
        lab.until_card(run, "Passed").await;
        let home = lab.slack.open_home("alice").await.expect("a Home");
        assert!(home.contains("🔒 `soc-a-001` until") && home.contains(": DDR bring-up"), "{home}");
        assert!(home.contains("#1") && home.contains("build-7"), "the lab's runs: {home}");
        assert!(home.contains("*Boards*: 2 free, 1 busy"), "{home}");
        // Its button opens the form, and nothing is said beside it.
        let pressed = lab.slack.press_home("alice", "Run a test").await;
        assert_eq!((pressed.status, pressed.text.as_str()), (200, ""));
        assert!(lab.slack.form("alice").expect("a form").contains("== Run a test =="));
        // A Home that cannot be drawn is no trouble: it is drawn when it is opened again.
        lab.slack.break_calls("views.publish", ApiFault::Error("internal_error".into()), 1);
        assert_eq!(lab.slack.open_home("alice").await.as_ref(), Some(&home), "what stood there before");
        lab.say("alice", "/lab release").await;
        let after = lab.slack.open_home("alice").await.expect("a Home");
        assert!(after.contains("You have no board of your own."), "{after}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_home_follows_what_becomes_of_its_readers_boards_and_runs() {
    lab(&yaml::small(2), async |lab| {
        let shown = async |says: &str, holds: bool| {
            let is_so = |world: &World| {
                let home = world.homes.get("U0ALICE").map(|home| home.drawn["blocks"].to_string());
                home.is_some_and(|home| home.contains(says) == holds)
            };
            assert!(lab.slack.until(is_so, WITHIN).await.is_ok(), "the Home never said {says:?}, or always");
        };
        lab.slack.open_home("alice").await.expect("a Home");
        shown("You have no board of your own.", true).await;
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        shown("DDR bring-up", true).await;
        // What Slack did not take is drawn again.
        lab.slack.break_calls("views.publish", ApiFault::RateLimited(1), 1);
        lab.say("alice", "/lab release").await;
        shown("DDR bring-up", false).await;
        let run = lab.run("alice", "/run-test socA build-77").await;
        lab.verdict(run).await;
        shown("build-77", true).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
