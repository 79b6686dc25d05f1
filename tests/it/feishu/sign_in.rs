//! Signing in to the pages as in Feishu: by hand with everything wrong, and in a browser.

use serde_json::json;

use super::*;
use crate::browser::Browser;
use crate::web::sign_in::{answered, begun, cookie, fetch, header};

/// What became of a sign-in that must not succeed.
async fn refused(back: &str, ours: &str) -> (u16, String) {
    let (status, head, body) = fetch(back, &["-H", ours]).await;
    assert_eq!(cookie(&head, "boardhand_session"), None, "{head}");
    (status, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_as_in_feishu_and_nobody_with_what_is_wrong() {
    lab(1, async |lab| {
        lab.feishu.add_person("ou_li", "Li Lei");
        lab.feishu.add_person("ou_far", "Far Away");
        lab.feishu.set_tenant_of("ou_far", "tenant_other");
        let (address, ours) = begun(&lab.door, "feishu", "/queue").await;
        for wanted in ["client_id=cli_lab", "code_challenge=", "code_challenge_method=S256", "state="] {
            assert!(address.contains(wanted), "{wanted}: {address}");
        }
        let denied = answered(&address, "Cancel").await;
        let (status, body) = refused(&denied, &ours).await;
        assert!(status == 403 && body.contains("You did not allow Feishu"), "{body}");
        let back = answered(&address, "Allow as Li Lei").await;
        assert_eq!(refused(&back.replace("state=", "state=0"), &ours).await.0, 403);
        // A code that was made for another browser: the verifier is not what was shown.
        let (other_address, other) = begun(&lab.door, "feishu", "/").await;
        let stolen = answered(&other_address, "Allow as Li Lei").await;
        let code = |back: &str| {
            back.split("code=").nth(1).and_then(|c| c.split('&').next()).expect("a code").to_owned()
        };
        let (status, body) = refused(&back.replace(&code(&back), &code(&stolen)), &ours).await;
        assert!(status == 403 && body.contains("20049_invalid_grant"), "{body}");
        assert_eq!(refused(&stolen, &other).await.0, 403, "and it is used now");
        for (call, fault, status, said) in [
            (Call::SignIn, Fault::DoneThen500, 503, "Try again in a moment"),
            (Call::SignIn, Fault::Code(20_010), 502, "not made available to you"),
            (Call::Tenant, Fault::Code(99_991_672), 502, "tenant:tenant:readonly"),
        ] {
            let back = answered(&address, "Allow as Li Lei").await;
            lab.feishu.fault(call, fault.clone());
            let (got, body) = refused(&back, &ours).await;
            assert!(got == status && body.contains(said), "{fault:?}: {got} {body}");
        }
        let (status, body) = refused(&answered(&address, "Allow as Far Away").await, &ours).await;
        assert!(status == 403 && body.contains("another workspace"), "{body}");

        let (status, head, _) = fetch(&back, &["-H", &ours]).await;
        assert_eq!((status, header(&head, "location")), (303, vec!["/queue"]), "{head}");
        let li = cookie(&head, "boardhand_session").expect("a session");
        let (status, body) = refused(&back, &ours).await;
        assert!(status == 403 && body.contains("20065_invalid_grant"), "{body}");
        let (_, _, body) = fetch(&format!("{}/boards/soc-a-001", lab.door), &["-H", &li]).await;
        assert!(body.contains("<span class=\"who\">Li Lei</span>"), "{body}");
        let once = body
            .split("name=\"once\" value=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a key");
        let form = format!("once={once}&back=/&say=reserve+soc-a-001&reason=bring-up");
        let (status, _, body) = fetch(&format!("{}/act", lab.door), &["-H", &li, "--data", &form]).await;
        assert!(status == 200 && body.contains("soc-a-001"), "{body}");
        let leases = lab.store.lease_list().await.expect("leases");
        assert!(format!("{:?}", leases[0].holder).contains("ou_li"), "{leases:?}");
        lab.feishu.say("ou_li", CHAT, "release soc-a-001").await;
        let released = async {
            while !lab.store.lease_list().await.expect("leases").is_empty() {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        lab.clock.timeout(WITHIN, released).await.expect("it is theirs to give back");
        assert_eq!(json!(leases.len()), json!(1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_led_to_feishu_and_back() {
    lab(1, async |lab| {
        lab.feishu.add_person("ou_li", "Li Lei");
        let (browser, _driver) = Browser::start().await;
        browser.open(&format!("{}/boards/soc-a-001", lab.door)).await;
        browser.press("//a[.='Sign in with Feishu']").await;
        browser.press("//a[.='Allow as Li Lei']").await;
        browser.sees("//h1", "soc-a-001").await;
        browser.sees("//span[@class='who']", "Li Lei").await;
        assert_eq!(browser.errors().await, [""; 0], "the page reports no error");
    })
    .await;
}
