//! Compare: which test cases fail that did not, which do not that did, and which come out as they like. Pure: whoever
//! asks brings the runs. Cases are the same when their names are.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CASES_MAX, CaseStatus, TestCase};

/// How many runs of a suite are looked back at, and how many have their cases' [`Marks`] kept.
pub const PAST_MAX: usize = 20;
/// Most names that are kept of each kind of change; the rest is counted.
pub const NAMES_MAX: usize = 10;
/// Longest name that is kept, in bytes.
pub const NAME_BYTES_MAX: usize = 160;
/// Most changed cases of one comparison whose past is looked at; those beyond it count as steady.
pub const FLAKY_LOOKED_MAX: usize = 1_000;
/// How often a case must have turned from build to build to be flaky: a failure and its fix are two turns.
pub const TURNS_MIN: usize = 3;
/// A case that came out the same so many times in a row is not flaky, whatever was before.
pub const STEADY_RUNS: usize = 5;

/// How each case of a run ended, eight bytes a case: what of a run is kept for those after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(Vec<u64>);

/// What a case's name comes to; its lowest two bits are zero.
type Key = u64;

fn key(name: &str) -> Key {
    let hash = Sha256::digest(name.as_bytes());
    let first: [u8; 8] = hash[..8].try_into().expect("a digest has more than eight bytes");
    u64::from_le_bytes(first) & !STATUS
}

/// The bits of a mark that hold the status.
const STATUS: u64 = 0b11;

/// Statuses by weight: the worst of a name decides.
const BY_WEIGHT: [CaseStatus; 4] =
    [CaseStatus::Skipped, CaseStatus::ExpectedFailure, CaseStatus::Passed, CaseStatus::Failed];

fn weight(status: CaseStatus) -> u64 {
    match status {
        CaseStatus::Skipped => 0,
        CaseStatus::ExpectedFailure => 1,
        CaseStatus::Passed => 2,
        CaseStatus::Failed => 3,
    }
}

impl Marks {
    /// The marks of these cases, of the first [`CASES_MAX`]; one whose name stands several times has its worst.
    pub fn of(cases: &[TestCase]) -> Marks {
        let mut marks: Vec<u64> =
            cases.iter().take(CASES_MAX).map(|case| key(&case.name) | weight(case.status)).collect();
        // Of each name the heaviest comes first, and stays.
        marks.sort_unstable_by_key(|mark| (mark & !STATUS, std::cmp::Reverse(mark & STATUS)));
        marks.dedup_by_key(|mark| *mark & !STATUS);
        Marks(marks)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As text, for the store.
    pub fn pack(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.iter().flat_map(|mark| mark.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// From that text; `None` when it is none.
    pub fn unpack(text: &str) -> Option<Marks> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let (marks, rest) = bytes.as_chunks::<8>();
        let marks: Vec<u64> = marks.iter().map(|mark| u64::from_le_bytes(*mark)).collect();
        let in_order = marks.windows(2).all(|two| two[0] & !STATUS < two[1] & !STATUS);
        (rest.is_empty() && in_order && marks.len() <= CASES_MAX).then_some(Marks(marks))
    }

    /// How the case of this name ended; `None` where it was not run.
    pub fn of_case(&self, name: &str) -> Option<CaseStatus> {
        self.get(key(name))
    }

    fn get(&self, key: Key) -> Option<CaseStatus> {
        let found = self.0.binary_search_by_key(&key, |mark| mark & !STATUS).ok()?;
        Some(status(self.0[found]))
    }
}

fn status(mark: u64) -> CaseStatus {
    BY_WEIGHT[usize::try_from(mark & STATUS).unwrap_or_default()]
}

/// A run that is looked back at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Which.
    pub run: RunOfBuild,
    /// How its cases ended.
    pub marks: Marks,
}

/// A run and what it tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOfBuild {
    /// Its number.
    pub number: i64,
    /// Its build.
    pub build: String,
}

/// A finished run beside those before it, as it was when it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The last run before it, of the same family and suite, that had test cases; of another build where there is one.
    pub base: Option<RunOfBuild>,
    /// What changed since that one.
    pub changes: Option<Changes>,
    /// The last run before it, of the same family and suite, that passed.
    pub good: Option<RunOfBuild>,
}

