//! The shapes of what the API takes and gives, for its description. Data; what is really sent is held to them by a test.

/// What stands under a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// An instant, RFC 3339 in UTC.
    Time,
    /// An id.
    Id,
    /// Texts.
    Texts,
    /// Texts or whole numbers.
    Shares,
    /// An object of texts and numbers.
    Map,
    /// One of these.
    Words(&'static [&'static str]),
    /// Another shape.
    Of(&'static Shape),
    /// A list of another shape.
    Many(&'static Shape),
}

/// A key: its name, what stands there, what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field(pub(super) &'static str, pub(super) Kind, pub(super) &'static str);

/// An object.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    /// Keys that a request must have; an answer has all of its own.
    pub(super) needed: &'static [&'static str],
}

use Kind::{Flag, Id, Many, Map, Number, Of, Shares, Text, Texts, Time, Words};

const STATES: Kind =
    Words(&["queued", "leased", "powering", "booting", "deploying", "testing", "collecting", "finished"]);
const VERDICTS: Kind = Words(&["passed", "failed", "infra", "timed-out", "cancelled"]);

pub(super) static PROBLEM: Shape = Shape {
    name: "Problem",
    fields: &[
        Field("status", Number, "the status of the answer"),
        Field("title", Text, "what is wrong, the same for all of its kind"),
        Field("detail", Text, "what is wrong here, and what to do"),
        Field("near", Texts, "names that come near what was not found"),
    ],
    needed: &["status", "title", "detail"],
};

pub(super) static SCHEDULE: Shape = Shape {
    name: "Schedule",
    fields: &[
        Field("name", Text, "its name"),
        Field("cron", Text, "when it is due"),
        Field("zone", Text, "the time zone of that"),
        Field("run", Text, "what follows /run-test"),
        Field("channel", Text, "where its runs are told; null in the default channel"),
        Field("start_within", Text, "how late it may still start"),
        Field("paused", Flag, "whether somebody has paused it"),
        Field("paused_by", Text, "who"),
        Field("next_at", Time, "when it is due next; null while it is paused"),
        Field("last_at", Time, "when it was due last"),
        Field("last_run", Number, "the run that was started then, or the first of them"),
        Field("made_by", Text, "who made it; null of one of boards.yaml"),
    ],
    needed: &[],
};

pub(super) static SCHEDULE_REMOVED: Shape = Shape {
    name: "ScheduleRemoved",
    fields: &[Field("name", Text, "its name"), Field("state", Words(&["removed"]), "what has become of it")],
    needed: &[],
};

pub(super) static SCHEDULE_WANTED: Shape = Shape {
    name: "ScheduleWanted",
    fields: &[
        Field("cron", Text, "when: minute, hour, day of the month, month, weekday"),
        Field("zone", Text, "whose clock that is; UTC when absent"),
        Field("run", Text, "what starts: all that may follow /run-test"),
        Field("channel", Text, "where its card stands; the default one when absent"),
        Field("start_within", Text, "how late it may still start, as 4h; an hour when absent"),
    ],
    needed: &["cron", "run"],
};

pub(super) static TYPED: Shape = Shape {
    name: "Typed",
    fields: &[
        Field("text", Text, "as it is typed: /lab boards socA, or without the first word"),
        Field(
            "channel",
            Text,
            "where a run or a campaign is told, as slack:C0LAB; the default one when absent",
        ),
    ],
    needed: &["text"],
};

pub(super) static SAID: Shape = Shape {
    name: "Said",
    fields: &[
        Field("message", Text, "the message's name, as under /api/v1/templates"),
        Field("text", Text, "what it says, in plain words"),
        Field("number", Number, "of the run or campaign that it is about, where it is about one"),
    ],
    needed: &[],
};

