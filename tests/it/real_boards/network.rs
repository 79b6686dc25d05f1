//! Boards that fetch from boardhand itself over their network.

use crate::artifacts::log_of;
use crate::lab::{booting_lab, real_lab};

use super::bench::{Bench, Boots, guest};

/// The manual's example: what it says of its family, and its plans.
fn manual() -> (&'static str, &'static str) {
    let manual = include_str!("../../../docs/transfer.md");
    let block =
        manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let block = block.strip_prefix("families:\n  socA:\n").expect("a family");
    block.split_once("plans:\n").expect("plans")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kernel_fetches_its_test_from_boardhand_and_proves_it_as_the_manual_says() {
    let bench = Bench::new(1, Boots::Linux);
    let (family, plans) = manual();
    let yaml = bench.yaml("smoke: unit", plans).replace("    suites:", &format!("{family}    suites:"));
    real_lab(&yaml, async |lab| {
        let build = lab.data.path().join("artifacts/main/build@1");
        std::fs::create_dir_all(&build).expect("a folder");
        let padding = "#".repeat(3_000_000);
        std::fs::write(build.join("test.bin"), format!("#!/bin/sh\nexec uname -a\n{padding}"))
            .expect("a file");
        let run = lab.run("alice", "/run-test virt main/build@1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing", "{}", log_of(lab, run));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// Where boardhand is asked for a kernel. QEMU keeps the port of TFTP at its own address for a server of its own; what
/// goes to a loopback address of this machine it passes on.
const TFTP: &str = "127.69.0.9:69";

const NETBOOT: &str = r"
  netboot:
    limits: {total: 4m, no_output: 30s}
    retry: {infra: 0}
    boot:
      - power: cycle
      - interrupt: {expect: 'Hit any key', send: ' ', within: 60s}
      - command: {send: 'setenv ipaddr 10.0.2.15; setenv netmask 255.255.255.0; setenv gatewayip 10.0.2.2', at: bootloader}
      - command: {send: 'setenv serverip 127.69.0.9; setenv tftpblocksize 1468; setenv tftpwindowsize 8', at: bootloader}
      - command: {send: 'tftpboot $kernel_addr_r {{ artifacts.path }}/{{ build.id }}/Image', at: bootloader, within: 60s}
      - command: {send: 'tftpboot $ramdisk_addr_r {{ build.id }}/initrd.gz', at: bootloader, within: 60s}
      - command: {send: 'setenv bootargs console=ttyAMA0 board={{ board.id }}', at: bootloader}
      - command: {send: 'booti $kernel_addr_r $ramdisk_addr_r:$filesize $fdtcontroladdr', at: bootloader}
      - login: {within: 100s}
    test: [{name: unit, run: 'uname -a', within: 30s}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u_boot_fetches_its_kernel_from_boardhand_by_tftp() {
    let bench = Bench::new(1, Boots::Uboot);
    booting_lab(TFTP, &bench.yaml("smoke: netboot", NETBOOT), async |lab| {
        let build = lab.data.path().join("artifacts/build-9");
        std::fs::create_dir_all(&build).expect("a folder");
        for name in ["Image", "initrd.gz"] {
            std::fs::copy(guest().join(name), build.join(name)).expect("a file");
        }
        let run = lab.run("alice", "/run-test virt build-9").await;
        assert_eq!(lab.verdict(run).await, "passed in testing", "{}", log_of(lab, run));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
