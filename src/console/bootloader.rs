//! What boot loaders print when they fail, and when they hand over. Data and two pure questions; the session asks.

use std::sync::LazyLock;

use regex::Regex;

/// Messages after which nothing good follows (U-Boot's, as other labs list them).
const ERRORS: &[&str] = &[
    "Resetting CPU",
    "Must RESET board to recover",
    "TIMEOUT",
    "Retry count exceeded",
    "Retry time exceeded",
    "remote end did not respond",
    "File not found",
    "Bad Linux (ARM64|RISCV) Image magic!",
    "Wrong (Ramdisk )?Image Format",
    "Ramdisk image is corrupt",
    "ERROR: Failed to allocate",
    "TFTP error: ",
    "TFTP overwrite|trying to overwrite reserved memory",
    "ERROR: Did not find a cmdline Flattened Device Tree",
    "ERROR: RD image overlaps OS image",
    "zimage: Bad magic",
    "kernel_comp_addr_r or kernel_comp_size is not provided",
];

static ERROR: LazyLock<Regex> = LazyLock::new(|| Regex::new(&ERRORS.join("|")).expect("constant patterns"));

/// The first line that says that the boot loader failed.
pub fn failure(text: &str) -> Option<&str> {
    text.lines().find(|line| ERROR.is_match(line))
}

/// Whether a failure says that what was asked for is not there: the boot loader and its board did what they could.
pub fn is_missing(failure: &str) -> bool {
    failure.contains("File not found")
}

/// Pattern of what follows once a boot loader has handed over to a kernel.
pub const HANDED_OVER: &str = r"Starting kernel \.\.\.|Booting Linux on physical CPU|Linux version [0-9]";

/// What a boot loader printed for a line it was sent: without the line's echo, and without its prompt.
pub fn output<'a>(text: &'a str, sent: &str) -> &'a str {
    match text.split_once('\n') {
        Some((echo, rest)) if echo.trim_end().ends_with(sent.trim_end()) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_found_by_line() {
        assert_eq!(
            failure("Using eth0\nTFTP error: 'File not found' (1)\n"),
            Some("TFTP error: 'File not found' (1)")
        );
        assert_eq!(failure("Starting kernel ...\n"), None);
    }

    #[test]
    fn a_file_that_is_not_there_is_known_from_one_that_did_not_come() {
        assert!(is_missing("TFTP error: 'File not found' (1)"));
        assert!(!is_missing("Retry count exceeded; starting again"));
    }

    #[test]
    fn an_echo_is_no_output() {
        assert_eq!(output("version\nU-Boot 2023.01\n", "version"), "U-Boot 2023.01\n");
        assert_eq!(output("U-Boot 2023.01\n", "version"), "U-Boot 2023.01\n");
    }
}
