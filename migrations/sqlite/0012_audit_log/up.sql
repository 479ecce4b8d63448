-- The audit log: what has happened, one row an event, never changed but to erase a person.

CREATE TABLE audit_events (
    -- The place in the log, without gaps; given by whoever adds the row, and decided by audit_head.
    seq             INTEGER NOT NULL PRIMARY KEY,
    at              INTEGER NOT NULL,
    kind            TEXT NOT NULL,
    actor           TEXT NOT NULL,
    user_id         BLOB CHECK (length(user_id) = 16),
    session_id      BLOB CHECK (length(session_id) = 16),
    request_id      TEXT,
    trace_id        TEXT,
    issuer          TEXT,
    -- A JSON object of texts, exactly as it was written.
    details         TEXT,
    is_late         INTEGER NOT NULL CHECK (is_late IN (0, 1)),
    -- Personal data, which are gone once the person is deleted. The digest of them and the salt stays.
    subject         TEXT,
    network         TEXT,
    user_agent      TEXT,
    salt            BLOB CHECK (length(salt) = 16),
    personal_digest BLOB CHECK (length(personal_digest) = 32),
    -- The proof of this row and of all before it.
    mac             BLOB NOT NULL CHECK (length(mac) = 32)
) STRICT;
CREATE INDEX audit_events_user_id ON audit_events (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_events_session_id ON audit_events (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX audit_events_request_id ON audit_events (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX audit_events_subject ON audit_events (subject)
    WHERE user_id IS NULL AND subject IS NOT NULL;

-- The end of the log: one row, whose change decides who of several writers is next.
CREATE TABLE audit_head (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq           INTEGER NOT NULL,
    mac           BLOB NOT NULL CHECK (length(mac) = 32),
    -- The last row that says that old ones are deleted; 0 if there is none.
    pruning       INTEGER NOT NULL,
    proof         BLOB NOT NULL CHECK (length(proof) = 32),
    -- Digests of the configuration at the last start.
    configuration TEXT
) STRICT;
INSERT INTO audit_head (id, seq, mac, pruning, proof) VALUES (1, 0, zeroblob(32), 0, zeroblob(32));

-- The duty of deleting old rows.
INSERT INTO duties (name) VALUES ('audit');

-- Why a session ended that had ended before its user was deleted.
ALTER TABLE deleted_sessions ADD COLUMN end_reason TEXT;
