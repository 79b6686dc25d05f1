//! Ids and randomness: the only file that makes either.
//!
//! Ids are UUIDs of version 7, so rows of one table sort by when they were made. Tests use [`Ids::seeded`].

use std::fmt;
use std::sync::{Arc, Mutex};

use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;

/// The process' source of randomness. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Ids(Arc<Mutex<StdRng>>);

impl Ids {
    /// Randomness seeded by the operating system.
    pub fn system() -> Self {
        let rng = StdRng::try_from_rng(&mut SysRng).expect("the operating system gives randomness");
        Ids(Arc::new(Mutex::new(rng)))
    }

    /// The same ids for the same seed, for tests.
    pub fn seeded(seed: u64) -> Self {
        Ids(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A version 7 UUID made at `now`.
    pub fn uuid(&self, now: Timestamp) -> Uuid {
        let millis = (now.as_micros() / 1000).max(0) as u64;
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().expect("id lock").fill(&mut bytes[..]);
        bytes
    }

    /// `n` random lower-case letters, for markers that a console's output must not contain by chance.
    pub fn letters(&self, n: usize) -> String {
        let mut rng = self.0.lock().expect("id lock");
        (0..n).map(|_| char::from(b'a' + rng.random_range(0..26u8))).collect()
    }

    /// A whole number below `end`; 0 when `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.lock().expect("id lock").random_range(0..end) }
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id made at `now`.
            pub fn new(ids: &Ids, now: Timestamp) -> Self {
                Self(ids.uuid(now))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self)
            }
        }
    };
}

id_type! {
    /// A run.
    RunId
}
id_type! {
    /// A lease.
    LeaseId
}
id_type! {
    /// A row of the outbox.
    MessageId
}
id_type! {
    /// One life of one server or worker process.
    InstanceId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        assert_eq!(Ids::seeded(7).uuid(now), Ids::seeded(7).uuid(now));
        assert_eq!(Ids::seeded(7).uuid(now).get_version_num(), 7);
    }

    #[test]
    fn letters_are_letters() {
        let word = Ids::seeded(1).letters(10);
        assert!(word.len() == 10 && word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
    }
}
