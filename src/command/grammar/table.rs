//! The rows of the table, in both languages. Data alone.

use super::{Argument, CommandOption, Form, Role, Row};

const fn word(name: &'static str) -> Argument {
    Argument { name, optional: false, rest: false }
}

const fn maybe(name: &'static str) -> Argument {
    Argument { name, optional: true, rest: false }
}

const fn rest(name: &'static str) -> Argument {
    Argument { rest: true, ..word(name) }
}

const fn maybe_rest(name: &'static str) -> Argument {
    Argument { rest: true, ..maybe(name) }
}

/// `#42` or `42`; may be left out in a run's thread.
const RUN: Argument = word("#");

/// An option with its other spellings, the first of them Chinese; usage and help in English and in Chinese.
const fn option(
    name: &'static str,
    aliases: &'static [&'static str],
    usage: [&'static str; 2],
    help: [&'static str; 2],
) -> CommandOption {
    CommandOption { name, aliases, usage, help, flag: false, repeatable: false }
}

const fn flag(
    name: &'static str,
    aliases: &'static [&'static str],
    help: [&'static str; 2],
) -> CommandOption {
    CommandOption { flag: true, ..option(name, aliases, [name, aliases[0]], help) }
}

/// Options of `/run-test`; their names are reserved and can never be a plan's parameter.
const RUN_TEST_OPTIONS: &[CommandOption] = &[
    option(
        "suite",
        &["套件"],
        ["suite=…", "套件=…"],
        [
            "which tests; a board of the family names them: /lab board soc-a-001",
            "跑哪套测试；查看板卡可知有哪些：/lab 板子 soc-a-001",
        ],
    ),
    option(
        "priority",
        &["优先级"],
        ["priority=high|normal|low", "优先级=高|中|低"],
        ["who is sooner in line; normal when absent", "排队的先后；不写为中"],
    ),
    option(
        "rev",
        &["版本", "revision"],
        ["rev=…", "版本=…"],
        ["only a board of this revision, such as rev=rev2", "只用这个硬件版本的板卡，例如 版本=rev2"],
    ),
    CommandOption {
        repeatable: true,
        ..option(
            "tag",
            &["标签"],
            ["tag=k:v", "标签=k:v"],
            [
                "only a board with this tag, such as tag=ddr:8g; may stand more than once",
                "只用带这个标签的板卡，例如 标签=ddr:8g；可以写多个",
            ],
        )
    },
    option("on", &["板卡"], ["on=board", "板卡=…"], ["only this board", "只用这块板卡"]),
    option(
        "timeout",
        &["超时"],
        ["timeout=20m", "超时=20m"],
        ["the longest that the whole run may take", "整个任务最长用时"],
    ),
    option(
        "boards",
        &["板数"],
        ["boards=2", "板数=2"],
        ["so many boards of one site at once, for one run", "一个任务同时使用同一站点的几块板卡"],
    ),
];

/// Options of `/lab audit`.
const AUDIT_OPTIONS: &[CommandOption] = &[
    flag("refused", &["被拒"], ["only what was refused", "只看被拒绝的"]),
    option(
        "before",
        &["早于"],
        ["before=1234", "早于=1234"],
        ["go on where the answer before ended", "接着上一条回答继续往前看"],
    ),
];

/// What else may follow `/run-test`: usage, and what it does, each in English and in Chinese.
pub(super) const RUN_TEST_FREE: &[([&str; 2], [&str; 2])] = &[
    (
        ["x3", "x3"],
        [
            "three runs of the same, each on a board of its own, under one card",
            "同样的任务跑三个，各用一块板卡，共用一张卡片",
        ],
    ),
    (
        ["name=value", "名字=值"],
        ["a parameter of the suite; the same answer names them", "测试套件的参数；查看板卡可知有哪些"],
    ),
];

/// Arguments of usage lines in Chinese.
pub(super) const ARGUMENTS_ZH: &[(&str, &str)] = &[
    ("soc|board", "系列|板卡"),
    ("board|soc", "板卡|系列"),
    ("board|site", "板卡|站点"),
    ("soc|site", "系列|站点"),
    ("1h", "1h"),
    ("2h", "2h"),
    ("30m", "30m"),
    ("lines", "行数"),
    ("code", "绑定码"),
    ("yes", "是"),
    ("#|soc", "#|系列"),
    ("person", "某人"),
    ("#", "#"),
    ("#|build", "#|构建"),
    ("who|board|#", "某人|板卡|#"),
    ("number|all", "编号|全部"),
    ("soc", "系列"),
    ("board", "板卡"),
    ("build", "构建"),
    ("reason", "原因"),
    ("command", "命令"),
    ("schedule", "定时任务"),
    ("campaign|#", "批次|#"),
    ("build|pause|resume|continue|rollback|cancel", "构建|暂停|恢复|继续|回滚|取消"),
    ("pause|resume", "暂停|继续"),
    ("on|off|cycle|status|sequence", "上电|断电|重启|状态|电源序列"),
];

/// The default of a row: a command that comes later.
const LATER: Row = Row {
    form: Form::Later,
    words: &[],
    zh: &[],
    arguments: &[],
    options: &[],
    params: false,
    help: "",
    help_zh: "",
    example: "",
    example_zh: "",
    needs: Role::User,
    available: false,
};

const fn later(words: &'static [&'static str], zh: &'static [&'static str]) -> Row {
    Row { words, zh, ..LATER }
}

