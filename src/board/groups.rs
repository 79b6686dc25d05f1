//! Who is in the groups that boards.yaml names: user groups of Slack and departments of Feishu, as they were looked up last.
//! What was looked up is trusted for a while; where nothing is known, nobody is in a group. Looks nothing up itself
//! (`worker::registrar` does), and decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Timestamp;

/// Most groups that a lab file may name: Slack lets a bot look about twenty up in a minute.
pub const GROUPS_MAX: usize = 50;
/// Most members of one group that are remembered; one with more is not known.
pub const MEMBERS_MAX: usize = 10_000;
/// How much of a trouble is told, in characters.
const TROUBLE_CHARS_MAX: usize = 160;
/// For how long what was looked up is trusted, from when the question was asked.
pub const TRUSTED_FOR: Duration = Duration::from_secs(30 * 60);

/// Whether an entry of boards.yaml names a group: `slack:S0GROUP`, `feishu:od-…`.
pub fn is_group(entry: &str) -> bool {
    entry.starts_with("slack:S") || entry.starts_with("feishu:od-")
}

/// The groups of a lab. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Groups(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: RwLock<BTreeMap<String, Known>>,
    /// How often something was noted: whoever waits for a first answer looks again.
    noted: watch::Sender<u64>,
}

/// What is known of one group.
#[derive(Debug, Default)]
struct Known {
    /// By their own ids, `U0LEAD`.
    members: HashSet<String>,
    trusted_until: Option<Timestamp>,
    /// Why the last question came to nothing.
    trouble: Option<String>,
}

/// A group whose members nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// As boards.yaml writes it.
    pub group: String,
    /// Why.
    pub trouble: String,
}

impl Default for Groups {
    fn default() -> Self {
        Groups(Arc::new(Shared { known: RwLock::default(), noted: watch::Sender::new(0) }))
    }
}

impl Groups {
    /// Those of these groups that somebody with these keys is in, as far as is known now.
    pub fn of(&self, keys: &[String], now: Timestamp) -> Vec<String> {
        let known = self.0.known.read().expect("nothing panics under this lock");
        let has = |group: &String, known: &Known| {
            let platform = group.split_once(':').map_or("", |(platform, _)| platform);
            known.is_trusted(now)
                && keys.iter().any(|key| {
                    key.split_once(':').is_some_and(|(on, id)| on == platform && known.members.contains(id))
                })
        };
        known.iter().filter(|(group, known)| has(group, known)).map(|(group, _)| group.clone()).collect()
    }

    /// Those of these groups whose members are not known now, with the reason; those that nobody has asked for yet among
    /// them.
    pub fn unknown<'g>(&self, named: impl IntoIterator<Item = &'g String>, now: Timestamp) -> Vec<Unknown> {
        let known = self.0.known.read().expect("nothing panics under this lock");
        let unknown = named.into_iter().filter_map(|group| {
            let trouble = match known.get(group) {
                Some(known) if known.is_trusted(now) => return None,
                Some(known) => known.trouble.clone(),
                None => None,
            };
            Some(Unknown { group: group.clone(), trouble: trouble.unwrap_or_else(|| NOT_YET.to_owned()) })
        });
        unknown.collect()
    }

    /// Waits until each of these groups was asked for once, whatever came of it. Whoever calls bounds it.
    pub async fn asked_once(&self, named: &BTreeSet<String>) {
        let mut noted = self.0.noted.subscribe();
        loop {
            noted.borrow_and_update();
            let known = named.iter().all(|group| self.was_asked(group));
            // The sender lives as long as we do.
            if known || noted.changed().await.is_err() {
                return;
            }
        }
    }

    fn was_asked(&self, group: &str) -> bool {
        self.0.known.read().expect("nothing panics under this lock").contains_key(group)
    }

    /// Notes who is in a group, asked at `asked_at`. Gives whether this is news: the first answer, or one after trouble.
    pub fn note(&self, group: &str, members: impl IntoIterator<Item = String>, asked_at: Timestamp) -> bool {
        let members: HashSet<String> = members.into_iter().take(MEMBERS_MAX + 1).collect();
        if members.len() > MEMBERS_MAX {
            return self.fail(group, format!("it has more than {MEMBERS_MAX} members"));
        }
        let known = Known { members, trusted_until: Some(asked_at + TRUSTED_FOR), trouble: None };
        self.put(group, |entry| {
            let news = entry.trouble.is_some() || entry.trusted_until.is_none();
            *entry = known;
            news
        })
    }

    /// Notes that a question came to nothing; what was known before is trusted for as long as it was to be. Gives whether
    /// this is news.
    pub fn fail(&self, group: &str, trouble: String) -> bool {
        let trouble: String = trouble.chars().take(TROUBLE_CHARS_MAX).collect();
        self.put(group, |entry| {
            let news = entry.trouble.as_ref() != Some(&trouble);
            entry.trouble = Some(trouble);
            news
        })
    }

    /// Forgets groups that are not named any more.
    pub fn keep_only(&self, named: &BTreeSet<String>) {
        self.0
            .known
            .write()
            .expect("nothing panics under this lock")
            .retain(|group, _| named.contains(group));
    }

    fn put(&self, group: &str, change: impl FnOnce(&mut Known) -> bool) -> bool {
        let mut known = self.0.known.write().expect("nothing panics under this lock");
        let news = change(known.entry(group.to_owned()).or_default());
        drop(known);
        self.0.noted.send_modify(|count| *count = count.wrapping_add(1));
        news
    }
}

