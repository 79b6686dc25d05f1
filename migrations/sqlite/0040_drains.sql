-- What takes nothing new because somebody said so: a board, or every board of a site. A row goes when that is over.
CREATE TABLE drains (
    -- Rises with each: what was chosen before the newest is chosen again.
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind    TEXT    NOT NULL CHECK (kind IN ('board', 'site')),
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
