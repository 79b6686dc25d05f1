//! The app: store, clock and edges put together; the loops, and their orderly end. The one place that knows every
//! part; no rule of the product lives here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::artifact::Artifacts;
use crate::board::groups::Groups;
use crate::board::{BoardId, Inventory, LiveInventory};
use crate::chat::feishu;
use crate::chat::feishu::socket::{Endpoint, LongConnection};
use crate::chat::jenkins;
use crate::chat::sign_in::SignIn;
use crate::chat::slack::client::SlackClient;
use crate::chat::slack::signature::Verifier;
use crate::chat::slack::socket::{Opener, SocketMode};
use crate::chat::socket_line::SocketLine;
use crate::chat::token::Tokens;
use crate::chat::{ChatApi, Platform};
use crate::clock::{Clock, Timestamp};
use crate::command::handle::{Handler, linked};
use crate::config::{Retention, TraceSettings};
use crate::door::control::{self, Control};
use crate::door::feishu::FeishuDoor;
use crate::door::server::{self, Limits};
use crate::door::sign_in::SignIns;
use crate::door::slack::{Homes, Redraws};
use crate::door::throttle::{Rates, Throttle};
use crate::door::{self, Door, Downloads, Ended, Meter, Waits};
use crate::doorbell::{Bell, Doorbell};
use crate::id::{Ids, InstanceId};
use crate::lease::reaper::Reaper;
use crate::lease::scheduler::{Scheduler, SharedQueue};
use crate::message::compose::Composer;
use crate::message::links::Links;
use crate::message::log_file::LogFiles;
use crate::message::pace::Pacing;
use crate::message::permalinks::Permalinks;
use crate::message::relay::Relay;
use crate::message::template::Catalogue;
use crate::message::waiting::Explainer;
use crate::meter::Counter;
use crate::net::proxies::Proxies;
use crate::outcome::redact::Redactor;
use crate::power::Power;
use crate::store::{Store, StoreError};
use crate::web::Live;
use crate::worker::almanac::Almanac;
use crate::worker::bench::Bench;
use crate::worker::conductor::Conductor;
use crate::worker::decorator::Decorator;
use crate::worker::drainer::Drainer;
use crate::worker::errands::Errands;
use crate::worker::foreman::Foreman;
use crate::worker::herald::Herald;
use crate::worker::housekeeper::Housekeeper;
use crate::worker::keeper::Keeper;
use crate::worker::local::Local;
use crate::worker::occupied::Occupied;
use crate::worker::pieces::Pieces;
use crate::worker::pinner::Pinner;
use crate::worker::pool::Pool;
use crate::worker::registrar::Registrar;
use crate::worker::reloader::{LabSource, Reloader};
use crate::worker::runner::Lab;
use crate::worker::seats::Seats;
use crate::worker::steps::{Agent, drive};
use crate::worker::stranded;
use crate::worker::timekeeper::Timekeeper;
use crate::worker::tracer::Tracer;

/// How long attempts may go on after the server was told to stop, before they are handed back.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long bringing boards to rest may take after that; what is not at rest then is fenced after the next start.
pub const REST_WITHIN: Duration = Duration::from_secs(8);
/// How long owed messages are still sent after the last board is at rest; the rest is sent after the next start.
pub const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// What an app is made of.
pub struct Parts {
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// The lab.
    pub inventory: Arc<Inventory>,
    /// Message templates.
    pub catalogue: Catalogue,
    /// Slack, when it is connected.
    pub slack: Option<SlackParts>,
    /// Feishu, when it is connected.
    pub feishu: Option<FeishuParts>,
    /// Who may use the API.
    pub api_tokens: Tokens,
    /// Proves what Jenkins posts, when it is connected.
    pub jenkins: Option<jenkins::signature::Verifier>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub ids: Ids,
    /// Where people reach this server, without a slash at its end.
    pub public_url: String,
    /// Folder of the transcripts.
    pub transcripts: PathBuf,
    /// The artifacts.
    pub artifacts: Artifacts,
    /// Where boards reach this server, when not under `public_url`.
    pub board_url: Option<String>,
    /// Proxies that are trusted to say whom they speak for.
    pub proxies: Proxies,
    /// How fast whoever asks may ask.
    pub rates: Rates,
}

