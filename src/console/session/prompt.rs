//! Getting a prompt out of a console that may have shown it already, under something else: kernel messages appear in
//! the middle of prompts, and a terminal server may have lost the bytes.

use std::time::Duration;

use super::{Session, TICK};
use crate::board::plan::PromptOf;
use crate::console::ConsoleError;
use crate::console::expect::{PROMPT_SILENCE, Pattern};
use crate::console::printk;

/// Nudges at most; they share the second half of the time.
pub(super) const FORCED_NUDGES_MAX: u32 = 5;

impl Session {
    /// Waits for a prompt through half of the time, and then asks for it again and again.
    ///
    /// A shell is asked with an empty line. To a boot loader that would repeat the last command, so it gets a comment.
    pub async fn force_prompt(&mut self, of: PromptOf, within: Duration) -> Result<(), ConsoleError> {
        self.line.begin(false);
        if of == PromptOf::Shell && self.at_shell() {
            return Ok(()); // It is proven, and told to show no prompt.
        }
        let (pattern, nudge, awaited) = match of {
            PromptOf::Shell => (self.prompt.clone(), &b"\n"[..], "the shell's prompt"),
            PromptOf::Bootloader => (self.bootloader.clone(), &b"#\n"[..], "the boot loader's prompt"),
        };
        let deadline = self.after(within);
        // An earlier step may have taken the prompt for its own: it is asked for before silence ends the attempt.
        let patience = self.line.limits.no_output.unwrap_or(within).min(within) / 2;
        let mut nudge_at = self.after(patience);
        let pause = within / (2 * (FORCED_NUDGES_MAX + 1));
        let mut nudges = 0;
        while !self.shows(&pattern) {
            if self.now() >= deadline {
                return Err(self.timeout(awaited, within));
            }
            if self.now() >= nudge_at && nudges < FORCED_NUDGES_MAX {
                nudges += 1;
                nudge_at = self.after(pause);
                self.send_text(nudge).await?;
            }
            self.line.pump(deadline.min(self.after(TICK.min(PROMPT_SILENCE)))).await?;
        }
        Ok(())
    }

    /// Whether what was received ends in this prompt, kernel messages left out.
    pub(super) fn shows(&self, pattern: &Pattern) -> bool {
        self.line.idle_for() >= PROMPT_SILENCE && pattern.ends(&printk::strip(self.text().as_bytes()))
    }
}
