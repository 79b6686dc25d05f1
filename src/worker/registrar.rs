//! The registrar: the loop that asks the chat platforms who is in the groups that boards.yaml names, now and then, so that no
//! order waits for it. What it cannot learn it notes; it decides nothing about anybody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::board::LiveInventory;
use crate::board::groups::Groups;
use crate::chat::{ChatApi, NotTold, Platform};
use crate::clock::{Clock, Monotonic};
use crate::doorbell::Bell;
use crate::store::StoreError;

/// How often the members of a group are asked for.
pub const ASKED_EVERY: Duration = Duration::from_secs(5 * 60);
/// How soon they are asked for again after that came to nothing.
pub const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// The longest pause that a platform may ask for.
const PAUSE_MAX: Duration = ASKED_EVERY;

/// Learns who is in the groups of the lab.
pub struct Registrar {
    inventory: LiveInventory,
    groups: Groups,
    apis: BTreeMap<Platform, Arc<dyn ChatApi>>,
    clock: Clock,
    /// When each group is asked for next.
    due: HashMap<String, Monotonic>,
    /// Platforms that are left alone until then, and why.
    paused: HashMap<Platform, (Monotonic, String)>,
}

impl Registrar {
    /// A registrar that asks these platforms.
    pub fn new(
        inventory: LiveInventory,
        groups: Groups,
        apis: BTreeMap<Platform, Arc<dyn ChatApi>>,
        clock: Clock,
    ) -> Self {
        Registrar { inventory, groups, apis, clock, due: HashMap::new(), paused: HashMap::new() }
    }

    /// Asks for one group; gives when it is asked for again.
    async fn ask(&mut self, group: &str) -> Monotonic {
        let (asked_at, asked) = (self.clock.now(), self.clock.monotonic());
        let named = group.split_once(':').and_then(|(on, id)| Some((Platform::from_word(on)?, id)));
        let told = match named.and_then(|(platform, id)| Some((self.apis.get(&platform)?, id))) {
            Some((api, id)) => api.members_of(id).await,
            None => Err(NotTold::Failed { code: "not_connected".into(), remedy: "connect its platform" }),
        };
        match told {
            Ok(members) => {
                let count = members.len();
                if self.groups.note(group, members, asked_at) {
                    tracing::info!(group, members = count, "it is known who is in a group");
                }
                asked + ASKED_EVERY
            }
            Err(NotTold::NotNow(pause)) => self.pause(group, pause.min(PAUSE_MAX), "rate_limited"),
            // The others of that platform are not asked either: each would wait as long for nothing.
            Err(NotTold::Away(reason)) => self.pause(group, AGAIN_AFTER, &reason),
            Err(NotTold::Failed { code, remedy }) => {
                if self.groups.fail(group, code.clone()) {
                    tracing::warn!(
                        group,
                        code,
                        remedy,
                        "it is not known who is in a group; nobody counts as one of them"
                    );
                }
                self.clock.monotonic() + AGAIN_AFTER
            }
        }
    }

    /// Leaves a group's platform alone for a while; gives until when.
    fn pause(&mut self, group: &str, pause: Duration, why: &str) -> Monotonic {
        let until = self.clock.monotonic() + pause;
        self.paused.extend(platform_of(group).map(|platform| (platform, (until, why.to_owned()))));
        if self.groups.fail(group, why.to_owned()) {
            tracing::warn!(group, why, "who is in a group is asked for again later");
        }
        until
    }

    /// Until when a group's platform is left alone, and why.
    fn paused(&self, group: &str) -> Option<(Monotonic, String)> {
        let paused = self.paused.get(&platform_of(group)?);
        paused.filter(|(until, _)| *until > self.clock.monotonic()).cloned()
    }
}

fn platform_of(group: &str) -> Option<Platform> {
    group.split_once(':').and_then(|(on, _)| Platform::from_word(on))
}

#[async_trait]
impl Agent for Registrar {
    fn name(&self) -> &'static str {
        "registrar"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let named = self.inventory.now().groups();
        self.groups.keep_only(&named);
        self.due.retain(|group, _| named.contains(group));
        let mut next = self.clock.monotonic() + if named.is_empty() { LOOK_ANYWAY } else { LOOK_EVERY };
        for group in &named {
            let (known, paused) = (self.due.get(group).copied(), self.paused(group));
            if let (None, Some((_, why))) = (known, &paused) {
                // Nobody is to wait for it.
                self.groups.fail(group, why.clone());
            }
            let due = known.max(paused.map(|(until, _)| until));
            let again = match due {
                Some(due) if due > self.clock.monotonic() => due,
                Some(_) | None => self.ask(group).await,
            };
            self.due.insert(group.clone(), again);
            next = next.min(again);
        }
        Ok(Step::Idle { until: next })
    }
}
