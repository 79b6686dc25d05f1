//! What a token of the API grants: a role, what it may be used for, and on boards of which families. Pure; who may do what
//! with it is decided by `policy`.

use std::collections::BTreeSet;

use super::grammar::Role;
use crate::board::is_name;

/// Most entries of one token's scope.
pub const SCOPE_MAX: usize = 40;
/// What an entry begins with that names a family.
const FAMILY: &str = "family:";
/// What an entry begins with that names a site.
const SITE: &str = "site:";
/// Longest name of a site, in bytes.
const SITE_BYTES_MAX: usize = 64;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Looking at anything; every token may.
    Read,
    /// Starting, repeating and ending runs.
    Runs,
    /// Having boards, switching them, taking them out of service.
    Boards,
    /// Tokens, the audit log, the lab file.
    Admin,
    /// Driving the boards of a remote site, and nothing else.
    Worker,
}

impl Area {
    /// Every area.
    pub const ALL: [Area; 5] = [Area::Read, Area::Runs, Area::Boards, Area::Admin, Area::Worker];

    /// The word in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Read => "read",
            Area::Runs => "runs",
            Area::Boards => "boards",
            Area::Admin => "admin",
            Area::Worker => "worker",
        }
    }
}

/// What a token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// As whom it acts.
    pub role: Role,
    /// What it may be used for beside reading; everything where there is none.
    areas: BTreeSet<Area>,
    /// On boards of which families it may change something; all where there is none. In lower case.
    families: BTreeSet<String>,
    /// At which sites it may drive boards as a worker; at all where there is none.
    sites: BTreeSet<String>,
}

/// Why words are no standing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StandingProblem {
    /// No role of that name.
    #[error("role must be user, operator or admin, not {0:?}")]
    Role(String),
    /// No scope of that name.
    #[error("scope must be of read, runs, boards, admin, worker, family:NAME and site:NAME, not {0:?}")]
    Scope(String),
    /// Too many.
    #[error("a scope has at most 40 entries")]
    TooMany,
}

impl Standing {
    /// A standing from its words.
    pub fn parse(role: &str, scope: &[String]) -> Result<Standing, StandingProblem> {
        let role = Role::from_word(role).ok_or_else(|| StandingProblem::Role(role.to_owned()))?;
        let mut standing =
            Standing { role, areas: BTreeSet::new(), families: BTreeSet::new(), sites: BTreeSet::new() };
        if scope.len() > SCOPE_MAX {
            return Err(StandingProblem::TooMany);
        }
        for entry in scope {
            let site = entry.strip_prefix(SITE).filter(|site| is_site(site));
            if let Some(site) = site {
                standing.sites.insert(site.to_owned());
                continue;
            }
            let area = Area::ALL.into_iter().find(|area| area.as_str() == entry);
            match (area, entry.strip_prefix(FAMILY).filter(|family| is_name(family))) {
                (Some(area), _) => drop(standing.areas.insert(area)),
                (None, Some(family)) => drop(standing.families.insert(family.to_ascii_lowercase())),
                (None, None) => return Err(StandingProblem::Scope(entry.clone())),
            }
        }
        Ok(standing)
    }

    /// The words of its scope, in order.
    pub fn scope(&self) -> Vec<String> {
        let areas = self.areas.iter().map(|area| area.as_str().to_owned());
        let families = self.families.iter().map(|family| format!("{FAMILY}{family}"));
        areas.chain(families).chain(self.sites.iter().map(|site| format!("{SITE}{site}"))).collect()
    }

    /// Whether it may be used for that, on a board of this family where one is meant.
    pub fn reaches(&self, area: Area, family: Option<&str>) -> bool {
        if area == Area::Read {
            return !self.is_worker();
        }
        let in_area = self.areas.is_empty() || self.areas.contains(&area);
        // What is no board's business is everybody's: nobody does it for one family.
        let everywhere = self.families.is_empty();
        in_area
            && match (area, family) {
                (Area::Admin, _) => everywhere,
                (_, Some(family)) => everywhere || self.families.contains(&family.to_ascii_lowercase()),
                (_, None) => true,
            }
    }

