-- Who keeps the board of a run should it fail, and for how long; and, once it has, who has kept it.
ALTER TABLE runs ADD COLUMN keep TEXT;

-- When the one who has the board was last asked whether they need it, and whom they offer it to.
ALTER TABLE leases ADD COLUMN nudged_at BIGINT;
ALTER TABLE leases ADD COLUMN offered TEXT;

-- Who is to be told once when a board comes free; gone once they are.
CREATE TABLE notices (
    id        TEXT    NOT NULL PRIMARY KEY,
    requester TEXT    NOT NULL,
    by        TEXT    NOT NULL,
    family    TEXT    NOT NULL,
    board     TEXT,
    asked_at  BIGINT  NOT NULL
);

CREATE UNIQUE INDEX notices_once ON notices (requester, family, COALESCE(board, ''));
