//! The playground in a real browser: the demo binary as a newcomer starts it, and Debian's chromium driven over
//! WebDriver. Types a command, follows the card, opens its thread, presses Retry, confirms a power cycle.
//!
//! Needs `chromium` and `chromedriver`; without them it fails and says what to install.

use std::process::Stdio;
use std::time::Duration;

use boardhand::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::console_real::rig::Rig;

/// What a person waits for at most.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// How often the driver looks for a port.
const DRIVER_TRIES_MAX: u32 = 5;
/// Longest answer of the driver that is read.
const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The key of an element in WebDriver's JSON.
pub(crate) const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const COMPOSE: &str = "//div[@id='compose']//textarea";
/// No animation lasts longer.
const SETTLED: Duration = Duration::from_millis(1500);
pub(crate) const ENTER: &str = "\u{e007}";

/// The newest card of run `n` in the channel.
fn card(n: u32) -> String {
    format!("//div[@id='log']//div[contains(@class,'card')][h3[starts-with(.,'#{n} ')]]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_runs_a_test_retries_it_and_power_cycles_a_board_in_the_browser() {
    let (_demo, url) = demo().await;
    let (browser, _driver) = Browser::start().await;
    browser.open(&url).await;

    browser.type_in(COMPOSE, "/run-test socA build-123").await;
    browser.sees(&card(1), "Testing").await;
    let passed = browser.sees(&card(1), "Passed").await;
    assert!(passed.contains(" passed") && passed.contains("Took"), "a result with counts: {passed}");
    browser.press(&replies(1)).await;
    browser.sees("//div[@id='thread-log']", "is being tested").await;
    browser.sees("//div[@id='thread-log']", "Passed on soc-a-").await;

    browser.press(&button(1, "Retry")).await;
    browser.sees(&card(1), "Retried as #2").await;
    browser.sees(&card(2), "Passed").await;

    browser.type_in(COMPOSE, "/run-test socA build-slow").await;
    browser.sees(&card(3), "Testing").await;
    browser.press(&button(3, "Power Cycle")).await;
    browser.sees("//dialog", "this attempt ends").await;
    browser.press("//dialog//button[@value='yes']").await;
    let cycled = browser.sees(&card(3), "power-cycled").await;
    assert!(
        cycled.contains("Lab trouble") && cycled.contains("Power-cycled by alice"),
        "says what happened and who did it: {cycled}"
    );

    browser.type_in(COMPOSE, "/run-test socA build-slow").await;
    browser.sees(&card(4), "Testing").await;
    browser.press(&button(4, "Cancel")).await;
    browser.press("//dialog//button[@value='yes']").await;
    browser.sees(&card(4), "Ended by alice").await;
    assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_fills_in_a_form_and_sees_what_is_wrong_with_it_in_place() {
    let (_demo, url) = demo().await;
    let (browser, _driver) = Browser::start().await;
    browser.open(&url).await;
    let form = "//dialog[@id='form']";
    let field = |label: &str| format!("{form}//*[@aria-label='{label}']");

    browser.type_in(COMPOSE, "/run-test").await;
    browser.sees(form, "Its id, as CI names it").await;
    browser.press(&format!("{form}//button[.='Run']")).await;
    browser.sees(form, "Please complete this required field.").await;
    browser.type_in(&field("Build"), "build 123").await;
    browser.press(&format!("{form}//button[.='Run']")).await;
    browser.sees(form, "is not a build").await;
    browser.press(&format!("{form}//button[.='Cancel']")).await;
    browser.sees(&format!("{form}[not(@open)]"), "").await;

    browser.type_in(COMPOSE, "/run-test").await;
    browser.sees(form, "Its id, as CI names it").await;
    // The driver takes no choice of a list in a dialog for visible.
    let choose = "const list = document.querySelector('#form select'); list.value = 'socB'; \
        list.dispatchEvent(new Event('change'));";
    let chosen = browser.ask("POST", "/execute/sync", &json!({ "script": choose, "args": [] })).await;
    chosen.expect("another family is chosen");
    browser.type_in(&field("Build"), "build-123").await;
    browser.press(&format!("{form}//button[.='Run']")).await;
    browser.sees(&card(1), "Passed").await;
    assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asked_for_in_feishu_is_read_pressed_and_confirmed_there_and_seen_in_both() {
    let (_demo, url) = demo().await;
    let (browser, _driver) = Browser::start().await;
    browser.open(&url).await;
    let theirs = "//div[@id='f-log']//div[contains(@class,'card')][h3[starts-with(.,'#1 ')]]";

    browser.type_in("//div[@id='f-compose']//textarea", "run socA build-slow").await;
    browser.sees(theirs, "Testing").await;
    let ours = browser.sees(&card(1), "Testing").await;
    assert!(ours.contains("Li Lei"), "who asked in Feishu is named in Slack: {ours}");
    browser.press(&format!("{theirs}//button[.='Cancel']")).await;
    browser.sees("//dialog", "Cancel").await;
    browser.press("//dialog//button[@value='yes']").await;
    browser.sees(theirs, "Ended by Li Lei").await;
    browser.sees(&card(1), "Ended by Li Lei").await;
    browser.sees("//div[@id='f-log']", "Cancelled by").await;

    browser.press(&format!("{theirs}//button[.='Retry']")).await;
    browser.sees(theirs, "Retried as #2").await;
    browser.sees(&card(2), "Testing").await;
    browser.press(&button(2, "Cancel")).await;
    browser.press("//dialog//button[@value='yes']").await;
    browser
        .sees("//div[@id='f-log']//div[contains(@class,'card')][h3[starts-with(.,'#2 ')]]", "Ended by alice")
        .await;
    assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_followed_in_the_channel_and_its_runs_in_the_thread() {
    let (_demo, url) = demo().await;
    let (browser, _driver) = Browser::start().await;
    browser.open(&url).await;
    let batch = "//div[@id='log']//div[contains(@class,'card')][h3[starts-with(.,'#1–#2 ')]]";
    let second = "//div[@id='thread-log']//div[contains(@class,'card')][h3[starts-with(.,'#2 ')]]";

    browser.type_in(COMPOSE, "/run-test soc-b-001 build-slow x2").await;
    browser.sees(batch, "1 testing, 1 waiting…").await;
    browser.press(&format!("{batch}/../button[contains(@class,'replies')]")).await;
    browser.sees(second, "Waiting for a board").await;
    browser.press(&format!("{second}//button[.='Cancel']")).await;
    browser.press("//dialog//button[@value='yes']").await;
    browser.sees("//div[@id='thread-log']", "#2 is cancelled. It had no board yet.").await;
    browser.sees(second, "Ended by alice while it waited").await;
    browser.sees(batch, "1 cancelled, 1 testing…").await;

    browser.press(&format!("{batch}//button[.='Cancel all']")).await;
    browser.sees("//dialog", "Every one of them that is not finished ends now").await;
    browser.press("//dialog//button[@value='yes']").await;
    browser.sees(batch, "2 cancelled").await;
    assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_is_read_beside_its_thread() {
    let (_demo, url) = demo().await;
    let (browser, _driver) = Browser::start().await;
    browser.open(&url).await;
    for (run, build, end) in [(1, "build-123", "Passed"), (2, "build-fail", "Failed")] {
        browser.type_in(COMPOSE, &format!("/run-test socA {build}")).await;
        browser.sees(&card(run), end).await;
    }
    browser.press(&replies(2)).await;
    browser.sees("//div[@id='thread-log']", "Failed · tests-failed on").await;
    browser.clock.sleep(SETTLED).await;
    let picture = browser.ask("GET", "/screenshot", &Value::Null).await.expect("a picture");
    // docs/pictures/make.sh wants it, as the base64 that the driver gives.
    if let Ok(path) = std::env::var("BOARDHAND_PICTURE") {
        std::fs::write(path, picture.as_str().expect("base64")).expect("is written");
    }
    assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_board_is_tried_from_the_chat_of_the_demo() {
    let rig = Rig::new();
    let port = rig.busybox_telnetd("/bin/login", true);
    let boards = rig.path("boards.yaml");
    let text = format!(
        "boards: [{{board_id: bench-1, soc_family: bench, board_ip: 127.0.0.1, telnet_port: {port}, telnet_username: lab, \
         telnet_password: lab, lab_location: Desk}}]\nfamilies: {{bench: {{suites: {{smoke: hello}}}}}}\n\
         plans: {{hello: {{test: [{{name: hello, run: 'test -d /proc/self && echo as real as it gets'}}]}}}}\n"
    );
    std::fs::write(&boards, text).expect("a lab file");
    let boards = boards.display().to_string();
    let (_demo, url) = demo_of(&["--boards", &boards, "--real-boards"]).await;
    let (browser, _driver) = Browser::start().await;
    browser.open(&url).await;
    browser.type_in(COMPOSE, "/run-test bench build-1").await;
    let passed = browser.sees(&card(1), "Passed").await;
    assert!(passed.contains("bench-1") && passed.contains("no power switch"), "{passed}");
    assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
}

/// The demo on a free port; its data goes with the folder.
async fn demo() -> ((Group, tempfile::TempDir), String) {
    demo_of(&["--fast"]).await
}

async fn demo_of(more: &[&str]) -> ((Group, tempfile::TempDir), String) {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().display().to_string();
    let args = [&["demo", "--listen", "127.0.0.1:0", "--data-dir", &folder], more].concat();
    let (child, url) = start("boardhand", env!("CARGO_BIN_EXE_boardhand"), &args, |line| {
        line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned)
    })
    .await;
    ((child, data), url)
}

fn replies(run: u32) -> String {
    format!("{}/../button[contains(@class,'replies')]", card(run))
}

fn button(run: u32, label: &str) -> String {
    format!("{}//button[.='{label}']", card(run))
}

/// Starts a program and waits for the word that `find` gets out of what it says.
async fn start(
    name: &str,
    program: &str,
    args: &[&str],
    find: impl Fn(&str) -> Option<String>,
) -> (Group, String) {
    let started = try_start(name, program, args, find).await;
    started.unwrap_or_else(|| panic!("{name} ended without saying where it listens"))
}

/// The same; nothing when it ends before it has said that.
async fn try_start(
    name: &str,
    program: &str,
    args: &[&str],
    find: impl Fn(&str) -> Option<String>,
) -> Option<(Group, String)> {
    let mut command = Command::new(program);
    command.args(args).env_remove("RUST_LOG").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{name} does not start ({error}). On Debian: apt-get install chromium chromium-driver")
    });
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let group = Group(child.id().expect("it runs"));
    let said = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(found) = find(&line) {
                return Some(found);
            }
        }
        None
    };
    let found = Clock::system()
        .timeout(STARTS_WITHIN, said)
        .await
        .unwrap_or_else(|_| panic!("{name} starts in time"))?;
    // What it says later must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some((group, found))
}

/// A program and everything that it started: a browser outlives its driver otherwise.
pub(crate) struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0);
        let _ = std::process::Command::new("kill").args(["-KILL", "--", &group]).status();
    }
}

