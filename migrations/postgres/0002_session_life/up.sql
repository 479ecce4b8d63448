-- Requests that may be repeated, the ring of signing keys, and who cleans up.

-- Sign-ins that carried an Idempotency-Key: for as long as one may be repeated, the session it
-- opened. Only digests of the key and of the request's body.
CREATE TABLE idempotency_keys (
    key_hash   bytea CONSTRAINT idempotency_keys_pkey PRIMARY KEY
        CONSTRAINT idempotency_keys_key_hash_check CHECK (octet_length(key_hash) = 32),
    body_hash  bytea NOT NULL
        CONSTRAINT idempotency_keys_body_hash_check CHECK (octet_length(body_hash) = 32),
    session_id uuid NOT NULL
        CONSTRAINT idempotency_keys_session_id_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_session_id ON idempotency_keys (session_id);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

-- The signing keys that all replicas share. The keys of one use are numbered from 1; the primary
-- key lets one of several replicas add the next.
CREATE TABLE signing_keys (
    key_use      text NOT NULL,
    number       integer NOT NULL CONSTRAINT signing_keys_number_check CHECK (number > 0),
    kid          text NOT NULL CONSTRAINT signing_keys_kid_key UNIQUE,
    -- The private key, encrypted under a key that is not in this database (a JWE, RFC 7516).
    material     text NOT NULL,
    created_at   timestamptz NOT NULL,
    -- From when on it signs; null as long as it stands by.
    activates_at timestamptz,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (key_use, number)
);

-- Work that one replica at a time does.
CREATE TABLE duties (
    name       text CONSTRAINT duties_pkey PRIMARY KEY,
    -- Nobody else takes it before.
    held_until timestamptz,
    -- When it was last done.
    ended_at   timestamptz
);
INSERT INTO duties (name) VALUES ('sweep');
