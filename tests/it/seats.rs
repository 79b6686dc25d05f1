//! Somebody at the console of a board of their own: the command in a terminal, a program over the API, and whoever is next on
//! the board.

use std::process::Stdio;
use std::time::Duration;

use boardhand::clock::Clock;
use boardhand::net::Http;
use boardhand::net::ws::{DialError, Gone, Received, WebSocket};
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::api::{call, command as api_command, ended};
use crate::lab::{ADMIN_TOKEN, Lab, WITHIN, lab, yaml};

/// A place at a console, over the API.
async fn place(lab: &Lab, board: &str, query: &str, token: &str) -> Result<WebSocket, (u16, String)> {
    let url = format!("ws{}/api/v1/boards/{board}/console{query}", &lab.door["http".len()..]);
    let token = SecretString::from(token);
    let http = Http::new(&[&lab.door]);
    http.web_socket_as(&url, Some(&token), Duration::from_secs(8), lab.clock.clone()).await.map_err(|error| {
        match error {
            DialError::Refused(answer) => {
                let said = answer.json().unwrap_or_default();
                (answer.status, said["detail"].as_str().unwrap_or_default().to_owned())
            }
            DialError::Net(error) => panic!("{error}"),
        }
    })
}

async fn typing(lab: &Lab) -> WebSocket {
    place(lab, "soc-a-001", "", ADMIN_TOKEN).await.expect("a place")
}

