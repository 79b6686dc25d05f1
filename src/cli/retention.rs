//! `boardhand retention`: how much is older than it is kept, by the same settings and the same rules as the server's own
//! housekeeping, which removes it. Nothing is removed here, so that other settings can be tried before they are set.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::clock::Clock;
use crate::config::{self, Retention, kept};
use crate::store::Going;
use crate::store::sql::Lookout;
use crate::worker::housekeeper::{ROWS_MAX, Transcripts, rows_outdated};

/// How long things are kept.
#[derive(Debug, Args)]
pub(super) struct RetentionArgs {
    /// Only say what would be removed; there is nothing else that this does.
    #[arg(long, required = true)]
    dry_run: bool,
    /// The server's data folder.
    #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// How long console transcripts of finished runs are kept: 30d, 12h or forever.
    #[arg(long, env = "BOARDHAND_KEEP_TRANSCRIPTS", default_value = "30d")]
    keep_transcripts: String,
    /// Most that transcripts may take, in GB.
    #[arg(long, env = "BOARDHAND_KEEP_TRANSCRIPTS_GB", default_value = "20")]
    keep_transcripts_gb: u32,
    /// How long events, sent messages, power requests and ended leases are kept.
    #[arg(long, env = "BOARDHAND_KEEP_HISTORY", default_value = "90d")]
    keep_history: String,
    /// How long it is kept who was allowed or refused what.
    #[arg(long, env = "BOARDHAND_KEEP_AUDIT", default_value = "365d")]
    keep_audit: String,
}

/// Says what would go.
pub(super) async fn retention(args: &RetentionArgs) -> anyhow::Result<ExitCode> {
    let time = |name: &str, text: &str| kept(text).map_err(|problem| anyhow::anyhow!("{name}: {problem}"));
    let kept = Retention {
        transcripts: time("BOARDHAND_KEEP_TRANSCRIPTS (--keep-transcripts)", &args.keep_transcripts)?,
        transcript_bytes: u64::from(args.keep_transcripts_gb) * config::GB,
        history: time("BOARDHAND_KEEP_HISTORY (--keep-history)", &args.keep_history)?,
        audit: time("BOARDHAND_KEEP_AUDIT (--keep-audit)", &args.keep_audit)?,
        ..Retention::default()
    };
    let url = config::database(&|name| std::env::var(name).ok())?;
    let file = args.data_dir.join("boardhand.db");
    anyhow::ensure!(url.is_some() || file.is_file(), "there is no database at {}", file.display());
    let lookout = Lookout::open(&args.data_dir, url.as_ref()).await?;
    let now = Clock::system().now();
    let outdated = rows_outdated(&kept, now, None);
    let mut all = lookout.going(&outdated, ROWS_MAX).await.context("the database cannot be read")?;
    let (transcripts, mut ended) =
        (Transcripts::of(&args.data_dir.join("transcripts")).await, HashMap::new());
    for runs in transcripts.runs() {
        ended.extend(lookout.run_ended(&runs).await.context("the database cannot be read")?);
    }
    all.push(transcripts.going(&ended, &kept, now));
    say!("{}", table(&all));
    sayln!("nothing was removed; a server with these settings removes it within the hour");
    Ok(ExitCode::SUCCESS)
}

fn table(all: &[Going]) -> String {
    let mut shown = format!("{:<16}{:>10}{:>16}  {}\n", "kind", "count", "bytes, about", "oldest");
    for going in all {
        let oldest = going.oldest.map_or_else(|| "-".into(), |at| at.to_minute());
        shown.push_str(&format!("{:<16}{:>10}{:>16}  {oldest}\n", going.kind, going.rows, going.bytes));
    }
    shown
}
