-- What a person's last sign-in said about them, where the operator has it kept (users.profile). Personal data.
-- Columns without defaults, so that no row is rewritten; the version before this one writes none of them.
ALTER TABLE users
    ADD COLUMN name               text
        CONSTRAINT users_name_check CHECK (octet_length(name) BETWEEN 1 AND 320),
    ADD COLUMN preferred_username text
        CONSTRAINT users_preferred_username_check CHECK (octet_length(preferred_username) BETWEEN 1 AND 320),
    ADD COLUMN email              text
        CONSTRAINT users_email_check CHECK (octet_length(email) BETWEEN 1 AND 320),
    ADD COLUMN picture            text
        CONSTRAINT users_picture_check CHECK (octet_length(picture) BETWEEN 1 AND 2048);
