-- Where the end of a run is told, while that has not come.
CREATE TABLE callbacks (
    run INTEGER NOT NULL PRIMARY KEY REFERENCES runs (number),
    url TEXT    NOT NULL
) STRICT;

-- What programs outside are told, made of events: each event once for each hook.
CREATE TABLE calls (
    id      TEXT    NOT NULL PRIMARY KEY,
    -- Whose it is in the lab file; empty for a run's callback.
    hook    TEXT    NOT NULL,
    -- Those of one lane go one after the other.
    lane    TEXT    NOT NULL,
    event   INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    run     INTEGER,
    url     TEXT,
    -- What is signed and sent, byte for byte.
    body    TEXT    NOT NULL,
    owed_at INTEGER NOT NULL,
    due_at  INTEGER NOT NULL,
    tries   INTEGER NOT NULL DEFAULT 0,
    state   TEXT    NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'made', 'dead')),
    error   TEXT,
    UNIQUE (event, hook)
) STRICT;

CREATE INDEX calls_owed ON calls (lane, due_at, event) WHERE state = 'owed';
CREATE INDEX calls_dead ON calls (owed_at) WHERE state = 'dead';
CREATE INDEX calls_made ON calls (owed_at) WHERE state = 'made';
