//! Sessions of people who signed in with a chat platform: once for each sign-in, a bounded number of each person, until they
//! are over or ended.

use boardhand::chat::{Actor, Platform};
use boardhand::store::{NewSession, SESSIONS_MAX};

use super::lab::at;
use super::{Lab, store_tests};

store_tests! {
    a_sign_in_makes_one_session_that_is_found_by_its_hash,
    a_session_is_used_and_ended_once,
    of_one_person_the_newest_are_kept_and_what_is_over_is_forgotten,
}

fn session(n: u8, person: &str, made: u64) -> NewSession {
    let by = Actor {
        platform: Platform::Slack,
        id: person.into(),
        team: "T0LAB".into(),
        name: "Ann 'x' 安".into(),
    };
    let (made_at, expires_at) = (at(made), at(made + 100));
    NewSession {
        hash: [n; 32],
        sign_in: [n.wrapping_add(100); 32],
        by,
        foreign: n % 2 == 1,
        made_at,
        expires_at,
    }
}

async fn a_sign_in_makes_one_session_that_is_found_by_its_hash(lab: &Lab) {
    let first = session(1, "U0ANN", 1);
    assert!(lab.store.session_begin(&first).await.expect("begin"));
    let again = NewSession { hash: [9; 32], ..first.clone() };
    assert!(!lab.store.session_begin(&again).await.expect("begin"), "it came back");
    assert_eq!(lab.store.session_by_hash(&[9; 32]).await.expect("find"), None);
    let row = lab.store.session_by_hash(&[1; 32]).await.expect("find").expect("a session");
    assert_eq!((&row.by, row.foreign, row.made_at, row.expires_at), (&first.by, true, at(1), at(101)));
    assert!(row.is_live(at(100)) && !row.is_live(at(101)) && row.used_at.is_none());
}

async fn a_session_is_used_and_ended_once(lab: &Lab) {
    assert!(lab.store.session_begin(&session(2, "U0ANN", 1)).await.expect("begin"));
    for second in [5, 3] {
        lab.store.session_used(&[2; 32], at(second)).await.expect("used");
    }
    for second in [7, 8] {
        lab.store.session_end(&[2; 32], at(second)).await.expect("end");
    }
    let row = lab.store.session_by_hash(&[2; 32]).await.expect("find").expect("a session");
    assert_eq!((row.used_at, row.ended_at, row.is_live(at(9))), (Some(at(5)), Some(at(7)), false));
    assert_eq!(lab.store.session_list(at(9), 9).await.expect("list"), []);
    let again = NewSession { hash: [3; 32], ..session(2, "U0ANN", 9) };
    assert!(!lab.store.session_begin(&again).await.expect("begin"), "its sign-in counts no more");
    lab.store.session_end(&[77; 32], at(9)).await.expect("nobody's");
}

async fn of_one_person_the_newest_are_kept_and_what_is_over_is_forgotten(lab: &Lab) {
    let many = u8::try_from(SESSIONS_MAX).expect("a few") + 1;
    assert!(lab.store.session_begin(&session(99, "U0BO", 1)).await.expect("begin"));
    for n in 1..=many {
        assert!(lab.store.session_begin(&session(n, "U0ANN", u64::from(n))).await.expect("begin"));
    }
    let live = lab.store.session_list(at(30), 99).await.expect("list");
    assert_eq!((live.len(), live[0].hash), (usize::from(many), [many; 32]), "one less of Ann, and Bo's");
    assert_eq!(lab.store.session_by_hash(&[1; 32]).await.expect("find"), None, "the oldest");
    assert_eq!(lab.store.session_list(at(30), 2).await.expect("list").len(), 2);
    assert!(lab.store.session_begin(&session(98, "U0CY", 200)).await.expect("begin"));
    assert_eq!(lab.store.session_by_hash(&[99; 32]).await.expect("find"), None, "over");
    assert_eq!(lab.store.session_list(at(201), 99).await.expect("list").len(), 1);
}