/// Slack's part.
pub struct SlackParts {
    /// One, or two while rotating; none when it is heard over a socket only.
    pub signing_secrets: Vec<SecretString>,
    /// Opens sockets, when it is heard over one.
    pub opener: Option<Opener>,
    /// Its Web API.
    pub client: SlackClient,
    /// How fast it is spoken to.
    pub pacing: Pacing,
}

/// Feishu's part.
pub struct FeishuParts {
    /// How events come.
    pub events: FeishuEvents,
    /// What is sent there goes through this.
    pub client: Arc<dyn ChatApi>,
    /// How fast it is spoken to.
    pub pacing: Pacing,
    /// The bot's `open_id`, once Feishu has told it.
    pub bot: Arc<OnceLock<String>>,
}

/// How events of Feishu come.
pub enum FeishuEvents {
    /// To the webhook, where this proves them.
    Webhook(feishu::signature::Verifier),
    /// Over a long connection, which is dialled there.
    Socket(Endpoint),
    /// Not at all: Feishu is only told.
    Never,
}

/// The server's parts, ready to run.
pub struct App {
    /// The routes' state.
    pub door: Arc<Door>,
    /// Wakes the loops.
    pub doorbell: Doorbell,
    /// The process' name on its leases.
    pub instance: InstanceId,
    clock: Clock,
    closing: watch::Sender<bool>,
    scheduler: Scheduler,
    pool: Pool,
    foreman: Foreman,
    errands: Errands,
    reaper: Reaper,
    relay: Relay,
    housekeeper: Housekeeper,
    keeper: Keeper,
    timekeeper: Timekeeper,
    drainer: Drainer,
    almanac: Almanac,
    conductor: Conductor,
    registrar: Registrar,
    pinner: Pinner,
    decorator: Decorator,
    herald: Herald,
    tracer: Option<Tracer>,
    lab: Arc<Lab>,
    reloader: Option<Reloader>,
    /// Where the control socket is, if there is one.
    data_dir: Option<PathBuf>,
    /// Where boot loaders ask for files, if they may.
    tftp: Option<UdpSocket>,
    /// Hears Slack, if over a socket.
    slack_socket: Option<SocketMode>,
    /// Hears Feishu, if over a long connection.
    feishu_socket: Option<LongConnection>,
}

