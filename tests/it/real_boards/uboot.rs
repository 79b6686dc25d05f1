//! Boards that stop in U-Boot and get their kernel over the network.

use crate::lab::real_lab;

use super::bench::{Bench, Boots};
use super::shows;

/// What a kernel is told, and what starts it.
const CONSOLE: &str = "console=ttyAMA0 board={{ board.id }}";
const BOOT: &str = "booti $kernel_addr_r $ramdisk_addr_r:$filesize $fdtcontroladdr";

/// A plan whose kernel comes by TFTP, which is started and tested so.
fn netboot(name: &str, kernel: &str, bootargs: &str, boot: &str, test: &str) -> String {
    format!(
        "  {name}:
    limits: {{total: 4m, no_output: 15s}}
    retry: {{infra: 1, other_board: true}}
    boot:
      - power: cycle
      - interrupt: {{expect: 'Hit any key', send: ' ', within: 60s}}
      - command: {{send: 'setenv autoload no', at: bootloader}}
      - command: {{send: dhcp, at: bootloader}}
      - command: {{send: 'tftpboot $kernel_addr_r {{{{ build.id }}}}/{kernel}', at: bootloader, within: 60s}}
      - command: {{send: 'tftpboot $ramdisk_addr_r {{{{ build.id }}}}/initrd.gz', at: bootloader, within: 60s}}
      - command: {{send: 'setenv bootargs {bootargs}', at: bootloader}}
      - command: {{send: '{boot}', at: bootloader}}
      - login: {{within: 100s}}
    test:
{test}"
    )
}

fn good() -> String {
    // Words of a boot loader in a test's output are only words.
    let test = "      - {name: unit, run: 'selftest {{ build.id }}', parse: ktap, within: 60s}\n      - {name: words, run: \
                \"echo \\\"TFTP error: 'File not found' (1)\\\"; echo 'Retry count exceeded; starting again'\", within: 30s}\n";
    netboot("netboot", "Image", CONSOLE, BOOT, test)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_stopped_in_u_boot_and_fetches_its_kernel_from_there() {
    let bench = Bench::new(1, Boots::Uboot);
    real_lab(&bench.yaml("smoke: netboot", &good()), async |lab| {
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
              [Retry] [Log]
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
    real_lab(&bench.yaml("smoke: netboot", &good()), async |lab| {
        let run = lab.run("alice", "/run-test virt build-8").await;
        assert_eq!(lab.verdict(run).await, "infra artifact-missing in booting");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        let said = [
            "The boot loader failed: TFTP error: 'File not found' (1).\n",
            "=> tftpboot $kernel_addr_r build-8/Image\n",
            "Filename 'build-8/Image'.\n",
            "TFTP error: 'File not found' (1)\n",
        ];
        let thread = lab.thread(run);
        shows(&thread, &["*⚠️ Lab trouble* · `artifact-missing`\n", said[0]]);
        let (_, last) =
            thread.split_once("*⚠️ Lab trouble* · `artifact-missing` on `board-1`").expect("a last word");
        shows(last, &said);
        // No other board would have found it.
        shows(last, &["Is `build-8` the right build, and was it put there?"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_between_u_boot_and_a_login_is_the_labs_or_the_builds_as_the_table_says() {
    let bench = Bench::new(2, Boots::Uboot);
    let test = "      - {name: reboot, run: 'reboot -f; sleep 60', within: 90s}\n";
    let plans = [
        // The lab's: what was fetched is no kernel.
        (
            "magic",
            "initrd.gz",
            CONSOLE,
            BOOT,
            "infra bootloader-error in booting after infra bootloader-error",
        ),
        // The build's: a kernel that dies before it offers a login.
        ("root", "Image", CONSOLE, "booti $kernel_addr_r - $fdtcontroladdr", "failed boot-panic in booting"),
        // The lab's at first, and then the build's: a board that starts anew during its test.
        ("reset", "Image", CONSOLE, BOOT, "failed board-lost in testing after infra board-reset"),
        // The build's: a kernel that U-Boot started and nobody heard of again.
        (
            "silent",
            "Image",
            "console=ttyS9 quiet rdinit=/bin/busybox -- sleep 900",
            BOOT,
            "failed boot-silent in booting",
        ),
    ];
    let suites = plans.map(|(name, ..)| format!("{name}: {name}")).join(", ") + ", smoke: magic";
    let text =
        plans.map(|(name, kernel, bootargs, boot, _)| netboot(name, kernel, bootargs, boot, test)).concat();
    real_lab(&bench.yaml(&suites, &text), async |lab| {
        let mut runs = Vec::new();
        for (name, ..) in plans {
            runs.push(lab.run("alice", &format!("/run-test virt build-7 suite={name}")).await);
        }
        for ((name, .., expect), run) in plans.iter().zip(runs) {
            let verdict = lab.verdict(run).await;
            assert_eq!(verdict, *expect, "{name}:\n{}", lab.thread(run));
        }
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        lab.read_all();
    })
    .await;
}
