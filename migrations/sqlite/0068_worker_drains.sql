-- A worker may take nothing new, too.
CREATE TABLE drains_next (
    -- Rises with each: what was chosen before the newest is chosen again.
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind    TEXT    NOT NULL CHECK (kind IN ('board', 'site', 'worker')),
    name    TEXT    NOT NULL,
    -- Why, for people; may be empty.
    reason  TEXT    NOT NULL,
    by      TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    -- Until when; until somebody says so where there is none.
    ends_at INTEGER,
    -- When whoever asked was told that nothing is on it any more, or saw that nothing was.
    told_at INTEGER,
    UNIQUE (kind, name)
) STRICT;
INSERT INTO drains_next (number, kind, name, reason, by, at, ends_at, told_at)
SELECT number, kind, name, reason, by, at, ends_at, told_at FROM drains;
DROP TABLE drains;
ALTER TABLE drains_next RENAME TO drains;
