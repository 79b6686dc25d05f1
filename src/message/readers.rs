//! Languages of readers: what one person alone reads is in their own, where their platform tells it. It is asked for when
//! somebody is met, beside everything else, and remembered; until it is known, and where it is none that is spoken here,
//! they are told in the language of the place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::chat::{ChatApi, NotTold, Platform};
use crate::clock::{Clock, Timestamp};

/// Most readers who are remembered; beyond it all are forgotten, and asked for anew.
pub const READERS_MAX: usize = 10_000;
/// How long an answer may take.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How soon somebody is asked for again whose language was told, and where it was not.
pub const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600);
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Languages that are spoken here.
const SPOKEN: [&str; 2] = ["en", "zh"];

/// What is known of people's languages. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Readers(Arc<Mutex<HashMap<(Platform, String), Known>>>);

/// What is known of one.
#[derive(Clone, Copy)]
struct Known {
    language: Option<&'static str>,
    /// Nobody asks again before.
    until: Timestamp,
}

impl Readers {
    /// The language that somebody reads, where it is known and spoken here.
    pub fn language(&self, platform: Platform, id: &str) -> Option<&'static str> {
        self.0.lock().expect("readers lock").get(&(platform, id.to_owned()))?.language
    }

    /// Somebody is met: asks their platform for their language, where that was not asked of late. Nobody waits for it.
    pub fn meet(&self, api: &Arc<dyn ChatApi>, platform: Platform, id: &str, clock: &Clock) {
        let key = (platform, id.to_owned());
        {
            let (mut readers, now) = (self.0.lock().expect("readers lock"), clock.now());
            if readers.get(&key).is_some_and(|known| known.until > now) {
                return;
            }
            if readers.len() >= READERS_MAX {
                readers.clear();
            }
            // What was known counts until another answer has come.
            let language = readers.get(&key).and_then(|known| known.language);
            readers.insert(key.clone(), Known { language, until: now + AGAIN_AFTER });
        }
        let (readers, api, clock) = (self.clone(), api.clone(), clock.clone());
        tokio::spawn(async move {
            let told = clock.timeout(ASK_WITHIN, api.locale_of(&key.1)).await;
            let (mut readers, now) = (readers.0.lock().expect("readers lock"), clock.now());
            match told {
                Ok(Ok(Some(locale))) => {
                    readers.insert(key, Known { language: spoken(&locale), until: now + KNOWN_FOR });
                }
                // Sooner than of whom it does not tell.
                Ok(Err(NotTold::NotNow(pause))) => {
                    if let Some(known) = readers.get_mut(&key) {
                        known.until = known.until.min(now + pause);
                    }
                }
                Ok(Ok(None) | Err(_)) | Err(_) => {}
            }
        });
    }
}

/// The language of a locale such as `zh-CN`.
fn spoken(locale: &str) -> Option<&'static str> {
    let language = locale.split(['-', '_']).next().unwrap_or_default();
    SPOKEN.into_iter().find(|spoken| language.eq_ignore_ascii_case(spoken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_of_a_language_that_is_spoken_here_or_of_none() {
        for (locale, expect) in [
            ("zh-CN", Some("zh")),
            ("zh_TW", Some("zh")),
            ("en-GB", Some("en")),
            ("EN", Some("en")),
            ("ja-JP", None),
            ("zhx-CN", None),
            ("", None),
        ] {
            assert_eq!(spoken(locale), expect, "{locale}");
        }
    }
}
