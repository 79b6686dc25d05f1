//! Signing in to the pages as in Slack: through the workspace's own page, in a browser and by hand, with everything wrong that
//! a browser, a stranger or Slack can bring; and as whom somebody then acts.

use boardhand::sim::slack::{ApiFault, SimSlack};
use serde_json::{Value, json};
use tokio::process::Command;

use super::Browser;
use super::act::{between, page, press};
use crate::lab::{Lab, lab, yaml};

/// Status, head and body that curl gets of a whole address.
pub(crate) async fn fetch(url: &str, args: &[&str]) -> (u16, String, String) {
    let output = Command::new("curl").args(["-sS", "-i"]).args(args).arg(url).output().await;
    let text = String::from_utf8(output.expect("curl").stdout).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

/// A header's values.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// The `Cookie` header for one of the cookies that were set.
pub(crate) fn cookie(head: &str, name: &str) -> Option<String> {
    let set = header(head, "set-cookie").into_iter().find(|set| set.starts_with(&format!("{name}=")))?;
    let value = set.split(';').next()?;
    (value.len() > name.len() + 1).then(|| format!("Cookie: {value}"))
}

/// Where a platform's page leads to that says this.
pub(crate) fn link(page: &str, label: &str) -> String {
    let links = page.split("<a href=\"").filter_map(|rest| rest.split_once("\">"));
    let found = links.into_iter().find(|(_, rest)| rest.starts_with(&format!("{label}<")));
    let (href, _) = found.unwrap_or_else(|| panic!("no {label:?}: {page}"));
    href.replace("&amp;", "&")
}

/// A sign-in that was begun: the platform's address, and the browser's cookie.
pub(crate) async fn begun(door: &str, platform: &str, next: &str) -> (String, String) {
    let (status, head, _) = fetch(&format!("{door}/signin/{platform}?next={next}"), &[]).await;
    assert_eq!(status, 303, "{head}");
    let cookie = cookie(&head, "boardhand_signin").expect("a cookie");
    (header(&head, "location")[0].to_owned(), cookie)
}

/// What the platform sends the browser of this person back with, who allows it; or who cancels.
pub(crate) async fn answered(address: &str, label: &str) -> String {
    let (status, _, page) = fetch(address, &[]).await;
    assert_eq!(status, 200, "{page}");
    let origin = address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let (status, head, _) = fetch(&format!("{origin}{}", link(&page, label)), &[]).await;
    assert_eq!(status, 302, "{head}");
    header(&head, "location")[0].to_owned()
}

/// Somebody signs in; gives their session's cookie.
async fn session(lab: &Lab, who: &str) -> String {
    let (address, ours) = begun(&lab.door, "slack", "/queue").await;
    let back = answered(&address, &format!("Allow as {who}")).await;
    let (status, head, body) = fetch(&back, &["-H", &ours]).await;
    assert_eq!((status, header(&head, "location")), (303, vec!["/queue"]), "{head}\n{body}");
    cookie(&head, "boardhand_session").expect("a session")
}

/// What became of a sign-in that must not succeed.
async fn refused(back: &str, ours: &str) -> (u16, String) {
    let (status, head, body) = fetch(back, &["-H", ours]).await;
    assert_eq!(cookie(&head, "boardhand_session"), None, "{head}");
    (status, body)
}

const AUDITED: &str =
    "SELECT actor || ' ' || verb || ' ' || target || ' ' || allowed FROM audit ORDER BY position";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_as_in_slack_and_acts_as_themselves_until_they_sign_out() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("bob", "/run-test socA build-123").await;
        lab.verdict(run).await;
        let (address, ours) = begun(&lab.door, "slack", "/queue").await;
        let flags = fetch(&format!("{}/signin/slack", lab.door), &[]).await.1;
        let flags = header(&flags, "set-cookie")[0].to_owned();
        assert!(flags.ends_with("; Max-Age=600; Path=/; HttpOnly; SameSite=Lax"), "{flags}");
        for wanted in ["response_type=code", "scope=openid+profile", "state=", "nonce=", "team=T0"] {
            assert!(address.contains(wanted), "{wanted}: {address}");
        }
        let back = answered(&address, "Allow as alice").await;
        let (_, head, _) = fetch(&back, &["-H", &ours]).await;
        let set = header(&head, "set-cookie");
        let set = set.iter().find(|set| set.starts_with("boardhand_session=p.")).expect("a session");
        assert!(set.ends_with("; Max-Age=43200; Path=/; HttpOnly; SameSite=Lax"), "{set}");
        let alice = cookie(&head, "boardhand_session").expect("a session");
        let secret = alice.rsplit('.').next().expect("a secret");
        let kept = lab.rows("SELECT hash || person || team || name FROM sessions").await;
        assert!(
            kept.len() == 1 && kept[0].ends_with("U0ALICET0LABalice") && !kept[0].contains(secret),
            "{kept:?}"
        );

        let (body, once) = page(lab, &alice, "/runs/1").await;
        assert!(body.contains("<span class=\"who\">alice</span>"), "{body}");
        let retry = format!("retry{}", between(&body, "name=\"click\" value=\"retry", "\""));
        let form = [("once", &*once), ("back", "/runs/1"), ("click", &*retry)];
        let (status, _, body) = press(lab, &alice, &form, &[]).await;
        assert!(status == 200 && body.contains("#2"), "{body}");
        lab.verdict(2).await;
        let (_, _, body) = press(lab, "Cookie: boardhand_session=p.00", &form, &[]).await;
        assert_eq!(body, "", "nobody presses it who is not signed in");
        lab.settle().await;
        let chat = lab.say("bob", "/lab run 2").await;
        assert!(chat.contains("alice"), "the chat names who asked: {chat}");
        let audit = lab.rows(AUDITED).await;
        assert!(audit.contains(&"slack:U0ALICE retry #1 1".to_owned()), "{audit:?}");
        assert_eq!(lab.rows("SELECT requested_by FROM runs ORDER BY number").await.len(), 2);

        assert!(
            page(lab, &super::session(lab).await, "/admin").await.0.contains("slack:U0ALICE"),
            "who is signed in"
        );
        let bob = session(lab, "bob").await;
        let theirs = press(lab, &bob, &form, &[]).await;
        assert_eq!(theirs.0, 403, "what Alice's page carries is hers: {}", theirs.2);
        let (status, head, _) = fetch(&format!("{}/signout", lab.door), &["-X", "POST", "-H", &alice]).await;
        assert!(status == 303 && head.contains("boardhand_session=;"), "{head}");
        let queue = format!("{}/queue", lab.door);
        assert_eq!(fetch(&queue, &["-H", &alice]).await.0, 303, "the cookie opens nothing any more");
        assert_eq!(fetch(&queue, &["-H", &bob]).await.0, 200);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_signed_in_who_did_not_begin_or_comes_back_twice() {
    lab(&yaml::small(1), async |lab| {
        let (address, ours) = begun(&lab.door, "slack", "https://evil.example/").await;
        let back = answered(&address, "Allow as alice").await;
        let (_, other) = begun(&lab.door, "slack", "/").await;
        let no_state = back.split("&state=").next().expect("a code").to_owned();
        for (back, with) in [
            (back.as_str(), "X: no cookie"),
            (back.as_str(), other.as_str()),
            (no_state.as_str(), ours.as_str()),
            (&back.replace("state=", "state=0"), ours.as_str()),
            (back.as_str(), &ours.replace("slack", "feishu")),
            (back.as_str(), &ours[..ours.len() - 1]),
        ] {
            let (status, body) = refused(back, with).await;
            assert!(status == 403 && body.contains("not begun in this browser"), "{with}: {body}");
        }
        assert_eq!(refused(&back.replace("/slack/", "/feishu/"), &ours).await.0, 404, "it is not set up");
        assert_eq!(refused(&back.replace("/slack/", "/myspace/"), &ours).await.0, 404);
        // Two codes for one sign-in: the second makes no second session.
        let second = answered(&address, "Allow as alice").await;
        let (status, head, _) = fetch(&back, &["-H", &ours]).await;
        assert_eq!((status, header(&head, "location")), (303, vec!["/"]), "led to no other server: {head}");
        let (status, body) = refused(&second, &ours).await;
        assert!(status == 403 && body.contains("used before"), "{body}");
        let (status, body) = refused(&back, &ours).await;
        assert!(
            status == 403 && body.contains("code_already_used") && body.contains("begin again"),
            "{body}"
        );
        assert_eq!(lab.rows("SELECT person FROM sessions").await, ["U0ALICE"]);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_slack_answers_wrongly_signs_nobody_in_and_says_what_to_do() {
    lab(&yaml::small(1), async |lab| {
        let (address, ours) = begun(&lab.door, "slack", "/queue").await;
        let denied = answered(&address, "Cancel").await;
        let (status, body) = refused(&denied, &ours).await;
        assert!(
            status == 403 && body.contains("You did not allow Slack") && body.contains("next=%2Fqueue"),
            "{body}"
        );
        let zh = fetch(&denied, &["-H", &ours, "-H", "Accept-Language: zh"]).await.2;
        assert!(zh.contains("您没有允许 Slack"), "{zh}");
        for (error, said) in [("server_error", "server_error"), ("%3Cscript%3E", "unreadable_error")] {
            let (status, body) = refused(&denied.replace("access_denied", error), &ours).await;
            assert!(status == 403 && body.contains(said) && !body.contains("<script>"), "{body}");
        }
        let (status, body) = refused(&denied.replace("error=access_denied", "code="), &ours).await;
        assert!(status == 403 && body.contains("no_code"), "{body}");

        let now = lab.clock.now().as_secs();
        for (claim, value, said) in [
            ("iss", json!("https://evil.example"), "another issuer"),
            ("aud", json!("99.99"), "another app"),
            ("exp", json!(now - 3600), "expired"),
            ("nonce", json!("of another sign-in"), "another sign-in"),
            ("nonce", Value::Null, "another sign-in"),
            ("sub", json!("U0BOB"), "two people"),
        ] {
            lab.slack.forge_claim(claim, value);
            let (status, body) = refused(&answered(&address, "Allow as alice").await, &ours).await;
            assert!(status == 502 && body.contains(said), "{claim}: {body}");
            lab.slack.forge_nothing();
        }
        for (method, fault, status, said) in [
            ("openid.connect.token", ApiFault::Error500, 503, "Try again in a moment"),
            ("openid.connect.token", ApiFault::AcceptThenDrop, 503, "does not answer"),
            ("openid.connect.token", ApiFault::RateLimited(9), 503, "does not answer"),
            ("openid.connect.token", ApiFault::Error("bad_client_secret".into()), 502, "SLACK_CLIENT_SECRET"),
            ("openid.connect.token", ApiFault::Error("bad_redirect_uri".into()), 502, "Redirect URLs"),
            ("openid.connect.token", ApiFault::Error("invalid_code".into()), 403, "invalid_code"),
            ("openid.connect.userInfo", ApiFault::Error500, 503, "does not answer"),
        ] {
            let back = answered(&address, "Allow as alice").await;
            let code = between(&back, "code=", "&").to_owned();
            lab.slack.break_calls(method, fault.clone(), 1);
            let (got, body) = refused(&back, &ours).await;
            assert!(got == status && body.contains(said) && !body.contains(&code), "{fault:?}: {got} {body}");
        }
        assert_eq!(lab.rows("SELECT person FROM sessions").await, [""; 0]);
        // Slack itself says so where the address is not registered; the browser stays there.
        let elsewhere = address.replace("%2Fback", "%2Felsewhere");
        let (status, _, body) = fetch(&elsewhere, &[]).await;
        assert!(status == 400 && body.contains("bad_redirect_uri"), "{body}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// Reads another boards.yaml.
async fn reload(lab: &Lab, text: &str) {
    lab.write_lab(text);
    assert!(lab.say("lead", "/lab reload").await.contains("Reading boards.yaml again"));
    lab.answer("lead").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_those_of_now_and_strangers_stay_out_as_in_the_chat() {
    let roles = |roles: &str| yaml::small(1) + &format!("roles: {{admin: [slack:U0LEAD], {roles}}}\n");
    lab(&roles("user: ['*']"), async |lab| {
        let (alice, lead) = (session(lab, "alice").await, session(lab, "lead").await);
        let status =
            async |path: &str, cookie: &str| fetch(&format!("{}{path}", lab.door), &["-H", cookie]).await.0;
        let lab_link = "href=\"/admin\"";
        assert!(
            page(lab, &lead, "/").await.0.contains(lab_link)
                && !page(lab, &alice, "/").await.0.contains(lab_link)
        );
        assert_eq!((status("/admin", &alice).await, status("/admin", &lead).await), (403, 200));
        let (_, once) = page(lab, &alice, "/boards/soc-a-001").await;
        let line = [
            ("once", &*once),
            ("say", "quarantine soc-a-001"),
            ("reason", "x"),
            ("sure", "yes"),
            ("back", "/"),
        ];
        let (got, _, body) = press(lab, &alice, &line, &[]).await;
        assert!(got == 403 && body.contains("may take boards out of service"), "{body}");

        reload(lab, &roles("operator: [slack:U0ALICE], user: [slack:U0BOB]")).await;
        let (_, once) = page(lab, &alice, "/boards/soc-a-001").await;
        let line = [
            ("once", &*once),
            ("say", "quarantine soc-a-001"),
            ("reason", "x"),
            ("sure", "yes"),
            ("back", "/"),
        ];
        assert_eq!(press(lab, &alice, &line, &[]).await.0, 200, "an operator now");
        reload(lab, &roles("user: [slack:U0BOB]")).await;
        assert_eq!(
            (status("/", &alice).await, status("/", &lead).await),
            (303, 200),
            "not of this lab any more"
        );
        let (address, ours) = begun(&lab.door, "slack", "/").await;
        let (got, body) = refused(&answered(&address, "Allow as alice").await, &ours).await;
        assert!(got == 403 && body.contains("no role in this lab"), "{body}");
        let audit = lab.rows(AUDITED).await;
        assert!(audit.contains(&"slack:U0ALICE boards  0".to_owned()), "{audit:?}");

        // Somebody of another workspace has the role that names them, and none by `*`.
        reload(lab, &roles("user: ['*']")).await;
        assert_eq!(status("/", &alice).await, 200, "back again");
        lab.slack.forge_claim("https://slack.com/team_id", json!("T0OTHER"));
        let again = begun(&lab.door, "slack", "/").await;
        let (got, body) = refused(&answered(&again.0, "Allow as bob").await, &again.1).await;
        assert!(got == 403 && body.contains("another workspace"), "{body}");
        reload(lab, &(roles("user: ['*']") + "permissions: {workspaces: [T0OTHER]}\n")).await;
        let bob = session(lab, "bob").await;
        assert_eq!(status("/", &bob).await, 200);
        reload(lab, &roles("user: ['*']")).await;
        assert_eq!(status("/", &bob).await, 303, "a stranger again");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_led_to_slack_and_back_to_the_page_that_it_wanted() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("bob", "/run-test socA build-123").await;
        lab.verdict(run).await;
        let (browser, _driver) = Browser::start().await;
        let wanted = format!("{}/runs/{run}", lab.door);
        browser.open(&wanted).await;
        browser.press("//a[.='Sign in with Slack']").await;
        browser.press("//a[.='Cancel']").await;
        browser.sees("//main", "You did not allow Slack").await;
        browser.press("//main//a[.='Sign in']").await;
        browser.press("//a[.='Sign in with Slack']").await;
        browser.press("//a[.='Allow as alice']").await;
        browser.sees("//h1", "#1").await;
        assert_eq!(browser.run("return location.href").await, json!(wanted));
        browser.sees("//span[@class='who']", "alice").await;
        browser.press("//button[.='Retry']").await;
        browser.sees("//main", "#2").await;
        lab.verdict(2).await;
        assert!(lab.say("bob", "/lab run 2").await.contains("alice"));
        assert_eq!(browser.wrong_with(lab, "/signin").await, [""; 0]);
        browser.open(&wanted).await;
        browser.press("//form[@action='/signout']/button").await;
        browser.sees("//h1", "Sign in").await;
        browser.open(&format!("{}/queue", lab.door)).await;
        browser.sees("//h1", "Sign in").await;
        let complaints = browser.errors().await;
        let own: Vec<_> = complaints.iter().filter(|said| !said.contains("403 (Forbidden)")).collect();
        assert_eq!(own, [""; 0], "the page reports no error");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// Where an app has people sent back, as an admin writes it down at Slack.
pub(crate) fn register(slack: &SimSlack, door: &str) {
    slack.register_redirect(&format!("{door}/signin/slack/back"));
}
