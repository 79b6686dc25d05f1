//! Sessions of the pages: begun once for each sign-in, looked for by the hash of what a browser came with, and ended. One
//! that is over is forgotten when somebody signs in.

use super::link::{self, Readers, Row};
use super::row::{Reader, statements, unavailable};
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;
use crate::store::{NewSession, Result, SESSIONS_MAX, SessionRow};

statements! {
    SESSIONS = "SELECT hash, platform, person, team, name, is_foreign, made_at, expires_at, used_at, ended_at
        FROM sessions
        WHERE ended_at IS NULL AND expires_at > ?1
        ORDER BY made_at DESC, hash
        LIMIT ?2";
    SESSION_BY_HASH = "SELECT hash, platform, person, team, name, is_foreign, made_at, expires_at, used_at, ended_at
        FROM sessions
        WHERE hash = ?1";
    SESSION_BEGIN = "INSERT INTO sessions (hash, sign_in, platform, person, team, name, is_foreign, made_at, expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (sign_in) DO NOTHING";
    SESSIONS_OVER = "DELETE FROM sessions WHERE expires_at <= ?1";
    SESSIONS_TOO_MANY = "DELETE FROM sessions
        WHERE hash IN (SELECT hash
                       FROM sessions
                       WHERE platform = ?1 AND person = ?2
                       ORDER BY made_at DESC, hash
                       LIMIT 1000 OFFSET ?3)";
    SESSION_USED = "UPDATE sessions
        SET used_at = ?2
        WHERE hash = ?1 AND (used_at IS NULL OR used_at < ?2)";
    SESSION_END = "UPDATE sessions
        SET ended_at = ?2
        WHERE hash = ?1 AND ended_at IS NULL";
}

/// Those that are live, the newest first.
pub(super) async fn list(
    readers: &Readers,
    unreadable: &Unreadable,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<SessionRow>> {
    let query = link::query(SESSIONS).bind(now.as_micros()).bind(i64::from(limit));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// The session of this hash.
pub(super) async fn by_hash(readers: &Readers, hash: &[u8; 32]) -> Result<Option<SessionRow>> {
    let query = link::query(SESSION_BY_HASH).bind(hex::encode(hash));
    let found = query.fetch_optional(readers).await.map_err(unavailable)?;
    found.as_ref().map(read).transpose()
}

/// Begins a session, unless its sign-in has made one.
pub(super) async fn begin(tx: &mut Tx, new: &NewSession) -> Result<bool> {
    let over = link::query(SESSIONS_OVER).bind(new.made_at.as_micros());
    over.execute(tx.connection().await?).await.map_err(unavailable)?;
    let query = link::query(SESSION_BEGIN)
        .bind(hex::encode(new.hash))
        .bind(hex::encode(new.sign_in))
        .bind(new.by.platform.as_str())
        .bind(&new.by.id)
        .bind(&new.by.team)
        .bind(&new.by.name)
        .bind(i64::from(new.foreign))
        .bind(new.made_at.as_micros())
        .bind(new.expires_at.as_micros());
    let begun = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    let others = link::query(SESSIONS_TOO_MANY)
        .bind(new.by.platform.as_str())
        .bind(&new.by.id)
        .bind(i64::from(SESSIONS_MAX));
    others.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(begun > 0)
}

/// A session was used.
pub(super) async fn used(tx: &mut Tx, hash: &[u8; 32], now: Timestamp) -> Result<()> {
    let query = link::query(SESSION_USED).bind(hex::encode(hash)).bind(now.as_micros());
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

/// Ends a session.
pub(super) async fn end(tx: &mut Tx, hash: &[u8; 32], now: Timestamp) -> Result<()> {
    let query = link::query(SESSION_END).bind(hex::encode(hash)).bind(now.as_micros());
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

fn read(found: &Row) -> Result<SessionRow> {
    let row = Reader::new(found, "sessions", "hash");
    let hash = hex::decode(row.text("hash")?).map_err(|error| row.corrupt(error))?;
    let text = |column| row.text(column).map(str::to_owned);
    let platform = row.word("platform", Platform::from_word)?;
    Ok(SessionRow {
        hash: hash.try_into().map_err(|_| row.corrupt("its hash is not one"))?,
        by: Actor { platform, id: text("person")?, team: text("team")?, name: text("name")? },
        foreign: row.flag("is_foreign")?,
        made_at: row.at("made_at")?,
        expires_at: row.at("expires_at")?,
        used_at: row.opt_at("used_at")?,
        ended_at: row.opt_at("ended_at")?,
    })
}
