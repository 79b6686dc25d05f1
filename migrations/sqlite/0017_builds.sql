-- Builds that a CI registered. A row never changes: what was tested stays what its runs say. `number` is the order in
-- which they came.
CREATE TABLE builds (
    number        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    family        TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    branch        TEXT,
    revision      TEXT,
    job           TEXT,
    url           TEXT,
    result        TEXT    NOT NULL CHECK (result IN ('success', 'unstable', 'failure', 'aborted')),
    artifacts     TEXT    NOT NULL,
    by            TEXT    NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX builds_once ON builds (family, id);
CREATE INDEX builds_by_id ON builds (id, number);
CREATE INDEX builds_of_branch ON builds (family, branch, number);
CREATE INDEX builds_of_family ON builds (family, number);