impl App {
    /// Puts the parts together and takes over what a previous process left: its leases lapse in the first
    /// transaction, before anything else is done.
    pub async fn new(parts: Parts) -> anyhow::Result<App> {
        let Parts {
            store,
            inventory,
            catalogue,
            slack,
            feishu,
            api_tokens,
            jenkins,
            clock,
            ids,
            public_url,
            transcripts,
            artifacts,
            board_url,
            proxies,
            rates,
        } = parts;
        inventory.people.link(linked(store.link_list().await?));
        let instance = InstanceId::new(&ids, clock.now());
        take_over(store.as_ref(), instance, &inventory, clock.now()).await?;
        let doorbell = Doorbell::default();
        let queue = SharedQueue::new(&inventory);
        let live = LiveInventory::new(inventory.clone());
        let board_url = board_url.unwrap_or_else(|| public_url.clone());
        let links = Links::new(public_url, store.secret().await?).for_boards(board_url);
        let why = Arc::new(Explainer::new(queue.clone(), clock.clone()));
        let composer = Arc::new(Composer::new(catalogue, links.clone(), clock.clone(), live.clone(), why));
        let stranded = stranded::end(&store, &inventory, &composer, &clock).await?;
        if !stranded.is_empty() {
            tracing::warn!(runs = ?stranded, "ended runs that nothing in boards.yaml can serve any more");
        }
        let redactor = Arc::new(Redactor::new(&[])?.knowing(&inventory.secrets())?);
        let artifacts = artifacts.noting(clock.clone());
        let desk = Local {
            store: store.clone(),
            composer: composer.clone(),
            redactor: redactor.clone(),
            links: links.clone(),
            clock: clock.clone(),
            instance,
        };
        let lab = Arc::new(Lab::new(desk.clone(), |desk| Bench {
            desk,
            inventory: live.clone(),
            power: Power::new(clock.clone()),
            redactor: redactor.clone(),
            doorbell: doorbell.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            transcripts: transcripts.clone(),
            artifacts: artifacts.clone(),
            occupied: Occupied::default(),
            console_bytes: Counter::default(),
            programs: true,
        }));
        let crew = lab.crew.clone();
        crew.load(store.worker_list().await?);
        let housekeeper = Housekeeper::new(store.clone(), queue.clone(), clock.clone(), transcripts.clone())
            .with_artifacts(artifacts.clone(), live.clone());
        let (closing, closed) = watch::channel(false);
        let Chats { apis, slack, slack_views, opener, feishu, endpoint } = Chats::of(slack, feishu);
        let opener = opener.map(|opener| (opener, SocketLine::new(Platform::Slack)));
        let endpoint = endpoint.map(|endpoint| (endpoint, SocketLine::new(Platform::Feishu)));
        let connected = apis.keys().copied().collect();
        let groups = Groups::default();
        let decorator = Decorator::new(store.clone(), apis.clone(), clock.clone());
        let asked: BTreeMap<Platform, Arc<dyn ChatApi>> =
            apis.iter().map(|(platform, (api, _))| (*platform, api.clone())).collect();
        let registrar = Registrar::new(live.clone(), groups.clone(), asked.clone(), clock.clone());
        let logs = LogFiles { transcripts: transcripts.clone(), redactor: redactor.clone() };
        let relay = Relay::new(store.clone(), apis, composer.clone(), clock.clone(), doorbell.clone())
            .with_logs(logs.clone());
        let handler = Handler {
            store: store.clone(),
            inventory: live.clone(),
            queue: queue.clone(),
            composer: composer.clone(),
            groups,
            lines: relay.lines(),
            logs,
            connected,
            redactor: redactor.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            instance,
            crew: crew.clone(),
        };
        let almanac = Almanac::new(handler.clone(), doorbell.clone());
        let pinner = Pinner::new(handler.clone(), asked, clock.clone());
        let door = Arc::new(Door {
            slack,
            slack_views,
            homes: Homes::default(),
            feishu,
            jenkins,
            api_tokens,
            handler,
            store: store.clone(),
            composer: composer.clone(),
            permalinks: Permalinks::new(store.clone()),
            links,
            lines: relay.lines(),
            sockets: opener
                .iter()
                .map(|(_, line)| line)
                .chain(endpoint.iter().map(|(_, line)| line))
                .cloned()
                .collect(),
            doorbell: doorbell.clone(),
            clock: clock.clone(),
            redactor,
            transcripts,
            artifacts,
            downloads: Downloads::default(),
            ended: Ended::new(store.clone(), clock.clone()),
            waits: Waits::default(),
            throttle: Throttle::new(rates, proxies, &clock),
            relinks: door::Relinks::new(clock.clone()),
            seats: Arc::new(Seats::new(lab.clone(), closed.clone())),
            crew: crew.clone(),
            lab: lab.clone(),
            desk,
            pieces: Pieces::default(),
            meter: Meter::new(lab.console_bytes.clone(), clock.now()),
            live: Live::default(),
            sign_ins: SignIns::default(),
        });
        door.meter.begin(store.as_ref()).await?;
        let slack_socket = opener.map(|(opener, line)| {
            let takes = Arc::new(door::slack::Envelopes::new(door.clone()));
            SocketMode::new(opener, takes, line, clock.clone(), ids.clone())
        });
        let feishu_socket = endpoint.map(|(endpoint, line)| {
            let takes = Arc::new(door::feishu::Events(door.clone()));
            LongConnection::new(endpoint, takes, line, clock.clone(), ids.clone())
        });
        Ok(App {
            door,
            slack_socket,
            feishu_socket,
            instance,
            scheduler: Scheduler::new(
                store.clone(),
                queue,
                live,
                clock.clone(),
                ids,
                doorbell.clone(),
                instance,
            )
            .with_crew(crew.clone()),
            pool: Pool::new(lab.bench.clone(), closed),
            foreman: Foreman::new(lab.clone(), instance),
            errands: Errands::new(lab.clone(), instance),
            keeper: Keeper::new(lab.clone(), instance),
            timekeeper: Timekeeper::new(lab.clone()),
            drainer: Drainer::new(lab.clone()),
            almanac,
            conductor: Conductor::new(lab.clone()),
            herald: Herald::new(lab.clone()),
            tracer: None,
            registrar,
            pinner,
            decorator,
            lab,
            reloader: None,
            data_dir: None,
            tftp: None,
            reaper: Reaper::new(store.clone(), clock.clone(), doorbell.clone(), instance),
            relay,
            housekeeper,
            doorbell,
            clock,
            closing,
        })
    }

