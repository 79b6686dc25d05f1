-- A suite's history goes on where its cases are not kept any more. Those that are have an index of their own.
CREATE INDEX outcomes_of_history ON outcomes (family, suite, finished_at, run) WHERE cases IS NULL;
