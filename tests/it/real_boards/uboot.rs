//! Boards that stop in U-Boot and get their kernel over the network.

use crate::lab::real_lab;

use super::bench::{Bench, Boots};
use super::shows;

const PLANS: &str = r#"
  netboot:
    limits: {total: 4m, no_output: 40s}
    retry: {infra: 1, other_board: true}
    boot:
      - power: cycle
      - interrupt: {expect: 'Hit any key', send: ' ', within: 60s}
      - command: {send: 'setenv autoload no', at: bootloader}
      - command: {send: dhcp, at: bootloader}
      - command: {send: 'tftpboot $kernel_addr_r {{ build.id }}/Image', at: bootloader, within: 60s}
      - command: {send: 'tftpboot $ramdisk_addr_r {{ build.id }}/initrd.gz', at: bootloader, within: 60s}
      - command: {send: 'setenv bootargs console=ttyAMA0 board={{ board.id }}', at: bootloader}
      - command: {send: 'booti $kernel_addr_r $ramdisk_addr_r:$filesize $fdtcontroladdr', at: bootloader}
      - login: {within: 100s}
    test:
      - {name: unit, run: 'selftest {{ build.id }}', parse: ktap, within: 60s}
      # Words of a boot loader in a test's output are only words.
      - {name: words, run: "echo \"TFTP error: 'File not found' (1)\"; echo 'Retry count exceeded; starting again'", within: 30s}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_stopped_in_u_boot_and_fetches_its_kernel_from_there() {
    let bench = Bench::new(1, Boots::Uboot);
    real_lab(&bench.yaml("smoke: netboot", PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-7").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 virt · build-7 · smoke
              *✅ Passed*
              *Board* `board-1`
              *By* @alice
              *Tests* 5 passed, 1 skipped
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
              Finished <time> · Console log
              [Retry]
            boardhand: ▶️ `board-1` is up, `build-7` is being tested.
            boardhand: *✅ Passed* on `board-1` in N s: 5 passed, 1 skipped
              Console log
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_u_boot_cannot_fetch_is_the_labs_trouble_in_its_own_words() {
    let bench = Bench::new(2, Boots::Uboot);
    real_lab(&bench.yaml("smoke: netboot", PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-8").await;
        let expect = "infra bootloader-error in booting after infra bootloader-error";
        assert_eq!(lab.verdict(run).await, expect);
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        let said = [
            "The boot loader failed: TFTP error: 'File not found' (1).\n",
            "=> tftpboot $kernel_addr_r build-8/Image\n",
            "Filename 'build-8/Image'.\n",
            "TFTP error: 'File not found' (1)\n",
        ];
        let thread = lab.thread(run);
        shows(&thread, &["*⚠️ Lab trouble* · `bootloader-error`\n", said[0], "*Attempt* 2, after board-1 "]);
        shows(&thread, &["`board-1` in attempt 1: `bootloader-error`. This says nothing about the build"]);
        let (_, last) =
            thread.split_once("*⚠️ Lab trouble* · `bootloader-error` on `board-2`").expect("a last word");
        shows(last, &said);
    })
    .await;
}
