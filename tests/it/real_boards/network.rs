//! Boards that fetch from boardhand itself over their network.

use crate::lab::real_lab;

use super::bench::{Bench, Boots};

/// The manual's example: what it says of its family, and its plans.
fn manual() -> (&'static str, &'static str) {
    let manual = include_str!("../../../docs/transfer.md");
    let block =
        manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let block = block.strip_prefix("families:\n  socA:\n").expect("a family");
    block.split_once("plans:\n").expect("plans")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kernel_fetches_its_test_from_boardhand_and_proves_it_as_the_manual_says() {
    let bench = Bench::new(1, Boots::Linux);
    let (family, plans) = manual();
    let yaml = bench.yaml("smoke: unit", plans).replace("    suites:", &format!("{family}    suites:"));
    real_lab(&yaml, async |lab| {
        let build = lab.data.path().join("artifacts/main/build@1");
        std::fs::create_dir_all(&build).expect("a folder");
        let padding = "#".repeat(3_000_000);
        std::fs::write(build.join("test.bin"), format!("#!/bin/sh\nexec uname -a\n{padding}"))
            .expect("a file");
        let run = lab.run("alice", "/run-test virt main/build@1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing", "{}", lab.thread(run));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
