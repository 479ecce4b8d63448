-- Which keys each process on this file verifies tokens with, so that processes with other keys are noticed.
CREATE TABLE replicas (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- Its host and process id, for the log of the others.
    name         TEXT NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 255),
    -- Only processes of one issuer are asked for one another's tokens.
    issuer       TEXT NOT NULL CHECK (length(CAST(issuer AS BLOB)) BETWEEN 1 AND 2048),
    -- The ids of its keys for access tokens, a JSON array; null if they are those of this file.
    access_kids  TEXT CHECK (json_type(access_kids) = 'array'),
    -- The ids of its keys for refresh tokens, a JSON array; null if they are those of this file.
    refresh_kids TEXT CHECK (json_type(refresh_kids) = 'array'),
    -- Since when it has lived without a break.
    known_since  INTEGER NOT NULL,
    -- When it last said that it lives.
    seen_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
