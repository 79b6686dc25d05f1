//! A simulated Slack workspace: the Web API, slash commands and button presses by signed requests or over sockets, threads,
//! and a page to play in.
//!
//! Tests use [`SimSlack`] as people use Slack: [`say`](SimSlack::say), [`click`](SimSlack::click), then read the
//! thread. `model` keeps the workspace, `api` answers the Web API, `people` turns what people do into
//! deliveries, `deliver` sends them, to the webhook or over a `socket`, `respond` serves `response_url`s, `views` and `forms` are its modals, `home` the app's Home, `files` its files, `sign_in` signs people in elsewhere, `playground` is the page. Real limits hold: sizes, rates, scopes, membership.

mod api;
mod deliver;
mod faults;
mod files;
mod forms;
mod home;
pub mod limits;
mod methods;
pub mod model;
mod people;
mod playground;
mod rates;
mod render;
mod respond;
mod sign_in;
mod socket;
mod validate;
mod views;
pub(in crate::sim) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::deliver::Delivered;
pub use self::faults::{ApiFault, DeliveryFaults};
pub use self::model::{Ephemeral, Message, World};
pub use self::people::Reply;
pub use self::sign_in::{CLIENT_ID, CLIENT_SECRET};
pub use self::socket::SOCKETS_MAX;
pub use self::validate::{Refusal, check_message};
pub use self::views::View;
pub use self::wire::sign;

use self::faults::Injected;
use self::rates::Rates;
use self::socket::{EndsSockets, Sockets};
use crate::clock::{Clock, Elapsed};
use crate::id::Ids;
use crate::sim::feishu::{SimFeishu, playground as panel};

/// How a simulated workspace is set up.
#[derive(Debug, Clone)]
pub struct SimSlackConfig {
    /// What deliveries are signed with.
    pub signing_secret: SecretString,
    /// The token that the Web API accepts.
    pub bot_token: SecretString,
    /// The app's own token, which opens sockets.
    pub app_token: SecretString,
    /// Whether deliveries go over sockets; may be changed later, see [`SimSlack::set_socket_mode`].
    pub socket_mode: bool,
    /// Where deliveries go otherwise; may be set later, see [`SimSlack::set_webhook`].
    pub webhook_url: Option<String>,
    /// The port on loopback; 0 picks a free one.
    pub port: u16,
    /// Whether the Web API's rate limits hold.
    pub rate_limits: bool,
}