/// Why nothing is known of a group that nobody has asked for.
const NOT_YET: &str = "not looked up yet";

impl Known {
    fn is_trusted(&self, now: Timestamp) -> bool {
        self.trusted_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: &str = "slack:S0OPS";

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_secs(minutes * 60)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn is_in(groups: &Groups, who: &str, now: Timestamp) -> bool {
        !groups.of(&[who.to_owned()], now).is_empty()
    }

    #[test]
    fn a_member_is_in_a_group_for_as_long_as_the_answer_is_trusted() {
        let groups = Groups::default();
        assert!(!is_in(&groups, "slack:U1", at(0)), "nobody is in what was never looked up");
        assert!(groups.note(OPS, ["U1".to_owned()], at(0)));
        assert!(is_in(&groups, "slack:U1", at(29)) && !is_in(&groups, "slack:U1", at(30)));
        assert!(!is_in(&groups, "slack:U2", at(0)) && !is_in(&groups, "feishu:U1", at(0)));
        assert!(!groups.note(OPS, ["U2".to_owned()], at(5)), "no news");
        assert!(!is_in(&groups, "slack:U1", at(6)) && is_in(&groups, "slack:U2", at(34)));
    }

    #[test]
    fn trouble_leaves_what_was_known_until_it_is_over_and_is_told_once() {
        let groups = Groups::default();
        let told =
            |now| groups.unknown(&names(&[OPS]), now).into_iter().map(|one| one.trouble).collect::<Vec<_>>();
        assert_eq!(told(at(0)), [NOT_YET]);
        assert!(groups.fail(OPS, "missing_scope".into()) && !groups.fail(OPS, "missing_scope".into()));
        assert_eq!(told(at(0)), ["missing_scope"]);
        assert!(groups.note(OPS, ["U1".to_owned()], at(0)) && told(at(1)).is_empty());
        assert!(groups.fail(OPS, "http_500".into()));
        assert!(is_in(&groups, "slack:U1", at(29)) && told(at(29)).is_empty());
        assert!(!is_in(&groups, "slack:U1", at(30)));
        assert_eq!(told(at(30)), ["http_500"]);
        groups.keep_only(&names(&[]));
        assert_eq!(told(at(1)), [NOT_YET]);
    }

    #[test]
    fn a_group_with_too_many_members_is_not_known() {
        let groups = Groups::default();
        let members = |count: usize| (0..count).map(|n| format!("U{n}"));
        groups.note(OPS, members(MEMBERS_MAX), at(0));
        assert!(is_in(&groups, "slack:U9999", at(0)));
        groups.note("slack:S0ALL", members(MEMBERS_MAX + 1), at(0));
        assert_eq!(groups.of(&["slack:U1".to_owned()], at(0)), [OPS]);
        assert_eq!(groups.unknown(&names(&["slack:S0ALL"]), at(0)).len(), 1);
    }

    #[tokio::test]
    async fn who_waits_for_a_first_answer_waits_for_that_of_every_group() {
        let groups = Groups::default();
        let named = names(&[OPS, "feishu:od-1"]);
        let waiting = tokio::spawn({
            let (groups, named) = (groups.clone(), named.clone());
            async move { groups.asked_once(&named).await }
        });
        groups.note(OPS, [], at(0));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        groups.fail("feishu:od-1", "40004".into());
        waiting.await.expect("it ends");
    }

    #[test]
    fn people_are_no_groups() {
        assert!(is_group("slack:S0OPS") && is_group("feishu:od-a1"));
        assert!(
            !is_group("slack:U0LEAD")
                && !is_group("feishu:ou_1")
                && !is_group("*")
                && !is_group("feishu:oc_1")
        );
    }
}
