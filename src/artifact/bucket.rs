//! Artifacts in an S3-compatible store. An object is brought into a folder of this machine once per version: a piece at a
//! time, under another name until the whole of it is proved, by its size and by the SHA-256 that whoever stored it may
//! have left beside it. From there it is a file like any other. Nothing is ever written to the store.

use std::collections::HashMap;
use std::fs::FileTimes;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{Attribute, ClientOptions, GetResult, ObjectMeta, ObjectStoreExt, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::ArtifactError;
use super::tidy;
use crate::clock::Timestamp;

/// Most objects that are brought at once.
const COMING_MAX: usize = 4;
/// How long the store may take to be reached, and then for each piece.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// How often a request is tried again, and for how long.
const RETRIES_MAX: usize = 3;
const RETRIES_WITHIN: Duration = Duration::from_secs(60);
/// The user's metadata of an object that says its SHA-256 in hex: `x-amz-meta-sha256`.
const SUM: &str = "sha256";

/// Where the store is, and who asks.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    /// The bucket.
    pub bucket: String,
    /// What every name begins with there, without slashes around it; may be empty.
    pub prefix: String,
    /// The store's address; Amazon's when absent.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Who asks.
    pub key_id: String,
    /// Proves it.
    pub secret: SecretString,
}

/// A bucket whose objects are brought here.
pub struct Bucket {
    store: AmazonS3,
    prefix: String,
    shown: String,
    coming: PathBuf,
    bytes_max: u64,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    places: Semaphore,
}

/// Why an object did not come.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("{got} of {bytes} bytes came")]
    Short { got: u64, bytes: u64 },
    #[error("its SHA-256 is not the one that was stored with it")]
    Sum,
    #[error("it has {bytes} bytes, and with what is needed here already that is more than MAX_DISK_USAGE_GB")]
    NoRoom { bytes: u64 },
    #[error("{0:?} cannot name an object")]
    Name(String),
}

impl Bucket {
    /// A bucket whose objects come by way of the folder `coming`, and take at most `bytes_max` bytes here.
    pub fn new(settings: &BucketSettings, coming: PathBuf, bytes_max: u64) -> Result<Bucket, String> {
        crate::net::choose_cryptography();
        let http = settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new()
            .with_allow_http(http)
            .with_connect_timeout(CONNECT_WITHIN)
            .with_read_timeout(PIECE_WITHIN)
            .with_timeout_disabled();
        let retry =
            RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRIES_WITHIN, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.key_id)
            .with_secret_access_key(settings.secret.expose_secret())
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Bucket {
            store: builder.build().map_err(|error| error.to_string())?,
            prefix: settings.prefix.clone(),
            shown: format!("s3://{}/{}", settings.bucket, settings.prefix),
            coming,
            bytes_max,
            turns: Mutex::default(),
            places: Semaphore::new(COMING_MAX),
        })
    }

    /// Has the newest version of an object in the folder. `name` leads nowhere else.
    pub(super) async fn bring(&self, folder: &Path, name: &str, now: Timestamp) -> Result<(), ArtifactError> {
        let turn = self.turn(name);
        let brought = {
            let _turn = turn.lock().await;
            self.bring_in_turn(folder, name, now).await
        };
        drop(turn);
        self.turns
            .lock()
            .expect("nobody panics with this lock")
            .retain(|_, turn| Arc::strong_count(turn) > 1);
        brought.map_err(|error| match error {
            Broken::Store(object_store::Error::NotFound { .. }) => {
                ArtifactError::Missing { name: name.to_owned(), folder: self.shown.clone().into() }
            }
            error => {
                ArtifactError::Unreadable { name: name.to_owned(), source: std::io::Error::other(error) }
            }
        })
    }

    /// Who wants the same object waits for whoever brings it.
    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().expect("nobody panics with this lock");
        turns.entry(name.to_owned()).or_default().clone()
    }

    async fn bring_in_turn(&self, folder: &Path, name: &str, now: Timestamp) -> Result<(), Broken> {
        let whole = [self.prefix.as_str(), name].join("/");
        let key = Key::parse(&whole).map_err(|_| Broken::Name(name.to_owned()))?;
        let (meta, path) = (self.store.head(&key).await?, folder.join(name));
        if is_copy(&path, &meta) {
            return Ok(());
        }
        let Ok(_place) = self.places.acquire().await else { return Err(Broken::Name(name.to_owned())) };
        self.make_room(folder, meta.size, now).await?;
        tokio::fs::create_dir_all(&self.coming).await?;
        let part = self.coming.join(hex::encode(Sha256::digest(name)));
        let brought = bring_whole(self.store.get(&key).await?, &part).await;
        if let Err(error) = brought {
            // What is left of it is written over by the next try.
            let _ = tokio::fs::remove_file(&part).await;
            return Err(error);
        }
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        Ok(tokio::fs::rename(&part, &path).await?)
    }

    /// Makes room for so many bytes, by what nobody used for longest.
    async fn make_room(&self, folder: &Path, bytes: u64, now: Timestamp) -> Result<(), Broken> {
        let (root, most) = (folder.to_owned(), self.bytes_max.saturating_sub(bytes));
        let left = tokio::task::spawn_blocking(move || {
            let choice = tidy::choose(tidy::list(&root), |_| false, Duration::MAX, most, now);
            tidy::remove(&root, choice.gone);
            choice.left
        });
        if bytes > self.bytes_max || left.await.unwrap_or(u64::MAX) > most {
            Err(Broken::NoRoom { bytes })
        } else {
            Ok(())
        }
    }
}

/// Whether a file is the version of an object.
fn is_copy(path: &Path, meta: &ObjectMeta) -> bool {
    let same = |data: std::fs::Metadata| {
        data.is_file() && data.len() == meta.size && data.modified().is_ok_and(|at| at == modified(meta))
    };
    path.symlink_metadata().is_ok_and(same)
}

fn modified(meta: &ObjectMeta) -> SystemTime {
    tidy::system_time(Timestamp::from_micros(meta.last_modified.timestamp_micros()))
}

/// Writes an object to a file, and proves it.
async fn bring_whole(object: GetResult, path: &Path) -> Result<(), Broken> {
    let (bytes, modified) = (object.meta.size, modified(&object.meta));
    let sum = object.attributes.get(&Attribute::Metadata(SUM.into())).map(|value| value.to_ascii_lowercase());
    let mut file = tokio::fs::File::create(path).await?;
    let (mut got, mut proof) = (0, Sha256::new());
    let mut pieces = object.into_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        got += piece.len() as u64;
        proof.update(&piece);
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    if got != bytes {
        return Err(Broken::Short { got, bytes });
    }
    if sum.is_some_and(|sum| sum != hex::encode(proof.finalize())) {
        return Err(Broken::Sum);
    }
    let file = file.into_std().await;
    file.sync_all()?;
    Ok(file.set_times(FileTimes::new().set_modified(modified))?)
}
