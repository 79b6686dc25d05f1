//! Links to cards: where a message names a run, its number leads to the run's card, on platforms that give messages an
//! address. What no address is known of is a number like any other; nobody waits for one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names::spans;
use super::{Card, Span};
use crate::chat::Place;
use crate::store::{CardLink, Store};

/// Most runs of one message whose cards are looked up.
const RUNS_MAX: usize = 100;

/// Knows where cards stand. Cheap to clone.
#[derive(Clone)]
pub struct Permalinks(Arc<dyn Store>);

impl Permalinks {
    /// Those that this store has.
    pub fn new(store: Arc<dyn Store>) -> Permalinks {
        Permalinks(store)
    }

    /// Puts links to the cards of the runs that a card names into it: to the one in its own channel, else to another one
    /// of its platform.
    pub async fn fill(&self, card: &mut Card, place: &Place) {
        let named: BTreeSet<i64> = spans(card).filter_map(|span| number(span)).take(RUNS_MAX).collect();
        if named.is_empty() {
            return;
        }
        let named: Vec<i64> = named.into_iter().collect();
        let known = match self.0.card_links(&named, place.platform).await {
            Ok(known) => known,
            // It is said without links, then.
            Err(error) => return tracing::warn!(%error, "a message names runs without links to their cards"),
        };
        for span in spans(card) {
            if let Span::Run(run) = span {
                let mut of_it = known.iter().filter(|link| link.run == run.number);
                let near = of_it.clone().find(|link| link.channel == place.channel);
                run.url = near.or_else(|| of_it.next()).map(|CardLink { url, .. }| url.clone());
            }
        }
    }
}

fn number(span: &Span) -> Option<i64> {
    match span {
        Span::Run(run) => Some(run.number),
        _ => None,
    }
}
