//! Rehearsal: every message of a catalogue is filled in with sample facts once, before anybody is to read it. What a
//! folder's template would fail on in the middle of a run is a mistake that is told with its line instead.

use serde_json::{Map, Value as Json};

use super::{BUILTIN, Catalogue, DEFAULT_LOCALE, Note, RenderError, samples};
use crate::board::near::nearest;

/// What a catalogue's messages fail on, as `en/mine.yaml:12: what is wrong`.
pub(super) fn mistakes(catalogue: &Catalogue) -> Vec<String> {
    let samples = samples::all();
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
