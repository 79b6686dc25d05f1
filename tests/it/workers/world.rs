//! The world of the worker tests: the real server and real workers as child processes, with a network between them that can
//! be cut, and beside them, in this process, boards, PDUs and Slack.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boardhand::clock::Clock;
use boardhand::id::Ids;
use boardhand::net::{Http, Method};
use boardhand::sim::slack::{SimSlack, SimSlackConfig};
use boardhand::sim::{SimLab, Speed};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::lab;

const SECRET: &str = "workers-signing-secret";
const TOKEN: &str = "xoxb-workers";
pub(super) const ADMIN: &str = "the-admins-own-token-of-workers";
pub(super) const CHANNEL: &str = "C0RACKS";
/// What only workers know.
pub(super) const PASSWORD: &str = "root";
/// How long something may take that a test waits for.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// A lab whose site A is driven by workers, and whose site B by the server.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) slack: SimSlack,
    pub(super) boards: SimLab,
    pub(super) data: tempfile::TempDir,
    pub(super) port: u16,
    pub(super) net: Net,
    http: Http,
}

impl World {
    pub(super) async fn start(boards: usize, site: &str) -> World {
        let clock = Clock::system();
        let inventory = lab::inventory(&lab::yaml::small(boards));
        let started = SimLab::start(&inventory, Speed::Fast, clock.clone(), Ids::system()).await;
        let (boards, inventory) = started.expect("simulated lab");
        boards.boards().for_each(|(_, board)| board.record_bytes());
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = probe.local_addr().expect("address").port();
        drop(probe);
        let config = SimSlackConfig {
            signing_secret: SecretString::from(SECRET),
            bot_token: SecretString::from(TOKEN),
            app_token: SecretString::from("xapp-workers"),
            socket_mode: false,
            webhook_url: Some(format!("http://127.0.0.1:{port}/webhook")),
            port: 0,
            rate_limits: false,
        };
        let slack = SimSlack::start(config, clock.clone(), Ids::system()).await.expect("simulated Slack");
        slack.add_channel(CHANNEL, "racks", true);
        let data = tempfile::tempdir().expect("a data folder");
        std::fs::write(data.path().join("boards.yaml"), yaml(&inventory, site)).expect("boards.yaml");
        let net = Net::to(port).await;
        World { clock, slack, boards, data, port, net, http: Http::new(&[]) }
    }

    /// Starts the server, and waits until it answers.
    pub(super) async fn serve(&self) -> Child {
        let child = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .arg("serve")
            .env_clear()
            .env("SLACK_SIGNING_SECRET", SECRET)
            .env("SLACK_BOT_TOKEN", TOKEN)
            .env("SLACK_API_URL", self.slack.api_url())
            .env("BOARDHAND_ADMIN_TOKEN", ADMIN)
            .env("BOARDHAND_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("BOARDHAND_DATA_DIR", self.data.path().join("data"))
            .env("BOARDHAND_BOARDS", self.data.path().join("boards.yaml"))
            .env("RUST_LOG", std::env::var("BOARDHAND_TEST_LOG").unwrap_or_else(|_| "error".into()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let ready = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                self.clock.sleep(Duration::from_millis(10)).await;
            }
        };
        self.clock.timeout(WITHIN, ready).await.expect("the server is ready in time");
        child
    }

    /// Starts a worker of site A with this name and token, over the network.
    pub(super) fn worker(&self, id: &str, token: &str) -> Child {
        self.worker_of(id, token, "Lab Site A", id)
    }

    pub(super) fn worker_of(&self, id: &str, token: &str, site: &str, home: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .args(["worker", "--site", site, "--id", id])
            .env_clear()
            .env("BOARDHAND_SERVER", format!("http://127.0.0.1:{}", self.net.port))
            .env("BOARDHAND_TOKEN", token)
            .env("BOARDHAND_DATA_DIR", self.data.path().join(home))
            .env("BOARD_PASSWORD", PASSWORD)
            .env("RUST_LOG", std::env::var("BOARDHAND_TEST_LOG").unwrap_or_else(|_| "error".into()))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts")
    }

    /// A token for workers of this site.
    pub(super) async fn token(&self, name: &str, site: &str) -> String {
        let wanted = json!({ "name": name, "scope": ["worker", format!("site:{site}")] });
        let (status, made) = self.api(ADMIN, Method::POST, "/api/v1/tokens", Some(&wanted)).await;
        assert_eq!(status, 201, "{made}");
        made["token"].as_str().expect("a token").to_owned()
    }

    pub(super) async fn api(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let token = SecretString::from(token);
        let reply = self.http.send_json(method, &url, Some(&token), body, WITHIN).await;
        let reply = reply.expect("an answer");
        (reply.status, reply.json().unwrap_or_default())
    }

    /// What stands there, as text.
    pub(super) async fn text(&self, token: &str, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let token = SecretString::from(token);
        let reply = self.http.get(&url, Some(&token), 4 << 20, WITHIN).await.expect("an answer");
        assert_eq!(reply.status, 200, "{path}");
        String::from_utf8_lossy(&reply.body).into_owned()
    }

    /// Changes boards.yaml.
    pub(super) fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.data.path().join("boards.yaml");
        let text = std::fs::read_to_string(&path).expect("boards.yaml");
        std::fs::write(&path, change(text)).expect("boards.yaml");
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, found) = self.api(ADMIN, Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {found}");
        found
    }