/// A browser window, through its driver. Closed with the driver.
pub(crate) struct Browser {
    pub(crate) clock: Clock,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) async fn start() -> (Browser, Group) {
        let (driver, port) = Browser::driver().await;
        let port = port.parse().expect("a port");
        let profile = tempfile::tempdir().expect("a folder");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,1560",
            &format!("--user-data-dir={}", profile.path().display()),
        ]
        .map(str::to_owned);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": args}, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Browser { clock: Clock::system(), port, session: String::new(), _profile: profile };
        let made = browser.call("POST", "/session", &wanted).await.unwrap_or_else(|error| {
            panic!("chromium does not start: {error}. On Debian: apt-get install chromium chromium-driver")
        });
        browser.session = format!("/session/{}", made["sessionId"].as_str().expect("a session"));
        (browser, driver)
    }

    /// The driver, and its port. It takes a free port for IPv4 and then the same for IPv6, which somebody else may have.
    async fn driver() -> (Group, String) {
        let said = |line: &str| {
            line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
        };
        for _ in 0..DRIVER_TRIES_MAX {
            if let Some(started) = try_start("chromedriver", "chromedriver", &["--port=0"], said).await {
                return started;
            }
        }
        panic!("chromedriver finds no port to listen on");
    }

    pub(crate) async fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url })).await.expect("the page opens");
    }

    /// Types a line into a box, and Enter.
    pub(crate) async fn type_in(&self, place: &str, text: &str) {
        let typed = json!({ "text": format!("{text}{ENTER}") });
        self.until(&format!("type {text:?}"), async || {
            let element = self.find(place).await?;
            self.ask("POST", &format!("/element/{element}/value"), &typed).await.map(|_| String::new())
        })
        .await;
    }

    /// Presses what is there as soon as it can be pressed: a card may be redrawn under the pointer.
    pub(crate) async fn press(&self, place: &str) {
        self.until(&format!("press {place}"), async || {
            let element = self.find(place).await?;
            self.ask("POST", &format!("/element/{element}/click"), &json!({})).await.map(|_| String::new())
        })
        .await;
    }

    /// Waits until the text is seen at that place; gives all that is seen there.
    pub(crate) async fn sees(&self, place: &str, text: &str) -> String {
        self.until(&format!("see {text:?} at {place}"), async || {
            let element = self.find(place).await?;
            let seen = self.ask("GET", &format!("/element/{element}/text"), &Value::Null).await?;
            let seen = seen.as_str().unwrap_or_default().to_owned();
            if seen.contains(text) { Ok(seen) } else { Err(seen) }
        })
        .await
    }

    /// What the page complained about.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let log =
            self.ask("POST", "/se/log", &json!({ "type": "browser" })).await.expect("the browser's log");
        let entries = log.as_array().cloned().unwrap_or_default();
        // A browser asks every server for a little picture.
        let own =
            entries.iter().filter_map(|entry| entry["message"].as_str()).filter(|m| !m.contains("favicon"));
        own.map(str::to_owned).collect()
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        attempt: impl AsyncFn() -> Result<String, String>,
    ) -> String {
        let end = self.clock.monotonic() + PATIENCE;
        loop {
            match attempt().await {
                Ok(found) => return found,
                Err(last) => assert!(self.clock.monotonic() < end, "waited in vain to {what}; last: {last}"),
            }
            self.clock.sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn find(&self, place: &str) -> Result<String, String> {
        let found = self.ask("POST", "/element", &json!({ "using": "xpath", "value": place })).await?;
        Ok(found[ELEMENT].as_str().expect("an element").to_owned())
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.call(method, &format!("{}{path}", self.session), body).await
    }

    /// One request to the driver: `Ok` with its value, `Err` with what it says went wrong.
    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = exchange(self.port, method, path, body).await.map_err(|error| error.to_string())?;
        let value = answer["value"].clone();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"].as_str().unwrap_or_default())),
            None => Ok(value),
        }
    }
}

/// One HTTP exchange with JSON in and out.
async fn exchange(port: u16, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().expect("a length"),
            Some(_) => {}
            None if line.is_empty() => break,
            None => {}
        }
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}
