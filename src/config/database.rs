//! Where the data is kept: in the data folder, or in a PostgreSQL database. Its address holds a password, and no problem
//! with it repeats it.

use super::{Env, secret};
use crate::store::sql::PostgresUrl;

/// The variable that names the database.
pub const DATABASE_URL: &str = "DATABASE_URL";

/// Reads the variable; nothing when the data is in the data folder.
pub(super) fn settings(env: Env<'_>, problems: &mut Vec<String>) -> Option<PostgresUrl> {
    let text = secret(env, DATABASE_URL, problems)?;
    if text.starts_with("sqlite:") {
        problems.push(format!(
            "{DATABASE_URL}: SQLite needs no address, its file is in BOARDHAND_DATA_DIR; unset it"
        ));
        return None;
    }
    match PostgresUrl::parse(&text) {
        Ok(url) => Some(url),
        Err(problem) => {
            problems.push(format!("{DATABASE_URL}: {problem}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> (Option<String>, Vec<String>) {
        let env = |name: &str| (name == DATABASE_URL).then(|| url.to_owned());
        let mut problems = Vec::new();
        let settings = settings(&env, &mut problems);
        (settings.map(|url| format!("{} {url:?}", url.place())), problems)
    }

    #[test]
    fn a_database_is_named_by_its_address_and_its_password_is_never_shown() {
        let place = "db.lab.local:5433/boards PostgresUrl(..)".to_owned();
        assert_eq!(
            read("postgres://lab:s3cret@db.lab.local:5433/boards?sslmode=verify-full"),
            (Some(place), vec![])
        );
        let place = "/run/postgresql:5432/boards PostgresUrl(..)".to_owned();
        assert_eq!(read("postgresql://lab@localhost/boards?host=/run/postgresql"), (Some(place), vec![]));
        for wrong in ["postgres://lab:s3cret@db:port/boards", "mysql://lab:s3cret@db/boards", "s3cret"] {
            let (settings, problems) = read(wrong);
            assert!(settings.is_none() && problems.len() == 1, "{wrong}: {problems:?}");
            assert!(
                problems[0].contains("DATABASE_URL: it must look like postgres://")
                    && !problems[0].contains("s3cret")
            );
        }
        assert_eq!(read("sqlite:/tmp/other.db").1.len(), 1);
    }
}
