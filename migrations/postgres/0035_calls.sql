-- Where the end of a run is told, while that has not come.
CREATE TABLE callbacks (
    run BIGINT NOT NULL PRIMARY KEY REFERENCES runs (number),
    url TEXT    NOT NULL
);

-- What programs outside are told, made of events: each event once for each hook.
CREATE TABLE calls (
    id      TEXT    NOT NULL PRIMARY KEY,
    -- Whose it is in the lab file; empty for a run's callback.
    hook    TEXT    NOT NULL,
    -- Those of one lane go one after the other.
    lane    TEXT    COLLATE "C" NOT NULL,
    event   BIGINT  NOT NULL,
    kind    TEXT    NOT NULL,
    run     BIGINT,
    url     TEXT,
    -- What is signed and sent, byte for byte.
    body    TEXT    NOT NULL,
    owed_at BIGINT  NOT NULL,
    due_at  BIGINT  NOT NULL,
    tries   BIGINT  NOT NULL DEFAULT 0,
    state   TEXT    NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'made', 'dead')),
    error   TEXT,
    UNIQUE (event, hook)
);

CREATE INDEX calls_owed ON calls (lane, due_at, event) WHERE state = 'owed';
CREATE INDEX calls_dead ON calls (owed_at) WHERE state = 'dead';
CREATE INDEX calls_made ON calls (owed_at) WHERE state = 'made';
