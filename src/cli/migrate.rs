//! `boardhand migrate`: carries a lab from the data folder into a PostgreSQL database, and says table by table what came.
//! The server is stopped for it, and the file stays as it is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config;
use crate::id::Ids;
use crate::store::sql::{PostgresUrl, carry};

/// Carries everything; gives 0 when all of it came.
pub(super) async fn migrate(from: &str, to: Option<&str>) -> anyhow::Result<ExitCode> {
    let Some(path) = from.strip_prefix("sqlite:") else {
        anyhow::bail!("--from must look like sqlite:./data, the folder of the database");
    };
    let data_dir = folder(Path::new(path.trim_start_matches("//")));
    anyhow::ensure!(
        data_dir.join("boardhand.db").is_file(),
        "there is no database in {}; name the server's data folder as --from sqlite:FOLDER",
        data_dir.display()
    );
    let url = match to {
        Some(to) => PostgresUrl::parse(to).map_err(|problem| anyhow::anyhow!("--to: {problem}"))?,
        None => config::database(&|name| std::env::var(name).ok())?
            .ok_or_else(|| anyhow::anyhow!("name the target with DATABASE_URL, or with --to postgres://…"))?,
    };
    let tables = carry(&data_dir, &url, &Ids::system()).await?;
    sayln!("{:<14}{:>10}  sum of all rows, here and there", "table", "rows");
    for table in &tables {
        sayln!("{:<14}{:>10}  {}", table.table, table.rows, table.checksum);
    }
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    sayln!("{rows} rows are in {}; {} is as it was", url.place(), data_dir.display());
    Ok(ExitCode::SUCCESS)
}

/// The data folder, by itself or by its file.
fn folder(path: &Path) -> PathBuf {
    match path.file_name().is_some_and(|name| name == "boardhand.db") {
        true => path.parent().unwrap_or(Path::new(".")).into(),
        false => path.into(),
    }
}
