//! A power cycle of a board that somebody else has, asked for in a chat of Feishu: the question comes to the one who asked,
//! and nobody else presses it.

use super::{CHAT, How, Lab, lab_of};
use crate::lab::{WITHIN, steady, yaml};

const ROLES: &str = "roles: {operator: ['feishu:ou_wu'], admin: ['feishu:ou_lead'], user: ['*']}\nchannels: {locale: {feishu: zh}}\n";

/// Waits until somebody was told this in person; gives the message.
async fn told(lab: &Lab, who: &str, says: &str) -> String {
    let is_it = |message: &boardhand::sim::feishu::Message| message.shown().contains(says);
    let seen = lab.feishu.until(who, WITHIN, |messages| messages.iter().any(is_it)).await;
    assert!(seen.is_ok(), "{who} was never told {says:?}:\n{}", lab.feishu.render(who));
    lab.feishu.messages(who).iter().rfind(|m| is_it(m)).map(|m| m.id.clone()).expect("it was just there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_question_comes_in_person_and_its_button_cycles_the_board_once() {
    lab_of(&(yaml::small(1) + ROLES), How::Webhook, async |lab| {
        lab.feishu.add_person("ou_wu", "Wu");
        lab.say("run socA build-1").await;
        lab.card("#1", "通过").await;
        lab.settle().await;
        lab.say("预留 soc-a-001 2h bring-up").await;
        told(lab, CHAT, "归你使用").await;
        assert_eq!(lab.feishu.say("ou_wu", CHAT, "电源 soc-a-001 cycle").await, 200);
        let asked = told(lab, "ou_wu", "仍要断电重启").await;
        insta::assert_snapshot!(steady(&lab.feishu.render("ou_wu")), @r#"
            ✋ `soc-a-001` 未断电重启：<at id=ou_li></at> 正在使用它，到 <time>（bring-up）。
            你有权仍然这样做：其上运行的内容会丢失，板卡仍归对方占用，并会告知对方是你操作的。
            (仍要断电重启) (不动它) (问问是否还需要) (空闲时通知我)
        "#);
        let click = lab.feishu.click_body("ou_wu", &asked, "仍要断电重启");
        for _ in 0..3 {
            let clicked = lab.feishu.click_with(&asked, &click).await;
            assert_eq!((clicked.status, clicked.toast.0.as_str()), (200, "info"), "{clicked:?}");
        }
        told(lab, "ou_li", "仍归你使用").await;
        told(lab, "ou_wu", "已断电重启").await;
        insta::assert_snapshot!(steady(&lab.feishu.render("ou_li")), @r#"
            ⚡ <at id=ou_wu></at> 正在断电重启 `soc-a-001`，并知道它归你使用：其上运行的内容会丢失。它仍归你使用，到 <time>（bring-up）。
            (延长 1 小时) (释放)
        "#);
        assert!(!lab.feishu.render(CHAT).contains("仍要断电重启"), "{}", lab.feishu.render(CHAT));
        lab.say("释放").await;
        lab.settle().await;
    })
    .await;
}
