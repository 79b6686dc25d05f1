//! Feishu, told by the people who write to the bot in a chat and press buttons on its cards: through the real webhook,
//! signed and covered, and back through the real API.

mod admin;
mod campaigns;
mod client;
mod files;
mod languages;
mod links;
mod mirrors;
mod over;
mod sign_in;
mod socket;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use boardhand::app::{App, FeishuEvents, FeishuParts, Parts};
use boardhand::artifact::Artifacts;
use boardhand::chat::feishu::client::FeishuClient;
use boardhand::chat::feishu::hook::HookClient;
use boardhand::chat::feishu::sign_in::FeishuSignIn;
use boardhand::chat::feishu::signature::Verifier;
use boardhand::chat::feishu::socket::Endpoint;
use boardhand::chat::sign_in::SignIn;
use boardhand::chat::{Place, Platform};
use boardhand::clock::Clock;
use boardhand::id::Ids;
use boardhand::message::pace::Pacing;
use boardhand::message::template::Catalogue;
use boardhand::net::Http;
use boardhand::sim::feishu::{BOT, Call, Fault, Message, SimFeishu, SimFeishuConfig};
use boardhand::sim::slack::SimSlack;
use boardhand::sim::{SimLab, Speed};
use boardhand::store::sql::{SqlStore, SqliteOptions};
use boardhand::store::{Census, RunFilter, Store};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::lab::{self, WITHIN, steady};

const CHAT: &str = "oc_soc";

struct Lab {
    feishu: SimFeishu,
    slack: Option<SimSlack>,
    door: String,
    store: Arc<dyn Store>,
    clock: Clock,
    _boards: SimLab,
    _data: tempfile::TempDir,
}

/// Runs `test` with a server between a simulated Feishu and simulated boards. Its ending fails on anything that is still
/// owed, and on anything that the real Feishu would not have taken.
async fn lab(boards: usize, test: impl AsyncFnOnce(&Lab)) {
    lab_of(&lab::yaml::small(boards), How::Webhook, test).await;
}

/// How a server is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Feishu calls its webhook.
    Webhook,
    /// The same, with a simulated Slack beside the simulated Feishu.
    WithSlack,
    /// It dials Feishu.
    Socket,
    /// It tells a group's custom bot, with a simulated Slack beside.
    Hook,
}

/// The same with this boards.yaml, connected so.
async fn lab_of(boards: &str, how: How, test: impl AsyncFnOnce(&Lab)) {
    let (clock, ids) = (Clock::system(), Ids::system());
    let inventory = lab::inventory(boards);
    let (sim, inventory) =
        SimLab::start(&inventory, Speed::Fast, clock.clone(), ids.clone()).await.expect("simulated lab");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let door = format!("http://{}", listener.local_addr().expect("address"));
    let config = SimFeishuConfig {
        app_id: "cli_lab".into(),
        app_secret: "app-secret".into(),
        encrypt_key: "encrypt-key".into(),
        verification_token: "verification-token".into(),
        webhook_url: (how != How::Socket).then(|| format!("{door}/webhook")),
    };
    let feishu = SimFeishu::start(config, clock.clone(), ids.clone()).await.expect("simulated Feishu");
    let slack = match how {
        How::WithSlack | How::Hook => Some(lab::slack(&door, &clock, &ids).await),
        How::Webhook | How::Socket => None,
    };
    let data = tempfile::tempdir().expect("a data folder");
    let store: Arc<dyn Store> =
        Arc::new(SqlStore::open(data.path(), SqliteOptions::new(ids.clone())).await.expect("store"));
    let client = FeishuClient::new(
        Http::new(&[feishu.url()]),
        feishu.url(),
        "cli_lab".into(),
        SecretString::from("app-secret"),
        clock.clone(),
    );
    feishu.register_redirect(&format!("{door}/signin/feishu/back"));
    let (http, app) = (Http::new(&[feishu.url()]), ("cli_lab".to_owned(), SecretString::from("app-secret")));
    let client = Arc::new(client);
    let signs_in: Arc<dyn SignIn> = Arc::new(FeishuSignIn::new(http, feishu.url(), app, client.clone()));
    assert_eq!(client.whoami().await.expect("Feishu knows us").open_id, BOT);
    let app = App::new(Parts {
        store: store.clone(),
        inventory: Arc::new(inventory),
        catalogue: Catalogue::builtin(),
        slack: slack.as_ref().map(|slack| lab::slack_parts(slack, Pacing::NONE)),
        api_tokens: boardhand::chat::token::Tokens::default(),
        jenkins: None,
        feishu: Some(FeishuParts {
            events: match how {
                How::Hook => FeishuEvents::Never,
                How::Socket => FeishuEvents::Socket(endpoint(&feishu, "app-secret")),
                How::Webhook | How::WithSlack => FeishuEvents::Webhook(Verifier::new(
                    Some(SecretString::from("encrypt-key")),
                    SecretString::from("verification-token"),
                )),
            },
            client: match how {
                How::Hook => Arc::new(hook(&feishu, &clock)),
                How::Webhook | How::WithSlack | How::Socket => client,
            },
            pacing: Pacing::FEISHU,
            bot: Arc::new(OnceLock::from(BOT.to_owned())),
        }),
        clock: clock.clone(),
        ids,
        public_url: door.clone(),
        transcripts: data.path().join("transcripts"),
        artifacts: Artifacts::folder(data.path().join("artifacts")),
        board_url: None,
        proxies: Default::default(),
        rates: Default::default(),
    })
    .await
    .expect("app")
    .signing_in(vec![signs_in]);
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(app.serve(listener, async {
        let _ = stopped.await;
    }));
    if how == How::Socket {
        assert!(feishu.until_sockets(WITHIN, |(open, ..)| open == 1).await, "it dials");
    }
    let lab = Lab { feishu, slack, door, store, clock, _boards: sim, _data: data };
    test(&lab).await;
    lab.settle().await;
    stop.send(()).expect("the server is there");
    lab.clock.timeout(WITHIN, server).await.expect("it stops").expect("no panic").expect("no error");
    assert_eq!(lab.feishu.violations(), [""; 0], "the real Feishu would have refused these");
}

