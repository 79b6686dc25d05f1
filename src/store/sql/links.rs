//! People who link themselves: codes that are given and typed once, and whom they make one. Everything about a code is
//! decided in the transaction that uses it up.

use sha2::{Digest, Sha256};

use super::ledger::{self, Answer};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::chat::{Actor, AnswerVia, Platform};
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::message::Note;
use crate::store::{CODE_LASTS, CODES_WRONG_MAX, Effected, LinkAsked, LinkRow, Result};

statements! {
    LINKS = "SELECT platform, id, person
        FROM links
        ORDER BY person, CASE WHEN person = platform || ':' || id THEN 0 ELSE 1 END, platform, id";
    LINK_IS_THERE = "SELECT COUNT(*) FROM links WHERE platform = ?1 AND id = ?2";
    LINK_INSERT = "INSERT INTO links (platform, id, person, linked_at) VALUES (?1, ?2, ?3, ?4)";
    LINKS_OF = "SELECT platform, id, person
        FROM links
        WHERE person IN (SELECT person FROM links WHERE platform || ':' || id IN (SELECT value FROM jsonb_each(?1)))
        ORDER BY person, CASE WHEN person = platform || ':' || id THEN 0 ELSE 1 END, platform, id";
    LINK_UNDO = "DELETE FROM links
        WHERE person IN (SELECT person FROM links WHERE platform || ':' || id IN (SELECT value FROM jsonb_each(?1)))";
    CODE_INSERT = "INSERT INTO link_codes (hash, platform, id, expires_at) VALUES (?1, ?2, ?3, ?4)";
    CODES_DROP = "DELETE FROM link_codes WHERE platform = ?1 AND id = ?2 OR expires_at <= ?3";
    CODE_FIND = "SELECT platform, id FROM link_codes WHERE hash = ?1 AND expires_at > ?2";
    CODE_BIND = "UPDATE link_codes SET hash = ?1 WHERE hash = ?2";
    CODE_USED = "DELETE FROM link_codes WHERE hash = ?1";
    TRIES_COUNT = "SELECT COUNT(*) FROM link_tries WHERE person = ?1 AND at > ?2";
    TRY_INSERT = "INSERT INTO link_tries (person, at) VALUES (?1, ?2)";
    TRIES_DROP = "DELETE FROM link_tries WHERE at <= ?1";
}

/// Everybody who has linked themselves.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<LinkRow>> {
    let rows = link::query(LINKS).fetch_all(readers).await.map_err(unavailable)?;
    let ids = unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "links", "id");
        let by = known(&row)?;
        Ok((row.text("person")?.to_owned(), by))
    })?;
    let mut people: Vec<(String, LinkRow)> = Vec::new();
    for (person, id) in ids {
        match people.last_mut() {
            Some((known, row)) if *known == person => row.ids.push(id),
            _ => people.push((person, LinkRow { ids: vec![id] })),
        }
    }
    Ok(people.into_iter().map(|(_, row)| row).collect())
}

/// What became of a link.
pub(super) struct Linked {
    pub(super) effected: Effected,
    /// The other one of the two, where the answer names them.
    pub(super) other: Option<Actor>,
    /// Whom it was about, for the record.
    pub(super) target: Option<String>,
}

impl From<Effected> for Linked {
    fn from(effected: Effected) -> Self {
        Linked { effected, other: None, target: None }
    }
}

/// What somebody wants of their link.
pub(super) async fn asked(
    tx: &mut Tx,
    numbers: &Ids,
    by: &Actor,
    (asked, note): (&LinkAsked, &Note),
    now: Timestamp,
) -> Result<Linked> {
    match asked {
        LinkAsked::Code { hash, until } => {
            if is_linked(tx, by).await? {
                return Ok(Effected::AlreadyLinked.into());
            }
            let (platform, mut script) = (by.platform.as_str(), Script::default());
            script.add(CODES_DROP, [platform.into(), by.id.as_str().into(), now.into()]);
            let until = *until;
            script.add(
                CODE_INSERT,
                [hex::encode(hash).into(), platform.into(), by.id.as_str().into(), until.into()],
            );
            tx.leave(script);
            Ok(Effected::Done.into())
        }
        LinkAsked::With { hash, sure } => with(tx, numbers, by, (hash, *sure, note), now).await,
        LinkAsked::Void { hash } => {
            void(tx, hash, &by.key());
            Ok(Effected::Done.into())
        }
        LinkAsked::Undone { ids, by_themselves_on } => {
            let query = link::query(LINKS_OF).bind(row::json(ids));
            let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
            if rows.is_empty() {
                return Ok(Effected::Unchanged.into());
            }
            let one = |row: &Row| known(&Reader::new(row, "links", "id"));
            let parted = rows.iter().map(one).collect::<Result<Vec<_>>>()?;
            let target = parted.iter().map(Actor::key).collect::<Vec<_>>().join(" ");
            let query = link::query(LINK_UNDO).bind(row::json(ids));
            query.execute(tx.connection().await?).await.map_err(unavailable)?;
            for other in parted.iter().filter(|one| Some(one.platform) != *by_themselves_on) {
                let via = AnswerVia::in_person(other);
                ledger::owe(tx, numbers, &[], &[Answer { via: &via, note, at: now }]).await?;
            }
            Ok(Linked { target: Some(target), ..Effected::Done.into() })
        }
    }
}

