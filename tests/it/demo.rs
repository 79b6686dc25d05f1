//! The demo as a program: a lab file of one's own needs no password, and Ctrl-C is answered at once.

use std::process::Stdio;

use boardhand::clock::Clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::lab::WITHIN;

const LAB: &str = "boards:
  - board_id: soc-a-001
    soc_family: socA
    board_ip: 10.1.1.101
    lab_location: Lab Site A
    telnet_username: root
    telnet_password: ${SOC_A_PASSWORD}
";

#[tokio::test]
async fn a_lab_file_of_ones_own_needs_no_password_and_ctrl_c_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("boards.yaml");
    std::fs::write(&file, LAB).expect("a lab file");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_boardhand"))
        .args(["demo", "--fast", "--listen", "127.0.0.1:0", "--boards"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut said = BufReader::new(demo.stdout.take().expect("is piped")).lines();
    let stopped = async {
        let first = said.next_line().await.expect("it speaks").expect("an address");
        assert!(first.starts_with("boardhand demo: open http://"), "{first}");
        let pid = demo.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.expect("kill").success());
        let last = said.next_line().await.expect("it speaks").expect("an answer");
        assert!(last.starts_with("stopping: boards are brought to rest"), "{last}");
        assert!(demo.wait().await.expect("it ends").success());
        let mut log = String::new();
        demo.stderr.take().expect("is piped").read_to_string(&mut log).await.expect("a log");
        assert!(log.contains("warning: the variable SOC_A_PASSWORD is not set"), "{log}");
    };
    Clock::system().timeout(WITHIN, stopped).await.expect("it stops in time");
}
