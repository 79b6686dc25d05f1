-- The first schema. Ids, enums and documents are TEXT, instants INTEGER microseconds since the Unix epoch,
-- flags INTEGER 0 or 1. Partial indexes name what is still to be done, so that looking for work costs the same
-- after a hundred thousand finished runs as after ten.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- One row per delivery: its dedupe key and the answer that every repeat gets.
CREATE TABLE deliveries (
    key         TEXT    NOT NULL PRIMARY KEY,
    platform    TEXT    NOT NULL CHECK (platform IN ('slack', 'feishu', 'jenkins', 'api')),
    received_at INTEGER NOT NULL,
    answer      TEXT    NOT NULL
) STRICT;

CREATE INDEX deliveries_by_age ON deliveries (received_at);

CREATE TABLE boards (
    id           TEXT    NOT NULL PRIMARY KEY,
    fence        INTEGER NOT NULL DEFAULT 0,
    needs_fence  INTEGER NOT NULL DEFAULT 0 CHECK (needs_fence IN (0, 1)),
    health       TEXT    NOT NULL DEFAULT 'good' CHECK (health IN ('good', 'suspect', 'quarantined')),
    failures     INTEGER NOT NULL DEFAULT 0,
    reason       TEXT    NOT NULL DEFAULT '',
    last_used_at INTEGER
) STRICT;

CREATE TABLE runs (
    number       INTEGER NOT NULL PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'leased', 'powering', 'booting', 'deploying', 'testing',
                                                   'collecting', 'finished')),
    attempt      INTEGER NOT NULL,
    spec         TEXT    NOT NULL,
    requester    TEXT    NOT NULL,
    requested_by TEXT    NOT NULL,
    origin       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    retry_of     INTEGER REFERENCES runs (number),
    -- The button that made this run a repeat, `42:7`: ten clicks of it are one effect.
    retry_once   TEXT UNIQUE,
    -- Newest revision of its cards.
    revision     INTEGER NOT NULL DEFAULT 1,
    -- What somebody asked of the attempt that is on a board.
    request      TEXT,
    progress     TEXT,
    -- While it waits.
    since        INTEGER,
    avoid        TEXT,
    -- While it is on a board.
    lease        TEXT,
    board        TEXT,
    fence        INTEGER,
    started_at   INTEGER,
    -- Once it is finished. The outcome is kept without its test cases; those stand in the attempt.
    verdict      TEXT CHECK (verdict IN ('passed', 'failed', 'infra', 'timed-out', 'cancelled')),
    cause        TEXT,
    outcome      TEXT,
    finished_at  INTEGER,
    CHECK (CASE state
               WHEN 'queued' THEN since IS NOT NULL AND avoid IS NOT NULL AND lease IS NULL AND verdict IS NULL
               WHEN 'finished' THEN verdict IS NOT NULL AND outcome IS NOT NULL AND finished_at IS NOT NULL
                                    AND lease IS NULL AND request IS NULL
               ELSE lease IS NOT NULL AND board IS NOT NULL AND fence IS NOT NULL AND started_at IS NOT NULL
                    AND verdict IS NULL
           END)
) STRICT;

CREATE INDEX runs_unfinished ON runs (state, number) WHERE state <> 'finished';
CREATE UNIQUE INDEX runs_by_lease ON runs (lease) WHERE lease IS NOT NULL;
CREATE INDEX runs_asked ON runs (number) WHERE request IS NOT NULL;
CREATE INDEX runs_by_requester ON runs (requester, number);
CREATE INDEX runs_retries ON runs (retry_of, number) WHERE retry_of IS NOT NULL;

CREATE TABLE attempts (
    run        INTEGER NOT NULL REFERENCES runs (number),
    number     INTEGER NOT NULL,
    board      TEXT    NOT NULL,
    fence      INTEGER NOT NULL,
    lease      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    verdict    TEXT CHECK (verdict IN ('passed', 'failed', 'infra', 'timed-out', 'cancelled')),
    cause      TEXT,
    outcome    TEXT,
    PRIMARY KEY (run, number),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;

CREATE INDEX attempts_by_end ON attempts (ended_at) WHERE ended_at IS NOT NULL;

-- What happened, in order: a run's history, and the scheduler's change log.
CREATE TABLE events (
    seq     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('accepted', 'granted', 'advanced', 'settled', 'withdrawn', 'asked', 'retried',
                                             'taken', 'fenced', 'released', 'lapsed', 'registered')),
    run     INTEGER,
    attempt INTEGER,
    board   TEXT,
    facts   TEXT    NOT NULL DEFAULT '{}'
) STRICT;

