-- Which keys each process on this database verifies tokens with, so that processes with other keys are noticed.
-- Nothing has written to the table so far.
DELETE FROM replicas;
ALTER TABLE replicas
    DROP COLUMN kids,
    -- Its host and process id, for the log of the others.
    ADD COLUMN name         text NOT NULL
        CONSTRAINT replicas_name_check CHECK (octet_length(name) BETWEEN 1 AND 255),
    -- Only processes of one issuer are asked for one another's tokens.
    ADD COLUMN issuer       text NOT NULL
        CONSTRAINT replicas_issuer_check CHECK (octet_length(issuer) BETWEEN 1 AND 2048),
    -- The ids of its keys for access tokens; null if they are those of this database.
    ADD COLUMN access_kids  text[],
    -- The ids of its keys for refresh tokens; null if they are those of this database.
    ADD COLUMN refresh_kids text[],
    -- Since when it has lived without a break, by this server's clock.
    ADD COLUMN known_since  timestamptz NOT NULL;