    /// The same, keeping things for as long as `retention` says.
    pub fn keeping(mut self, retention: Retention) -> App {
        self.housekeeper.keep(retention);
        self
    }

    /// The same, where people sign in to the pages with these platforms.
    pub fn signing_in(self, with: Vec<Arc<dyn SignIn>>) -> App {
        self.door.sign_ins.set(with);
        self
    }

    /// The same, giving the traces of runs to a collector.
    pub fn traced(mut self, to: TraceSettings) -> App {
        self.tracer = Some(Tracer::new(self.lab.clone(), to));
        self
    }

    /// The same, reading its lab file again from there when somebody asks.
    pub fn reading(mut self, source: Arc<dyn LabSource>) -> App {
        self.reloader = Some(Reloader::new(self.lab.clone(), source));
        self
    }

    /// The same, with a control socket in its data directory.
    pub fn controlled(mut self, data_dir: &Path) -> App {
        self.data_dir = Some(data_dir.to_owned());
        self
    }

    /// The same, giving artifacts to boot loaders over TFTP on this socket.
    pub fn booting_from(mut self, socket: UdpSocket) -> App {
        self.tftp = Some(socket);
        self
    }

    /// Reads the lab file again; `None` without a file.
    pub fn reloader(&self) -> Option<Reloader> {
        self.reloader.clone()
    }