CREATE INDEX events_by_run ON events (run, seq) WHERE run IS NOT NULL;

CREATE TABLE leases (
    id          TEXT    NOT NULL PRIMARY KEY,
    board       TEXT    NOT NULL REFERENCES boards (id),
    fence       INTEGER NOT NULL,
    holder      TEXT    NOT NULL,
    -- Set when the holder is a run.
    run         INTEGER,
    attempt     INTEGER,
    instance    TEXT    NOT NULL,
    granted_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('active', 'finalizing', 'held', 'released', 'lapsed')),
    needs_fence INTEGER NOT NULL CHECK (needs_fence IN (0, 1)),
    ended_at    INTEGER
) STRICT;

-- At most one live lease per board, whatever the code thinks.
CREATE UNIQUE INDEX leases_live ON leases (board) WHERE state IN ('active', 'finalizing', 'held');
CREATE UNIQUE INDEX leases_fence ON leases (board, fence);

-- One card per run and destination; `rev_wanted > rev_sent` says that the platform shows an old one.
CREATE TABLE cards (
    id         TEXT    NOT NULL PRIMARY KEY,
    run        INTEGER NOT NULL REFERENCES runs (number),
    platform   TEXT    NOT NULL CHECK (platform IN ('slack', 'feishu', 'jenkins', 'api')),
    channel    TEXT    NOT NULL,
    thread     TEXT,
    via        TEXT,
    message    TEXT,
    rev_wanted INTEGER NOT NULL,
    rev_sent   INTEGER NOT NULL DEFAULT 0,
    -- The run is finished: its result goes ahead of the progress of others.
    last       INTEGER NOT NULL DEFAULT 0 CHECK (last IN (0, 1)),
    -- An edit before this instant would be undone by the client that shows an acknowledgement's card.
    hold_until INTEGER NOT NULL DEFAULT 0,
    owed_at    INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    begun_at   INTEGER,
    tries      INTEGER NOT NULL DEFAULT 0,
    -- Replies in its thread so far.
    replies    INTEGER NOT NULL DEFAULT 0,
    state      TEXT    NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead')),
    error      TEXT
) STRICT;

CREATE INDEX cards_by_run ON cards (run);
CREATE INDEX cards_by_message ON cards (platform, channel, message) WHERE message IS NOT NULL;
CREATE INDEX cards_by_thread ON cards (platform, channel, thread) WHERE thread IS NOT NULL;
CREATE INDEX cards_owed ON cards (last DESC, owed_at) WHERE rev_wanted > rev_sent AND state = 'live';
CREATE INDEX cards_dead ON cards (id) WHERE state = 'dead';

-- Replies (first in, first out per card) and answers.
CREATE TABLE outbox (
    position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL UNIQUE,
    kind     TEXT    NOT NULL CHECK (kind IN ('reply', 'answer')),
    card     TEXT REFERENCES cards (id),
    seq      INTEGER,
    via      TEXT,
    note     TEXT    NOT NULL,
    last     INTEGER NOT NULL DEFAULT 0 CHECK (last IN (0, 1)),
    owed_at  INTEGER NOT NULL,
    due_at   INTEGER NOT NULL,
    begun_at INTEGER,
    tries    INTEGER NOT NULL DEFAULT 0,
    state    TEXT    NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'sent', 'dead')),
    message  TEXT,
    error    TEXT,
    CHECK (CASE kind WHEN 'reply' THEN card IS NOT NULL AND seq IS NOT NULL ELSE via IS NOT NULL END)
) STRICT;

CREATE INDEX outbox_answers ON outbox (owed_at, position) WHERE state = 'owed' AND kind = 'answer';
CREATE UNIQUE INDEX outbox_replies ON outbox (card, seq) WHERE state = 'owed' AND kind = 'reply';
CREATE INDEX outbox_dead ON outbox (position) WHERE state = 'dead';

-- Power requests of people, on boards that no run needs.
CREATE TABLE errands (
    id       TEXT    NOT NULL PRIMARY KEY,
    board    TEXT    NOT NULL,
    action   TEXT    NOT NULL CHECK (action IN ('on', 'off', 'cycle', 'status')),
    by       TEXT    NOT NULL,
    via      TEXT    NOT NULL,
    asked_at INTEGER NOT NULL,
    done_at  INTEGER
) STRICT;

CREATE INDEX errands_owed ON errands (asked_at) WHERE done_at IS NULL;

-- Who was allowed or refused what, and why.
CREATE TABLE audit (
    position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    verb     TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    allowed  INTEGER NOT NULL CHECK (allowed IN (0, 1)),
    reason   TEXT    NOT NULL
) STRICT;
