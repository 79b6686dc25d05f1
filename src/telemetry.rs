//! Logs: text or JSON on standard error, with a span per delivery, run and session. No secret, no message body and no
//! console byte is ever logged.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How logs look: `BOARDHAND_LOG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What a server logs when `RUST_LOG` does not say.
pub const SERVER: &str = "boardhand=info,warn";
/// What everything else logs: what goes wrong.
pub const QUIET: &str = "warn";

/// Starts logging, once per process; `filter` holds where `RUST_LOG` does not say.
pub fn start(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let colours = std::io::stderr().is_terminal();
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second start, as in tests, keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}