pub(super) static TEMPLATE_ROW: Shape = Shape {
    name: "TemplateRow",
    fields: &[
        Field("message", Text, "its name"),
        Field("states", Texts, "states and verdicts of a run that there are samples of"),
        Field("url", Text, "where it is shown"),
    ],
    needed: &[],
};

pub(super) static TEMPLATE: Shape = Shape {
    name: "Template",
    fields: &[
        Field("message", Text, "its name"),
        Field("platform", Words(&["slack", "feishu"]), "whose card it is"),
        Field("locale", Text, "its language"),
        Field("card", Map, "the card as the platform takes it"),
    ],
    needed: &[],
};

pub(super) static RUN_WANTED: Shape = Shape {
    name: "RunWanted",
    fields: &[
        Field("family", Text, "the kind of board"),
        Field("board", Text, "or one board"),
        Field("target", Text, "or either"),
        Field("build", Text, "the build's id"),
        Field("suite", Text, "which tests; the family's default suite when absent"),
        Field("priority", Words(&["high", "normal", "low"]), "its place in line"),
        Field("revision", Text, "only a board of this revision"),
        Field("tags", Map, "only a board with these tags"),
        Field("params", Map, "parameters of the suite"),
        Field("boards", Number, "so many boards of one site at once"),
        Field("timeout", Text, "the longest that the whole run may take, such as 20m"),
        Field("channel", Text, "where its card stands, such as slack:C0SOCCI"),
        Field("requested_by", Text, "whom the card names"),
        Field("callback_url", Text, "where its end is posted"),
        Field("idempotency_key", Text, "the same key again is the same run"),
    ],
    needed: &["build"],
};

pub(super) static ACCEPTED: Shape = Shape {
    name: "RunAccepted",
    fields: &[
        Field("run_id", Id, "its id"),
        Field("number", Number, "its number"),
        Field("state", STATES, "where it is"),
        Field("position", Number, "its place in line; `1000+` far behind"),
        Field("url", Text, "a link that reads it without a token"),
    ],
    needed: &[],
};

pub(super) static RUN: Shape = Shape {
    name: "Run",
    fields: &[
        Field("id", Id, "its id"),
        Field("number", Number, "its number"),
        Field("family", Text, "the kind of board"),
        Field("build", Text, "the build"),
        Field("suite", Text, "the suite"),
        Field("state", STATES, "where it is"),
        Field("verdict", VERDICTS, "how it ended"),
        Field("cause", Text, "why"),
        Field("stage", Text, "where it ended"),
        Field("detail", Text, "what happened, for people"),
        Field("board", Text, "the board that it is on, or was"),
        Field("counts", Map, "test cases by how they ended"),
        Field("failed_cases", Texts, "the names of those that failed, 50 at most"),
        Field("priority", Words(&["high", "normal", "low", "background"]), "its place in the queue"),
        Field("revision", Text, "only boards of this revision"),
        Field("tags", Map, "only boards with these tags"),
        Field("boards", Number, "how many boards it holds at once"),
        Field("params", Map, "what was set of its plan's parameters"),
        Field("timeout", Number, "its own limit in seconds"),
        Field("retry_of", Number, "the run that it repeats"),
        Field("queue", Map, "why it waits"),
        Field("attempts", Many(&ATTEMPT), "its attempts, the oldest first"),
        Field("requested_by", Text, "who asked, as `slack:U0LEAD` or `api:nightly`"),
        Field("created_at", Time, "when it was accepted"),
        Field("finished_at", Time, "when it ended"),
        Field("url", Text, "a link that reads it without a token"),
        Field("junit_url", Text, "the same for its test cases"),
    ],
    needed: &[],
};

static ATTEMPT: Shape = Shape {
    name: "Attempt",
    fields: &[
        Field("number", Number, "from 1"),
        Field("board", Text, "the board"),
        Field("verdict", VERDICTS, "how it ended"),
        Field("cause", Text, "why"),
        Field("started_at", Time, "when it began"),
        Field("ended_at", Time, "when it ended"),
        Field("log_url", Text, "a link to its console log"),
    ],
    needed: &[],
};

