//! Power switches in trouble: slow, deaf, mad, or gone. Each case says what a person is told, that it was tried as often
//! as makes sense, and that nothing is switched without a lease.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use boardhand::board::plan::PowerAction;
use boardhand::clock::Clock;
use boardhand::lease::InHand;
use boardhand::power::{Outlet, Power, PowerError, TRIES_MAX};

use crate::console_real::rig::{Forever, free_port};
use crate::power_real::{act, board};

const TRIES: usize = TRIES_MAX as usize;

/// Somebody on a port who does the same to every connection; how many there were is counted. Ends with the process.
fn everybody(does: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, count) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
    let (counted, does) = (count.clone(), Arc::new(does));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let (stream, does) = (stream.expect("a client"), does.clone());
            std::thread::spawn(move || does(stream));
        }
    });
    (address, count)
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let mut request = [0; 4096];
    drop(stream.read(&mut request));
    let length = body.len();
    drop(write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"));
}

/// Drops a connection so that the other side is told of a reset.
fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream.as_fd()).set_linger(Some(Duration::ZERO));
    socket.expect("an option");
}

fn http(address: SocketAddr) -> String {
    format!("driver: http, within: 6s, on: 'http://{address}/on', off: 'http://{address}/off'")
}

/// What is told when `off` fails.
async fn told(power: &str, host: &str) -> String {
    let told = act(&board(host, "3", power), PowerAction::Off).await.expect_err("refused");
    let before = "the PDU of soc-a-001 did not do as it was told: ";
    told.strip_prefix(before).unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[tokio::test]
async fn a_device_that_answers_after_four_seconds_is_waited_for() {
    let (address, count) = everybody(|mut stream| {
        std::thread::sleep(Duration::from_secs(4));
        answer(&mut stream, "200 OK", "done");
    });
    assert_eq!(act(&board("h", "3", &http(address)), PowerAction::Off).await, Ok(None));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_device_that_is_gone_deaf_or_mad_is_told_as_that_after_every_try() {
    let gone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let refused = "Connection refused (os error 111)";
    assert_eq!(told(&http(gone), "h").await, format!("no connection: {refused}"));
    let login = "username: u, password: p";
    for driver in ["redfish, tls: false", "telnet, preset: apc-cli"] {
        let told = told(&format!("driver: {driver}, {login}"), &gone.to_string()).await;
        assert!(told.ends_with(refused), "{driver}: {told}");
    }
    let told_of = |power: String| async move { told(&power, "h").await };

    let (address, count) = everybody(reset);
    let text = told_of(http(address)).await;
    assert!(text.starts_with("the connection broke: ") || text.contains("reset"), "{text}");
    assert_eq!(count.load(Ordering::SeqCst), TRIES);

    let (address, count) = everybody(|mut stream| drop(stream.write_all(&[0xff, 0, 7, b'\n', 0x80, b'\n'])));
    let text = told_of(http(address)).await;
    assert!(text.starts_with("the connection broke: "), "{text}");
    assert_eq!(count.load(Ordering::SeqCst), TRIES);

    let (address, count) = everybody(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let deaf = http(address).replace("6s", "200ms");
    assert_eq!(told_of(deaf).await, "no answer in 200ms");
    assert_eq!(count.load(Ordering::SeqCst), TRIES);

    let (address, count) = everybody(|mut stream| answer(&mut stream, "503 Busy", ""));
    assert_eq!(told_of(http(address)).await, "it answered with status 503");
    assert_eq!(count.load(Ordering::SeqCst), TRIES);
}

#[tokio::test]
async fn what_asking_again_cannot_mend_is_asked_once() {
    let cases = [
        ("401 No", "it refused who asks (401): user name, password or token?"),
        ("404 No", "it knows no such address (404): another preset, or another outlet?"),
        (
            "302 Elsewhere",
            "it answered with a redirect (302), which is not followed: is the address right, or `tls: true` missing?",
        ),
        ("418 Teapot", "it answered with status 418"),
    ];
    for (status, expect) in cases {
        let (address, count) = everybody(move |mut stream| answer(&mut stream, status, ""));
        assert_eq!(told(&http(address), "h").await, expect);
        assert_eq!(count.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_a_state_is_no_state() {
    let cases = [
        ("", "its answer is no JSON"),
        ("{}", "its answer holds no state where one should be"),
        ("{\"state\": \"maybe\"}", "its state is \"maybe\", neither on nor off"),
    ];
    for (body, expect) in cases {
        let (address, _) = everybody(move |mut stream| answer(&mut stream, "200 OK", body));
        let power = format!("{}, status: {{url: 'http://{address}/', pointer: /state}}", http(address));
        assert_eq!(told(&power, "h").await, expect);
    }
    let (address, _) = everybody(|mut stream| answer(&mut stream, "200 OK", "{\"state\": true}"));
    let power = format!("{}, status: {{url: 'http://{address}/', pointer: /state}}", http(address));
    let stays = act(&board("h", "3", &power), PowerAction::Off).await;
    assert_eq!(stays, Err("the outlet of soc-a-001 stays on after it was switched off".into()));
}

#[tokio::test]
async fn an_agent_that_answers_nonsense_or_for_somebody_else_is_not_believed() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    // Ends with the process: nonsense first, then the request itself, then silence.
    std::thread::spawn(move || {
        let mut request = [0; 2048];
        for n in 0.. {
            let (length, from) = socket.recv_from(&mut request).expect("a request");
            let answer: &[u8] = match n {
                0 => b"\x30\x84\xff\xff\xff\xff\x02",
                1 => &request[..length],
                _ => continue,
            };
            socket.send_to(answer, from).expect("sent");
        }
    });
    let power = "driver: snmp, preset: apc-rpdu, community: c, within: 300ms";
    let expect = "no answer in 300ms: it cannot be reached, or it does not know this community";
    assert_eq!(told(power, &address).await, expect);
    let closed = format!(
        "127.0.0.1:{}",
        UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("one").port()
    );
    assert_eq!(told(power, &closed).await, "nothing listens on its SNMP port");
}

struct Over;

impl InHand for Over {
    fn trusted(&self) -> bool {
        false
    }

    fn label(&self) -> String {
        "a lease that is over".into()
    }
}

#[tokio::test]
async fn nothing_is_switched_without_a_lease_and_anybody_may_read() {
    let (address, count) = everybody(|mut stream| answer(&mut stream, "200 OK", "on"));
    let power = format!("{}, status: {{url: 'http://{address}/', pattern: '.*'}}", http(address));
    let (board, power) = (board("h", "3", &power), Power::new(Clock::system()));
    for action in [PowerAction::On, PowerAction::Off, PowerAction::Cycle] {
        let refused = power.act(&Over, &board, &action).await;
        assert_eq!(refused, Err(PowerError::LeaseOver("soc-a-001".into())));
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(power.act(&Over, &board, &PowerAction::Status).await, Ok(Some(Outlet::On)));
}

#[tokio::test]
async fn requests_to_one_device_stand_in_one_queue() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (now.clone(), most.clone());
    let (address, count) = everybody(move |mut stream| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        inside.fetch_sub(1, Ordering::SeqCst);
        answer(&mut stream, "200 OK", "done");
    });
    // Boards with outlets and hosts of their own: what is dialled is what counts.
    let power = Power::new(Clock::system());
    let mut switching = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (board, power) = (board(&format!("h{n}"), &n.to_string(), &http(address)), power.clone());
        switching.spawn(async move { power.act(&Forever, &board, &PowerAction::Off).await });
    }
    while let Some(done) = switching.join_next().await {
        assert_eq!(done.expect("a task"), Ok(None));
    }
    assert_eq!((count.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (8, 1));
}
