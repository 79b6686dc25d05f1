//! Whether any board of the lab could ever serve a run: one that none could is refused when it is asked for, with
//! what comes near. Pure, over the inventory; whether boards are free or in service plays no part.

use std::collections::{BTreeMap, BTreeSet};

use crate::board::{Board, BoardId, Family, Inventory, NAME_BYTES_MAX, Site};
use crate::run::RunSpec;

/// Most near matches in one answer.
pub const NEAR_MAX: usize = 3;
/// How alike a near match is at least (Jaro-Winkler, 0 to 1).
const NEAR_ENOUGH: f64 = 0.75;

/// Whether a board of the lab could serve a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CouldServe {
    /// One could, or as many as it wants at one site.
    Yes,
    /// None ever could, and which part of what was asked for excludes them.
    No(Misfit),
}

/// Which part of what was asked for no board meets. `near` are values of the lab that look alike, best first, at most
/// [`NEAR_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// No board is of this family.
    Family {
        /// Families that look alike.
        near: Vec<String>,
    },
    /// No board has this name.
    Board {
        /// Boards of the family that look alike.
        near: Vec<String>,
    },
    /// The board is of another family.
    OtherFamily {
        /// The board's family.
        family: Family,
    },
    /// No board of the family, or not the board that was named, is of this revision.
    Revision {
        /// Revisions that look alike.
        near: Vec<String>,
    },
    /// No board of the family, or not the board that was named, has this tag.
    Tag {
        /// The tag's key.
        key: String,
        /// The value asked for.
        value: String,
        /// Values of that key that look alike; if there are none of that key, keys.
        near: Vec<String>,
    },
    /// Each part fits some board, all together fit none.
    Together,
    /// No site has as many boards that fit.
    TooFew {
        /// How many were asked for.
        wanted: u32,
        /// The most that one site has.
        most: u32,
    },
}

/// Whether a board of the lab could serve a run, and if not, which part of the request excludes them.
pub fn could_serve(spec: &RunSpec, inventory: &Inventory) -> CouldServe {
    match misfit(spec, inventory) {
        Some(misfit) => CouldServe::No(misfit),
        None => CouldServe::Yes,
    }
}

fn misfit(spec: &RunSpec, inventory: &Inventory) -> Option<Misfit> {
    let mut boards: Vec<&Board> = inventory.boards_of(&spec.family).collect();
    if boards.is_empty() {
        let families: BTreeSet<&str> = inventory.boards.values().map(|board| board.family.as_str()).collect();
        return Some(Misfit::Family { near: near(spec.family.as_str(), families) });
    }
    if let Some(id) = &spec.selector.board {
        if let Some(misfit) = board_misfit(id, spec, inventory, &boards) {
            return Some(misfit);
        }
        boards.retain(|board| board.id == *id);
    }
    if let Some(revision) = &spec.selector.revision
        && !boards.iter().any(|board| board.revision.as_ref() == Some(revision))
    {
        let known: BTreeSet<&str> = boards.iter().filter_map(|board| board.revision.as_deref()).collect();
        return Some(Misfit::Revision { near: near(revision, known) });
    }
    for (key, value) in &spec.selector.tags {
        if !boards.iter().any(|board| board.tags.get(key) == Some(value)) {
            return Some(tag_misfit(key, value, &boards));
        }
    }
    let fits = |board: &&&Board| {
        let tags = &spec.selector.tags;
        spec.selector.revision.as_ref().is_none_or(|revision| board.revision.as_ref() == Some(revision))
            && tags.iter().all(|(key, value)| board.tags.get(key) == Some(value))
    };
    let mut sites: BTreeMap<&Site, u32> = BTreeMap::new();
    for board in boards.iter().filter(fits) {
        *sites.entry(&board.site).or_default() += 1;
    }
    match sites.values().copied().max() {
        None => Some(Misfit::Together),
        Some(most) if most < spec.boards => Some(Misfit::TooFew { wanted: spec.boards, most }),
        Some(_) => None,
    }
}

fn board_misfit(id: &BoardId, spec: &RunSpec, inventory: &Inventory, family: &[&Board]) -> Option<Misfit> {
    match inventory.boards.get(id) {
        None => Some(Misfit::Board { near: near(id.as_str(), family.iter().map(|board| board.id.as_str())) }),
        Some(board) if board.family != spec.family => {
            Some(Misfit::OtherFamily { family: board.family.clone() })
        }
        Some(_) => None,
    }
}

fn tag_misfit(key: &str, value: &str, boards: &[&Board]) -> Misfit {
    let values: BTreeSet<&str> =
        boards.iter().filter_map(|board| board.tags.get(key)).map(String::as_str).collect();
    let near = if values.is_empty() {
        near(
            key,
            boards.iter().flat_map(|board| board.tags.keys()).map(String::as_str).collect::<BTreeSet<_>>(),
        )
    } else {
        near(value, values)
    };
    Misfit::Tag { key: key.to_owned(), value: value.to_owned(), near }
}

/// Known names that look like `asked`, best first.
fn near<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // Comparing costs the product of both lengths, and `asked` is whatever somebody typed.
    let asked = asked[..asked.floor_char_boundary(NAME_BYTES_MAX)].to_lowercase();
    let alike = |name: &'a str| (strsim::jaro_winkler(&asked, &name.to_lowercase()), name);
    let mut near: Vec<(f64, &str)> =
        known.into_iter().map(alike).filter(|(alike, _)| *alike >= NEAR_ENOUGH).collect();
    near.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
    near.truncate(NEAR_MAX);
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}
