-- A worker may take nothing new, too.
ALTER TABLE drains DROP CONSTRAINT drains_kind_check;
ALTER TABLE drains ADD CONSTRAINT drains_kind_check CHECK (kind IN ('board', 'site', 'worker'));
