//! Names of people where they cannot be mentioned: a card in Slack names whoever asked in Feishu, and the other way
//! round. Events carry ids, and not every one a name, so that is asked for once and remembered; a platform that does not
//! tell it in a moment costs that moment once, and people read the id. Nobody is recognised by a name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Block, Card, Span, Text};
use crate::board::people::People;
use crate::chat::{Actor, ChatApi, Platform};
use crate::clock::{Clock, Timestamp};

/// Most people who are remembered; beyond it all are forgotten, and learnt anew.
pub const NAMES_MAX: usize = 10_000;
/// How long a card waits for a name at most.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// How long nobody asks again for a name that was not told.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// Most names that one card waits for; those beyond are asked for with its next state.
const ASKED_MAX: usize = 3;

/// What is known of people's names. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<(Platform, String), Known>>>);

enum Known {
    Name(String),
    /// Asked for in vain, and not again before then.
    Unknown(Timestamp),
}

impl Names {
    /// Somebody did something: their name is remembered where it came along, else it is put in where it is known.
    pub fn meet(&self, actor: &mut Actor) {
        // A program names whom it acts for, each time anew.
        if !Platform::CHATS.contains(&actor.platform) {
            return;
        }
        match actor.name.is_empty() {
            true => actor.name = self.of(actor).unwrap_or_default(),
            false => self.note(actor, Known::Name(actor.name.clone())),
        }
    }

    /// Puts the names that are known into a card, for those who cannot be mentioned on the platform it stands on.
    pub fn fill(&self, card: &mut Card, here: Platform) {
        for actor in nameless(card, here) {
            actor.name = self.of(actor).unwrap_or_default();
        }
    }

    /// Whose names a card lacks, of those that may be asked for now.
    pub fn lacking(&self, card: &mut Card, here: Platform, now: Timestamp) -> Vec<Actor> {
        let known = self.0.lock().expect("names lock");
        let mut lacking: Vec<Actor> = nameless(card, here)
            .filter(|actor| match known.get(&key(actor)) {
                Some(Known::Unknown(until)) => *until <= now,
                Some(Known::Name(_)) | None => true,
            })
            .map(|actor| actor.clone())
            .collect();
        lacking.dedup();
        lacking.truncate(ASKED_MAX);
        lacking
    }

    /// Asks their platform for somebody's name, once for everybody who wants it.
    pub async fn ask(&self, api: &dyn ChatApi, actor: &Actor, clock: &Clock) {
        self.note(actor, Known::Unknown(clock.now() + ASK_AGAIN));
        match clock.timeout(ASK_WITHIN, api.name_of(&actor.id)).await {
            Ok(Some(name)) if !name.trim().is_empty() => self.note(actor, Known::Name(name)),
            Ok(_) | Err(_) => tracing::debug!(actor = actor.key(), "their platform does not tell the name"),
        }
    }

    fn of(&self, actor: &Actor) -> Option<String> {
        match self.0.lock().expect("names lock").get(&key(actor)) {
            Some(Known::Name(name)) => Some(name.clone()),
            Some(Known::Unknown(_)) | None => None,
        }
    }

    fn note(&self, actor: &Actor, known: Known) {
        let mut names = self.0.lock().expect("names lock");
        if names.len() >= NAMES_MAX && !names.contains_key(&key(actor)) {
            names.clear();
        }
        names.insert(key(actor), known);
    }
}

fn key(actor: &Actor) -> (Platform, String) {
    (actor.platform, actor.id.clone())
}

/// Puts those who are linked to somebody on this platform into a card as that one: there they can be mentioned.
pub fn put_linked(card: &mut Card, here: Platform, people: &People) {
    for actor in mentioned(card).filter(|actor| actor.platform != here) {
        if let Some(known) = people.on(actor, here) {
            *actor = known;
        }
    }
}

/// Everybody on a card who would be shown by id there.
fn nameless(card: &mut Card, here: Platform) -> impl Iterator<Item = &mut Actor> {
    mentioned(card).filter(move |actor| actor.platform != here && actor.name.is_empty())
}

impl Names {
    /// Puts names in place of mentions, where they are known: whoever asked for a run is not called by its card.
    pub fn uncall(&self, card: &mut Card) {
        for span in spans(card) {
            if let Span::Mention(actor) = span {
                let own = Some(&actor.name).filter(|name| !name.is_empty()).cloned();
                if let Some(name) = own.or_else(|| self.of(actor)) {
                    *span = Span::Plain(name);
                }
            }
        }
    }
}

