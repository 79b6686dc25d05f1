//! `boardhand completions` and `boardhand man`: what shells and manuals say of the command line, made of its own
//! definition.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;
use clap_mangen::Man;

/// Prints what completes the command line in a shell.
pub(super) fn completions(shell: Shell, mut command: clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "boardhand", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes one for each command into a folder.
pub(super) fn man(folder: Option<&Path>, command: clap::Command) -> anyhow::Result<ExitCode> {
    match folder {
        None => Man::new(command).render(&mut io::stdout())?,
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
