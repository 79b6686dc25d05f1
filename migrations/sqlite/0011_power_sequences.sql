-- A power request may name one of a board's sequences, which boards.yaml calls as it likes.
CREATE TABLE errands_named (
    id       TEXT    NOT NULL PRIMARY KEY,
    board    TEXT    NOT NULL,
    action   TEXT    NOT NULL CHECK (action <> ''),
    by       TEXT    NOT NULL,
    via      TEXT    NOT NULL,
    asked_at INTEGER NOT NULL,
    done_at  INTEGER
) STRICT;

INSERT INTO errands_named (id, board, action, by, via, asked_at, done_at)
SELECT id, board, action, by, via, asked_at, done_at FROM errands ORDER BY rowid;

DROP TABLE errands;

ALTER TABLE errands_named RENAME TO errands;

CREATE INDEX errands_owed ON errands (asked_at) WHERE done_at IS NULL;