pub(super) static RUN_ROW: Shape = Shape {
    name: "RunRow",
    fields: &[
        Field("id", Id, "its id"),
        Field("number", Number, "its number"),
        Field("family", Text, "the kind of board"),
        Field("build", Text, "the build"),
        Field("suite", Text, "the suite"),
        Field("state", STATES, "where it is"),
        Field("verdict", VERDICTS, "how it ended"),
        Field("cause", Text, "why"),
        Field("board", Text, "the board that it is on, or was"),
        Field("requested_by", Text, "who asked"),
        Field("created_at", Time, "when it was accepted"),
        Field("finished_at", Time, "when it ended"),
        Field("url", Text, "a link that reads it without a token"),
    ],
    needed: &[],
};

pub(super) static CAMPAIGN_WANTED: Shape = Shape {
    name: "CampaignWanted",
    fields: &[
        Field(
            "name",
            Text,
            "a campaign of boards.yaml, or a name for this one, which then says what it does",
        ),
        Field("build", Text, "the build's id"),
        Field("channel", Text, "where its card stands, such as slack:C0SOCCI"),
        Field("families", Texts, "the targets: each family with whichever of its boards is free"),
        Field("boards_of", Texts, "or every board of these families"),
        Field("boards", Texts, "or these boards"),
        Field("revisions", Texts, "with families: each revision is a target of its own"),
        Field("suites", Texts, "what runs on each target; the family's default suite when absent"),
        Field("repeats", Number, "how often each; once when absent"),
        Field("waves", Shares, "how many targets each wave reaches, as 1 or 50%"),
        Field("gate", Number, "how many of a hundred must pass before the next wave; 100 when absent"),
        Field("at_once", Number, "how many of its runs wait or run at once; 4 when absent"),
        Field("stop", Of(&STOP), "when a wave stops before its end"),
        Field("rollback", Of(&ROLLBACK), "what puts a board back"),
    ],
    needed: &["name", "build"],
};

static STOP: Shape = Shape {
    name: "CampaignStop",
    fields: &[
        Field("failed", Number, "once more than so many of a hundred did not pass"),
        Field("after", Number, "after so many ended; 1 when absent"),
    ],
    needed: &["failed"],
};

static ROLLBACK: Shape = Shape {
    name: "CampaignRollback",
    fields: &[Field("build", Text, "its build"), Field("suite", Text, "its suite")],
    needed: &["build", "suite"],
};

const CAMPAIGN_STATES: Kind = Words(&[
    "running",
    "paused",
    "gate-failed",
    "too-many-failed",
    "rolling-back",
    "rollback-failed",
    "completed",
    "completed-with-failures",
    "cancelled",
    "rolled-back",
]);

static TALLY: Shape = Shape {
    name: "Tally",
    fields: &[
        Field("planned", Number, "runs that there are to be"),
        Field("started", Number, "of those, how many were started"),
        Field("ended", Number, "of those, how many have ended"),
        Field("passed", Number, "of those, how many passed"),
    ],
    needed: &[],
};

pub(super) static CAMPAIGN_ROW: Shape = Shape {
    name: "CampaignRow",
    fields: &[
        Field("number", Number, "its number"),
        Field("name", Text, "its name"),
        Field("build", Text, "the build"),
        Field("state", CAMPAIGN_STATES, "where it is"),
        Field("wave", Number, "its wave, from 1"),
        Field("waves", Number, "how many there are"),
        Field("gate", Number, "how many of a hundred must pass before the next wave"),
        Field("tally", Of(&TALLY), "the runs of the waves so far"),
        Field("total", Of(&TALLY), "the runs of all waves"),
        Field("requested_by", Text, "who began it"),
        Field("created_at", Time, "when it was begun"),
        Field("finished_at", Time, "when it was over"),
    ],
    needed: &[],
};

