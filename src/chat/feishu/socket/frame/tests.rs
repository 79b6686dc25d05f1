//! Golden bytes of the official client, hostile ones, and events in parts.

use proptest::prelude::*;

use super::*;

/// What Feishu's own client sends, byte for byte.
const PING: &str = "08001000182120002a0c0a0474797065120470696e67";
const ACK: &str = "08011002182120012a0d0a047479706512056576656e742a100a0a6d6573736167655f696412026d312a080a0373756d\
    1201312a080a037365711201302a0f0a0874726163655f696412037472312a0b0a0662697a5f7274120135420c7b22636f6465223a3230307d";

fn event(headers: &[(&str, &str)], payload: &[u8]) -> Frame {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Frame {
        seq: 1,
        log: 2,
        service: 33,
        method: method::DATA,
        headers,
        payload: Some(payload.to_vec()),
        ..Frame::default()
    }
}

fn part(id: &str, sum: &str, seq: &str, payload: &[u8]) -> Frame {
    event(&[("type", "event"), ("message_id", id), ("sum", sum), ("seq", seq)], payload)
}

#[test]
fn a_keepalive_and_an_answer_are_those_of_the_official_client() {
    assert_eq!(hex::encode(Frame::ping(33).encode()), PING);
    let headers = [("type", "event"), ("message_id", "m1"), ("sum", "1"), ("seq", "0"), ("trace_id", "tr1")];
    let answer = event(&headers, b"{}").answered(Duration::from_millis(5), br#"{"code":200}"#.to_vec());
    assert_eq!(hex::encode(answer.encode()), ACK);
    assert_eq!(Frame::decode(&hex::decode(ACK).expect("hex")), Ok(answer));
}

#[test]
fn a_frame_with_everything_comes_back_as_it_was() {
    let whole = Frame {
        seq: u64::MAX,
        log: 0,
        service: -1,
        method: i32::MIN,
        headers: vec![("类型".into(), String::new())],
        encoding: Some("gzip".into()),
        kind: Some("json".into()),
        payload: Some(vec![0, 255]),
        log_new: Some("x".into()),
    };
    assert_eq!(Frame::decode(&whole.encode()), Ok(whole));
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let mut raw = Frame::ping(1).encode();
    number(&mut raw, 99, 7);
    bytes(&mut raw, 100, b"later");
    raw.extend([(101 << 3 | 5) as u8 | 0x80, 6, 0, 0, 0, 0]);
    raw.extend([(102 << 3 | 1) as u8 | 0x80, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Frame::decode(&raw), Ok(Frame::ping(1)));
}

#[track_caller]
fn check(raw: &[u8], expect: FrameProblem) {
    assert_eq!(Frame::decode(raw), Err(expect), "{}", hex::encode(raw));
}

#[test]
fn what_is_no_frame_is_told_and_never_a_panic() {
    let ping = Frame::ping(1).encode();
    check(&[], FrameProblem::Incomplete);
    check(&ping[2..], FrameProblem::Incomplete);
    // Its first eight bytes are a frame themselves: the four fields that every one has.
    for cut in (1..ping.len()).filter(|cut| *cut != 8) {
        assert!(Frame::decode(&ping[..cut]).is_err(), "{cut}");
    }
    let with = |more: &[u8]| [&ping[..], more].concat();
    // Lengths that are not there, up to absurd ones; a number that never ends; kinds that do not exist.
    check(&with(&[0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), FrameProblem::Cut);
    check(&with(&[0x42, 5, 1]), FrameProblem::Cut);
    check(
        &with(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        FrameProblem::Malformed,
    );
    check(&with(&[0x43]), FrameProblem::Malformed);
    check(&with(&[0x00, 0x00]), FrameProblem::Malformed);
    check(&with(&[0x40, 0x01]), FrameProblem::Malformed);
    check(&with(&[0x32, 1, 0xff]), FrameProblem::Malformed);
    let headers = |n: usize| with(&[0x2a, 0].repeat(n - 1));
    assert!(Frame::decode(&headers(HEADERS_MAX)).is_ok());
    check(&headers(HEADERS_MAX + 1), FrameProblem::TooLarge);
    check(&vec![0; FRAME_BYTES_MAX + 1], FrameProblem::TooLarge);
}

#[test]
fn parts_make_one_event_in_any_order_and_twice_is_once() {
    let now = Monotonic::default();
    let mut parts = Parts::default();
    let mut put = |seq: &str, payload: &[u8]| parts.put(&mut part("m", "3", seq, payload), now);
    assert_eq!(put("2", b"c"), Part::More);
    assert_eq!(put("0", b"a"), Part::More);
    assert_eq!(put("0", b"x"), Part::More);
    assert_eq!(put("1", b"b"), Part::Whole(b"abc".to_vec()));
    assert_eq!(parts.put(&mut event(&[], b"alone"), now), Part::Whole(b"alone".to_vec()));
    assert_eq!(parts.put(&mut part("n", "1", "0", b"alone"), now), Part::Whole(b"alone".to_vec()));
    assert!(parts.0.is_empty());
}

#[test]
fn parts_of_no_event_that_could_be_are_refused() {
    let now = Monotonic::default();
    let mut parts = Parts::default();
    for (sum, seq) in
        [("2", "2"), ("2", "-1"), ("-2", "0"), ("65", "0"), ("x", "0"), ("99999999999999999999", "0")]
    {
        assert_eq!(parts.put(&mut part("m", sum, seq, b""), now), Part::Bad, "{sum} {seq}");
    }
    assert_eq!(parts.put(&mut part("", "2", "0", b""), now), Part::Bad);
    assert_eq!(parts.put(&mut part("m", "2", "0", b""), now), Part::More);
    assert_eq!(parts.put(&mut part("m", "3", "1", b""), now), Part::Bad, "it had another count before");
    let most = EVENT_BYTES_MAX;
    assert_eq!(parts.put(&mut event(&[], &vec![0; most + 1]), now), Part::Bad);
    assert_eq!(parts.put(&mut part("m", "2", "0", &vec![0; most]), now), Part::More);
    assert_eq!(parts.put(&mut part("m", "2", "1", b"x"), now), Part::Bad);
    assert!(parts.0.is_empty());
}

#[test]
fn only_so_many_events_wait_and_only_so_long() {
    let mut parts = Parts::default();
    let at = |secs: u64| Monotonic::default() + Duration::from_secs(secs);
    for n in 0..=WAITING_MAX {
        assert_eq!(
            parts.put(
                &mut part(&n.to_string(), "2", "0", b"a"),
                Monotonic::default() + Duration::from_millis(n as u64)
            ),
            Part::More
        );
    }
    assert_eq!(parts.0.len(), WAITING_MAX);
    assert!(!parts.0.contains_key("0"), "the oldest is given up");
    assert_eq!(parts.put(&mut part("7", "2", "1", b"b"), at(9)), Part::Whole(b"ab".to_vec()));
    assert_eq!(parts.put(&mut part("8", "2", "1", b"b"), at(11)), Part::More, "its other part is forgotten");
    assert_eq!(parts.0.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_a_problem(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = Frame::decode(&raw) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }
}
