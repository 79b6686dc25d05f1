//! Boards behind a serial-port server whose ports are not always to be had.

use std::net::TcpStream;

use crate::console_real::rig::Rig;
use crate::lab::real_lab;

use super::shows;

fn yaml([held, raw, missing]: [u16; 3]) -> String {
    let board = |n: usize, port: u16, more: &str| {
        format!(
            "  - {{board_id: board-{n}, soc_family: virt, board_ip: 127.0.0.1, telnet_port: {port}, lab_location: \
             Here{more}}}\n"
        )
    };
    format!(
        "boards:\n{}{}{}families: {{virt: {{suites: {{smoke: uname}}}}}}\nplans:\n  uname:\n    boot: [{{login: \
         {{within: 60s}}}}]\n    test: [{{name: uname, run: uname -a, within: 30s}}]\n",
        board(1, held, ""),
        board(2, missing, ""),
        board(3, raw, ", console: {type: tcp}")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_else_holds_is_named_in_the_servers_words_and_another_board_is_taken() {
    let rig = Rig::new();
    let ports = rig.ser2net();
    // A colleague's terminal.
    let held = TcpStream::connect(("127.0.0.1", ports[0])).expect("the port is free");
    real_lab(&yaml(ports), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1").await;
        let expect = "passed in testing after infra console-busy, infra console-busy";
        assert_eq!(lab.verdict(run).await, expect);
        lab.settle().await;
        let told = [
            "*Attempt* 3, after board-1 (console-busy), board-2 (console-busy)\n",
            "Lab trouble on `board-1` in attempt 1: `console-busy`. This says nothing about the build",
            "The console is busy: Port already in use.\n",
            "Lab trouble on `board-2` in attempt 2: `console-busy`.",
            "The console is busy: Device open failure: Value or file not found.\n",
        ];
        shows(&lab.thread(run), &told);
        drop(held);
        let next = lab.run("bob", "/run-test board-1 build-1").await;
        assert_eq!(lab.verdict(next).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
