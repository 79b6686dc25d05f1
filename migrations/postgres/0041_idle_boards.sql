-- Until when somebody's board was theirs before its end was brought forward because nobody used it.
ALTER TABLE leases ADD COLUMN idle_until BIGINT;
