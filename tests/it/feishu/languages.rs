//! One lab in two languages: a channel in Slack that reads English, and Feishu, whose people read and type Chinese.

use boardhand::sim::slack::SimSlack;

use super::{CHAT, How, Lab, lab_of};
use crate::lab::{CHANNEL, steady, yaml};

/// What is asked in Feishu is told in Slack too, and Feishu speaks Chinese.
const CHINESE: &str =
    "channels: {mirrors: [{from: feishu:oc_soc, to: slack:C0SOCCI}], locale: {feishu: zh}}\n";

async fn chinese(boards: usize, test: impl AsyncFnOnce(&Lab, &SimSlack)) {
    lab_of(&(yaml::small(boards) + CHINESE), How::WithSlack, async |lab| {
        let slack = lab.slack.as_ref().expect("Slack is there");
        test(lab, slack).await;
        lab.settle().await;
        assert_eq!(slack.problems(), [""; 0], "a real workspace would not have taken these");
    })
    .await;
}

impl Lab {
    /// Everything that stands in the chat, without what boards printed.
    fn told(&self) -> String {
        steady(&self.feishu.render(CHAT)).split("```").step_by(2).map(str::trim_end).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_green_run_is_told_in_the_language_of_each_channel() {
    chinese(1, async |lab, slack| {
        lab.say("运行 socA build-123 优先级=高").await;
        lab.card("#1", "通过").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.told(), @r#"
            ou_li: 运行 socA build-123 优先级=高
              ↩ 👍 **#1** socA · `build-123` · smoke · 高优先级
              ↩ 有空闲板卡，马上开始。
              ↩ 卡片马上出现在这个频道。
            [green] #1 socA · build-123 · smoke
            **✅ 通过**
            **板卡**
            `soc-a-001`
            **提交人**
            <at id=ou_li></at>
            **用例**
            通过 23
            **用时**
            N 秒
            ✓ 上电   ✓ 启动   ✓ 部署   ✓ 测试   ✓ 收集
            结束于 <time> · [控制台日志](http://lab/runs/1/log/1?key=…)
            (重试)
                ▶️ `soc-a-001` 已启动，正在测试 `build-123`。
                **✅ 通过**，板卡 `soc-a-001`，用时 N 秒：通过 23
                [控制台日志](http://lab/runs/1/log/1?key=…)
        "#);
        insta::assert_snapshot!(steady(&slack.render_channel(CHANNEL)), @r#"
            boardhand: #1 socA · build-123 · smoke
              *✅ Passed*
              *Board* `soc-a-001`
              *By* feishu:ou_li
              *Tests* 23 passed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
              Finished <time> · Console log
              [Retry]
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_red_run_is_told_in_chinese_and_its_buttons_answer_in_chinese() {
    chinese(1, async |lab, _| {
        lab.say("跑 socA build-fail").await;
        let card = lab.card("#1", "失败").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.told(), @r#"
            ou_li: 跑 socA build-fail
              ↩ 👍 **#1** socA · `build-fail` · smoke
              ↩ 有空闲板卡，马上开始。
              ↩ 卡片马上出现在这个频道。
            [red] #1 socA · build-fail · smoke
            **❌ 失败** · 用例失败 `tests-failed`
            失败用例：`gemm.gemm_i4_packed`、`memory.memory_alloc_free`
            socA 上首次出现的失败。
            **板卡**
            `soc-a-001`
            **提交人**
            <at id=ou_li></at>
            **用例**
            通过 17，失败 **2**
            **用时**
            N 秒
            ✓ 上电   ✓ 启动   ✓ 部署   ✗ 测试   ✓ 收集
            结束于 <time> · [控制台日志](http://lab/runs/1/log/1?key=…)
            (重试) (换板重试) (保留 30 分钟) (断电重启)
                ▶️ `soc-a-001` 已启动，正在测试 `build-fail`。
                **❌ 失败** · 用例失败 `tests-failed`，板卡 `soc-a-001`，用时 N 秒：通过 17，失败 **2** · <at id=ou_li></at>
                失败用例：`gemm.gemm_i4_packed`、`memory.memory_alloc_free`
                socA 上首次出现的失败。
                [控制台日志](http://lab/runs/1/log/1?key=…)
        "#);
        // Two clicks on the card as it stands now.
        let clicks = [(); 2].map(|()| lab.feishu.click_body("ou_wu", &card, "重试"));
        let clicked = lab.feishu.click_with(&card, &clicks[0]).await;
        assert_eq!((clicked.status, clicked.toast.0.as_str()), (200, "success"));
        insta::assert_snapshot!(clicked.toast.1, @"👍 #2 socA · build-fail · smoke · 重试自 #1 有空闲板卡，马上开始。");
        lab.card("#2", "失败").await;
        let again = lab.feishu.click_with(&card, &clicks[1]).await;
        insta::assert_snapshot!(again.toast.1, @"这个按钮之前已经按过：#1 已重试为 #2，卡片就在这个频道。");
    })
    .await;
}
