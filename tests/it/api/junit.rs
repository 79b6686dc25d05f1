//! Reports, held against the schema of the CI that reads them: however a run ends, its report is one.

use std::path::Path;

use boardhand::sim::BootStage;
use tokio::process::Command;

use super::{admin, call};
use crate::console_real::rig::source_from_pypi;
use crate::lab::{lab, yaml};

/// Where the schema stands that Jenkins' plugins publish, as pytest tests its own reports with it.
const PACKAGE: &str = "pytest==8.4.2";
const SCHEMA: &str = "testing/example_scripts/junit-10.xsd";

/// What a real validator says of a file; empty where that is as it should be.
async fn wrong(schema: &Path, file: &Path) -> String {
    let mut lint = Command::new("xmllint");
    let done = lint.args(["--noout", "--nonet", "--schema"]).arg(schema).arg(file).output().await;
    let done = done.expect("xmllint (apt-get install libxml2-utils)");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { String::new() } else { said }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_report_is_one_by_the_schema_of_jenkins() {
    let schema = tokio::task::spawn_blocking(|| source_from_pypi("junit", PACKAGE, SCHEMA)).await;
    let schema = schema.expect("a schema");
    lab(&yaml::small(1), async |lab| {
        let start = async |build: &str| {
            let run = format!(r#"{{"family": "socA", "build": "{build}"}}"#);
            let (status, accepted) = call(lab, "POST", "/api/v1/runs", &[&admin()], &run).await;
            assert_eq!(status, 202, "{accepted}");
        };
        start("build-123").await;
        start("build-fail").await;
        lab.settle().await;
        let (_, board) = lab.boards.boards().next().expect("a board");
        board.set_faults(|faults| faults.panic_at = Some(BootStage::Kernel));
        start("build-124").await;
        lab.settle().await;
        board.set_faults(|faults| faults.panic_at = None);
        board.set_faults(|faults| faults.refuse = true);
        start("build-125").await;
        start("build-126").await;
        assert_eq!(call(lab, "DELETE", "/api/v1/runs/5", &[&admin()], "").await.0, 202);
        lab.settle().await;
        let mut verdicts = Vec::new();
        for number in 1..=5 {
            let (_, run) = call(lab, "GET", &format!("/api/v1/runs/{number}"), &[&admin()], "").await;
            verdicts.push(run["verdict"].as_str().unwrap_or_default().to_owned());
            let path = format!("/api/v1/runs/{number}/junit.xml");
            let (status, report) = call(lab, "GET", &path, &[&admin()], "").await;
            let report = report.as_str().expect("a report").to_owned();
            assert_eq!(status, 200, "{report}");
            let file = lab.data.path().join(format!("{number}.xml"));
            std::fs::write(&file, &report).expect("written");
            assert_eq!(wrong(&schema, &file).await, "", "{report}");
            let odd = report.replacen("tests=", "checks=", 1);
            std::fs::write(&file, odd).expect("written");
            assert!(wrong(&schema, &file).await.contains("checks"), "the schema is asked");
        }
        assert_eq!(verdicts, ["passed", "failed", "failed", "infra", "cancelled"]);
    })
    .await;
}
