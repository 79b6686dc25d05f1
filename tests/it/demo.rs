//! The demo as a program: a lab file of one's own needs no password, and Ctrl-C is answered at once.

use std::process::Stdio;

use boardhand::clock::Clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::lab::WITHIN;

const LAB: &str = "boards:
  - board_id: soc-a-001
    soc_family: socA
    board_ip: 10.1.1.101
    lab_location: Lab Site A
    telnet_username: root
    telnet_password: ${SOC_A_PASSWORD}
";

/// Ctrl-C, as its terminal sends it.
async fn interrupt(demo: &Child) {
    let pid = demo.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.expect("kill").success());
}

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
        let second = said.next_line().await.expect("it speaks").expect("another line");
        assert!(second.starts_with("from another shell: BOARDHAND_SERVER=http://"), "{second}");
        interrupt(&demo).await;
        let last = said.next_line().await.expect("it speaks").expect("an answer");
        assert!(last.starts_with("stopping: boards are brought to rest"), "{last}");
        assert!(demo.wait().await.expect("it ends").success());
        let mut log = String::new();
        demo.stderr.take().expect("is piped").read_to_string(&mut log).await.expect("a log");
        assert!(log.contains("warning: the variable SOC_A_PASSWORD is not set"), "{log}");
    };
    Clock::system().timeout(WITHIN, stopped).await.expect("it stops in time");
}

/// Types as a person does on the demo's page; gives what they see.
async fn type_on(page: &str, text: &str) -> String {
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let body = format!(r##"{{"user":"U0ALICE","channel":"#soc-ci","text":"{text}"}}"##);
    let request = format!(
        "POST /playground/say HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("the page");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_demo_can_be_played_over_a_socket_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_boardhand"))
        .args(["demo", "--fast", "--socket", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut said = BufReader::new(demo.stdout.take().expect("is piped")).lines();
    let played = async {
        let first = said.next_line().await.expect("it speaks").expect("an address");
        let page = first.split(' ').find(|word| word.starts_with("http://")).expect("an address").to_owned();
        // The socket is dialled while the page is there already.
        while !type_on(&page, "/lab boards").await.contains("soc-a-001") {}
        // What it says to type in another shell, typed there.
        let shell = said.next_line().await.expect("it speaks").expect("a command");
        let shell = shell.strip_prefix("from another shell: ").expect("a command");
        let typed = Command::new("sh").args(["-c", shell]).output().await.expect("sh");
        let text = String::from_utf8_lossy(&typed.stdout);
        assert!(typed.status.success() && text.starts_with("#1 passed"), "{text}");
        assert!(type_on(&page, "/lab run 1").await.contains("Passed"));
        interrupt(&demo).await;
        assert!(demo.wait().await.expect("it ends").success());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    };
    Clock::system().timeout(WITHIN, played).await.expect("it answers");
}
