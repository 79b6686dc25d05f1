//! Who is one person on two platforms: their runs, their boards and their quota are one, wherever they ask. Pure.

use crate::chat::{Actor, Platform};

/// Everybody that boards.yaml links.
#[derive(Debug, Clone, Default)]
pub struct People(Vec<Person>);

/// Somebody with an id on more than one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What boards.yaml calls them.
    pub name: String,
    /// Their ids. They count as the first, and are written to there.
    pub ids: Vec<(Platform, String)>,
}

impl People {
    /// These people; nobody's id stands twice.
    pub fn new(people: Vec<Person>) -> Self {
        People(people)
    }

    fn of(&self, actor: &Actor) -> Option<&Person> {
        self.0.iter().find(|person| person.ids.iter().any(|id| (id.0, &id.1) == (actor.platform, &actor.id)))
    }

    /// Whom somebody counts as: the same for each of their ids.
    pub fn counts_as(&self, actor: &Actor) -> Actor {
        let person = self.of(actor).and_then(|person| Some((person, person.ids.first()?)));
        match person {
            Some((person, (platform, id))) if (*platform, id) != (actor.platform, &actor.id) => {
                Actor { platform: *platform, id: id.clone(), team: String::new(), name: person.name.clone() }
            }
            Some(_) | None => actor.clone(),
        }
    }

    /// Somebody as this platform knows them.
    pub fn on(&self, actor: &Actor, platform: Platform) -> Option<Actor> {
        let (_, id) = self.of(actor)?.ids.iter().find(|(on, _)| *on == platform)?;
        Some(Actor { platform, id: id.clone(), team: String::new(), name: actor.name.clone() })
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
