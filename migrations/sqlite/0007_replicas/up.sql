-- What processes on one file have to know of each other: who is at a request that must be answered once.

-- Idempotency keys that a process holds while it asks the provider, before there is a session. A row
-- stays until its lease ends, also once the session is opened.
CREATE TABLE idempotency_reservations (
    key_hash   BLOB NOT NULL PRIMARY KEY CHECK (length(key_hash) = 32),
    body_hash  BLOB NOT NULL CHECK (length(body_hash) = 32),
    -- The process that holds it.
    holder     BLOB NOT NULL CHECK (length(holder) = 16),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_reservations_expires_at ON idempotency_reservations (expires_at);
