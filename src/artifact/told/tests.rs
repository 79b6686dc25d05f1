//! Tests of files of builds, fetched from a server on this machine.

use std::sync::atomic::AtomicU32;

use axum::Router;
use axum::extract::Path as Name;
use axum::routing::get;

use super::*;
use crate::artifact::Artifacts;
use crate::build::told_path;

/// A server that gives every name as a file which says the name four times, and counts what it was asked.
async fn server() -> (String, Vec<HostRule>, Arc<AtomicU32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let asked = Arc::<AtomicU32>::default();
    let count = asked.clone();
    let give = move |Name(name): Name<String>| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { name.repeat(4) }
    };
    let router = Router::new().route("/{name}", get(give));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let hosts = vec![HostRule::parse(&url).expect("a host")];
    (url, hosts, asked)
}

fn wanted(url: &str, name: &str) -> Wanted {
    let text = name.repeat(4);
    let sha256 = hex::encode(Sha256::digest(&text));
    Wanted { url: format!("{url}/{name}"), sha256, size: Some(text.len() as u64) }
}

/// Two hours from now: files that are written now were not used for long.
fn later() -> Clock {
    Clock::manual(Clock::system().now() + Duration::from_secs(7_200)).0
}

async fn bring(artifacts: &Artifacts, wanted: &Wanted, hosts: &[HostRule]) -> Result<Held, String> {
    artifacts.bring(wanted, hosts, &mut |_, _| {}).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_nobody_used_for_longest_goes_and_what_is_held_stays() {
    let (url, hosts, asked) = server().await;
    let dir = tempfile::tempdir().expect("a folder");
    let artifacts = Artifacts::folder(dir.path()).with_builds(dir.path().join("told"), 40, later());
    let [first, second, third] = ["aaaa", "bbbb", "cccc"].map(|name| wanted(&url, name));
    drop(bring(&artifacts, &first, &hosts).await.expect("a file"));
    let held = bring(&artifacts, &second, &hosts).await.expect("both fit");
    drop(bring(&artifacts, &first, &hosts).await.expect("it is here"));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let other = bring(&artifacts, &third, &hosts).await.expect("the first one goes");
    let here = |wanted: &Wanted| dir.path().join("told/whole").join(&wanted.sha256).exists();
    assert_eq!([&first, &second, &third].map(here), [false, true, true]);
    let no_room =
        "it has 16 bytes or more, and with what is in use here that is more than files of builds may take";
    assert_eq!(bring(&artifacts, &first, &hosts).await.err().as_deref(), Some(no_room));
    drop((held, other));
    assert!(bring(&artifacts, &first, &hosts).await.is_ok());
    let large = Wanted { size: Some(41), ..wanted(&url, "dddd") };
    let says = "it has 16 bytes, and 41 were told";
    assert_eq!(bring(&artifacts, &large, &hosts).await.err().as_deref(), Some(says));
    let larger = wanted(&url, "eeeeeeeeeee");
    assert!(bring(&artifacts, &larger, &hosts).await.is_err_and(|error| error.contains("44 bytes")));
    assert_eq!(*artifacts.told.as_ref().expect("a folder").taken(), 0, "all room is given back");
}

#[tokio::test]
async fn a_restart_trusts_no_half_file_and_fetches_it_again() {
    let (url, hosts, asked) = server().await;
    let dir = tempfile::tempdir().expect("a folder");
    let told = dir.path().join("told");
    let start = || Artifacts::folder(dir.path()).with_builds(&told, 1_000, Clock::system());
    let file = wanted(&url, "abcd");
    let path = told_path(&file.sha256, "test.bin");
    assert!(bring(&start(), &file, &hosts).await.is_ok());
    let artifacts = start();
    assert_eq!(artifacts.read(&path, 100).await.expect("it is whole"), b"abcdabcdabcdabcd");
    assert!(bring(&artifacts, &file, &hosts).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // Somebody, or a disk, made half a file of it, and a process died while another one came.
    std::fs::write(told.join("whole").join(&file.sha256), "abcdabcd").expect("written");
    std::fs::write(told.join("coming/left"), "x").expect("written");
    let artifacts = start();
    assert!(matches!(artifacts.open(&path).await, Err(crate::artifact::ArtifactError::Missing { .. })));
    assert!(bring(&artifacts, &file, &hosts).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(artifacts.read(&path, 100).await.expect("it is whole"), b"abcdabcdabcdabcd");
    assert!(!told.join("coming/left").exists());
    // No other name leads there.
    for other in
        [path.replace("test.bin", "test.bin.sha256"), path.replace(".builds", "builds"), format!("{path}/x")]
    {
        assert!(artifacts.open(&other).await.is_err(), "{other}");
    }
}

#[tokio::test]
async fn many_who_want_one_file_wait_for_one_fetch() {
    let (url, hosts, asked) = server().await;
    let dir = tempfile::tempdir().expect("a folder");
    let artifacts =
        Artifacts::folder(dir.path()).with_builds(dir.path().join("told"), 1_000, Clock::system());
    let file = wanted(&url, "abcd");
    let all = futures_util::future::join_all((0..20).map(|_| bring(&artifacts, &file, &hosts))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let other = Wanted { sha256: "0".repeat(64), ..file.clone() };
    let says = format!("its SHA-256 is {}, and {} was told", file.sha256, other.sha256);
    assert_eq!(bring(&artifacts, &other, &hosts).await.err(), Some(says));
    // What is here already is held against what is told now, size and all.
    let longer = Wanted { size: Some(17), ..file.clone() };
    assert_eq!(
        bring(&artifacts, &longer, &hosts).await.err().as_deref(),
        Some("it has 16 bytes, and 17 were told")
    );
    let unlisted = [HostRule::parse("ci.example.com").expect("a host")];
    let file = wanted(&url, "wxyz");
    let says = format!("{url} is at no host that artifact_hosts in boards.yaml lists");
    assert_eq!(bring(&artifacts, &file, &unlisted).await.err(), Some(says));
}

#[tokio::test]
async fn a_host_that_hangs_takes_no_place_of_the_others() {
    // It takes every request and answers none.
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let hangs = format!("http://{}", slow.local_addr().expect("address"));
    let (url, mut hosts, _) = server().await;
    hosts.push(HostRule::parse(&hangs).expect("a host"));
    let dir = tempfile::tempdir().expect("a folder");
    let artifacts =
        Artifacts::folder(dir.path()).with_builds(dir.path().join("told"), 1_000, Clock::system());
    let files = ["aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff"].map(|name| wanted(&hangs, name));
    let hanging = futures_util::future::join_all(files.iter().map(|file| bring(&artifacts, file, &hosts)));
    let good = wanted(&url, "gggg");
    let both = async {
        tokio::select! {
            biased;
            _ = hanging => panic!("a host that says nothing gave a file"),
            brought = bring(&artifacts, &good, &hosts) => assert!(brought.is_ok(), "{brought:?}"),
        }
    };
    // Those that hang give their places back after half a minute, and that would be too late.
    Clock::system().timeout(Duration::from_secs(10), both).await.expect("the other host's file comes");
}
