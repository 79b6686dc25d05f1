-- Cards that are owed, by channel: a channel that takes one post a second may have thousands waiting, and looking for
-- what can be sent elsewhere must not read them. A post stands apart from an edit, since the platforms count them apart.

DROP INDEX cards_owed;

CREATE INDEX cards_owed ON cards (channel, (message IS NULL), last DESC, owed_at)
    WHERE rev_wanted > rev_sent AND state = 'live';

-- Those of them that were put off.
CREATE INDEX cards_put_off ON cards (GREATEST(due_at, hold_until))
    WHERE rev_wanted > rev_sent AND state = 'live' AND GREATEST(due_at, hold_until) > owed_at;
