//! The pages in a real browser, as somebody looks at them: signing in, the board wall, a run with its live console, the
//! queue; by mouse, by keyboard alone, on a phone, in light and dark, and judged by axe's rules of accessibility.

mod act;
mod admin;
mod history;
mod live;
mod numbers;
pub(crate) mod sign_in;

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::browser::{Browser, ENTER};
use crate::console_real::rig::from_pypi;
use crate::lab::{ADMIN_TOKEN, Lab, lab, yaml};

/// Most bytes of a wall of 1,000 boards.
const WALL_BYTES_MAX: usize = 200_000;

/// Status, head and body that curl gets, with these arguments.
async fn curl(lab: &Lab, path: &str, args: &[&str]) -> (u16, String, String) {
    let mut curl = Command::new("curl");
    let output = curl.args(["-sS", "-i"]).args(args).arg(format!("{}{path}", lab.door)).output().await;
    let text = String::from_utf8(output.expect("curl").stdout).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// A cookie of whoever signed in.
async fn session(lab: &Lab) -> String {
    let form = format!("token={ADMIN_TOKEN}&next=/queue");
    let (status, head, _) = curl(lab, "/signin", &["--data", &form]).await;
    assert!(status == 303 && head.contains("location: /queue"), "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(
        cookie.contains("httponly") && cookie.contains("samesite=lax") && !cookie.contains(ADMIN_TOKEN),
        "{cookie}"
    );
    format!("Cookie: {}", cookie.split(';').next().expect("its value"))
}

/// The path and query of the link to a run's page that its card's log link leads a browser to.
async fn page_link(lab: &Lab, run: i64) -> String {
    let log = lab.link(run, &format!("/runs/{run}/log/"));
    let (status, head, _) = curl(lab, &log, &["-H", "Accept: text/html"]).await;
    assert_eq!(status, 303, "{head}");
    let to = head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a place");
    to.strip_prefix(&lab.door).expect("here").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_for_whoever_signed_in_and_a_message_s_link_opens_its_run_alone() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        let other = lab.run("bob", "/run-test socA build-123").await;
        lab.verdict(run).await;
        lab.verdict(other).await;
        lab.settle().await;
        for path in
            ["/", "/boards", "/queue", "/runs/1", "/runs/1?key=00112233445566778899aabbccddeeff", "/runs/99"]
        {
            let (status, head, body) = curl(lab, path, &[]).await;
            assert!(status == 303 && head.contains("location: /signin?next=%2f"), "{path}: {head}");
            assert!(
                body.is_empty() && head.contains("content-security-policy: default-src 'none'"),
                "{head}"
            );
        }
        let (status, ..) = curl(lab, "/runs/1/console/1", &[]).await;
        assert_eq!(status, 404);

        let link = page_link(lab, run).await;
        let (status, head, body) = curl(lab, &link, &[]).await;
        assert_eq!(status, 200, "{head}");
        assert!(body.contains("<h1 class=\"failed\">") && body.contains("build-fail"), "{body}");
        assert!(
            !body.contains("Sign out") && head.contains("referrer-policy: no-referrer"),
            "{head}\n{body}"
        );
        let (status, ..) = curl(lab, &link.replace("/runs/1", "/runs/2"), &[]).await;
        assert_eq!(status, 303, "another run's page");

        for wrong in ["token=guessed", "", "token="] {
            let (status, head, body) = curl(lab, "/signin", &["--data", wrong]).await;
            assert!(
                status == 401 && !head.contains("set-cookie") && body.contains("not known"),
                "{head}\n{body}"
            );
        }
        let form = format!("token={ADMIN_TOKEN}&next=https://evil.example/");
        let (_, head, _) = curl(lab, "/signin", &["--data", &form]).await;
        assert!(head.contains("location: /\r\n"), "{head}");
        let cross = ["--data", &form, "-H", "Sec-Fetch-Site: cross-site"];
        assert_eq!(curl(lab, "/signin", &cross).await.0, 401, "another site signs nobody in");
        let cookie = session(lab).await;
        for path in ["/", "/queue", "/runs/1", "/runs/2"] {
            let (status, head, body) = curl(lab, path, &["-H", &cookie]).await;
            assert!(status == 200 && head.contains("cache-control: no-store"), "{path}: {head}\n{body}");
        }
        let (status, _, body) = curl(lab, "/runs/99", &["-H", &cookie]).await;
        assert!(status == 404 && body.contains("There is no run #99"), "{body}");
        lab.read_all();
    })
    .await;
}

