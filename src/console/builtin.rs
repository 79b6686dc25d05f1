//! The watch patterns every plan has, as data: severity, cause, start, end of the trace. They follow what the
//! Linux kernel prints and what other labs watch for. Every start begins with literal text, or nearly so: that
//! is what lets one search skip ordinary lines at memory speed.

/// How bad a built-in pattern is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Looks like trouble and is none.
    Ignored,
    /// The kernel is dead.
    Fatal,
    /// The kernel is hurt: the attempt fails, but goes on.
    Serious,
    /// Worth noting.
    Mild,
    /// The board started anew.
    Reset,
}

use Severity::{Fatal, Ignored, Mild, Reset, Serious};

const END_PANIC: Option<&str> = Some(r"end Kernel panic");
const END_TRACE: Option<&str> = Some(r"---\[ end (trace|Kernel panic)");

/// Severity, cause, start, end of the trace. `Linux version` needs the stamp before it: `/proc/version` has none. Of several that match one line, the first counts.
pub const BUILTIN: &[(Severity, &str, &str, Option<&str>)] = &[
    (Ignored, "", r"NMI watchdog.*disabled", None),
    (Ignored, "", r"hung_task_timeout_secs", None),
    (Ignored, "", r"FIRMWARE BUG: kernel image not aligned on 64k", None),
    (Fatal, "panic", r"Kernel panic - not syncing", END_PANIC),
    (Fatal, "no-root", r"Unable to mount root fs", END_PANIC),
    (Fatal, "init-died", r"Attempted to kill init", END_PANIC),
    (Serious, "oops", r"Internal error: Oops", END_TRACE),
    (Serious, "oops", r"Oops(?: -|:)", END_TRACE),
    (Serious, "oops", r"Oops \[#[0-9]", END_TRACE),
    (Serious, "oops", r"Internal error: .* \[#[0-9]", END_TRACE),
    (Serious, "null-pointer", r"BUG: unable to handle", END_TRACE),
    (Serious, "null-pointer", r"BUG: kernel NULL pointer dereference", END_TRACE),
    (Serious, "kernel-bug", r"kernel BUG at", END_TRACE),
    (Serious, "kernel-bug", r"Kernel BUG \[#[0-9]", END_TRACE),
    (Serious, "bad-access", r"Unable to handle kernel", END_TRACE),
    (Serious, "kasan", r"BUG: KASAN:", Some(r"={20}")),
    (Serious, "kcsan", r"BUG: KCSAN:", Some(r"={20}")),
    (Serious, "kfence", r"BUG: KFENCE:", Some(r"={20}")),
    (Serious, "kmsan", r"BUG: KMSAN:", Some(r"={20}")),
    (Serious, "bad-access", r"Unhandled fault", END_TRACE),
    (Serious, "oops", r"invalid opcode:", END_TRACE),
    (Serious, "bad-access", r"general protection fault", END_TRACE),
    (Serious, "soft-lockup", r"BUG: soft lockup - CPU#[0-9]+ stuck for [0-9]+s!", None),
    (Serious, "hard-lockup", r"Watchdog detected hard LOCKUP", None),
    (Serious, "rcu-stall", r"INFO: rcu_.*detected (expedited )?stall", None),
    (Serious, "hung-task", r"INFO: task .* blocked for more than [0-9]+ seconds", None),
    (Serious, "atomic", r"BUG: sleeping function called from invalid context", None),
    (Serious, "atomic", r"BUG: scheduling while atomic", None),
    (Serious, "spinlock", r"BUG: spinlock", None),
    (Serious, "workqueue", r"BUG: workqueue lockup", None),
    (Serious, "bad-page", r"BUG: Bad (?:page|rss-counter)", None),
    (Serious, "lockdep", r"\[ BUG: Invalid wait context \]", None),
    (Serious, "lockdep", r"WARNING: possible circular locking", None),
    (Serious, "lockdep", r"WARNING: possible recursive locking", None),
    (Serious, "lockdep", r"WARNING: possible irq lock inversion", None),
    (Serious, "lockdep", r"WARNING: inconsistent lock state", None),
    (Serious, "oom", r"Out of memory: Kill", None),
    (Serious, "serror", r"SError Interrupt", END_TRACE),
    (Serious, "machine-check", r"Machine check", None),
    (Serious, "exception", r"Synchronous Exception at", None),
    (Serious, "filesystem", r"EXT4-fs error", None),
    (Serious, "disk", r"I/O error, dev", None),
    (Mild, "warning", r"\[ cut here \]", END_TRACE),
    (Mild, "warning", r"WARNING: CPU: [0-9]+ PID: [0-9]+ at", END_TRACE),
    (Mild, "refcount", r"refcount_t:", None),
    (Mild, "ubsan", r"UBSAN: [a-z]", Some(r"={20}|---\[ end (?:trace|UBSAN)")),
    (Mild, "rcu-usage", r"WARNING: suspicious RCU usage", None),
    // A limit that somebody set, at work.
    (Mild, "oom", r"Memory cgroup out of memory: Kill", None),
    (Mild, "segfault", r"segfault at", None),
    (Mild, "segfault", r"traps: .* trap", None),
    (Mild, "segfault", r"Segmentation fault", None),
    (Mild, "assertion", r"Assertion .* failed", None),
    (Reset, "reset", r"U-Boot (SPL )?20[0-9][0-9]", None),
    (Reset, "reset", r"\] Linux version [0-9]", None),
    (Reset, "reset", r"NOTICE:  BL", None),
    (Reset, "reset", r"\] Booting Linux on physical CPU", None),
    (Reset, "reset", r"barebox 20[0-9][0-9]", None),
    (Reset, "reset", r"\*\*\* Booting Zephyr OS", None),
    (Reset, "rtos-fault", r"FATAL EXCEPTION", None),
    (Reset, "rtos-fault", r"Guru Meditation Error", None),
    (Reset, "rtos-fault", r"HardFault", None),
];
