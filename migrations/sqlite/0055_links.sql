-- People who are one on two platforms, since they have typed on one what they were given on the other.
CREATE TABLE links (
    platform  TEXT    NOT NULL CHECK (platform IN ('slack', 'feishu')),
    id        TEXT    NOT NULL,
    -- The id of the two that they count as: of whoever was given the code.
    person    TEXT    NOT NULL,
    linked_at INTEGER NOT NULL,
    PRIMARY KEY (platform, id)
) STRICT;

CREATE INDEX links_of_person ON links (person);

-- What was given and not typed yet: its SHA-256.
CREATE TABLE link_codes (
    hash       TEXT    NOT NULL PRIMARY KEY,
    platform   TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- Wrong codes of late.
CREATE TABLE link_tries (
    position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    person   TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;

CREATE INDEX link_tries_of ON link_tries (person, at);
