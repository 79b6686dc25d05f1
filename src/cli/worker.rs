//! `boardhand worker`: drives the boards of one remote site for a server, with what that server drives its own boards with.
//! It has no database and answers nobody; whatever it knows comes from the server, but for the secrets of its boards.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::hold;
use crate::artifact::{Artifacts, BUILD_FILES_BYTES_MAX};
use crate::board::lab_file;
use crate::board::{Inventory, LiveInventory, PowerDriver, is_name};
use crate::clock::Clock;
use crate::config;
use crate::doorbell::Doorbell;
use crate::id::{Ids, InstanceId};
use crate::meter::Counter;
use crate::outcome::redact::Redactor;
use crate::power::Power;
use crate::worker::bench::Bench;
use crate::worker::dispatch;
use crate::worker::occupied::Occupied;
use crate::worker::pool::Pool;
use crate::worker::remote::Remote;
use crate::worker::remote::life::{Alive, Reads};
use crate::worker::remote::line::Line;
use crate::worker::steps::drive;
use crate::worker::wire::{CAPACITY_MAX, Hello, LabSent};

/// How long bringing boards to rest may take after runs were handed back.
const REST_WITHIN: Duration = Duration::from_secs(30);
/// How long the last word to the server may take.
const FAREWELL_WITHIN: Duration = Duration::from_secs(5);

/// What a worker is told.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkerArgs {
    /// The server's address. Its token is read from BOARDHAND_TOKEN.
    #[arg(long, env = "BOARDHAND_SERVER", value_parser = config::public_url)]
    server: String,
    /// The site whose boards it drives: their `lab_location`.
    #[arg(long, env = "WORKER_LOCATION")]
    site: String,
    /// Its name; that of this machine when absent.
    #[arg(long, env = "WORKER_ID")]
    id: Option<String>,
    /// Most boards that it drives at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(CAPACITY_MAX)))]
    capacity: u32,
    /// Its data folder: consoles and files on their way to the server.
    #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// How long runs may go on after it is told to stop, before they are handed back.
    #[arg(long, default_value = "10m", value_parser = hold::duration)]
    grace: Duration,
    /// Run the programs that boards.yaml names for host steps and power, on this machine.
    #[arg(long)]
    allow_programs: bool,
}

