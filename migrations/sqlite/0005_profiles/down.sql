ALTER TABLE users DROP COLUMN picture;
ALTER TABLE users DROP COLUMN email;
ALTER TABLE users DROP COLUMN preferred_username;
ALTER TABLE users DROP COLUMN name;