/// Every command.
pub const TABLE: &[Row] = &[
    Row {
        form: Form::RunTest,
        words: &["run-test", "runtest"],
        zh: &["运行", "测试", "跑"],
        arguments: &[word("soc|board"), word("build")],
        options: RUN_TEST_OPTIONS,
        params: true,
        help: "Test a build on a board; add x3 to run it three times",
        help_zh: "在板卡上测试一个构建；加 x3 跑三遍",
        example: "/run-test socA build-123 suite=smoke priority=high",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Boards,
        words: &["boards"],
        zh: &["板卡", "所有板子"],
        arguments: &[maybe_rest("soc|site")],
        help: "Which boards there are, and who has them",
        help_zh: "有哪些板卡，谁在用",
        example: "/lab boards socA",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Board,
        words: &["board"],
        zh: &["板子", "单板"],
        arguments: &[word("board")],
        help: "One board: state, holder, health",
        help_zh: "一块板卡：状态、占用者、健康情况",
        example: "/lab board soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Runs,
        words: &["runs", "queue"],
        zh: &["任务", "队列"],
        options: &[flag("mine", &["我的", "my"], ["only those that you asked for", "只看自己提交的"])],
        help: "What runs and what waits",
        help_zh: "哪些任务在跑，哪些在排队",
        example: "/lab runs mine",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Run,
        words: &["run", "status", "show"],
        zh: &["状态", "查看"],
        arguments: &[RUN],
        help: "One run: where it is, or how it ended",
        help_zh: "一个任务：进行到哪里，或者结果如何",
        example: "/lab run #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Why,
        words: &["why"],
        zh: &["为什么", "原因"],
        arguments: &[RUN],
        help: "Why a run is still waiting",
        help_zh: "任务为什么还在等",
        example: "/lab why #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Compare,
        words: &["compare", "diff"],
        zh: &["对比"],
        arguments: &[maybe("#|build"), maybe("#|build"), maybe("soc")],
        options: &[option(
            "suite",
            &["套件"],
            ["suite=…", "套件=…"],
            ["which tests; as in /run-test", "哪套测试；与运行命令相同"],
        )],
        help: "What fails now and did not: two runs or builds, or one and the last good run before it",
        help_zh: "对比两个任务或构建，看哪些用例新失败；只给一个时与它之前最近一次通过的对比",
        example: "/lab compare build-119 build-123 socA",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Builds,
        words: &["builds"],
        zh: &["构建"],
        arguments: &[maybe("soc")],
        help: "The newest builds that were registered; /run-test socA latest tests the newest good one",
        help_zh: "最近登记的构建；/lab 运行 socA latest 测试最新的成功构建",
        example: "/lab builds socA",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Cancel,
        words: &["cancel", "abort", "stop"],
        zh: &["取消", "停止"],
        arguments: &[RUN],
        help: "End a run; other people's runs need an operator",
        help_zh: "结束任务；结束别人的任务需要 operator 角色",
        example: "/lab cancel #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Retry,
        words: &["retry", "rerun"],
        zh: &["重试", "重跑"],
        arguments: &[RUN],
        options: &[flag(
            "elsewhere",
            &["换板", "other", "other-board"],
            ["on another board than before", "换一块板卡"],
        )],
        help: "Run the same again, with elsewhere on another board",
        help_zh: "同样的任务再跑一遍，加“换板”则换一块板卡",
        example: "/lab retry #42 elsewhere",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Power,
        words: &["power"],
        zh: &["电源"],
        arguments: &[word("board"), word("on|off|cycle|status|sequence")],
        help: "Switch or read a board's power; a sequence is one of its own in boards.yaml",
        help_zh: "控制或查询板卡电源；电源序列是 boards.yaml 里为该板卡定义的",
        example: "/lab power soc-a-001 cycle",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Quarantine,
        words: &["quarantine"],
        zh: &["隔离"],
        arguments: &[word("board"), rest("reason")],
        help: "Take a board out of service; what runs on it goes on",
        help_zh: "隔离板卡，不再分配任务；正在跑的任务继续",
        example: "/lab quarantine soc-a-001 the fan is dead",
        example_zh: "/lab 隔离 soc-a-001 风扇坏了",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Return,
        words: &["return"],
        zh: &["恢复"],
        arguments: &[word("board")],
        help: "Put a quarantined board back into service",
        help_zh: "恢复被隔离的板卡",
        example: "/lab return soc-a-001",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Drain,
        words: &["drain"],
        zh: &["排空"],
        arguments: &[maybe("board|site"), maybe("2h"), maybe_rest("reason")],
        help: "Let a board, a site or a worker (worker:its-id) take nothing new, as an operator; what is on it goes on. Alone, it shows what drains",
        help_zh: "让一块板卡、一个站点或一个节点（worker:名称）不再接新任务，需要 operator 角色；正在进行的继续。不带参数则列出正在排空的",
        example: "/lab drain soc-a-001 2h a new fan",
        example_zh: "/lab 排空 soc-a-001 2h 换风扇",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Undrain,
        words: &["undrain"],
        zh: &["取消排空"],
        arguments: &[rest("board|site")],
        help: "Let it take new work again",
        help_zh: "恢复接新任务",
        example: "/lab undrain soc-a-001",
        needs: Role::Operator,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Reserve,
        words: &["reserve"],
        zh: &["预留", "预约"],
        arguments: &[word("board|soc"), maybe("2h"), maybe_rest("reason")],
        help: "Have a board as your own for a while: at once, or in your turn",
        help_zh: "预留一块板卡自己用一段时间：有空闲就立即得到，否则排队",
        example: "/lab reserve soc-a-001 2h DDR bring-up",
        example_zh: "/lab 预留 soc-a-001 2h 调试 DDR",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Extend,
        words: &["extend"],
        zh: &["延长"],
        arguments: &[maybe("board"), maybe("1h")],
        help: "Keep the board that you have for longer",
        help_zh: "延长自己预留的板卡",
        example: "/lab extend soc-a-001 1h",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Release,
        words: &["release"],
        zh: &["释放"],
        arguments: &[maybe("board|soc")],
        help: "Give back the board that you have, or your place in line; other people's boards need an operator",
        help_zh: "释放自己预留的板卡或排队位置；收回别人的板卡需要 operator 角色",
        example: "/lab release soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Hold,
        words: &["hold"],
        zh: &["保留"],
        arguments: &[maybe("#"), maybe("30m")],
        help: "Have a run's board as the run leaves it, should it fail, or once it has",
        help_zh: "任务失败后把板卡原样留给自己；已经失败的也可以",
        example: "/lab hold #42 30m",
        example_zh: "/lab 保留 #42 30m",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Log,
        words: &["log", "logs"],
        zh: &["日志"],
        arguments: &[RUN, maybe("lines")],
        help: "Show a run's console log in its thread, or so many of its last lines here",
        help_zh: "把任务的控制台日志发到它的话题里；带行数则在这里显示最后几行",
        example: "/lab log #42 30",
        example_zh: "/lab 日志 #42 30",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Watch,
        words: &["watch"],
        zh: &["关注"],
        arguments: &[maybe("#|soc")],
        help: "Tell me directly how a run ends, or of a family's runs that go wrong; alone, what you watch",
        help_zh: "任务结束时私聊通知我，或某系列的任务出错时通知我；不带参数则列出已关注的",
        example: "/lab watch #42",
        example_zh: "/lab 关注 #42",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Unwatch,
        words: &["unwatch"],
        zh: &["取消关注"],
        arguments: &[word("#|soc")],
        help: "Do not tell me of it any more",
        help_zh: "不再通知我",
        example: "/lab unwatch socA",
        example_zh: "/lab 取消关注 socA",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Digest,
        words: &["digest"],
        zh: &["日报"],
        help: "What boards, queue and tests were up to in the last day",
        help_zh: "最近一天的板卡、队列和测试情况",
        example: "/lab digest",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Link,
        words: &["link"],
        zh: &["绑定"],
        arguments: &[maybe("code"), maybe("yes")],
        help: "Be one person in Slack and in Feishu: alone it gives a code, which is typed on the other platform",
        help_zh: "在 Slack 和飞书中视为同一人：不带参数获取绑定码，然后到另一个平台输入",
        example: "/lab link K7QM-2XTD",
        example_zh: "/lab 绑定 K7QM-2XTD",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Unlink,
        words: &["unlink"],
        zh: &["解绑"],
        arguments: &[maybe("person")],
        help: "Be two people again; of others, an admin says it",
        help_zh: "解除绑定；管理员可解除他人的绑定",
        example: "/lab unlink",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Workers,
        words: &["workers"],
        zh: &["节点"],
        help: "Who drives the boards of remote sites, and when they were heard last",
        help_zh: "远程站点的板卡由谁驱动，最近何时有消息",
        example: "/lab workers",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Notify,
        words: &["notify"],
        zh: &["通知"],
        arguments: &[word("board|soc")],
        help: "Tell me once when a board comes free",
        help_zh: "板卡空闲时通知我一次",
        example: "/lab notify soc-a-001",
        example_zh: "/lab 通知 soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Nudge,
        words: &["nudge"],
        zh: &["催促"],
        arguments: &[word("board")],
        help: "Ask whoever has a board whether they still need it",
        help_zh: "问问占用者是否还需要这块板卡",
        example: "/lab nudge soc-a-001",
        example_zh: "/lab 催促 soc-a-001",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Handover,
        words: &["handover"],
        zh: &["移交"],
        arguments: &[word("board"), word("person")],
        help: "Offer the board that you have to somebody; it is theirs once they take it",
        help_zh: "把你的板卡移交给别人，对方接受后生效",
        example: "/lab handover soc-a-001 @U0BOB",
        example_zh: "/lab 移交 soc-a-001 @U0BOB",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Reload,
        words: &["reload"],
        zh: &["重载"],
        help: "Read boards.yaml again; one with mistakes changes nothing",
        help_zh: "重新读取 boards.yaml；有错误则一切照旧",
        example: "/lab reload",
        needs: Role::Admin,
        available: true,
        ..LATER
    },
    Row {
        form: Form::DeadLetters,
        words: &["deadletters", "letters"],
        zh: &["死信"],
        help: "Messages that could not be sent, why, and since when",
        help_zh: "发不出去的消息、原因和时间",
        example: "/lab deadletters",
        needs: Role::Admin,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Resend,
        words: &["resend"],
        zh: &["重发"],
        arguments: &[word("number|all")],
        help: "Send a message again that could not be sent",
        help_zh: "把发不出去的消息再发一次",
        example: "/lab resend 3",
        needs: Role::Admin,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Audit,
        words: &["audit"],
        zh: &["审计"],
        arguments: &[maybe("who|board|#"), maybe("2h")],
        options: AUDIT_OPTIONS,
        help: "Who was allowed or refused what, and why; the newest first",
        help_zh: "谁被允许或拒绝做了什么、为什么；最新的在前",
        example: "/lab audit soc-a-001 24h",
        needs: Role::Admin,
        available: true,
        ..LATER
    },
    Row {
        form: Form::Campaign,
        words: &["campaign", "campaigns"],
        zh: &["批次"],
        arguments: &[maybe("campaign|#"), maybe("build|pause|resume|continue|rollback|cancel")],
        help: "Bring a build to many boards in waves, or see and steer how that goes",
        help_zh: "把一个构建分波推到许多板卡上，或查看、控制进展",
        example: "/lab campaign rollout build-123",
        example_zh: "/lab 批次 rollout build-123",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Schedules,
        words: &["schedules", "schedule"],
        zh: &["定时"],
        arguments: &[maybe("schedule"), maybe("pause|resume")],
        help: "What starts by itself and when; pausing one needs an operator",
        help_zh: "哪些任务定时启动，何时启动；暂停需要 operator 角色",
        example: "/lab schedules nightly pause",
        example_zh: "/lab 定时 nightly 暂停",
        available: true,
        ..LATER
    },
    Row {
        form: Form::Help,
        words: &["help", "?"],
        zh: &["帮助"],
        arguments: &[maybe("command")],
        help: "What can be typed here",
        help_zh: "这里可以输入什么",
        example: "/lab help run-test",
        available: true,
        ..LATER
    },
    later(&["render"], &["渲染"]),
];

/// What can be done with power, in Chinese and in English; the first word for each is the one that help shows.
pub const POWER_ZH: &[(&str, &str)] = &[
    ("上电", "on"),
    ("开", "on"),
    ("断电", "off"),
    ("关", "off"),
    ("重启", "cycle"),
    ("断电重启", "cycle"),
    ("状态", "status"),
];

/// What can be done with a schedule, the same way.
pub const PAUSE_ZH: &[(&str, &str)] = &[("暂停", "pause"), ("继续", "resume")];

/// What can be asked of a campaign, the same way.
pub const CAMPAIGN_ZH: &[(&str, &str)] =
    &[("暂停", "pause"), ("恢复", "resume"), ("继续", "continue"), ("回滚", "rollback"), ("取消", "cancel")];

/// Priorities, the same way.
pub const PRIORITY_ZH: &[(&str, &str)] =
    &[("高", "high"), ("中", "normal"), ("普通", "normal"), ("低", "low")];
