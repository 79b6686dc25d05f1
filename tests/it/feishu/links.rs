//! One person over Slack and Feishu by a code that is given on one and typed on the other: one role, one requester, and two
//! again when they want.

use boardhand::sim::slack::SimSlack;

use super::{CHAT, How, Lab, lab_of};
use crate::lab::{CHANNEL, WITHIN, yaml};

const ROLES: &str = "roles: {admin: ['slack:U0ALICE'], user: ['*']}\n";

async fn both(test: impl AsyncFnOnce(&Lab, &SimSlack)) {
    lab_of(&(yaml::small(1) + ROLES), How::WithSlack, async |lab| {
        test(lab, lab.slack.as_ref().expect("Slack is there")).await;
    })
    .await;
}

/// The code in what somebody was told.
fn code(told: &str) -> String {
    let is_code = |word: &&str| word.len() == 9 && word.as_bytes()[4] == b'-';
    let words = told.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-'));
    words.into_iter().find(is_code).unwrap_or_else(|| panic!("no code in {told}")).to_owned()
}

/// Somebody writes in the chat, and is answered so.
async fn told(lab: &Lab, who: &str, words: &str, says: &str) -> String {
    assert_eq!(lab.feishu.say(who, CHAT, words).await, 200);
    let asked =
        lab.feishu.messages(CHAT).iter().rfind(|m| m.text == words).map(|m| m.id.clone()).expect("said");
    let answers =
        |m: &boardhand::sim::feishu::Message| m.root.as_deref() == Some(&asked) && m.shown().contains(says);
    let seen = lab.feishu.until(CHAT, WITHIN, |messages| messages.iter().any(answers)).await;
    assert!(seen.is_ok(), "{words} is not answered with {says:?}:\n{}", lab.feishu.render(CHAT));
    lab.feishu.messages(CHAT).iter().find(|m| answers(m)).expect("it was just there").shown()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_types_on_one_platform_what_they_were_given_on_the_other_is_one_person() {
    both(async |lab, slack| {
        told(lab, "ou_li", "audit", "🔒").await;
        let given = slack.say("alice", CHANNEL, "/lab link").await.text;
        assert!(given.contains("in Feishu") && given.contains("Tell nobody"), "{given}");
        let code = code(&given);
        let linked = told(lab, "ou_li", &format!("link {}", code.to_lowercase()), "are one person now").await;
        assert!(linked.contains("in Slack"), "{linked}");
        let known = slack.until(
            |world| world.channels["D0ALICE"].messages.iter().any(|m| m.text.contains("one person")),
            WITHIN,
        );
        known.await.expect("whoever was given the code is told");
        // Their role is theirs here, too, and so are their runs.
        told(lab, "ou_li", "audit", "link").await;
        told(lab, "ou_li", "run socA build-crawl", "#1").await;
        assert!(slack.say("alice", CHANNEL, "/lab runs mine").await.text.contains("*#1*"));
        // An admin is not talked into sharing what they may: they type no code of anybody's.
        let others = slack.say("bob", CHANNEL, "/lab link").await.text;
        told(lab, "ou_li", &format!("link {}", self::code(&others)), "types no code").await;
        // It is good once.
        told(lab, "ou_wu", &format!("link {code}"), "no such code").await;
        assert!(slack.say("alice", CHANNEL, "/lab link").await.text.contains("linked already"));
        assert!(slack.say("alice", CHANNEL, "/lab cancel 1").await.text.contains("#1"));
        let who = lab
            .store
            .audit_list(&boardhand::store::AuditFilter { limit: 50, ..Default::default() })
            .await
            .expect("the record");
        let linked = |one: &&boardhand::store::Decision| one.verb == "link" && one.actor == "feishu:ou_li";
        let link = who.decisions.iter().find(linked).expect("it is on record");
        assert_eq!((link.target.as_str(), link.allowed), ("with a code", true));
        // Two again, from either side.
        told(lab, "ou_li", "解绑", "two people again").await;
        told(lab, "ou_li", "audit", "🔒").await;
        assert!(slack.say("alice", CHANNEL, "/lab unlink").await.text.contains("not linked"));
        slack.channel("D0ALICE");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_feishu_is_given_in_private_and_guessing_comes_to_an_end() {
    both(async |lab, slack| {
        assert_eq!(lab.feishu.say("ou_li", CHAT, "绑定").await, 200);
        let given = lab.feishu.until("ou_li", WITHIN, |messages| !messages.is_empty()).await;
        given.expect("it comes to them directly");
        let given = lab.feishu.messages("ou_li")[0].shown();
        let code = code(&given);
        assert!(given.contains("in Slack") && !lab.feishu.render(CHAT).contains(&code), "{given}");
        told(lab, "ou_li", &format!("link {code}"), "typed on the other platform").await;
        for wrong in ["AAAA-AAAA", "2222-2222", "x", "K7QM2XTD", "QQQQ"] {
            let said = slack.say("bob", CHANNEL, &format!("/lab link {wrong}")).await.text;
            assert!(said.contains("no such code"), "{wrong}: {said}");
        }
        let said = slack.say("bob", CHANNEL, &format!("/lab link {code}")).await.text;
        assert!(said.contains("too many wrong codes"), "{said}");
        // Somebody else may.
        assert!(
            slack.say("lead", CHANNEL, &format!("/lab link {code}")).await.text.contains("one person now")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_boards_yaml_names_is_whom_that_says() {
    let people = "people: {li: {slack: U0ALICE, feishu: ou_li}}\n";
    lab_of(&(yaml::small(1) + people), How::WithSlack, async |lab| {
        let slack = lab.slack.as_ref().expect("Slack is there");
        assert!(slack.say("alice", CHANNEL, "/lab link").await.text.contains("boards.yaml says"));
        told(lab, "ou_li", "unlink", "boards.yaml says").await;
    })
    .await;
}
