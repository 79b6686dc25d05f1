//! What is live on pages: one stream for each page, which says what is new, goes on where a browser had it, and says it to all
//! who look.

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::{Browser, curl, session, signed_in};
use crate::browser::ENTER;
use crate::lab::{Lab, WITHIN, lab, yaml};

/// A stream of events, as curl reads it.
struct Stream {
    child: Child,
    text: String,
}

impl Stream {
    fn open(lab: &Lab, path: &str, headers: &[&str]) -> Stream {
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "--max-time", "60"]);
        for header in headers {
            curl.args(["-H", header]);
        }
        curl.arg(format!("{}{path}", lab.door)).stdout(std::process::Stdio::piped()).kill_on_drop(true);
        Stream { child: curl.spawn().expect("curl"), text: String::new() }
    }

    /// Reads on until it has said so.
    async fn until(&mut self, lab: &Lab, says: impl Fn(&str) -> bool) -> &str {
        let out = self.child.stdout.as_mut().expect("is piped");
        let text = &mut self.text;
        let read = async {
            let mut bytes = vec![0; 65536];
            while !says(text) {
                let count = out.read(&mut bytes).await.expect("is read");
                assert!(count > 0, "it ended: {text}");
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        let came = lab.clock.timeout(WITHIN, read).await;
        assert!(came.is_ok(), "never: {}", self.text);
        &self.text
    }

    /// The last id that it said.
    fn id(&self) -> String {
        let (_, id) = self.text.rsplit_once("id: ").expect("an id");
        id.lines().next().expect("a line").to_owned()
    }
}

/// The rows of a console that a stream brought, in order.
fn rows(text: &str) -> Vec<String> {
    let events = text.split("event: console\ndata: ").skip(1).filter(|event| event.contains("\n\n"));
    let html = events.map(|event| {
        let data: serde_json::Value =
            serde_json::from_str(event.lines().next().expect("a line")).expect("JSON");
        data["html"].as_str().expect("rows").to_owned()
    });
    html.collect::<String>().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_and_the_queue_are_told_of_what_changes_and_go_on_after_a_restart() {
    lab(&yaml::small(1), async |lab| {
        for path in ["/live/boards", "/live/queue"] {
            assert_eq!(curl(lab, path, &[]).await.0, 401, "{path}");
        }
        let cookie = session(lab).await;
        let mut wall = Stream::open(lab, "/live/boards", &[&cookie]);
        let mut queue = Stream::open(lab, "/live/queue", &[&cookie]);
        wall.until(lab, |said| said.contains("event: live") && said.contains("\n\nid: ")).await;
        queue.until(lab, |said| said.contains("Nothing waits.")).await;
        lab.say("bob", "/lab quarantine soc-a-001 the fan & more").await;
        wall.until(lab, |said| said.contains("the fan &amp; more")).await;
        let run = lab.run("alice", "/run-test soc-a-001 build-123").await;
        queue.until(lab, |said| said.contains("build-123")).await;
        wall.until(lab, |said| said.matches("\n\nid: ").count() >= 2).await;
        let last = format!("Last-Event-ID: {}", wall.id());
        lab.restart().await;
        // Whoever comes again has the newest already, and is told of the next change only.
        let mut again = Stream::open(lab, "/live/boards", &[&cookie, &last]);
        again.until(lab, |said| said.contains("retry: ")).await;
        lab.say("bob", "/lab return soc-a-001").await;
        let told = again.until(lab, |said| said.contains("event: live")).await;
        assert!(told.contains("build-123") || told.contains("class=free"), "{told}");
        assert!(!told.split("event: live").nth(1).expect("a change").contains("the fan"), "{told}");
        lab.verdict(run).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_is_followed_line_by_line_and_again_from_where_it_was_left() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        let cookie = session(lab).await;
        let path = "/live/runs/1?attempt=1&from=0&line=1";
        assert_eq!(curl(lab, path, &[]).await.0, 404, "a wrong link and a missing run look the same");
        let mut first = Stream::open(lab, path, &[&cookie]);
        first.until(lab, |said| rows(said).len() >= 8 && said.ends_with("\n\n")).await;
        let last = format!("Last-Event-ID: {}", first.id());
        let mut seen = rows(&first.text);
        drop(first);
        // One who begins late, from the middle, reads the same.
        let mut other = Stream::open(lab, path, &[&cookie]);
        other.until(lab, |said| rows(said).len() > seen.len()).await;
        let mut second = Stream::open(lab, "/live/runs/1?attempt=1&from=99999999&line=1", &[&cookie, &last]);
        second.until(lab, |said| rows(said).len() >= 3).await;
        lab.say("alice", "/lab cancel 1").await;
        for stream in [&mut second, &mut other] {
            stream.until(lab, |said| said.contains("event: over")).await;
        }
        lab.settle().await;
        seen.extend(rows(&second.text));
        let (_, _, piece) = curl(lab, "/runs/1/console/1?from=0&line=1", &["-H", &cookie]).await;
        let piece: serde_json::Value = serde_json::from_str(&piece).expect("JSON");
        let all: Vec<&str> = piece["html"].as_str().expect("rows").lines().collect();
        assert_eq!(seen, all, "nothing is missing, nothing stands twice");
        assert_eq!(rows(&other.text), all);
        assert!(second.text.contains("event: live"), "{}", second.text);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_change_without_being_loaded_again() {
    lab(&yaml::small(1), async |lab| {
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        browser.run("window.mark = 1").await;
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        browser.sees("//li[@class='run']", "#1 build-crawl testing").await;
        assert_eq!(browser.run("return window.mark").await, 1, "the same page");
        // The keyboard stays where it is.
        browser.run("document.querySelector('#live a[href=\"/runs/1\"]').focus()").await;
        lab.say("bob", "/lab reserve soc-b-001 1h bring-up").await;
        browser.sees("//li[@class='held']", "held by").await;
        browser.holds("the run", "return document.activeElement.getAttribute('href') === '/runs/1'").await;
        browser.keys(ENTER).await;
        browser.sees("//h1[@class='run']", "#1").await;
        let lines = browser.run("return document.querySelectorAll('#log li').length").await;
        browser.run("window.mark = 2").await;
        browser
            .holds(
                "more lines",
                &format!(
                    "return document.querySelectorAll('#log li').length > {lines} + 3 && window.mark === 2"
                ),
            )
            .await;
        browser.press("//nav//a[.='Queue']").await;
        browser.run("window.mark = 3").await;
        let waits = lab.run("bob", "/run-test socA build-123").await;
        browser.sees("//ul[@class='rows'][1]/li", "build-123").await;
        assert_eq!(browser.run("return window.mark").await, 3, "the same page");
        browser.press("//button[@aria-label='Cancel #2']").await;
        browser.press("//button[.='Cancel the run']").await;
        browser.sees("//section", "#2").await;
        let verdict = lab.verdict(waits).await;
        assert!(verdict.starts_with("cancelled"), "{verdict}");
        browser.open(&format!("{}/runs/{run}", lab.door)).await;
        lab.say("alice", "/lab cancel 1").await;
        browser.sees("//h1[@class='cancelled']", "#1").await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.say("bob", "/lab release soc-b-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_read_in_chinese_by_whoever_would_rather() {
    lab(&yaml::small(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.verdict(run).await;
        lab.settle().await;
        let cookie = session(lab).await;
        for (path, says) in [
            ("/", "板卡"),
            ("/queue", "没有等待的运行"),
            ("/history", "时好时坏的测试"),
            ("/history?family=socA&suite=smoke", "各次运行的测试"),
            ("/runs/1", "重试"),
            ("/boards/soc-a-001", "断电重启"),
            ("/compare", "较早的构建或运行"),
            ("/admin", "未送达的消息"),
            ("/nothing-like-it", ""),
        ] {
            let asked = ["-H", &cookie, "-H", "Accept-Language: zh-CN,zh;q=0.9,en;q=0.5"];
            let (_, _, body) = curl(lab, path, &asked).await;
            assert!(
                says.is_empty() || body.contains("<html lang=\"zh\">") && body.contains(says),
                "{path}: {body}"
            );
        }
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        browser.press("//button[.='中文']").await;
        browser.sees("//h1", "板卡").await;
        browser.press("//nav//a[.='历史']").await;
        browser.sees("//h1", "历史").await;
        let mut wrong = Vec::new();
        for path in ["/", "/runs/1", "/boards/soc-a-001", "/admin"] {
            wrong.extend(browser.wrong_with(lab, path).await);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        browser.press("//button[.='English']").await;
        browser.sees("//h1", "Lab").await;
        lab.read_all();
    })
    .await;
}
