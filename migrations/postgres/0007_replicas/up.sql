-- What replicas have to know of each other: who is at a request that must be answered once, and
-- whether they have the same signing keys.

-- Idempotency keys that a replica holds while it asks the provider, before there is a session. A row
-- stays until its lease ends, also once the session is opened: whoever looks at the same moment must
-- find one or the other.
CREATE TABLE idempotency_reservations (
    key_hash   bytea CONSTRAINT idempotency_reservations_pkey PRIMARY KEY
        CONSTRAINT idempotency_reservations_key_hash_check CHECK (octet_length(key_hash) = 32),
    body_hash  bytea NOT NULL
        CONSTRAINT idempotency_reservations_body_hash_check CHECK (octet_length(body_hash) = 32),
    -- The process that holds it.
    holder     bytea NOT NULL
        CONSTRAINT idempotency_reservations_holder_check CHECK (octet_length(holder) = 16),
    -- By this server's clock.
    expires_at timestamptz NOT NULL
);
CREATE INDEX idempotency_reservations_expires_at ON idempotency_reservations (expires_at);

-- Processes whose signing keys are in a directory of their own.
CREATE TABLE replicas (
    id      bytea CONSTRAINT replicas_pkey PRIMARY KEY
        CONSTRAINT replicas_id_check CHECK (octet_length(id) = 16),
    -- The ids of the keys it verifies with.
    kids    text[] NOT NULL,
    -- When it last said that it lives, by this server's clock.
    seen_at timestamptz NOT NULL
);
