//! The board that the docs describe: every block of `docs/try-a-board.md` is run as it stands, in a folder and on a
//! port of its own.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::console_real::rig::{Rig, free_port, need};
use crate::lab::real_lab;

use super::bench::guest;
use super::shows;

struct Page {
    rig: Rig,
    text: String,
}

impl Drop for Page {
    fn drop(&mut self) {
        // The last block ends the board.
        let blocks = self.blocks("sh");
        drop(self.sh(blocks.last().expect("blocks")));
    }
}

impl Page {
    fn new() -> Page {
        let rig = Rig::new();
        let page = std::fs::read_to_string(root().join("docs/try-a-board.md")).expect("the page");
        let folder = rig.path("board").display().to_string();
        let text = page.replace("/tmp/board", &folder).replace("7001", &free_port().to_string());
        Page { rig, text }
    }

    fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}\n");
        let blocks = self.text.split(&fence).skip(1);
        blocks.map(|rest| rest.split("```").next().expect("an end").to_owned()).collect()
    }

    fn sh(&self, block: &str) -> Output {
        Command::new("sh").args(["-ec", block]).current_dir(root()).output().expect("sh")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_of_the_docs_does_what_they_say() {
    need("qemu-system-aarch64", "qemu-system-arm");
    need("socat", "socat");
    let page = Page::new();
    // What the first block makes is made already.
    let build = page.rig.path("board/build-1");
    std::fs::create_dir_all(build.parent().expect("a folder")).expect("a folder");
    assert!(Command::new("cp").arg("-r").args([guest(), build]).status().expect("cp").success());
    let blocks = page.blocks("sh");
    for block in &blocks[..blocks.len() - 1] {
        let done = page.sh(block);
        assert!(done.status.success(), "{block}\n{done:?}");
    }
    real_lab(&page.blocks("yaml")[0], async |lab| {
        let commands = page.blocks("text").pop().expect("commands");
        let mut seen = Vec::new();
        for command in commands.lines() {
            let run = lab.run("alice", command).await;
            let verdict = lab.verdict(run).await;
            seen.push(format!("{command}: {verdict}"));
            lab.settle().await;
            match seen.len() {
                1 => shows(&lab.thread(run), &["*Tests* 4 passed"]),
                2 => shows(&lab.thread(run), &["Call trace:", "---[ end Kernel panic"]),
                _ => shows(&lab.thread(run), &["TFTP error: 'File not found' (1)"]),
            }
        }
        let expect = [
            "/run-test virt build-1: passed in testing",
            "/run-test virt build-1 suite=panic: failed panic in testing",
            "/run-test virt build-2: infra artifact-missing in booting",
        ];
        assert_eq!(seen, expect);
        lab.say("lead", "/lab power virt-1 status").await;
        assert_eq!(lab.answer("lead").await, "🔌 `virt-1` is off.");
        lab.read_all();
    })
    .await;
}
