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
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|asked| !asked.trim().is_empty());
    let asked = asked.map(|asked| EnvFilter::try_new(&asked).map_err(|error| (asked, error)));
    let (filter, wrong) = match asked {
        None => (EnvFilter::new(filter), None),
        Some(Ok(asked)) => (asked, None),
        Some(Err(wrong)) => (EnvFilter::new(filter), Some(wrong)),
    };
    let colours = std::io::stderr().is_terminal();
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second start, as in tests, keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    if let Some((asked, error)) = wrong {
        tracing::warn!(asked, %error, "RUST_LOG: this is no filter and is not used; write it as boardhand=debug,warn");
    }
}
