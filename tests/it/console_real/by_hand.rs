//! Real consoles in a person's hands: what is typed arrives, what is said is heard, nothing is added.

use std::sync::Arc;
use std::time::Duration;

use boardhand::board::ConsoleKind;
use boardhand::clock::Clock;
use boardhand::console::{ConsoleError, ConsoleTarget, Terminal};

use super::WITHIN;
use super::rig::{Forever, Rig};

async fn attach(target: &ConsoleTarget) -> Terminal {
    let attached = Terminal::attach(&Clock::system(), Arc::new(Forever), target).await;
    attached.unwrap_or_else(|error| panic!("{error}"))
}

/// Hears what is said until it ends with this.
async fn until(terminal: &mut Terminal, says: &str) -> String {
    let mut heard = String::new();
    let hearing = async {
        while !heard.contains(says) {
            let stir = terminal.wait().await;
            heard.push_str(&String::from_utf8_lossy(&terminal.go_on(stir).await.expect("a console")));
        }
    };
    if Clock::system().timeout(WITHIN, hearing).await.is_err() {
        panic!("it never said {says:?}: {heard:?}");
    }
    heard
}

async fn talk(terminal: &mut Terminal, lines: &[(&str, &str)]) {
    for (typed, says) in lines {
        terminal.type_in(typed.as_bytes());
        until(terminal, says).await;
    }
}

#[tokio::test]
async fn somebody_logs_in_at_a_telnetd_and_types() {
    let rig = Rig::new();
    let mut target = Rig::target(rig.busybox_telnetd("/bin/login", true), ConsoleKind::Telnet);
    // Typed slowly, as boards want it that drop input.
    target.settings.char_delay = Duration::from_millis(1);
    let mut terminal = attach(&target).await;
    until(&mut terminal, "login:").await;
    talk(&mut terminal, &[("lab\r", "assword:"), ("lab\r", "# "), ("echo $((6*7)) \u{e4}\r", "42 \u{e4}")])
        .await;
    // What says so has the terminal, so that Ctrl-C reaches it and not the shell that starts it.
    talk(&mut terminal, &[("sh -c 'echo be''gun; exec sleep 1000'\r", "begun"), ("\x03", "# ")]).await;
    // What telnet has for itself goes through.
    terminal.type_in(b"printf '\\377' | od -An -tx1\r");
    until(&mut terminal, " ff").await;
    terminal.type_in(b"exit\r");
    let ended = async {
        loop {
            let stir = terminal.wait().await;
            if let Err(error) = terminal.go_on(stir).await {
                return error;
            }
        }
    };
    let error = Clock::system().timeout(WITHIN, ended).await.expect("it ends");
    assert!(matches!(error, ConsoleError::Closed { .. }), "{error:?}");
}

#[tokio::test]
async fn somebody_types_over_ser2net_and_it_is_free_after_them() {
    let rig = Rig::new();
    let [telnet, raw, _] = rig.ser2net();
    for (port, kind) in [(telnet, ConsoleKind::Telnet), (raw, ConsoleKind::Tcp)] {
        let mut terminal = attach(&Rig::target(port, kind)).await;
        talk(&mut terminal, &[("\r", "# "), ("echo $((6*7))\r", "42")]).await;
        terminal.close().await;
    }
    let mut session = rig.telnet_once_free(telnet).await;
    session.login(None, None, WITHIN).await.expect("a login");
    session.close().await;
}

#[tokio::test]
async fn a_break_goes_over_rfc_2217_and_not_over_plain_tcp() {
    let rig = Rig::new();
    let mut target = Rig::target(rig.ser2net_rfc2217(), ConsoleKind::Rfc2217);
    target.settings.baud = Some(115_200);
    let mut terminal = attach(&target).await;
    talk(&mut terminal, &[("\r", "# ")]).await;
    assert!(terminal.send_break().await.expect("a console"));
    talk(&mut terminal, &[("echo $((6*7))\r", "42")]).await;
    terminal.close().await;

    let rig = Rig::new();
    let [_, raw, _] = rig.ser2net();
    let mut terminal = attach(&Rig::target(raw, ConsoleKind::Tcp)).await;
    assert!(!terminal.send_break().await.expect("a console"));
    terminal.close().await;
}
