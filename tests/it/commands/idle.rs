//! Boards that somebody has and does not use: they are told, have time to use it again, and keep it if they do.

use std::time::Duration;

use crate::lab::{Lab, lab, steady, yaml};

async fn until_idle(lab: &Lab) -> String {
    steady(&lab.direct("alice", "was not used").await)
}

/// Waits until there is one such row.
async fn until(lab: &Lab, count: &'static str) {
    let counted = async {
        while lab.rows(count).await != ["1"] {
            lab.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    lab.clock.timeout(Duration::from_secs(60), counted).await.expect("one such row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_nobody_uses_goes_back_unless_its_holder_uses_it() {
    lab(&(yaml::small(1) + "reservations: {idle: 1s}\n"), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        insta::assert_snapshot!(until_idle(lab).await, @r#"
            boardhand: 💤 `soc-a-001` was not used for N s (DDR bring-up). It goes back at <time>, unless you use it through me or extend it: then it is yours until <time> as before.
              [Extend 1 h] [Release]
        "#);
        let shorter = "SELECT (idle_until - expires_at) / 3600000000 FROM leases WHERE state = 'held'";
        assert_eq!(lab.rows(shorter).await, ["1"]);
        // Her own switching is use, and the time from before is hers again.
        lab.say("alice", "/lab power soc-a-001 cycle").await;
        lab.answers_until("alice", "was power-cycled").await;
        let own = "SELECT COUNT(*) FROM leases WHERE state = 'held' AND idle_until IS NULL AND warned_at IS NULL";
        until(lab, own).await;
        until_idle(lab).await;
        // To ask for longer is to want it: an hour more than it was, not an hour from now.
        let longer = lab.say("alice", "/lab extend soc-a-001 1h").await;
        assert!(longer.contains("is yours until"), "{longer}");
        let hours = "SELECT (COALESCE(idle_until, expires_at) - granted_at) / 3600000000 FROM leases WHERE state = 'held'";
        assert_eq!(lab.rows(hours).await, ["3"]);
        until_idle(lab).await;
        // The end of the ten minutes came while nobody looked, and she had used it less than ten minutes before.
        lab.tamper("UPDATE leases SET expires_at = granted_at WHERE state = 'held'").await;
        until(lab, own).await;
        // All of her time goes by.
        lab.tamper("UPDATE leases SET expires_at = granted_at, idle_until = NULL WHERE state = 'held'").await;
        let over = lab.direct("alice", "is not yours any more").await;
        assert!(over.contains("your time was over"), "{over}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
