//! What a test sees of a lab beside its chat: answers that only one person sees, outcomes, rows of the database.

use std::time::Duration;

use boardhand::store::RunView;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CHANNEL, Lab, steady};

impl Lab {
    /// Somebody starts a run; gives its number. The answer must promise one.
    pub(crate) async fn run(&self, user: &str, text: &str) -> i64 {
        let seen = self.say(user, text).await;
        let number = seen.strip_prefix("👍 *#").and_then(|rest| rest.split_once('*')?.0.parse().ok());
        number.unwrap_or_else(|| panic!("{text} did not start a run:\n{seen}"))
    }

    /// What the server answers at this path, with its head.
    pub(crate) async fn get(&self, path: &str) -> String {
        let address = self.door.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("the door");
        let request = format!("GET {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    /// What people type one after the other, and what each sees at once.
    pub(crate) async fn talk(&self, lines: &[(&str, &str)]) -> String {
        let mut out = String::new();
        for (user, text) in lines {
            let seen = steady(&self.say(user, text).await);
            out.push_str(&format!("{user}> {text}\n{}\n\n", indented(&seen)));
        }
        out
    }

    /// Somebody types a command that changes nothing, again until what they see says this.
    pub(crate) async fn say_until(&self, user: &str, text: &str, says: &str) -> String {
        let asking = async {
            loop {
                let seen = self.say(user, text).await;
                if seen.contains(says) {
                    return steady(&seen);
                }
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = self.clock.timeout(self.within, asking).await;
        seen.unwrap_or_else(|_| panic!("{text} never said {says:?}"))
    }

    /// Somebody mentions the bot, and sees this a moment later.
    pub(crate) async fn ask(&self, user: &str, text: &str) -> String {
        self.slack.say(user, CHANNEL, text).await;
        self.answer(user).await
    }

    /// Somebody presses a button of a run's card, and sees this a moment later.
    pub(crate) async fn click(&self, user: &str, run: i64, button: &str) -> String {
        let pressed = self.slack.click(user, &self.card(run), button).await;
        assert_eq!((pressed.status, pressed.text.as_str()), (200, ""), "{user} presses {button:?} on #{run}");
        self.answer(user).await
    }

    /// The next answers that only this person sees, once there is one.
    pub(crate) async fn answer(&self, user: &str) -> String {
        let came = self.slack.until(
            |world| {
                let id = world.user(user).map(|user| user.id.as_str());
                world.ephemerals.iter().any(|answer| Some(answer.user.as_str()) == id && !answer.read)
            },
            self.within,
        );
        if came.await.is_err() {
            panic!("{user} never got an answer:\n{}", self.slack.render_channel(CHANNEL));
        }
        steady(self.slack.render_answers(user).trim_end())
    }

    /// Waits until something that somebody was told in person, and did not read yet, says this; gives all of that.
    pub(crate) async fn direct(&self, user: &str, says: &str) -> String {
        let channel = format!("D0{}", user.to_uppercase());
        let came = self.slack.until(
            |world| {
                let messages = world.channel(&channel).map(|channel| &channel.messages);
                messages.into_iter().flatten().any(|m| m.user == "U0BOT" && !m.read && said(m).contains(says))
            },
            self.within,
        );
        if came.await.is_err() {
            panic!("{user} was never told {says:?} in person:\n{}", self.slack.render_channel(&channel));
        }
        steady(self.slack.render_channel(&channel).trim_end())
    }

    /// Somebody presses a button of the newest message that they were sent in person and that has it.
    pub(crate) async fn press(&self, user: &str, button: &str) {
        let channel = format!("D0{}", user.to_uppercase());
        let ts = self.slack.with(|world| {
            let has = |m: &&boardhand::sim::slack::Message| {
                m.user == "U0BOT" && m.blocks.to_string().contains(&format!("\"text\":\"{button}\""))
            };
            world
                .channel(&channel)
                .and_then(|channel| channel.messages.iter().rfind(has))
                .map(|m| m.ts.clone())
        });
        let ts = ts.unwrap_or_else(|| panic!("{user} has no button {button:?}"));
        let pressed = self.slack.click(user, &ts, button).await;
        assert_eq!((pressed.status, pressed.text.as_str()), (200, ""), "{user} presses {button:?}");
    }

    /// Waits until an answer to somebody says this; gives all that they did not read yet.
    pub(crate) async fn answers_until(&self, user: &str, says: &str) -> String {
        let came = self.slack.until(
            |world| {
                let id = world.user(user).map(|user| user.id.as_str());
                let mut mine = world.ephemerals.iter().filter(|answer| Some(answer.user.as_str()) == id);
                mine.any(|answer| !answer.read && answer.text.contains(says))
            },
            self.within,
        );
        if came.await.is_err() {
            panic!("{user} was never told {says:?}:\n{}", self.slack.render_answers(user));
        }
        steady(self.slack.render_answers(user).trim_end())
    }

    /// The run as the store has it.
    pub(crate) async fn view(&self, run: i64) -> RunView {
        let view = self.store.run_view(run).await.expect("store");
        view.unwrap_or_else(|| panic!("there is no #{run}"))
    }

    /// Waits until the run is as `holds` wants it.
    pub(crate) async fn until(&self, run: i64, what: &str, holds: impl Fn(&RunView) -> bool) -> RunView {
        let waiting = async {
            loop {
                let view = self.view(run).await;
                if holds(&view) {
                    return view;
                }
                self.clock.sleep(Duration::from_millis(2)).await;
            }
        };
        match self.clock.timeout(self.within, waiting).await {
            Ok(view) => view,
            Err(_) => panic!("#{run} never was {what}: {:?}", self.view(run).await.run.state),
        }
    }

    /// Waits until the run's state has this word.
    pub(crate) async fn until_state(&self, run: i64, word: &str) -> RunView {
        self.until(run, word, |view| view.run.state.word() == word).await
    }

    /// A finished run in one line: `failed tests-failed in testing after infra console-busy`.
    pub(crate) async fn verdict(&self, run: i64) -> String {
        let view = self.until_state(run, "finished").await;
        let boardhand::run::RunState::Finished { outcome, .. } = &view.run.state else {
            unreachable!("just finished")
        };
        let cause = if outcome.cause.is_empty() { String::new() } else { format!(" {}", outcome.cause) };
        let mut line = format!("{}{cause} in {}", outcome.verdict.as_str(), outcome.stage.as_str());
        let word = |o: &boardhand::outcome::Outcome| format!("{} {}", o.verdict.as_str(), o.cause);
        let tries = view.attempts.split_last().map_or(&[][..], |(_, before)| before).iter();
        let tries: Vec<String> = tries.map(|a| a.outcome.as_ref().map_or("?".into(), word)).collect();
        if !tries.is_empty() {
            line.push_str(&format!(" after {}", tries.join(", ")));
        }
        line
    }

    /// The names of boards whose power is on.
    pub(crate) fn on(&self) -> Vec<String> {
        self.boards.boards().filter(|(_, sim)| sim.is_on()).map(|(id, _)| id.to_string()).collect()
    }

    /// Takes the database's pen away from the server until the answer is dropped.
    pub(crate) async fn stall(&self) -> sqlx::SqliteConnection {
        stall(self.data.path()).await
    }

    /// The address behind a link of a run's card, without the server's own.
    pub(crate) fn link(&self, run: i64, path: &str) -> String {
        let blocks = self.slack.with(|world| super::card_of(world, run).map(|card| card.blocks.to_string()));
        let blocks = blocks.expect("the run has a card");
        let found = blocks.split(&self.door).skip(1).find(|link| link.starts_with(path));
        let link = found.unwrap_or_else(|| panic!("no link to {path} in {blocks}"));
        link.split(['|', '>', '"']).next().unwrap_or_default().to_owned()
    }

    /// Changes the database behind the server's back, as a bad disk or a curious admin would.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        tamper(self.data.path(), sql).await;
    }

    /// Rows of the database, columns joined by ` | `; nulls are `-`.
    pub(crate) async fn rows(&self, sql: &'static str) -> Vec<String> {
        rows(self.data.path(), sql).await
    }
}

/// Takes the pen of the database in this data directory away until the answer is dropped.
pub(crate) async fn stall(data: &std::path::Path) -> sqlx::SqliteConnection {
    let file = SqliteConnectOptions::new().filename(data.join("boardhand.db"));
    let mut connection = file.connect().await.expect("the database opens");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the pen");
    connection
}

/// The file of a data directory whose database is in PostgreSQL: it says where.
pub(crate) const ELSEWHERE: &str = "postgres";

/// Rows of the database in this data directory, columns joined by ` | `; nulls are `-`.
pub(crate) async fn rows(data: &std::path::Path, sql: &'static str) -> Vec<String> {
    if let Ok(url) = std::fs::read_to_string(data.join(ELSEWHERE)) {
        let cell = |row: &sqlx::postgres::PgRow, at: usize| {
            let text = row.try_get::<Option<String>, _>(at);
            text.or_else(|_| row.try_get::<Option<i64>, _>(at).map(|n| n.map(|n| n.to_string())))
                .expect("text or a number")
                .unwrap_or_else(|| "-".into())
        };
        let rows = super::postgres::fetch(&url, sql).await;
        let line = |row: &sqlx::postgres::PgRow| {
            (0..row.len()).map(|at| cell(row, at)).collect::<Vec<_>>().join(" | ")
        };
        return rows.iter().map(line).collect();
    }
    let file = SqliteConnectOptions::new().filename(data.join("boardhand.db")).read_only(true);
    let mut connection = file.connect().await.expect("the database opens");
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect(sql);
    let cell = |row: &sqlx::sqlite::SqliteRow, at: usize| {
        let text = row.try_get::<Option<String>, _>(at);
        text.or_else(|_| row.try_get::<Option<i64>, _>(at).map(|n| n.map(|n| n.to_string())))
            .expect("text or a number")
            .unwrap_or_else(|| "-".into())
    };
    rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect::<Vec<_>>().join(" | ")).collect()
}

/// Changes the database in this data directory.
pub(crate) async fn tamper(data: &std::path::Path, sql: &'static str) {
    if let Ok(url) = std::fs::read_to_string(data.join(ELSEWHERE)) {
        // There they always are.
        return super::postgres::execute(&url, sql.trim_start_matches("PRAGMA foreign_keys = ON;")).await;
    }
    let file = SqliteConnectOptions::new().filename(data.join("boardhand.db"));
    let mut connection = file.connect().await.expect("the database opens");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect(sql);
    connection.close().await.expect("the database closes");
}

fn said(message: &boardhand::sim::slack::Message) -> String {
    format!("{} {}", message.text, message.blocks)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
