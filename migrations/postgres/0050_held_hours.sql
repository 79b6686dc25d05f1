-- Whose own the board was under a lease, and from when to when: a run may have had it before, and may have it afterwards. It is
-- theirs until the lease ends, where there is no `held_to`.
ALTER TABLE leases ADD COLUMN held_by TEXT;
ALTER TABLE leases ADD COLUMN held_from BIGINT;
ALTER TABLE leases ADD COLUMN held_to BIGINT;
UPDATE leases
SET held_by = (document_or_null(holder)->'person'->>'platform') || ':' || (document_or_null(holder)->'person'->>'id'), held_from = granted_at
WHERE document_or_null(holder)->'person'->>'id' IS NOT NULL;
CREATE INDEX leases_held ON leases (held_by, held_from) WHERE held_by IS NOT NULL;
