-- Where the end of a run was told.
CREATE INDEX calls_back ON calls (run) WHERE hook = '';

CREATE INDEX campaigns_over ON campaigns (ended_at) WHERE ended_at IS NOT NULL;
