//! Out of a lab whose only way is a proxy: the program as it is deployed dials Slack through it, over TLS, and believes no
//! certificate but those that the machine trusts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use boardhand::clock::Clock;
use boardhand::sim::slack::SimSlack;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::slack;
use crate::console_real::rig::{free_port, need};
use crate::lab::{CHANNEL, WITHIN, yaml};

// Two names that the simulated Slack goes by. Nothing listens on their port 443: only the proxy knows what is meant.
const API: &str = "localhost";
const SOCKETS: &str = "127.0.0.1";

/// A lab without a way out but a proxy, and Slack behind TLS at its other end.
struct Behind {
    slack: SimSlack,
    folder: tempfile::TempDir,
    proxy: SocketAddr,
    /// What the proxy was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Behind {
    async fn start() -> Behind {
        boardhand::net::choose_cryptography();
        let (slack, folder) = (slack().await, tempfile::tempdir().expect("a folder"));
        certify(folder.path());
        let address =
            slack.url().trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
        // Who begins a WebSocket must not let TLS agree on HTTP/2, whatever the other side would rather have.
        let api = tls(folder.path(), &[b"http/1.1"], address).await;
        let sockets = tls(folder.path(), &[b"h2", b"http/1.1"], address).await;
        slack.set_socket_url(&format!("wss://{SOCKETS}/link/"));
        let asked = Arc::default();
        let hosts = [(format!("{API}:443"), api), (format!("{SOCKETS}:443"), sockets)].into();
        let proxy = proxy(hosts, Arc::clone(&asked)).await;
        std::fs::write(folder.path().join("boards.yaml"), yaml::small(1)).expect("a lab file");
        Behind { slack, folder, proxy, asked }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, trusting these certificates.
    fn serve(&self, trusted: &Path) -> Child {
        let mut server = Command::new(env!("CARGO_BIN_EXE_boardhand"));
        server.args(["serve", "--simulate"]).env_clear();
        server.env("BOARDHAND_LISTEN", format!("127.0.0.1:{}", free_port()));
        server.env("BOARDHAND_DATA_DIR", self.path("data")).env("BOARDHAND_BOARDS", self.path("boards.yaml"));
        server.env("SLACK_BOT_TOKEN", "xoxb-test").env("SLACK_APP_TOKEN", "xapp-test");
        server.env("SLACK_API_URL", format!("https://{API}/api/")).env("SSL_CERT_FILE", trusted);
        server.env("HTTPS_PROXY", format!("http://{}", self.proxy));
        server.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        server.spawn().expect("the binary starts")
    }
}

/// Makes a certificate for both names, and its key.
fn certify(folder: &Path) {
    need("openssl", "openssl");
    let names = format!("subjectAltName=DNS:{API},IP:{SOCKETS}");
    for (certificate, key) in [("cert.pem", "key.pem"), ("other.pem", "other-key.pem")] {
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=lab", "-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-out", certificate, "-keyout", key])
            .current_dir(folder)
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{made:?}");
    }
}

/// Takes TLS off what comes, and passes it on.
async fn tls(folder: &Path, protocols: &[&[u8]], to: SocketAddr) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.expect("they belong together");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut plain) = acceptor.accept(stream).await else { return };
            let mut behind = TcpStream::connect(to).await.expect("Slack");
            let _ = copy_bidirectional(&mut plain, &mut behind).await;
        }
    })
    .await
}

/// An HTTP proxy that knows these hosts and no others.
async fn proxy(hosts: BTreeMap<String, SocketAddr>, asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let hosts = Arc::new(hosts);
    serve(move |stream| {
        let (hosts, asked) = (hosts.clone(), asked.clone());
        async move {
            let mut stream = BufReader::new(stream);
            let (mut first, mut line) = (String::new(), String::new());
            stream.read_line(&mut first).await.expect("a request");
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).await.expect("a head");
            }
            let host = first.split(' ').nth(1).unwrap_or_default().to_owned();
            assert!(first.starts_with("CONNECT "), "{first}");
            let to = hosts[&host];
            asked.lock().expect("hosts").push(host);
            let mut behind = TcpStream::connect(to).await.expect("a host");
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("is taken");
            let _ = copy_bidirectional(&mut stream, &mut behind).await;
        }
    })
    .await
}

async fn serve<T>(talk: impl Fn(TcpStream) -> T + Send + 'static) -> SocketAddr
where
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(talk(stream));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_is_heard_through_a_proxy_and_over_tls() {
    let lab = Behind::start().await;
    let mut server = lab.serve(&lab.path("cert.pem"));
    lab.slack.until(|_| lab.slack.sockets() == 1, WITHIN).await.expect("a socket");
    let seen = lab.slack.say("alice", CHANNEL, "/lab boards").await;
    assert!(seen.status == 200 && seen.text.contains("soc-a-001"), "{seen:?}");
    let asked = lab.asked.lock().expect("hosts").clone();
    assert!(asked.contains(&format!("{API}:443")) && asked.contains(&format!("{SOCKETS}:443")), "{asked:?}");
    let pid = server.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill").success());
    let ended = Clock::system().timeout(WITHIN, server.wait()).await.expect("it stops in time");
    assert!(ended.expect("it ends").success());
    lab.slack.until(|_| lab.slack.sockets() == 0, WITHIN).await.expect("it said goodbye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_the_machine_does_not_trust_is_refused_and_told() {
    let lab = Behind::start().await;
    let mut server = lab.serve(&lab.path("other.pem"));
    let mut log = BufReader::new(server.stderr.take().expect("is piped")).lines();
    let told = async {
        loop {
            let line = log.next_line().await.expect("a log").expect("it goes on");
            if line.contains("the platform is not heard") {
                return line;
            }
        }
    };
    let line = Clock::system().timeout(WITHIN, told).await.expect("it is told");
    assert!(line.contains("certificate"), "{line}");
    assert_eq!((lab.slack.calls("apps.connections.open"), lab.slack.sockets()), (0, 0));
    assert!(lab.asked.lock().expect("hosts").iter().all(|host| *host == format!("{API}:443")));
}
