//! The artifacts' part of a round: what may go, what runs and plans still need, and what is said when a limit cannot be
//! kept.

use std::collections::BTreeSet;

use crate::artifact::Artifacts;
use crate::artifact::tidy::{self, Stored};
use crate::board::plan::ParamValue;
use crate::board::{Inventory, LiveInventory};
use crate::clock::Clock;
use crate::config::{GB, Retention};
use crate::run::{Run, RunKind};
use crate::store::{RunFilter, Store, StoreError};

/// Most unfinished runs whose builds are looked at; with more, nothing goes in this round.
const RUNS_MAX: u32 = 10_000;
/// Shortest value of a parameter that protects what has it in its name: numbers and switches name no files.
const VALUE_BYTES_MIN: usize = 3;

/// What a name must not have in it to go.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// Builds and parameters of runs that are not finished.
    words: BTreeSet<String>,
    /// What plans say themselves: a file that one names whole is everybody's.
    texts: BTreeSet<String>,
}

impl Needed {
    /// As of now; nothing when there are too many unfinished runs to say.
    pub(super) async fn now(
        store: &dyn Store,
        inventory: &LiveInventory,
    ) -> Result<Option<Needed>, StoreError> {
        let mut needed = Needed { texts: texts(&inventory.now()), ..Needed::default() };
        for kind in [RunKind::Test, RunKind::Health] {
            let filter =
                RunFilter { kind, requested_by: None, unfinished: true, limit: RUNS_MAX, before: None };
            let runs = store.run_list(&filter).await?;
            if runs.len() >= RUNS_MAX as usize {
                return Ok(None);
            }
            needed.words.extend(runs.iter().flat_map(words));
        }
        Ok(Some(needed))
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.words.iter().any(|word| name.contains(word)) || self.texts.iter().any(|text| text.contains(name))
    }
}

/// The build of a run, and what else of it may name a file.
fn words(run: &Run) -> Vec<String> {
    let values = run.spec.params.values().map(ParamValue::to_string);
    let long = values.filter(|value| value.len() >= VALUE_BYTES_MIN);
    [run.spec.build.clone()].into_iter().chain(long).filter(|word| !word.is_empty()).collect()
}

fn texts(inventory: &Inventory) -> BTreeSet<String> {
    let steps = inventory.plans.values().flat_map(|plan| plan.steps());
    let commands = steps.flat_map(|step| step.action.templates()).flat_map(|template| template.texts());
    let addresses = inventory.families.values().flat_map(|family| family.artifacts.values());
    commands.chain(addresses.flat_map(|address| address.texts())).map(str::to_owned).collect()
}

/// Chooses what goes beside so many bytes of transcripts, and says when that is not enough.
pub(super) async fn choose(
    artifacts: &Artifacts,
    needed: &Needed,
    retention: &Retention,
    transcripts: u64,
    clock: &Clock,
) -> Vec<Stored> {
    let files = artifacts.stored().await;
    let most = retention.disk_bytes.saturating_sub(transcripts);
    let choice = tidy::choose(files, |name| needed.holds(name), retention.artifacts, most, clock.now());
    let taken = choice.left.saturating_add(transcripts);
    let too_much = (taken > retention.disk_bytes).then(|| {
        format!(
            "artifacts and transcripts take {} GB, more than MAX_DISK_USAGE_GB={}, and all that is left is needed by runs or \
             plans, or was used within the hour",
            taken.div_ceil(GB),
            retention.disk_bytes / GB
        )
    });
    if let Some(problem) = &too_much {
        tracing::warn!("{problem}");
    }
    artifacts.tell(too_much);
    choice.gone
}

/// Removes files that nobody needs by now; gives how many, and how many bytes they had.
pub(super) async fn remove(artifacts: &Artifacts, needed: &Needed, files: Vec<Stored>) -> (u64, u64) {
    let files = files.into_iter().filter(|file| !needed.holds(&file.name)).collect();
    let (gone, kept) = artifacts.remove(files).await;
    if let Some(error) = kept {
        let problem = format!("not every outdated artifact can be removed: {error}");
        tracing::warn!("{problem}");
        artifacts.tell(Some(problem));
    }
    (gone.len() as u64, gone.iter().map(|file| file.bytes).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_needed_by_its_build_by_a_parameter_or_by_a_plan_that_names_it() {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let needed = Needed {
            words: set(&["main/build@1", "rootfs-a"]),
            texts: set(&["tftpboot $addr /artifacts/common/Image && x ", "/test.bin"]),
        };
        for name in
            ["main/build@1/test.bin", "main/build@1.tar", "images/rootfs-a.img", "common/Image", "test.bin"]
        {
            assert!(needed.holds(name), "{name}");
        }
        for name in ["main/build@2/test.bin", "images/rootfs-b.img", "common/Image.old"] {
            assert!(!needed.holds(name), "{name}");
        }
    }
}
