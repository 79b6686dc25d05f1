//! History as somebody looks at it: how builds came out, which tests fail in which, what is flaky, how boards are used.

use super::{Browser, curl, session, signed_in};
use crate::browser::ENTER;
use crate::lab::{Lab, lab, yaml};

/// Runs of two builds that pass and fail, all of them over.
async fn some_builds(lab: &mut Lab) {
    for build in ["build-1", "build-fail", "build-2"] {
        let run = lab.run("alice", &format!("/run-test socA {build}")).await;
        lab.verdict(run).await;
    }
    lab.settle().await;
}

const SUITE: &str = "/history?family=socA&suite=smoke";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_says_how_builds_and_tests_came_out_to_whoever_signed_in() {
    lab(&yaml::small(2), async |lab| {
        some_builds(lab).await;
        for path in ["/history", SUITE] {
            let (status, head, body) = curl(lab, path, &[]).await;
            assert!(
                status == 303 && head.contains("location: /signin?next=%2fhistory") && body.is_empty(),
                "{head}"
            );
        }
        let cookie = session(lab).await;
        let (status, _, body) = curl(lab, "/history", &["-H", &cookie]).await;
        assert_eq!(status, 200, "{body}");
        for said in [
            "<a href=\"/history?family=socA&amp;suite=smoke\">",
            "socA · smoke",
            "2 of the last 3 passed",
            "nothing tested yet",
            "aria-label=\"#2, build-fail: failed\"",
            "None in the last 7 days.",
            "Share of the last 7 days in which each board was in use",
            "<th scope=\"row\">soc-b-001</th><td>0 %</td>",
        ] {
            assert!(body.contains(said), "{said}: {body}");
        }
        let (status, _, body) = curl(lab, SUITE, &["-H", &cookie]).await;
        assert_eq!(status, 200, "{body}");
        for said in [
            "of 3 builds from build-1 to build-2",
            "<th scope=\"row\">build-fail</th><td>0 of 1</td>",
            "href=\"/runs/2#tests\" aria-label=\"failed in #2\"",
            "booting ",
            "stroke=\"var(--line)\"",
        ] {
            assert!(body.contains(said), "{said}: {body}");
        }
        // What failed stands on top, and three runs stand beside each other.
        let rows: Vec<&str> = body.split("<tr><th scope=\"row\"><a href=\"/history").skip(1).collect();
        assert!(rows.len() > 1 && rows[0].contains("failed in #2"), "{rows:?}");
        assert_eq!(rows[0].matches("<td class=").count(), 3, "{}", rows[0]);
        let last = rows.last().expect("a row");
        assert!(!last.contains("failed in") && last.contains("<td class=passed>✓"), "{last}");
        assert!(!body.contains("style="), "no rule of the page's own policy is broken");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ended_early_hides_no_test_that_others_ran() {
    lab(&yaml::small(2), async |lab| {
        some_builds(lab).await;
        let cookie = session(lab).await;
        let tests = |body: &str| body.matches("<tr><th scope=\"row\"><a href=\"/history").count();
        let (_, _, before) = curl(lab, SUITE, &["-H", &cookie]).await;
        let run = lab.run("alice", "/run-test socA build-panic").await;
        assert!(lab.verdict(run).await.starts_with("failed"));
        lab.settle().await;
        let (_, _, after) = curl(lab, SUITE, &["-H", &cookie]).await;
        assert!(after.contains("build-panic"), "{after}");
        assert!(
            tests(&before) > 1 && tests(&after) >= tests(&before),
            "{} then {}",
            tests(&before),
            tests(&after)
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_is_found_by_part_of_its_name_and_followed_through_the_runs() {
    lab(&yaml::small(2), async |lab| {
        some_builds(lab).await;
        let cookie = session(lab).await;
        let (_, _, all) = curl(lab, SUITE, &["-H", &cookie]).await;
        let first = regex::Regex::new("<tr><th scope=\"row\"><a href=\"([^\"]+)#test\">([^<]+)</a>")
            .expect("a pattern");
        let hit = first.captures(&all).expect("a test");
        let (link, name) = (hit[1].replace("&amp;", "&"), hit[2].to_owned());
        let (status, _, body) = curl(lab, &link, &["-H", &cookie]).await;
        assert!(status == 200 && body.contains(&format!("<h2>{name}</h2>")), "{link}: {body}");
        let test = body.split("</section>").next().expect("its section");
        assert!(test.contains("<td>build-fail</td><td class=\"failed\">failed</td>"), "{test}");
        assert!(test.contains("<td>build-1</td><td class=\"passed\">passed</td>"), "{test}");
        for (asked, rows) in
            [("q=no-such-test", 0), ("q=%3Cscript%3E", 0), (&*format!("q={}", name.to_uppercase()), 1)]
        {
            let (_, _, body) = curl(lab, &format!("{SUITE}&{asked}"), &["-H", &cookie]).await;
            assert_eq!(body.matches("#test\">").count(), rows, "{asked}: {body}");
            assert!(!body.contains("<script>") && (rows > 0 || body.contains("name has ")), "{body}");
        }
        let (_, _, body) = curl(lab, "/history?family=socZ&suite=%22%3E%3Cb%3E", &["-H", &cookie]).await;
        assert!(body.contains("Nothing of this suite has ended") && !body.contains("\"><b>"), "{body}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_read_by_keyboard_on_a_phone_and_in_the_dark() {
    lab(&yaml::small(2), async |lab| {
        some_builds(lab).await;
        let (browser, _driver) = Browser::start().await;
        signed_in(lab, &browser).await;
        let mut wrong = Vec::new();
        let test = format!("{SUITE}&test=nothing");
        for path in ["/history", SUITE, &test] {
            wrong.extend(browser.wrong_with(lab, path).await);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        browser.show_as("light", 1200, 1000).await;
        browser.open(&format!("{}{SUITE}", lab.door)).await;
        browser.picture("history.png.base64").await;
        // A plot is painted in the page's own colours, whichever those are now.
        browser.show_as("dark", 1200, 900).await;
        browser.open(&format!("{}{SUITE}", lab.door)).await;
        let paint = "const of = (at) => getComputedStyle(document.querySelector(at)); \
                     return of('figure circle').fill === of('.passed').color";
        browser.holds("the dark green", paint).await;
        browser.keys("/").await;
        browser.holds("the filter", "return document.activeElement.id === 'filter'").await;
        browser.keys("no-such-test").await;
        let hidden = "return [...document.querySelectorAll('#tests tr')].every((row) => row.hidden)";
        browser.holds("nothing left", hidden).await;
        browser.keys(ENTER).await;
        browser.sees("//p[contains(.,'No test')]", "no-such-test").await;
        browser.open(&format!("{}{SUITE}", lab.door)).await;
        browser.holds("the page", "return document.querySelector('#tests a') !== null").await;
        browser.run("document.querySelector('#tests td.failed a').focus()").await;
        browser.keys(ENTER).await;
        browser.sees("//h1[@class='failed']", "#2").await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
        lab.read_all();
    })
    .await;
}
