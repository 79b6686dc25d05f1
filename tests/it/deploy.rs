//! What `deploy/` tells other programs: alert rules and a dashboard that name only what this server really exports, and
//! rules that fire when they should, as Prometheus itself judges them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boardhand::id::Ids;
use boardhand::store::Store;
use boardhand::store::sql::{SqlStore, SqliteOptions};
use regex::Regex;
use serde_json::Value;
use tokio::process::Command;

use crate::lab::{lab, socket_lab, yaml};
use crate::metrics::{promtool, read};

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|hit| hit[1].to_owned()).collect()
}

/// Every query of the dashboard: those of its panels and those of its variables.
fn dashboard_queries() -> String {
    fn walk(value: &Value, queries: &mut String) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value {
                Value::String(query) if ["expr", "query"].contains(&key.as_str()) => {
                    queries.push_str(query);
                    queries.push('\n');
                }
                value => walk(value, queries),
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(item, queries)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/boardhand.json")).expect("JSON");
    let mut queries = String::new();
    walk(&dashboard, &mut queries);
    queries
}

/// The expressions of the rules.
fn rule_queries() -> String {
    let rules = text("deploy/prometheus/alerts.yml");
    rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .map(|expr| format!("{expr}\n"))
        .collect()
}

/// The page's metrics as the manual lists them.
fn table(page: &str) -> String {
    let rows = page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let rows = rows.map(|(name, help)| format!("| `{name}` | {help} |\n"));
    format!("| metric | what it says |\n| --- | --- |\n{}", rows.collect::<String>())
}

/// What stands in these queries and not on the page of metrics: names, and labels with their values.
fn unknown(queries: &str, page: &str, recorded: &BTreeSet<String>) -> Vec<String> {
    let mut known = found(r"(?m)^((?:boardhand|process)_[a-z_]+)[ {]", page);
    known.extend(recorded.iter().cloned());
    // What has no value here: there are no workers.
    known.extend(found(r"(?m)^# TYPE ([a-z_]+) ", page));
    let named = found(r"\b((?:boardhand|process)[_:][a-z0-9_:]+)\b", queries);
    let mut unknown: Vec<String> = named.difference(&known).cloned().collect();
    // What Prometheus adds by itself, and what a dashboard fills in.
    let words = Regex::new(r#"([a-z_]+)(=|!=|=~)"([^"]*)""#).expect("a pattern");
    for hit in words.captures_iter(queries).filter(|hit| !["job", "instance"].contains(&&hit[1])) {
        let (label, value) = (&hit[1], &hit[3]);
        let whole = format!("{label}=\"{value}\"");
        let is_there = if value.starts_with('$') {
            page.contains(&format!("{label}=\""))
        } else {
            page.contains(&whole)
        };
        if !is_there {
            unknown.push(whole);
        }
    }
    let groups = found(r"by \(([a-z_, ]+)\)", queries);
    let grouped =
        groups.iter().flat_map(|labels| labels.split(", ")).filter(|l| !["job", "instance"].contains(l));
    unknown.extend(grouped.filter(|label| !page.contains(&format!("{label}=\""))).map(str::to_owned));
    unknown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_dashboard_name_only_what_is_exported_and_the_other_way_round() {
    let recorded = found(r"record: ([a-z0-9_:]+)", &text("deploy/prometheus/alerts.yml"));
    let (rules, dashboard) = (rule_queries(), dashboard_queries());
    // A socket, since only what is dialled can be up.
    socket_lab(&yaml::small(1), async |lab| {
        let (status, page) = read(lab, &[]).await;
        assert_eq!(status, 200, "{page}");
        assert_eq!(unknown(&rules, &page, &recorded), [""; 0], "the rules");
        assert_eq!(unknown(&dashboard, &page, &recorded), [""; 0], "the dashboard");

        let exported = found(r"(?m)^# TYPE ([a-z_]+) ", &page);
        let shown = |name: &&String| dashboard.contains(name.as_str());
        let forgotten: Vec<_> = exported.iter().filter(|name| !shown(name)).collect();
        assert_eq!(forgotten, [""; 0], "what the dashboard does not show");

        let manual = text("docs/operate.md");
        let (_, rest) = manual.split_once("<!-- metrics -->\n").expect("the metrics begin");
        let (listed, _) = rest.split_once("<!-- /metrics -->").expect("the metrics end");
        let table = table(&page);
        assert_eq!(listed.trim(), table.trim(), "put this between the markers:\n{table}");

        let typo = "sum by (platfrom) (boardhand_platform_call_total{result=\"rate-limitted\"})";
        let told = unknown(typo, &page, &recorded);
        assert_eq!(told, ["boardhand_platform_call_total", "result=\"rate-limitted\"", "platfrom"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_takes_the_rules_and_each_fires_when_it_should() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let path = |name: &str| folder.join(name).display().to_string();
    for args in [
        ["check", "config", &path("prometheus.yml")],
        ["check", "rules", &path("alerts.yml")],
        ["test", "rules", &path("alerts.test.yml")],
    ] {
        let (content, said) = promtool(&args, "").await;
        assert!(content && said.contains("SUCCESS"), "{args:?}: {said}");
    }
    let alerts = found(r"- alert: (\w+)", &text("deploy/prometheus/alerts.yml"));
    let tested = found(r"alertname: (\w+)", &text("deploy/prometheus/alerts.test.yml"));
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(tested, alerts, "every alert is tested");
    let told = found(r"(?m)^### (Boardhand\w+)$", &text("docs/operate.md"));
    assert_eq!(told, alerts, "docs/operate.md says what to do about each alert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_as_the_manual_makes_it_has_everything_that_was_committed() {
    let manual = text("docs/operate.md");
    let line =
        |begins: &str| manual.lines().find(|line| line.starts_with(begins)).expect("a command").to_owned();
    let (backup, restore) = (line("boardhand backup "), line("boardhand restore "));
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        lab.until_state(run, "testing").await;
        let kept = tempfile::tempdir().expect("a folder");
        let there = kept.path().join("data");
        let perform = async |command: &str, data: &Path| {
            let command = command.replacen("boardhand ", concat!(env!("CARGO_BIN_EXE_boardhand"), " "), 1);
            let command = command.replace("./data", &data.display().to_string());
            let command = command.replace("/backup/", &format!("{}/", kept.path().display()));
            let done = Command::new("sh").args(["-c", &command]).output().await.expect("sh");
            assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
        };
        perform(&backup, lab.data.path()).await;
        let made = std::fs::read_dir(kept.path()).expect("the folder").next().expect("a backup");
        let made = made.expect("an entry").file_name().to_string_lossy().into_owned();
        let named = restore.split_whitespace().nth(2).expect("a file").to_owned();
        perform(&restore.replace(&named, &format!("/backup/{made}")), &there).await;

        let store = SqlStore::open(&there, SqliteOptions::new(Ids::system())).await;
        let view = store.expect("opens").run_view(run).await.expect("reads").expect("is there");
        assert_eq!(view.run.spec.build.as_str(), "build-123");
        assert_eq!(lab.verdict(run).await, "passed in testing", "it goes on meanwhile");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
