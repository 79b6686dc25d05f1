//! Whoever runs the lab asks in Chinese, in a chat of Feishu.

use boardhand::sim::feishu::{Call, Fault};

use super::{CHAT, How, lab_of};
use crate::lab::{steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_and_the_record_are_read_in_chinese() {
    let text = yaml::small(1) + "roles: {admin: [feishu:ou_li]}\nchannels: {locale: {feishu: zh}}\n";
    lab_of(&text, How::Webhook, async |lab| {
        lab.feishu.fault(Call::Send, Fault::Code(230_001));
        lab.say("运行 socA build-123").await;
        lab.settle().await;
        lab.say("死信").await;
        lab.settle().await;
        lab.say("死信 重发 1").await;
        lab.card("#1", "通过").await;
        lab.say("死信").await;
        lab.say("审计").await;
        assert_eq!(lab.feishu.say("ou_wu", CHAT, "审计 被拒").await, 200);
        lab.settle().await;
        insta::assert_snapshot!(steady(&lab.feishu.render(CHAT)), @r#"
            ou_li: 运行 socA build-123
              ↩ 👍 **#1** socA · `build-123` · smoke
              ↩ 有空闲板卡，马上开始。
              ↩ 卡片马上出现在这个频道。
            **✅ 通过**，板卡 `soc-a-001`，用时 N 秒：通过 23
            [控制台日志](http://lab/runs/1/log/1?key=…)
            ou_li: 死信
              ↩ **1 条消息**没能发出去，最新的在前
              ↩ **1** #1 的卡片，发往 `feishu:oc_soc` · 230001 · <time> 起待发，已 N 秒
              ↩ 先解决原因，再重发一条（连同它话题里的消息）：`/lab 重发 1`，或全部重发：`/lab 重发 全部`
            ou_li: 死信 重发 1
              ↩ 📨 死信 **1** 正在重新发送。因同样原因失败的，会再次出现在 `/lab 死信` 中。
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
            ou_li: 死信
              ↩ ✅ 消息全都发出去了，或正在发送。
            ou_li: 审计
              ↩ **谁做了什么**
              ↩ ✅ <time> `feishu:ou_li` **resend** `1`
              ↩ feishu:ou_li is an admin and may send messages again
              ↩ ✅ <time> `feishu:ou_li` **run-test** `socA build-123`
              ↩ feishu:ou_li is an admin and may start runs
            ou_wu: 审计 被拒
              ↩ 🔒 只有 admin 才能查看审计记录；你是普通用户（user）。
              ↩ 需要角色 `admin`，由实验室管理员在 boards.yaml 中授予。
              ↩ 可以找管理员修改：`feishu:ou_li`
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_in_a_department_or_below_it_has_its_role() {
    let text = yaml::small(1)
        + "roles: {operator: ['feishu:od-firmware'], user: ['*']}\nchannels: {locale: {feishu: zh}}\n";
    lab_of(&text, How::Webhook, async |lab| {
        lab.say("隔离 soc-a-001 风扇坏了").await;
        assert_eq!(lab.feishu.say("ou_wu", CHAT, "恢复 soc-a-001").await, 200);
        assert_eq!(lab.feishu.say("ou_zhao", CHAT, "恢复 soc-a-001").await, 200);
        lab.settle().await;
        insta::assert_snapshot!(steady(&lab.feishu.render(CHAT)), @r#"
            ou_li: 隔离 soc-a-001 风扇坏了
              ↩ 🟠 `soc-a-001` 已隔离：风扇坏了。
              ↩ 恢复使用：`/lab 恢复 soc-a-001`
            ou_wu: 恢复 soc-a-001
              ↩ 🔒 只有 operator 才能恢复板卡；你是普通用户（user）。
              ↩ 需要角色 `operator`，由实验室管理员在 boards.yaml 中授予。
            ou_zhao: 恢复 soc-a-001
              ↩ 🟢 `soc-a-001` 已恢复使用。下一个任务会先接管它。
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_department_that_the_app_may_not_see_has_nobody_and_that_is_told() {
    let text = yaml::small(1)
        + "roles: {operator: ['feishu:od-secret'], user: ['*']}\nchannels: {locale: {feishu: zh}}\n";
    lab_of(&text, How::Webhook, async |lab| {
        lab.say("隔离 soc-a-001 风扇坏了").await;
        lab.settle().await;
        insta::assert_snapshot!(steady(&lab.feishu.render(CHAT)), @r#"
            ou_li: 隔离 soc-a-001 风扇坏了
              ↩ 🔒 只有 operator 才能隔离板卡；你是普通用户（user）。
              ↩ 需要角色 `operator`，由实验室管理员在 boards.yaml 中授予。
              ↩ 现在查不到这些组里有谁：`feishu:od-secret`（40004）。恢复之前，没有人算作其成员。
        "#);
        let ready = lab.ask("GET /readyz", "").await;
        assert!(ready.contains("it is not known who is in feishu:od-secret (40004)"), "{ready}");
    })
    .await;
}
