//! `boardhand backup` and `restore`: a copy of the database while its server runs, and its way back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::clock::Clock;
use crate::config;
use crate::id::Ids;
use crate::store::sql::{
    Copied, NUMBERS_LEFT_OUT, PostgresOptions, SqlStore, backup as copy, restore as put_back,
};

/// Makes a backup; 0 when it is there and sound.
pub(super) async fn backup(to: Option<PathBuf>, data_dir: &Path) -> anyhow::Result<ExitCode> {
    in_a_file()?;
    let to = to.unwrap_or_else(|| {
        let now = Clock::system().now().rfc3339();
        let stamp: String = now.chars().take(19).map(|c| if c == ':' { '-' } else { c }).collect();
        PathBuf::from(format!("boardhand-{stamp}.db"))
    });
    let made = copy(data_dir, &to).await?;
    say!("{}", rows(&made));
    sayln!("{} ({} bytes) is sound; keep transcripts/ and artifacts/ with it", to.display(), made.bytes);
    Ok(ExitCode::SUCCESS)
}

/// Puts a backup into the data folder.
pub(super) async fn restore(from: &Path, data_dir: &Path, replace: bool) -> anyhow::Result<ExitCode> {
    in_a_file()?;
    let come = put_back(from, data_dir, replace).await?;
    say!("{}", rows(&come));
    if let Some(before) = &come.replaced {
        sayln!("what was there is {}", before.display());
    }
    sayln!(
        "{} is in {}; the next run is above #{}, every board is taken over by whoever has it next",
        from.display(),
        data_dir.display(),
        come.newest_run + NUMBERS_LEFT_OUT,
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes a database ready that PostgreSQL's own tools brought back.
pub(super) async fn came_back() -> anyhow::Result<ExitCode> {
    let url = config::database(&|name| std::env::var(name).ok())?;
    let url = url.ok_or_else(|| anyhow::anyhow!("--came-back: name the database with DATABASE_URL"))?;
    let store = SqlStore::connect(&url, PostgresOptions::new(Ids::system())).await?;
    let noted = store.came_back().await;
    store.close().await;
    sayln!(
        "{} is ready; the next run is above #{}, every board is taken over by whoever has it next",
        url.place(),
        noted?
    );
    Ok(ExitCode::SUCCESS)
}

fn in_a_file() -> anyhow::Result<()> {
    let url = config::database(&|name| std::env::var(name).ok())?;
    anyhow::ensure!(
        url.is_none(),
        "DATABASE_URL: the data is in PostgreSQL, which makes its own: pg_dump --format=custom; pg_restore, and then \
         boardhand restore --came-back"
    );
    Ok(())
}

fn rows(copied: &Copied) -> String {
    copied.rows.iter().map(|(table, rows)| format!("{table:<14}{rows:>10}\n")).collect()
}
