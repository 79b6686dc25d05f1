//! One lab in two languages: a channel in Slack that reads English, and Feishu, whose people read and type Chinese.

use boardhand::sim::slack::SimSlack;

use super::{CHAT, How, Lab, lab_of};
use crate::lab::{CHANNEL, WITHIN, steady, yaml};

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
            (重试) (日志)
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
              [Retry] [Log]
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
            (重试) (换板重试) (保留 30 分钟) (断电重启) (日志)
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
        assert_eq!(again.i18n["zh_cn"], again.toast.1.as_str());
        assert!(again.i18n["en_us"].as_str().is_some_and(|said| said.starts_with("That was clicked before")), "{again:?}");
        insta::assert_snapshot!(again.toast.1, @"这个按钮之前已经按过：#1 已重试为 #2，卡片就在这个频道。");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_in_chinese_is_answered_in_chinese() {
    chinese(2, async |lab, slack| {
        for line in [
            "帮助 重试",
            "帮助 运行",
            "板卡",
            "板子 soc-a-002",
            "运行 socC build-1",
            "运行 socA build-1 次数=3",
            "运行 socA build-1 iterations=5000",
            "运行 socA build-1 优先级=急",
            "运行 socA",
            "取消",
            "取消 7",
            "取销 7",
            "电源 soc-b-001 重启",
            "隔离 soc-a-002 风扇坏了，等备件",
            "恢复 soc-a-002",
            "任务 我的",
        ] {
            lab.say(line).await;
            lab.settle().await;
        }
        insta::assert_snapshot!(lab.told(), @r#"
            ou_li: 帮助 重试
              ↩ `/lab 重试 <#> [换板]`
              ↩ 同样的任务再跑一遍，加“换板”则换一块板卡。
              ↩ `换板` 换一块板卡
              ↩ 例如：`/lab 重试 #42 换板`
            ou_li: 帮助 运行
              ↩ `/lab 运行 <系列|板卡> <构建> [套件=…] [优先级=高|中|低] [版本=…] [标签=k:v] [板卡=…] [超时=20m] [板数=2] [x3] [名字=值 …]`
              ↩ 在板卡上测试一个构建；加 x3 跑三遍。
              ↩ `套件=…` 跑哪套测试；查看板卡可知有哪些：/lab 板子 soc-a-001
              ↩ `优先级=高|中|低` 排队的先后；不写为中
              ↩ `版本=…` 只用这个硬件版本的板卡，例如 版本=rev2
              ↩ `标签=k:v` 只用带这个标签的板卡，例如 标签=ddr:8g；可以写多个
              ↩ `板卡=…` 只用这块板卡
              ↩ `超时=20m` 整个任务最长用时
              ↩ `板数=2` 一个任务同时使用同一站点的几块板卡
              ↩ `x3` 同样的任务跑三个，各用一块板卡，共用一张卡片
              ↩ `名字=值` 测试套件的参数；查看板卡可知有哪些
              ↩ 例如：`/lab 运行 socA build-123 套件=smoke 优先级=高`
            ou_li: 板卡
              ↩ **板卡**：3 块空闲，0 块在忙
              ↩ 🟢 `soc-a-001` socA · Lab Site A
              ↩ 🟢 `soc-a-002` socA · Lab Site A
              ↩ 🟢 `soc-b-001` socB · Lab Site B
            ou_li: 板子 soc-a-002
              ↩ [grey] soc-a-002
              ↩ **状态**
              ↩ 🟢 空闲
              ↩ **型号**
              ↩ socA rev2
              ↩ **站点**
              ↩ Lab Site A
              ↩ **控制台**
              ↩ `lab:port`
              ↩ **电源控制**
              ↩ 有
              ↩ 测试套件：`smoke`（iterations=…）、`trivial`
            ou_li: 运行 socC build-1
              ↩ ✋ 没有名为 `socC` 的系列或板卡。是不是想输入 `socA`？
              ↩ 可以试试：`@boardhand 运行 socA build-1`
            ou_li: 运行 socA build-1 次数=3
              ↩ 🤔 对 `/lab 运行` 来说，`次数=3` 是多余的。
              ↩ 用法：`/lab 运行 <系列|板卡> <构建> [套件=…] [优先级=高|中|低] [版本=…] [标签=k:v] [板卡=…] [超时=20m] [板数=2] [x3] [名字=值 …]`
              ↩ 可以试试：`/lab 运行 socA build-1`
              ↩ 输入 `/lab 帮助` 查看我能做什么。
            ou_li: 运行 socA build-1 iterations=5000
              ↩ ✋ 参数 `iterations` 必须是不大于 100 的整数，不能是 `5000`。
              ↩ 可以试试：`/lab 帮助 运行`
            ou_li: 运行 socA build-1 优先级=急
              ↩ 🤔 `优先级` 不能是 `急`：可以是 高、中、低，也可以是 high、normal、low、1、2、3。
              ↩ 用法：`/lab 运行 <系列|板卡> <构建> [套件=…] [优先级=高|中|低] [版本=…] [标签=k:v] [板卡=…] [超时=20m] [板数=2] [x3] [名字=值 …]`
              ↩ 可以试试：`/lab 运行 socA build-123 套件=smoke 优先级=高`
              ↩ 输入 `/lab 帮助` 查看我能做什么。
            ou_li: 运行 socA
              ↩ 🤔 `/lab 运行` 还缺少构建。
              ↩ 用法：`/lab 运行 <系列|板卡> <构建> [套件=…] [优先级=高|中|低] [版本=…] [标签=k:v] [板卡=…] [超时=20m] [板数=2] [x3] [名字=值 …]`
              ↩ 可以试试：`/lab 运行 socA build-123 套件=smoke 优先级=高`
              ↩ 输入 `/lab 帮助` 查看我能做什么。
            ou_li: 取消
              ↩ 🤔 `/lab 取消` 还缺少任务编号，例如 #42。
              ↩ 用法：`/lab 取消 <#>`
              ↩ 可以试试：`/lab 取消 #42`
              ↩ 输入 `/lab 帮助` 查看我能做什么。
            ou_li: 取消 7
              ↩ ✋ 没有任务 #7。
              ↩ 可以试试：`/lab 任务`
            ou_li: 取销 7
              ↩ 🤔 没有 `取销` 这个命令。是不是想输入 `取消`？
              ↩ 可以试试：`/lab 取消 7`
              ↩ 输入 `/lab 帮助` 查看我能做什么。
            ou_li: 电源 soc-b-001 重启
              ↩ ✋ 板卡 soc-b-001 没有 boardhand 能控制的电源。
              ↩ 可以试试：`/lab 板子 soc-b-001`
            ou_li: 隔离 soc-a-002 风扇坏了，等备件
              ↩ 🟠 `soc-a-002` 已隔离：风扇坏了，等备件。
              ↩ 恢复使用：`/lab 恢复 soc-a-002`
            ou_li: 恢复 soc-a-002
              ↩ 🟢 `soc-a-002` 已恢复使用。下一个任务会先接管它。
            ou_li: 任务 我的
              ↩ **我的任务**：运行中、排队中、最近结束
              ↩ 还没有任务。提交一个：`/lab 运行 <系列> <构建>`
        "#);
        // The same command in Slack, in English.
        let seen = slack.say("alice", CHANNEL, "/lab 取消 7").await.text;
        insta::assert_snapshot!(seen, @r#"
            ✋ There is no run #7.
            Try: `/lab runs`
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_and_whoever_waits_read_why_in_chinese() {
    let closed = yaml::small(1) + CHINESE + "roles: {operator: ['feishu:ou_lead'], user: ['*']}\n";
    lab_of(&closed, How::WithSlack, async |lab| {
        lab.say("运行 socA build-crawl").await;
        lab.card("#1", "正在测试").await;
        lab.say("运行 socA build-123").await;
        let waiting = lab.card("#2", "等待板卡").await;
        let click = |button: &str| lab.feishu.click_body("ou_wu", &waiting, button);
        // The queue hears of a run a moment after the store.
        let placed = async {
            loop {
                let why = lab.feishu.click_with(&waiting, &click("为什么在等？")).await.toast.1;
                if why.contains("位置") {
                    return why;
                }
            }
        };
        let why = lab.clock.timeout(WITHIN, placed).await.expect("it gets its place");
        insta::assert_snapshot!(steady(&why), @"#2 正在排队，位置 1。 唯一符合条件的板卡正忙：soc-a-001（任务 #1）。");
        let denied = lab.feishu.click_with(&waiting, &click("取消")).await;
        insta::assert_snapshot!(denied.toast.1, @"🔒 只有 operator 才能取消别人的任务；你是普通用户（user）。 需要角色 operator，由实验室管理员在 boards.yaml 中授予。");
        lab.say("取消 2").await;
        lab.say("取消 1").await;
        lab.card("#1", "已取消").await;
    })
    .await;
}
