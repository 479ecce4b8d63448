ALTER TABLE users DROP COLUMN name, DROP COLUMN preferred_username, DROP COLUMN email, DROP COLUMN picture;