    pub(super) async fn say(&self, text: &str) {
        let reply = self.slack.say("alice", CHANNEL, text).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    /// Waits until this is true of what stands there.
    pub(super) async fn until(&self, path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.until_within(path, what, WITHIN, is_so).await
    }

    /// The same for what takes longer.
    pub(super) async fn until_within(
        &self,
        path: &str,
        what: &str,
        within: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let looked = async {
            loop {
                last = self.get(path).await;
                if is_so(&last) {
                    return;
                }
                self.clock.sleep(Duration::from_millis(50)).await;
            }
        };
        if self.clock.timeout(within, looked).await.is_err() {
            panic!("{path} is never {what}: {last}");
        }
        last
    }

    /// Waits until a run has ended.
    pub(super) async fn ended(&self, run: u32) -> Value {
        self.until(&format!("/api/v1/runs/{run}"), "finished", |run| run["state"] == "finished").await
    }

    /// Waits until a run is in this state.
    pub(super) async fn in_state(&self, run: u32, state: &str) -> Value {
        self.until(&format!("/api/v1/runs/{run}"), state, |run| run["state"] == state).await
    }

    /// Waits until a worker is in this state.
    pub(super) async fn worker_is(&self, id: &str, state: &str) -> Value {
        let is_it = |worker: &Value| worker["worker_id"] == id && worker["state"] == state;
        let all = self
            .until("/api/v1/workers", state, |all| {
                all["items"].as_array().is_some_and(|workers| workers.iter().any(is_it))
            })
            .await;
        all["items"].as_array().into_iter().flatten().find(|worker| is_it(worker)).cloned().expect("it")
    }
}

/// Stops a child as an operator does; it must end well.
pub(super) async fn stop(world: &World, child: &mut Child) {
    signal(child, "-TERM").await;
    let status = world.clock.timeout(WITHIN, child.wait()).await.expect("it stops").expect("a status");
    assert!(status.success(), "{status}");
}

pub(super) async fn signal(child: &Child, signal: &str) {
    let pid = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().await.expect("kill");
    assert!(sent.success(), "it was gone before");
}

/// The network between workers and the server: it carries one request a connection, so that each can be lost by itself.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) port: u16,
    cut: Arc<AtomicBool>,
    cuts: watch::Sender<u32>,
    troubles: watch::Sender<HashMap<String, Trouble>>,
    /// What was asked, by its last word.
    pub(super) asked: watch::Sender<Vec<String>>,
}

/// What happens to requests whose path ends with a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// They do not reach the server.
    Lost,
    /// A proxy answers that there is no such page.
    NotFound,
    /// They wait before the server until that is over, and so do answers of those that were made before.
    Held,
}