/// 999 boards of socA and one of socB.
fn thousand() -> String {
    let boards = (1..=999).map(|n| {
        let ip = format!("10.9.{}.{}", n / 200, n % 200 + 1);
        format!(
            "  - {{board_id: soc-a-{n:03}, soc_family: socA, board_ip: {ip}, lab_location: Lab Site A, power: {{driver: none}}}}\n"
        )
    });
    yaml::small(1)
        .replacen("boards:\n", "", 1)
        .split_once("  - {board_id: soc-b-001")
        .map_or_else(String::new, |(_, rest)| {
            format!("boards:\n{}  - {{board_id: soc-b-001{rest}", boards.collect::<String>())
        })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_of_a_thousand_boards_is_light_and_asks_nobody_else_for_anything() {
    lab(&thousand(), async |lab| {
        lab.say("bob", "/lab quarantine soc-a-500 <b>the fan</b> & more").await;
        lab.say_until("bob", "/lab board soc-a-500", "fan").await;
        let cookie = session(lab).await;
        let (status, _, body) = curl(lab, "/", &["-H", &cookie]).await;
        assert_eq!(status, 200, "{body}");
        assert!(body.len() < WALL_BYTES_MAX, "{} bytes", body.len());
        assert_eq!(body.matches("<li class=free>").count(), 999);
        assert!(
            body.contains("the fan") && body.contains("&amp; more") && !body.contains("<b>the fan"),
            "{body}"
        );
        let asked = regex::Regex::new("(?:src|href|action)=\"([^\"]+)\"").expect("a pattern");
        let foreign: Vec<_> =
            asked.captures_iter(&body).filter(|hit| !hit[1].starts_with(['/', '#'])).collect();
        assert!(foreign.is_empty() && !body.contains("style="), "{foreign:?}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

impl Browser {
    /// Runs a script on the page; gives what it returns.
    async fn run(&self, script: &str) -> Value {
        let asked = json!({ "script": script, "args": [] });
        self.ask("POST", "/execute/sync", &asked).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until a script says so.
    async fn holds(&self, what: &str, script: &str) {
        self.until(what, async || {
            let said = self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] })).await?;
            if said == true { Ok(String::new()) } else { Err(said.to_string()) }
        })
        .await;
    }

    /// Presses keys, wherever the keyboard is.
    async fn keys(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|way| json!({ "type": way, "value": key.to_string() })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.ask("POST", "/actions", &actions).await.expect("the keys are pressed");
    }

    async fn show_as(&self, scheme: &str, width: u32, height: u32) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.ask("POST", "/goog/cdp/execute", &media).await.expect("a scheme");
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let metrics = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.ask("POST", "/goog/cdp/execute", &metrics).await.expect("a size");
    }

    /// A picture for the documents, where docs/pictures/make.sh wants one: as the base64 that the driver gives.
    async fn picture(&self, name: &str) {
        if let Ok(folder) = std::env::var("BOARDHAND_PICTURES") {
            let picture = self.ask("GET", "/screenshot", &Value::Null).await.expect("a picture");
            let path = PathBuf::from(folder).join(name);
            std::fs::write(path, picture.as_str().expect("base64")).expect("is written");
        }
    }

    /// What is wrong with a page in light and dark, on a desk and on a phone: by axe's rules, or because it does not fit.
    async fn wrong_with(&self, lab: &Lab, path: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for (scheme, width, height) in
            [("light", 1400, 900), ("dark", 1400, 900), ("light", 390, 844), ("dark", 390, 844)]
        {
            self.show_as(scheme, width, height).await;
            self.open(&format!("{}{path}", lab.door)).await;
            let found = self.axe().await;
            wrong.extend(found.into_iter().map(|found| format!("{path} {scheme} {width}: {found}")));
            let wide = self.run("return document.documentElement.scrollWidth - innerWidth").await;
            if wide.as_i64().is_none_or(|wide| wide > 0) {
                wrong.push(format!("{path} is {wide} wider than {width}"));
            }
            let name = path.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            self.picture(&format!("{name}-{scheme}-{width}.base64")).await;
        }
        wrong
    }

    /// What axe finds wrong with the page as it is shown now.
    async fn axe(&self) -> Vec<String> {
        self.run(&std::fs::read_to_string(axe()).expect("axe")).await;
        let run = "const done = arguments[arguments.length - 1]; \
                   axe.run(document).then((r) => done(r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary).join(' | '))))";
        let asked = json!({ "script": run, "args": [] });
        let found = self.ask("POST", "/execute/async", &asked).await.expect("axe runs");
        found.as_array().expect("a list").iter().map(|v| v.as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The rules, which a package of PyPI carries.
fn axe() -> PathBuf {
    let venv = from_pypi("axe", "axe-core-python==0.1.0", "python")
        .parent()
        .and_then(|bin| bin.parent())
        .map(PathBuf::from);
    let lib = venv.expect("an environment").join("lib");
    let python = std::fs::read_dir(&lib).expect("lib").flatten().next().expect("python").path();
    python.join("site-packages/axe_core_python/axe.min.js")
}

async fn signed_in(lab: &Lab, browser: &Browser) {
    browser.open(&format!("{}/", lab.door)).await;
    browser.type_in("//input[@id='token']", ADMIN_TOKEN).await;
    browser.sees("//h1", "Boards").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_and_follows_a_run_from_the_wall_to_its_end() {
    lab(&yaml::small(1), async |lab| {
        let (browser, _driver) = Browser::start().await;
        browser.open(&format!("{}/runs/1", lab.door)).await;
        browser.type_in("//input[@id='token']", "not-the-token").await;
        browser.sees("//*[@role='alert']", "not known").await;
        signed_in(lab, &browser).await;
        browser.sees("//li[@class='free'][b='soc-a-001']", "free").await;

        let run = lab.run("alice", "/run-test socA build-crawl").await;
        browser.sees("//li[@class='run'][b='soc-a-001']", "#1 build-crawl testing").await;
        browser.press("//li[@class='run']/a[.='#1']").await;
        browser.sees("//h1", "#1").await;
        browser.sees("//ol[@id='log']", "login").await;
        let lines = browser.run("return document.querySelectorAll('#log li').length").await;
        browser.holds("more lines", &format!("return document.querySelectorAll('#log li').length > {lines} + 3")).await;
        browser.holds("the end in sight", "const l = document.getElementById('log'); return l.scrollTop + l.clientHeight >= l.scrollHeight - 40").await;

        let waits = lab.run("bob", "/run-test socA build-fail").await;
        browser.press("//nav//a[.='Queue']").await;
        browser.sees("//ul[@class='rows'][1]/li", "soc-a-001").await;
        browser.type_in("//input[@id='filter']", "nothing-like-it").await;
        browser.holds("nothing left", "return [...document.querySelectorAll('#live li')].every((row) => row.hidden)").await;
        lab.say("alice", &format!("/lab cancel {run}")).await;
        browser.open(&format!("{}/runs/{waits}", lab.door)).await;
        browser.sees("//h1[@class='failed']", "#2").await;
        let failed = browser.sees("//tbody[@id='cases']", "failed").await;
        assert!(failed.contains("passed"), "{failed}");
        browser.type_in("//input[@id='filter']", "failed").await;
        let rows = "const rows = [...document.querySelectorAll('#cases tr')]; \
                    return rows.some((row) => row.hidden) && rows.filter((row) => !row.hidden).every((row) => row.textContent.includes('failed'))";
        browser.holds("only failures", rows).await;
        let times = "return [...document.querySelectorAll('time')].every((t) => t.textContent && !t.textContent.includes('UTC'))";
        browser.holds("the reader's own time", times).await;
        // A line has an address of its own.
        browser.open(&format!("{}/runs/{waits}#L3", lab.door)).await;
        browser.holds("line 3 is shown", "return document.querySelector('#log li:target')?.id === 'L3'").await;
        browser.press("//form[@action='/signout']/button").await;
        browser.sees("//h1", "Sign in").await;
        browser.open(&format!("{}/queue", lab.door)).await;
        browser.sees("//h1", "Sign in").await;
        let complaints = browser.errors().await;
        let own: Vec<_> = complaints.iter().filter(|said| !said.contains("401 (Unauthorized)")).collect();
        assert_eq!(own, [""; 0], "the page reports no error");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_is_enough() {
    lab(&yaml::small(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        lab.verdict(run).await;
        let crawls = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(crawls, "testing").await;
        let (browser, _driver) = Browser::start().await;
        browser.open(&format!("{}/", lab.door)).await;
        browser.holds("the field has the keyboard", "return document.activeElement.id === 'token'").await;
        browser.keys(&format!("{ADMIN_TOKEN}{ENTER}")).await;
        browser.sees("//h1", "Boards").await;
        browser.keys("\u{e004}").await;
        browser
            .holds("first a way past the head", "return document.activeElement.className === 'skip'")
            .await;
        browser.keys("/").await;
        browser.holds("the filter", "return document.activeElement.id === 'filter'").await;
        browser.keys("crawl").await;
        browser
            .holds(
                "one board",
                "return [...document.querySelectorAll('.wall li')].filter((b) => !b.hidden).length === 1",
            )
            .await;
        browser.keys("\u{e004}").await;
        browser
            .holds("its board", "return document.activeElement.getAttribute('href').startsWith('/boards/')")
            .await;
        browser.keys("\u{e004}").await;
        browser.holds("its run", "return document.activeElement.getAttribute('href') === '/runs/2'").await;
        // What is drawn again every few seconds keeps the keyboard where it is.
        browser
            .holds("it is drawn again", "return document.activeElement.getAttribute('href') === '/runs/2'")
            .await;
        browser.keys(ENTER).await;
        browser.sees("//h1", "#2").await;
        lab.say("alice", &format!("/lab cancel {crawls}")).await;
        browser.sees("//h1[@class='cancelled']", "#2").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_a_phone_and_keep_the_rules_of_accessibility_in_light_and_dark() {
    lab(&yaml::small(4), async |lab| {
        let failed = lab.run("alice", "/run-test socA build-fail").await;
        lab.verdict(failed).await;
        lab.settle().await;
        lab.say("bob", "/lab quarantine soc-a-004 the fan is dead").await;
        lab.say("bob", "/lab reserve soc-a-003 1h bring-up").await;
        lab.say_until("bob", "/lab boards socA", "bring-up").await;
        let (browser, _driver) = Browser::start().await;
        let mut wrong = Vec::new();
        browser.open(&format!("{}/signin", lab.door)).await;
        wrong.extend(browser.axe().await);
        signed_in(lab, &browser).await;
        for path in ["/", "/queue", "/runs/1"] {
            wrong.extend(browser.wrong_with(lab, path).await);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        for (path, name) in [("/", "wall.png.base64"), ("/runs/1", "run.png.base64")] {
            browser.show_as("light", 1200, 800).await;
            browser.open(&format!("{}{path}", lab.door)).await;
            browser.picture(name).await;
        }
        lab.say("bob", "/lab release soc-a-003").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
