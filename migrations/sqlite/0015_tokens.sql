-- Tokens of the API. What is kept of one opens nothing: its SHA-256, in hex.
CREATE TABLE tokens (
    name       TEXT    NOT NULL PRIMARY KEY,
    hash       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL CHECK (role IN ('user', 'operator', 'admin')),
    -- What it may be used for, as words.
    scope      TEXT    NOT NULL,
    made_by    TEXT    NOT NULL,
    made_at    INTEGER NOT NULL,
    expires_at INTEGER,
    -- When it was used last, but for the last few minutes.
    used_at    INTEGER,
    revoked_at INTEGER
) STRICT;

-- Where whoever was allowed or refused something came from, for what came over HTTP.
ALTER TABLE audit ADD COLUMN source TEXT;
