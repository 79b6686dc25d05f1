-- Each request of a program for a board of a family is a place in line of its own; a board that is named is asked for once.
DROP INDEX reservations_once;
CREATE UNIQUE INDEX reservations_once ON reservations (requester, family, COALESCE(board, id));
