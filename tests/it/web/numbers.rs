//! Pages that are large, in a real browser: a wall of a thousand boards, a log of half a gigabyte, a table of ten thousand tests.
//! What is asserted is what a slow machine beside others reaches with a program that is not optimised; what was measured is
//! told, and stands in `docs/measured.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{Browser, signed_in, thousand};
use crate::lab::{lab, yaml};

/// How large the log is, in MiB; another with `BOARDHAND_LOG_MB`.
const LOG_MB: u64 = 64;

impl Browser {
    /// What a script says at its end, which it calls `done` with.
    async fn waits_for(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.ask("POST", "/execute/async", &json!({ "script": script, "args": [] }))
            .await
            .expect("the script ends")
    }

    /// When the page was painted first, in milliseconds since it was asked for.
    async fn painted(&self) -> f64 {
        let paint = "const look = () => { const at = performance.getEntriesByName('first-contentful-paint')[0]; \
                     if (at) done(at.startTime); else setTimeout(look, 20); }; look();";
        self.waits_for(paint).await.as_f64().expect("a time")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_of_a_thousand_boards_is_painted_at_once() {
    lab(&thousand(), async |lab| {
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        let mut painted = Vec::new();
        for _ in 0..7 {
            browser.open(&format!("{}/", lab.door)).await;
            painted.push(browser.painted().await);
        }
        painted.sort_by(f64::total_cmp);
        println!("wall of 1000 boards: first paint after {painted:.0?} ms");
        assert!(painted[3] < 2_000.0, "{painted:?}");
        lab.read_all();
    })
    .await;
}

/// A log of so many bytes, in lines whose numbers they say; as long as a board would have taken for it.
fn write_log(folder: &Path, bytes: u64) -> u64 {
    std::fs::create_dir_all(folder).expect("a folder");
    let open =
        |name: &str| std::io::BufWriter::new(std::fs::File::create(folder.join(name)).expect("a file"));
    let (mut raw, mut index) = (open("console.raw"), open("console.idx"));
    writeln!(index, "# 1700000000000000").expect("is written");
    let (mut at, mut line) = (0, 0);
    let mut text = String::new();
    while at < bytes {
        writeln!(index, "R {at} {}", line * 2_000).expect("is written");
        text.clear();
        for _ in 0..8 {
            line += 1;
            let _ = writeln!(
                text,
                "[{:8}.{:06}] npu fde40000.npu: \u{1b}[32mline {line}\u{1b}[0m done",
                line / 500,
                line % 500
            );
        }
        raw.write_all(text.as_bytes()).expect("is written");
        at += text.len() as u64;
    }
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_log_is_scrolled_to_any_place_without_a_stop() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        lab.verdict(run).await;
        lab.settle().await;
        let mb = std::env::var("BOARDHAND_LOG_MB").ok().and_then(|mb| mb.parse().ok()).unwrap_or(LOG_MB);
        let folder = lab.data.path().join("transcripts/1/1");
        let lines = write_log(&folder, mb << 20);
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        browser.open(&format!("{}/runs/1", lab.door)).await;
        println!("{mb} MiB, {lines} lines: painted after {:.0} ms", browser.painted().await);
        browser.sees("//ol[@id='log']/li[last()]", &format!("line {lines} done")).await;
        let numbers = "const rows = [...document.querySelectorAll('#log li')]; \
            return rows.length < 8000 && rows.every((row, n) => row.textContent.includes('line ' + row.id.slice(1) + ' ') \
            && (n === 0 || Number(row.id.slice(1)) === Number(rows[n - 1].id.slice(1)) + 1))";
        browser.holds("the rows follow each other", numbers).await;
        // Up, a screen at a time, as fast as frames come: how long the longest took.
        let scroll = "const log = document.getElementById('log'); let longest = 0, last = performance.now(), n = 0; \
            const frame = (now) => { longest = Math.max(longest, now - last); last = now; \
            log.scrollTop -= 400; if (++n < 400) requestAnimationFrame(frame); \
            else done({ longest, first: Number(log.firstElementChild.id.slice(1)), rows: log.children.length }); }; \
            requestAnimationFrame(frame);";
        let scrolled = browser.waits_for(scroll).await;
        println!("400 screens up: {scrolled}");
        let reached = lines - scrolled["first"].as_u64().expect("a line");
        assert!(reached > 2_000 && scrolled["rows"].as_u64().is_some_and(|rows| rows < 8_000), "{scrolled}");
        assert!(scrolled["longest"].as_f64().is_some_and(|longest| longest < 1_000.0), "{scrolled}");
        browser.holds("the rows follow each other still", numbers).await;
        // To the middle, by the slider; and to a line, by its address.
        let begin = lab.clock.monotonic();
        browser.run("const place = document.getElementById('place'); place.value = 500; place.dispatchEvent(new Event('change'))").await;
        let middle = format!("const id = Number(document.querySelector('#log li').id.slice(1)); return Math.abs(id - {}) < {}", lines / 2, lines / 20);
        browser.holds("the middle", &middle).await;
        println!("to the middle: {} ms", lab.clock.monotonic().since(begin).as_millis());
        browser.holds("the rows follow each other there", numbers).await;
        let down = "const log = document.getElementById('log'); let n = 0; const frame = () => { log.scrollTop += 400; \
            if (++n < 200) requestAnimationFrame(frame); else done(Number(log.lastElementChild.id.slice(1))); }; frame();";
        let last = browser.waits_for(down).await;
        assert!(last.as_u64().is_some_and(|last| last > lines / 2 + 2_000), "{last}");
        browser.holds("the rows follow each other down", numbers).await;
        browser.open(&format!("{}/runs/1#L12345", lab.door)).await;
        browser.holds("the line", "return document.querySelector('#log li:target, #L12345') !== null").await;
        browser.run("document.getElementById('follow').click()").await;
        browser.sees("//ol[@id='log']/li[last()]", &format!("line {lines} done")).await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.read_all();
    })
    .await;
}

const TEN_THOUSAND: &str = "UPDATE attempts SET outcome = json_set(outcome, '$.cases', json((
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    SELECT json_group_array(json_object('name', printf('suite_%d.test_%05d', i % 50, i),
        'status', CASE WHEN i % 97 = 0 THEN 'failed' ELSE 'passed' END, 'took_us', i)) FROM n)))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tests_are_filtered_as_they_are_typed() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        lab.verdict(run).await;
        lab.settle().await;
        lab.tamper(TEN_THOUSAND).await;
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        browser.open(&format!("{}/runs/1", lab.door)).await;
        println!("10000 tests: painted after {:.0} ms", browser.painted().await);
        let rows = "return document.querySelectorAll('#cases tr').length === 10000";
        browser.holds("every row", rows).await;
        let type_ = |text: &str| {
            format!(
                "const input = document.getElementById('filter'); input.value = '{text}'; const begin = performance.now(); \
                 input.dispatchEvent(new Event('input')); setTimeout(() => requestAnimationFrame(() => setTimeout(() => \
                 done([performance.now() - begin, [...document.querySelectorAll('#cases tr')].filter((row) => !row.hidden).length]))), 61);"
            )
        };
        for (text, left) in [("test_0999", 10), ("failed", 103), ("", 10_000)] {
            let told = browser.waits_for(&type_(text)).await;
            println!("filter {text:?}: {told}");
            assert_eq!(told[1], left, "{text}");
            assert!(told[0].as_f64().is_some_and(|took| took < 3_000.0), "{told}");
        }
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.read_all();
    })
    .await;
}
