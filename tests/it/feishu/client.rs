//! The client against a simulated Feishu: tokens, codes, posts that may be there already.

use std::sync::Arc;

use std::time::Duration;

use boardhand::chat::feishu::client::FeishuClient;
use boardhand::chat::{ChatApi, Found, Outage, Place, Platform, Post, SendResult};
use boardhand::clock::Clock;
use boardhand::id::Ids;
use boardhand::message::{Block, Card, Text};
use boardhand::net::Http;
use boardhand::sim::feishu::{BOT, Call, Fault, SimFeishu, SimFeishuConfig};
use secrecy::SecretString;

const CHAT: &str = "oc_lab";

struct Tenant {
    feishu: SimFeishu,
    client: FeishuClient,
    clock: Clock,
}

async fn tenant(secret: &str) -> Tenant {
    let (clock, ids) = (Clock::system(), Ids::seeded(1));
    let config = SimFeishuConfig {
        app_id: "cli_a".into(),
        app_secret: "right".into(),
        encrypt_key: String::new(),
        verification_token: String::new(),
        webhook_url: None,
    };
    let feishu = SimFeishu::start(config, clock.clone(), ids).await.expect("simulated Feishu");
    let http = Http::new(&[feishu.url()]);
    let client =
        FeishuClient::new(http, feishu.url(), "cli_a".into(), SecretString::from(secret), clock.clone());
    Tenant { feishu, client, clock }
}

fn card() -> Card {
    Card { summary: "#1 is queued".into(), ..Card::default() }
}

fn place(thread: Option<&str>) -> Place {
    Place { platform: Platform::Feishu, channel: CHAT.into(), thread: thread.map(str::to_owned) }
}

impl Tenant {
    async fn post(&self, place: &Place, key: &str) -> SendResult {
        self.client.post(Post { place, card: &card(), key, instead_of: None }).await
    }
}

#[tokio::test]
async fn one_post_is_one_message_however_often_it_is_sent() {
    let tenant = tenant("right").await;
    let SendResult::Sent(first) = tenant.post(&place(None), "k1").await else { panic!("not sent") };
    assert_eq!(tenant.post(&place(None), "k1").await, SendResult::Sent(first.clone()));
    let again = Post { place: &place(None), card: &card(), key: "k1", instead_of: Some(&first) };
    let SendResult::Sent(anew) = tenant.client.post(again).await else { panic!("not sent") };
    assert_ne!(anew, first, "one that stands in for another is another");
    assert!(matches!(tenant.post(&place(Some(&anew)), "k2").await, SendResult::Sent(_)));
    assert_eq!(tenant.feishu.messages(CHAT).len(), 3);
    assert_eq!(tenant.client.whoami().await.expect("it knows us").open_id, BOT);
    assert_eq!(tenant.feishu.tokens_made(), 1);
}

#[tokio::test]
async fn a_post_that_may_be_there_is_simply_made_again_within_the_hour() {
    let tenant = tenant("right").await;
    tenant.feishu.fault(Call::Send, Fault::DoneThen500);
    assert!(matches!(tenant.post(&place(None), "k").await, SendResult::Unknown(_)));
    let now = tenant.clock.now();
    assert_eq!(tenant.client.find(&place(None), "k", now).await, Found::Absent);
    assert!(matches!(tenant.post(&place(None), "k").await, SendResult::Sent(_)));
    assert_eq!(tenant.feishu.messages(CHAT).len(), 1);
    let long_ago = now - Duration::from_secs(3600);
    assert!(matches!(tenant.client.find(&place(None), "k", long_ago).await, Found::CannotTell(_)));
}

#[tokio::test]
async fn many_at_once_fetch_one_token_and_one_that_is_over_is_fetched_anew() {
    let tenant = Arc::new(tenant("right").await);
    let mut posts = tokio::task::JoinSet::new();
    for n in 0..8 {
        let tenant = tenant.clone();
        posts.spawn(async move { tenant.post(&place(None), &format!("k{n}")).await });
    }
    assert!(posts.join_all().await.iter().all(|sent| matches!(sent, SendResult::Sent(_))));
    assert_eq!(tenant.feishu.tokens_made(), 1);
    tenant.feishu.fault(Call::Send, Fault::TokensOver);
    assert!(matches!(tenant.post(&place(None), "k9").await, SendResult::Sent(_)));
    assert_eq!(tenant.feishu.tokens_made(), 2);
}

