DROP TABLE deleted_sessions;
ALTER TABLE users DROP COLUMN searched;
