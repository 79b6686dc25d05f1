//! SHA-256 of artifacts, each computed once per version. A bounded number is remembered; nothing is written anywhere.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::{Artifact, Version};

/// Most digests that are remembered; with one more, all are forgotten but that one.
const KNOWN_MAX: usize = 4096;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 128 * 1024;

/// What was computed.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: Mutex<HashMap<PathBuf, (Version, [u8; 32])>>,
}

impl Digests {
    fn table(&self) -> MutexGuard<'_, HashMap<PathBuf, (Version, [u8; 32])>> {
        self.known.lock().expect("nobody panics with the digests' lock")
    }

    pub(super) fn known(&self, version: &Version) -> Option<[u8; 32]> {
        let table = self.table();
        table.get(&version.path).filter(|(known, _)| known == version).map(|(_, digest)| *digest)
    }

    pub(super) async fn of(&self, artifact: Artifact) -> std::io::Result<[u8; 32]> {
        let Artifact { mut file, version } = artifact;
        if let Some(digest) = self.known(&version) {
            return Ok(digest);
        }
        let (mut sum, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
        loop {
            let count = file.read(&mut piece).await?;
            if count == 0 {
                break;
            }
            sum.update(&piece[..count]);
        }
        let digest = sum.finalize().into();
        self.remember(version, digest);
        Ok(digest)
    }

    fn remember(&self, version: Version, digest: [u8; 32]) {
        let mut table = self.table();
        if table.len() >= KNOWN_MAX && !table.contains_key(&version.path) {
            table.clear();
        }
        table.insert(version.path.clone(), (version, digest));
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_bounded_number_is_remembered() {
        let version =
            |n: usize| Version { path: n.to_string().into(), bytes: 1, modified: SystemTime::UNIX_EPOCH };
        let digests = Digests::default();
        (0..KNOWN_MAX).for_each(|n| digests.remember(version(n), [1; 32]));
        assert_eq!((digests.known(&version(0)), digests.table().len()), (Some([1; 32]), KNOWN_MAX));
        digests.remember(version(KNOWN_MAX), [2; 32]);
        assert_eq!((digests.known(&version(0)), digests.known(&version(KNOWN_MAX))), (None, Some([2; 32])));
    }
}
