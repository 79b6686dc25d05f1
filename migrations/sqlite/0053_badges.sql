-- Messages that asked for runs, with the bot's reaction that says what became of those; until it says how they ended.
CREATE TABLE badges (
    platform  TEXT    NOT NULL CHECK (platform IN ('slack', 'feishu')),
    channel   TEXT    NOT NULL,
    message   TEXT    NOT NULL,
    asked_at  INTEGER NOT NULL,
    -- The numbers of its runs follow one another.
    first_run INTEGER NOT NULL,
    last_run  INTEGER NOT NULL,
    -- What is on it, under which id of the platform.
    shown     TEXT,
    shown_id  TEXT,
    -- What was on it before and is still to be taken off.
    stale     TEXT,
    stale_id  TEXT,
    PRIMARY KEY (platform, channel, message)
) STRICT;
