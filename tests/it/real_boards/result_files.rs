//! Results that a board brings back as a file: a shell behind a telnet server, and the files of real tools on it.

use std::path::Path;

use crate::console_real::rig::Rig;
use crate::lab::real_lab;

use super::shows;

/// A plan per suite: it writes `/…/r.xml` on the board in some way and brings it back.
fn yaml(port: u16, folder: &Path, plans: &[(&str, &str)]) -> String {
    let file = folder.join("r.xml");
    let file = file.display();
    let suites: Vec<_> = plans.iter().map(|(name, _)| format!("{name}: {name}")).collect();
    let plans: String = plans
        .iter()
        .map(|(name, write)| {
            format!(
                "  {name}:\n    boot: [{{login: {{within: 60s}}}}]\n    test:\n      - {{name: unit, run: '{write}', within: \
                 30s}}\n      - {{fetch: {{from: {file}, as: unit.xml}}, parse: junit, within: 60s}}\n"
            )
        })
        .collect();
    format!(
        "boards:\n  - {{board_id: board-1, soc_family: virt, board_ip: 127.0.0.1, telnet_port: {port}, lab_location: \
         Here}}\nfamilies: {{virt: {{default_suite: good, suites: {{{}}}}}}}\nplans:\n{plans}",
        suites.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_results_is_brought_back_and_decides_the_run() {
    let rig = Rig::new();
    let port = rig.busybox_telnetd("/bin/sh", false);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/junit");
    let (samples, file) = (samples.display(), rig.path("r.xml"));
    let file = file.display();
    let good = format!("echo \"<testsuite><testcase name=\\\"a\\\"/></testsuite>\" >{file}");
    let (pytest, cut) = (
        format!("cp {samples}/pytest.xml {file}; false"),
        format!("head -c 560 {samples}/gtest.xml >{file}"),
    );
    let gone = format!("rm -f {file}");
    let plans = [("good", good.as_str()), ("pytest", &pytest), ("cut", &cut), ("gone", &gone)];
    real_lab(&yaml(port, rig.path("r.xml").parent().expect("a folder"), &plans), async |lab| {
        for (suite, verdict, told) in [
            ("good", "passed in testing", &["*Tests* 1 passed\n"][..]),
            (
                "pytest",
                "failed tests-failed in testing",
                &[
                    "Failed: `test_gpio.test_reads[4]`, `test_gpio.test_wired`",
                    "Measured: `test_gpio.test_toggle` 41.2 MB/s\n",
                    "*Tests* 2 passed, *4* failed, 2 skipped\n",
                    "assert 4 == 3\n",
                ],
            ),
            (
                "cut",
                "failed incomplete in testing",
                &["unit.xml: it ends within <testsuite>; cases before that: 1"],
            ),
            ("gone", "failed no-results in testing", &["The board has no readable file"]),
        ] {
            let run = lab.run("alice", &format!("/run-test virt build-1 suite={suite}")).await;
            assert_eq!(lab.verdict(run).await, verdict, "{suite}");
            lab.settle().await;
            shows(&lab.thread(run), told);
            let kept = lab.data.path().join(format!("transcripts/{run}/1/unit.xml"));
            assert_eq!(kept.exists(), suite != "gone", "{suite}");
        }
    })
    .await;
}
