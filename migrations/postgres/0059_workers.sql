-- Workers that drive the boards of remote sites. One row an id; a worker that starts again takes its row.
CREATE TABLE workers (
    id            TEXT    NOT NULL PRIMARY KEY,
    -- Of this life of it: what its leases name.
    instance      TEXT    NOT NULL UNIQUE,
    -- SHA-256 of a secret in its data folder, of which one process has the lock: whoever brings it again is the next life of
    -- the same worker, and the one before is over.
    home          TEXT    NOT NULL,
    site          TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    -- Most boards that it drives at once.
    capacity      BIGINT NOT NULL,
    -- The token that it came with.
    token         TEXT    NOT NULL,
    registered_at BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    -- When it said that it takes nothing new any more.
    left_at       BIGINT
);
-- The number of the last report under a lease of a worker: a repeat changes nothing.
ALTER TABLE leases ADD COLUMN reported BIGINT NOT NULL DEFAULT 0;
