//! Sample facts for every message: what the rehearsal fills templates in with, and what whoever writes templates sees them
//! with. They stand beside the built-in messages, which the tests fill in with them as well. Pure.

use serde_json::{Map, Value as Json};

use crate::board::near::nearest;

/// One set of facts for each message, or a list of them.
const SAMPLES: &str = include_str!("../../../message-templates/samples.json");

/// Why there is no sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// There is no such message.
    #[error("there is no message {message}{}", .near.as_ref().map_or(String::new(), |near| format!(": did you mean {near}?")))]
    Message {
        /// What was asked for.
        message: String,
        /// The nearest that there is.
        near: Option<String>,
    },
    /// The message tells of no run, so it has no state.
    #[error("{message} tells of no run: leave the state out")]
    Stateless {
        /// What was asked for.
        message: String,
    },
    /// It is never told in that state.
    #[error("{message} has samples of {}", .states.join(", "))]
    State {
        /// What was asked for.
        message: String,
        /// The states, and the verdicts, that it has samples of.
        states: Vec<String>,
    },
}

/// All of them by the messages' names.
pub(super) fn all() -> Map<String, Json> {
    serde_json::from_str(SAMPLES).expect("the samples are read by every test")
}

/// Every message's name, with the states and verdicts that it has samples of.
pub fn sampled() -> Vec<(String, Vec<String>)> {
    all().into_iter().map(|(name, facts)| (name, states(&sets(facts)))).collect()
}

/// Facts of a message in which the run is in that state, or has ended so; the first where nobody says.
pub fn sample(message: &str, state: Option<&str>) -> Result<Json, NoSample> {
    let mut all = all();
    let message = message.to_owned();
    let Some(facts) = all.remove(&message) else {
        let near = nearest(&message, all.keys().map(String::as_str)).map(str::to_owned);
        return Err(NoSample::Message { message, near });
    };
    let mut sets = sets(facts);
    let Some(state) = state else { return Ok(sets.remove(0)) };
    let states = states(&sets);
    match sets.into_iter().find(|facts| words(facts).any(|word| word == state)) {
        Some(facts) => Ok(facts),
        None if states.is_empty() => Err(NoSample::Stateless { message }),
        None => Err(NoSample::State { message, states }),
    }
}

/// The sets of one message.
fn sets(facts: Json) -> Vec<Json> {
    match facts {
        Json::Array(many) => many,
        one => vec![one],
    }
}

fn states(sets: &[Json]) -> Vec<String> {
    let mut states: Vec<String> = sets.iter().flat_map(words).map(str::to_owned).collect();
    states.sort();
    states.dedup();
    states
}

/// How the run of these facts is, and how it ended.
fn words(facts: &Json) -> impl Iterator<Item = &str> {
    ["verdict", "state"].into_iter().filter_map(|name| facts[name].as_str())
}
