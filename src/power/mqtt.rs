//! Power by MQTT: publishes what switches, and asks for the state on another topic. The broker's receipt says that it
//! has the message, not that a switch heard it; only the state does.

use std::sync::atomic::{AtomicU64, Ordering};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use secrecy::ExposeSecret;

use super::Outlet;
use super::fault::{Fault, silence, with_port};
use super::http::{first_group, named};
use crate::board::power::{MqttMessage, MqttStatus, MqttSwitch};
use crate::clock::Clock;

/// The port of a broker that names none.
const PORT_DEFAULT: u16 = 1883;
/// Largest packet, in bytes: states are short.
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// How many of our own requests may wait to be sent: connect, subscribe and publish are all there is.
const WAITING_MAX: usize = 4;

/// Sets the switch with `Some`, reads it with `None`.
pub(super) async fn request(
    clock: &Clock,
    broker: &str,
    switch: &MqttSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let message = match (set, &switch.status) {
        (Some(Outlet::On), _) => &switch.on,
        (Some(Outlet::Off), _) => &switch.off,
        (None, Some(status)) => return read(clock, broker, switch, status).await.map(Some),
        (None, None) => return Ok(None),
    };
    let mut talk = Talk::open(broker, switch)?;
    let published = clock.timeout(switch.within, talk.publish(message)).await;
    published.map_err(|_| Fault::passing(format!("its broker: {}", silence(switch.within))))??;
    let _ = clock.timeout(switch.within, talk.close()).await;
    Ok(None)
}

async fn read(
    clock: &Clock,
    broker: &str,
    switch: &MqttSwitch,
    status: &MqttStatus,
) -> Result<Outlet, Fault> {
    let mut talk = Talk::open(broker, switch)?;
    let subscribed = clock.timeout(switch.within, talk.subscribe(&status.topic)).await;
    subscribed.map_err(|_| Fault::passing(format!("its broker: {}", silence(switch.within))))??;
    let told = clock.timeout(switch.within, talk.state(status)).await;
    let told = told.map_err(|_| {
        let quiet = silence(switch.within);
        Fault::passing(format!(
            "its broker is there, but the switch told no state: {quiet}; is `topic` right?"
        ))
    })?;
    let _ = clock.timeout(switch.within, talk.close()).await;
    told
}

/// One connection to a broker.
struct Talk {
    client: AsyncClient,
    events: EventLoop,
}

impl Talk {
    fn open(broker: &str, switch: &MqttSwitch) -> Result<Talk, Fault> {
        // Two sessions of one name push each other out, so each has its own.
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let address = with_port(broker, PORT_DEFAULT);
        let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
        let port = port.parse().map_err(|_| Fault::lasting("its broker's port is no number"))?;
        let name = format!("boardhand-{}-{session}", std::process::id());
        let mut options = MqttOptions::new(name, host.trim_matches(['[', ']']), port);
        options.set_clean_session(true).set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some(login) = &switch.login {
            options.set_credentials(&login.username, login.password.expose_secret());
        }
        let (client, events) = AsyncClient::new(options, WAITING_MAX);
        Ok(Talk { client, events })
    }

    /// Publishes and waits for the broker's receipt.
    async fn publish(&mut self, message: &MqttMessage) -> Result<(), Fault> {
        self.send(message, QoS::AtLeastOnce).await?;
        self.until(|packet| matches!(packet, Packet::PubAck(_)).then_some(())).await
    }

    async fn send(&mut self, message: &MqttMessage, qos: QoS) -> Result<(), Fault> {
        let sent = self.client.publish(&message.topic, qos, false, message.payload.as_bytes()).await;
        sent.map_err(|_| Fault::lasting("its topic is one that no broker takes"))
    }

    async fn subscribe(&mut self, topic: &str) -> Result<(), Fault> {
        let sent = self.client.subscribe(topic, QoS::AtMostOnce).await;
        sent.map_err(|_| Fault::lasting("its state's topic is one that no broker takes"))?;
        self.until(|packet| matches!(packet, Packet::SubAck(_)).then_some(())).await
    }

    /// Asks, where there is something to ask, and waits for a message that tells the state.
    async fn state(&mut self, status: &MqttStatus) -> Result<Outlet, Fault> {
        if let Some(ask) = &status.ask {
            self.send(ask, QoS::AtMostOnce).await?;
        }
        let tells = |packet: &Packet| match packet {
            Packet::Publish(message) => {
                let payload = String::from_utf8_lossy(&message.payload);
                first_group(&status.pattern, &payload).map(str::to_owned)
            }
            _ => None,
        };
        let word = self.until(tells).await?;
        named(&word, &status.on, &status.off)
    }

    /// Drives the connection until a packet that counts arrives.
    async fn until<T>(&mut self, counts: impl Fn(&Packet) -> Option<T>) -> Result<T, Fault> {
        use rumqttc::{ConnectReturnCode as Code, ConnectionError};
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(packet)) => {
                    if let Some(result) = counts(&packet) {
                        return Ok(result);
                    }
                }
                Ok(Event::Outgoing(_)) => {}
                Err(ConnectionError::ConnectionRefused(Code::BadUserNamePassword | Code::NotAuthorized)) => {
                    return Err(Fault::lasting("its broker refused who asks: user name or password?"));
                }
                Err(ConnectionError::Io(error)) => {
                    return Err(Fault::passing(format!("its broker: {error}")));
                }
                Err(_) => return Err(Fault::passing("its broker broke the connection off")),
            }
        }
    }

    async fn close(mut self) {
        if self.client.disconnect().await.is_ok() {
            // Ends with the error that says that the connection is closed.
            while self.events.poll().await.is_ok() {}
        }
    }
}