impl Net {
    async fn to(server: u16) -> Net {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let troubles = watch::Sender::new(HashMap::new());
        let asked = watch::Sender::new(vec![]);
        let net = Net { port, cut: Arc::default(), cuts: watch::Sender::new(0), troubles, asked };
        let own = net.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if own.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let (own, mut cuts) = (own.clone(), own.cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = own.carry(near, server) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        net
    }

    /// Carries one request and its answer.
    async fn carry(&self, near: TcpStream, server: u16) -> std::io::Result<()> {
        let mut near = BufReader::new(near);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if near.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", bytes)) => length = bytes.parse().unwrap_or(0),
                Some(("connection", _)) => continue,
                _ => {}
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        near.read_exact(&mut body).await?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let word = path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let word = if path.contains("name=cases-") { "cases" } else { word }.to_owned();
        self.asked.send_modify(|asked| asked.push(word.clone()));
        let trouble = |troubles: &HashMap<String, Trouble>| troubles.get(&word).copied();
        let mut changes = self.troubles.subscribe();
        let _ = changes.wait_for(|troubles| trouble(troubles) != Some(Trouble::Held)).await;
        let now = trouble(&self.troubles.borrow());
        if now == Some(Trouble::NotFound) {
            let page = "404 page not found\n";
            let head = format!(
                "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            near.write_all((head + page).as_bytes()).await?;
            return near.shutdown().await;
        }
        if now == Some(Trouble::Lost) {
            return Ok(());
        }
        let mut far = TcpStream::connect(("127.0.0.1", server)).await?;
        far.write_all((head + "Connection: close\r\n\r\n").as_bytes()).await?;
        far.write_all(&body).await?;
        let mut answer = vec![];
        far.read_to_end(&mut answer).await?;
        let _ = changes.wait_for(|troubles| trouble(troubles) != Some(Trouble::Held)).await;
        near.write_all(&answer).await?;
        near.shutdown().await
    }

    /// Cuts every connection, and lets none through.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets connections through again.
    pub(super) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// From now on this happens to requests whose path ends with this word; nothing, as long as there is none.
    pub(super) fn trouble(&self, word: &str, trouble: Option<Trouble>) {
        self.troubles.send_modify(|troubles| match trouble {
            Some(trouble) => drop(troubles.insert(word.to_owned(), trouble)),
            None => drop(troubles.remove(word)),
        });
    }

    /// Waits until so many more requests for this were made.
    pub(super) async fn sees(&self, word: &str, more: usize) {
        let count = |asked: &Vec<String>| asked.iter().filter(|asked| *asked == word).count();
        let mut asked = self.asked.subscribe();
        let wanted = count(&asked.borrow()) + more;
        let _ = asked.wait_for(|asked| count(asked) >= wanted).await;
    }
}

/// Plans that are long enough for whatever a test does meanwhile: these boards sleep a hundred times faster.
const SLOW: &str = "plans:
  slow:
    limits: {total: 120s, no_output: 60s}
    retry: {infra: 2, other_board: true}
    boot: [{power: cycle}, {login: {within: 20s}}]
    test: [{name: nap, run: 'echo asleep && sleep 400 && echo awake', within: 60s}]
    finally: [{power: off}]
  night:
    limits: {total: 300s, no_output: 250s}
    retry: {infra: 2, other_board: true}
    boot: [{power: cycle}, {login: {within: 20s}}]
    test: [{name: nap, run: 'echo asleep && sleep 20000 && echo awake', within: 250s}]
    finally: [{power: off}]
";

/// A plan of so many test cases, with such names, that they do not go into one report.
fn many() -> String {
    let step = |n: usize| {
        format!("{{name: s{n}, run: 'echo 1..1 && echo ok 1 - {n}-{}', parse: tap}}", "x".repeat(280))
    };
    let steps: Vec<String> = (0..MANY).map(step).collect();
    format!(
        "  many:\n    limits: {{total: 120s, no_output: 60s}}\n    boot: [{{power: cycle}}, {{login: {{within: 20s}}}}]\n    \
         test: [{}]\n",
        steps.join(", ")
    )
}

/// How many test cases that plan has.
pub(super) const MANY: usize = 250;

/// The lab file: socA stands at the remote site, with a password that only workers know; socB is the server's own.
fn yaml(inventory: &boardhand::board::Inventory, site: &str) -> String {
    let mut text = String::from("boards:\n");
    for board in inventory.boards.values() {
        let outlet = match (&board.power.host, &board.power.outlet) {
            (Some(host), Some(outlet)) => format!("pdu_host: '{host}', pdu_outlet: {outlet},"),
            _ => String::new(),
        };
        let (place, password) = match board.family.as_str() {
            "socA" => ("Lab Site A", "${BOARD_PASSWORD}"),
            _ => ("Lab Site B", "root"),
        };
        text.push_str(&format!(
            "  - {{board_id: {}, soc_family: {}, board_ip: {}, telnet_port: {}, {outlet}\n     \
             lab_location: {place}, telnet_username: root, telnet_password: {password}, console: {{settle: 0s}}}}\n",
            board.id, board.family, board.console.host, board.console.port,
        ));
    }
    let families = lab::yaml::FAMILIES
        .replace("socB: {}", "socB: {default_suite: trivial, suites: {trivial: trivial}}")
        .replace(
            "trivial: trivial}\n  socB",
            "trivial: trivial, slow: slow, night: night, many: many}\n  socB",
        )
        .replace("plans:\n", &(SLOW.to_owned() + &many()));
    text.push_str(&families);
    text.push_str(&format!("sites: {{Lab Site A: {site}}}\n"));
    text
}
