-- Users, the identities they are known by, and their sessions.
--
-- No token is ever stored, only SHA-256 digests of whole tokens. Identifiers are the 16 bytes
-- of a UUID, times are whole seconds since 1970 (a refresh token is minted again byte for byte
-- from its row), lists and claims are JSON. Text is compared byte for byte (BINARY collation).

CREATE TABLE users (
    id            BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- Roles an operator gave, added to those the role rules grant: a JSON array of texts.
    granted_roles TEXT NOT NULL DEFAULT '[]' CHECK (json_type(granted_roles) = 'array'),
    disabled_at   INTEGER,
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE external_identities (
    issuer     TEXT NOT NULL CHECK (octet_length(issuer) BETWEEN 1 AND 2048),
    subject    TEXT NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    -- The configured provider of the first sign-in; for people to read, never compared.
    provider   TEXT NOT NULL,
    user_id    BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX external_identities_user_id ON external_identities (user_id);

-- ID tokens that clients posted themselves: the primary key makes each good for one session.
CREATE TABLE consumed_id_tokens (
    hash       BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    -- When the token expires by itself and the row can go.
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX consumed_id_tokens_expires_at ON consumed_id_tokens (expires_at);

-- One row a session, not a token: a rotation rewrites it in place. Only columns that never
-- change after the sign-in may be indexed, so that a rotation touches no index.
CREATE TABLE sessions (
    -- The sid of the session's tokens.
    id                  BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id             BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider            TEXT NOT NULL,

    -- The current refresh token: enough to mint it again.
    gen                 INTEGER NOT NULL CHECK (gen >= 0),
    cur_hash            BLOB NOT NULL CHECK (length(cur_hash) = 32),
    cur_kid             TEXT NOT NULL,
    cur_iat             INTEGER NOT NULL,
    -- The idle limit: slides with each rotation.
    cur_exp             INTEGER NOT NULL,

    -- Its predecessor, answered with the current token for a grace period.
    prev_hash           BLOB CHECK (length(prev_hash) = 32),
    -- How often the predecessor was answered since the rotation.
    prev_replays        INTEGER NOT NULL DEFAULT 0 CHECK (prev_replays >= 0),
    rotated_at          INTEGER,

    -- Fixed at sign-in: nothing of this session works after it.
    absolute_expires_at INTEGER NOT NULL,
    revoked_at          INTEGER,
    revoke_reason       TEXT,
    created_at          INTEGER NOT NULL,
    last_used_at        INTEGER NOT NULL,

    -- Who asked for it; the address as a network, never whole.
    user_agent          TEXT,
    ip_prefix           TEXT,

    -- What its access tokens say, so that a refresh re-issues the same.
    roles               TEXT NOT NULL CHECK (json_type(roles) = 'array'),
    auth_time           INTEGER NOT NULL,
    acr                 TEXT,
    amr                 TEXT NOT NULL CHECK (json_type(amr) = 'array'),
    extra_claims        TEXT NOT NULL CHECK (json_type(extra_claims) = 'object'),

    CHECK (cur_exp <= absolute_expires_at),
    CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
) STRICT;
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_absolute_expires_at ON sessions (absolute_expires_at);
