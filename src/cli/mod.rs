//! The command line: one subcommand a file. What each says to people is text on standard output; logs go to standard
//! error.

/// Says something on standard output. Whoever reads it may have read enough and closed it: what is left is for nobody then,
/// and how the command ends is not changed by it.
macro_rules! say {
    ($($said:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($said)*);
    }};
}

/// The same, and a newline.
macro_rules! sayln {
    ($($said:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($said)*);
    }};
}

mod act;
mod ask;
mod backup;
mod borrow;
mod check;
mod connect;
mod console;
mod demo;
mod drain;
mod feishu;
mod folder;
mod health;
mod hold;
mod migrate;
mod pages;
mod reload;
mod render;
mod retention;
mod run;
mod serve;
mod slack;
pub mod source;
mod token;
mod worker;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{OsStr, Resettable};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::chat::slack::manifest;
use crate::config::{ServeArgs, public_url, socket_address};
use crate::telemetry::{self, LogFormat};

/// Chat-ops for labs full of SoC boards.
#[derive(Debug, Parser)]
#[command(name = "boardhand", version, about)]
struct Cli {
    /// How logs look.
    #[arg(long, env = "BOARDHAND_LOG", default_value = "text", global = true, value_enum)]
    log: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<ServeArgs>),
    /// Drive the boards of one remote site for a server.
    Worker(Box<worker::WorkerArgs>),
    /// List the workers of a server's remote sites.
    Workers {
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Try everything on this machine: a simulated lab and a chat playground; needs nothing.
    Demo(demo::DemoArgs),
    /// Read boards.yaml and say every mistake at once; ask Slack and Feishu too, where their variables are set.
    Check {
        /// The lab file.
        #[arg(long, env = "BOARDHAND_BOARDS", default_value = "./boards.yaml")]
        boards: PathBuf,
        /// Folder of message templates that override the built-in ones.
        #[arg(long, env = "BOARDHAND_TEMPLATES")]
        templates: Option<PathBuf>,
        /// Dial every console and read every power outlet too. Boards that somebody has are not touched.
        #[arg(long)]
        connect: bool,
        /// The server's data folder: boards are leased there for as long as they are looked at.
        #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
        data_dir: PathBuf,
    },
    /// Print a message with sample facts as the JSON that a platform gets: what its card builder takes.
    Render(Box<render::RenderArgs>),
    /// Let the running server read boards.yaml again.
    Reload {
        /// The server's data folder.
        #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
        data_dir: PathBuf,
    },
    /// Copy the database into a file, while the server runs or not.
    Backup {
        /// The new file; one named after the time, here, when absent.
        #[arg(long)]
        to: Option<PathBuf>,
        /// The server's data folder.
        #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
        data_dir: PathBuf,
    },
    /// Put a backup into the data folder, with no server running.
    Restore {
        /// The backup.
        #[arg(required_unless_present = "came_back")]
        file: Option<PathBuf>,
        /// The server's data folder.
        #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Put a database that is there aside.
        #[arg(long)]
        replace: bool,
        /// pg_restore has brought the database of DATABASE_URL back: make it ready for a server.
        #[arg(long, conflicts_with_all = ["file", "replace"])]
        came_back: bool,
    },
    /// Carry everything from the data folder into an empty PostgreSQL database, with no server running.
    Migrate {
        /// The server's data folder, as sqlite:./data.
        #[arg(long)]
        from: String,
        /// The database, as postgres://user@host/database; that of DATABASE_URL when absent, where its password is safer.
        #[arg(long)]
        to: Option<String>,
    },
    /// Say what is older than it is kept, and would be removed: try other settings before you set them.
    Retention(Box<retention::RetentionArgs>),
    /// Ask a server for a run, and wait for it: ends with 0 when it passed, 1 failed, 3 infra, 4 timed out, 5 cancelled.
    Run(Box<run::RunArgs>),
    /// List a server's boards: which are free, and who has the others.
    Boards {
        /// Only of this family.
        family: Option<String>,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// List a server's runs, the newest first.
    Runs {
        /// Only those that wait or run.
        #[arg(long)]
        unfinished: bool,
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// End a run.
    Cancel {
        /// Its number.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        number: i64,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Switch a board's power and wait for the end: ends with 0 when it is switched, 3 when that failed.
    Power {
        /// The board.
        board: String,
        /// on, off, cycle, status, or one of the board's own power sequences.
        action: String,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Take a board for yourself; wait for it where it is not free.
    Reserve(hold::ReserveArgs),
    /// Keep a board that you have for longer.
    Extend {
        /// The board.
        board: String,
        /// How much longer, such as 1h.
        #[arg(default_value = "1h", value_parser = hold::duration)]
        by: Duration,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Give a board back, or your place in line.
    Release {
        /// The board, or what you wait for; the one that you have when absent.
        target: Option<String>,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// List who has which board, and who waits for one.
    Leases {
        /// Only yours.
        #[arg(long)]
        mine: bool,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Type what can be typed in a chat, as `boardhand lab compare build-1 build-2`, and read what it would say there.
    Lab {
        /// The words behind /lab.
        #[arg(required = true)]
        words: Vec<String>,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Take a board out of service; what runs on it goes on.
    Quarantine {
        /// The board.
        board: String,
        /// Why.
        #[arg(required = true)]
        reason: Vec<String>,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Put a quarantined board back into service.
    Return {
        /// The board.
        board: String,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Let a board or a site take nothing new; what is on it goes on.
    Drain(drain::DrainArgs),
    /// Let a board or a site that drains take new work again.
    Undrain {
        /// Its name.
        name: String,
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// List what takes nothing new, and what is still on it.
    Drains {
        #[command(flatten)]
        asking: ask::Asking,
    },
    /// Sit at the console of a board that you have: every key goes there, until Ctrl-] and a dot.
    Console(console::ConsoleArgs),
    /// Make, list and revoke tokens of a server's API.
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Connect Slack.
    Slack {
        #[command(subcommand)]
        command: SlackCommand,
    },
    /// Print what completes this command line in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man {
        /// Write a page for each command into this folder instead.
        folder: Option<PathBuf>,
    },
    /// Ask a running server whether it is ready; for containers.
    Health {
        /// The server's address.
        #[arg(long, env = "BOARDHAND_LISTEN", default_value = "127.0.0.1:8080", value_parser = listen)]
        listen: SocketAddr,
    },
}

#[derive(Debug, Subcommand)]
enum SlackCommand {
    /// Print the app manifest to paste at api.slack.com/apps.
    Manifest {
        /// For deliveries over a socket that boardhand dials: Slack needs to reach nothing.
        #[arg(long)]
        socket: bool,
        /// Where Slack reaches this server, such as https://boardhand.example.com; a placeholder when absent.
        #[arg(long, env = "BOARDHAND_PUBLIC_URL", value_parser = public_url)]
        url: Option<String>,
        /// With what it takes that people sign in to the pages with Slack; needs that address.
        #[arg(long)]
        sign_in: bool,
    },
}

/// Runs the program: 0 when it went well, 1 when it did not, 2 when the command line is wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::from_arg_matches(&without_empty(Cli::command()).get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let is_server = matches!(cli.command, Command::Serve(_) | Command::Worker(_));
    let filter = if is_server { telemetry::SERVER } else { telemetry::QUIET };
    telemetry::start(cli.log, filter);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("boardhand: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli.command));
    // What still runs on blocking threads must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("boardhand: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The address of `BOARDHAND_LISTEN`; what is wrong with it names the variable.
fn listen(text: &str) -> Result<SocketAddr, String> {
    socket_address(text).map_err(|problem| format!("BOARDHAND_LISTEN: {problem}"))
}

/// A command line that takes no notice of variables that are empty: a line `NAME=` of a .env file sets nothing.
fn without_empty(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { arg.env(Resettable::<OsStr>::Reset) } else { arg }
    });
    command.mut_subcommands(without_empty)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => Box::pin(serve::serve(&args)).await,
        Command::Worker(args) => Box::pin(worker::worker(&args)).await,
        Command::Workers { asking } => ask::workers(&asking).await,
        Command::Demo(args) => Box::pin(demo::demo(&args)).await,
        Command::Check { boards, templates, connect, data_dir } => {
            check::check(&boards, templates.as_deref(), &data_dir, connect).await
        }
        Command::Boards { family, asking } => ask::boards(&asking, family.as_deref()).await,
        Command::Runs { unfinished, limit, asking } => ask::runs(&asking, unfinished, limit).await,
        Command::Cancel { number, asking } => ask::cancel(&asking, number).await,
        Command::Power { board, action, asking } => act::power(&asking, &board, &action).await,
        Command::Reserve(args) => hold::reserve(&args).await,
        Command::Extend { board, by, asking } => hold::extend(&asking, &board, by).await,
        Command::Release { target, asking } => hold::release(&asking, target.as_deref()).await,
        Command::Leases { mine, asking } => hold::leases(&asking, mine).await,
        Command::Lab { words, asking } => act::lab(&asking, &words).await,
        Command::Quarantine { board, reason, asking } => act::quarantine(&asking, &board, &reason).await,
        Command::Return { board, asking } => act::put_back(&asking, &board).await,
        Command::Run(args) => run::run(&args).await,
        Command::Drain(args) => drain::begin(&args).await,
        Command::Undrain { name, asking } => drain::end(&asking, &name).await,
        Command::Drains { asking } => drain::list(&asking).await,
        Command::Console(args) => console::console(&args).await,
        Command::Completions { shell } => pages::completions(shell, Cli::command()),
        Command::Man { folder } => pages::man(folder.as_deref(), Cli::command()),
        Command::Token { command } => token::token(&command).await,
        Command::Backup { to, data_dir } => backup::backup(to, &data_dir).await,
        Command::Restore { file: Some(file), data_dir, replace, .. } => {
            backup::restore(&file, &data_dir, replace).await
        }
        Command::Restore { file: None, .. } => backup::came_back().await,
        Command::Retention(args) => retention::retention(&args).await,
        Command::Migrate { from, to } => migrate::migrate(&from, to.as_deref()).await,
        Command::Reload { data_dir } => reload::reload(&data_dir).await,
        Command::Slack { command: SlackCommand::Manifest { socket, url, sign_in } } => {
            anyhow::ensure!(
                !sign_in || url.is_some(),
                "--sign-in: whoever signs in is sent back to this server: give --url, or set BOARDHAND_PUBLIC_URL"
            );
            let sign_in = url.as_deref().filter(|_| sign_in);
            let way = if socket { manifest::Way::Socket } else { manifest::Way::Url(url.as_deref()) };
            say!("{}", manifest::manifest(way, sign_in));
            Ok(ExitCode::SUCCESS)
        }
        Command::Render(args) => render::render(&args),
        Command::Health { listen } => health::health(listen).await,
    }
}
