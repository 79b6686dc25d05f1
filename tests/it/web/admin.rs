//! Two builds side by side, and the page of whoever runs the lab.

use boardhand::sim::slack::ApiFault;

use super::act::{page, press, session_of, token};
use super::{Browser, curl, session, signed_in};
use crate::lab::{CHANNEL, lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_stand_side_by_side_and_the_chat_links_there() {
    lab(&yaml::small(2), async |lab| {
        for build in ["build-1", "build-fail"] {
            let run = lab.run("alice", &format!("/run-test socA {build}")).await;
            lab.verdict(run).await;
        }
        lab.settle().await;
        let told = lab.say("alice", "/lab compare build-1 build-fail").await;
        assert!(told.contains("Side by side"), "{told}");
        let (status, head, _) = curl(lab, "/compare?from=1&to=2", &[]).await;
        assert!(
            status == 303 && head.contains("location: /signin?next=%2fcompare%3ffrom%3d1%26to%3d2"),
            "{head}"
        );
        let cookie = session(lab).await;
        let (_, _, suite) = curl(lab, "/history?family=socA&suite=smoke", &["-H", &cookie]).await;
        let link = "/compare?from=build-1&amp;to=build-fail&amp;family=socA&amp;suite=smoke";
        assert!(suite.contains(link), "{suite}");
        for path in ["/compare?from=1&to=2", &link.replace("&amp;", "&"), "/compare?from=%231&to=build-fail"]
        {
            let (status, _, body) = curl(lab, path, &["-H", &cookie]).await;
            assert!(status == 200 && body.contains("build-1 → build-fail"), "{path}: {body}");
            assert!(body.contains("<h2 class=\"failed\">Broke ("), "{body}");
            assert!(body.contains("<a href=\"/history?family=socA&amp;suite=smoke&amp;test="), "{body}");
        }
        let (_, _, body) = curl(lab, "/compare?from=2&to=1", &["-H", &cookie]).await;
        assert!(body.contains("<h2 class=\"passed\">Mended ("), "{body}");
        // What cannot be compared is told as in the chat.
        let chat = lab.say("alice", "/lab compare build-1 build-99").await;
        let (_, _, body) = curl(lab, "/compare?from=build-1&to=build-99", &["-H", &cookie]).await;
        assert!(
            chat.contains("build-99") && body.contains("build-99") && !body.contains("Broke"),
            "{chat}\n{body}"
        );
        let (_, _, body) = curl(lab, "/compare?from=%3Cscript%3E&to=%22%3E%3Cb%3E", &["-H", &cookie]).await;
        assert!(!body.contains("<script>") && !body.contains("\"><b>"), "{body}");
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        let mut wrong = Vec::new();
        for path in ["/compare", "/compare?from=1&to=2"] {
            wrong.extend(browser.wrong_with(lab, path).await);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        browser.show_as("light", 1200, 800).await;
        browser.open(&format!("{}/runs/2", lab.door)).await;
        browser.press("//a[contains(.,'Side by side with #1')]").await;
        browser.sees("//h2[@class='failed']", "Broke").await;
        browser.picture("compare.png.base64").await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

const SCHEDULE: &str = "schedules: {nightly: {cron: '0 3 * * *', zone: Europe/Berlin, run: socA build-1}}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_runs_the_lab_sees_how_it_is_and_mends_it() {
    let text = yaml::small(2) + SCHEDULE + "roles: {admin: [slack:U0LEAD], operator: ['*']}\n";
    lab(&text, async |lab| {
        let plain = token(lab, "plain", "operator").await;
        let theirs = session_of(lab, &plain).await;
        let (status, _, body) = curl(lab, "/admin", &["-H", &theirs]).await;
        let refused = status == 403 && body.contains("Only an admin may look at who did what");
        assert!(refused && !body.contains("href=\"/admin\""), "{body}");
        assert_eq!(curl(lab, "/admin", &[]).await.0, 303);
        let bearer = format!("Authorization: Bearer {plain}");
        let own = r#"{"cron": "0 4 * * 1", "run": "socA build-1"}"#;
        let made = curl(lab, "/api/v1/schedules/weekly", &["-X", "PUT", "-H", &bearer, "--data", own]).await;
        assert_eq!(made.0, 201, "{made:?}");
        lab.say("bob", "/lab quarantine soc-a-002 the fan & its cable").await;
        let cookie = session(lab).await;
        let (body, once) = page(lab, &cookie, "/admin").await;
        for said in [
            "Ready</b>",
            "None: everything that was owed was sent.",
            "the fan &amp; its cable",
            "0 3 * * * Europe&#x2f;Berlin",
            "<th scope=\"row\">weekly <small class=\"quiet\">plain</small></th><td>0 4 * * 1 UTC</td>",
            "<th scope=\"row\">plain</th><td class=\"passed\">live</td><td>operator</td>",
            "<td>quarantine soc-a-002 the fan &amp; its cable</td>",
            "<td>audit </td>",
        ] {
            assert!(body.contains(said), "{said}: {body}");
        }
        assert!(!body.contains(&plain) && !body.contains(&plain[10..30]), "no token stands there");
        let act = async |say: &str| {
            let form = [("once", &*once), ("say", say), ("back", "/admin")];
            press(lab, &cookie, &form, &[]).await
        };
        for (say, now) in [
            ("schedules nightly pause", "paused by admin"),
            ("schedules nightly resume", "Pause nightly"),
            ("return soc-a-002", "Every board is in service."),
        ] {
            let (status, _, told) = act(say).await;
            assert_eq!(status, 200, "{say}: {told}");
            let (body, _) = page(lab, &cookie, "/admin").await;
            assert!(body.contains(now), "{say}: {now}: {body}");
        }
        // The filter of the record, and its pages.
        let (body, _) = page(lab, &cookie, "/admin?about=soc-a-002&since=2h").await;
        assert!(
            body.contains("<td>return soc-a-002</td>") && !body.contains("<td>schedules nightly"),
            "{body}"
        );
        let (body, _) = page(lab, &cookie, "/admin?refused=true").await;
        assert!(body.contains("<td>audit </td>") && !body.contains("<td>return soc-a-002</td>"), "{body}");
        for _ in 0..25 {
            let (_, once) = page(lab, &cookie, "/boards/soc-a-001").await;
            let form = [("once", &*once), ("say", "return soc-a-001"), ("back", "/admin")];
            press(lab, &cookie, &form, &[]).await;
        }
        let (body, _) = page(lab, &cookie, "/admin").await;
        assert!(body.contains("class=\"button\" href=\"&#x2f;admin?before="), "{body}");
        let next = super::act::between(&body, "href=\"&#x2f;admin?before=", "#audit\"");
        let (older, _) = page(lab, &cookie, &format!("/admin?before={next}")).await;
        assert!(older.contains("The newest") && !older.contains(">Older<"), "{older}");
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        browser.press("//nav//a[.='Lab']").await;
        browser.sees("//h1", "Lab").await;
        browser.press("//button[.='Pause']").await;
        browser.sees("//section", "nightly").await;
        browser.press("//a[.='Back']").await;
        browser.sees("//main", "paused by admin").await;
        let wrong = browser.wrong_with(lab, "/admin").await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        browser.show_as("light", 1200, 1000).await;
        browser.open(&format!("{}/admin", lab.door)).await;
        browser.picture("lab.png.base64").await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_sent_again_from_the_page() {
    lab(&yaml::small(1), async |lab| {
        for method in ["chat.postEphemeral", "chat.postMessage"] {
            lab.slack.break_calls(method, ApiFault::Error("invalid_blocks".into()), 1);
        }
        lab.slack.say("bob", CHANNEL, "@boardhand why 7").await;
        lab.settle().await;
        let cookie = session(lab).await;
        let (body, once) = page(lab, &cookie, "/admin").await;
        assert!(body.contains("slack:C0SOCCI") && body.contains("invalid_blocks"), "{body}");
        let form = [("once", &*once), ("say", "resend 1"), ("back", "/admin")];
        let (status, _, told) = press(lab, &cookie, &form, &[]).await;
        assert!(status == 200 && told.contains("is on its way again"), "{told}");
        lab.settle().await;
        assert!(lab.answer("bob").await.contains("no run #7"));
        let (body, _) = page(lab, &cookie, "/admin").await;
        assert!(body.contains("everything that was owed was sent"), "{body}");
        lab.read_all();
    })
    .await;
}
