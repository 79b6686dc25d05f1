//! What is watched on a console: a plan's own patterns, fatal or not, and a family's list of lines that mean nothing.

use crate::lab::{Lab, lab, yaml};

/// A board whose kernel prints `job ring full` while it boots and afterwards, and a plan that watches for it so.
async fn ringing(family: &str, watch: &str, test: impl AsyncFnOnce(&mut Lab, i64)) {
    let text = yaml::small(1).replacen("  socA:\n", &format!("  socA:\n{family}"), 1).replacen(
        "  linux-smoke:\n",
        &format!("  linux-smoke:\n    watch: [{watch}]\n"),
        1,
    );
    lab(&text, async |lab| {
        let board = lab.boards.board("soc-a-001").expect("a board");
        board.set_faults(|faults| faults.printk_every = Some(1499));
        let run = lab.run("alice", "/run-test socA build-1").await;
        test(lab, run).await;
        lab.read_all();
    })
    .await;
}

const RING: &str = "{match: 'job ring full', verdict: failed, cause: ring-full}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plans_own_pattern_ends_the_attempt_only_where_it_is_fatal() {
    ringing("", RING, async |lab, run| {
        assert_eq!(lab.verdict(run).await, "failed boot-ring-full in booting");
        lab.settle().await;
        let card = lab.thread(run);
        assert!(
            card.contains("*❌ Failed* · `boot-ring-full`\n") && card.contains("*Tests* 23 passed"),
            "{card}"
        );
        // Its line comes first, whatever was printed since.
        let at = |text: &str| card.find(text).unwrap_or_else(|| panic!("no {text:?}: {card}"));
        assert!(at("job ring full, retrying\n  ```") < at("*Board*"), "{card}");
    })
    .await;
    ringing("", &RING.replace('}', ", fatal: true}"), async |lab, run| {
        assert_eq!(lab.verdict(run).await, "failed boot-ring-full in booting");
        lab.settle().await;
        let card = lab.thread(run);
        assert!(card.contains("*❌ Failed* · `boot-ring-full`\n") && !card.contains("*Tests*"), "{card}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_family_ignores_is_nothing_from_boot_to_the_end() {
    let family = "    watch: {ignore: ['job ring (full|empty)', 'Internal error: Oops: 00+96000004']}\n";
    ringing(family, &RING.replace('}', ", fatal: true}"), async |lab, run| {
        assert_eq!(lab.verdict(run).await, "passed in testing");
        // What is built in is ignored as well.
        let run = lab.run("alice", "/run-test socA build-oops").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
    })
    .await;
}
