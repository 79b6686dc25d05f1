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

/// Whom the record names for this, the newest first.
async fn record(lab: &Lab, verb: &str) -> Vec<String> {
    let filter = boardhand::store::AuditFilter { limit: 50, ..Default::default() };
    let who = lab.store.audit_list(&filter).await.expect("the record");
    let of = who.decisions.into_iter().filter(|one| one.verb == verb && one.target != "/lab link");
    of.map(|one| one.target).collect()
}

/// Somebody types a code in the chat, and is answered so where nobody else reads it.
async fn typed(lab: &Lab, who: &str, code: &str, says: &str) -> String {
    let known = lab.feishu.messages(who).len();
    assert_eq!(lab.feishu.say(who, CHAT, &format!("link {code}")).await, 200);
    let seen = lab.feishu.until(who, WITHIN, |messages| messages.len() > known).await;
    assert!(seen.is_ok(), "{code} is not answered:\n{}", lab.feishu.render(CHAT));
    let answer = lab.feishu.messages(who)[known].shown();
    assert!(answer.contains(says), "{code} is answered with {answer}, not {says:?}");
    assert!(!lab.feishu.render(CHAT).contains(&answer), "{answer}");
    answer
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
        told(lab, "ou_li", "watch socA", "socA").await;
        let given = slack.say("alice", CHANNEL, "/lab link").await.text;
        assert!(given.contains("in Feishu") && given.contains("Tell nobody"), "{given}");
        let code = code(&given);
        // Typing it once changes nothing, but that they read whose it is and what follows.
        let asked = typed(lab, "ou_li", &code.to_lowercase(), "Is that you yourself?").await;
        assert!(asked.contains("U0ALICE") && asked.contains("quota and roles are theirs"), "{asked}");
        assert_eq!(lab.store.link_list().await.expect("links"), []);
        typed(lab, "ou_wu", &code, "no such code").await;
        // The same once more is asked once more: people repeat themselves where they see no answer.
        typed(lab, "ou_li", &code, "Is that you yourself?").await;
        assert_eq!(lab.store.link_list().await.expect("links"), []);
        let linked = typed(lab, "ou_li", &format!("{code} yes"), "are one person now").await;
        assert!(linked.contains("in Slack"), "{linked}");
        let known = slack.until(
            |world| {
                world.channels["D0ALICE"]
                    .messages
                    .iter()
                    .any(|m| m.blocks.to_string().contains("`ou_li` in Feishu are one person"))
            },
            WITHIN,
        );
        known.await.expect("whoever was given the code is told");
        // Their role is theirs here, too, and so are their runs.
        told(lab, "ou_li", "audit", "slack:U0ALICE feishu:ou_li").await;
        assert!(slack.say("alice", CHANNEL, "/lab watch").await.text.contains("socA"));
        let off = slack.say("alice", CHANNEL, "/lab unwatch socA").await.text;
        assert!(
            off.contains("socA") && !slack.say("alice", CHANNEL, "/lab watch").await.text.contains("socA")
        );
        told(lab, "ou_li", "run socA build-crawl", "#1").await;
        assert!(slack.say("alice", CHANNEL, "/lab runs mine").await.text.contains("*#1*"));
        // An admin is not talked into sharing what they may: they type no code of anybody's.
        let others = slack.say("bob", CHANNEL, "/lab link").await.text;
        told(lab, "ou_li", &format!("link {}", self::code(&others)), "types no code").await;
        // Whoever else has read it there comes too late.
        typed(lab, "ou_wu", &self::code(&others), "no such code").await;
        // It is good once.
        typed(lab, "ou_wu", &code, "no such code").await;
        assert!(slack.say("alice", CHANNEL, "/lab link").await.text.contains("linked already"));
        assert!(slack.say("alice", CHANNEL, "/lab cancel 1").await.text.contains("#1"));
        assert_eq!(
            record(lab, "link").await,
            [
                "a code",
                "with a code",
                "with a code",
                "a code",
                "slack:U0ALICE feishu:ou_li",
                "slack:U0ALICE feishu:ou_li asked",
                "with a code",
                "slack:U0ALICE feishu:ou_li asked",
                "a code"
            ]
        );
        // Two again, from either side.
        told(lab, "ou_li", "解绑", "two people again").await;
        let known = slack.until(
            |world| world.channels["D0ALICE"].messages.iter().any(|m| m.text.contains("two people again")),
            WITHIN,
        );
        known.await.expect("the other one is told");
        told(lab, "ou_li", "audit", "🔒").await;
        assert!(slack.say("alice", CHANNEL, "/lab unlink").await.text.contains("not linked"));
        assert_eq!(record(lab, "unlink").await, ["slack:U0ALICE", "slack:U0ALICE feishu:ou_li"]);
    })
    .await;
}