/// A place as soon as whoever is there has left.
async fn once_free(lab: &Lab) -> WebSocket {
    let trying = async {
        loop {
            match place(lab, "soc-a-001", "", ADMIN_TOKEN).await {
                Ok(socket) => return socket,
                Err((409, _)) => lab.clock.sleep(Duration::from_millis(10)).await,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    lab.clock.timeout(WITHIN, trying).await.expect("a place")
}

/// Waits until whoever was at the console has left it.
async fn nobody_sits(lab: &Lab) {
    let looking = async {
        while let Ok(watching) = place(lab, "soc-a-001", "?watch=true", ADMIN_TOKEN).await {
            watching.close().await;
        }
    };
    lab.clock.timeout(WITHIN, looking).await.expect("nobody sits there");
}

/// Switches alice's board on.
async fn switch_on(lab: &Lab) {
    lab.say("alice", "/lab power soc-a-001 on").await;
    let switching = async {
        loop {
            let census = lab.store.census().await.expect("census");
            if (census.errands, census.owed) == (0, 0) {
                return;
            }
            lab.clock.sleep(Duration::from_millis(10)).await;
        }
    };
    lab.clock.timeout(WITHIN, switching).await.expect("it is on");
}

/// Reads until the board has said this.
async fn until(socket: &mut WebSocket, says: &str) -> String {
    let mut heard = String::new();
    let reading = async {
        while !heard.contains(says) {
            match socket.receive().await.expect("a message") {
                Received::Binary(piece) => heard.push_str(&String::from_utf8_lossy(&piece)),
                Received::Text(text) => heard.push_str(&text),
                Received::Ping | Received::Pong => {}
            }
        }
    };
    if Clock::system().timeout(WITHIN, reading).await.is_err() {
        panic!("the board never said {says:?}: {heard:?}");
    }
    heard
}

/// Reads until it is over; why.
async fn over(socket: &mut WebSocket) -> String {
    let ending = async {
        loop {
            match socket.receive().await {
                Ok(_) => {}
                Err(Gone::Closed { code, reason }) => return format!("{code} {reason}"),
                Err(gone) => panic!("{gone}"),
            }
        }
    };
    Clock::system().timeout(WITHIN, ending).await.expect("it ends")
}

async fn keys(socket: &mut WebSocket, keys: &'static str) {
    socket.send_binary(Bytes::from_static(keys.as_bytes())).await.expect("typed");
}

/// Logs in at a board that boots.
async fn log_in(socket: &mut WebSocket) {
    for says in ["login:", "assword:"] {
        until(socket, says).await;
        keys(socket, "root\r").await;
    }
    until(socket, "# ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_board_types_at_its_console_and_others_watch() {
    lab(&yaml::small(1), async |lab| {
        let refused = place(lab, "soc-a-001", "", ADMIN_TOKEN).await.err();
        assert_eq!(refused, Some((409, "nobody has soc-a-001; reserve it first".into())));
        assert_eq!(place(lab, "soc-a-01", "", ADMIN_TOKEN).await.err().map(|(status, _)| status), Some(404));
        assert_eq!(place(lab, "soc-a-001", "", "wrong").await.err().map(|(status, _)| status), Some(401));
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        let mut socket = typing(lab).await;
        switch_on(lab).await;
        log_in(&mut socket).await;
        let again = place(lab, "soc-a-001", "", ADMIN_TOKEN).await.err();
        assert_eq!(again, Some((409, "somebody types at soc-a-001; watch them with watch=true".into())));
        let mut watching = place(lab, "soc-a-001", "?watch=true", ADMIN_TOKEN).await.expect("a place");
        keys(&mut watching, "reboot\r").await;
        until(&mut watching, "you watch").await;
        keys(&mut socket, "uname -s\r").await;
        until(&mut socket, "Linux").await;
        assert!(!until(&mut watching, "Linux").await.contains("reboot"));

        lab.say("alice", "/lab release soc-a-001").await;
        assert_eq!(over(&mut socket).await, "4000 the board is not held any more");
        assert_eq!(over(&mut watching).await, "4000 the board is not held any more");
        lab.settle().await;
        let audit = "SELECT actor || ' ' || target || ' ' || allowed FROM audit WHERE verb = 'console'";
        assert_eq!(lab.rows(audit).await, ["api:admin soc-a-001 1"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_theirs_takes_the_console_and_gives_it_back() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        let mut socket = typing(lab).await;
        let run = lab.run("alice", "/run-test soc-a-001 build-123").await;
        assert_eq!(over(&mut socket).await, format!("4001 #{run} goes on the board"));
        assert_eq!(lab.verdict(run).await, "passed in testing");
        let mut socket = once_free(lab).await;
        keys(&mut socket, "\r").await;
        socket.close().await;
        let mut next = once_free(lab).await;
        lab.stop().await;
        assert_eq!(over(&mut next).await, "1001 the server stops");
        lab.read_all();
    })
    .await;
}

/// `boardhand console` of the board.
fn command(lab: &Lab) -> [(&'static str, String); 2] {
    [("BOARDHAND_SERVER", lab.door.clone()), ("BOARDHAND_TOKEN", ADMIN_TOKEN.to_owned())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_hands_every_key_of_a_terminal_to_the_board() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        let (mut terminal, child_side) = pty_process::open().expect("a terminal");
        let console = pty_process::Command::new(env!("CARGO_BIN_EXE_boardhand"));
        let mut console =
            console.args(["console", "soc-a-001"]).envs(command(lab)).spawn(child_side).expect("it runs");
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        for (says, types) in [
            ("Ctrl-] and . leaves", ""),
            ("login:", "root\r"),
            ("assword:", "root\r"),
            ("# ", "sleep 1000\r"),
            ("sleep 1000", "\x03"),
            ("# ", "uname -s\r"),
            ("Linux", "\x1d?\x1d."),
        ] {
            let reading = async {
                while !heard.contains(says) {
                    let count = terminal.read(&mut buffer).await.expect("it says something");
                    heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            };
            if lab.clock.timeout(WITHIN, reading).await.is_err() {
                panic!("{says:?} never came: {heard:?}");
            }
            heard.clear();
            match types {
                "" => switch_on(lab).await,
                types => terminal.write_all(types.as_bytes()).await.expect("typed"),
            }
        }
        let status = lab.clock.timeout(WITHIN, console.wait()).await.expect("it ends").expect("a status");
        assert_eq!(status.code(), Some(0));
        lab.say("alice", "/lab release soc-a-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_piped_in_is_typed_and_the_command_ends_when_the_board_is_silent() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        let mut socket = typing(lab).await;
        switch_on(lab).await;
        until(&mut socket, "login:").await;
        socket.close().await;
        nobody_sits(lab).await;
        let mut console = Command::new(env!("CARGO_BIN_EXE_boardhand"));
        console.args(["console", "soc-a-001"]).envs(command(lab));
        console.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = console.spawn().expect("it runs");
        let mut input = running.stdin.take().expect("its input");
        input.write_all(b"\r").await.expect("typed");
        drop(input);
        let output = running.wait_with_output().await.expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(said.contains("login:"), "{said}");
        let nobody = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .args(["console", "soc-b-001"])
            .envs(command(lab))
            .output()
            .await
            .expect("it runs");
        let said = String::from_utf8_lossy(&nobody.stderr);
        assert_eq!(
            (nobody.status.code(), &*said),
            (
                Some(2),
                "boardhand: there is no place at this console: nobody has soc-b-001; reserve it first\n"
            )
        );
        lab.say("alice", "/lab release soc-a-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// A token of a user, by the command of an admin.
async fn user_token(lab: &Lab, name: &str) -> String {
    let args = ["token", "create", name, "--role", "user"];
    let (code, out, err) = ended(&api_command(lab, ADMIN_TOKEN, &args).await);
    assert_eq!(code, Some(0), "{err}");
    out.trim_end().to_owned()
}

async fn lease(lab: &Lab, token: &str, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = call(lab, method, path, &[&format!("Authorization: Bearer {token}")], body).await;
    assert!((200..300).contains(&status), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_types_at_their_own_board_for_as_long_as_it_and_the_token_are_theirs() {
    lab(&yaml::small(1), async |lab| {
        let (mine, other) = (user_token(lab, "mine").await, user_token(lab, "other").await);
        let body = r#"{"board_id": "soc-a-001", "timeout": 3600}"#;
        let held = lease(lab, &mine, "POST", "/api/v1/lease", body).await;
        let refused = place(lab, "soc-a-001", "", &other).await.err().expect("no place");
        assert_eq!(refused.0, 403, "{refused:?}");
        assert!(refused.1.contains("type at the consoles of other people's boards"), "{refused:?}");
        let mut socket = place(lab, "soc-a-001", "", &mine).await.expect("a place");
        let mut watching = place(lab, "soc-a-001", "?watch=true", &other).await.expect("a place");
        // A token that is revoked opens nothing, nor does it go on typing.
        let args = ["token", "revoke", "other"];
        assert_eq!(ended(&api_command(lab, ADMIN_TOKEN, &args).await).0, Some(0));
        assert_eq!(over(&mut watching).await, "1008 this token opens nothing any more");
        lease(lab, &mine, "DELETE", held["url"].as_str().expect("an address"), "").await;
        assert_eq!(over(&mut socket).await, "4000 the board is not held any more");
        lab.settle().await;
        let refused = place(lab, "soc-a-001", "", &mine).await.err().map(|(status, _)| status);
        assert_eq!(refused, Some(403), "it is not theirs any more");
        let bearer = format!("Authorization: Bearer {mine}");
        let (status, _) = call(lab, "GET", "/api/v1/boards/soc-a-001/console", &[&bearer], "").await;
        assert_eq!(status, 426, "a plain request dials nothing");
    })
    .await;
}

/// A lab whose boards are typed at slowly.
fn slow() -> String {
    yaml::small(1).replace("default_suite: smoke", "console: {char_delay: 5ms}\n    default_suite: smoke")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paste_is_ended_by_ctrl_c_and_by_hanging_up() {
    // Typed to its end it would take 80 s.
    const PASTE: &str = "echo of a paste that nobody wanted; ";
    let paste = || Bytes::from(PASTE.repeat(16 * 1024 / PASTE.len()));
    lab(&slow(), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        let mut socket = typing(lab).await;
        switch_on(lab).await;
        log_in(&mut socket).await;
        socket.send_binary(paste()).await.expect("typed");
        until(&mut socket, "paste that").await;
        keys(&mut socket, "\x03").await;
        keys(&mut socket, "uname -s\r").await;
        until(&mut socket, "Linux").await;
        socket.send_binary(paste()).await.expect("typed");
        until(&mut socket, "paste that").await;
        socket.close().await;
        drop(once_free(lab).await);
        lab.say("alice", "/lab release soc-a-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_of_another_site_is_not_dialled_from_here() {
    let boards = yaml::small(1) + "roles: {admin: [slack:U0LEAD]}\n";
    lab(&boards, async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        lab.write_lab(&format!("{boards}sites: {{Lab Site A: {{worker: remote}}}}\n"));
        lab.say("lead", "/lab reload").await;
        lab.answer("lead").await;
        let refused = place(lab, "soc-a-001", "", ADMIN_TOKEN).await.err();
        let says = "soc-a-001 is driven by the worker of its site, not by this server";
        assert_eq!(refused, Some((409, says.into())));
        lab.write_lab(&boards);
        lab.say("lead", "/lab reload").await;
        lab.answer("lead").await;
        lab.say("alice", "/lab release soc-a-001").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
