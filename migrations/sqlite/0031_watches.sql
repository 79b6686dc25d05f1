-- Who is told of runs by direct message: of one, until it has ended, or of those of a family that go wrong.
CREATE TABLE watches (
    position  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    requester TEXT    NOT NULL,
    by        TEXT    NOT NULL,
    run       INTEGER REFERENCES runs (number),
    family    TEXT,
    asked_at  INTEGER NOT NULL,
    CHECK ((run IS NULL) <> (family IS NULL))
) STRICT;

CREATE UNIQUE INDEX watches_once ON watches (requester, COALESCE(run, 0), COALESCE(family, ''));
CREATE INDEX watches_by_run ON watches (run) WHERE run IS NOT NULL;
CREATE INDEX watches_by_family ON watches (family) WHERE family IS NOT NULL;
