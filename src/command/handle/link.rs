//! One person on two platforms, by a code that is given on one and typed on the other. From then on their roles, boards, runs
//! and quota are one. A code is given to one person alone, is good once and for ten minutes, and is kept as its hash; what
//! stands in the answer that gave it is worth nothing after that. Whoever types one is told whose it is, and is one with them
//! only when they say so: a code that somebody was talked into typing does nothing by itself. One that is refused is void.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::act::audit;
use super::admin::actor_of;
use super::asks::person_of;
use super::watch::nobody_to_write_to;
use super::{Handler, Reaction};
use crate::board::people::Person;
use crate::chat::Delivery;
use crate::command::grammar::Role;
use crate::command::{Command, permits};
use crate::message::{Note, Phrase};
use crate::store::{CODE_LASTS, Effect, LinkAsked, LinkRow};

/// What gives a code, and what a code that was typed may come to.
const PRIVATE: [&str; 2] = ["link-code", LINKED];
const LINKED: &str = "linked";
/// Characters of a code: none that is easily taken for another.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// How many of them: 40 bits.
const LETTERS: usize = 8;

/// Whether an answer is for one person alone.
pub(super) fn is_private(answer: &Note) -> bool {
    PRIVATE.contains(&answer.template.as_str())
}

/// Those who have linked themselves, as people.
pub(crate) fn linked(links: Vec<LinkRow>) -> Vec<Person> {
    let person = |link: LinkRow| Person {
        name: String::new(),
        ids: link.ids.into_iter().map(|actor| (actor.platform, actor.id)).collect(),
    };
    links.into_iter().map(person).collect()
}

/// The refusal of a command; with a code, that is void from then on, since others may have read it.
pub(super) fn in_vain(command: &Command, refusal: Reaction) -> Reaction {
    match command {
        Command::Link { code: Some(code), .. } => void(code, refusal),
        _ => refusal,
    }
}

fn void(code: &str, refusal: Reaction) -> Reaction {
    let asked = LinkAsked::Void { hash: hash(code) };
    Reaction { effect: Effect::Link { asked, note: Note::new(LINKED, json!({})) }, ..refusal }
}

impl Handler {
    /// Gives somebody a code, or takes one from them.
    pub(super) fn link(&self, delivery: &Delivery, code: Option<&str>, sure: bool) -> Reaction {
        let refused = |why| Reaction::refused(Phrase::new(why, json!({})), &[], "/lab link");
        // Whoever is talked into typing somebody else's code would share what they may with them.
        let may_not = || code.and_then(|_| self.may_more(delivery)).map(refused);
        let refusal = nobody_to_write_to(delivery).or_else(|| self.is_in_file(delivery)).or_else(may_not);
        if let Some(refusal) = refusal {
            return match code {
                Some(code) => void(code, refusal),
                None => refusal,
            };
        }
        let now = self.clock.now();
        let already = Reaction::refused(Phrase::new("linked-already", json!({})), &[], "/lab unlink").answer;
        let Some(code) = code else {
            let code = self.code();
            let until = now + CODE_LASTS;
            return Reaction {
                effect: Effect::Link {
                    asked: LinkAsked::Code { hash: hash(&code), until },
                    note: Note::new(LINKED, json!({})),
                },
                answer: Note::new(
                    "link-code",
                    json!({ "code": code, "until": until, "platform": delivery.actor.platform }),
                ),
                instead: vec![("already-linked", already)],
                audit: audit("link", "a code".to_owned()),
            };
        };
        let refused = |why| refused(why).answer;
        Reaction {
            effect: Effect::Link {
                asked: LinkAsked::With { hash: hash(code), sure },
                note: Note::new(LINKED, json!({})),
            },
            answer: Note::new(LINKED, json!({})),
            instead: vec![
                ("asks-first", Note::new("link-question", json!({ "code": code }))),
                ("no-such-code", refused("link-no-code")),
                ("same-platform", refused("link-same-platform")),
                ("too-many", refused("link-too-many")),
                ("already-linked", already),
            ],
            audit: audit("link", "with a code".to_owned()),
        }
    }

    /// Makes two people of one: of whoever asks, whatever boards.yaml says of them, or of somebody whom an admin names.
    pub(super) fn unlink(&self, delivery: &Delivery, person: Option<&str>) -> Reaction {
        if let Some(refusal) = nobody_to_write_to(delivery) {
            return refusal;
        }
        let who = match person {
            Some(typed) => match actor_of(typed).or_else(|| person_of(delivery, typed)) {
                Some(who) => Some(who),
                None => {
                    let reason = Phrase::new("nobody", json!({ "name": typed }));
                    return Reaction::refused(reason, &[], "/lab unlink @…");
                }
            },
            None => None,
        };
        let ids = self.inventory.now().people.keys(who.as_ref().unwrap_or(&delivery.actor));
        let by_themselves_on = who.is_none().then_some(delivery.place.platform);
        let says = |unchanged| Note::new("unlinked", json!({ "unchanged": unchanged, "who": who }));
        let unchanged = match &who {
            None => self.is_in_file(delivery).map_or_else(|| says(true), |refusal| refusal.answer),
            Some(_) => says(true),
        };
        Reaction {
            answer: says(false),
            instead: vec![("unchanged", unchanged)],
            audit: audit("unlink", ids.join(" ")),
            effect: Effect::Link {
                asked: LinkAsked::Undone { ids, by_themselves_on },
                note: Note::new("unlinked", json!({ "unchanged": false, "who": null })),
            },
        }
    }

    /// Why whoever writes types no code, where they may more than everybody may, or that is not known now.
    fn may_more(&self, delivery: &Delivery) -> Option<&'static str> {
        let lab = self.inventory.now();
        let everybody = permits::role_of_anybody(delivery, &lab).max(Some(Role::User));
        if permits::role(delivery, &self.groups_of(delivery), &lab) > everybody {
            return Some("link-from-there");
        }
        let unknown = self.groups.unknown(&lab.groups(), self.clock.now());
        (!unknown.is_empty()).then_some("link-not-now")
    }

    /// The refusal to whom boards.yaml says who they are.
    fn is_in_file(&self, delivery: &Delivery) -> Option<Reaction> {
        let is_listed = self.inventory.now().people.is_listed(&delivery.actor);
        is_listed.then(|| Reaction::refused(Phrase::new("linked-in-file", json!({})), &[], "docs/lab.md"))
    }

    /// `K7QM-2XTD`.
    fn code(&self) -> String {
        let letters =
            (0..LETTERS).map(|_| char::from(ALPHABET[self.ids.below(ALPHABET.len() as u64) as usize]));
        let mut code: String = letters.collect();
        code.insert(LETTERS / 2, '-');
        code
    }
}

/// The hash of a code, however it was typed.
fn hash(code: &str) -> [u8; 32] {
    let letters: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    Sha256::digest(letters.to_ascii_uppercase()).into()
}
