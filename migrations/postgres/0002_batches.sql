-- A batch: the runs of one command with xN, told under one parent card. It has no row of its own: its runs name it by
-- the number of the first of them, and its card's revision is the sum of theirs, which only ever rises.

ALTER TABLE runs ADD COLUMN batch BIGINT REFERENCES runs (number);

CREATE INDEX runs_by_batch ON runs (batch, number) WHERE batch IS NOT NULL;

-- Set on a batch's own card, whose run is the first of the batch.
ALTER TABLE cards ADD COLUMN batch BIGINT REFERENCES runs (number);

-- Set on the card of a run of a batch: the card in whose thread it stands. It has no thread, and is not due, before
-- that one is posted.
ALTER TABLE cards ADD COLUMN parent TEXT REFERENCES cards (id);

CREATE INDEX cards_by_parent ON cards (parent) WHERE parent IS NOT NULL;
