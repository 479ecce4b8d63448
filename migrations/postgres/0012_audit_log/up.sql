-- The audit log: what has happened, one row an event, never changed but to erase a person.

CREATE TABLE audit_events (
    -- The place in the log, without gaps; given by whoever adds the row, and decided by audit_head.
    seq             bigint CONSTRAINT audit_events_pkey PRIMARY KEY,
    at              timestamptz NOT NULL,
    kind            text NOT NULL,
    actor           text NOT NULL,
    user_id         uuid,
    session_id      uuid,
    request_id      text,
    trace_id        text,
    issuer          text,
    -- A JSON object of texts, exactly as it was written.
    details         text,
    is_late         boolean NOT NULL,
    -- Personal data, which are gone once the person is deleted. The digest of them and the salt stays.
    subject         text,
    network         text,
    user_agent      text,
    salt            bytea CONSTRAINT audit_events_salt_check CHECK (octet_length(salt) = 16),
    personal_digest bytea
        CONSTRAINT audit_events_personal_digest_check CHECK (octet_length(personal_digest) = 32),
    -- The proof of this row and of all before it.
    mac             bytea NOT NULL CONSTRAINT audit_events_mac_check CHECK (octet_length(mac) = 32)
);
CREATE INDEX audit_events_user_id ON audit_events (user_id, seq) WHERE user_id IS NOT NULL;
CREATE INDEX audit_events_session_id ON audit_events (session_id, seq) WHERE session_id IS NOT NULL;
CREATE INDEX audit_events_request_id ON audit_events (request_id, seq) WHERE request_id IS NOT NULL;
CREATE INDEX audit_events_subject ON audit_events (subject, seq)
    WHERE user_id IS NULL AND subject IS NOT NULL;

-- The end of the log: one row, whose change decides who of several writers is next.
CREATE TABLE audit_head (
    id            smallint CONSTRAINT audit_head_pkey PRIMARY KEY
        CONSTRAINT audit_head_id_check CHECK (id = 1),
    seq           bigint NOT NULL,
    mac           bytea NOT NULL CONSTRAINT audit_head_mac_check CHECK (octet_length(mac) = 32),
    -- The last row that says that old ones are deleted; 0 if there is none.
    pruning       bigint NOT NULL,
    proof         bytea NOT NULL CONSTRAINT audit_head_proof_check CHECK (octet_length(proof) = 32),
    -- Digests of the configuration at the last start.
    configuration text
);
INSERT INTO audit_head (id, seq, mac, pruning, proof)
VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'));

-- The duty of deleting old rows.
INSERT INTO duties (name) VALUES ('audit');

-- Why a session ended that had ended before its user was deleted.
ALTER TABLE deleted_sessions ADD COLUMN end_reason text;
