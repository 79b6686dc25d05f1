//! Metrics as Prometheus reads them: a day in the life of a lab and what a reading of it says, who may read it, and
//! Prometheus' own judgement of names and format.

use std::process::Stdio;

use boardhand::sim::slack::{ApiFault, Delivered, sign};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::lab::{ADMIN_TOKEN, CHANNEL, Lab, lab, yaml};

/// A reading, with these headers: the status and the page.
pub(crate) async fn read(lab: &Lab, headers: &[&str]) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-w", "\n%{http_code}"]);
    for header in headers {
        curl.args(["-H", header]);
    }
    let output = curl.arg(format!("{}/metrics", lab.door)).output().await.expect("curl");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (page, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), page.to_owned())
}

/// The value of a series, which must be there.
#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().expect("a number")
}

/// What `promtool` says about this text, and whether it is content.
pub(crate) async fn promtool(args: &[&str], text: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool");
    promtool.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool runs; on Debian: apt-get install prometheus");
    let mut input = promtool.stdin.take().expect("is piped");
    // One that refuses its arguments reads nothing.
    let _ = input.write_all(text.as_bytes()).await;
    drop(input);
    let output = promtool.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

/// A command as Slack signs it now.
fn command(lab: &Lab, secret: &str, text: &str) -> Delivered {
    let body = format!(
        "team_id=T0LAB&channel_id=C0SOCCI&user_id=U0ALICE&user_name=alice&command=%2Flab&text={text}&trigger_id=1.2&\
         response_url=http%3A%2F%2F127.0.0.1%3A1%2Fnowhere"
    );
    let at = lab.clock.now().as_secs();
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
        ("X-Slack-Request-Timestamp", at.to_string()),
        ("X-Slack-Signature", sign(secret, at, body.as_bytes())),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Delivered { headers, body: body.into_bytes() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_in_the_life_of_a_lab_is_counted_and_survives_no_restart() {
    lab(&yaml::small(1), async |lab| {
        let passed = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(passed).await, "passed in testing");
        let failed = lab.run("bob", "/run-test socA build-fail").await;
        assert_eq!(lab.verdict(failed).await, "failed tests-failed in testing");
        lab.settle().await;

        let crawls = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(crawls, "testing").await;
        let waits = lab.run("bob", "/run-test socA build-123").await;
        lab.say("bob", "/lab reserve socA 1h bring-up").await;
        lab.say("bob", "/lab reserve socB 1h bring-up").await;
        lab.say_until("bob", "/lab boards socB", "bob").await;
        let (status, page) = read(lab, &[]).await;
        assert_eq!(status, 200, "{page}");
        for (series, expected) in [
            ("boardhand_runs{state=\"testing\"}", 1.0),
            ("boardhand_runs{state=\"queued\"}", 1.0),
            ("boardhand_queue_runs{family=\"socA\"}", 1.0),
            ("boardhand_queue_runs{family=\"socB\"}", 0.0),
            ("boardhand_reservations_waiting{family=\"socA\"}", 1.0),
            ("boardhand_boards{site=\"Lab Site A\",family=\"socA\",state=\"run\"}", 1.0),
            ("boardhand_boards{site=\"Lab Site A\",family=\"socA\",state=\"free\"}", 0.0),
            ("boardhand_boards{site=\"Lab Site B\",family=\"socB\",state=\"held\"}", 1.0),
            ("boardhand_leases{holder=\"run\"}", 1.0),
            ("boardhand_leases{holder=\"person\"}", 1.0),
            ("boardhand_leases{holder=\"check\"}", 0.0),
            ("boardhand_runs_finished_total{kind=\"test\",verdict=\"passed\",cause=\"\"}", 1.0),
            ("boardhand_runs_finished_total{kind=\"test\",verdict=\"failed\",cause=\"tests-failed\"}", 1.0),
            ("boardhand_runs_finished_total{kind=\"test\",verdict=\"infra\",cause=\"\"}", 0.0),
            ("boardhand_attempts_total{kind=\"test\",verdict=\"passed\",cause=\"\"}", 1.0),
            ("boardhand_attempt_duration_seconds_count", 2.0),
            ("boardhand_grant_latency_seconds_count", 3.0),
            ("boardhand_lease_expiries_total", 0.0),
            ("boardhand_dead_letters", 0.0),
            ("boardhand_platform_trouble{platform=\"slack\"}", 0.0),
        ] {
            assert_eq!(value(&page, series), expected, "{series} in\n{page}");
        }
        assert!(value(&page, "boardhand_queue_oldest_age_seconds{family=\"socA\"}") > 0.0, "{page}");
        assert!(value(&page, "boardhand_console_received_bytes_total") > 1_000.0, "{page}");
        assert!(value(&page, "boardhand_store_commit_duration_seconds_count") > 20.0, "{page}");
        assert!(value(&page, "boardhand_platform_calls_total{platform=\"slack\",result=\"sent\"}") > 4.0);
        let started = value(&page, "process_start_time_seconds");
        assert!(started > 0.0 && started <= lab.clock.now().as_secs() as f64 + 1.0, "{started}");
        assert!(value(&page, "process_resident_memory_bytes") > 1e6, "{page}");
        let version = format!("boardhand_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&page, &version), 1.0, "{page}");
        for hidden in ["alice", "bob", "build-", "soc-a-001", "bring-up"] {
            assert!(!page.contains(hidden), "{hidden} is nobody's business:\n{page}");
        }

        lab.say("bob", &format!("/lab cancel {waits}")).await;
        lab.say("alice", &format!("/lab cancel {crawls}")).await;
        lab.say_until("bob", "/lab boards socA", "bob").await;
        lab.say("bob", "/lab release socA").await;
        lab.say("bob", "/lab release socB").await;
        lab.settle().await;
        let (_, page) = read(lab, &[]).await;
        let cancelled =
            "boardhand_runs_finished_total{kind=\"test\",verdict=\"cancelled\",cause=\"cancelled\"}";
        assert_eq!(value(&page, cancelled), 2.0, "{page}");
        assert_eq!(
            value(&page, "boardhand_attempts_total{kind=\"test\",verdict=\"cancelled\",cause=\"cancelled\"}"),
            1.0
        );
        assert_eq!(value(&page, "boardhand_outbox_messages{kind=\"card\"}"), 0.0, "{page}");

        lab.restart().await;
        let (_, page) = read(lab, &[]).await;
        assert_eq!(
            value(&page, "boardhand_attempt_duration_seconds_count"),
            0.0,
            "counts of another process"
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_is_counted_by_platform_and_end() {
    lab(&yaml::small(1), async |lab| {
        let signed = command(lab, "test-signing-secret", "boards");
        for _ in 0..3 {
            assert_eq!(lab.slack.send(&signed).await.status, 200);
        }
        assert_eq!(lab.slack.send(&command(lab, "a-secret-of-somebody-else", "boards")).await.status, 401);
        let (_, page) = read(lab, &[]).await;
        let of = |result: &str| {
            value(&page, &format!("boardhand_deliveries_total{{platform=\"slack\",result=\"{result}\"}}"))
        };
        assert_eq!([of("fresh"), of("repeat"), of("unsigned"), of("busy")], [1.0, 2.0, 1.0, 0.0], "{page}");
        assert_eq!(value(&page, "boardhand_ack_duration_seconds_count"), 3.0, "{page}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_says_not_so_fast_is_counted() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.break_calls("chat.postMessage", ApiFault::RateLimited(1), 1);
        let run = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let (_, page) = read(lab, &[]).await;
        let limited = "boardhand_platform_calls_total{platform=\"slack\",result=\"rate-limited\"}";
        assert_eq!(value(&page, limited), 1.0, "{page}");
        lab.slack.channel(CHANNEL);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_proxy_metrics_need_a_token() {
    lab(&yaml::small(1), async |lab| {
        let token = format!("Authorization: Bearer {ADMIN_TOKEN}");
        for (headers, expected) in [
            (&[][..], 200),
            (&["X-Forwarded-For: 203.0.113.7"], 401),
            (&["Forwarded: for=203.0.113.7"], 401),
            (&["Via: 1.1 proxy"], 401),
            (&["X-Forwarded-For: 203.0.113.7", token.as_str()], 200),
            (&["Authorization: Bearer guessed"], 401),
        ] {
            let (status, page) = read(lab, headers).await;
            assert_eq!(status, expected, "{headers:?}: {page}");
            assert_eq!(page.contains("boardhand_"), expected == 200, "{page}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_takes_the_page_and_has_nothing_to_say_about_its_names() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let (_, page) = read(lab, &[]).await;
        assert_eq!(promtool(&["check", "metrics"], &page).await, (true, String::new()), "{page}");
        let (content, said) = promtool(&["check", "metrics"], "boardhand_runs_total{ 1\n").await;
        assert!(!content, "promtool looks at what it is given: {said}");
        lab.read_all();
    })
    .await;
}
