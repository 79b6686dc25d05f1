-- What a board's page shows of its past: its newest attempts.
CREATE INDEX attempts_of_board ON attempts (board, started_at, run);
