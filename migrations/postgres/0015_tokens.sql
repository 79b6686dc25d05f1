-- Tokens of the API. What is kept of one opens nothing: its SHA-256, in hex.
CREATE TABLE tokens (
    name       TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    hash       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL CHECK (role IN ('user', 'operator', 'admin')),
    -- What it may be used for, as words.
    scope      TEXT    NOT NULL,
    made_by    TEXT    NOT NULL,
    made_at    BIGINT  NOT NULL,
    expires_at BIGINT,
    -- When it was used last, but for the last few minutes.
    used_at    BIGINT,
    revoked_at BIGINT
);

-- Where whoever was allowed or refused something came from, for what came over HTTP.
ALTER TABLE audit ADD COLUMN source TEXT;
