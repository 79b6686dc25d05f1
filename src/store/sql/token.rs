//! Tokens of the API: made, looked for by the hash of what somebody came with, and revoked. A name that is revoked or
//! over may be given again; two live tokens never have one.

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::clock::Timestamp;
use crate::command::standing::Standing;
use crate::store::{Effected, NewToken, Result, TOKENS_MAX, TokenRow};

statements! {
    TOKENS = "SELECT name, hash, role, scope, made_by, made_at, expires_at, used_at, revoked_at
        FROM tokens
        ORDER BY name";
    TOKEN_BY_HASH = "SELECT name, hash, role, scope, made_by, made_at, expires_at, used_at, revoked_at
        FROM tokens
        WHERE hash = ?1";
    TOKENS_COUNT = "SELECT COUNT(*) FROM tokens WHERE name <> ?1";
    TOKEN_MAKE = "INSERT INTO tokens (name, hash, role, scope, made_by, made_at, expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (name) DO UPDATE
        SET hash = excluded.hash, role = excluded.role, scope = excluded.scope, made_by = excluded.made_by,
            made_at = excluded.made_at, expires_at = excluded.expires_at, used_at = NULL, revoked_at = NULL
        WHERE tokens.revoked_at IS NOT NULL OR tokens.expires_at <= excluded.made_at";
    TOKEN_REVOKE = "UPDATE tokens
        SET revoked_at = ?2
        WHERE name = ?1 AND revoked_at IS NULL";
    TOKEN_USED = "UPDATE tokens
        SET used_at = ?2
        WHERE name = ?1 AND (used_at IS NULL OR used_at < ?2)";
}

/// Every token, by name.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<TokenRow>> {
    let rows = link::query(TOKENS).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// The token of this hash.
pub(super) async fn by_hash(readers: &Readers, hash: &[u8; 32]) -> Result<Option<TokenRow>> {
    let query = link::query(TOKEN_BY_HASH).bind(hex::encode(hash));
    let found = query.fetch_optional(readers).await.map_err(unavailable)?;
    found.as_ref().map(read).transpose()
}

/// Makes a token.
pub(super) async fn make(tx: &mut Tx, token: &NewToken, by: &str, now: Timestamp) -> Result<Effected> {
    let count = link::query(TOKENS_COUNT).bind(&token.name);
    let others = count.count(tx.connection().await?).await.map_err(unavailable)?;
    if others >= i64::from(TOKENS_MAX) {
        return Ok(Effected::TooMany);
    }
    let query = link::query(TOKEN_MAKE)
        .bind(&token.name)
        .bind(hex::encode(token.hash))
        .bind(token.standing.role.as_str())
        .bind(row::json(&token.standing.scope()))
        .bind(by)
        .bind(now.as_micros())
        .bind(token.expires_at.map(Timestamp::as_micros));
    let made = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if made == 0 { Effected::NameTaken } else { Effected::Done })
}

/// Revokes a token.
pub(super) async fn revoke(tx: &mut Tx, name: &str, now: Timestamp) -> Result<Effected> {
    let query = link::query(TOKEN_REVOKE).bind(name).bind(now.as_micros());
    let revoked = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if revoked == 0 { Effected::NoSuchToken } else { Effected::Done })
}

/// A token was used.
pub(super) async fn used(tx: &mut Tx, name: &str, now: Timestamp) -> Result<()> {
    let query = link::query(TOKEN_USED).bind(name).bind(now.as_micros());
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

fn read(found: &Row) -> Result<TokenRow> {
    let row = Reader::new(found, "tokens", "name");
    let scope: Vec<String> = row.json("scope")?;
    let standing = Standing::parse(row.text("role")?, &scope).map_err(|problem| row.corrupt(problem))?;
    let hash = hex::decode(row.text("hash")?).map_err(|error| row.corrupt(error))?;
    Ok(TokenRow {
        name: row.text("name")?.to_owned(),
        hash: hash.try_into().map_err(|_| row.corrupt("its hash is not one"))?,
        standing,
        made_by: row.text("made_by")?.to_owned(),
        made_at: row.at("made_at")?,
        expires_at: row.opt_at("expires_at")?,
        used_at: row.opt_at("used_at")?,
        revoked_at: row.opt_at("revoked_at")?,
    })
}
