//! What is pressed on pages: the same commands as in the chats, once for each page, for whoever signed in and for nobody else;
//! refused with the words of the chats, and asked again where chats ask again.

use serde_json::json;
use tokio::process::Command;

use super::{Browser, curl, session, signed_in};
use crate::browser::ENTER;
use crate::lab::{ADMIN_TOKEN, Lab, lab, yaml};

/// A cookie of whoever signed in with this token.
pub(super) async fn session_of(lab: &Lab, token: &str) -> String {
    let (status, head, _) = curl(lab, "/signin", &["--data", &format!("token={token}")]).await;
    assert_eq!(status, 303, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    format!("Cookie: {}", cookie.split(';').next().expect("its value"))
}

/// A token of this role, made by the admin.
pub(super) async fn token(lab: &Lab, name: &str, role: &str) -> String {
    let url = format!("{}/api/v1/tokens", lab.door);
    let (admin, body) =
        (format!("Authorization: Bearer {ADMIN_TOKEN}"), json!({ "name": name, "role": role }));
    let made =
        Command::new("curl").args(["-sS", "-H", &admin, "--data", &body.to_string(), &url]).output().await;
    let made: serde_json::Value = serde_json::from_slice(&made.expect("curl").stdout).expect("JSON");
    made["token"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

/// What stands in a page between two texts.
pub(super) fn between<'a>(body: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = body.split_once(begin).unwrap_or_else(|| panic!("{begin}: {body}"));
    rest.split_once(end).expect("an end").0
}

/// A page, and what its forms carry.
pub(super) async fn page(lab: &Lab, cookie: &str, path: &str) -> (String, String) {
    let (status, _, body) = curl(lab, path, &["-H", cookie]).await;
    assert_eq!(status, 200, "{path}: {body}");
    let once = between(&body, "name=\"once\" value=\"", "\"").to_owned();
    (body, once)
}

/// The value of a card's button.
fn button<'a>(body: &'a str, verb: &str) -> &'a str {
    between(body, &format!("name=\"click\" value=\"{verb}"), "\"")
}

/// Sends a form, with these arguments to curl beside it.
pub(super) async fn press(
    lab: &Lab,
    cookie: &str,
    fields: &[(&str, &str)],
    args: &[&str],
) -> (u16, String, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let form = form.finish();
    curl(lab, "/act", &[&["-H", cookie, "--data", &form][..], args].concat()).await
}

