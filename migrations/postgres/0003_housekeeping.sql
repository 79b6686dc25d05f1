-- What an attempt held and told, on its own row: the boards beside the one that its plan drives, and how many of the
-- things that it tells before its end were told.

ALTER TABLE attempts ADD COLUMN others TEXT;
ALTER TABLE attempts ADD COLUMN told BIGINT  NOT NULL DEFAULT 0;
