-- People who are signed in to the pages with Slack or Feishu. What is kept of a session opens nothing: its SHA-256, in hex.
CREATE TABLE sessions (
    hash       TEXT    NOT NULL PRIMARY KEY,
    -- The SHA-256 of what the sign-in went by: it makes one session, however often it comes back.
    sign_in    TEXT    NOT NULL UNIQUE,
    platform   TEXT    NOT NULL CHECK (platform IN ('slack', 'feishu')),
    person     TEXT    NOT NULL,
    team       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    -- Whether they are of another workspace or tenant than the app.
    is_foreign INTEGER NOT NULL CHECK (is_foreign IN (0, 1)),
    made_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- When it was used last, but for the last few minutes.
    used_at    INTEGER,
    ended_at   INTEGER
) STRICT;

CREATE INDEX sessions_of_person ON sessions (platform, person, made_at);
