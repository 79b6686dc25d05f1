//! Artifacts over HTTP, fetched as boards do: by the programs that boards have, with the address that their plan names,
//! while their attempt goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use boardhand::console::transcript;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::lab::{Lab, lab, yaml};

/// Most files that are on their way at once.
const DOWNLOADS_MAX: usize = 128;

/// What a board's programs do with the address of its artifacts (`$1`), in a folder of the test (`$2`).
const FETCH: &str = r#"#!/bin/sh
set -eux
url=$1/build-7/test.bin
cd "$2"
printf '%s' "$1" >address
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
head() { curl -sI "$@" | tr -d '\r'; }

curl -sf -o by-curl "$url"
cmp by-curl artifacts/build-7/test.bin
busybox wget -q -O by-busybox "$url"
cmp by-busybox by-curl
wget -q -O by-wget "$url"
cmp by-wget by-curl

# A download that broke off goes on where it was.
dd if=by-curl of=rest bs=1000 count=700 2>/dev/null
curl -sf -C - -o rest "$url"
cmp rest by-curl
dd if=by-curl of=rest bs=1000 count=700 2>/dev/null
wget -q -c -O rest "$url"
cmp rest by-curl
[ "$(curl -sf -r 0-3 "$url")" = head ]
[ "$(curl -sf -r -4 "$url")" = tail ]
[ "$(status -r 99999999- "$url")" = 416 ]

# A file is told apart from one that was written again.
tag=$(head "$url" | sed -n 's/^etag: //p')
[ "$(status -H "If-None-Match: $tag" "$url")" = 304 ]
[ "$(status -H "If-Range: $tag" -r 0-3 "$url")" = 206 ]
[ "$(status -H 'If-Range: "other"' -r 0-3 "$url")" = 200 ]

# A file is proved.
head "$url" | grep -qx "content-length: $(wc -c <by-curl)"
head "$url" | grep -qx "repr-digest: sha-256=:$(openssl dgst -sha256 -binary by-curl | base64):"
mv by-busybox test.bin
busybox wget -q -O sum "$url.sha256"
busybox sha256sum -c sum

# Nothing else is there.
[ "$(status "$1/build-7")" = 404 ]
[ "$(status "$1/build-8/test.bin")" = 404 ]
[ "$(status "$1/build-8/test.bin.sha256")" = 404 ]
[ "$(status --path-as-is "$1/../../boardhand.db")" = 404 ]
[ "$(status "$1/..%2fboardhand.db")" = 404 ]
[ "$(status "$1/build-7/link")" = 404 ]
[ "$(status "$1/build-7/link.sha256")" = 404 ]
[ "$(status "$1x/build-7/test.bin")" = 404 ]
[ "$(status -X POST "$url")" = 405 ]
: >"done"
while [ ! -e go-on ]; do sleep 0.05; done
"#;

/// A lab of one board whose plan runs a program beside it, with the address of its artifacts and a folder.
fn plan(program: &Path, folder: &Path) -> String {
    let text = yaml::families(&[("socA", 1, "unused")]);
    let boards = text.split("plans:\n").next().expect("boards");
    format!(
        "host_programs: {{fetch: {}}}\n{boards}plans:\n  unused:\n    retry: {{infra: 0}}\n    boot: [{{power: cycle}}, {{login: \
         {{within: 20s}}}}]\n    deploy:\n      - host: {{run: [fetch, '{{{{ artifacts.url }}}}', {}], within: 60s}}\n    test: \
         [{{name: uname, run: 'uname -a', within: 5s}}]\n",
        program.display(),
        folder.display()
    )
}

/// The end of a run's log.
pub(crate) fn log_of(lab: &Lab, run: i64) -> String {
    let path = lab.data.path().join(format!("transcripts/{run}/1/console"));
    let log = transcript::render(&path, 0, 1_000_000).expect("a transcript").text;
    log.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect()
}