/// The custom bot of the simulated group.
fn hook(feishu: &SimFeishu, clock: &Clock) -> HookClient {
    let url = SecretString::from(format!("{}/open-apis/bot/v2/hook/{CHAT}", feishu.url()));
    HookClient::new(Http::new(&[feishu.url()]), url, None, clock.clone())
}

/// Where the long connections of the simulated app are dialled.
fn endpoint(feishu: &SimFeishu, secret: &str) -> Endpoint {
    Endpoint::new(Http::new(&[feishu.url()]), feishu.url(), "cli_lab".into(), SecretString::from(secret))
}

impl Lab {
    async fn say(&self, text: &str) {
        assert_eq!(self.feishu.say("ou_li", CHAT, text).await, 200);
    }

    /// What the server answers, with its head.
    async fn ask(&self, what: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.door.trim_start_matches("http://")).await.expect("the door");
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    async fn settle(&self) {
        let quiet = async {
            while (Census { dead: 0, ..self.store.census().await.expect("census") }) != Census::default() {
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        if self.clock.timeout(WITHIN, quiet).await.is_err() {
            panic!("not quiet: {:?}\n{}", self.store.census().await, self.feishu.render(CHAT));
        }
    }

    /// Waits until a card whose title has `title` says `says`; gives its message.
    async fn card(&self, title: &str, says: &str) -> String {
        let is_it = |message: &Message| {
            let titled = message.card["header"]["title"]["content"].as_str();
            titled.is_some_and(|t| t.contains(title)) && message.shown().contains(says)
        };
        let seen = self.feishu.until(CHAT, WITHIN, |messages| messages.iter().any(is_it)).await;
        if seen.is_err() {
            panic!("no card {title:?} says {says:?}:\n{}", self.feishu.render(CHAT));
        }
        let messages = self.feishu.messages(CHAT);
        let id = messages.iter().find(|m| is_it(m)).map(|m| m.id.clone()).expect("it was just there");
        // The server hears a moment later under which id it stands.
        let place = Place { platform: Platform::Feishu, channel: CHAT.to_owned(), thread: Some(id.clone()) };
        let known = async {
            while self.store.run_of_thread(&place).await.expect("a lookup").is_none() {
                self.clock.sleep(Duration::from_millis(2)).await;
            }
        };
        self.clock.timeout(WITHIN, known).await.expect("the server knows its card");
        id
    }

    async fn runs(&self) -> usize {
        let all = RunFilter { limit: 100, ..RunFilter::default() };
        self.store.run_list(&all).await.expect("runs").len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_asked_for_in_a_chat_and_told_in_a_card_and_its_thread() {
    lab(1, async |lab| {
        lab.say("run socA build-123").await;
        lab.card("#1", "Passed").await;
        lab.settle().await;
        insta::assert_snapshot!(steady(&lab.feishu.render(CHAT)), @r"
        ou_li: run socA build-123
          ↩ 👍 **#1** socA · `build-123` · smoke
          ↩ A board is free: it starts right away.
          ↩ Its card is on its way to this channel.
        [green] #1 socA · build-123 · smoke
        **✅ Passed**
        **Board**
        `soc-a-001`
        **By**
        <at id=ou_li></at>
        **Tests**
        23 passed
        **Took**
        N s
        ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
        Finished <time> · [Console log](http://lab/runs/1/log/1?key=…)
        (Retry) (Log)
            ▶️ `soc-a-001` is up, `build-123` is being tested.
            **✅ Passed** on `soc-a-001` in N s: 23 passed
            [Console log](http://lab/runs/1/log/1?key=…)
        ");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_asks_for_a_run_shows_what_becomes_of_it() {
    lab(1, async |lab| {
        lab.feishu.fault(Call::React, Fault::TooFast(1));
        lab.say("run socA build-crawl").await;
        let shows = async |emojis: &[&str]| {
            let seen = lab.feishu.until(CHAT, WITHIN, |messages| messages[0].emojis() == emojis).await;
            if let Err(messages) = seen {
                panic!("it never had {emojis:?} but {:?}", messages[0].emojis());
            }
        };
        shows(&["OnIt"]).await;
        let card = lab.card("#1", "Cancel").await;
        lab.feishu.click("ou_li", &card, "Cancel").await;
        shows(&["No"]).await;
        let card = lab.card("#1", "Retry").await;
        // A click asks for a run as well, and is no message.
        lab.feishu.click("ou_li", &card, "Retry").await;
        lab.card("#2", "Cancel").await;
        let marked = lab.feishu.messages(CHAT).iter().filter(|message| !message.reactions.is_empty()).count();
        assert_eq!(marked, 1, "{}", lab.feishu.render(CHAT));
        let card = lab.card("#2", "Cancel").await;
        lab.feishu.click("ou_li", &card, "Cancel").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_is_answered_with_the_card_as_it_is_then_and_ten_are_one() {
    lab(1, async |lab| {
        lab.say("run socA build-crawl").await;
        lab.say("run socA build-123").await;
        let waiting = lab.card("#2", "Cancel").await;
        let click = lab.feishu.click_body("ou_li", &waiting, "Cancel");
        for _ in 0..3 {
            let clicked = lab.feishu.click_with(&waiting, &click).await;
            assert_eq!((clicked.status, clicked.with_card), (200, true));
            assert!(clicked.toast.1.contains("#2"), "{:?}", clicked.toast);
        }
        // What the click showed stays: nothing older comes after it.
        lab.card("#2", "Cancelled").await;
        let running = lab.card("#1", "Cancel").await;
        lab.feishu.click("ou_li", &running, "Cancel").await;
        lab.card("#1", "Cancelled").await;
        lab.settle().await;
        let cards =
            lab.feishu.messages(CHAT).iter().filter(|m| m.card["header"].is_object() && !m.in_thread).count();
        assert_eq!((cards, lab.runs().await), (2, 2), "{}", lab.feishu.render(CHAT));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_a_run_of_its_own_and_both_cards_name_each_other() {
    lab(1, async |lab| {
        lab.say("run socA build-fail").await;
        let failed = lab.card("#1", "Retry").await;
        let clicked = lab.feishu.click("ou_wu", &failed, "Retry").await;
        assert_eq!(clicked.toast.0, "success", "{clicked:?}");
        lab.card("#2", "Failed").await;
        lab.settle().await;
        lab.card("#1", "#2").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_in_a_thread_is_about_its_run_and_answered_there() {
    lab(1, async |lab| {
        lab.say("run socA build-123").await;
        let card = lab.card("#1", "Passed").await;
        lab.settle().await;
        let now = lab.clock.now();
        assert_eq!(lab.feishu.say_in("ou_wu", CHAT, Some(&card), "状态", now).await, 200);
        lab.settle().await;
        let messages = lab.feishu.messages(CHAT);
        let asked = messages.iter().find(|m| m.text == "状态").expect("it was asked");
        let answer = messages.iter().find(|m| m.root.as_deref() == Some(&asked.id)).expect("it is answered");
        assert!(answer.shown().contains("#1"), "{}", lab.feishu.render(CHAT));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_come_hours_late_are_answered_and_not_obeyed() {
    lab(1, async |lab| {
        let long_ago = lab.clock.now() - Duration::from_secs(31 * 60);
        assert_eq!(lab.feishu.say_in("ou_li", CHAT, None, "run socA build-123", long_ago).await, 200);
        lab.settle().await;
        assert_eq!(lab.runs().await, 0);
        assert!(lab.feishu.render(CHAT).contains("was said at"), "{}", lab.feishu.render(CHAT));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_the_platform_tells_nothing_twice_and_loses_nothing() {
    lab(1, async |lab| {
        lab.feishu.fault(Call::Send, Fault::DoneThen500);
        lab.feishu.fault(Call::Send, Fault::TooFast(1));
        lab.feishu.fault(Call::Edit, Fault::TokensOver);
        lab.feishu.fault(Call::Edit, Fault::Code(230_020));
        lab.feishu.fault(Call::Edit, Fault::DoneThen500);
        lab.feishu.fault(Call::Reply, Fault::Code(230_049));
        lab.feishu.fault(Call::Reply, Fault::DoneThen500);
        lab.say("run socA build-123").await;
        lab.card("#1", "Passed").await;
        lab.settle().await;
        let messages = lab.feishu.messages(CHAT);
        let cards = messages.iter().filter(|m| m.author.is_none() && m.root.is_none()).count();
        assert_eq!(cards, 1, "{}", lab.feishu.render(CHAT));
        assert_eq!(lab.feishu.tokens_made(), 2, "one at the start, one after all of them were over");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_was_recalled_is_posted_anew() {
    lab(1, async |lab| {
        lab.say("run socA build-crawl").await;
        let first = lab.card("#1", "Cancel").await;
        lab.feishu.recall(&first);
        lab.say("cancel 1").await;
        lab.card("#1", "Cancelled").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_proved_has_no_effect() {
    lab(1, async |lab| {
        let sender = json!({ "sender_id": { "open_id": "ou_li" }, "sender_type": "user" });
        let message = json!({
            "message_id": "om_x", "chat_id": CHAT, "message_type": "text",
            "content": json!({ "text": "run socA build-1" }).to_string(),
        });
        let body = lab.feishu.event("im.message.receive_v1", json!({ "sender": sender, "message": message }));
        let status = async |answer: Option<boardhand::sim::feishu::Answer>| answer.map_or(0, |a| a.status);
        // Unsigned, uncovered, signed with another key, under another token, cut.
        assert_eq!(status(lab.feishu.deliver(&body, false).await).await, 401, "an event must be signed");
        assert_eq!(status(lab.feishu.post(&[], &body).await).await, 401, "and covered");
        let headers = ["Timestamp", "Nonce"].map(|n| (format!("X-Lark-Request-{n}"), "1".to_owned()));
        let mut headers = headers.to_vec();
        headers.push(("X-Lark-Signature".into(), "0".repeat(64)));
        assert_eq!(status(lab.feishu.post(&headers, &body).await).await, 401);
        let mut other: Value = serde_json::from_slice(&body).expect("json");
        other["header"]["token"] = json!("another");
        assert_eq!(status(lab.feishu.deliver(other.to_string().as_bytes(), true).await).await, 401);
        assert_eq!(status(lab.feishu.deliver(&body[..body.len() / 2], true).await).await, 400);
        assert_eq!(status(lab.feishu.deliver(&[0xff; 1000], true).await).await, 400);
        // What Feishu asks once, when the address is entered in its console.
        let challenge =
            json!({ "type": "url_verification", "challenge": "c1", "token": "verification-token" });
        let answer = lab.feishu.deliver(challenge.to_string().as_bytes(), false).await.expect("an answer");
        assert_eq!((answer.status, answer.body), (200, br#"{"challenge":"c1"}"#.to_vec()));
        // A click may come unsigned, but not a copy of one that is old.
        lab.say("run socA build-crawl").await;
        let card = lab.card("#1", "Cancel").await;
        let mut old: Value =
            serde_json::from_slice(&lab.feishu.click_body("ou_li", &card, "Cancel")).expect("json");
        let days_ago = lab.clock.now() - Duration::from_secs(3 * 24 * 3600);
        old["header"]["create_time"] = json!((days_ago.as_micros() / 1000).to_string());
        assert_eq!(status(lab.feishu.deliver(old.to_string().as_bytes(), false).await).await, 401);
        let click = lab.feishu.click_body("ou_li", &card, "Cancel");
        assert_eq!(status(lab.feishu.deliver(&click, false).await).await, 200);
        // The same event twice, as after an answer that got lost.
        assert_eq!(status(lab.feishu.deliver(&body, true).await).await, 200);
        assert_eq!(status(lab.feishu.deliver(&body, true).await).await, 200);
        lab.settle().await;
        assert_eq!(lab.runs().await, 2);
    })
    .await;
}
