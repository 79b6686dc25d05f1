-- A power request may name one of a board's sequences, which boards.yaml calls as it likes.
ALTER TABLE errands DROP CONSTRAINT errands_action_check;

ALTER TABLE errands ADD CONSTRAINT errands_action_check CHECK (action <> '');
