//! What a failure means to the people who read of it: whether it is new.

use crate::lab::{Lab, lab, yaml};

/// Starts a run and waits for its last word; gives the lines of it that say how new its failure is.
async fn last_word(lab: &Lab, text: &str) -> (i64, String) {
    let run = lab.run("alice", text).await;
    lab.until_state(run, "finished").await;
    lab.settle().await;
    let thread = lab.thread(run);
    let (card, replies) = thread.split_once("boardhand: ▶️").expect("a card and its replies");
    let says = |part: &str| part.lines().map(str::trim).find(|line| is_news(line)).map(str::to_owned);
    assert_eq!(says(card), says(replies), "card and thread say the same:\n{thread}");
    (run, says(card).unwrap_or_default())
}

fn is_news(line: &str) -> bool {
    ["New failure", "New lab trouble", "Seen "].iter().any(|word| line.starts_with(word))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_new_once_and_then_seen_since_its_first_build() {
    lab(&yaml::small(1), async |lab| {
        assert_eq!(last_word(lab, "/run-test socA build-119").await.1, "");
        assert_eq!(last_word(lab, "/run-test socA build-120-panic").await.1, "New failure on socA.");
        let (_, said) = last_word(lab, "/run-test socA build-121-panic").await;
        assert_eq!(said, "Seen 1 time before on socA since `build-120-panic`, last in #2 <time>.");
        let (third, said) = last_word(lab, "/run-test socA build-122-panic").await;
        assert_eq!(said, "Seen 2 times before on socA since `build-120-panic`, last in #3 <time>.");
        assert_eq!(last_word(lab, "/run-test socA build-123-none").await.1, "New failure on socA.");
        let seen = lab.talk(&[("bob", &format!("/lab run {third}")), ("bob", "/lab run 1")]).await;
        assert!(seen.contains(&format!("    {said}\n")), "{seen}");
        assert_eq!(seen.matches("Signature `").count(), 1, "{seen}");
        lab.read_all();
    })
    .await;
}
