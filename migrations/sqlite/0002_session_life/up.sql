-- Requests that may be repeated, the ring of signing keys, and who cleans up.

-- Sign-ins that carried an Idempotency-Key: for as long as one may be repeated, the session it
-- opened. Only digests of the key and of the request's body.
CREATE TABLE idempotency_keys (
    key_hash   BLOB NOT NULL PRIMARY KEY CHECK (length(key_hash) = 32),
    body_hash  BLOB NOT NULL CHECK (length(body_hash) = 32),
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_session_id ON idempotency_keys (session_id);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

-- The signing keys, where they are not in the key directory. The keys of one use are numbered
-- from 1; the primary key lets one of several processes add the next.
CREATE TABLE signing_keys (
    key_use      TEXT NOT NULL,
    number       INTEGER NOT NULL CHECK (number > 0),
    kid          TEXT NOT NULL UNIQUE,
    -- The private key, encrypted under a key that is not in this database (a JWE, RFC 7516).
    material     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    -- From when on it signs; null as long as it stands by.
    activates_at INTEGER,
    PRIMARY KEY (key_use, number)
) STRICT, WITHOUT ROWID;

-- Work that one process at a time does.
CREATE TABLE duties (
    name       TEXT NOT NULL PRIMARY KEY,
    -- Nobody else takes it before.
    held_until INTEGER,
    -- When it was last done.
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO duties (name) VALUES ('sweep');