    /// Serves until `stop` resolves, then ends in order: take nothing more, finish or hand back, flush. A loop that
    /// dies ends the server too, with an error: a server that answers and does nothing is worse than one that is
    /// started again.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let App {
            door,
            doorbell,
            clock,
            closing,
            scheduler,
            pool,
            foreman,
            errands,
            reaper,
            relay,
            housekeeper,
            keeper,
            timekeeper,
            drainer,
            almanac,
            conductor,
            registrar,
            pinner,
            decorator,
            herald,
            tracer,
            reloader,
            lab,
            instance,
            data_dir,
            tftp,
            slack_socket,
            feishu_socket,
        } = self;
        let store = door.store.clone();
        let (stopped, stopping) = watch::channel(false);
        if let Some(socket) = tftp {
            tokio::spawn(door::tftp::serve(socket, door.clone(), closing.subscribe()));
        }
        let redraws = Redraws::new(door.clone());
        let routes = door::router(door);
        let loops = Loops {
            clock: clock.clone(),
            doorbell: doorbell.clone(),
            store: store.clone(),
            died: watch::Sender::new(None),
        };
        let server = server::serve(listener, routes, Limits::DOOR, clock.clone(), closing.subscribe());
        let (server, cut_off) = loops.watch("door", server);
        let slack_socket =
            slack_socket.map(|socket| loops.watch("socket to Slack", socket.run(closing.subscribe())).0);
        let feishu_socket = feishu_socket
            .map(|socket| loops.watch("long connection to Feishu", socket.run(closing.subscribe())).0);
        let scheduler = loops.start(scheduler, closing.subscribe());
        let pool = loops.start(pool, closing.subscribe());
        let foreman = loops.start(foreman, stopping.clone());
        let errands = loops.start(errands, closing.subscribe());
        let housekeeper = loops.start(housekeeper, closing.subscribe());
        let keeper = loops.start(keeper, closing.subscribe());
        let timekeeper = loops.start(timekeeper, closing.subscribe());
        let conductor = loops.start(conductor, closing.subscribe());
        let drainer = loops.start(drainer, closing.subscribe());
        let herald = loops.start(herald, closing.subscribe());
        let almanac = loops.start(almanac, closing.subscribe());
        let tracer = tracer.map(|tracer| loops.start(tracer, closing.subscribe()));
        let registrar = loops.start(registrar, closing.subscribe());
        let pinner = loops.start(pinner, closing.subscribe());
        let decorator = loops.start(decorator, closing.subscribe());
        let redraws = loops.start(redraws, closing.subscribe());
        let control = data_dir.and_then(|data_dir| match control::listen(&data_dir) {
            Ok(listener) => {
                let control = Control { lab, instance, reloader: reloader.clone() };
                Some(tokio::spawn(control::serve(listener, control, closing.subscribe())))
            }
            Err(error) => {
                tracing::warn!(%error, "no control socket: `boardhand reload` and `check --connect` do not reach this server");
                None
            }
        });
        let reloader = reloader.map(|reloader| loops.start(reloader, closing.subscribe()));
        let reaper = loops.start(reaper, stopping.clone());
        let relay = loops.start(relay, stopping);

        let failed = tokio::select! {
            () = stop => None,
            name = loops.died() => Some(format!("the {name} died")),
            () = store.ended() => {
                // Nothing can be handed back or told any more: what is left is what a crash leaves.
                cut_off.abort();
                closing.send_replace(true);
                stopped.send_replace(true);
                anyhow::bail!("the store takes no writes any more; start the server again");
            }
        };
        tracing::info!("stopping: nothing more is taken, boards are brought to rest");
        closing.send_replace(true);
        scheduler.await?;
        housekeeper.await?;
        timekeeper.await?;
        drainer.await?;
        almanac.await?;
        conductor.await?;
        herald.await?;
        // Not waited for: each may be waiting for a platform's answer, and a crash harms none of them.
        drop((registrar, pinner, decorator, redraws, tracer));
        if let Some(control) = control {
            control.await?;
        }
        if let Some(reloader) = reloader {
            reloader.await?;
        }
        let (pool, errands, keeper) = (pool.await?, errands.await?, keeper.await?);
        tokio::join!(
            async {
                if let Some(mut pool) = pool {
                    pool.drain(STOP_GRACE, REST_WITHIN).await;
                }
            },
            async {
                if let Some(mut errands) = errands {
                    errands.drain(STOP_GRACE + REST_WITHIN).await;
                }
            },
            async {
                if let Some(mut keeper) = keeper {
                    keeper.drain(STOP_GRACE + REST_WITHIN).await;
                }
            },
            async {
                let _ = clock.timeout(STOP_GRACE, server).await;
            },
            async {
                if let Some(socket) = slack_socket {
                    let _ = clock.timeout(STOP_GRACE, socket).await;
                }
            },
            async {
                if let Some(socket) = feishu_socket {
                    let _ = clock.timeout(STOP_GRACE, socket).await;
                }
            },
        );
        doorbell.ring(Bell::Relay);
        stopped.send_replace(true);
        reaper.await?;
        foreman.await?;
        if let Some(mut relay) = relay.await? {
            let _ = clock.timeout(FLUSH_WITHIN, flush(&mut relay)).await;
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), |failed| Err(anyhow::anyhow!("{failed}; start the server again")))
    }
}

/// Takes over what a process before this one left: its leases lapse in the first transaction, before anything else is
/// done.
async fn take_over(
    store: &dyn Store,
    instance: InstanceId,
    inventory: &Inventory,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lapsed = store.lease_takeover(instance, now).await?;
    if !lapsed.is_empty() {
        tracing::warn!(leases = lapsed.len(), "took over the leases of a process that ended without a word");
    }
    let boards: Vec<BoardId> = inventory.boards.keys().cloned().collect();
    store.board_register(&boards, now).await?;
    // Programs are told of everything from here on, whatever happens before anybody looks for it first.
    store.call_read_to().await?;
    // Whoever holds the data directory is the only process on it.
    store.lab_put(&inventory.hash).await
}

