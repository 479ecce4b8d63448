-- Users, the identities they are known by, and their sessions.
--
-- No token is ever stored, only SHA-256 digests of whole tokens. Every time is a whole
-- second: a refresh token is minted again byte for byte from its row.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    -- Roles an operator gave, added to those the role rules grant.
    granted_roles text[] NOT NULL DEFAULT '{}'
        CONSTRAINT users_granted_roles_check CHECK (array_position(granted_roles, NULL) IS NULL),
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL
);

-- Collation "C": issuer and subject are compared byte for byte (OIDC Core 5.7).
-- The lengths keep an entry within what a B-tree page takes.
CREATE TABLE external_identities (
    issuer     text COLLATE "C" NOT NULL
        CONSTRAINT external_identities_issuer_check CHECK (octet_length(issuer) BETWEEN 1 AND 2048),
    subject    text COLLATE "C" NOT NULL
        CONSTRAINT external_identities_subject_check CHECK (octet_length(subject) BETWEEN 1 AND 255),
    -- The configured provider of the first sign-in; for people to read, never compared.
    provider   text NOT NULL,
    user_id    uuid NOT NULL
        CONSTRAINT external_identities_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    CONSTRAINT external_identities_pkey PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_identities_user_id ON external_identities (user_id);

-- ID tokens that clients posted themselves: the primary key makes each good for one session.
CREATE TABLE consumed_id_tokens (
    hash       bytea CONSTRAINT consumed_id_tokens_pkey PRIMARY KEY
        CONSTRAINT consumed_id_tokens_hash_check CHECK (octet_length(hash) = 32),
    -- When the token expires by itself and the row can go.
    expires_at timestamptz NOT NULL
);
CREATE INDEX consumed_id_tokens_expires_at ON consumed_id_tokens (expires_at);

-- One row a session, not a token: a rotation rewrites it in place.
CREATE TABLE sessions (
    -- The sid of the session's tokens.
    id                  uuid CONSTRAINT sessions_pkey PRIMARY KEY,
    user_id             uuid NOT NULL
        CONSTRAINT sessions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    provider            text NOT NULL,

    -- The current refresh token: enough to mint it again.
    gen                 bigint NOT NULL CONSTRAINT sessions_gen_check CHECK (gen >= 0),
    cur_hash            bytea NOT NULL
        CONSTRAINT sessions_cur_hash_check CHECK (octet_length(cur_hash) = 32),
    cur_kid             text NOT NULL,
    cur_iat             timestamptz NOT NULL,
    -- The idle limit: slides with each rotation.
    cur_exp             timestamptz NOT NULL,

    -- Its predecessor, answered with the current token for a grace period.
    prev_hash           bytea
        CONSTRAINT sessions_prev_hash_check CHECK (octet_length(prev_hash) = 32),
    -- How often the predecessor was answered since the rotation.
    prev_replays        smallint NOT NULL DEFAULT 0
        CONSTRAINT sessions_prev_replays_check CHECK (prev_replays >= 0),
    rotated_at          timestamptz,

    -- Fixed at sign-in: nothing of this session works after it.
    absolute_expires_at timestamptz NOT NULL,
    revoked_at          timestamptz,
    revoke_reason       text,
    created_at          timestamptz NOT NULL,
    last_used_at        timestamptz NOT NULL,

    -- Who asked for it; the address as a network, never whole.
    user_agent          text,
    ip_prefix           text,

    -- What its access tokens say, so that a refresh re-issues the same.
    roles               text[] NOT NULL
        CONSTRAINT sessions_roles_check CHECK (array_position(roles, NULL) IS NULL),
    auth_time           timestamptz NOT NULL,
    acr                 text,
    amr                 text[] NOT NULL
        CONSTRAINT sessions_amr_check CHECK (array_position(amr, NULL) IS NULL),
    -- json, not jsonb: kept as it was written, 1.0 and \u0000 included.
    extra_claims        json NOT NULL
        CONSTRAINT sessions_extra_claims_check CHECK (json_typeof(extra_claims) = 'object'),

    CONSTRAINT sessions_limits_check CHECK (cur_exp <= absolute_expires_at),
    CONSTRAINT sessions_revoked_check CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
)
-- A rotation writes a new version of its row. Where that version fits on the same page and no
-- indexed column changed, Postgres leaves the indexes alone and reuses the space without a
-- vacuum (a HOT update). So a third of each page stays free, and only columns that never
-- change after the sign-in may be indexed.
WITH (fillfactor = 67);
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_absolute_expires_at ON sessions (absolute_expires_at);
