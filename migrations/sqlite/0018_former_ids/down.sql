DROP INDEX users_disabled_until;
ALTER TABLE users DROP COLUMN disabled_until;
DROP TABLE former_ids;
