//! Who is one person on two platforms: their runs, their boards and their quota are one, wherever they ask. Pure.

use std::sync::{Arc, RwLock};

use crate::chat::{Actor, Platform};

/// Everybody that boards.yaml links, and those who have linked themselves.
#[derive(Debug, Clone, Default)]
pub struct People {
    listed: Vec<Person>,
    linked: Linked,
}

/// Those who have linked themselves: the same for every lab file that is put in force.
#[derive(Debug, Clone, Default)]
struct Linked(Arc<RwLock<Vec<Person>>>);

/// Somebody with an id on more than one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What boards.yaml calls them; empty for those who have linked themselves.
    pub name: String,
    /// Their ids. They count as the first, and are written to there.
    pub ids: Vec<(Platform, String)>,
}

impl Person {
    fn is(&self, actor: &Actor) -> bool {
        self.ids.iter().any(|(platform, id)| (*platform, id) == (actor.platform, &actor.id))
    }
}

impl People {
    /// These people; nobody's id stands twice.
    pub fn new(people: Vec<Person>) -> Self {
        People { listed: people, linked: Linked::default() }
    }

    /// The same, with those who have linked themselves in another one from now on.
    pub fn joined_to(self, other: &People) -> Self {
        People { linked: other.linked.clone(), ..self }
    }

    /// These have linked themselves. Who is in boards.yaml is whom that says, and so is nobody whom they are linked with.
    pub fn link(&self, people: Vec<Person>) {
        *self.linked.0.write().expect("nothing panics under this lock") = people;
    }

    /// Whether boards.yaml says who somebody is.
    pub fn is_listed(&self, actor: &Actor) -> bool {
        self.listed.iter().any(|person| person.is(actor))
    }

    fn has_listed(&self, person: &Person) -> bool {
        self.listed.iter().any(|listed| listed.ids.iter().any(|id| person.ids.contains(id)))
    }

    fn of(&self, actor: &Actor) -> Option<Person> {
        let listed = self.listed.iter().find(|person| person.is(actor)).cloned();
        listed.or_else(|| {
            let linked = self.linked.0.read().expect("nothing panics under this lock");
            linked.iter().find(|person| person.is(actor)).filter(|person| !self.has_listed(person)).cloned()
        })
    }

    /// Whom somebody counts as: the same for each of their ids.
    pub fn counts_as(&self, actor: &Actor) -> Actor {
        let person = self.of(actor).and_then(|person| Some((person.ids.first()?.clone(), person.name)));
        match person {
            Some(((platform, id), name)) if (platform, &id) != (actor.platform, &actor.id) => {
                let name = if name.is_empty() { actor.name.clone() } else { name };
                Actor { platform, id, team: String::new(), name }
            }
            Some(_) | None => actor.clone(),
        }
    }

    /// Somebody as this platform knows them.
    pub fn on(&self, actor: &Actor, platform: Platform) -> Option<Actor> {
        let (_, id) = self.of(actor)?.ids.into_iter().find(|(on, _)| *on == platform)?;
        Some(Actor { platform, id, team: String::new(), name: actor.name.clone() })
    }

    /// Every id of somebody as boards.yaml writes it, `slack:U0LEAD`.
    pub fn keys(&self, actor: &Actor) -> Vec<String> {
        match self.of(actor) {
            Some(person) => {
                person.ids.iter().map(|(platform, id)| format!("{}:{id}", platform.as_str())).collect()
            }
            None => vec![actor.key()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(platform: Platform, id: &str) -> Actor {
        Actor { platform, id: id.into(), team: "T1".into(), name: "typed".into() }
    }

    #[test]
    fn who_has_linked_themselves_is_one_whatever_lab_file_is_in_force() {
        let ids = |slack: &str, feishu: &str| {
            vec![(Platform::Slack, slack.into()), (Platform::Feishu, feishu.into())]
        };
        let people = People::new(vec![Person { name: "li".into(), ids: ids("U0LI", "ou_li") }]);
        let next = People::default().joined_to(&people);
        people.link(vec![
            Person { name: String::new(), ids: ids("U0BO", "ou_bo") },
            Person { name: String::new(), ids: ids("U0OTHER", "ou_li") },
        ]);
        let (bo, li) = (actor(Platform::Feishu, "ou_bo"), actor(Platform::Feishu, "ou_li"));
        for people in [&people, &next] {
            let known = people.counts_as(&bo);
            assert_eq!((known.key().as_str(), known.name.as_str()), ("slack:U0BO", "typed"));
            assert!(!people.is_listed(&bo));
        }
        assert_eq!((people.counts_as(&li).key().as_str(), people.is_listed(&li)), ("slack:U0LI", true));
        // Whoever is linked with somebody that boards.yaml names has nothing of theirs.
        let other = actor(Platform::Slack, "U0OTHER");
        assert_eq!((people.keys(&other), people.is_listed(&other)), (vec!["slack:U0OTHER".into()], false));
        // The other way round: their own id is listed with another one, and the one that they linked is nobody's.
        let listed =
            People::new(vec![Person { name: "bo".into(), ids: ids("U0BO", "ou_new") }]).joined_to(&people);
        assert_eq!(listed.keys(&bo), ["feishu:ou_bo"]);
        assert_eq!(listed.keys(&actor(Platform::Slack, "U0BO")), ["slack:U0BO", "feishu:ou_new"]);
        people.link(vec![]);
        assert_eq!(next.counts_as(&bo).key(), "feishu:ou_bo");
    }

    #[test]
    fn a_linked_person_is_one_on_both_platforms_and_nobody_else_changes() {
        let ids = vec![(Platform::Slack, "U0LI".into()), (Platform::Feishu, "ou_li".into())];
        let people = People::new(vec![Person { name: "li".into(), ids }]);
        let feishu = actor(Platform::Feishu, "ou_li");
        assert_eq!(people.counts_as(&feishu).key(), "slack:U0LI");
        assert_eq!(people.counts_as(&actor(Platform::Slack, "U0LI")), actor(Platform::Slack, "U0LI"));
        assert_eq!(people.keys(&feishu), ["slack:U0LI", "feishu:ou_li"]);
        let there = people.on(&people.counts_as(&feishu), Platform::Feishu);
        assert_eq!(there.map(|actor| actor.key()).as_deref(), Some("feishu:ou_li"));
        // The same id on another platform is another person.
        let other = actor(Platform::Slack, "ou_li");
        assert_eq!((people.counts_as(&other), people.on(&other, Platform::Feishu)), (other.clone(), None));
        assert_eq!(people.keys(&other), ["slack:ou_li"]);
    }
}
