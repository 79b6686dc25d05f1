-- What is known of each schedule of the lab file: since when it is due at these times, and which of them was dealt with.
-- A run that it starts names the schedule and the due time in `retry_once`, so that no due time ever starts two.
CREATE TABLE schedules (
    name      TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    -- Its cron line and time zone; another one begins anew.
    timing    TEXT    NOT NULL,
    since     BIGINT  NOT NULL,
    due       BIGINT,
    -- What came of `due`.
    dealt     TEXT,
    paused_at BIGINT,
    paused_by TEXT,
    CHECK ((due IS NULL) = (dealt IS NULL)),
    CHECK ((paused_at IS NULL) = (paused_by IS NULL))
);
