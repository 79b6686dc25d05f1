-- Where a card stands, for people: the platform's own link to it.
ALTER TABLE cards ADD COLUMN link TEXT;
