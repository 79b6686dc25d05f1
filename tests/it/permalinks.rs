//! Links to cards: where a message names another run, its number leads to that run's card. What no address is known of is a
//! number.

use boardhand::sim::slack::ApiFault;

use crate::lab::{CHANNEL, Lab, WITHIN, lab, yaml};

/// Where Slack says that a run's card stands.
fn address(lab: &Lab, run: i64) -> String {
    format!("{}archives/C0SOCCI/p{}", lab.slack.url(), lab.card(run).replace('.', ""))
}

/// A run's card as the API got it.
fn card(lab: &Lab, run: i64) -> String {
    let ts = lab.card(run);
    lab.slack.with(|world| world.message(CHANNEL, &ts).expect("a card").blocks.to_string())
}

/// Waits until the addresses of so many cards were asked for.
async fn until_asked(lab: &Lab, times: u64) {
    let kept = async {
        let linked = "SELECT count(*) FROM cards WHERE link IS NOT NULL";
        while lab.rows(linked).await != [times.to_string()] {
            lab.clock.sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    lab.clock.timeout(WITHIN, kept).await.expect("the addresses are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_a_message_names_leads_to_its_card() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(run, "Failed").await;
        until_asked(lab, 1).await;
        lab.click("bob", run, "Retry").await;
        lab.until_card(2, "Failed").await;
        until_asked(lab, 2).await;
        // The new card leads to the old one, and the other way round with its next state.
        assert!(card(lab, 2).contains(&format!("Repeats <{}|#1>", address(lab, 1))), "{}", card(lab, 2));
        lab.click("bob", 1, "Retry").await;
        lab.until_card(1, "#3").await;
        lab.until_card(3, "Failed").await;
        assert!(card(lab, 1).contains(&format!("<{}|#2>", address(lab, 2))), "{}", card(lab, 1));
        until_asked(lab, 3).await;
        // So do lists, which are read by one person.
        lab.say("alice", "/lab runs").await;
        let list = lab.slack.ephemerals("alice").pop().expect("a list").blocks.to_string();
        for run in 1..=3 {
            assert!(list.contains(&format!("*<{}|#{run}>*", address(lab, run))), "{list}");
        }
        lab.settle().await;
        assert_eq!(lab.slack.calls("chat.getPermalink"), 3, "each is asked for once");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_address_is_given_the_number_stands_alone_and_nobody_waits() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.break_calls("chat.getPermalink", ApiFault::Error("channel_not_found".into()), u32::MAX);
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(run, "Failed").await;
        lab.click("bob", run, "Retry").await;
        lab.until_card(2, "Repeats #1").await;
        assert!(lab.say("alice", "/lab runs").await.contains("*#1*"));
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_told_in_two_channels_is_led_to_in_the_one_where_it_is_read() {
    let mirrored = yaml::small(1) + "channels:\n  mirrors: [{from: slack:C0SOCCI, to: slack:C0BRINGUP}]\n";
    lab(&mirrored, async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(run, "Failed").await;
        until_asked(lab, 2).await;
        lab.click("bob", run, "Retry").await;
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        for channel in ["C0SOCCI", "C0BRINGUP"] {
            let cards = lab.slack.channel(channel);
            let of = |run: &str| cards.iter().find(|m| m.text.starts_with(run)).expect("a card");
            let there = format!("{}archives/{channel}/p{}", lab.slack.url(), of("#1 ").ts.replace('.', ""));
            assert!(of("#2 ").blocks.to_string().contains(&there), "{}", of("#2 ").blocks);
            cards.iter().for_each(|m| drop(lab.slack.thread(channel, &m.ts)));
        }
        lab.read_all();
    })
    .await;
}