pub(super) static CAMPAIGN: Shape = Shape {
    name: "Campaign",
    fields: &[
        Field("number", Number, "its number"),
        Field("name", Text, "its name"),
        Field("build", Text, "the build"),
        Field("state", CAMPAIGN_STATES, "where it is"),
        Field("wave", Number, "its wave, from 1"),
        Field("waves", Number, "how many there are"),
        Field("gate", Number, "how many of a hundred must pass before the next wave"),
        Field("tally", Of(&TALLY), "the runs of the waves so far"),
        Field("total", Of(&TALLY), "the runs of all waves"),
        Field("requested_by", Text, "who began it"),
        Field("created_at", Time, "when it was begun"),
        Field("finished_at", Time, "when it was over"),
        Field("can", Texts, "what can be asked of it now"),
        Field("targets", Many(&TARGET), "its targets, in order"),
        Field("runs", Many(&CAMPAIGN_RUN), "the runs that it started"),
    ],
    needed: &[],
};

static TARGET: Shape = Shape {
    name: "CampaignTarget",
    fields: &[
        Field("name", Text, "a board, or a family and its revision"),
        Field(
            "state",
            Words(&[
                "waiting",
                "running",
                "passed",
                "failed",
                "cancelled",
                "rolling-back",
                "rolled-back",
                "not-rolled-back",
            ]),
            "how its runs are",
        ),
    ],
    needed: &[],
};

static CAMPAIGN_RUN: Shape = Shape {
    name: "CampaignRun",
    fields: &[
        Field("number", Number, "the run, or the last one that repeats it"),
        Field("target", Text, "its target"),
        Field("suite", Text, "the suite"),
        Field("phase", Words(&["forward", "back"]), "whether it brings the build, or puts back"),
        Field("verdict", VERDICTS, "how it ended"),
        Field("cause", Text, "why"),
    ],
    needed: &[],
};

pub(super) static BUILD_TOLD: Shape = Shape {
    name: "BuildTold",
    fields: &[
        Field("family", Text, "the kind of board"),
        Field("build", Text, "its id"),
        Field("branch", Text, "the branch"),
        Field("commit", Text, "the commit"),
        Field("job", Text, "the CI's job"),
        Field("number", Number, "its number there"),
        Field("url", Text, "its page there"),
        Field("result", Text, "how it ended there"),
        Field("artifacts", Many(&ARTIFACT_TOLD), "its files"),
    ],
    needed: &["family", "build"],
};

static ARTIFACT_TOLD: Shape = Shape { name: "ArtifactTold", ..ARTIFACT };

const ARTIFACT: Shape = Shape {
    name: "Artifact",
    fields: &[
        Field("name", Text, "its name"),
        Field("url", Text, "where it is"),
        Field("size", Number, "its size, in bytes"),
        Field("sha256", Text, "its SHA-256"),
    ],
    needed: &["name", "url"],
};

static ARTIFACT_KNOWN: Shape = Shape { needed: &[], ..ARTIFACT };

static STARTED: Shape = Shape {
    name: "RunStarted",
    fields: &[
        Field("rule", Text, "the rule"),
        Field("number", Number, "the run's number"),
        Field("url", Text, "a link that reads it without a token"),
    ],
    needed: &[],
};

static NOT_STARTED: Shape = Shape {
    name: "RunNotStarted",
    fields: &[Field("rule", Text, "the rule"), Field("detail", Text, "why")],
    needed: &[],
};

pub(super) static BUILD_TAKEN: Shape = Shape {
    name: "BuildTaken",
    fields: &[
        Field("family", Text, "the kind of board"),
        Field("build", Text, "its id"),
        Field("runs", Many(&STARTED), "runs that rules of boards.yaml started"),
        Field("refused", Many(&NOT_STARTED), "what rules could not start"),
    ],
    needed: &[],
};

