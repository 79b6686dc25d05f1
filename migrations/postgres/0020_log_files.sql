-- The newest attempt of a run whose console log was asked for as a file: it is shown once for each.
ALTER TABLE runs ADD COLUMN log_shown BIGINT;
