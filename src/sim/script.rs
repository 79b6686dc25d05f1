//! A simulated board's life story, from power on to its shell: first loader, boot loader, kernel, login.

use std::time::Duration;

use super::Speed;
use super::faults::BootStage;
use super::shell;
use super::tty::{Halt, Tty};

/// The kernel's log, with time stamps, as a small arm64 board prints it.
const KERNEL_LOG: &str = include_str!("kernel_log.txt");
/// From power to the first byte, at any speed.
const POWER_UP: Duration = Duration::from_millis(50);
/// Kernel command lines and file transfers in the boot loader take about so long.
const NETBOOT: Duration = Duration::from_millis(900);
/// What a wrong password costs.
const LOGIN_DELAY: Duration = Duration::from_millis(2700);
/// The boot loader's variables at power on.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("baudrate", "115200"),
    ("bootcmd", "run mmcboot"),
    ("bootdelay", "2"),
    ("ethaddr", "02:00:5e:10:00:01"),
    ("mmcboot", "load mmc 0:1 ${kernel_addr_r} Image; booti ${kernel_addr_r} - ${fdt_addr_r}"),
    ("netboot", "dhcp; tftpboot ${kernel_addr_r} Image; booti ${kernel_addr_r} - ${fdt_addr_r}"),
];
/// Most variables the boot loader keeps.
const VARIABLES_MAX: usize = 200;

/// Lives from power on, or from its login prompt when it has `booted` already; returns only when the board has died for good.
pub(super) async fn live(tty: &mut Tty, mut booted: bool) {
    loop {
        let end = one_life(tty, std::mem::take(&mut booted)).await;
        if end == Halt::Reset {
            tty.forget();
            continue;
        }
        // Hung: reads nothing, says nothing; the power switch ends this.
        tty.discard_input().await;
        std::future::pending::<()>().await;
    }
}