static LINE: Shape = Shape {
    name: "ConsoleLine",
    fields: &[
        Field("after_ms", Number, "milliseconds since the attempt began"),
        Field("sent", Flag, "whether boardhand typed it"),
        Field("text", Text, "what it says, without secrets"),
    ],
    needed: &[],
};

pub(super) static CONSOLE: Shape = Shape {
    name: "Console",
    fields: &[
        Field("attempt", Number, "of which attempt"),
        Field("lines", Many(&LINE), "whole lines, in order"),
        Field("open", Text, "what was received of a line that is not over"),
        Field("next", Number, "from which byte to go on"),
    ],
    needed: &[],
};

pub(super) static BUILD: Shape = Shape {
    name: "Build",
    fields: &[
        Field("number", Number, "its number here"),
        Field("family", Text, "the kind of board"),
        Field("build", Text, "its id"),
        Field("branch", Text, "the branch"),
        Field("commit", Text, "the commit"),
        Field("job", Text, "the CI's job"),
        Field("url", Text, "its page there"),
        Field("result", Text, "how it ended there"),
        Field("artifacts", Many(&ARTIFACT_KNOWN), "its files"),
        Field("registered_by", Text, "who told of it"),
        Field("registered_at", Time, "when"),
    ],
    needed: &[],
};

pub(super) static BOARD: Shape = Shape {
    name: "Board",
    fields: &[
        Field("board_id", Text, "its name"),
        Field("soc_family", Text, "the kind of board"),
        Field("soc_revision", Text, "its revision"),
        Field("lab_location", Text, "its site"),
        Field("board_ip", Text, "where its console is"),
        Field("telnet_port", Number, "and at which port"),
        Field("tags", Map, "its tags"),
        Field("state", Words(&["free", "run", "held", "quarantined"]), "whether it may be had"),
        Field("health_status", Words(&["good", "suspect", "quarantined"]), "how it does"),
        Field("failure_count", Number, "infra outcomes in a row"),
        Field("last_used", Time, "when its last lease ended"),
        Field("lease", Of(&BOARD_LEASE), "who has it"),
        Field("reason", Text, "why it is not healthy"),
        Field("draining", Of(&BOARD_DRAINING), "why it takes nothing new"),
    ],
    needed: &[],
};

static BOARD_DRAINING: Shape = Shape {
    name: "BoardDraining",
    fields: &[
        Field(
            "kind",
            Words(&["board", "site", "window"]),
            "what drains: it, its site, or a window of boards.yaml",
        ),
        Field("name", Text, "the name of that"),
        Field("reason", Text, "why"),
        Field("by", Text, "who said so"),
        Field("until", Time, "until when, where that is known"),
    ],
    needed: &[],
};

pub(super) static DRAIN: Shape = Shape {
    name: "Drain",
    fields: &[
        Field("drain_id", Number, "its number"),
        Field("kind", Words(&["board", "site", "worker"]), "what takes nothing new"),
        Field("name", Text, "its name"),
        Field("reason", Text, "why"),
        Field("by", Text, "who said so"),
        Field("since", Time, "since when"),
        Field("until", Time, "until when; until somebody says so where there is none"),
        Field("boards", Texts, "the boards that it is about"),
        Field("on_it", Texts, "those of them that somebody has still"),
    ],
    needed: &[],
};

pub(super) static DRAIN_WANTED: Shape = Shape {
    name: "DrainWanted",
    fields: &[
        Field("board", Text, "one board"),
        Field("site", Text, "or every board of a site"),
        Field("worker", Text, "or a worker: boards of its site are for the site's other ones"),
        Field("reason", Text, "why, for people"),
        Field("lasts", Text, "for so long, such as 2h; until somebody says so when absent"),
    ],
    needed: &[],
};