async fn check(fault: Fault, expect: SendResult) {
    let tenant = tenant("right").await;
    tenant.feishu.fault(Call::Send, fault.clone());
    assert_eq!(tenant.post(&place(None), "k").await, expect, "{fault:?}");
}

#[tokio::test]
async fn every_code_is_told_apart() {
    check(Fault::TooFast(7), SendResult::RetryAfter(Duration::from_secs(7))).await;
    for code in [99_991_400, 230_020, 230_049] {
        check(Fault::Code(code), SendResult::RetryAfter(Duration::from_secs(2))).await;
    }
    for code in [230_001, 230_002] {
        check(Fault::Code(code), SendResult::Refused(code.to_string())).await;
    }
    check(Fault::Code(1), SendResult::Out(Outage::Away("busy".into()))).await;
    let tenant = tenant("right").await;
    tenant.feishu.fault(Call::Send, Fault::Code(99_991_672));
    let sent = tenant.post(&place(None), "k").await;
    assert!(
        matches!(sent, SendResult::Out(Outage::NotAccepted { ref code, .. }) if code == "99991672"),
        "{sent:?}"
    );
}

#[tokio::test]
async fn what_a_board_printed_and_feishu_does_not_let_through_is_left_out_and_the_rest_told() {
    let tenant = tenant("right").await;
    let mut card = card();
    card.blocks = vec![Block::Text(Text::plain("Failed")), Block::Log("call 13800138000".into())];
    for (code, call) in [(230_028, Call::Send), (230_022, Call::Edit)] {
        tenant.feishu.fault(call, Fault::Code(code));
    }
    let post = Post { place: &place(None), card: &card, key: "k", instead_of: None };
    let SendResult::Sent(id) = tenant.client.post(post).await else { panic!("not sent") };
    let shown = || tenant.feishu.messages(CHAT)[0].shown();
    assert_eq!(shown(), "Failed");
    assert_eq!(tenant.client.edit(&place(None), &id, &card).await, SendResult::Sent(id.clone()));
    assert_eq!(shown(), "Failed");
    assert_eq!(tenant.client.edit(&place(None), &id, &card).await, SendResult::Sent(id.clone()));
    assert!(shown().contains("13800138000"), "where it is let through it is shown");
    // What is not let through without it either is refused for good.
    for _ in 0..2 {
        tenant.feishu.fault(Call::Edit, Fault::Code(230_099));
    }
    assert_eq!(tenant.client.edit(&place(None), &id, &card).await, SendResult::Refused("230099".into()));
}

#[tokio::test]
async fn a_wrong_secret_says_which_variables_to_look_at() {
    let tenant = tenant("wrong").await;
    let SendResult::Out(Outage::NotAccepted { code, remedy }) = tenant.post(&place(None), "k").await else {
        panic!("it was accepted");
    };
    assert_eq!(code, "10014");
    assert!(remedy.contains("FEISHU_APP_SECRET"), "{remedy}");
}

#[tokio::test]
async fn an_edit_changes_a_message_and_one_that_is_gone_is_told() {
    let tenant = tenant("right").await;
    let SendResult::Sent(id) = tenant.post(&place(None), "k").await else { panic!("not sent") };
    assert_eq!(tenant.client.edit(&place(None), &id, &card()).await, SendResult::Sent(id.clone()));
    tenant.feishu.recall(&id);
    assert_eq!(tenant.client.edit(&place(None), &id, &card()).await, SendResult::Refused("230011".into()));
    let hostile = tenant.client.edit(&place(None), "../x?y", &card()).await;
    assert_eq!(hostile, SendResult::Refused("no message id".into()));
}

#[tokio::test]
async fn a_platform_that_is_away_is_away() {
    let http = Http::new(&["http://127.0.0.1:9"]);
    let client =
        FeishuClient::new(http, "http://127.0.0.1:9", "a".into(), SecretString::from("b"), Clock::system());
    let post = Post { place: &place(None), card: &card(), key: "k", instead_of: None };
    assert!(matches!(client.post(post).await, SendResult::Out(Outage::Away(_))));
}
