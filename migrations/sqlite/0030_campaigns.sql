-- Campaigns: what each does, and where it is in its life. A write names the version that was read.
CREATE TABLE campaigns (
    number       INTEGER NOT NULL PRIMARY KEY,
    version      INTEGER NOT NULL DEFAULT 0,
    plan         TEXT    NOT NULL,
    wave         INTEGER NOT NULL DEFAULT 0,
    state        TEXT    NOT NULL CHECK (state IN ('running', 'paused', 'gate-failed', 'too-many-failed', 'rolling-back',
                                                   'rollback-failed', 'completed', 'cancelled', 'rolled-back')),
    -- The version with which it came into that state: a button is about one stay in it.
    since        INTEGER NOT NULL DEFAULT 0,
    -- The wave in which somebody let it go on whatever failed.
    forgiven     INTEGER,
    requested_by TEXT    NOT NULL,
    origin       TEXT    NOT NULL,
    -- What it was asked for under; the same again begins none.
    once         TEXT    UNIQUE,
    asked_at     INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

CREATE INDEX campaigns_live ON campaigns (number) WHERE ended_at IS NULL;

-- The runs that it started: each place of its plan once.
CREATE TABLE campaign_runs (
    campaign INTEGER NOT NULL REFERENCES campaigns (number),
    phase    TEXT    NOT NULL CHECK (phase IN ('forward', 'back')),
    place    INTEGER NOT NULL,
    run      INTEGER NOT NULL UNIQUE REFERENCES runs (number),
    PRIMARY KEY (campaign, phase, place)
) STRICT;