static BOARD_LEASE: Shape = Shape {
    name: "BoardLease",
    fields: &[
        Field("lease_id", Id, "its id"),
        Field("holder", Text, "a person, a token, or a run as `#42`"),
        Field("run", Number, "the run"),
        Field("fence", Number, "rises with every lease of the board"),
        Field("acquired_at", Time, "since when"),
        Field("expires_at", Time, "until when, where somebody has it as their own"),
    ],
    needed: &[],
};

pub(super) static REASON: Shape =
    Shape { name: "Reason", fields: &[Field("reason", Text, "why, for people")], needed: &["reason"] };

pub(super) static POWER: Shape = Shape {
    name: "PowerRequest",
    fields: &[
        Field("power_id", Id, "its id"),
        Field("board_id", Text, "the board"),
        Field("action", Text, "what was asked for"),
        Field("state", Words(&["asked", "begun", "done", "failed"]), "how far it is"),
        Field("outlet", Text, "what the switch says: on, off or nothing"),
        Field("detail", Text, "why it failed"),
        Field("requested_by", Text, "who asked"),
        Field("created_at", Time, "when"),
        Field("finished_at", Time, "when it ended"),
        Field("url", Text, "where to ask for it again"),
    ],
    needed: &[],
};

pub(super) static LEASE_WANTED: Shape = Shape {
    name: "LeaseWanted",
    fields: &[
        Field("board_id", Text, "one board"),
        Field("board_family", Text, "or any of a kind"),
        Field("timeout", Number, "for so many seconds; 1800 when absent"),
        Field("reason", Text, "what for; others read it"),
        Field("worker_id", Text, "what whoever asks calls itself"),
        Field("preferred_location", Text, "a board at this site, where one is free"),
        Field("wait", Number, "wait so many seconds for it, 120 at most"),
        Field("queue", Flag, "stay in line after that"),
    ],
    needed: &[],
};

pub(super) static LONGER: Shape = Shape {
    name: "Longer",
    fields: &[Field("timeout", Number, "for so many seconds more; 1800 when absent")],
    needed: &[],
};

pub(super) static LEASE: Shape = Shape {
    name: "Lease",
    fields: &[
        Field("lease_id", Id, "its id"),
        Field("board_id", Text, "the board"),
        Field("board", Of(&BOARD), "the board as it is now"),
        Field("holder", Text, "who has it, or for whom it is switched, checked or brought to rest"),
        Field("kind", Words(&["run", "person", "check"]), "what for: check is a moment of boardhand's own"),
        Field("run", Number, "the run that has it"),
        Field("reason", Text, "what for"),
        Field("fence", Number, "rises with every lease of the board"),
        Field("acquired_at", Time, "since when"),
        Field("expires_at", Time, "until when"),
        Field("ended_at", Time, "when it ended"),
        Field("status", Words(&["active", "expired", "released"]), "whether it holds"),
        Field("console", Text, "where its console is, a WebSocket"),
        Field("url", Text, "its address"),
    ],
    needed: &[],
};

pub(super) static PLACE: Shape = Shape {
    name: "PlaceInLine",
    fields: &[
        Field("lease_id", Id, "the id of the lease that it becomes"),
        Field("wanted", Text, "a board or a kind of board"),
        Field("holder", Text, "who waits"),
        Field("reason", Text, "what for"),
        Field("timeout", Number, "for how many seconds"),
        Field("asked_at", Time, "since when they wait"),
        Field("position", Text, "their place in line"),
        Field("eta_s", Number, "in how many seconds it is theirs, at the latest, as it looks"),
        Field("status", Words(&["waiting"]), "that they wait"),
        Field("url", Text, "its address"),
    ],
    needed: &[],
};

pub(super) static TOKEN_WANTED: Shape = Shape {
    name: "TokenWanted",
    fields: &[
        Field("name", Text, "whose it is"),
        Field("role", Words(&["user", "operator", "admin"]), "as whom it acts; user when absent"),
        Field("scope", Texts, "what it may be used for: read, runs, boards, admin, family:NAME"),
        Field("expires", Text, "how long it opens anything, such as 30d; as long as its maker's at most"),
    ],
    needed: &["name"],
};

