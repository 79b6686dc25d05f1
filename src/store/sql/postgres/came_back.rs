//! A database that came back from a dump, with PostgreSQL's own tools: what is not known of the time since is noted in it,
//! as it is in a file that comes back ([`backup`](super::super::backup)).

use super::super::SqlStore;
use super::super::backup::{FLOOR, NUMBERS_LEFT_OUT};
use super::super::link;
use super::super::row::{Reader, statements, unavailable};
use super::super::script::Tx;
use crate::store::Result;

statements! {
    // Whatever was on them since may have left them in any state.
    BOARDS_DOUBT = "UPDATE boards SET needs_fence = 1";
    // Numbers of runs were given since that people know, and that stand on cards with buttons.
    FLOOR_RAISE = "INSERT INTO meta (name, value)
        SELECT $1, ((SELECT COALESCE(MAX(number), 0) FROM runs) + $2)::text
        ON CONFLICT (name) DO UPDATE
            SET value = GREATEST(excluded.value::bigint, meta.value::bigint + $2)::text";
    FLOOR_READ = "SELECT name, value::bigint AS floor FROM meta WHERE name = $1";
}

impl SqlStore {
    /// Notes that this database came back from a dump: every board is taken over by whoever has it next, and new runs are
    /// above the number that this gives. Of PostgreSQL alone; a file is made ready where it is put back.
    pub async fn came_back(&self) -> Result<i64> {
        self.writer.write(|tx| Box::pin(note(tx))).await
    }
}

async fn note(tx: &mut Tx) -> Result<i64> {
    link::query(BOARDS_DOUBT).execute(tx.connection().await?).await.map_err(unavailable)?;
    let raise = link::query(FLOOR_RAISE).bind(FLOOR).bind(NUMBERS_LEFT_OUT);
    raise.execute(tx.connection().await?).await.map_err(unavailable)?;
    let floor = link::query(FLOOR_READ).bind(FLOOR).fetch_one(tx.connection().await?).await;
    Reader::new(&floor.map_err(unavailable)?, "meta", "name").int("floor")
}
