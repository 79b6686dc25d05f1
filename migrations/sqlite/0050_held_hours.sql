-- Whose own the board was under a lease, and from when to when: a run may have had it before, and may have it afterwards. It is
-- theirs until the lease ends, where there is no `held_to`.
ALTER TABLE leases ADD COLUMN held_by TEXT;
ALTER TABLE leases ADD COLUMN held_from INTEGER;
ALTER TABLE leases ADD COLUMN held_to INTEGER;
UPDATE leases
SET held_by = holder->>'$.person.platform' || ':' || (holder->>'$.person.id'), held_from = granted_at
WHERE json_valid(holder) AND holder->>'$.person.id' IS NOT NULL;
CREATE INDEX leases_held ON leases (held_by, held_from) WHERE held_by IS NOT NULL;
