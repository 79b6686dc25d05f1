//! The lab file read again while the server runs: by chat, by the command line, by SIGHUP, and a hundred times in a row.

use std::process::Stdio;
use std::time::Duration;

use boardhand::clock::Clock;
use boardhand::outcome::Verdict;
use tokio::process::Command;

use crate::lab::{Lab, WITHIN, lab, steady, yaml};

/// A lab of so many boards of socA in which lead is the admin.
fn led(boards: usize) -> String {
    yaml::small(boards) + "roles: {admin: [slack:U0LEAD]}\n"
}

async fn reload(lab: &Lab, text: &str) -> String {
    lab.write_lab(text);
    assert!(lab.say("lead", "/lab reload").await.contains("Reading boards.yaml again"));
    let folder = format!("{}/", lab.data.path().display());
    lab.answer("lead").await.replace(&folder, "")
}

/// Waits until the thread of a run has told its outcome.
async fn until_told(lab: &Lab, run: i64) {
    let told = async {
        while !lab.thread(run).contains("Console log") {
            lab.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    lab.clock.timeout(WITHIN, told).await.expect("the outcome is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lab_file_is_read_again_by_chat_and_taken_whole_or_not_at_all() {
    lab(&led(2), async |lab| {
        let seen = lab.talk(&[("alice", "/lab reload"), ("lead", "/lab 重载")]).await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab reload
                🔒 Only an admin may read boards.yaml again; you are a user.
                It needs the role `admin`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead
                `boardhand reload` on the server's machine does the same.

            lead> /lab 重载
                🔄 Reading boards.yaml again… I'll tell you what is different.
        "#);
        let audit = lab.rows("SELECT actor, verb, allowed FROM audit ORDER BY position").await;
        assert_eq!(audit, ["slack:U0ALICE | reload | 0", "slack:U0LEAD | reload | 1"]);
        insta::assert_snapshot!(lab.answer("lead").await, @r#"
            ✅ boards.yaml is the one that was in force; nothing is different.
        "#);
        let broken = led(3).replace("board_id: soc-a-002,", "board_id: soc-a-002, telnet_prot: 23,");
        insta::assert_snapshot!(reload(lab, &broken).await, @r#"
            ✋ boards.yaml was not taken, and nothing has changed. What is wrong with it:
            ```
            boards.yaml:4:27: error: unknown key "telnet_prot" in a board; did you mean "telnet_port"?
            1 error, 0 warnings
            ```
            `boardhand check` says the same where the file is.
        "#);
        insta::assert_snapshot!(lab.talk(&[("alice", "/lab boards socA")]).await, @r#"
            alice> /lab boards socA
                *Boards of socA*: 2 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
                🟢 `soc-a-002` socA · Lab Site A
        "#);
        assert!(lab.get("/readyz").await.contains("telnet_prot"), "{}", lab.get("/readyz").await);
        insta::assert_snapshot!(reload(lab, &led(3).replace("soc_revision: rev2, board_ip: 10.0.0.1,", "soc_revision: rev3, board_ip: 10.0.0.1,")).await, @r#"
            ✅ boards.yaml is in force: 4 boards.
            Came: `soc-a-003`
            Changed, from their next run on: `soc-a-001`
        "#);
        let run = lab.run("alice", "/run-test socA build-1 on=soc-a-003").await;
        assert!(lab.verdict(run).await.starts_with("passed"));
        let run = lab.run("alice", "/run-test socA build-1 rev=rev3").await;
        assert!(lab.verdict(run).await.starts_with("passed"));
        assert!(!lab.get("/readyz").await.contains("telnet_prot"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_different_is_told_and_no_password_is() {
    lab(&led(1), async |lab| {
        let (base, extra) = (led(1), "channels: {default: slack:C0SOCCI}\n");
        let text = base.replacen("telnet_password: root", "telnet_password: s3cret", 1)
            + extra
            + "host_programs: {note: /bin/echo}\n";
        let text = text.replace("limits: {total: 20s, no_output: 5s}", "limits: {total: 30s, no_output: 5s}");
        let text =
            text.replace("suites: {smoke: linux-smoke, trivial: trivial}", "suites: {smoke: linux-smoke}");
        let text = text.replace("admin: [slack:U0LEAD]", "admin: [slack:U0LEAD, slack:U0ALICE]");
        insta::assert_snapshot!(reload(lab, &text).await, @r#"
            ✅ boards.yaml is in force: 2 boards.
            Credentials changed: `soc-a-001`
            Families changed: `socA`
            Plans changed: `trivial`
            Programs beside boards changed: `note` (new)
            Roles changed
            Channels changed
        "#);
        let again =
            text.replace("telnet_password: s3cret", "telnet_password: root") + "# Somebody's remark.\n";
        insta::assert_snapshot!(control(lab).await, @r#"
            boards.yaml is the one that was in force; nothing is different
        "#);
        lab.write_lab(&again);
        let told = control(lab).await;
        assert_eq!(told, "boards.yaml is in force: 2 boards\ncredentials changed: soc-a-001\n");
        insta::assert_snapshot!(reload(lab, &(again + "# And another.\n")).await, @r#"
            ✅ boards.yaml is in force: 2 boards. It reads otherwise and says the same.
        "#);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_left_ends_its_run_first_and_what_nothing_can_serve_is_told() {
    lab(&led(2), async |lab| {
        let on = lab.run("alice", "/run-test socA build-crawl on=soc-a-002").await;
        lab.until_card(on, "Testing").await;
        let waits = lab.run("alice", "/run-test socA build-1 on=soc-a-002").await;
        insta::assert_snapshot!(reload(lab, &led(1)).await, @r#"
            ✅ boards.yaml is in force: 2 boards.
            Left, once what runs on them has ended: `soc-a-002`
            Ended, since nothing can serve them any more: #2
        "#);
        insta::assert_snapshot!(lab.talk(&[("alice", "/lab boards socA"), ("alice", "/run-test socA build-1 on=soc-a-002")]).await, @r#"
            alice> /lab boards socA
                *Boards of socA*: 1 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
                🚪 `soc-a-002` socA · Lab Site A · run #1 since <time> · left boards.yaml

            alice> /run-test socA build-1 on=soc-a-002
                ✋ There is no board "soc-a-002". Did you mean `soc-a-001`?
                Try: `/run-test socA build-1 on=soc-a-001`
        "#);
        assert_eq!(lab.verdict(waits).await, "infra not-in-lab in queued");
        lab.until_card(waits, "not-in-lab").await;
        until_told(lab, waits).await;
        // A card that is posted calls nobody, one that was there before mentions them: either is right.
        insta::assert_snapshot!(lab.thread(waits).replace("*By* alice", "*By* @alice"), @r#"
            boardhand: #2 socA · build-1 · smoke
              *⚠️ Lab trouble* · `not-in-lab`
              Its board soc-a-002 is not in boards.yaml any more.
              *By* @alice
              Finished <time>
              [Retry]
            boardhand: *⚠️ Lab trouble* · `not-in-lab` · @alice
              Its board soc-a-002 is not in boards.yaml any more.
              The lab failed, not the build.
              Console log
        "#);
        assert_eq!(lab.view(on).await.run.state.word(), "testing", "it goes on");
        lab.say("alice", &format!("/lab cancel {on}")).await;
        assert_eq!(lab.verdict(on).await, "cancelled cancelled in testing");
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"], "the board that left was brought to rest");
        insta::assert_snapshot!(lab.talk(&[("alice", "/lab boards socA")]).await, @r#"
            alice> /lab boards socA
                *Boards of socA*: 1 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suite_that_left_ends_what_waits_for_it_and_not_what_runs() {
    lab(&led(1), async |lab| {
        let on = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_card(on, "Testing").await;
        let waits = lab.run("alice", "/run-test socA build-1 suite=trivial").await;
        let without =
            led(1).replace("suites: {smoke: linux-smoke, trivial: trivial}", "suites: {smoke: trivial}");
        assert!(reload(lab, &without).await.contains("#2"));
        let view = lab.until_state(waits, "finished").await;
        assert_eq!(view.run.state.verdict(), Some(Verdict::Infra));
        lab.until_card(waits, "not-in-lab").await;
        assert!(lab.thread(waits).contains("The suite trivial of socA is not in boards.yaml any more"));
        lab.say("alice", &format!("/lab cancel {on}")).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_lose_nothing() {
    lab(&led(4), async |lab| {
        let mut runs = Vec::new();
        for n in 0..100 {
            if n % 5 == 0 {
                runs.push(lab.run("alice", "/run-test socA build-1").await);
            }
            // Boards come and go; one of each run's kind is always there.
            lab.write_lab(&led(1 + n % 4));
            let out = control(lab).await;
            assert!(out.starts_with("boards.yaml is"), "{out}");
        }
        for run in runs {
            let verdict = lab.verdict(run).await;
            assert!(verdict.starts_with("passed in testing"), "#{run}: {verdict}");
            assert!(!verdict.contains("after"), "#{run} needed another attempt: {verdict}");
        }
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// `boardhand reload` on the lab's data directory: what it prints.
async fn control(lab: &Lab) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_boardhand"))
        .args(["reload", "--data-dir"])
        .arg(lab.data.path())
        .output()
        .await
        .expect("the binary runs");
    steady(&String::from_utf8_lossy(&out.stdout))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_another_lab_file_than_the_one_in_force_gives_no_board_away() {
    lab(&led(1), async |lab| {
        lab.tamper("UPDATE meta SET value = 'another' WHERE name = 'lab'").await;
        let told = async {
            while !lab.get("/readyz").await.contains("another boards.yaml is in force") {
                lab.clock.sleep(Duration::from_millis(20)).await;
            }
        };
        lab.clock.timeout(WITHIN, told).await.expect("it says so");
        assert!(lab.get("/readyz").await.starts_with("HTTP/1.1 503"));
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.clock.sleep(Duration::from_millis(300)).await;
        assert_eq!(lab.view(run).await.run.state.word(), "queued");
        assert!(control(lab).await.contains("nothing is different"));
        assert!(lab.verdict(run).await.starts_with("passed"));
        assert!(lab.get("/readyz").await.starts_with("HTTP/1.1 200"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test]
async fn sighup_and_the_command_line_reach_the_real_server() {
    let (clock, folder) = (Clock::system(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("boards.yaml");
    std::fs::write(&file, led(2)).expect("a lab file");
    let data = folder.path().join("data");
    let reload = async || {
        let out = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .args(["reload", "--data-dir"])
            .arg(&data)
            .output()
            .await
            .expect("the binary runs");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, said) = reload().await;
    assert!(code == Some(1) && said.starts_with("no server runs on"), "{said}");
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    let mut server = Command::new(env!("CARGO_BIN_EXE_boardhand"))
        .args(["serve", "--simulate"])
        .env_clear()
        .env("BOARDHAND_LISTEN", "127.0.0.1:0")
        .env("BOARDHAND_DATA_DIR", &data)
        .env("BOARDHAND_BOARDS", &file)
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let logged = async |says: &str| {
        let waiting = async {
            loop {
                let log = std::fs::read_to_string(folder.path().join("log")).expect("the log");
                if log.contains(says) {
                    return;
                }
                clock.sleep(Duration::from_millis(10)).await;
            }
        };
        clock.timeout(WITHIN, waiting).await.unwrap_or_else(|_| {
            panic!(
                "never logged {says:?}:\n{}",
                std::fs::read_to_string(folder.path().join("log")).expect("the log")
            )
        });
    };
    logged("serving").await;
    let hangup = async || {
        let pid = server.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().await.expect("kill").success());
    };
    std::fs::write(&file, led(3)).expect("a lab file");
    hangup().await;
    logged("soc-a-003").await;
    std::fs::write(&file, "boards:\n- {board_id: x}\n").expect("a lab file");
    hangup().await;
    logged("boards.yaml was not taken").await;
    let (code, said) = reload().await;
    assert!(
        code == Some(1) && said.contains(":2:3: error: ") && said.contains("nothing has changed"),
        "{said}"
    );
    std::fs::write(&file, led(1)).expect("a lab file");
    assert_eq!(
        reload().await,
        (Some(0), "boards.yaml is in force: 2 boards\nleft: soc-a-002, soc-a-003\n".into())
    );
    let pid = server.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill").success());
    assert!(server.wait().await.expect("it ends").success());
}
