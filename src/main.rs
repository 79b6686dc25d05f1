//! The `boardhand` program: parses its arguments and calls [`boardhand::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    boardhand::cli::main()
}