/// A running simulated workspace. Cheap to clone; the last clone's end stops it.
#[derive(Clone)]
pub struct SimSlack(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the server's handlers and the test API share.
pub(in crate::sim::slack) struct Shared {
    config: SimSlackConfig,
    clock: Clock,
    ids: Ids,
    addr: SocketAddr,
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    webhook: Mutex<Option<String>>,
    socket_url: Mutex<String>,
    faults: Mutex<Vec<Injected>>,
    delivery_faults: Mutex<DeliveryFaults>,
    taken_scopes: Mutex<BTreeSet<String>>,
    rates: Mutex<Rates>,
    last_delivery: Mutex<Option<Delivered>>,
    calls: Mutex<BTreeMap<String, u64>>,
    sockets: Mutex<Sockets>,
    sign_ins: Mutex<sign_in::SignIns>,
}

impl SimSlack {
    /// Starts a workspace; it answers when this returns.
    pub async fn start(config: SimSlackConfig, clock: Clock, ids: Ids) -> io::Result<SimSlack> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        SimSlack::start_on(listener, config, clock, ids)
    }

    /// Starts a workspace whose page shows this tenant of Feishu beside it.
    pub async fn start_beside(
        feishu: SimFeishu,
        config: SimSlackConfig,
        clock: Clock,
        ids: Ids,
    ) -> io::Result<SimSlack> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        SimSlack::serve(listener, config, Some(feishu), (clock, ids))
    }

    /// Starts a workspace on a socket that listens already; refused beyond loopback. `config.port` means nothing here.
    pub fn start_on(
        listener: TcpListener,
        config: SimSlackConfig,
        clock: Clock,
        ids: Ids,
    ) -> io::Result<SimSlack> {
        SimSlack::serve(listener, config, None, (clock, ids))
    }

    fn serve(
        listener: TcpListener,
        config: SimSlackConfig,
        beside: Option<SimFeishu>,
        (clock, ids): (Clock, Ids),
    ) -> io::Result<SimSlack> {
        let addr = listener.local_addr()?;
        if !addr.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a simulated Slack stays on loopback"));
        }
        let shared = Arc::new(Shared {
            addr,
            webhook: Mutex::new(config.webhook_url.clone()),
            socket_url: Mutex::new(format!("ws://{addr}/link/")),
            rates: Mutex::new(Rates::new(config.rate_limits)),
            sockets: Mutex::new(Sockets::new(config.socket_mode)),
            config,
            clock,
            ids,
            world: Mutex::new(World::new()),
            changed: watch::Sender::new(0),
            faults: Mutex::default(),
            delivery_faults: Mutex::default(),
            taken_scopes: Mutex::default(),
            last_delivery: Mutex::default(),
            calls: Mutex::default(),
            sign_ins: Mutex::default(),
        });
        let app = api::routes()
            .merge(respond::routes())
            .merge(files::routes())
            .merge(socket::routes())
            .merge(sign_in::routes())
            .merge(playground::routes(beside.is_some()))
            .with_state(shared.clone())
            .merge(beside.map(panel::routes).unwrap_or_default())
            .layer(axum::middleware::from_fn(playground::only_local))
            .into_make_service_with_connect_info::<wire::Cut>();
        let sockets = EndsSockets(shared.clone());
        let task = tokio::spawn(async move {
            let _sockets = sockets;
            // Serving loopback ends only with the task.
            let _ = axum::serve(wire::CuttableListener(listener), app).await;
        });
        Ok(SimSlack(Arc::new(Handle { shared, task })))
    }

    /// The page's address: `http://127.0.0.1:port/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.0.shared.addr)
    }

    /// The Web API's address, as `SLACK_API_URL` wants it.
    pub fn api_url(&self) -> String {
        format!("http://{}/api/", self.0.shared.addr)
    }

    /// Where deliveries go from now on; loopback only.
    pub fn set_webhook(&self, url: &str) {
        *self.0.shared.webhook.lock().expect("webhook") = Some(url.to_owned());
    }

    /// Sockets are opened at this address from now on (`wss://slack.example/link/`), behind which somebody passes on what
    /// comes to `/link/` here.
    pub fn set_socket_url(&self, url: &str) {
        *self.0.shared.socket_url.lock().expect("address") = url.to_owned();
    }

    /// Whether the Web API's rate limits hold from now on.
    pub fn set_rate_limits(&self, hold: bool) {
        self.0.shared.rates.lock().expect("rates").enforced = hold;
    }

    /// Somebody deletes a message.
    pub fn delete(&self, channel: &str, ts: &str) {
        self.0.shared.change(|world| {
            let id = world.channel(channel).map(|channel| channel.id.clone());
            if let Some(channel) = id.and_then(|id| world.channels.get_mut(&id)) {
                channel.messages.retain(|message| message.ts != ts);
            }
        });
    }

    /// Whether the app may read channels' history (`channels:history`) from now on.
    pub fn set_history_scope(&self, granted: bool) {
        ["channels:history", "groups:history"].into_iter().for_each(|scope| self.set_scope(scope, granted));
    }

    /// Whether the app has this scope from now on.
    pub fn set_scope(&self, scope: &str, granted: bool) {
        let mut taken = self.0.shared.taken_scopes.lock().expect("scopes");
        if granted {
            taken.remove(scope);
        } else {
            taken.insert(scope.to_owned());
        }
    }

    /// Breaks the next `times` calls of a method; `*` is any method.
    pub fn break_calls(&self, method: &str, fault: ApiFault, times: u32) {
        let injected = Injected { method: method.to_owned(), fault, times };
        self.0.shared.faults.lock().expect("faults").push(injected);
    }

    /// Ends every fault of the Web API.
    pub fn heal(&self) {
        self.0.shared.faults.lock().expect("faults").clear();
        *self.0.shared.delivery_faults.lock().expect("faults") = DeliveryFaults::default();
        self.0.shared.taken_scopes.lock().expect("scopes").clear();
    }

    /// Changes what is wrong with deliveries to the app.
    pub fn set_delivery_faults(&self, change: impl FnOnce(&mut DeliveryFaults)) {
        change(&mut self.0.shared.delivery_faults.lock().expect("faults"));
    }

    /// Adds a channel; `has_bot` puts the bot into it.
    pub fn add_channel(&self, id: &str, name: &str, has_bot: bool) {
        self.0.shared.change(|world| world.add_channel(id, name, has_bot, None));
    }

    /// These are the members of a user group now.
    pub fn set_group(&self, id: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.0.shared.change(|world| world.groups.insert(id.to_owned(), members));
    }

    /// Adds a person, with a direct conversation with the bot.
    pub fn add_person(&self, id: &str, name: &str) {
        self.0.shared.change(|world| world.add_person(id, name));
    }

    /// Somebody chooses a language for themselves: `zh-CN`.
    pub fn set_locale(&self, user: &str, locale: &str) {
        self.0.shared.change(|world| {
            let id = world.user(user).map(|user| user.id.clone());
            if let Some(user) = id.and_then(|id| world.users.get_mut(&id)) {
                user.locale = Some(locale.to_owned());
            }
        });
    }

    /// What a file that was shown holds, by its name.
    pub fn file(&self, name: &str) -> Option<String> {
        self.with(|world| files::content(world, name))
    }

    /// Looks at the workspace without reading anything.
    pub fn with<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.0.shared.world.lock().expect("world"))
    }

    /// How often a method of the Web API was called.
    pub fn calls(&self, method: &str) -> u64 {
        self.0.shared.calls.lock().expect("calls").get(method).copied().unwrap_or(0)
    }

    /// A thread's messages, oldest first; they count as read.
    pub fn thread(&self, channel: &str, ts: &str) -> Vec<Message> {
        self.read(channel, |message| message.ts == ts || message.thread_ts.as_deref() == Some(ts))
    }

    /// A channel's messages without replies, oldest first; they count as read.
    pub fn channel(&self, channel: &str) -> Vec<Message> {
        self.read(channel, |message| message.thread_ts.is_none() || message.broadcast)
    }

    fn read(&self, channel: &str, which: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut world = self.0.shared.world.lock().expect("world");
        let Some(id) = world.channel(channel).map(|channel| channel.id.clone()) else {
            return vec![];
        };
        let messages = world.channels.get_mut(&id).map(|channel| channel.messages.iter_mut());
        let seen = messages.into_iter().flatten().filter(|message| which(message)).map(|message| {
            message.read = true;
            message.clone()
        });
        seen.collect()
    }

    /// What only this person sees, oldest first; it counts as read.
    pub fn ephemerals(&self, user: &str) -> Vec<Ephemeral> {
        let mut world = self.0.shared.world.lock().expect("world");
        let Some(id) = world.user(user).map(|user| user.id.clone()) else {
            return vec![];
        };
        let seen = world.ephemerals.iter_mut().filter(|answer| answer.user == id).map(|answer| {
            answer.read = true;
            answer.clone()
        });
        seen.collect()
    }

    /// What only this person sees and has not looked at yet, as they read it, oldest first; it counts as read.
    pub fn render_answers(&self, user: &str) -> String {
        let mut world = self.0.shared.world.lock().expect("world");
        let id = world.user(user).map(|user| user.id.clone());
        let mut out = String::new();
        let unread = |answer: &&mut Ephemeral| Some(&answer.user) == id.as_ref() && !answer.read;
        let mut answers = Vec::new();
        for answer in world.ephemerals.iter_mut().filter(unread) {
            answer.read = true;
            answers.push(render::body(&answer.text, &answer.blocks, &serde_json::Value::Null));
        }
        for answer in answers {
            out.push_str(&render::readable(&answer, &world));
            out.push('\n');
        }
        out
    }

    /// A thread as a person reads it; it counts as read.
    pub fn render_thread(&self, channel: &str, ts: &str) -> String {
        let messages = self.thread(channel, ts);
        self.with(|world| render::messages(world, messages.iter()))
    }

    /// A channel as a person reads it, without replies; it counts as read.
    pub fn render_channel(&self, channel: &str) -> String {
        let messages = self.channel(channel);
        self.with(|world| render::messages(world, messages.iter()))
    }

    /// What the bot said and nobody has read, as `#soc-ci: text`. A test's ending fails on it.
    pub fn unread(&self) -> Vec<String> {
        self.with(World::unread)
    }

    /// What the app did that a real workspace would not have taken.
    pub fn problems(&self) -> Vec<String> {
        self.with(|world| world.problems.iter().cloned().collect())
    }

    /// The bot's reactions on a message, by their names.
    pub fn reactions(&self, channel: &str, ts: &str) -> Vec<String> {
        self.with(|world| {
            world.message(channel, ts).map(|message| message.reactions.clone()).unwrap_or_default()
        })
    }

    /// Waits until the workspace satisfies `holds`, at most `within`.
    pub async fn until(&self, holds: impl Fn(&World) -> bool, within: Duration) -> Result<(), Elapsed> {
        let mut changed = self.0.shared.changed.subscribe();
        let satisfied = async {
            while !self.with(&holds) {
                // The sender lives in `self`, so a change always comes or the time runs out.
                let _ = changed.changed().await;
            }
        };
        self.0.shared.clock.timeout(within, satisfied).await
    }
}

impl Shared {
    /// Changes the workspace and wakes whoever waits for that.
    fn change<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let result = change(&mut self.world.lock().expect("world"));
        self.changed.send_modify(|changes| *changes += 1);
        result
    }
}

#[cfg(test)]
mod tests;