/// Somebody writes in the chat; what they are answered first.
async fn answer(lab: &Lab, who: &str, words: &str) -> String {
    assert_eq!(lab.feishu.say(who, CHAT, words).await, 200);
    let asked = lab.feishu.messages(CHAT).iter().rfind(|m| m.text == words).map(|m| m.id.clone());
    let answers = |m: &boardhand::sim::feishu::Message| m.root.is_some() && m.root == asked;
    lab.feishu.until(CHAT, WITHIN, |messages| messages.iter().any(answers)).await.expect("an answer");
    lab.feishu.messages(CHAT).iter().find(|m| answers(m)).expect("it was just there").shown()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_slow_to_undo_is_undone_for_everybody() {
    both(async |lab, slack| {
        let code = code(&slack.say("alice", CHANNEL, "/lab link").await.text);
        typed(lab, "ou_li", &code, "Is that you yourself?").await;
        typed(lab, "ou_li", &format!("{code} yes"), "are one person now").await;
        assert!(answer(lab, "ou_li", "audit").await.contains("Who did what"));
        // Nobody waits for the commit to its end.
        let stall = crate::lab::look::stall(lab._data.path()).await;
        let slow = slack.say("alice", CHANNEL, "/lab unlink").await.text;
        assert!(slow.contains("I am slow just now"), "{slow}");
        drop(stall);
        let is_over = async || {
            while !answer(lab, "ou_li", "audit").await.contains("🔒") {}
        };
        lab.clock.timeout(WITHIN, is_over()).await.expect("the role of the other is gone");
        assert_eq!(lab.store.link_list().await.expect("links"), []);
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
        // Where others may have read it, it is void.
        typed(lab, "ou_li", &code, "get a new one").await;
        let gone = slack.say("bob", CHANNEL, &format!("/lab link {code}")).await.text;
        assert!(gone.contains("no such code"), "{gone}");
        let code = self::code(&typed(lab, "ou_li", "", "code:").await);
        for wrong in ["AAAA-AAAA", "2222-2222", "x", "K7QM2XTD"] {
            let said = slack.say("bob", CHANNEL, &format!("/lab link {wrong}")).await.text;
            assert!(said.contains("no such code"), "{wrong}: {said}");
        }
        let said = slack.say("bob", CHANNEL, &format!("/lab link {code}")).await.text;
        assert!(said.contains("too many wrong codes"), "{said}");
        // And nobody else may any more, who has read it there.
        let said = slack.say("lead", CHANNEL, &format!("/lab link {code}")).await.text;
        assert!(said.contains("no such code"), "{said}");
        let code = self::code(&typed(lab, "ou_li", "", "code:").await);
        let asked = slack.say("lead", CHANNEL, &format!("/lab link {code} yes")).await.text;
        assert!(asked.contains("ou_li") && asked.contains("in Feishu. Is that you"), "{asked}");
        let linked = slack.say("lead", CHANNEL, &format!("/lab link {code} 是")).await.text;
        assert!(linked.contains("one person now"), "{linked}");
        // Nobody but an admin parts others.
        let not = slack.say("bob", CHANNEL, "/lab unlink @lead").await.text;
        assert!(not.contains("Only an admin"), "{not}");
        let parted = slack.say("alice", CHANNEL, "/lab unlink feishu:ou_li").await.text;
        assert!(parted.contains("is two people again"), "{parted}");
        assert_eq!(lab.store.link_list().await.expect("links"), []);
        assert_eq!(record(lab, "unlink").await, ["feishu:ou_li slack:U0LEAD", "@lead"]);
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