async fn with(
    tx: &mut Tx,
    ids: &Ids,
    by: &Actor,
    (typed, sure, note): (&[u8; 32], bool, &Note),
    now: Timestamp,
) -> Result<Linked> {
    let (key, late) = (by.key(), now - CODE_LASTS);
    let query = link::query(TRIES_COUNT).bind(&key).bind(late.as_micros());
    if query.count(tx.connection().await?).await.map_err(unavailable)? >= i64::from(CODES_WRONG_MAX) {
        void(tx, typed, &key);
        return Ok(Effected::TooMany.into());
    }
    let (asked, hash) = (bound(typed, &key), hex::encode(typed));
    let (was_asked, other) = match given(tx, &asked, now).await? {
        Some(other) => (true, Some(other)),
        None => (false, given(tx, &hash, now).await?),
    };
    let mut script = Script::default();
    let Some(other) = other else {
        script.add(TRIES_DROP, [late.into()]);
        script.add(TRY_INSERT, [key.into(), now.into()]);
        tx.leave(script);
        return Ok(Effected::NoSuchCode.into());
    };
    let target = Some(format!("{} {key}", other.key()));
    if other.platform == by.platform {
        void(tx, typed, &key);
        return Ok(Linked { target, ..Effected::SamePlatform.into() });
    }
    if is_linked(tx, by).await? || is_linked(tx, &other).await? {
        void(tx, typed, &key);
        return Ok(Linked { target, ..Effected::AlreadyLinked.into() });
    }
    if !(was_asked && sure) {
        if !was_asked {
            script.add(CODE_BIND, [asked.into(), hash.into()]);
            tx.leave(script);
        }
        let target = target.map(|both| format!("{both} asked"));
        return Ok(Linked { effected: Effected::AsksFirst, other: Some(other), target });
    }
    // Of two who are this far, one goes on.
    let used =
        link::query(CODE_USED).bind(&asked).execute(tx.connection().await?).await.map_err(unavailable)?;
    if used.rows_affected() == 0 {
        return Ok(Linked { target, ..Effected::NoSuchCode.into() });
    }
    for one in [&other, by] {
        let (platform, id) = (one.platform.as_str(), one.id.as_str());
        script.add(LINK_INSERT, [platform.into(), id.into(), other.key().into(), now.into()]);
        script.add(CODES_DROP, [platform.into(), id.into(), now.into()]);
    }
    tx.leave(script);
    let mut note = note.clone();
    note.facts.insert("other".into(), serde_json::json!(by));
    let via = AnswerVia::in_person(&other);
    ledger::owe(tx, ids, &[], &[Answer { via: &via, note: &note, at: now }]).await?;
    Ok(Linked { effected: Effected::Done, other: Some(other), target })
}

/// Uses up a code that was typed in vain, whoever it was given to: others may have read it there.
fn void(tx: &mut Tx, typed: &[u8; 32], by: &str) {
    let mut script = Script::default();
    script.add(CODE_USED, [hex::encode(typed).into()]);
    script.add(CODE_USED, [bound(typed, by).into()]);
    tx.leave(script);
}

/// The hash of a code that this one has typed once: nobody else can type it from then on.
fn bound(hash: &[u8; 32], key: &str) -> String {
    hex::encode(Sha256::new().chain_update(hash).chain_update(key).finalize())
}

/// Who was given a code that is not over.
async fn given(tx: &mut Tx, hash: &str, now: Timestamp) -> Result<Option<Actor>> {
    let query = link::query(CODE_FIND).bind(hash).bind(now.as_micros());
    let row = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    row.map(|row| known(&Reader::new(&row, "link_codes", "id"))).transpose()
}

async fn is_linked(tx: &mut Tx, one: &Actor) -> Result<bool> {
    let query = link::query(LINK_IS_THERE).bind(one.platform.as_str()).bind(&one.id);
    Ok(query.count(tx.connection().await?).await.map_err(unavailable)? > 0)
}

fn known(row: &Reader<'_>) -> Result<Actor> {
    Ok(Actor {
        platform: row.word("platform", Platform::from_word)?,
        id: row.text("id")?.to_owned(),
        team: String::new(),
        name: String::new(),
    })
}
