//! The long connection: the same conversations without an address that anybody could call. What Feishu's own client
//! understands of the simulated one stands in `oracle`.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use boardhand::chat::Platform;
use boardhand::chat::feishu::socket::frame::FRAME_BYTES_MAX;
use boardhand::chat::feishu::socket::{Ack, LongConnection, REFUSED_PAUSE, Takes};
use boardhand::chat::socket_line::SocketLine;
use boardhand::clock::{Clock, ManualClock, Timestamp};
use boardhand::id::Ids;
use boardhand::sim::feishu::{Answer, Call, Fault, SimFeishu, SimFeishuConfig};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CHAT, How, Lab, endpoint, lab_of};
use crate::lab::{WITHIN, yaml};

async fn dialled(boards: usize, test: impl AsyncFnOnce(&Lab)) {
    lab_of(&yaml::small(boards), How::Socket, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_asked_for_ended_by_a_click_and_told_without_an_address_of_ours() {
    dialled(1, async |lab| {
        lab.feishu.in_parts(3);
        lab.say("run socA build-crawl").await;
        let card = lab.card("#1", "Cancel").await;
        let click = lab.feishu.click_body("ou_li", &card, "Cancel");
        for _ in 0..3 {
            let clicked = lab.feishu.click_with(&card, &click).await;
            assert_eq!((clicked.status, clicked.with_card), (200, true), "{clicked:?}");
            assert!(clicked.toast.1.contains("#1"), "{:?}", clicked.toast);
        }
        lab.card("#1", "Cancelled").await;
        let words = lab.feishu.event("application.bot.menu_v6", json!({
            "operator": { "operator_name": "Li Lei", "operator_id": { "open_id": "ou_li" } }, "event_key": "boards",
        }));
        assert_eq!(lab.feishu.deliver(&words, true).await.map(|answer| answer.status), Some(200));
        lab.settle().await;
        assert!(lab.feishu.render("ou_li").contains("soc-a-001"), "{}", lab.feishu.render("ou_li"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_made_anew_and_what_comes_again_has_no_second_effect() {
    dialled(1, async |lab| {
        let sender = json!({ "sender_id": { "open_id": "ou_li" }, "sender_type": "user" });
        let message = json!({
            "message_id": "om_x", "chat_id": CHAT, "message_type": "text",
            "create_time": (lab.clock.now().as_micros() / 1000).to_string(),
            "content": json!({ "text": "run socA build-1" }).to_string(),
        });
        let body = lab.feishu.event("im.message.receive_v1", json!({ "sender": sender, "message": message }));
        assert_eq!(lab.feishu.deliver(&body, true).await.map(|answer| answer.status), Some(200));
        lab.feishu.cut();
        assert!(lab.feishu.until_sockets(WITHIN, |(open, _, given)| open == 1 && given == 2).await);
        assert_eq!(lab.feishu.deliver(&body, true).await.map(|answer| answer.status), Some(200));
        lab.settle().await;
        assert_eq!(lab.runs().await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_harms_nobody_and_the_webhook_is_closed() {
    dialled(1, async |lab| {
        let status = async |answer: Option<Answer>| answer.map_or(0, |answer| answer.status);
        assert_eq!(status(lab.feishu.deliver(b"{}", true).await).await, 500, "Feishu may send it again");
        assert_eq!(status(lab.feishu.deliver(b"[[[[", true).await).await, 500);
        let other = lab.feishu.event("im.chat.updated_v1", json!({}));
        assert_eq!(status(lab.feishu.deliver(&other, true).await).await, 200, "nothing for us");
        let deep = [b"{\"schema\":\"2.0\",\"event\":".as_slice(), &b"[".repeat(100_000)].concat();
        assert_eq!(status(lab.feishu.deliver(&deep, true).await).await, 500);
        for hostile in
            [&[][..], &[0xff; 100], &[0x42, 0xff, 0xff, 0xff, 0xff, 0x0f], &[8, 1, 16, 1, 24, 33, 32, 7]]
        {
            lab.feishu.push_raw(hostile);
        }
        lab.say("boards").await;
        assert_eq!(lab.feishu.sockets().2, 1, "the connection stands");
        // Beyond its bound nothing is read: the connection is made anew.
        lab.feishu.push_raw(&vec![0; FRAME_BYTES_MAX + 1]);
        assert!(lab.feishu.until_sockets(WITHIN, |(open, _, given)| open == 1 && given == 2).await);
        lab.say("help").await;
        let ready = lab.ask("GET /readyz", "").await;
        assert!(ready.contains("\"sockets\":{\"feishu\":{") && ready.contains("\"up\":true"), "{ready}");
        let challenge = r#"{"type":"url_verification","challenge":"c","token":"verification-token"}"#;
        let at_the_webhook = lab.ask("POST /webhooks/feishu", challenge).await;
        assert!(at_the_webhook.starts_with("HTTP/1.1 404"), "{at_the_webhook}");
    })
    .await;
}

// ---- the connection alone, at its own pace ----------------------------------------------------------------

/// A connection whose time is the test's, to a simulated Feishu whose time is the machine's.
struct Alone {
    feishu: SimFeishu,
    time: ManualClock,
    line: SocketLine,
    taken: Arc<Taken>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

#[derive(Default)]
struct Taken(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Takes for Taken {
    async fn take(&self, event: Vec<u8>) -> Ack {
        let mut taken = self.0.lock().expect("taken");
        taken.push(String::from_utf8_lossy(&event).into_owned());
        Ack::Taken(Some(json!({ "nth": taken.len() })))
    }
}

async fn alone(secret: &str, fault: Option<(Call, Fault)>) -> Alone {
    let config = SimFeishuConfig {
        app_id: "cli_lab".into(),
        app_secret: "app-secret".into(),
        encrypt_key: String::new(),
        verification_token: String::new(),
        webhook_url: None,
    };
    let feishu = SimFeishu::start(config, Clock::system(), Ids::seeded(7)).await.expect("simulated Feishu");
    if let Some((call, fault)) = fault {
        feishu.fault(call, fault);
    }
    let (clock, time) = Clock::manual(Timestamp::from_micros(1_800_000_000_000_000));
    let (line, taken) = (SocketLine::new(Platform::Feishu), Arc::new(Taken::default()));
    let connection =
        LongConnection::new(endpoint(&feishu, secret), taken.clone(), line.clone(), clock, Ids::seeded(1));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(connection.run(stopped));
    Alone { feishu, time, line, taken, stop, running }
}

impl Alone {
    /// Moves the connection's time on, as often as it takes.
    async fn until(&self, step: Duration, so: impl Fn((usize, u32, u32)) -> bool) {
        let clock = Clock::system();
        let waited = async {
            while !self.feishu.until_sockets(Duration::from_millis(20), &so).await {
                self.time.advance(step);
            }
        };
        clock
            .timeout(WITHIN, waited)
            .await
            .unwrap_or_else(|_| panic!("never so: {:?}", self.feishu.sockets()));
    }

    async fn end(self) {
        self.stop.send_replace(true);
        Clock::system().timeout(WITHIN, self.running).await.expect("it stops").expect("no panic");
        assert_eq!(self.feishu.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn a_connection_is_kept_as_feishu_says_also_when_it_says_otherwise() {
    let alone = alone("app-secret", None).await;
    alone.until(Duration::ZERO, |(open, pings, _)| open == 1 && pings == 1).await;
    assert!(alone.line.up().is_some());
    alone.feishu.configure(json!({ "PingInterval": 10 }));
    // The next pong says so: from then on ten seconds are enough.
    alone.until(Duration::from_secs(120), |(_, pings, _)| pings >= 2).await;
    let answer = alone.feishu.deliver(b"{}", true).await.expect("an answer");
    assert_eq!((answer.status, answer.body), (200, br#"{"nth":1}"#.to_vec()));
    let pings = alone.feishu.sockets().1;
    alone.until(Duration::from_secs(10), |(_, now, _)| now >= pings + 2).await;
    assert_eq!(alone.feishu.sockets().2, 1, "it is the first one still");
    assert_eq!(*alone.taken.0.lock().expect("taken"), ["{}"]);
    alone.end().await;
}

#[tokio::test]
async fn a_feishu_that_falls_silent_is_dialled_again() {
    let alone = alone("app-secret", None).await;
    alone.until(Duration::ZERO, |(open, pings, _)| open == 1 && pings == 1).await;
    alone.feishu.answers_pings(false);
    alone.until(Duration::from_secs(120), |(_, _, given)| given == 2).await;
    alone.feishu.answers_pings(true);
    alone.until(Duration::ZERO, |(open, ..)| open == 1).await;
    alone.end().await;
}

#[track_caller]
fn trouble(line: &SocketLine) -> (String, &'static str) {
    let trouble = line.trouble().expect("it is told");
    (trouble.error, trouble.remedy)
}

async fn refused(secret: &str, fault: Option<(Call, Fault)>, code: &str, remedy: &str) {
    let alone = alone(secret, fault).await;
    let clock = Clock::system();
    let told = async {
        while alone.line.trouble().is_none() {
            clock.sleep(Duration::from_millis(2)).await;
        }
    };
    clock.timeout(WITHIN, told).await.unwrap_or_else(|_| panic!("{code} is never told"));
    let (error, says) = trouble(&alone.line);
    assert!(error == code && says.contains(remedy), "{error}: {says}");
    assert_eq!((alone.feishu.sockets().0, alone.feishu.sockets().2), (0, 1));
    alone.time.advance(2 * REFUSED_PAUSE);
    alone.until(Duration::ZERO, |(_, _, given)| given == 2).await;
    alone.end().await;
}

#[tokio::test]
async fn what_somebody_must_mend_is_told_with_what_to_do_and_not_tried_again_soon() {
    refused("wrong", None, "514", "FEISHU_APP_ID and FEISHU_APP_SECRET").await;
    let endpoint = |code: i64| Some((Call::Endpoint, Fault::Code(code)));
    refused("app-secret", endpoint(403), "403", "persistent connection").await;
    refused("app-secret", endpoint(1_000_040_344), "1000040344", "FEISHU_APP_ID").await;
    refused("app-secret", endpoint(1_000_040_351), "1000040351", "FEISHU_BASE_URL").await;
    let handshake = |status: i64, code: i64| Some((Call::Connect, Fault::Handshake(status, code)));
    refused("app-secret", handshake(514, 1_000_040_350), "1000040350", "fifty connections").await;
    refused("app-secret", handshake(403, 0), "403", "persistent connection").await;
}

#[tokio::test]
async fn a_feishu_that_is_busy_is_tried_again_within_seconds() {
    for (call, fault) in [
        (Call::Endpoint, Fault::Code(1)),
        (Call::Endpoint, Fault::Code(1_000_040_343)),
        (Call::Connect, Fault::Handshake(514, 1_000_040_345)),
        (Call::Connect, Fault::Handshake(500, 0)),
    ] {
        let alone = alone("app-secret", Some((call, fault))).await;
        alone.until(Duration::from_secs(1), |(open, _, given)| open == 1 && given == 2).await;
        assert_eq!(alone.line.trouble(), None, "a short gap is no trouble");
        alone.end().await;
    }
}

/// Feishu's own client against the simulated one.
mod oracle {
    use super::*;
    use crate::console_real::rig;
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::Command;

    /// Prints what it understood, and answers a click as the documentation says.
    const CLIENT: &str = r#"
import sys, json, lark_oapi as lark
from lark_oapi.event.callback.model.p2_card_action_trigger import P2CardActionTriggerResponse
def said(event):
    print("said", json.loads(event.event.message.content)["text"], event.event.sender.sender_id.open_id, flush=True)
def clicked(event):
    print("clicked", json.dumps(event.event.action.value), event.event.context.open_message_id, flush=True)
    return P2CardActionTriggerResponse({"toast": {"type": "info", "content": "seen"}})
handler = lark.EventDispatcherHandler.builder("", "") \
    .register_p2_im_message_receive_v1(said).register_p2_card_action_trigger(clicked).build()
lark.ws.Client("cli_lab", "app-secret", event_handler=handler, domain=sys.argv[1], log_level=lark.LogLevel.ERROR).start()
"#;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn feishus_own_client_connects_takes_events_in_parts_and_answers() {
        let python =
            tokio::task::spawn_blocking(|| rig::from_pypi("lark-oapi", "lark-oapi==1.7.5", "python"));
        let python = python.await.expect("a Python with lark-oapi");
        let Alone { feishu, stop, running, .. } = alone("app-secret", None).await;
        // Only the official client is connected.
        stop.send_replace(true);
        running.await.expect("no panic");
        assert!(feishu.until_sockets(WITHIN, |(open, ..)| open == 0).await);
        let mut client = Command::new(python);
        client.args(["-c", CLIENT, feishu.url()]).env("NO_PROXY", "127.0.0.1").stdout(Stdio::piped());
        let mut client = client.kill_on_drop(true).spawn().expect("Python starts");
        let mut said = BufReader::new(client.stdout.take().expect("is piped")).lines();
        assert!(feishu.until_sockets(WITHIN, |(open, pings, _)| open == 1 && pings > 0).await, "it connects");
        for parts in [1, 4] {
            feishu.in_parts(parts);
            assert_eq!(feishu.say("ou_li", CHAT, "运行 socA build-1").await, 200);
            let line = said.next_line().await.expect("it speaks").expect("a line");
            assert_eq!(line, "said @_user_1 运行 socA build-1 ou_li");
        }
        let click: Value = json!({
            "operator": { "open_id": "ou_li" }, "action": { "value": { "click": "x" }, "tag": "button" },
            "context": { "open_message_id": "om_1", "open_chat_id": CHAT },
        });
        let body = feishu.event("card.action.trigger", click);
        let answer = feishu.deliver(&body, true).await.expect("an answer");
        assert_eq!(answer.status, 200);
        let reply: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(reply, json!({ "toast": { "type": "info", "content": "seen" } }));
        assert_eq!(
            said.next_line().await.expect("it speaks").expect("a line"),
            r#"clicked {"click": "x"} om_1"#
        );
        assert_eq!(feishu.violations(), [""; 0]);
        client.kill().await.expect("it ends");
    }
}