/// The platforms that are connected: what speaks to each, and what proves who speaks from there.
struct Chats {
    apis: BTreeMap<Platform, (Arc<dyn ChatApi>, Pacing)>,
    slack: Option<Verifier>,
    slack_views: Option<Arc<SlackClient>>,
    opener: Option<Opener>,
    feishu: Option<FeishuDoor>,
    endpoint: Option<Endpoint>,
}

impl Chats {
    fn of(slack: Option<SlackParts>, feishu: Option<FeishuParts>) -> Chats {
        let mut apis: BTreeMap<Platform, (Arc<dyn ChatApi>, Pacing)> = BTreeMap::new();
        let (mut verifier, mut opener, mut slack_views) = (None, None, None);
        if let Some(slack) = slack {
            let client = Arc::new(slack.client);
            apis.insert(Platform::Slack, (client.clone(), slack.pacing));
            slack_views = Some(client);
            verifier = (!slack.signing_secrets.is_empty()).then(|| Verifier::new(&slack.signing_secrets));
            opener = slack.opener;
        }
        let mut endpoint = None;
        let feishu = feishu.map(|feishu| {
            apis.insert(Platform::Feishu, (feishu.client, feishu.pacing));
            let verifier = match feishu.events {
                FeishuEvents::Webhook(verifier) => Some(verifier),
                FeishuEvents::Socket(dialled) => {
                    endpoint = Some(dialled);
                    None
                }
                FeishuEvents::Never => None,
            };
            FeishuDoor { verifier, bot: feishu.bot }
        });
        Chats { apis, slack: verifier, slack_views, opener, feishu, endpoint }
    }
}

/// Starts loops and the door, and hears when one dies.
struct Loops {
    clock: Clock,
    doorbell: Doorbell,
    store: Arc<dyn Store>,
    died: watch::Sender<Option<&'static str>>,
}

impl Loops {
    /// Drives an agent in a task of its own; gives it back when it was stopped, nothing when it died.
    fn start<A: Agent + 'static>(&self, agent: A, stop: watch::Receiver<bool>) -> JoinHandle<Option<A>> {
        let (name, store) = (agent.name(), self.store.clone());
        self.watch(
            name,
            drive(agent, self.clock.clone(), self.doorbell.clone(), move || store.commits(), stop),
        )
        .0
    }

    /// Runs a future in a task of its own, whose death is heard; the second handle cuts it off.
    fn watch<T: Send + 'static>(
        &self,
        name: &'static str,
        running: impl Future<Output = T> + Send + 'static,
    ) -> (JoinHandle<Option<T>>, AbortHandle) {
        let running = tokio::spawn(running);
        let (died, cut_off) = (self.died.clone(), running.abort_handle());
        let watching = tokio::spawn(async move {
            running
                .await
                .inspect_err(|error| {
                    tracing::error!(agent = name, %error, "a loop died");
                    died.send_replace(Some(name));
                })
                .ok()
        });
        (watching, cut_off)
    }

    /// Waits until one has died; gives its name.
    async fn died(&self) -> &'static str {
        let mut died = self.died.subscribe();
        // The sender lives in `self`, so waiting ends only with a name.
        died.wait_for(Option::is_some).await.ok().and_then(|name| *name).unwrap_or("loop")
    }
}

/// Sends what is due now.
async fn flush(relay: &mut Relay) {
    for _ in 0..FLUSH_ROUNDS_MAX {
        if relay.step().await.is_err() {
            return;
        }
        if !relay.flush().await {
            return;
        }
    }
}

/// Most rounds of sending at the end: what becomes due behind what was sent (a thread behind its card).
const FLUSH_ROUNDS_MAX: u32 = 20;