/// Drives boards until SIGTERM or SIGINT.
pub(super) async fn worker(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    let mut problems = Vec::new();
    let token = config::secret(&|name| std::env::var(name).ok(), "BOARDHAND_TOKEN", &mut problems);
    let Some(token) = token else {
        bail!(
            "{}",
            problems.pop().unwrap_or_else(|| {
                "BOARDHAND_TOKEN: missing; boardhand token create NAME --scope worker makes one".to_owned()
            })
        );
    };
    let id = match &args.id {
        Some(id) => id.clone(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    if !is_name(&id) {
        bail!("WORKER_ID (--id): a worker's name is of letters, digits, '.', '_' and '-', not {id:?}");
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (clock, ids) = (Clock::system(), Ids::system());
    let home = Home::open(&args.data_dir.join("worker"), &ids)?;
    let worker = Worker::new(args, &id, SecretString::from(token), &home, clock.clone(), &ids);
    let welcome = tokio::select! {
        welcome = worker.alive.begin() => welcome.map_err(|problem| anyhow::anyhow!("{}: {problem}", args.server))?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    match worker.alive.reads.read(&welcome.lab).await {
        Ok(_) => worker.alive.follow(&welcome.lab).await,
        Err(mistakes) => bail!("the lab of {} cannot be read here:\n{mistakes}", args.site),
    }
    tracing::info!(
        worker = id,
        site = args.site,
        server = args.server,
        capacity = args.capacity,
        "driving boards"
    );
    let stops = watch::Sender::new(0_u32);
    let told = stops.subscribe();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stops.send_modify(|stops| *stops += 1);
        }
    });
    worker.run(args.grace, told).await;
    drop(home);
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The folder of one worker, which one process has at a time.
struct Home {
    dir: PathBuf,
    /// SHA-256 of its secret, in hex: by that the server knows the next life of the same worker.
    mark: String,
    _lock: File,
}

impl Home {
    fn open(dir: &Path, ids: &Ids) -> anyhow::Result<Home> {
        let cannot = || format!("cannot use the folder {}", dir.display());
        std::fs::create_dir_all(dir).with_context(cannot)?;
        let open = |name: &str| {
            OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(name)).with_context(cannot)
        };
        let lock = open("worker.lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another worker uses the folder {}", dir.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        let path = dir.join("secret");
        let mut secret = std::fs::read_to_string(&path).unwrap_or_default();
        if secret.len() < 64 {
            secret = hex::encode(ids.bytes::<32>());
            let mut file = open("secret")?;
            file.set_len(0).with_context(cannot)?;
            file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).with_context(cannot)?;
        }
        // What the life before did not send belongs to attempts that were taken away from it.
        let _ = std::fs::remove_dir_all(dir.join("transcripts"));
        let mark = hex::encode(Sha256::digest(secret.trim().as_bytes()));
        Ok(Home { dir: dir.to_owned(), mark, _lock: lock })
    }
}

/// Names this start of this machine; containers on it have the same.
fn machine() -> String {
    let said = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    said.trim().to_owned()
}

/// A worker's parts.
struct Worker {
    alive: Arc<Alive>,
    desk: Arc<Remote>,
    bench: Arc<Bench>,
    clock: Clock,
}

impl Worker {
    fn new(args: &WorkerArgs, id: &str, token: SecretString, home: &Home, clock: Clock, ids: &Ids) -> Worker {
        let instance = InstanceId::new(ids, clock.now());
        let (redactor, transcripts) = (Arc::new(Redactor::default()), home.dir.join("transcripts"));
        let line = Line::new(&args.server, token, id);
        let desk =
            Arc::new(Remote::new(line, instance, redactor.clone(), transcripts.clone(), clock.clone()));
        let (inventory, doorbell) = (LiveInventory::new(Inventory::default()), Doorbell::default());
        let artifacts = Artifacts::folder(home.dir.join("artifacts"))
            .with_builds(home.dir.join("build-files"), BUILD_FILES_BYTES_MAX, clock.clone())
            .noting(clock.clone());
        let bench = Arc::new(Bench {
            desk: desk.clone(),
            inventory: inventory.clone(),
            power: Power::new(clock.clone()).through(desk.clone()),
            redactor,
            doorbell: doorbell.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            transcripts,
            artifacts,
            occupied: Occupied::default(),
            console_bytes: Counter::default(),
            programs: args.allow_programs,
        });
        let hello = Hello {
            instance,
            home: home.mark.clone(),
            site: args.site.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: args.capacity,
            machine: machine(),
        };
        let alive = Alive {
            desk: desk.clone(),
            hello,
            inventory,
            reads: Arc::new(Lab { programs: args.allow_programs }),
            clock: clock.clone(),
            ids: ids.clone(),
            doorbell,
            lab: watch::Sender::new(String::new()),
        };
        Worker { alive: Arc::new(alive), desk, bench, clock }
    }

    /// Drives boards until it was told to stop; then what runs may go on for `grace`, or until it was told twice.
    async fn run(&self, grace: Duration, mut stops: watch::Receiver<u32>) {
        let (closing, closed) = watch::channel(false);
        let pool = Pool::new(self.bench.clone(), closed.clone());
        let (alive, desk) = (self.alive.clone(), self.desk.clone());
        // A sign of life comes first: nothing is driven that the server was not heard to renew.
        let lives = tokio::spawn({
            let alive = alive.clone();
            async move { alive.beat().await }
        });
        let listens = tokio::spawn({
            let alive = alive.clone();
            async move { alive.listen().await }
        });
        let carries = tokio::spawn(async move { desk.carry_files().await });
        let bell = self.bench.doorbell.clone();
        let drives = tokio::spawn(drive(pool, self.clock.clone(), bell, || None, closed));
        let _ = stops.wait_for(|stops| *stops > 0).await;
        tracing::info!("stopping: nothing more is taken");
        let told = watch::Sender::new(None);
        let mut hears = told.subscribe();
        let leaves = tokio::spawn({
            let alive = alive.clone();
            async move { alive.leave(&told).await }
        });
        // Runs that it has go on meanwhile, and it is told again until it answers.
        let heard = hears.wait_for(Option::is_some);
        if self.clock.timeout(FAREWELL_WITHIN, heard).await.is_err() {
            tracing::warn!("the server does not hear yet that this worker stops");
        }
        closing.send_replace(true);
        if let Ok(mut pool) = drives.await {
            let grace = async {
                tokio::select! {
                    () = self.clock.sleep(grace) => {}
                    _ = stops.wait_for(|stops| *stops > 1) => {}
                }
            };
            pool.drain_until(grace, REST_WITHIN).await;
        }
        lives.abort();
        leaves.abort();
        listens.abort();
        carries.abort();
        match self.clock.timeout(FAREWELL_WITHIN, self.alive.farewell()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the server was not told that this worker has stopped"),
            Err(_) => tracing::warn!("the server was not told in time that this worker has stopped"),
        }
    }
}

/// Makes a lab of what the server sends, with what this machine knows.
struct Lab {
    programs: bool,
}

#[async_trait]
impl Reads for Lab {
    async fn read(&self, sent: &LabSent) -> Result<Inventory, String> {
        let read = lab_file::parse_sent(&sent.text, &|name| std::env::var(name).ok());
        let Some(mut inventory) = read.inventory else { return Err(lab_file::render(&read.problems)) };
        inventory.hash.clone_from(&sent.hash);
        for (board, switched) in &sent.switched {
            if let Some(board) = inventory.boards.get_mut(board) {
                board.power = dispatch::power_of(switched);
            }
        }
        if !self.programs {
            let is_program = |driver: &PowerDriver| matches!(driver, PowerDriver::Command { .. });
            for board in inventory.boards.values_mut().filter(|board| board.power.drivers().any(is_program)) {
                tracing::warn!(board.id = %board.id, "its power is switched by a program, which needs --allow-programs");
                board.power = crate::board::power::PowerConfig::none();
            }
        }
        Ok(inventory)
    }
}
