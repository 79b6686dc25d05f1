//! Boards that start over while they boot: a kernel after whose start a boot loader speaks again, and a board that
//! shows the same banner again and again. Pure: lines in, a banner out when it is one too many. What it leads to is
//! the verdict table's; a reset after the boot is the watch's.

use std::sync::LazyLock;

use regex::Regex;

use super::clean::cut;
use super::printk;

/// How often a board may show the same banner in one boot: some start over once, after an update or a failed slot.
pub const BANNERS_MAX: u32 = 3;
/// Most banners that are told apart in one boot.
const KINDS_MAX: usize = 8;
/// How much of a banner says which one it is.
const KIND_BYTES_MAX: usize = 40;

/// How stages before the kernel introduce themselves.
static BANNER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(U-Boot ([ST]PL )?20[0-9][0-9]|NOTICE:  BL[0-9]|barebox 20[0-9][0-9]|DDR Version |\[BootROM\])",
    )
    .expect("a constant")
});

/// How lines begin that only a started kernel says, where its messages carry no time.
const KERNEL_SIGNS: [&str; 3] = ["Starting kernel ", "Booting Linux on ", "Linux version "];

/// Whether only a started kernel says this.
pub fn is_kernel(line: &str) -> bool {
    KERNEL_SIGNS.iter().any(|sign| line.starts_with(sign)) || printk::unstamp(line).len() < line.len()
}

/// One boot of a board, as its lines tell it.
#[derive(Debug, Default)]
pub struct Boot {
    /// The kernel spoke after a stage before it had: what that stage says from now on is said by the next boot.
    kernel_follows: bool,
    banners: Vec<(String, u32)>,
}

impl Boot {
    /// Looks at one cleaned line; true when it says that the board starts over.
    ///
    /// A kernel that spoke before any stage did may be that of the boot before, on its way down: it proves nothing.
    pub fn line(&mut self, line: &str) -> bool {
        self.kernel_follows |= !self.banners.is_empty() && is_kernel(line);
        if !BANNER.is_match(line) {
            return false;
        }
        let kind = cut(line, KIND_BYTES_MAX);
        if !self.banners.iter().any(|(known, _)| known == kind) && self.banners.len() < KINDS_MAX {
            self.banners.push((kind.to_owned(), 0));
        }
        let known = self.banners.iter_mut().find(|(known, _)| known == kind);
        let times = known.map_or(0, |(_, times)| {
            *times += 1;
            *times
        });
        self.kernel_follows || times > BANNERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many lines it takes to be sure; nothing when the boot is none that starts over.
    #[track_caller]
    fn check(lines: &[&str], expect: Option<usize>) {
        let mut boot = Boot::default();
        let told = lines.iter().position(|line| boot.line(line));
        assert_eq!(told, expect, "{lines:?}");
    }

    const SPL: &str = "U-Boot SPL 2024.01 (Jan 08 2024 - 15:37:48 +0000)";
    const UBOOT: &str = "U-Boot 2024.01 (Jan 08 2024 - 15:37:48 +0000)";

    #[test]
    fn a_whole_boot_is_none_that_starts_over() {
        check(
            &[
                "DDR Version 1.0",
                SPL,
                "NOTICE:  BL31: v2.9",
                UBOOT,
                "Starting kernel ...",
                "[    0.000000] x",
            ],
            None,
        );
        check(&[SPL, SPL, UBOOT, "Starting kernel ...", "[    0.000000] U-Boot 2024.01"], None);
    }

    #[test]
    fn a_stage_that_speaks_after_its_kernel_is_the_next_boot() {
        check(&[SPL, UBOOT, "Starting kernel ...", SPL], Some(3));
        check(&[UBOOT, "[    0.000000] Linux version 6.1", "NOTICE:  BL1: v2.9"], Some(2));
    }

    #[test]
    fn a_kernel_on_its_way_down_proves_nothing() {
        check(&["[    99.000000] reboot: Power down", SPL, UBOOT, "Starting kernel ..."], None);
    }

    #[test]
    fn the_same_banner_once_too_often_is_a_loop() {
        let loops = [SPL; BANNERS_MAX as usize + 1];
        check(&loops[1..], None);
        check(&loops, Some(BANNERS_MAX as usize));
    }

    #[test]
    fn a_board_that_says_something_else_each_time_is_remembered_within_bounds() {
        let mut boot = Boot::default();
        for n in 0..10 * KINDS_MAX {
            assert!(!boot.line(&format!("U-Boot 2024.{n:02}")));
        }
        assert_eq!(boot.banners.len(), KINDS_MAX);
    }
}