    /// Whether it is for a worker and nothing else.
    pub fn is_worker(&self) -> bool {
        self.areas.len() == 1 && self.areas.contains(&Area::Worker)
    }

    /// Whether a worker that comes with it may drive the boards of this site: only where its scope says so, or it is an
    /// admin's that may do everything.
    pub fn drives(&self, site: &str) -> bool {
        let may = self.areas.contains(&Area::Worker) || self.areas.is_empty() && self.role == Role::Admin;
        may && self.families.is_empty() && (self.sites.is_empty() || self.sites.contains(site))
    }

    /// Whether it grants all that `other` does: nobody hands out more than they have.
    pub fn covers(&self, other: &Standing) -> bool {
        let all = |own: bool, others: bool, within: bool| own || (!others && within);
        self.role >= other.role
            && all(self.areas.is_empty(), other.areas.is_empty(), other.areas.is_subset(&self.areas))
            && all(
                self.families.is_empty(),
                other.families.is_empty(),
                other.families.is_subset(&self.families),
            )
            && all(self.sites.is_empty(), other.sites.is_empty(), other.sites.is_subset(&self.sites))
    }
}

/// Whether a text may name a site.
fn is_site(text: &str) -> bool {
    (1..=SITE_BYTES_MAX).contains(&text.len())
        && text.trim() == text
        && !text.contains(|c: char| c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(role: &str, scope: &[&str]) -> Standing {
        let scope: Vec<String> = scope.iter().map(|entry| (*entry).to_owned()).collect();
        Standing::parse(role, &scope).expect("a standing")
    }

    #[test]
    fn a_token_without_a_scope_reaches_everything_and_one_with_it_only_that() {
        let all = standing("operator", &[]);
        let runs = standing("user", &["runs", "family:socA"]);
        let read = standing("user", &["read"]);
        for area in Area::ALL {
            assert!(all.reaches(area, Some("socB")));
            assert_eq!(runs.reaches(area, Some("SOCA")), matches!(area, Area::Read | Area::Runs), "{area:?}");
            assert_eq!(read.reaches(area, None), area == Area::Read);
        }
        assert!(!runs.reaches(Area::Runs, Some("socB")) && runs.reaches(Area::Read, Some("socB")));
        assert!(!standing("admin", &["family:socA"]).reaches(Area::Admin, None));
    }

    #[test]
    fn what_is_no_role_and_no_scope_is_told() {
        let none = |role: &str, scope: &[&str]| {
            let scope: Vec<String> = scope.iter().map(|entry| (*entry).to_owned()).collect();
            Standing::parse(role, &scope).expect_err("none").to_string()
        };
        assert!(none("root", &[]).contains("\"root\""));
        assert!(none("user", &["run"]).contains("\"run\"") && none("user", &["family:"]).contains("family:"));
        let many: Vec<String> = (0..=SCOPE_MAX).map(|n| format!("family:f{n}")).collect();
        assert_eq!(Standing::parse("user", &many), Err(StandingProblem::TooMany));
        assert!(Standing::parse("user", &many[1..]).is_ok());
    }

    #[test]
    fn nobody_hands_out_more_than_they_have() {
        assert!(standing("admin", &[]).covers(&standing("admin", &["runs"])));
        assert!(!standing("operator", &[]).covers(&standing("admin", &[])));
        assert!(!standing("admin", &["admin"]).covers(&standing("user", &[])));
        assert!(!standing("admin", &["admin"]).covers(&standing("user", &["runs"])));
        assert!(standing("admin", &["admin", "runs"]).covers(&standing("user", &["runs"])));
        assert!(!standing("admin", &["family:a"]).covers(&standing("user", &[])));
    }

    #[test]
    fn a_scope_is_kept_as_words() {
        assert_eq!(standing("user", &["family:SocA", "runs", "runs"]).scope(), ["runs", "family:soca"]);
    }
}