async fn one_life(tty: &mut Tty, booted: bool) -> Halt {
    let story = async {
        if booted {
            tty.start_kernel();
        } else {
            first_loader(tty).await?;
            boot_loader(tty).await?;
            kernel(tty).await?;
        }
        let mut files = shell::Files::default();
        loop {
            login(tty).await?;
            tty.pass(BootStage::Shell).await?;
            match shell::session(tty, &mut files).await {
                Halt::Exit(_) | Halt::Interrupted => tty.print("\nlogout\n").await,
                end => return Err(end),
            }
        }
    };
    let end: Result<std::convert::Infallible, Halt> = story.await;
    match end {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

/// A pause that a typed Ctrl-C does not shorten.
async fn firm_pause(tty: &mut Tty, real: Duration) {
    // There is no program yet that could be interrupted; the byte is lost.
    while tty.pause(real).await == Err(Halt::Interrupted) {}
}

async fn first_loader(tty: &mut Tty) -> Result<(), Halt> {
    // Not scaled: a client that has just connected must be listening before the first byte.
    tty.shared.clock.sleep(POWER_UP).await;
    tty.print("\n\nU-Boot SPL 2023.01 (Jan 05 2026 - 08:00:00 +0000)\n").await;
    tty.pass(BootStage::Spl).await?;
    tty.print("DDR: 4096 MiB, 2 channels, 3200 MT/s\nTrying to boot from MMC1\n").await;
    tty.print("NOTICE:  BL31: v2.9.0\nNOTICE:  BL31: Built : 08:00:00, Jan  5 2026\n").await;
    firm_pause(tty, Duration::from_millis(200)).await;
    Ok(())
}

async fn boot_loader(tty: &mut Tty) -> Result<(), Halt> {
    let family = tty.shared.spec.family.clone();
    tty.print("\n\nU-Boot 2023.01 (Jan 05 2026 - 08:00:00 +0000)\n\n").await;
    tty.pass(BootStage::Bootloader).await?;
    tty.print(&format!("Model: Simulated {family} board\nDRAM:  4 GiB\nCore:  47 devices, 13 uclasses\n"))
        .await;
    tty.print("MMC:   mmc@fe340000: 0\nLoading Environment from MMC... OK\n").await;
    tty.print("In:    serial\nOut:   serial\nErr:   serial\nNet:   eth0: ethernet@fe1c0000\n").await;
    if countdown(tty).await {
        return prompt(tty).await;
    }
    load(tty, false).await
}

/// Counts down; true when a key stopped it.
async fn countdown(tty: &mut Tty) -> bool {
    // Kept long at any speed: it ends with the key that stops it.
    let step = match tty.shared.spec.speed {
        Speed::Real => Duration::from_secs(1),
        Speed::Brisk | Speed::Fast => Duration::from_millis(400),
    };
    tty.print("Hit any key to stop autoboot:  2 ").await;
    for left in ["\x08\x08\x08 1 ", "\x08\x08\x08 0 "] {
        if tty.key_within(step).await.is_some() {
            tty.print("\x08\x08\x08 0 \n").await;
            return true;
        }
        tty.print(left).await;
    }
    tty.print("\n").await;
    false
}

/// The boot loader's command line; returns when a kernel was started.
async fn prompt(tty: &mut Tty) -> Result<(), Halt> {
    let mut variables: Vec<(String, String)> =
        ENVIRONMENT.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut status = 0;
    let mut last = String::new();
    loop {
        let prompt = tty.shared.spec.bootloader_prompt.clone().unwrap_or_else(|| "=> ".to_owned());
        tty.print(&prompt).await;
        let mut line = match tty.read_line(true).await {
            Ok(line) => line.trim().to_owned(),
            Err(_) => continue,
        };
        if line.is_empty() {
            // An empty line repeats the last command: a trap for whoever sends Enter first.
            line.clone_from(&last);
        }
        last.clone_from(&line);
        let words: Vec<&str> = line.split_whitespace().collect();
        status = match words.as_slice() {
            ["boot"] | ["run", "bootcmd" | "mmcboot"] => return load(tty, false).await,
            ["run", "netboot"] if tty.faults().netboot_fails => {
                tty.print("Using ethernet@fe1c0000 device\nTFTP error: 'File not found' (1)\n").await;
                tty.print("Not retrying...\n").await;
                1
            }
            ["run", "netboot"] => return load(tty, true).await,
            ["reset"] => {
                tty.print("resetting ...\n").await;
                return Err(Halt::Reset);
            }
            ["setenv", name, value @ ..] => {
                variables.retain(|(known, _)| known != name);
                if !value.is_empty() && variables.len() < VARIABLES_MAX {
                    variables.push((name.to_string(), value.join(" ")));
                }
                0
            }
            words => answer(tty, words, &variables, status).await,
        };
    }
}

/// Commands of the boot loader that only print.
async fn answer(tty: &mut Tty, words: &[&str], variables: &[(String, String)], status: i32) -> i32 {
    let value = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    match words {
        [] => status,
        ["echo", "$?"] => {
            tty.print(&format!("{status}\n")).await;
            0
        }
        ["echo", rest @ ..] => {
            tty.print(&format!("{}\n", rest.join(" "))).await;
            0
        }
        ["printenv"] => {
            for (name, value) in variables {
                tty.print(&format!("{name}={value}\n")).await;
            }
            0
        }
        ["printenv", name] => match value(name) {
            Some(value) => {
                tty.print(&format!("{name}={value}\n")).await;
                0
            }
            None => {
                tty.print(&format!("## Error: \"{name}\" not defined\n")).await;
                1
            }
        },
        ["run", name] if value(name).is_none() => {
            tty.print(&format!("## Error: \"{name}\" not defined\n")).await;
            1
        }
        ["run", _] | ["true"] => 0,
        ["false"] => 1,
        ["version"] => {
            tty.print("U-Boot 2023.01 (Jan 05 2026 - 08:00:00 +0000)\n").await;
            0
        }
        ["help"] => {
            tty.print("boot echo false help printenv reset run setenv true version\n").await;
            0
        }
        [unknown, ..] => {
            tty.print(&format!("Unknown command '{unknown}' - try 'help'\n")).await;
            1
        }
    }
}

/// Loads a kernel and starts it.
async fn load(tty: &mut Tty, from_network: bool) -> Result<(), Halt> {
    if from_network {
        tty.print("BOOTP broadcast 1\nDHCP client bound to address 10.1.1.101 (4 ms)\n").await;
        tty.print(
            "Using ethernet@fe1c0000 device\nTFTP from server 10.1.1.1; our IP address is 10.1.1.101\n",
        )
        .await;
        tty.print("Filename 'Image'.\nLoad address: 0x2080000\nLoading: ").await;
        for _ in 0..6 {
            tty.print("#################").await;
            firm_pause(tty, NETBOOT / 6).await;
        }
        tty.print("\n\t 21.3 MiB/s\ndone\nBytes transferred = 23316992 (163ca00 hex)\n").await;
    } else {
        tty.print("23316992 bytes read in 131 ms (169.7 MiB/s)\n").await;
    }
    tty.print("## Flattened Device Tree blob at 0a100000\n   Booting using the fdt blob at 0xa100000\n")
        .await;
    tty.print("\nStarting kernel ...\n\n").await;
    Ok(())
}

async fn kernel(tty: &mut Tty) -> Result<(), Halt> {
    tty.start_kernel();
    let mut before = 0.0;
    let middle = KERNEL_LOG.lines().count() / 2;
    for (number, line) in KERNEL_LOG.lines().enumerate() {
        if number == middle {
            tty.pass(BootStage::Kernel).await?;
        }
        let stamp: f64 = line.get(1..13).and_then(|stamp| stamp.trim().parse().ok()).unwrap_or(before);
        firm_pause(tty, Duration::from_secs_f64((stamp - before).max(0.0))).await;
        before = stamp;
        tty.kernel_line(6, line.to_owned()).await;
    }
    firm_pause(tty, Duration::from_millis(400)).await;
    tty.pass(BootStage::Login).await
}

/// Asks for a name and a password until both are right.
async fn login(tty: &mut Tty) -> Result<(), Halt> {
    tty.echo = true;
    let spec = tty.shared.spec.clone();
    let Some(username) = spec.username else {
        tty.print("\nPlease press Enter to activate this console. ").await;
        // Any line will do, a Ctrl-C too.
        let _ = tty.read_line(true).await;
        return Ok(());
    };
    tty.print(&format!("\nDebian GNU/Linux 12 {} ttyS0\n\n", spec.hostname)).await;
    loop {
        tty.print(&format!("{} login: ", spec.hostname)).await;
        let Ok(name) = tty.read_line(true).await else {
            tty.print("\n").await;
            continue;
        };
        if name.is_empty() {
            continue;
        }
        let password = match &spec.password {
            Some(_) => {
                tty.print("Password: ").await;
                tty.read_line(false).await.ok()
            }
            None => None,
        };
        if name == username && password == spec.password {
            break;
        }
        firm_pause(tty, LOGIN_DELAY).await;
        tty.print("\nLogin incorrect\n").await;
    }
    tty.print("Linux 6.6.52-lab aarch64\nLast login: Mon Jan  5 08:00:00 UTC 2026 on ttyS0\n").await;
    Ok(())
}

/// The kernel panics, prints its trace and is dead. Without a kernel the board only hangs.
pub(super) async fn panic(tty: &mut Tty, stage: BootStage, why: &str) -> Halt {
    if matches!(stage, BootStage::Spl | BootStage::Bootloader) {
        return Halt::Dead;
    }
    let cause = format!("Kernel panic - not syncing: {why}");
    tty.printk(0, &cause).await;
    for line in [
        "CPU: 1 PID: 412 Comm: t Tainted: G           O       6.6.52-lab #1",
        "Hardware name: Simulated board (DT)",
        "Call trace:",
        " dump_backtrace+0x98/0xf8",
        " show_stack+0x20/0x38",
        " dump_stack_lvl+0x48/0x60",
        " panic+0x340/0x398",
        " npu_job_timeout+0x1c4/0x1d0 [npu]",
        " process_one_work+0x17c/0x448",
        " worker_thread+0x338/0x450",
        " kthread+0x120/0x130",
        " ret_from_fork+0x10/0x20",
        "SMP: stopping secondary CPUs",
        "Kernel Offset: disabled",
        "Memory Limit: none",
    ] {
        tty.printk(0, line).await;
    }
    tty.printk(0, &format!("---[ end {cause} ]---")).await;
    Halt::Dead
}
