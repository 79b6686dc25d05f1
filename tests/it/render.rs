//! `boardhand render`: what a platform's card builder takes, printed for whoever writes templates.

use serde_json::Value;
use tokio::process::Command;

/// Exit code, output and complaint.
async fn render(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    let out = command.arg("render").args(args).env_clear().output().await.expect("boardhand runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[tokio::test]
async fn a_failed_run_is_printed_as_each_platform_draws_it() {
    let (code, slack, _) = render(&["run-card", "--platform", "slack", "--state", "failed"]).await;
    let drawn: Value = serde_json::from_str(&slack).expect("JSON");
    assert!(code == Some(0) && drawn.to_string().contains("\"type\":\"actions\""), "{slack}");
    assert!(drawn["text"].as_str().is_some_and(|text| text.contains("Failed")), "{slack}");
    let args = ["run-card", "--platform", "feishu", "--state", "failed", "--locale", "zh"];
    let (code, feishu, _) = render(&args).await;
    let drawn: Value = serde_json::from_str(&feishu).expect("JSON");
    assert_eq!((code, &drawn["schema"]), (Some(0), &"2.0".into()), "{feishu}");
    assert!(feishu.contains("失败"), "{feishu}");
}

#[tokio::test]
async fn what_cannot_be_printed_is_said_with_what_can() {
    let said = async |args: &[&str]| {
        let (code, out, said) = render(args).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        said
    };
    insta::assert_snapshot!(said(&["run-crad"]).await, @"boardhand: there is no message run-crad: did you mean run-card?");
    insta::assert_snapshot!(said(&["run-card", "--state", "faild"]).await, @"boardhand: run-card has samples of booting, cancelled, failed, finished, infra, passed, queued, testing, timed-out");
    insta::assert_snapshot!(said(&["stale-click", "--state", "failed"]).await, @"boardhand: stale-click tells of no run: leave the state out");
}

#[tokio::test]
async fn a_folder_of_ones_own_is_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("en")).expect("a folder");
    let text = "run-finished:\n  summary: mine\n  blocks:\n    - text: 'mine {{ run.number }}'\n";
    std::fs::write(folder.path().join("en/mine.yaml"), text).expect("a file");
    let (code, out, said) =
        render(&["run-finished", "--templates", folder.path().to_str().expect("a path")]).await;
    assert!(code == Some(0) && out.contains("mine 42"), "{out}{said}");
}
