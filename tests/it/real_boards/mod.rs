//! Whole runs on real parts: U-Boot and Linux on QEMU boards with their consoles on telnet, powered by a real SNMP
//! agent; a serial-port server; a Redfish controller. Each test types a command as a person does and reads what a
//! person reads.

mod bench;
mod consoles;
mod docs;
mod linux;
mod network;
mod powered_console;
mod redfish;
mod result_files;
mod uboot;

/// Asserts that a text has these in this order.
#[track_caller]
fn shows(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { panic!("{part:?} is missing in:\n{text}") };
        rest = after;
    }
}
