-- What people hold: what for, and whether they were told that the end which stands now comes soon.
ALTER TABLE leases ADD COLUMN reason TEXT;
ALTER TABLE leases ADD COLUMN warned_at BIGINT;

-- Who waits for a board of their own. Gone once they hold it: the lease has its id.
CREATE TABLE reservations (
    id        TEXT    NOT NULL PRIMARY KEY,
    -- The number of the newest run when it was asked for: its place among runs.
    place     BIGINT  NOT NULL,
    requester TEXT    NOT NULL,
    by        TEXT    NOT NULL,
    family    TEXT    NOT NULL,
    board     TEXT,
    lasts     BIGINT  NOT NULL,
    reason    TEXT    NOT NULL,
    asked_at  BIGINT  NOT NULL
);

-- Asking twice for the same is asking once.
CREATE UNIQUE INDEX reservations_once ON reservations (requester, family, COALESCE(board, ''));

-- A power request of whoever has the board is begun under the lease that they have.
ALTER TABLE errands ADD COLUMN begun_at BIGINT;
