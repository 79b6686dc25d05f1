-- Dead letters: messages that nobody will send by themselves any more, by a number that people can type. One that is sent
-- again is none any more. What was to stand in the thread of a card that died with it has no number of its own.

CREATE TABLE letters (
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- The row of cards or outbox that is dead.
    message TEXT    NOT NULL UNIQUE,
    died_at INTEGER NOT NULL
) STRICT;

INSERT INTO letters (message, died_at)
SELECT id, owed_at
FROM (SELECT id, owed_at FROM cards WHERE state = 'dead' AND parent IS NULL
      UNION ALL
      SELECT id, owed_at FROM outbox WHERE state = 'dead' AND error <> 'its card could not be posted')
ORDER BY owed_at;
