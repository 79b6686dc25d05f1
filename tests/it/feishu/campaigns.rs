//! A campaign in a chat of Feishu, in Chinese: its card shows how it goes, and a button's answer is the card as it is then.

use super::{How, lab_of};
use crate::lab::yaml;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaigns_card_is_steered_by_its_buttons() {
    let text = yaml::small(2)
        + "campaigns:\n  rollout: {families: [socA], suites: [smoke], repeats: 4, at_once: 1}\n\
           channels: {locale: {feishu: zh}}\n";
    lab_of(&text, How::Webhook, async |lab| {
        lab.say("批次 rollout build-crawl").await;
        let card = lab.card("批次 1 ·", "暂停").await;
        let paused = lab.feishu.click("ou_li", &card, "暂停").await;
        assert_eq!(
            (paused.status, paused.with_card, paused.toast.0.as_str()),
            (200, true, "success"),
            "{paused:?}"
        );
        lab.card("批次 1 ·", "继续").await;
        let stopped = lab.feishu.click("ou_li", &card, "取消").await;
        assert_eq!((stopped.status, stopped.with_card), (200, true), "{stopped:?}");
        lab.card("批次 1 ·", "已取消").await;
        lab.settle().await;
        assert_eq!(lab.runs().await, 1, "one at once");
    })
    .await;
}
