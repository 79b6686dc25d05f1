//! Boards found in the middle of something, and boards that do not come through their boot.

use tokio::sync::oneshot;

use super::*;
use crate::board::plan::PromptOf;
use crate::console::LoginFailure;

#[tokio::test]
async fn a_prompt_under_kernel_messages_is_asked_for_after_half_of_the_time() {
    let (bench, board) = bench(20, async |mut board| {
        board.says("U-Boot 2024.01\r\n=[    1.000000] a lost message\r\nwhat nobody knows").await;
        assert_eq!(board.hears("\r").await, "#\r");
        board.says("#\r\n=> ").await;
        assert_eq!(board.hears("\r").await, "\r");
        board.says("\r\nboard:~[    2.000000] random: crng init done\r\n# ").await;
        assert_eq!(board.hears_all().await, "");
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let began_at = session.now();
    session.force_prompt(PromptOf::Bootloader, 10 * SECOND).await.expect("the boot loader's prompt");
    let took = session.now().since(began_at);
    assert!((5 * SECOND..10 * SECOND).contains(&took), "{took:?}");
    session.force_prompt(PromptOf::Shell, 10 * SECOND).await.expect("the shell's prompt");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_prompt_that_is_there_is_not_asked_for() {
    let (bench, board) = bench(20, async |mut board| {
        board.says("root@board:~# ").await;
        assert_eq!(board.hears_all().await, "");
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    session.force_prompt(PromptOf::Shell, 10 * SECOND).await.expect("the prompt");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_prompt_that_never_comes_is_asked_for_a_few_times() {
    let (bench, board) = bench(50, async |board| {
        assert_eq!(board.hears_all().await, "\r".repeat(prompt::FORCED_NUDGES_MAX as usize));
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let error = session.force_prompt(PromptOf::Shell, 60 * SECOND).await.expect_err("no prompt");
    assert_eq!(error.to_string(), "the shell's prompt did not come within 1m");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn silence_after_starting_kernel_is_told_as_silence() {
    let (power, powered) = oneshot::channel();
    let (bench, board) = bench(50, async move |mut board| {
        powered.await.expect("power");
        board.says("U-Boot 2024.01\r\nStarting kernel ...\r\n\r\n").await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    session.booting();
    power.send(()).expect("a board");
    let error = session.login(Some("lab"), None, 60 * SECOND).await.expect_err("no login");
    assert!(matches!(error, ConsoleError::Silent { .. }), "{error:?}");
    assert!(session.kernel_spoke());
    assert!(error.tail().iter().any(|line| line.starts_with("Starting kernel")), "{:?}", error.tail());
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_board_that_waits_at_a_prompt_is_not_silent() {
    let (power, powered) = oneshot::channel();
    let (bench, board) = bench(50, async move |mut board| {
        powered.await.expect("power");
        board.says("[    0.000000] Linux version 6.1\r\nboard login: ").await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    session.booting();
    power.send(()).expect("a board");
    let pattern = [Pattern::anywhere("never said").expect("a pattern")];
    let error = session.wait(&pattern, 60 * SECOND).await.expect_err("not said");
    assert!(matches!(error, ConsoleError::Timeout { .. }), "{error:?}");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_board_that_starts_over_while_it_boots_is_told_at_once() {
    let first =
        "U-Boot SPL 2024.01\r\nU-Boot 2024.01\r\nStarting kernel ...\r\n[    0.000000] Linux version 6\r\n";
    let endless = "U-Boot SPL 2024.01\r\nDRAM failed\r\n".repeat(20);
    for (says, kernel) in [(format!("{first}U-Boot SPL 2024.01\r\n"), true), (endless, false)] {
        let (power, powered) = oneshot::channel();
        let (bench, board) = bench(20, async move |mut board| {
            powered.await.expect("power");
            // A console before the boot: what the old kernel says on its way down proves nothing.
            board.says("[   99.000000] reboot: Restarting system\r\n").await;
            board.says(says).await;
            board.hears_all().await;
        })
        .await;
        let mut session = bench.dial().await.expect("a session");
        session.booting();
        power.send(()).expect("a board");
        let error = session.login(Some("lab"), None, 300 * SECOND).await.expect_err("no login");
        assert!(
            matches!(&error, ConsoleError::Reset { banner, .. } if banner == "U-Boot SPL 2024.01"),
            "{error:?}"
        );
        assert!(!kernel || session.kernel_spoke());
        drop(session);
        board.await.expect("the board's script");
    }
}

#[tokio::test]
async fn a_console_that_replays_its_buffer_and_takes_nothing_is_wedged() {
    let (bench, board) = bench(20, async |mut board| {
        board.says("[   12.000000] eth0: link up\r\nsome old line").await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let error = session.login(Some("lab"), None, 120 * SECOND).await.expect_err("no shell");
    let ConsoleError::LoginFailed { reason: LoginFailure::Wedged, tail } = &error else {
        panic!("{error:?}")
    };
    assert!(tail.iter().any(|line| line == "some old line"), "{tail:?}");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_command_that_somebody_left_behind_is_interrupted() {
    let (bench, board) = bench(20, async |mut board| {
        for _ in 0..2 {
            board.hears("\r").await;
            board.says("\r\n").await; // The terminal echoes, nobody reads.
        }
        board.hears("\x03").await;
        board.says("^C\r\n").await;
        board.is_logged_in().await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    session.login(Some("lab"), None, 120 * SECOND).await.expect("a shell");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_slow_board_gets_its_lines_one_by_one() {
    let (mut bench, board) = bench(1, async |mut board| {
        let mut pieces = Vec::new();
        let mut buffer = [0; 100];
        while pieces.iter().map(Vec::len).sum::<usize>() < 8 {
            let count = board.stream.read(&mut buffer).await.expect("bytes");
            pieces.push(buffer[..count].to_vec());
        }
        assert_eq!(pieces, [&b"one\r"[..], b"two\r"]);
    })
    .await;
    bench.target.settings.line_delay = Duration::from_millis(60);
    let mut session = bench.dial().await.expect("a session");
    session.send_line("one\ntwo").await.expect("sent");
    board.await.expect("the board's script");
}
