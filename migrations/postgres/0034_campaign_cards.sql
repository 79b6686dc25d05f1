-- Set on a campaign's own card, which stands under the first run that it started.
ALTER TABLE cards ADD COLUMN campaign BIGINT REFERENCES campaigns (number);

CREATE INDEX cards_by_campaign ON cards (campaign) WHERE campaign IS NOT NULL;