/// Everybody on a card.
fn mentioned(card: &mut Card) -> impl Iterator<Item = &mut Actor> {
    spans(card).filter_map(|span| match span {
        Span::Mention(actor) => Some(actor),
        Span::Plain(_) | Span::Bold(_) | Span::Code(_) | Span::Link { .. } | Span::Run(_) | Span::Time(_) => {
            None
        }
    })
}

/// Every piece of a card's texts.
pub(super) fn spans(card: &mut Card) -> impl Iterator<Item = &mut Span> {
    let texts = card.blocks.iter_mut().flat_map(|block| match block {
        Block::Text(text) | Block::Context(text) => vec![text],
        Block::Fields(fields) => fields.iter_mut().map(|(_, text)| text).collect(),
        Block::Title(_) | Block::Log(_) | Block::Buttons(_) | Block::Divider => vec![],
    });
    texts.flat_map(|Text(spans)| spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(platform: Platform, id: &str, name: &str) -> Actor {
        Actor { platform, id: id.into(), team: String::new(), name: name.into() }
    }

    fn card(actor: &Actor) -> Card {
        let text = || Text(vec![Span::Mention(actor.clone())]);
        let fields = Block::Fields(vec![("By".into(), text())]);
        Card { blocks: vec![Block::Text(text()), fields, Block::Divider], ..Card::default() }
    }

    fn shown(card: &mut Card) -> Vec<String> {
        nameless(card, Platform::Jenkins).map(|actor| actor.id.clone()).collect()
    }

    #[test]
    fn who_came_with_a_name_is_known_by_it_elsewhere() {
        let (names, now) = (Names::default(), Timestamp::default());
        let mut li = actor(Platform::Feishu, "ou_li", "");
        names.meet(&mut li);
        assert_eq!(names.lacking(&mut card(&li), Platform::Slack, now), [li.clone()]);
        names.meet(&mut actor(Platform::Feishu, "ou_li", "Li Lei"));
        let mut told = card(&li);
        names.fill(&mut told, Platform::Slack);
        assert_eq!(shown(&mut told), [""; 0]);
        names.meet(&mut li);
        assert_eq!(li.name, "Li Lei");
        assert!(names.lacking(&mut told, Platform::Slack, now).is_empty());
    }

    #[test]
    fn whoever_has_a_name_is_not_called_by_a_card() {
        let names = Names::default();
        let mut posted = card(&actor(Platform::Slack, "U1", "<!channel> li"));
        names.uncall(&mut posted);
        assert_eq!(mentioned(&mut posted).count(), 0);
        assert!(spans(&mut posted).all(|span| *span == Span::Plain("<!channel> li".into())));
        let mut posted = card(&actor(Platform::Feishu, "ou_1", ""));
        names.uncall(&mut posted);
        assert_eq!(mentioned(&mut posted).count(), 2, "nobody knows the name");
        names.meet(&mut actor(Platform::Feishu, "ou_1", "Wu"));
        names.uncall(&mut posted);
        assert_eq!(mentioned(&mut posted).count(), 0);
    }

    #[test]
    fn who_can_be_mentioned_needs_no_name() {
        let (names, now) = (Names::default(), Timestamp::default());
        let li = actor(Platform::Feishu, "ou_li", "");
        assert!(names.lacking(&mut card(&li), Platform::Feishu, now).is_empty());
    }

    #[test]
    fn a_name_that_was_not_told_is_not_asked_for_at_once_and_memory_is_bounded() {
        let names = Names::default();
        let li = actor(Platform::Feishu, "ou_li", "");
        let later = Timestamp::default() + ASK_AGAIN;
        names.note(&li, Known::Unknown(later));
        assert!(names.lacking(&mut card(&li), Platform::Slack, Timestamp::default()).is_empty());
        assert_eq!(names.lacking(&mut card(&li), Platform::Slack, later).len(), 1);
        for n in 0..=NAMES_MAX {
            names.meet(&mut actor(Platform::Slack, &n.to_string(), "x"));
        }
        assert!(names.0.lock().expect("names lock").len() <= NAMES_MAX);
        let mut crowd = Card::default();
        let people = (0..9).map(|n| Span::Mention(actor(Platform::Feishu, &n.to_string(), "")));
        crowd.blocks.push(Block::Text(Text(people.collect())));
        assert_eq!(names.lacking(&mut crowd, Platform::Slack, later).len(), ASKED_MAX);
    }
}
