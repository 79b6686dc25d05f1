//! Artifacts over TFTP, fetched by real clients while an attempt goes on. What a real boot loader does with it stands
//! beside the real boards.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

use crate::artifacts::{fetching, log_of};

/// Most files that are on their way at once.
const SESSIONS_MAX: usize = 128;

/// What clients do, with the address of the attempt's artifacts (`$1`), in a folder of the test (`$2`).
const FETCH: &str = r#"#!/bin/sh
set -eux
cd "$2"
port=$(cat port) pass=/artifacts/${1##*/}
same() { cmp "$1" artifacts/build-7/test.bin; rm "$1"; }
by_curl() { curl -s -f -m 20 -o by-curl "$@"; }

by_curl "tftp://127.0.0.1:$port/$pass/build-7/test.bin"
same by-curl
by_curl --tftp-blksize 1468 "tftp://127.0.0.1:$port/$pass/build-7/test.bin"
same by-curl
by_curl --tftp-no-options "tftp://127.0.0.1:$port/$pass/build-7/test.bin"
same by-curl
busybox tftp -g -b 1468 -r "$pass/build-7/test.bin" -l by-busybox 127.0.0.1 "$port"
same by-busybox
for window in 1 8 64; do
  atftp --option "windowsize $window" --option "blksize 1468" --option "timeout 5" --option "tsize 0" \
    -g -r "$pass/build-7/test.bin" -l by-atftp 127.0.0.1 "$port"
  same by-atftp
done
: >artifacts/build-7/empty
atftp -g -r "$pass/build-7/empty" -l empty 127.0.0.1 "$port"
[ -e empty ] && [ ! -s empty ]

# Without a pass: for the address of a board that a run holds.
by_curl "tftp://127.0.0.1:$port/build-7/test.bin"
same by-curl
refused() { code=0; by_curl "$@" || code=$?; [ "$code" = 68 ]; }
refused --interface 127.0.0.2 "tftp://127.0.0.1:$port/build-7/test.bin"
by_curl --interface 127.0.0.2 "tftp://127.0.0.1:$port/$pass/build-7/test.bin"
same by-curl

# Nothing else is there, and nothing is taken.
refused "tftp://127.0.0.1:$port/$pass/build-8/test.bin"
refused "tftp://127.0.0.1:$port/$pass/build-7"
refused "tftp://127.0.0.1:$port/$pass/..%2fboardhand.db"
refused "tftp://127.0.0.1:$port/..%2fboardhand.db"
refused "tftp://127.0.0.1:$port/$pass/build-7/link"
code=0; curl -s -m 20 -T port "tftp://127.0.0.1:$port/$pass/new" || code=$?; [ "$code" = 69 ]
: >"done"
while [ ! -e go-on ]; do sleep 0.05; done
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_fetch_artifacts_with_every_option_that_they_know() {
    fetching(FETCH, async |lab, dir, run| {
        assert!(dir.join("done").exists(), "{}", log_of(lab, run));
        std::fs::write(dir.join("go-on"), "").expect("a file");
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        assert_eq!(
            ask(lab.tftp, "build-7/test.bin").await,
            b"\0\x05\0\x01File not found\0",
            "nobody holds a board"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_clients_are_served_at_once_and_the_next_has_to_ask_again() {
    let script = "#!/bin/sh\ncd \"$2\"; : >done\nwhile [ ! -e go-on ]; do sleep 0.05; done\n";
    fetching(script, async |lab, dir, run| {
        let mut clients = Vec::new();
        for n in 0..SESSIONS_MAX {
            let client = client(lab.tftp).await;
            client.send(&read("build-7/test.bin", "timeout\u{0}255\u{0}")).await.expect("sent");
            let (answer, from) = hear(&client).await;
            assert_eq!(answer, b"\0\x06timeout\x00255\0", "{n}");
            clients.push((client, from));
        }
        // The one after is not answered: what it hears first is the answer to what it says next.
        let late = client(lab.tftp).await;
        late.send(&read("build-7/test.bin", "")).await.expect("sent");
        late.send(b"\0\x02x\0octet\0").await.expect("sent");
        assert_eq!(hear(&late).await.0, b"\0\x05\0\x02files can only be read\0");
        let (first, its_session) = &clients[0];
        first.send_to(b"\0\x05\0\x08enough\0", its_session).await.expect("sent");
        while {
            let again = read("build-7/test.bin", "");
            late.send(&again).await.expect("sent");
            lab.clock
                .timeout(std::time::Duration::from_millis(20), late.peek_from(&mut [0; 600]))
                .await
                .is_err()
        } {}
        assert_eq!(hear(&late).await.0[..6], *b"\0\x03\0\x01he");
        std::fs::write(dir.join("go-on"), "").expect("a file");
        assert_eq!(lab.verdict(run).await, "passed in testing");
    })
    .await;
}

/// A client that has not asked yet. It is not connected: answers come from another port.
struct Client(UdpSocket, SocketAddr);

impl std::ops::Deref for Client {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.0
    }
}

impl Client {
    async fn send(&self, packet: &[u8]) -> std::io::Result<usize> {
        self.0.send_to(packet, self.1).await
    }
}

async fn client(server: SocketAddr) -> Client {
    Client(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"), server)
}

fn read(name: &str, options: &str) -> Vec<u8> {
    format!("\0\u{1}{name}\0octet\0{options}").into_bytes()
}

async fn hear(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = [0; 600];
    let (count, from) = client.recv_from(&mut packet).await.expect("an answer");
    (packet[..count].to_vec(), from)
}

async fn ask(server: SocketAddr, name: &str) -> Vec<u8> {
    let client = client(server).await;
    client.send(&read(name, "")).await.expect("sent");
    hear(&client).await.0
}
