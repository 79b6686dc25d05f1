-- The daily digest of each channel that has one: one message, which shows the newest.
CREATE TABLE digests (
    platform TEXT    COLLATE "C" NOT NULL CHECK (platform IN ('slack', 'feishu')),
    channel  TEXT    COLLATE "C" NOT NULL,
    -- What its post is known by to the platform; another post has another one.
    id       TEXT    NOT NULL,
    message  TEXT,
    pinned   BIGINT  NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
    -- The due time that was dealt with.
    shown_at BIGINT,
    -- Since when a post may be there of which nothing is known.
    begun_at BIGINT,
    PRIMARY KEY (platform, channel)
);

-- What has ended lately is looked up by when.
CREATE INDEX outcomes_by_end ON outcomes (finished_at, run);
CREATE INDEX leases_by_end ON leases (ended_at) WHERE ended_at IS NOT NULL;