/// What changed in the cases of a run since another. A case that is flaky stands nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Failed, and passed there.
    pub new: Named,
    /// Failed, and was not run there.
    pub unknown: Named,
    /// Failed, as it did there.
    pub still: Named,
    /// Passed, and failed there.
    pub fixed: Named,
    /// Failed there, and was not run, or was expected to fail.
    pub gone: u32,
    /// Passed there, and was not run: not a failure, and no proof either.
    #[serde(default)]
    pub missing: u32,
    /// Failed here or there, and comes out as it likes.
    pub flaky: Vec<Flaky>,
    /// How many more of those there are.
    pub flaky_more: u32,
}

/// Cases by name, in the order in which they ran; at most [`NAMES_MAX`] of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// How many there are.
    pub count: u32,
    /// The first of them.
    pub names: Vec<String>,
}

/// A case that comes out as it likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaky {
    /// Its name.
    pub name: String,
    /// How many of its last runs differed: from most runs of the same build, or from the build before.
    pub differed: u32,
    /// How many runs those are.
    pub of: u32,
}

/// What a finished run with these cases is beside those before it, the newest first.
pub fn compare(this: &Past, cases: &[TestCase], past: &[Past], good: Option<RunOfBuild>) -> Comparison {
    let base = past.iter().find(|before| before.run.build != this.run.build).or(past.first());
    let all: Vec<&Past> = std::iter::once(this).chain(past).collect();
    let changes = base.filter(|_| !cases.is_empty()).map(|base| changes(&base.marks, cases, &all));
    Comparison { base: base.map(|base| base.run.clone()), changes, good }
}

/// What changed in these cases of a run since `base`. Which of them are flaky is known from `past`, the runs of the
/// suite, the newest first, this one among them.
pub fn changes(base: &Marks, cases: &[TestCase], past: &[&Past]) -> Changes {
    let now = Marks::of(cases);
    let mut changes = Changes::default();
    for Judged { kind, case, flaky } in judged((base, &now), cases, past) {
        let named = match (flaky, kind) {
            (Some((differed, of)), _) if changes.flaky.len() < NAMES_MAX => {
                changes.flaky.push(Flaky { name: short(&case.name), differed, of });
                continue;
            }
            (Some(_), _) => {
                changes.flaky_more += 1;
                continue;
            }
            (None, Kind::Still) => &mut changes.still,
            (None, Kind::Broke) => &mut changes.new,
            (None, Kind::FailsNew) => &mut changes.unknown,
            (None, Kind::Mended) => &mut changes.fixed,
            (None, Kind::New | Kind::Missing | Kind::Gone | Kind::Flaky) => continue,
        };
        named.add(&case.name);
    }
    let count = |wanted| {
        let left = base
            .0
            .iter()
            .filter(|mark| left_out(Some(status(**mark)), now.get(**mark & !STATUS)) == Some(wanted));
        u32::try_from(left.count()).unwrap_or(u32::MAX)
    };
    (changes.gone, changes.missing) = (count(Kind::Gone), count(Kind::Missing));
    changes
}

/// How a case stands in a run beside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Failed, and passed there.
    Broke,
    /// Failed, and was not run there.
    FailsNew,
    /// Failed, as it did there.
    Still,
    /// Passed, and failed there.
    Mended,
    /// Passed, and was not run there.
    New,
    /// Passed there, and was not run.
    Missing,
    /// Failed there, and was not run, or was expected to fail.
    Gone,
    /// Failed here or there, and comes out as it likes.
    Flaky,
}

/// Every case that differs between two runs, or failed in both, in the order in which they ran: those of the newer one, then
/// those that only `base` had. `past` as in [`changes`].
pub fn beside<'a>(base: &'a [TestCase], cases: &'a [TestCase], past: &[&Past]) -> Vec<(Kind, &'a TestCase)> {
    let (before, now) = (Marks::of(base), Marks::of(cases));
    let of_newer = judged((&before, &now), cases, past);
    let of_newer = of_newer.map(|of| (of.flaky.map_or(of.kind, |_| Kind::Flaky), of.case));
    let mut seen = HashSet::new();
    let of_base = base.iter().take(CASES_MAX).filter_map(|case| {
        let key = key(&case.name);
        let kind = left_out(before.get(key), now.get(key))?;
        seen.insert(key).then_some((kind, case))
    });
    of_newer.chain(of_base).collect()
}

/// A case of a run beside another, which was run in both or failed.
struct Judged<'a> {
    kind: Kind,
    case: &'a TestCase,
    /// How many of its last runs differed, of how many, where it comes out as it likes.
    flaky: Option<(u32, u32)>,
}

