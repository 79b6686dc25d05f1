-- A board's health: who took it out of service and when, how its last outcomes were, when it was checked, and whether it
-- should be. A health run is a run of its own kind.

ALTER TABLE boards ADD COLUMN quarantined_at BIGINT;
-- A person; NULL where boardhand did it.
ALTER TABLE boards ADD COLUMN quarantined_by TEXT;
-- Its last outcomes, newest first: `o` served, `x` failed as a board.
ALTER TABLE boards ADD COLUMN recent TEXT NOT NULL DEFAULT '';
-- The end of its last health run, which that was, and how it ended.
ALTER TABLE boards ADD COLUMN checked_at BIGINT;
ALTER TABLE boards ADD COLUMN checked_by BIGINT REFERENCES runs (number);
ALTER TABLE boards ADD COLUMN checked_verdict TEXT;
-- Set by trouble on it, and by its return to service; cleared by the next run that it serves.
ALTER TABLE boards ADD COLUMN check_wanted BIGINT  NOT NULL DEFAULT 0 CHECK (check_wanted IN (0, 1));

ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'test' CHECK (kind IN ('test', 'health'));

CREATE INDEX runs_checking ON runs (number) WHERE kind = 'health' AND state <> 'finished';

-- People who asked for the lab file to be read again, and who are to be told how that went; gone once they are.
CREATE TABLE reloads (
    id       TEXT    NOT NULL PRIMARY KEY,
    via      TEXT    NOT NULL,
    asked_at BIGINT  NOT NULL
);
