-- How a power request ended: whoever asked over the API reads it here.
ALTER TABLE errands ADD COLUMN answer TEXT;
