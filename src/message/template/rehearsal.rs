//! Rehearsal: every message of a catalogue is filled in with sample facts once, before anybody is to read it. What a
//! folder's template would fail on in the middle of a run is a mistake that is told with its line instead.

use serde_json::{Map, Value as Json};

use super::{BUILTIN, Catalogue, DEFAULT_LOCALE, Note, RenderError};
use crate::board::near::nearest;

/// Facts for every message: one set, or a list of them. They stand beside the built-in messages, which the tests fill in
/// with them as well.
const SAMPLES: &str = include_str!("../../../message-templates/samples.json");

/// What a catalogue's messages fail on, as `en/mine.yaml:12: what is wrong`.
pub(super) fn mistakes(catalogue: &Catalogue) -> Vec<String> {
    let samples: Map<String, Json> =
        serde_json::from_str(SAMPLES).expect("the samples are read by every test");
    let mut mistakes = Vec::new();
    for (locale, messages) in &catalogue.locales {
        for (name, message) in &messages.messages {
            let Some(facts) = samples.get(name) else {
                mistakes.push(unknown(&message.summary.place(), name, &samples));
                continue;
            };
            let variants = facts.as_array().map_or(std::slice::from_ref(facts), Vec::as_slice);
            let failed = variants.iter().find_map(|facts| {
                let note = Note::new(name.as_str(), facts.clone());
                catalogue.try_render(locale, &note).err()
            });
            mistakes.extend(failed.map(|error| said(&error)));
        }
    }
    mistakes
}

/// The sample facts of a message; none for one that there is not, with the nearest that there is.
pub(super) fn samples(name: &str) -> Result<Vec<Json>, Option<String>> {
    let mut samples: Map<String, Json> =
        serde_json::from_str(SAMPLES).expect("the samples are read by every test");
    match samples.remove(name) {
        Some(Json::Array(many)) => Ok(many),
        Some(one) => Ok(vec![one]),
        None => Err(nearest(name, samples.keys().map(String::as_str)).map(str::to_owned)),
    }
}

/// A message that nothing ever asks for.
fn unknown(place: &str, name: &str, samples: &Map<String, Json>) -> String {
    let near = nearest(name, samples.keys().map(String::as_str));
    let near = near.map_or_else(
        || format!("the built-in ones stand in {}", builtin_files().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    format!("{place}: there is no message `{name}`: {near}")
}

fn builtin_files() -> Vec<&'static str> {
    let default = BUILTIN.iter().filter(|(locale, ..)| *locale == DEFAULT_LOCALE);
    default.map(|(_, file, _)| *file).collect()
}

fn said(error: &RenderError) -> String {
    match error {
        RenderError::Failed { place, source } => {
            format!("{place}: {}", source.detail().map_or_else(|| source.kind().to_string(), str::to_owned))
        }
        RenderError::Unknown | RenderError::Tone { .. } => error.to_string(),
    }
}
