-- Which lease of somebody else a power request is done under, and what it is done under once.
ALTER TABLE errands ADD COLUMN over_fence BIGINT;

ALTER TABLE errands ADD COLUMN once TEXT;

CREATE UNIQUE INDEX errands_once ON errands (once) WHERE once IS NOT NULL;
