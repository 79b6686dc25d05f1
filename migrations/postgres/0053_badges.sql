-- Messages that asked for runs, with the bot's reaction that says what became of those; until it says how they ended.
CREATE TABLE badges (
    platform  TEXT    COLLATE "C" NOT NULL CHECK (platform IN ('slack', 'feishu')),
    channel   TEXT    COLLATE "C" NOT NULL,
    message   TEXT    COLLATE "C" NOT NULL,
    asked_at  BIGINT  NOT NULL,
    -- The numbers of its runs follow one another.
    first_run BIGINT  NOT NULL,
    last_run  BIGINT  NOT NULL,
    -- What is on it, under which id of the platform.
    shown     TEXT,
    shown_id  TEXT,
    -- What was on it before and is still to be taken off.
    stale     TEXT,
    stale_id  TEXT,
    PRIMARY KEY (platform, channel, message)
);
