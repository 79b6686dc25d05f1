//! A model checker: every state that a protocol can reach, the nearest first, each looked at once. It finds the shortest way
//! to a state that must not be, and states from which what must come in the end never can. Nothing here knows a protocol.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// A protocol among servers, messages and time.
pub(super) trait Model {
    /// Everything that is kept anywhere, and every message under way.
    type State: Clone + Eq + Hash + Debug;

    /// How it begins.
    fn begin(&self) -> Self::State;

    /// Everything that may happen next: what it is called, and what is then.
    fn next(&self, state: &Self::State, then: &mut Vec<(&'static str, Self::State)>);

    /// What must never be, where this state is so.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;

    /// Whether everything is as it must be in the end; from every state some such state must be within reach.
    fn is_well(&self, state: &Self::State) -> bool;
}

/// What was found where nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) steps: usize,
}

/// A way to a state that must not be.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) what: &'static str,
    /// What happened, from the begin on.
    pub(super) steps: Vec<&'static str>,
    /// The state, for people.
    pub(super) state: String,
}

impl Broken {
    /// The way, a line a step.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("{}, after {} steps:\n", self.what, self.steps.len());
        for (nth, step) in (1..).zip(&self.steps) {
            let _ = writeln!(shown, "  {nth:>2}. {step}");
        }
        shown + "  " + &self.state
    }
}

/// What from some state on can never be made well.
pub(super) const STUCK: &str = "what must come in the end never can";

/// Looks at every state; panics where there are more than `most`.
pub(super) fn explore<M: Model>(model: &M, most: usize) -> Result<Explored, Broken> {
    let begin = model.begin();
    let mut states = vec![begin.clone()];
    let mut known = HashMap::from([(begin, 0_usize)]);
    let mut came_by: Vec<(usize, &'static str)> = vec![(0, "")];
    let mut back: Vec<(u32, u32)> = Vec::new();
    let mut then = Vec::new();
    let mut at = 0;
    while at < states.len() {
        let state = states[at].clone();
        if let Some(what) = model.broken(&state) {
            return Err(way(&states, &came_by, at, what));
        }
        model.next(&state, &mut then);
        for (step, next) in then.drain(..) {
            let fresh = states.len();
            let to = *known.entry(next.clone()).or_insert(fresh);
            if to == fresh {
                assert!(fresh < most, "more than {most} states");
                states.push(next);
                came_by.push((at, step));
            }
            back.push((small(to), small(at)));
        }
        at += 1;
    }
    match stuck(model, &states, back.clone()) {
        Some(at) => Err(way(&states, &came_by, at, STUCK)),
        None => Ok(Explored { states: states.len(), steps: back.len() }),
    }
}

fn small(n: usize) -> u32 {
    u32::try_from(n).expect("few states")
}

/// The nearest state from which no good one can be reached: those that can are found backwards.
fn stuck<M: Model>(model: &M, states: &[M::State], mut back: Vec<(u32, u32)>) -> Option<usize> {
    back.sort_unstable();
    let mut reaches: Vec<bool> = states.iter().map(|state| model.is_well(state)).collect();
    let mut open: Vec<usize> = (0..states.len()).filter(|at| reaches[*at]).collect();
    while let Some(at) = open.pop() {
        let first = back.partition_point(|(to, _)| (*to as usize) < at);
        for (_, from) in back[first..].iter().take_while(|(to, _)| *to as usize == at) {
            if !std::mem::replace(&mut reaches[*from as usize], true) {
                open.push(*from as usize);
            }
        }
    }
    reaches.iter().position(|reaches| !reaches)
}

fn way<S: Debug>(states: &[S], came_by: &[(usize, &'static str)], at: usize, what: &'static str) -> Broken {
    let mut steps = Vec::new();
    let mut here = at;
    while here != 0 {
        let (before, step) = came_by[here];
        steps.push(step);
        here = before;
    }
    steps.reverse();
    Broken { what, steps, state: format!("{:?}", states[at]) }
}
