//! Builds that a CI registered. A row is written once and never changed; the same build again is found by its family and
//! id, and whether it is the same is seen by what it says.

use serde::Serialize;

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::Family;
use crate::build::{Build, BuildResult, Source};
use crate::store::{BuildFilter, BuildsOf, Effected, Result};

/// The columns of a build.
macro_rules! build {
    () => {
        "number, family, id, branch, revision, job, url, result, artifacts, by, registered_at"
    };
}

statements! {
    BUILD_FIND = concat!("SELECT ", build!(), " FROM builds WHERE family = ?1 AND id = ?2");
    BUILD_INSERT = "INSERT INTO builds (family, id, branch, revision, job, url, result, artifacts, by, registered_at)
        SELECT ?1->>'family', ?1->>'id', ?1->>'branch', ?1->>'commit', ?1->>'job', ?1->>'url', ?1->>'result', ?2, ?3, ?4";
    BUILDS_ALL = concat!("SELECT ", build!(), " FROM builds
        WHERE number < ?1 AND (?2 = 0 OR result = 'success')
        ORDER BY number DESC
        LIMIT ?3 + 0");
    BUILDS_OF_FAMILY = concat!("SELECT ", build!(), " FROM builds
        WHERE number < ?1 AND (?2 = 0 OR result = 'success') AND family = ?4
        ORDER BY number DESC
        LIMIT ?3 + 0");
    BUILDS_OF_BRANCH = concat!("SELECT ", build!(), " FROM builds
        WHERE number < ?1 AND (?2 = 0 OR result = 'success') AND family = ?4 AND branch = ?5
        ORDER BY number DESC
        LIMIT ?3 + 0");
    BUILDS_OF_ID = concat!("SELECT ", build!(), " FROM builds
        WHERE number < ?1 AND (?2 = 0 OR result = 'success') AND id = ?4
        ORDER BY number DESC
        LIMIT ?3 + 0");
}

/// The build of that id.
pub(super) async fn find(readers: &Readers, family: &Family, id: &str) -> Result<Option<Build>> {
    let query = link::query(BUILD_FIND).bind(family.as_str()).bind(id);
    let found = query.fetch_optional(readers).await.map_err(unavailable)?;
    found.as_ref().map(read).transpose()
}

/// Builds, the newest first.
pub(super) async fn list(
    readers: &Readers,
    unreadable: &Unreadable,
    filter: &BuildFilter,
) -> Result<Vec<Build>> {
    let (sql, of): (_, Vec<&str>) = match &filter.of {
        BuildsOf::All => (BUILDS_ALL, vec![]),
        BuildsOf::Family(family) => (BUILDS_OF_FAMILY, vec![family.as_str()]),
        BuildsOf::Branch(family, branch) => (BUILDS_OF_BRANCH, vec![family.as_str(), branch]),
        BuildsOf::Id(id) => (BUILDS_OF_ID, vec![id]),
    };
    let query = link::query(sql)
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(i64::from(filter.good))
        .bind(i64::from(filter.limit));
    let query = of.into_iter().fold(query, |query, of| query.bind(of));
    unreadable.sift(&query.fetch_all(readers).await.map_err(unavailable)?, read)
}

/// Registers a build.
pub(super) async fn register(tx: &mut Tx, build: &Build) -> Result<Effected> {
    let find = link::query(BUILD_FIND).bind(build.family.as_str()).bind(&build.id);
    if let Some(found) = find.fetch_optional(tx.connection().await?).await.map_err(unavailable)? {
        let same = read(&found)?.fingerprint() == build.fingerprint();
        return Ok(if same { Effected::AlreadyRegistered } else { Effected::OtherBuild });
    }
    let mut script = Script::default();
    let written =
        BuildRow { family: &build.family, id: &build.id, result: build.result, source: &build.source };
    let (artifacts, by) = (row::json(&build.artifacts), row::json(&build.by));
    script.add(
        BUILD_INSERT,
        [row::json(&written).into(), artifacts.into(), by.into(), build.registered_at.into()],
    );
    tx.leave(script);
    Ok(Effected::Done)
}

#[derive(Serialize)]
struct BuildRow<'a> {
    family: &'a Family,
    id: &'a str,
    result: BuildResult,
    #[serde(flatten)]
    source: &'a Source,
}

fn read(row: &Row) -> Result<Build> {
    let row = Reader::new(row, "builds", "number");
    let text = |column| Ok(row.opt_text(column)?.map(str::to_owned));
    Ok(Build {
        number: row.int("number")?,
        family: Family::new(row.text("family")?),
        id: row.text("id")?.to_owned(),
        source: Source {
            branch: text("branch")?,
            commit: text("revision")?,
            job: text("job")?,
            url: text("url")?,
        },
        result: row.word("result", BuildResult::from_word)?,
        artifacts: row.json("artifacts")?,
        by: row.json("by")?,
        registered_at: row.at("registered_at")?,
    })
}
