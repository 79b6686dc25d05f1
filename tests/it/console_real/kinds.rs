//! Consoles that are no plain telnet: a port that is controlled over the network (RFC 2217), a serial port of this
//! machine, and a remote shell.

use std::time::Duration;

use boardhand::board::ConsoleKind;
use boardhand::clock::Clock;
use boardhand::console::{ConsoleError, ConsoleTarget, LoginFailure, Session};

use super::rig::{Rig, free_port};
use super::{WITHIN, drive, login};

fn at(target: ConsoleTarget, baud: Option<u32>) -> ConsoleTarget {
    let mut target = target;
    target.settings.baud = baud;
    target
}

#[tokio::test]
async fn a_port_is_set_to_its_speed_over_rfc_2217_and_then_driven() {
    let rig = Rig::new();
    let port = rig.ser2net_rfc2217();
    let target = at(Rig::target(port, ConsoleKind::Rfc2217), Some(115_200));
    let mut session = rig.dial_target(&target).await.expect("a session");
    session.login(None, None, WITHIN).await.expect("a login");
    assert_eq!(session.run("stty speed", WITHIN).await.expect("a result").status, 0);
    drive(&mut session).await;
    assert!(session.send_break().await.expect("a break"));
    session.close().await;
}

#[tokio::test]
async fn a_console_server_that_cannot_set_its_port_is_named() {
    let rig = Rig::new();
    let port = rig.busybox_telnetd("/bin/sh", false);
    let target = at(Rig::target(port, ConsoleKind::Rfc2217), Some(115_200));
    let error = rig.dial_target(&target).await.err().expect("no control");
    assert!(matches!(&error, ConsoleError::Port { problem } if problem.contains("RFC 2217")), "{error:?}");
    // Without a speed to set, such a server is as good as any.
    let mut session = rig.dial_target(&at(target, None)).await.expect("a session");
    session.login(None, None, WITHIN).await.expect("a login");
    session.close().await;
}

#[tokio::test]
async fn a_serial_port_of_this_machine_is_driven_by_one_at_a_time() {
    let rig = Rig::new();
    let mut target = at(Rig::target(1, ConsoleKind::Serial), Some(115_200));
    target.settings.device = Some(rig.serial_shell("ttyS").display().to_string());
    let mut session = rig.dial_target(&target).await.expect("a session");
    let second = rig.dial_target(&target).await.err();
    assert!(
        matches!(&second, Some(ConsoleError::Busy { text }) if text.contains("in use by another program")),
        "{second:?}"
    );
    session.login(None, None, WITHIN).await.expect("a login");
    drive(&mut session).await;
    session.close().await;
    let mut session = rig.dial_target(&target).await.expect("the port is free again");
    session.login(None, None, WITHIN).await.expect("a login");
    session.close().await;
}

async fn ssh(rig: &Rig, port: u16) -> Session {
    let mut target = Rig::target(port, ConsoleKind::Ssh);
    target.settings.username = Some("lab".into());
    rig.dial_target(&target).await.expect("a session")
}

#[tokio::test]
async fn a_remote_shell_is_driven_from_when_the_board_is_up() {
    let rig = Rig::new();
    let port = free_port();
    let mut session = ssh(&rig, port).await;
    let boot = async {
        Clock::system().sleep(Duration::from_secs(2)).await;
        rig.sshd(port);
    };
    let (logged_in, ()) = tokio::join!(login(&mut session, "lab"), boot);
    logged_in.expect("a login");
    drive(&mut session).await;
    session.close().await;
}

#[tokio::test]
async fn a_remote_shell_that_refuses_the_password_is_asked_once() {
    let rig = Rig::new();
    let port = free_port();
    rig.sshd(port);
    rig.wait_for(port);
    let error = login(&mut ssh(&rig, port).await, "wrong").await.expect_err("a wrong password");
    assert!(matches!(error, ConsoleError::LoginFailed { reason: LoginFailure::Incorrect, .. }), "{error:?}");
}

#[tokio::test]
async fn a_board_without_an_ssh_server_is_unreachable_in_the_words_of_ssh() {
    let rig = Rig::new();
    let mut session = ssh(&rig, free_port()).await;
    let error = session.login(Some("lab"), None, Duration::from_secs(3)).await.expect_err("nobody there");
    let ConsoleError::Unreachable { source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("Connection refused"), "{error:?}");
}
