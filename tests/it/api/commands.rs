//! What people type in chats, typed by programs: the same words with the same permissions, answered with the same sentences.

use boardhand::sim::BootStage;
use serde_json::json;

use super::tokens::make;
use super::{admin, call, command, ended};
use crate::lab::{ADMIN_TOKEN, lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_can_be_typed_in_a_chat_can_be_posted() {
    lab(&yaml::small(1), async |lab| {
        let typed = async |text: &str| {
            call(lab, "POST", "/api/v1/commands", &[&admin()], &json!({ "text": text }).to_string()).await
        };
        let (status, said) = typed("/lab boards").await;
        assert_eq!((status, &said["message"]), (200, &json!("boards")), "{said}");
        assert!(said["text"].as_str().is_some_and(|text| text.contains("soc-a-001")), "{said}");

        let (_, board) = lab.boards.boards().next().expect("a board");
        board.set_faults(|faults| faults.panic_at = Some(BootStage::Kernel));
        let (status, said) = typed("/run-test socA build-123").await;
        assert_eq!((status, &said["number"]), (200, &json!(1)), "{said}");
        assert_eq!(said.as_object().map(|said| said.len()), Some(3), "{said}");
        lab.settle().await;
        board.set_faults(|faults| faults.panic_at = None);
        let (status, said) = typed("retry 1").await;
        assert_eq!((status, &said["number"]), (200, &json!(2)), "{said}");
        lab.settle().await;
        let (status, said) = typed("/lab hold 1 1h").await;
        assert!(
            status == 200 && said["text"].as_str().is_some_and(|text| text.contains("soc-a-001")),
            "{said}"
        );
        let (status, said) = typed("/lab release soc-a-001").await;
        assert_eq!(status, 200, "{said}");
        lab.settle().await;

        for (text, status, detail) in [
            ("/lab bords", 422, "boards"),
            ("/lab why 99", 422, "#99"),
            ("/lab cancel", 422, ""),
            ("/lab watch socA", 422, "nobody can write one to a token"),
            ("/lab notify socA", 422, "nobody can write one to a token"),
            ("/lab quarantine soc-a-001", 422, "reason"),
            ("/lab power soc-a-001 cycle", 422, "POST /api/v1/power/"),
            ("/lab reserve socA 1h", 422, "POST /api/v1/lease"),
            ("/lab reload", 422, "boardhand reload"),
            ("/lab log 1", 422, "how many lines"),
            ("/lab resend 99", 422, "there is no dead letter 99"),
        ] {
            let (got, said) = typed(text).await;
            assert_eq!(got, status, "{text}: {said}");
            assert!(said["detail"].as_str().is_some_and(|is| is.contains(detail)), "{text}: {said}");
        }
        let odd = r#"{"text": "/lab boards", "as": "U1"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/commands", &[&admin()], odd).await.0, 422);

        // A repeat is answered as it was, and does nothing again.
        let key = "Idempotency-Key: once";
        let body = r#"{"text": "/run-test socA build-124"}"#;
        for _ in 0..2 {
            let (status, said) = call(lab, "POST", "/api/v1/commands", &[&admin(), key], body).await;
            assert_eq!((status, &said["number"]), (200, &json!(3)), "{said}");
        }
        let other = r#"{"text": "/run-test socA build-125"}"#;
        let (status, said) = call(lab, "POST", "/api/v1/commands", &[&admin(), key], other).await;
        assert_eq!((status, &said["title"]), (409, &json!("this key asked for something else")), "{said}");
        let owed = lab.rows("SELECT kind FROM outbox WHERE kind = 'answer'").await;
        assert!(owed.is_empty(), "{owed:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_type_what_it_may_do() {
    lab(&yaml::small(1), async |lab| {
        let reader = make(lab, &["reader"]).await;
        let reader = format!("Authorization: Bearer {reader}");
        let typed = async |text: &str| {
            call(lab, "POST", "/api/v1/commands", &[&reader], &json!({ "text": text }).to_string()).await
        };
        assert_eq!(typed("/lab boards").await.0, 200);
        assert_eq!(typed("/lab quarantine soc-a-001 the fan").await.0, 403);
        assert_eq!(typed("/lab deadletters").await.0, 403);
        let audit = "SELECT actor, verb, allowed FROM audit WHERE actor = 'api:reader' ORDER BY position";
        assert_eq!(lab.rows(audit).await, ["api:reader | quarantine | 0", "api:reader | deadletters | 0"]);
        let none = call(lab, "POST", "/api/v1/commands", &[], r#"{"text": "/lab boards"}"#).await;
        assert_eq!(none.0, 401);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_types_it_too() {
    lab(&yaml::small(1), async |lab| {
        let lab_says =
            async |words: &[&str]| ended(&command(lab, ADMIN_TOKEN, &[&["lab"], words].concat()).await);
        let (code, out, err) = lab_says(&["quarantine", "soc-a-001", "the fan is dead"]).await;
        assert!(code == Some(0) && out.contains("he fan is dead"), "{out}{err}");
        let (code, out, err) = lab_says(&["board", "soc-a-001"]).await;
        assert!(code == Some(0) && out.contains("he fan is dead"), "{out}{err}");
        let (code, out, err) = lab_says(&["bord", "soc-a-001"]).await;
        assert!(code == Some(2) && out.is_empty() && err.contains("board"), "{out}{err}");
        let (code, out, _) = lab_says(&["runs", "--json"]).await;
        let said: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((code, &said["message"]), (Some(0), &json!("runs")), "{said}");
    })
    .await;
}
