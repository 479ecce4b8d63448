-- The identity a session was opened with, and what its provider may do to it.

-- No longer ID tokens alone: whatever counts once leaves its mark here (logins that were begun
-- here, providers' logout orders).
ALTER TABLE consumed_id_tokens RENAME TO single_use_marks;
ALTER TABLE single_use_marks RENAME CONSTRAINT consumed_id_tokens_pkey TO single_use_marks_pkey;
ALTER TABLE single_use_marks
    RENAME CONSTRAINT consumed_id_tokens_hash_check TO single_use_marks_hash_check;
ALTER INDEX consumed_id_tokens_expires_at RENAME TO single_use_marks_expires_at;

ALTER TABLE sessions
    -- Who the person is at the provider: what external_identities says, or said at the sign-in.
    ADD COLUMN issuer        text COLLATE "C"
        CONSTRAINT sessions_issuer_check CHECK (octet_length(issuer) BETWEEN 1 AND 2048),
    ADD COLUMN subject       text COLLATE "C"
        CONSTRAINT sessions_subject_check CHECK (octet_length(subject) BETWEEN 1 AND 255),
    -- The session at the provider, if it named one (OIDC Back-Channel Logout 2.1).
    ADD COLUMN upstream_sid  text COLLATE "C"
        CONSTRAINT sessions_upstream_sid_check CHECK (octet_length(upstream_sid) BETWEEN 1 AND 255),
    -- The roles that the role rules gave, without those from elsewhere.
    ADD COLUMN claimed_roles text[]
        CONSTRAINT sessions_claimed_roles_check CHECK (array_position(claimed_roles, NULL) IS NULL);

-- So far a user has had one identity. Where somebody has deleted that, the session goes on as that
-- of nobody any provider knows.
UPDATE sessions AS s
SET issuer = COALESCE(first.issuer, 'unknown'), subject = COALESCE(first.subject, u.id::text),
    claimed_roles = s.roles
FROM users AS u LEFT JOIN LATERAL (
    SELECT i.issuer, i.subject FROM external_identities AS i WHERE i.user_id = u.id
    ORDER BY i.created_at, i.issuer, i.subject LIMIT 1
) AS first ON true
WHERE u.id = s.user_id;

ALTER TABLE sessions
    ALTER COLUMN issuer SET NOT NULL,
    ALTER COLUMN subject SET NOT NULL,
    ALTER COLUMN claimed_roles SET NOT NULL;

-- What a provider's logout order names. Neither column changes after the sign-in. Of one subject at
-- several issuers there are few enough.
CREATE INDEX sessions_subject ON sessions (subject);
CREATE INDEX sessions_upstream_sid ON sessions (upstream_sid) WHERE upstream_sid IS NOT NULL;

-- The providers' refresh tokens, where the operator has the providers asked again. A table of its
-- own: they are longer than all the rest of a session, and most sessions have none.
CREATE TABLE upstream_tokens (
    session_id    uuid CONSTRAINT upstream_tokens_pkey PRIMARY KEY
        CONSTRAINT upstream_tokens_session_id_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    -- Encrypted under a key that is not in this database, for this session alone.
    sealed        text NOT NULL,
    -- When the provider was last asked.
    asked_at      timestamptz NOT NULL,
    -- Until when one caller alone may ask; null if nobody is asking.
    claimed_until timestamptz
)
-- Rewritten in place, as sessions are: nothing but the primary key is indexed.
WITH (fillfactor = 67);
