ALTER TABLE users DROP COLUMN disabled_until;
DROP TABLE former_ids;
