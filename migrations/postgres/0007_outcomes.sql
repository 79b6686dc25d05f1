-- What finished runs came to, for later ones that look back: has this failure been seen before, what is new since the
-- last good run. A row for each test run that ended on a board, kept as long as the run is.

CREATE TABLE outcomes (
    run         BIGINT  NOT NULL PRIMARY KEY REFERENCES runs (number) ON DELETE CASCADE,
    family      TEXT    NOT NULL,
    suite       TEXT    NOT NULL,
    build       TEXT    NOT NULL,
    verdict     TEXT    NOT NULL CHECK (verdict IN ('passed', 'failed', 'infra', 'timed-out', 'cancelled')),
    finished_at BIGINT  NOT NULL,
    -- Of a failure: its signature, how many runs of the family had ended so before, and the first and last of those.
    signature   TEXT,
    seen        BIGINT,
    first_run   BIGINT,
    last_run    BIGINT,
    -- What was new when it ended.
    comparison  TEXT,
    -- How each test case ended, packed; only of the newest runs of a suite. What stands behind it is slow to read.
    cases       TEXT,
    CHECK ((signature IS NULL) = (seen IS NULL))
);

-- The highest count is the newest sighting: nothing is ever counted.
CREATE UNIQUE INDEX outcomes_by_signature ON outcomes (family, signature, seen) WHERE signature IS NOT NULL;
CREATE INDEX outcomes_of_suite ON outcomes (family, suite, finished_at, run) WHERE cases IS NOT NULL;
CREATE INDEX outcomes_good ON outcomes (family, suite, finished_at, run) WHERE verdict = 'passed';
CREATE INDEX outcomes_of_build ON outcomes (build, finished_at, run);