/// Starts a run that does this beside its board, and waits until it has come to the point where it waits for `go-on`.
pub(crate) async fn fetching(script: &str, test: impl AsyncFnOnce(&mut Lab, &Path, i64)) {
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("fetch");
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    lab(&plan(&program, dir.path()), async |lab| {
        let build = lab.data.path().join("artifacts/build-7");
        std::fs::create_dir_all(&build).expect("a folder");
        let middle: String = (0..300_000).map(|n| format!("{n:010}")).collect();
        std::fs::write(build.join("test.bin"), format!("head{middle}tail")).expect("a file");
        std::fs::File::create(build.join("large")).and_then(|f| f.set_len(64 << 20)).expect("a file");
        std::os::unix::fs::symlink(lab.data.path().join("boardhand.db"), build.join("link")).expect("a link");
        std::os::unix::fs::symlink(lab.data.path().join("artifacts"), dir.path().join("artifacts"))
            .expect("a link");
        std::fs::write(dir.path().join("port"), lab.tftp.port().to_string()).expect("a file");
        let run = lab.run("alice", "/run-test socA build-7").await;
        let ended = async {
            while lab.view(run).await.run.state.verdict().is_none() && !dir.path().join("done").exists() {
                lab.clock.sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        ended.await;
        test(lab, dir.path(), run).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_fetches_its_artifacts_with_the_programs_that_it_has_while_its_attempt_goes_on() {
    fetching(FETCH, async |lab, dir, run| {
        assert!(dir.join("done").exists(), "{}", log_of(lab, run));
        let url = std::fs::read_to_string(dir.join("address")).expect("the script got one");
        let path =
            format!("{}/build-7/test.bin", url.strip_prefix(&lab.door).expect("an address of the server"));
        assert!(lab.get(&path).await.contains("\r\n\r\nhead"), "anybody with the address");
        std::fs::write(dir.join("go-on"), "").expect("a file");
        assert_eq!(lab.verdict(run).await, "passed in testing");
        let gone = lab.get(&path).await;
        let (_, gone) = gone.split_once("\r\n\r\n").expect("an answer");
        assert_eq!(gone, "there is no such artifact, or the attempt of this address is over\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_boards_fetch_at_once_and_the_next_is_told_to_come_again() {
    let script = "#!/bin/sh\ncd \"$2\"; printf %s \"$1\" >address; : >done\nwhile [ ! -e go-on ]; do sleep 0.05; done\n";
    fetching(script, async |lab, dir, run| {
        let url = std::fs::read_to_string(dir.join("address")).expect("the script got one");
        let address = lab.door.strip_prefix("http://").expect("http").parse().expect("an address");
        let path =
            format!("{}/build-7/large", url.strip_prefix(&lab.door).expect("an address of the server"));
        let begin = async || {
            let socket = TcpSocket::new_v4().expect("a socket");
            // Little fits between the two, so that no download is over before it was read.
            socket.set_recv_buffer_size(4096).expect("a size");
            let mut stream = socket.connect(address).await.expect("the door");
            stream
                .write_all(format!("GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n").as_bytes())
                .await
                .expect("sent");
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.expect("an answer");
            (stream, String::from_utf8_lossy(&head).into_owned())
        };
        let mut streams: Vec<TcpStream> = Vec::new();
        for n in 0..DOWNLOADS_MAX {
            let (stream, status) = begin().await;
            assert_eq!(status, "HTTP/1.1 200", "{n}");
            streams.push(stream);
        }
        let (mut refused, status) = begin().await;
        let mut rest = [0; 300];
        let count = refused.read(&mut rest).await.expect("the rest");
        let rest = String::from_utf8_lossy(&rest[..count]);
        assert!(status == "HTTP/1.1 503" && rest.contains("retry-after: 5"), "{status}{rest}");
        assert!(lab.get("/healthz").await.ends_with("alive\n"), "everything else goes on");
        streams.pop();
        while begin().await.1 != "HTTP/1.1 200" {
            lab.clock.sleep(std::time::Duration::from_millis(20)).await;
        }
        drop(streams);
        std::fs::write(dir.join("go-on"), "").expect("a file");
        assert_eq!(lab.verdict(run).await, "passed in testing");
    })
    .await;
}
