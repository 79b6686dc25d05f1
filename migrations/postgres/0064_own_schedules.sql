-- Schedules that programs made: their keys as boards.yaml has them, and who made them. Those of boards.yaml have neither.
ALTER TABLE schedules ADD COLUMN own TEXT;
ALTER TABLE schedules ADD COLUMN own_by TEXT;