/// The cases of a run that tell something beside another's, each once.
fn judged<'a>(
    (base, now): (&Marks, &Marks),
    cases: &'a [TestCase],
    past: &[&Past],
) -> impl Iterator<Item = Judged<'a>> {
    use CaseStatus as S;
    let (mut seen, mut looked) = (HashSet::with_capacity(now.0.len()), 0);
    cases.iter().take(CASES_MAX).filter_map(move |case| {
        let key = key(&case.name);
        let status = now.get(key).filter(|_| seen.insert(key))?;
        let kind = match (status, base.get(key)) {
            (S::Failed, Some(S::Failed)) => Kind::Still,
            (S::Failed, Some(S::Passed | S::ExpectedFailure)) => Kind::Broke,
            (S::Failed, Some(S::Skipped) | None) => Kind::FailsNew,
            (S::Passed, Some(S::Failed)) => Kind::Mended,
            (S::Passed, None) => Kind::New,
            (S::Passed | S::Skipped | S::ExpectedFailure, _) => return None,
        };
        // A case that is new has no past.
        looked += usize::from(kind != Kind::New);
        let is_looked_at = kind != Kind::New && looked <= FLAKY_LOOKED_MAX;
        let flaky = is_looked_at.then(|| results_of(key, past)).and_then(|results| flaky(&results));
        Some(Judged { kind, case, flaky })
    })
}

/// What a case is that ended so there, and here so or not at all, where it tells nothing here.
fn left_out(before: Option<CaseStatus>, now: Option<CaseStatus>) -> Option<Kind> {
    use CaseStatus as S;
    match (before?, now) {
        (S::Passed, Some(S::Skipped) | None) => Some(Kind::Missing),
        (S::Failed, Some(S::Skipped | S::ExpectedFailure) | None) => Some(Kind::Gone),
        _ => None,
    }
}

impl Named {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < NAMES_MAX {
            self.names.push(short(name));
        }
    }
}

fn short(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    format!("{}…", &name[..name.floor_char_boundary(NAME_BYTES_MAX - '…'.len_utf8())])
}

/// A case's results, newest first: of which build, and whether it failed. Where it was not run there is none.
fn results_of<'a>(key: Key, past: &[&'a Past]) -> Vec<(&'a str, bool)> {
    let results = past.iter().filter_map(|past| match past.marks.get(key)? {
        CaseStatus::Failed => Some((&*past.run.build, true)),
        CaseStatus::Passed => Some((&*past.run.build, false)),
        CaseStatus::Skipped | CaseStatus::ExpectedFailure => None,
    });
    results.take(PAST_MAX).collect()
}

/// How many of these results of a case, newest first, differed, and how many they are; `None` where the case is not
/// flaky. One differs when it is not what most runs of its build gave (of as many, the failures do), or not what the
/// build before it gave. The case is flaky when one build gave both, or when it turned from build to build
/// [`TURNS_MIN`] times; and not when its last [`STEADY_RUNS`] agree. Between two builds that each gave the same more than
/// once it has not turned: they differ.
fn flaky(results: &[(&str, bool)]) -> Option<(u32, u32)> {
    if results.len() >= STEADY_RUNS
        && results[..STEADY_RUNS].iter().all(|(_, failed)| *failed == results[0].1)
    {
        return None;
    }
    let mut of_build: HashMap<&str, (usize, usize)> = HashMap::new();
    for (build, failed) in results {
        let (passes, failures) = of_build.entry(build).or_default();
        *(if *failed { failures } else { passes }) += 1;
    }
    let is_odd = |(build, failed): &(&str, bool)| {
        let (passes, failures) = of_build[build];
        if *failed { passes > 0 && failures <= passes } else { failures > passes }
    };
    let is_steady = |build: &str| matches!(of_build[build], (0, 2..) | (2.., 0));
    let turned = |at: usize| {
        let (build, failed) = results[at];
        let other = results.get(at + 1).filter(|(before, did)| *before != build && *did != failed);
        other.is_some_and(|(before, _)| !(is_steady(build) && is_steady(before)))
    };
    let odd = results.iter().any(is_odd);
    let turns = (0..results.len()).filter(|at| turned(*at)).count();
    if !odd && turns < TURNS_MIN {
        return None;
    }
    let differed = (0..results.len()).filter(|at| is_odd(&results[*at]) || turned(*at)).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some((count(differed), count(results.len())))
}

#[cfg(test)]
mod tests;
