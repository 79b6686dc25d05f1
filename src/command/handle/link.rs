//! One person on two platforms, by a code that is given on one and typed on the other. From then on their roles, boards, runs
//! and quota are one. A code is given to one person alone, is good once and for ten minutes, and is kept as its hash; what
//! stands in the answer that gave it is worth nothing after that. Whoever types one is told whose it is, and is one with them
//! only when they type it again: a code that somebody was talked into typing does nothing by itself.

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
use crate::command::permits;
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

impl Handler {
    /// Gives somebody a code, or takes one from them.
    pub(super) fn link(&self, delivery: &Delivery, code: Option<&str>) -> Reaction {
        if let Some(refusal) = nobody_to_write_to(delivery).or_else(|| self.is_in_file(delivery)) {
            return refusal;
        }
        if code.is_some() && self.is_more_than_user(delivery) {
            // Whoever is talked into typing somebody else's code would share what they may with them.
            return Reaction::refused(Phrase::new("link-from-there", json!({})), &[], "/lab link");
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
        let refused = |reason: Phrase| Reaction::refused(reason, &[], "/lab link").answer;
        Reaction {
            effect: Effect::Link {
                asked: LinkAsked::With { hash: hash(code) },
                note: Note::new(LINKED, json!({})),
            },
            answer: Note::new(LINKED, json!({})),
            instead: vec![
                ("asks-first", Note::new("link-question", json!({ "code": code }))),
                ("no-such-code", refused(Phrase::new("link-no-code", json!({})))),
                ("same-platform", refused(Phrase::new("link-same-platform", json!({})))),
                ("too-many", refused(Phrase::new("link-too-many", json!({})))),
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
        let says = |unchanged| Note::new("unlinked", json!({ "unchanged": unchanged, "who": who }));
        let unchanged = match &who {
            None => self.is_in_file(delivery).map_or_else(|| says(true), |refusal| refusal.answer),
            Some(_) => says(true),
        };
        Reaction {
            answer: says(false),
            instead: vec![("unchanged", unchanged)],
            audit: audit("unlink", ids.join(" ")),
            effect: Effect::Link { asked: LinkAsked::Undone { ids }, note: Note::new(LINKED, json!({})) },
        }
    }

    /// Whether whoever writes may more than everybody may; in a lab without roles nobody does.
    fn is_more_than_user(&self, delivery: &Delivery) -> bool {
        let lab = self.inventory.now();
        let is_open = lab.roles.admin.is_empty() && lab.roles.operator.is_empty();
        !is_open && permits::role(delivery, &self.groups_of(delivery), &lab) > Some(Role::User)
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
