//! Power by a command line or a menu behind telnet: waits for text, types, and judges by what comes back. Such a
//! device often serves one session only, so each request logs in, acts, and logs out again.
//!
//! What the device says is never shown: it may repeat what was typed at it.

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Outlet;
use super::fault::{Fault, silence, with_port};
use super::http::{first_group, named};
use crate::board::power::{TelnetStep, TelnetSwitch};
use crate::board::shown;
use crate::clock::Clock;
use crate::console::telnet::Telnet;

/// The port of a device that names none.
const PORT_DEFAULT: u16 = 23;
/// How much of what the device said is searched; the beginning is forgotten.
const WINDOW_BYTES_MAX: usize = 16 * 1024;
/// How much a device may say while one step waits, before it counts as out of its mind.
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// Sets the outlet with `Some`, reads it with `None`.
pub(super) async fn request(
    clock: &Clock,
    host: &str,
    switch: &TelnetSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let (name, steps) = match (set, &switch.status) {
        (Some(Outlet::On), _) => ("on", &switch.on),
        (Some(Outlet::Off), _) => ("off", &switch.off),
        (None, Some(status)) => ("status", status),
        (None, None) => return Ok(None),
    };
    let dialled = clock.timeout(switch.within, TcpStream::connect(with_port(host, PORT_DEFAULT))).await;
    let stream = dialled.map_err(|_| Fault::passing(silence(switch.within)))?;
    let stream = stream.map_err(|error| Fault::passing(error.to_string()))?;
    let mut talk = Talk { clock, switch, stream, telnet: Telnet::client("vt100"), said: String::new() };
    talk.perform("login", &switch.login).await?;
    let word = match talk.perform(name, steps).await {
        // A login that is refused is seen here: the prompt does not come.
        Err((0, problem)) if !switch.login.is_empty() => {
            return Err(Fault::lasting(format!("{problem}: user name or password?")));
        }
        ended => ended?,
    };
    // The outlet is switched; a device that ends the session its own way has no say in that.
    let _ = talk.perform("logout", &switch.logout).await;
    match set {
        Some(_) => Ok(None),
        None => {
            let words = |all: [&str; 2]| all.map(str::to_owned);
            named(&word, &words(["on", "1"]), &words(["off", "0"])).map(Some)
        }
    }
}

/// A conversation, and what was said in it after the last match.
struct Talk<'t> {
    clock: &'t Clock,
    switch: &'t TelnetSwitch,
    stream: TcpStream,
    telnet: Telnet,
    said: String,
}

/// The step that was not reached, and why.
type Stuck = (usize, String);

impl From<Stuck> for Fault {
    fn from((_, problem): Stuck) -> Fault {
        Fault::Passing(problem)
    }
}

impl Talk<'_> {
    /// Performs steps; gives what the last pattern found.
    async fn perform(&mut self, name: &str, steps: &[TelnetStep]) -> Result<String, Stuck> {
        let mut found = String::new();
        for (n, step) in steps.iter().enumerate() {
            let stuck = |why: String| {
                let pattern = shown(step.expect.as_str());
                (n, format!("{why} while waiting for {pattern}, step {} of {name}", n + 1))
            };
            let waited = self
                .clock
                .timeout(self.switch.within, wait(&mut self.stream, &mut self.telnet, &mut self.said, step));
            found = waited.await.map_err(|_| stuck(silence(self.switch.within)))?.map_err(stuck)?;
            if let Some(text) = &step.send {
                let line = self.telnet.encode(format!("{}\r", text.expose_secret()).as_bytes());
                let sent = self.clock.timeout(self.switch.within, self.stream.write_all(&line)).await;
                let sent = sent.map_err(|_| (n, silence(self.switch.within)))?;
                sent.map_err(|error| (n, error.to_string()))?;
            }
        }
        Ok(found)
    }
}

/// Reads until the step's pattern is there; gives what it found and forgets everything up to its end.
async fn wait(
    stream: &mut TcpStream,
    telnet: &mut Telnet,
    said: &mut String,
    step: &TelnetStep,
) -> Result<String, String> {
    let mut input = [0; 4096];
    let mut heard = 0;
    loop {
        if let Some(found) = step.expect.find(said) {
            let word = first_group(&step.expect, said).unwrap_or_default().to_owned();
            said.drain(..found.end());
            return Ok(word);
        }
        let n = match stream.read(&mut input).await {
            Ok(0) => return Err("it closed the connection".into()),
            Ok(n) => n,
            Err(error) => return Err(error.to_string()),
        };
        heard += n;
        if heard > STEP_BYTES_MAX {
            return Err("it said too much".into());
        }
        let (mut data, mut reply) = (Vec::new(), Vec::new());
        telnet.feed(&input[..n], &mut data, &mut reply);
        if !reply.is_empty() {
            stream.write_all(&reply).await.map_err(|error| error.to_string())?;
        }
        said.extend(String::from_utf8_lossy(&data).chars().filter(|c| !matches!(c, '\r' | '\0')));
        if said.len() > WINDOW_BYTES_MAX {
            let cut = said.ceil_char_boundary(said.len() - WINDOW_BYTES_MAX);
            said.drain(..cut);
        }
    }
}
