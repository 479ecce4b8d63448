-- What a person's last sign-in said about them, where the operator has it kept (users.profile). Personal data.
-- Columns without defaults, so that no row is rewritten; the version before this one writes none of them.
ALTER TABLE users ADD COLUMN name TEXT CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 320);
ALTER TABLE users ADD COLUMN preferred_username TEXT CHECK (length(CAST(preferred_username AS BLOB)) BETWEEN 1 AND 320);
ALTER TABLE users ADD COLUMN email TEXT CHECK (length(CAST(email AS BLOB)) BETWEEN 1 AND 320);
ALTER TABLE users ADD COLUMN picture TEXT CHECK (length(CAST(picture AS BLOB)) BETWEEN 1 AND 2048);