const AUDITED: &str = "SELECT verb || ' ' || target || ' ' || allowed FROM audit ORDER BY position";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pressed_is_asked_again_and_done_once() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-slow").await;
        lab.until_state(run, "testing").await;
        let cookie = session(lab).await;
        let (body, once) = page(lab, &cookie, "/runs/1").await;
        let cancel = format!("cancel{}", button(&body, "cancel"));
        let form = [("once", &*once), ("back", "/runs/1"), ("click", &*cancel)];
        let (status, head, body) = press(lab, &cookie, &form, &[]).await;
        assert!(status == 200 && body.contains("Cancel #1?") && body.contains("Cancel the run"), "{body}");
        assert!(head.contains("referrer-policy: same-origin"), "{head}");
        assert_eq!(lab.view(run).await.run.state.word(), "testing", "it was only asked");

        let sure = [&form[..], &[("sure", "yes")]].concat();
        let (status, _, told) = press(lab, &cookie, &sure, &[]).await;
        assert!(status == 200 && told.contains("is being ended") || told.contains("cancel"), "{told}");
        let (_, _, again) = press(lab, &cookie, &sure, &[]).await;
        let said = |body: &str| between(body, "<h1>", "</h1>").to_owned();
        assert_eq!(said(&told), said(&again), "the same answer");
        let verdict = lab.verdict(run).await;
        assert!(verdict.starts_with("cancelled"), "{verdict}");
        lab.settle().await;
        assert_eq!(lab.rows(AUDITED).await.iter().filter(|row| row.starts_with("cancel #1")).count(), 1);
        let chat = lab.say("bob", "/lab run 1").await;
        assert!(chat.contains("admin"), "the chat names the token: {chat}");

        // A retry is one run, however often it is pressed on one page, and on two of the same card.
        let (body, once) = page(lab, &cookie, "/runs/1").await;
        let retry = format!("retry{}", button(&body, "retry"));
        let (_, other) = page(lab, &cookie, "/runs/1").await;
        for once in [&once, &once, &other] {
            let form = [("once", &**once), ("back", "/runs/1"), ("click", &*retry)];
            let (status, _, body) = press(lab, &cookie, &form, &[]).await;
            assert!(status == 200 && body.contains("#2"), "{body}");
        }
        let verdict = lab.verdict(2).await;
        assert!(verdict.starts_with("passed"), "{verdict}");
        lab.settle().await;
        assert_eq!(lab.rows("SELECT CAST(COUNT(*) AS TEXT) FROM runs").await, ["2"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_presses_anything() {
    lab(&yaml::small(1), async |lab| {
        let (cookie, theirs) = (session(lab).await, token(lab, "theirs", "admin").await);
        let theirs = session_of(lab, &theirs).await;
        let (_, once) = page(lab, &cookie, "/boards/soc-a-001").await;
        let form = |once| {
            let line = ("say", "quarantine soc-a-001");
            [("once", once), line, ("reason", "a trick"), ("sure", "yes"), ("back", "/boards/soc-a-001")]
        };
        let host = lab.door.strip_prefix("http://").expect("a host");
        let wrong = format!("{}0", &once[..once.len() - 1]);
        let refused: [(&str, &str, &[&str]); 6] = [
            (&cookie, "", &[]),
            (&cookie, &wrong, &[]),
            (&theirs, &once, &[]),
            (&cookie, &once, &["-H", "Sec-Fetch-Site: cross-site"]),
            (&cookie, &once, &["-H", "Sec-Fetch-Site: same-site"]),
            (&cookie, &once, &["-H", "Origin: https://evil.example"]),
        ];
        for (who, once, args) in refused {
            let (status, _, body) = press(lab, who, &form(once), args).await;
            assert!(status == 403 && body.contains("Nothing was done"), "{args:?}: {status} {body}");
        }
        let (status, head, _) = press(lab, "X: y", &form(&once), &[]).await;
        assert!(status == 303 && head.contains("location: /signin?next=%2fboards%2fsoc-a-001"), "{head}");
        let never = [("once", &*once), ("say", "log 1"), ("sure", "yes")];
        assert_eq!(press(lab, &cookie, &never, &[]).await.0, 403, "what no page shows");
        assert_eq!(
            lab.rows(AUDITED).await.len(),
            1,
            "only the token that was made: {:?}",
            lab.rows(AUDITED).await
        );
        let own = format!("Origin: http://{host}");
        let (status, _, body) = press(lab, &cookie, &form(&once), &["-H", &own]).await;
        assert!(status == 200 && body.contains("soc-a-001"), "{body}");
        assert!(lab.say("bob", "/lab board soc-a-001").await.contains("a trick"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so_in_the_words_of_the_chat() {
    let text = yaml::small(2) + "roles: {admin: [slack:U0LEAD]}\n";
    lab(&text, async |lab| {
        let cookie = session_of(lab, &token(lab, "ada", "user").await).await;
        let (_, once) = page(lab, &cookie, "/boards/soc-a-001").await;
        let ask = async |say: &str, reason: &str| {
            let form = [("once", &*once), ("say", say), ("reason", reason), ("sure", "yes"), ("back", "/")];
            press(lab, &cookie, &form, &[]).await
        };
        let (status, _, body) = ask("quarantine soc-a-001", "the fan").await;
        let chat = lab.say("bob", "/lab quarantine soc-a-001 the fan").await;
        let words = "may take boards out of service";
        assert!(status == 403 && body.contains(words) && chat.contains(words), "{chat}\n{body}");
        assert!(
            lab.rows(AUDITED).await.contains(&"quarantine soc-a-001 0".to_owned()),
            "{:?}",
            lab.rows(AUDITED).await
        );
        // What cannot be is told as in the chat, too.
        let (status, _, body) = ask("extend soc-a-001", "").await;
        let chat = lab.say("bob", "/lab extend soc-a-001").await;
        assert!(
            status == 200 && body.contains("Nobody has") == chat.contains("Nobody has"),
            "{chat}\n{body}"
        );
        let (_, _, body) = curl(lab, "/boards/nothing-like-it", &["-H", &cookie]).await;
        assert!(body.contains("There is no board of this name"), "{body}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_reserved_extended_switched_and_released_on_its_page() {
    lab(&yaml::small(2), async |lab| {
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        browser.press("//li/b/a[.='soc-a-001']").await;
        browser.sees("//h1", "soc-a-001").await;
        browser.type_in("//input[@name='reason' and not(@required)]", "bring-up").await;
        browser.sees("//section", "bring-up").await;
        // The way back has the keyboard.
        browser.keys(ENTER).await;
        browser.sees("//section[contains(@class,'held-edge')]", "bring-up").await;
        browser.press("//button[.='Extend']").await;
        browser.sees("//section", "soc-a-001").await;
        browser.press("//a[.='Back']").await;
        browser.press("//button[.='Power Cycle']").await;
        browser.sees("//h1", "Switch the power of soc-a-001?").await;
        browser.press("//button[.='Switch']").await;
        browser.sees("//h1", "was power-cycled").await;
        browser.press("//a[.='Back']").await;
        browser.press("//button[.='Release']").await;
        browser.sees("//section", "soc-a-001").await;
        lab.settle().await;
        // Somebody else's board is taken away after a question only.
        lab.say("bob", "/lab reserve soc-a-001 1h mine").await;
        browser.open(&format!("{}/boards/soc-a-001", lab.door)).await;
        browser.press("//button[.='Release']").await;
        browser.sees("//h1", "Take soc-a-001 away from").await;
        browser.press("//a[.='Leave it']").await;
        browser.sees("//section[contains(@class,'held-edge')]", "mine").await;
        // The chat's own question: whose it is, and what may be done about it.
        browser.press("//button[.='Power Cycle']").await;
        browser.sees("//section", "was not power-cycled: bob has it").await;
        browser.press("//button[.='Power cycle anyway']").await;
        browser.sees("//h1", "was power-cycled").await;
        browser.press("//a[.='Back']").await;
        browser.press("//button[.='Release']").await;
        browser.press("//button[.='Release']").await;
        browser.sees("//section", "soc-a-001").await;
        lab.settle().await;
        lab.direct("bob", "not yours any more").await;

        browser.open(&format!("{}/boards/soc-a-001", lab.door)).await;
        browser.type_in("//input[@name='reason' and @required]", "the fan's dead").await;
        browser.sees("//h1", "Take soc-a-001 out of service?").await;
        let mut wrong = browser.axe().await;
        browser.press("//button[.='Quarantine']").await;
        browser.sees("//section", "fan's dead").await;
        wrong.extend(browser.axe().await);
        browser.press("//a[.='Back']").await;
        browser.press("//button[.='Return to service']").await;
        browser.sees("//section", "soc-a-001").await;
        let run = lab.run("alice", "/run-test soc-a-001 build-fail").await;
        lab.verdict(run).await;
        lab.settle().await;
        for path in ["/boards/soc-a-001", "/runs/1"] {
            wrong.extend(browser.wrong_with(lab, path).await);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        browser.show_as("light", 1200, 800).await;
        browser.open(&format!("{}/boards/soc-a-001", lab.door)).await;
        browser.sees("//tbody", "build-fail").await;
        browser.picture("board.png.base64").await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
