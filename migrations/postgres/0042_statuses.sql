-- Runs that decide the status of a commit, from when a forge is first told of them.
CREATE TABLE statuses (
    run      BIGINT NOT NULL PRIMARY KEY REFERENCES runs (number),
    revision TEXT   NOT NULL,
    -- What is told apart, such as boardhand/socA/smoke.
    context  TEXT   NOT NULL
);

CREATE INDEX statuses_of_commit ON statuses (revision, context, run);