pub(super) static TOKEN_MADE: Shape = Shape {
    name: "TokenMade",
    fields: &[
        Field("name", Text, "whose it is"),
        Field("token", Text, "the token itself; it is never given again"),
        Field("role", Text, "as whom it acts"),
        Field("scope", Texts, "what it may be used for"),
        Field("expires_at", Time, "until when"),
    ],
    needed: &[],
};

pub(super) static TOKEN: Shape = Shape {
    name: "Token",
    fields: &[
        Field("name", Text, "whose it is"),
        Field("state", Words(&["live", "expired", "revoked"]), "whether it opens anything"),
        Field("role", Text, "as whom it acts"),
        Field("scope", Texts, "what it may be used for"),
        Field("made_by", Text, "who made it"),
        Field("made_at", Time, "when"),
        Field("expires_at", Time, "until when"),
        Field("used_at", Time, "when it was used last, to ten minutes"),
        Field("revoked_at", Time, "when it was revoked"),
    ],
    needed: &[],
};

pub(super) static REVOKED: Shape = Shape {
    name: "TokenRevoked",
    fields: &[
        Field("name", Text, "whose it was"),
        Field("state", Words(&["revoked"]), "that it opens nothing"),
        Field("made", Texts, "live tokens that it made, and those that they made: they go on"),
        Field("leases", Many(&LEASE), "boards that it has still, and its places in line"),
        Field("schedules", Texts, "schedules that it made: they start nothing any more"),
    ],
    needed: &[],
};

pub(super) static DECISION: Shape = Shape {
    name: "Decision",
    fields: &[
        Field("position", Number, "its place on record"),
        Field("at", Time, "when"),
        Field("actor", Text, "who"),
        Field("verb", Text, "what they wanted"),
        Field("target", Text, "what it was about"),
        Field("allowed", Flag, "whether they were allowed"),
        Field("reason", Text, "why"),
        Field("source", Text, "the address that it came from"),
    ],
    needed: &[],
};

pub(super) static WORKER: Shape = Shape {
    name: "Worker",
    fields: &[
        Field("worker_id", Text, "its name"),
        Field("site", Text, "the site whose boards it drives"),
        Field(
            "state",
            Words(&["alive", "draining", "leaving", "silent", "lost", "stopped"]),
            "how it stands",
        ),
        Field("on_duty", Flag, "whether its site's boards are given to it, and not to one that stands by"),
        Field("version", Text, "its version"),
        Field("capacity", Number, "most boards that it drives at once"),
        Field("boards", Number, "how many it drives"),
        Field("token", Text, "the token that it came with"),
        Field("since", Time, "when it began"),
        Field("seen_at", Time, "when it was heard last"),
        Field("left_at", Time, "when it said that it takes nothing new any more"),
    ],
    needed: &[],
};

pub(super) static WORKER_HELLO: Shape = Shape {
    name: "WorkerHello",
    fields: &[
        Field("instance", Id, "this life of it"),
        Field("home", Text, "SHA-256 of the secret of its data folder, in hex"),
        Field("site", Text, "the site whose boards it drives"),
        Field("version", Text, "its version"),
        Field("capacity", Number, "most boards that it drives at once"),
    ],
    needed: &["instance", "home", "site", "version", "capacity"],
};

/// What workers say and hear is between a worker and its server, which are of one release or of two that follow each other.
pub(super) static WORKER_SAYS: Shape = Shape {
    name: "WorkerSays",
    fields: &[Field("instance", Id, "this life of it; the rest is between a worker and its server")],
    needed: &["instance"],
};

pub(super) static WORKER_ANSWER: Shape = Shape {
    name: "WorkerAnswer",
    fields: &[Field("lab", Map, "and more, between a worker and its server")],
    needed: &[],
};
